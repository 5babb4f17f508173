"""``forecast learning-curve`` on tables of scores: what it answers, what it says, what it refuses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import typer

from tutelage import cli

SIZES = [5000 * i for i in range(1, 13)]
CLEAN = [0.97 - 4 * n**-0.45 for n in SIZES]


def write(path: Path, rows: list[tuple], header: str = "size,score") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "accuracies.csv", list(zip(SIZES, CLEAN, strict=True)))


@pytest.fixture
def three(tmp_path):
    rows = [
        (n, y - less, name)
        for name, less in {"a": 0.1, "b": 0.0, "c": 1e-4}.items()
        for n, y in zip(SIZES, CLEAN, strict=True)
    ]
    return write(tmp_path / "three.csv", rows, "size,score,learner")


def test_how_many_more_examples(run, table):
    outcome = run("forecast", "learning-curve", table, "--target", 0.95, "--target", 0.9999, "--at", 120_000, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["family"] == "auto"
    (answer,) = outcome.json["learners"]
    (ahead,) = answer["predicted"]
    assert ahead["low"] < 0.97 - 4 * 120_000**-0.45 < ahead["high"]
    within, never = answer["targets"]
    assert within["reached"] is True
    assert within["early"] < 129_837 < within["late"]
    assert within["more"] == pytest.approx(within["size"] - 60_000)
    assert (never["reached"], never["size"], never["target"]) == (False, None, 0.9999)
    assert sum(answer["families"].values()) == pytest.approx(1)
    assert outcome.json["ranking"] is None


def test_what_is_printed(run, table):
    outcome = run("forecast", "learning-curve", table, "--target", 0.95, "--target", 0.9999, "--target", 0.9)
    assert outcome.code == 0, outcome.err
    assert "12 sizes, 5,000 to 60,000; score 0.9417 at the last" in outcome.out
    assert "target 0.95: about " in outcome.out
    assert "more examples (" in outcome.out
    assert "target 0.9999: will not be reached within 1,000 times the largest size" in outcome.out
    assert "target 0.9: reached already" in outcome.out
    assert "600,000" in outcome.out


def test_one_family(run, table):
    outcome = run("forecast", "learning-curve", table, "--family", "pow3", "--json")
    assert outcome.code == 0, outcome.err
    (answer,) = outcome.json["learners"]
    assert answer["fit"]["params"] == pytest.approx({"a": 4, "b": 0.45, "c": 0.03}, rel=1e-5)
    assert answer["families"] == {"pow3": pytest.approx(1)}
    assert (
        "least squares: error c + a n^-b: a = 4, b = 0.45, c = 0.03"
        in run("forecast", "learning-curve", table, "--family", "pow3").out
    )


def test_functional(run, table):
    outcome = run(
        "forecast", "learning-curve", table, "--family", "functional", "--target", 0.95, "--target", 0.98, "--json"
    )
    assert outcome.code == 0, outcome.err
    (answer,) = outcome.json["learners"]
    assert (answer["state"], answer["convergence_level"], answer["missing"]) == ("converged", 11, [])
    assert answer["asymptote"] == pytest.approx(0.97)
    assert [row["size"] for row in answer["targets"]] == [pytest.approx(129_837, abs=1), None]
    printed = run("forecast", "learning-curve", table, "--family", "functional", "--tau", 0.01, "--target", 0.98)
    assert "not converged yet; limit 0.97, proximity 0.028 (prediction level 3 of 12)" in printed.out
    assert "target 0.98: will not be reached: it lies beyond the limit" in printed.out


def test_functional_says_what_is_missing(run, tmp_path):
    young = write(tmp_path / "young.csv", list(zip(SIZES[:5], CLEAN[:5], strict=True)))
    outcome = run("forecast", "learning-curve", young, "--family", "functional", "--target", 0.95)
    assert outcome.code == 0, outcome.err
    assert "no forecast yet; missing: the working level: it takes 8 sizes to see, there are 5" in outcome.out
    answer = run("forecast", "learning-curve", young, "--family", "functional", "--json").json["learners"][0]
    assert (answer["state"], answer["predicted"], answer["asymptote"]) == ("early", [], None)


@pytest.mark.parametrize("family", ["auto", "functional"])
def test_learners_are_ranked(run, three, family):
    outcome = run("forecast", "learning-curve", three, "--family", family, "--at", 100_000, "--json")
    assert outcome.code == 0, outcome.err
    assert [one["learner"] for one in outcome.json["learners"]] == ["a", "b", "c"]
    ranking = outcome.json["ranking"]
    assert ranking["size"] == 100_000
    assert [(row["name"], row["not_separable_from"]) for row in ranking["order"]] == [
        ("b", ["c"]),
        ("c", ["b"]),
        ("a", []),
    ]
    printed = run("forecast", "learning-curve", three, "--family", family, "--at", 100_000).out
    assert "ranking at 100,000" in printed
    assert "not separable from" in printed


def test_percent_losses_and_other_columns(run, tmp_path):
    percent = write(tmp_path / "p.csv", [(n, 100 * y) for n, y in zip(SIZES, CLEAN, strict=True)], "n,accuracy")
    names = ("--size-column", "n", "--score-column", "accuracy")
    shown = run("forecast", "learning-curve", percent, *names, "--percent", "--target", 95, "--json").json
    loss = write(tmp_path / "l.csv", [(n, 1 - y) for n, y in zip(SIZES, CLEAN, strict=True)])
    other = run("forecast", "learning-curve", loss, "--loss", "--target", 0.05, "--json").json
    one, two = (found["learners"][0] for found in (shown, other))
    assert one["targets"][0]["size"] == pytest.approx(two["targets"][0]["size"])
    assert one["predicted"][0]["score"] == pytest.approx(100 - 100 * two["predicted"][0]["score"])


def test_rows_in_any_order_with_repeats_and_gaps(run, tmp_path, table):
    rows = [(n, y + d) for n, y in zip(SIZES[::-1], CLEAN[::-1], strict=True) for d in (0.001, -0.001)]
    mixed = write(tmp_path / "mixed.csv", [*rows, (70_000, "")])
    one, two = (run("forecast", "learning-curve", path, "--json").json["learners"][0] for path in (mixed, table))
    assert one["sizes"] == two["sizes"]
    assert one["predicted"][0]["score"] == pytest.approx(two["predicted"][0]["score"], abs=1e-9)
    assert one["notes"] == [
        "1 rows without a size or a score were left out.",
        "Scores at the same size were averaged: 24 rows.",
    ]


def test_other_kinds_of_table(run, tmp_path, table):
    lines = tmp_path / "a.jsonl"
    lines.write_text("".join(json.dumps({"size": n, "score": y}) + "\n" for n, y in zip(SIZES, CLEAN, strict=True)))
    one, two = (run("forecast", "learning-curve", path, "--json").json["learners"][0] for path in (lines, table))
    assert one["predicted"] == two["predicted"]


@pytest.mark.parametrize("family", ["auto", "functional"])
def test_a_picture(run, three, tmp_path, family):
    picture = tmp_path / "a.svg"
    outcome = run("forecast", "learning-curve", three, "--family", family, "--target", 0.95, "--plot", picture)
    assert outcome.code == 0, outcome.err
    assert f"Drawn: {picture}" in outcome.err
    assert "<svg" in picture.read_text()


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("size,score\n1,0.1\n2,0.2\n", [], "sizes must hold at least 4, got 2"),
        ("size,accuracy\n1,0.1\n", [], 'no column "score". Columns: size, accuracy; name it with --score-column.'),
        ("sise,score\n1,0.1\n", [], 'no column "size". Did you mean "sise"?'),
        ("size,score\n1,bad\n", [], "t.csv:2: score: 'bad' is not a number"),
        ("size,score\n0,0.1\n", [], "t.csv:2: size must be > 0, got 0"),
        ("size,score\n1,\n", [], "no row has both size and score"),
        ("size,score\n1,10\n2,20\n3,30\n4,35\n", [], "are they percent?"),
        ("size,score\n1,0.1\n", ["--percent", "--loss"], "--percent and --loss exclude each other"),
        ("size,score\n1,0.1\n", ["--level", "1"], "--level must be in (0, 1), got 1."),
        ("size,score\n1,0.1\n", ["--tau", "0.1"], "--tau belongs to --family functional, got --family auto."),
        ("size,score\n1,0.1\n", ["--learner-column", "model"], 'no column "model". Columns: size, score.'),
        ("size,score\n5,0.1\n6,0.2\n7,0.3\n8,0.31\n", ["--at", "4"], "--at must be >= 5, the smallest size measured"),
        ("size,score\n5,0.1\n6,0.2\n7,0.3\n8,0.31\n", ["--family", "pow33"], 'Did you mean "pow3"?'),
        ("size,score\n5,0.1\n6,0.2\n7,0.3\n8,0.31\n", ["--plot", "a.txt"], "the name must end in .svg, .png, .pdf"),
        ("", [], "t.csv"),
    ],
)  # fmt: skip
def test_bad_input(run, tmp_path, content, options, said):
    path = tmp_path / "t.csv"
    path.write_text(content)
    outcome = run("forecast", "learning-curve", path, *options)
    assert outcome.code == 2
    assert said in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert run("forecast", "learning-curve", tmp_path / "none.csv").code == 2


def test_the_examples_run(run, tmp_path):
    write(tmp_path / "accuracies.csv", list(zip(SIZES, CLEAN, strict=True)))
    command = typer.main.get_command(cli.app).commands["forecast"].commands["learning-curve"]
    lines = [line.strip()[2:] for line in command.epilog.splitlines() if line.strip().startswith("$ ")]
    assert len(lines) == 2
    for line in lines:
        outcome = run(*shlex.split(line)[1:])
        assert outcome.code == 0, outcome.err
        assert outcome.out.strip()
