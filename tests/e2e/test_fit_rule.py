"""``fit-rule`` on tables of runs: what it finds, what it says, what it refuses; and the rule at work."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

NOISE = 0.01


def write_runs(path: Path, count: int = 30, **more: float) -> list[dict[str, float]]:
    rng = np.random.default_rng(0)
    runs = [{"reward": float(rng.random()), "length": float(rng.integers(10, 90))} for _ in range(count)]
    for run in runs:
        run["loss"] = math.exp(1.0 - 0.5 * run["reward"] + NOISE * rng.normal())
    lines = [",".join(runs[0])] + [",".join(str(value) for value in run.values()) for run in runs]
    path.write_text("\n".join(lines) + "\n")
    return runs


def test_fits_writes_and_scores_by_the_rule(run, tmp_path):
    write_runs(tmp_path / "runs.csv")
    outcome = run("fit-rule", "runs.csv", "--out", "rule.json", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert found["names"] == ["reward"]
    assert found["coefficients"] == pytest.approx([-0.5], abs=0.03)
    assert found["intercept"] == pytest.approx(1.0, abs=0.02)
    assert [name for name, _ in found["diagnostics"]["dropped"]] == ["length"]
    assert found["diagnostics"]["r_squared_out"] > 0.98
    (tmp_path / "rows.jsonl").write_text('{"reward": 1.0}\n{"reward": 0.0}\n')
    scored = run(
        "score", "rows.jsonl", "--signal", "instruct-mining:rule=rule.json", "--name", "value", "--out", "out.jsonl"
    )
    assert scored.code == 0, scored.err
    values = [json.loads(line)["value"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert values[0] - values[1] == pytest.approx(0.5, abs=0.03)


def test_prints_the_rule_and_how_far_to_trust_it(run, tmp_path):
    write_runs(tmp_path / "runs.csv")
    outcome = run("fit-rule", "runs.csv", "--out", "rule.json")
    for line in ("indicator", "reward", "log loss = 1", "30 runs", "R2 0.99", "dropped: length", "Written: rule.json"):
        assert line in outcome.out, line
    assert "Note: The rule is about means of whole data sets" in outcome.err
    again = run("fit-rule", "runs.csv", "--out", "rule.json")
    assert (again.code, again.err.strip()) == (2, "Error: rule.json exists; --force replaces it.")
    assert run("fit-rule", "runs.csv", "--out", "rule.json", "--force", "--select", "none").code == 0
    assert json.loads((tmp_path / "rule.json").read_text())["names"] == ["reward", "length"]


def test_takes_the_means_of_scored_rows(run, tmp_path):
    runs = write_runs(tmp_path / "runs.csv")
    (tmp_path / "sets").mkdir()
    lines = []
    for number, one in enumerate(runs):
        rows = [{"text": "a", "reward": one["reward"] + step, "length": one["length"]} for step in (-0.1, 0.1)]
        (tmp_path / f"sets/{number}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
        lines.append(json.dumps({"rows": f"{number}.jsonl", "final": one["loss"]}))
    (tmp_path / "sets/runs.jsonl").write_text("\n".join(lines) + "\n")
    whole = run("fit-rule", "runs.csv", "--json").json
    means = run("fit-rule", "sets/runs.jsonl", "--loss", "final", "--data", "rows", "--json").json
    assert means["coefficients"] == pytest.approx(whole["coefficients"], rel=1e-9)
    chosen = run("fit-rule", "sets/runs.jsonl", "--loss", "final", "--data", "rows", "--columns", "reward", "--json")
    assert chosen.json["names"] == ["reward"]
    assert chosen.json["diagnostics"]["dropped"] == []


def test_says_what_the_runs_do_not_show(run, tmp_path):
    rng = np.random.default_rng(1)
    rows = ["one,two,loss"]
    for _ in range(20):
        one = rng.random()
        rows.append(f"{one},{one + 0.001 * rng.random()},{math.exp(one + 0.05 * rng.normal())}")
    (tmp_path / "alike.csv").write_text("\n".join(rows) + "\n")
    notes = run("fit-rule", "alike.csv", "--select", "none", "--json").json["notes"]
    assert notes[0].startswith("one and two go together")
    rows = ["one,loss"] + [f"{rng.random()},{math.exp(rng.normal())}" for _ in range(12)]
    (tmp_path / "noise.csv").write_text("\n".join(rows) + "\n")
    notes = run("fit-rule", "noise.csv", "--select", "none", "--json").json["notes"]
    assert notes[0].startswith("On runs that were left out, the mean of the others predicts better")


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        ("reward,loss\n1,2\n2,3\n", [], "need at least 3 runs, got 2"),
        ("reward,los\n1,2\n", [], 'fit-rule reads column "loss", and'),
        ("reward,loss\n1,2\n,3\n4,5\n", [], 'row 2: column "reward" must be a finite number, got none'),
        ("text,loss\na,2\nb,3\n", [], "has no column of numbers besides the loss; it has: text, loss"),
        ("reward,loss\n1,2\n2,3\n3,4\n", ["--columns", "rewards"], 'has no column "rewards". Did you mean "reward"?'),
        ("reward,loss\n1,2\n2,3\n3,4\n", ["--columns", ","], "--columns must name at least one indicator"),
        ("reward,loss\n1,2\n2,3\n3,4\n", ["--select", "forward"], "--select must be backward or none"),
        ("reward,loss\n1,2\n2,-3\n3,4\n", [], "loss of run 1 must be > 0"),
        ("reward,loss\n1,2\n1,3\n1,4\n", [], "reward is the same in every run"),
        ("rows,loss\nnowhere.jsonl,2\n", ["--data", "rows"], "nowhere.jsonl"),
    ],
)
def test_bad_input_is_named(run, tmp_path, content, words, said):
    (tmp_path / "runs.csv").write_text(content)
    outcome = run("fit-rule", "runs.csv", *words)
    assert outcome.code in (1, 2)
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
