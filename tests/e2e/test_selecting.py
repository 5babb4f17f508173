"""The commands select and mix."""

from __future__ import annotations

import csv
import json

import pytest


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def table(tmp_path):
    content = [
        {
            "text": f"text {number % 9}",
            "loss": float(number),
            "domain": "ab"[number % 2],
            "tokens": 10,
            "tries": [1, number % 2],
        }
        for number in range(10)
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return path


def test_rows_are_kept_whole_and_in_order(run, table, tmp_path):
    outcome = run(
        "select", "t.jsonl", "--keep", "top:share=0.3,side=low", "--score", "loss", "--out", "e.jsonl", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json == {
        "out": "e.jsonl", "rows": 10, "kept": 3, "groups": {},
        "steps": [{"keep": "top:share=0.3,side=low", "from": 10, "kept": 3}],
    }  # fmt: skip
    assert rows(tmp_path / "e.jsonl") == rows(table)[:3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.jsonl", "t.jsonl"]


def test_several_selections_one_after_the_other(run, table, tmp_path):
    outcome = run(
        "select", "t.jsonl", "-k", "duplicates", "-k", "balanced:count=4,temperature=0", "-k", "threshold:max=7",
        "--score", "loss", "--group", "domain", "--out", "e.csv", "--json",
    )  # fmt: skip
    assert [step["kept"] for step in outcome.json["steps"]] == [9, 4, 2]
    # Of two equal texts the one with the higher loss is kept, row 9 instead of row 0.
    assert outcome.json["groups"] == {"a": {"rows": 5, "kept": 1}, "b": {"rows": 5, "kept": 1}}
    with open(tmp_path / "e.csv", newline="") as file:
        assert [row["loss"] for row in csv.DictReader(file)] == ["6.0", "7.0"]


def test_attempts_sizes_and_parquet(run, table):
    outcome = run("select", "t.jsonl", "-k", "variation:cv=0.5", "--score", "tries", "--out", "v.parquet", "--json")
    assert outcome.json["kept"] == 5
    outcome = run(
        "select", "v.parquet", "-k", "gumbel:budget=25", "--score", "loss", "--size", "tokens", "--out", "w.jsonl"
    )
    assert outcome.code == 0, outcome.err
    assert "3 of 5 rows in w.jsonl" in outcome.out


def test_a_file_of_scores_names_its_own_column(run, table):
    assert run("score", "t.jsonl", "--signal", "length:unit=words", "--out", "s.jsonl", "-q").code == 0
    outcome = run("select", "s.jsonl", "-k", "top:count=2", "--out", "x.jsonl", "--json")
    assert outcome.json["kept"] == 2
    # What is known of the column goes with it.
    assert run("select", "x.jsonl", "-k", "top:count=1", "--out", "y.jsonl").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", "topp:count=1", "--score", "loss"], 'Did you mean "top"'),
        (["-k", "top:count=99", "--score", "loss"], "count must be <= 10"),
        (["-k", "top:count=1"], "name one with --score"),
        (["-k", "top:count=1", "--score", "los"], 'no column "los". Did you mean "loss"'),
        (["-k", "balanced:count=2", "--score", "loss"], "needs groups"),
        (["-k", "variation:cv=1", "--score", "loss"], "must hold a list of"),
        (["-k", "mixture"], "use tutelage mix"),
        (["-k", "top:count=1", "--score", "text"], "text"),
    ],
)
def test_bad_selections(run, table, words, message):
    outcome = run("select", "t.jsonl", *words, "--out", "e.jsonl")
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_nothing_is_overwritten(run, table):
    ask = ("select", "t.jsonl", "-k", "top:count=1", "--score", "loss", "--out")
    assert run(*ask, "e.jsonl").code == 0
    assert "replace it with --force" in run(*ask, "e.jsonl").err
    assert run(*ask, "e.jsonl", "--force").code == 0
    assert "is what is read" in run(*ask, "t.jsonl", "--force").err
    assert run(*ask, "e.xlsx").code == 2


@pytest.fixture
def sources(tmp_path):
    for name, size in (("new", 20), ("old", 6)):
        (tmp_path / f"{name}.jsonl").write_text("".join(f'{{"text": "{name} {place}"}}\n' for place in range(size)))


@pytest.mark.usefixtures("sources")
def test_mixing(run, tmp_path):
    ask = ("mix", "new.jsonl", "old.jsonl", "--out")
    outcome = run(*ask, "m.jsonl", "--weights", "0.7/0.3", "--total", 20, "--source-column", "from", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["counts"] == {"new": 14, "old": 6}
    mixed = rows(tmp_path / "m.jsonl")
    assert all(row["text"].startswith(row["from"]) for row in mixed)
    assert len({row["text"] for row in mixed}) == 20
    assert [sum(row["from"] == "old" for row in mixed[:place]) for place in (5, 10)] == [2, 3]
    assert run(*ask, "all.jsonl", "--json").json["counts"] == {"new": 20, "old": 6}
    replayed = run(*ask, "r.jsonl", "--replay", 0.05, "--total", 20, "--json")
    assert replayed.json["counts"] == {"new": 19, "old": 1}
    stopped = run(*ask, "s.jsonl", "--weights", "1/1", "--exhausted", "stop", "--json")
    assert (stopped.json["counts"], stopped.json["ended"]) == ({"new": 6, "old": 6}, "old")
    assert '"old" ran out' in stopped.err
    moved = run(*ask, "f.jsonl", "--weights", "1/0", "--final", "0/1", "--total", 10, "--json")
    assert moved.json["counts"] == {"new": 5, "old": 5}
    again = run("mix", "old.jsonl", "old.jsonl", "--out", "o.jsonl", "--json")
    assert again.json["counts"] == {"old-1": 6, "old-2": 6}


@pytest.mark.usefixtures("sources")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights", "0/0", "--total", "4"], "must not all be 0"),
        (["--weights", "1/1/1", "--total", "4"], "3 weights for 2 sources (new, old)"),
        (["--weights", "0.5/0.5", "--total", "20"], '20 examples need 10 of "old", which has 6'),
        (["--weights", "0.5/0.5"], "total is needed"),
        (["--replay", "0.1", "--weights", "1/1"], "--replay takes the place of --weights"),
        (["--replay", "1.5", "--total", "4"], "alpha must be >= 0 and < 1"),
        (["--source-column", "text"], 'a column "text" already'),
        (["--exhausted", "wait"], "exhausted must be one of"),
    ],
)
def test_bad_mixtures(run, words, message):
    outcome = run("mix", "new.jsonl", "old.jsonl", "--out", "m.jsonl", *words)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
