"""``forecast signals`` on tables and folders of runs: what it finds, what it says, what it refuses."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from tests.training.toys import toy

from tutelage.cli import forecast_signals  # noqa: F401  # registers the command
from tutelage.training import Callback, train

NORMS, FINALS, RATES = [0.9, 0.8, 1.1, 2.0, 3.0], [2.0, 1.7, 1.9, 2.4, 2.3], [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]


def write_table(path: Path, *, first=1, drop=(), rows=None, **changes) -> Path:
    """Ten updates of five runs, whose rank correlation is -0.8 for the norm and +0.8 for the loss."""
    table = rows or [
        {
            "run": f"r{place}",
            "step": first + step,
            "grad_norm": NORMS[place],
            "loss": 5 - NORMS[place],
            "lr": RATES[place],
            "batch": 16,
            "final": FINALS[place],
        }
        for place in range(5)
        for step in range(10)
    ]
    table = [{name: value for name, value in (row | changes).items() if name not in drop} for row in table]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path


def test_a_table(run, tmp_path: Path) -> None:
    write_table(tmp_path / "sweep.csv")
    outcome = run("forecast", "signals", "sweep.csv", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert (found["at"], found["lower_is_better"]) == (0.2, True)
    rows = {row["signal"]: row for row in found["correlations"]}
    assert rows["grad_norm"]["rho"] == pytest.approx(-0.8)
    assert rows["grad_norm"]["partial"] == pytest.approx(-0.746, abs=1e-3)
    assert rows["loss"]["rho"] == pytest.approx(0.8)
    assert found["pruning"]["kept"] == ["r1", "r0", "r2"]
    assert found["pruning"]["saved"] == pytest.approx(0.32)
    assert found["pruning"]["regret"] == 0
    assert found["runs"]["r3"] == {
        "batch": 16, "lr": 3e-3, "early": {"grad_norm": 2.0, "loss": 3.0}, "final": 2.4, "diverged": False,
        "kept": False,
    }  # fmt: skip
    assert "final counts as a loss, lower is better" in found["notes"][0]
    assert "The interval of grad_norm reaches 0" in found["notes"][1]


def test_what_it_prints_and_draws(run, tmp_path: Path) -> None:
    write_table(tmp_path / "sweep.csv", first=0)
    outcome = run("forecast", "signals", "sweep.csv", "--signal", "loss", "--keep", 0.4, "--plot", "picture.svg")
    assert outcome.code == 0, outcome.err
    for line in ("Signals at 0.2 of 5 runs", "grad_norm  all    5     -0.80 (-0.99 to +0.46)",
                 "Stopped at 0.2 by loss, the highest of each batch size go on:", "go on    r1, r0",
                 "stopped  r2, r3, r4", "saves 48.0 % of the examples",
                 "best run r1, best that goes on r1: worse by 0;"):  # fmt: skip
        assert line in outcome.out, line
    assert "Drawn: picture.svg" in outcome.err
    assert (tmp_path / "picture.svg").read_text().startswith("<?xml")


def test_scores_and_the_other_direction(run, tmp_path: Path) -> None:
    write_table(tmp_path / "sweep.csv")
    found = run("forecast", "signals", "sweep.csv", "--higher-is-better", "--prefer", "high", "--json").json
    assert {row["signal"]: row["rho"] for row in found["correlations"]}["grad_norm"] == pytest.approx(0.8)
    assert found["pruning"]["kept"] == ["r4", "r3", "r2"]
    assert not any("lower is better" in note for note in found["notes"])


def test_folders_of_runs_finished_diverged_and_under_way(run, tmp_path: Path) -> None:
    class Break(Callback):
        def __init__(self, step: int) -> None:
            self.step = step

        def on_update(self, run, row) -> None:
            if run.step == self.step:
                raise RuntimeError("power cut")

    for place, peak in enumerate((1e-4, 1e-3, 1e-2, 1e-1)):
        train(toy(), f"constant:peak={peak}", budget="20steps", out=tmp_path / "runs" / f"peak-{place}")
    train(toy(), "constant:peak=1e18;sgd;clip=1e30", budget="20steps", out=tmp_path / "runs/wild")
    for name, step in (("half", 10), ("begun", 2)):
        with pytest.raises(RuntimeError, match="power cut"):
            train(toy(), "constant:peak=0.5", budget="20steps", out=tmp_path / "runs" / name, callbacks=[Break(step)])
    outcome = run("forecast", "signals", "runs", "--at", 0.4, "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert set(found["runs"]) == {"peak-0", "peak-1", "peak-2", "peak-3", "wild", "half"}
    assert found["runs"]["wild"]["diverged"]
    assert "wild" in found["pruning"]["dropped"]
    assert found["pruning"]["regret"] is None, "one is under way"
    assert any("Not at 0.4 of the run yet, and left out: begun" in note for note in found["notes"])
    only = run("forecast", "signals", "runs", "--where", "status = 'finished'", "--json").json
    assert set(only["runs"]) == {"peak-0", "peak-1", "peak-2", "peak-3"}
    assert only["pruning"]["regret"] >= 0
    assert only["lower_is_better"]


def test_runs_under_way_only(run, tmp_path: Path) -> None:
    write_table(tmp_path / "sweep.csv", drop=("final",), total_steps=100)
    outcome = run("forecast", "signals", "sweep.csv", "--at", 0.1)
    assert outcome.code == 0, outcome.err
    assert "rank correlation" not in outcome.out
    assert "go on    r1, r0, r2" in outcome.out
    assert "saves 36.0 % of the examples" in outcome.out
    assert "0 runs have ended; correlations need 4" in outcome.err


def test_a_diverged_run_of_a_table(run, tmp_path: Path) -> None:
    rows = [
        {"run": f"r{place}", "step": step, "loss": 3.0 + place, "lr": 1e-3 * (place + 1), "batch": 8,
         "final": "nan" if place == 4 else 2.0 + place}
        for place in range(5) for step in range(1, 11)
    ]  # fmt: skip
    write_table(tmp_path / "sweep.csv", rows=rows)
    found = run("forecast", "signals", "sweep.csv", "--signal", "loss", "--prefer", "low", "--json").json
    assert found["runs"]["r4"]["diverged"]
    assert {row["signal"]: row["rho"] for row in found["correlations"]} == {"loss": pytest.approx(-1)}
    assert any("The learning rate orders" in note or "cannot tell them apart" in note for note in found["notes"])


@pytest.mark.parametrize(("table", "arguments", "message"), [
    ({"drop": ("lr",)}, (), 'sweep.csv: no column "lr". Columns: run, step'),
    ({"drop": ("grad_norm", "loss")}, (), "no signal: it needs a column grad_norm or loss"),
    ({"drop": ("grad_norm",)}, (), 'run r0: no signal "grad_norm". It has loss.'),
    ({"batch": "many"}, (), "sweep.csv:2: batch: 'many' is not a number"),
    ({"batch": 0}, (), "run r0: batch must be >= 1, got 0"),
    ({"step": ""}, (), "sweep.csv:2: step is empty"),
    ({"run": ""}, (), "sweep.csv:2: run is empty"),
    ({"lr": ""}, (), "run r0 has no lr"),
    ({"step": 3}, (), "run r0: steps must rise from 1 on"),
    ({"run": "same"}, (), "run same has several values of final"),
    ({}, ("--at", 0), "at must be > 0 and <= 1"),
    ({}, ("--keep", 1), "keep must be > 0 and < 1"),
    ({}, ("--prefer", "up"), '--prefer must be low or high, got "up"'),
    ({}, ("--signal", "los"), 'run r0: no signal "los". Did you mean "loss"?'),
    ({}, ("--plot", "picture.txt"), "the name must end in .svg, .png, .pdf"),
    ({}, ("--plot", "none/picture.png"), "there is no folder none"),
])  # fmt: skip
def test_bad_input(run, tmp_path: Path, table, arguments, message: str) -> None:
    write_table(tmp_path / "sweep.csv", **table)
    outcome = run("forecast", "signals", "sweep.csv", *arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert message in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_sources_that_are_not_there(run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, message in (("nowhere", "No file or folder nowhere"), ("empty", "empty holds no run")):
        outcome = run("forecast", "signals", source)
        assert (outcome.code, outcome.out) == (2, "")
        assert message in outcome.err


def test_different_data_are_refused(run, tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", data="wiki")
    rows = [{"run": f"b{place}", "step": 1, "grad_norm": 1.0, "lr": 1e-3, "batch": 160, "final": 1.0, "data": "code"}
            for place in range(4)]  # fmt: skip
    write_table(tmp_path / "b.csv", rows=rows)
    outcome = run("forecast", "signals", "a.csv", "b.csv")
    assert outcome.code == 2
    assert "were trained on different data" in outcome.err
    assert math.isfinite(run("forecast", "signals", "a.csv", "--json").json["pruning"]["saved"])
