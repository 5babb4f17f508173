"""``forecast efficiency`` on tables: what it finds, what it draws and says, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.cli import forecast_efficiency as forecast_efficiency  # registers the command

SIZES = [10, 50, 100, 200, 1000]
SCORES = {"plain": [0.2, 0.4, 0.5, 0.58, 0.70], "tuned": [0.45, 0.6, 0.66, 0.70, 0.74]}


def rows(*, tasks=("",), seeds=("",), shift=0.0) -> list[dict]:
    found = []
    for arm, scores in SCORES.items():
        for number, task in enumerate(tasks):
            for seed in seeds:
                for size, score in zip(SIZES, scores, strict=True):
                    row = {"arm": arm, "size": size, "score": score + shift * number}
                    row |= {"task": task} if task else {}
                    found.append(row | ({"seed": seed} if seed != "" else {}))
    return found


def write(path: Path, table: list[dict]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table))
    else:
        names = list(table[0])
        lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in table)]
        path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("name", ["scores.csv", "scores.jsonl"])
def test_the_cards_table(run, tmp_path: Path, name: str) -> None:
    outcome = run("forecast", "efficiency", write(tmp_path / name, rows()), "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert (found["baseline"], found["target"]) == ("plain", "final")
    arm = found["arms"]["tuned"]
    assert (arm["target"], arm["n_a"], arm["n_b"], arm["ratio"], arm["ci"]) == (0.70, 200, 1000, 0.2, None)
    assert arm["tasks"] == {}
    assert found["curves"]["plain"]["1000"] == 0.70


def test_tasks_and_seeds_and_the_other_way_round(run, tmp_path: Path) -> None:
    path = write(tmp_path / "scores.csv", rows(tasks=("add", "sort"), seeds=(0, 1, 2), shift=0.1))
    outcome = run("forecast", "efficiency", path, "--plot", tmp_path / "picture.svg")
    assert outcome.code == 0, outcome.err
    assert "tuned: median ratio over 2 tasks 0.2" in outcome.out
    assert "95 % interval".replace(" %", "%") in outcome.out
    assert all(task in outcome.out for task in ("add", "sort", "all"))
    assert (tmp_path / "picture.svg").read_text().count("<path") > 10
    assert "Drawn: " in outcome.err
    back = run("forecast", "efficiency", path, "--baseline", "tuned")
    assert back.code == 0
    assert "Note: plain never reaches 0.79: its best is 0.75, up to 1000 examples." in back.err
    assert "Note (add): plain never reaches 0.74" in back.err


def test_a_target_and_errors_instead_of_scores(run, tmp_path: Path) -> None:
    table = [row | {"score": round(1 - row["score"], 6)} for row in rows()]
    path = write(tmp_path / "errors.csv", table)
    found = run("forecast", "efficiency", path, "--lower-is-better", "--target", "0.37", "--json").json["arms"]["tuned"]
    assert found["n_a"] == pytest.approx(50 * 2**0.5)
    assert found["n_b"] == pytest.approx(200 * 5 ** (0.05 / 0.12))


def test_the_printed_table_has_every_number(run, tmp_path: Path) -> None:
    outcome = run("forecast", "efficiency", write(tmp_path / "scores.csv", rows()))
    header, line = outcome.out.splitlines()[:2]
    assert header.split() == ["arm", "task", "score", "examples", "plain", "ratio", "95%", "interval"]
    assert line.split() == ["tuned", "0.7", "200", "1000", "0.2"]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (rows(), ["--baseline", "plane"], 'No arm "plane". Did you mean "plain"'),
        (rows(), ["--target", "best"], 'target must be "final" or a finite score, got "best"'),
        (rows(), ["--confidence", "2"], "confidence must be > 0 and < 1, got 2.0"),
        (rows(), ["--plot", "x.jpg"], "must end in .svg, .png, .pdf"),
        (rows()[:5], [], "Two arms or more can be compared, got plain"),
        (rows() + rows()[:1], [], "scores.csv:12: a second score of plain at size 10"),
        ([{"arm": "a", "n": 1, "score": 2}], [], 'scores.csv:2: column "size" is missing'),
        ([{"arm": "a", "size": 1.5, "score": 2}], [], '"size" must be a number of examples > 0, got 1.5'),
        ([{"arm": "a", "size": 1, "score": "high"}], [], '"score" must be a finite number, got "high"'),
        ([{"arm": "a", "size": 1, "score": ""}], [], 'column "score" is empty'),
        (rows(seeds=(0, 1))[:-5], [], "same tasks and seeds; seed 1 is in one only"),
        ([row for row in rows() if row["size"] == 10], [], "needs scores at two or more sizes"),
    ],
)
def test_bad_input(run, tmp_path: Path, monkeypatch, table: list[dict], options: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("forecast", "efficiency", write(tmp_path / "scores.csv", table), *options)
    assert outcome.code == 2, outcome.err
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_no_such_file(run) -> None:
    outcome = run("forecast", "efficiency", "nowhere.csv")
    assert (outcome.code, outcome.err.strip()) == (2, "Error: No file nowhere.csv.")
