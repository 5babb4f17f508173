"""The tracker of checkpoints: what it scores when, and that no run, killed or resumed, leaves a row twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from tests.training.toys import assert_same_run, toy

from tutelage.errors import DataNotFound
from tutelage.forecast.checkpoints import health_report
from tutelage.training import Callback, branch, extend, train
from tutelage.training.checkpoint_tracker import CheckpointTracker, read_checkpoints
from tutelage.training.folder import SCORES_LOG


class Evaluator:
    """Scores the sum of the weights, which tells every update from the others; counts its calls."""

    def __init__(self, value=None) -> None:
        self.calls, self.value = 0, value
        self.modes: list[tuple[bool, bool]] = []

    def __call__(self, model):
        self.calls += 1
        self.modes.append((model.training, torch.is_grad_enabled()))
        torch.rand(3)  # uses up random numbers, as an evaluator may
        if self.value is not None:
            return self.value
        return math.tanh(sum(float(parameter.sum()) for parameter in model.parameters())), 0.01


class Break(Callback):
    """Breaks a run after so many updates."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_update(self, run, row) -> None:
        if run.step == self.step:
            raise RuntimeError("power cut")


def tracker(every=None, **changes) -> CheckpointTracker:
    evaluators = {"weights": (Evaluator(), 0.25, "toy"), "still": (lambda model: 0.5, 0.0, "toy")}
    return CheckpointTracker(evaluators, every=every, **changes)


def steps(rows, task="weights"):
    return [row["step"] for row in rows if row["task"] == task]


# --- when ------------------------------------------------------------------------------------------------------------


def test_a_tidy_table_in_the_run_folder(tmp_path: Path) -> None:
    watch = tracker(every=3)
    train(toy(), budget="8steps", out=tmp_path / "first", eval_every=4, callbacks=[watch])
    rows = read_checkpoints(tmp_path / "first")
    assert rows == watch.table
    assert steps(rows) == steps(rows, "still") == [3, 6, 8], "at multiples and at the end"
    assert steps(rows, "val_loss") == [4, 8]
    weights = rows[0]
    assert {name: weights[name] for name in weights if name != "score"} == {
        "run": "first", "step": 3, "tokens": 3 * 8 * 12, "task": "weights", "chance": 0.25, "domain": "toy", "ci": 0.01,
    }  # fmt: skip
    loss = next(row for row in rows if row["task"] == "val_loss")
    assert (loss["chance"], loss["domain"]) == (None, "loss")
    assert "ci" not in next(row for row in rows if row["task"] == "still")
    lines = (tmp_path / "first" / SCORES_LOG).read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == len(rows)


def test_without_every_it_scores_at_each_evaluation() -> None:
    watch = tracker()
    train(toy(), budget="10steps", eval_every=4, callbacks=[watch])
    assert steps(watch.table) == steps(watch.table, "val_loss") == [4, 8, 10]
    assert watch.evaluators["weights"][0].calls == 3, "the end is scored once"
    assert {row["run"] for row in watch.table} == {"run"}


def test_where_updates_are_logged_now_and_then_the_next_logged_one_counts() -> None:
    watch = tracker(every=4)
    train(toy(), budget="20steps", eval_every=20, log_every=5, callbacks=[watch])
    assert steps(watch.table) == [6, 11, 16, 20]


def test_a_run_that_is_stopped_is_scored_at_its_end() -> None:
    class Stop(Callback):
        def on_update(self, run, row) -> None:
            run.stop_reason = "enough" if run.step == 5 else None

    watch = tracker(every=100)
    train(toy(), budget="50steps", callbacks=[Stop(), watch])
    assert steps(watch.table) == [5]


def test_the_model_is_in_evaluation_mode_and_the_run_is_as_without_the_tracker(tmp_path: Path) -> None:
    watch = tracker(every=2)
    with_it = train(toy(), budget="7steps", out=tmp_path / "a", callbacks=[watch])
    without = train(toy(), budget="7steps", out=tmp_path / "b")
    assert_same_run(with_it, without)
    assert set(watch.evaluators["weights"][0].modes) == {(False, False)}


def test_a_tracker_may_follow_one_run_after_another(tmp_path: Path) -> None:
    watch = tracker(every=5)
    for name in ("a", "b"):
        train(toy(), budget="10steps", out=tmp_path / name, callbacks=[watch])
    assert read_checkpoints(tmp_path / "a") != read_checkpoints(tmp_path / "b")
    assert [{**row, "run": ""} for row in read_checkpoints(tmp_path / "a")] == [
        {**row, "run": ""} for row in read_checkpoints(tmp_path / "b")
    ]
    train(toy(), budget="5steps", callbacks=[watch])
    assert steps(watch.table) == [5]


# --- resuming --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [5, 6, 7, 9, 12])
def test_a_resumed_run_has_every_row_once_and_the_same(tmp_path: Path, at: int) -> None:
    arguments = {"budget": "12steps", "eval_every": 4, "checkpoint_every": 4}
    train(toy(), out=tmp_path / "run", callbacks=[tracker(every=3)], **arguments)
    whole = read_checkpoints(tmp_path / "run")
    broken = tmp_path / "other" / "run"
    with pytest.raises(RuntimeError, match="power cut"):
        train(toy(), out=broken, callbacks=[tracker(every=3), Break(at)], **arguments)
    before = (broken / SCORES_LOG).read_bytes()
    train(toy(), out=broken, resume=True, callbacks=[tracker(every=3)], **arguments)
    assert read_checkpoints(broken) == whole
    assert (broken / SCORES_LOG).read_bytes().startswith(before), "only ever appended to"


def test_rows_after_the_checkpoint_do_not_count_where_the_resumed_run_scores_elsewhere(tmp_path: Path) -> None:
    arguments = {"budget": "12steps", "eval_every": 12, "checkpoint_every": 4, "out": tmp_path}
    with pytest.raises(RuntimeError):
        train(toy(), callbacks=[tracker(every=1), Break(7)], **arguments)
    train(toy(), resume=True, callbacks=[tracker(every=6)], **arguments)
    assert steps(read_checkpoints(tmp_path)) == [1, 2, 3, 4, 6, 12]


def test_a_line_torn_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    arguments = {"budget": "8steps", "eval_every": 8, "checkpoint_every": 4, "out": tmp_path}
    with pytest.raises(RuntimeError):
        train(toy(), callbacks=[tracker(every=2), Break(7)], **arguments)
    with open(tmp_path / SCORES_LOG, "ab") as log:
        log.write(b'{"run": "x", "step": 7, "tok')
    train(toy(), resume=True, callbacks=[tracker(every=2)], **arguments)
    assert steps(read_checkpoints(tmp_path)) == [2, 4, 6, 8]


def test_a_run_that_is_replaced_begins_a_new_table(tmp_path: Path) -> None:
    train(toy(), budget="9steps", out=tmp_path, callbacks=[tracker(every=1)])
    train(toy(), budget="6steps", out=tmp_path, force=True, callbacks=[tracker(every=3)])
    assert steps(read_checkpoints(tmp_path)) == [3, 6]
    train(toy(), budget="6steps", out=tmp_path, force=True)
    assert not (tmp_path / SCORES_LOG).exists(), "the table of a run that is gone"


def test_an_extended_and_a_branched_run_go_on_with_their_table(tmp_path: Path) -> None:
    train(toy(), budget="6steps", out=tmp_path / "trunk", callbacks=[tracker(every=3)])
    branch(toy(), tmp_path / "trunk", "3steps", out=tmp_path / "twig", callbacks=[tracker(every=3)])
    extend(toy(), tmp_path / "trunk", "6steps", callbacks=[tracker(every=3)])
    assert steps(read_checkpoints(tmp_path / "trunk")) == [3, 6, 9, 12]
    both = read_checkpoints(tmp_path / "trunk", tmp_path / "twig")
    assert {row["run"] for row in both} == {"trunk", "twig"}
    assert steps([row for row in both if row["run"] == "twig"]) == [3, 6, 9]


# --- reading ---------------------------------------------------------------------------------------------------------


def test_runs_are_called_by_what_tells_their_folders_apart(tmp_path: Path) -> None:
    folders = [tmp_path / "small" / "seed-0" / "run", tmp_path / "large" / "seed-0" / "run"]
    for folder in folders:
        train(toy(), budget="2steps", out=folder, callbacks=[tracker()])
    assert list(dict.fromkeys(row["run"] for row in read_checkpoints(*folders))) == ["small", "large"]
    assert {row["run"] for row in read_checkpoints(folders[0])} == {"run"}
    with pytest.raises(ValueError, match="is named twice"):
        read_checkpoints(folders[0], folders[0])
    with pytest.raises(ValueError, match="at least one run folder"):
        read_checkpoints()
    with pytest.raises(DataNotFound, match=r"has no scores.jsonl. Train with callbacks=\[CheckpointTracker"):
        read_checkpoints(tmp_path)


def test_the_analysis_takes_the_table_as_it_is(tmp_path: Path) -> None:
    train(toy(), budget="10steps", out=tmp_path / "a", callbacks=[tracker(every=2)])
    report = health_report(read_checkpoints(tmp_path / "a"))
    assert {entry.task: entry.verdict for entry in report.tasks}["still"] == "saturated"


# --- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, (math.inf, 0.1)])
def test_a_score_that_is_no_number_is_left_out_and_noted(tmp_path: Path, value) -> None:
    notes: list[str] = []

    class Notes(Callback):
        def on_end(self, run, result) -> None:
            notes.extend(run.notes)

    watch = CheckpointTracker({"bad": (Evaluator(value), 0.0, "d"), "good": (lambda model: 0.5, 0.0, "d")}, every=2)
    train(toy(), budget="2steps", out=tmp_path, callbacks=[watch, Notes()])
    assert steps(watch.table, "good") == [2]
    assert steps(watch.table, "bad") == []
    assert notes == ["The score of bad at update 2 is no number; it is left out."]


def test_an_error_in_an_evaluator_is_not_hidden() -> None:
    def bad(model):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        train(toy(), budget="2steps", callbacks=[CheckpointTracker({"bad": (bad, 0.0, "d")})])


def test_in_a_loop_of_ones_own() -> None:
    model = torch.nn.Linear(2, 2)
    watch = tracker(name="mine")
    watch.record(model, step=1)
    rows = watch.record(model, step=2, tokens=64)
    assert model.training
    assert [(row["run"], row["step"], row["tokens"]) for row in rows] == [("mine", 2, 64)] * 2
    assert steps(watch.table) == [1, 2]
    assert watch.table[0]["tokens"] == 1


@pytest.mark.parametrize(
    ("evaluators", "arguments", "error", "message"),
    [
        ({}, {}, ValueError, "evaluators must name at least one task"),
        ({"t": (abs, 0.5, "d")}, {"every": 0}, ValueError, "every must be >= 1 update, got 0"),
        ({"t": (abs, 1.0, "d")}, {}, ValueError, 'chance of "t" must be >= 0 and < 1, got 1.0'),
        ({"t": (abs, 0.5, "")}, {}, ValueError, "the domain must not be empty"),
        ({"t": (abs, 0.5, "loss")}, {}, ValueError, '"loss" and "val_loss" are taken'),
        ({"val_loss": (abs, 0.5, "d")}, {}, ValueError, '"loss" and "val_loss" are taken'),
        ({"t": abs}, {}, TypeError, r'evaluator "t" must be \(function of the model, chance, domain\)'),
        ({"t": (0.5, abs, "d")}, {}, TypeError, r'evaluator "t" must be'),
    ],
)
def test_trackers_that_are_refused(evaluators, arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        CheckpointTracker(evaluators, **arguments)
