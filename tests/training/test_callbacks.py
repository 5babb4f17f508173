"""Watching and stopping a run from outside: callbacks and trackers."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
from tests.training.toys import assert_same_run, toy

from tutelage.errors import ConfigError
from tutelage.training import Callback, RunPaused, RunResult, read_curve, train


class Recorder(Callback):
    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def on_start(self, run) -> None:
        self.calls.append(("start", run.step, run.total_steps))

    def on_update(self, run, row) -> None:
        assert row["step"] == run.step - 1
        self.calls.append(("update", run.step, round(run.fraction, 3)))

    def on_evaluation(self, run, metrics) -> None:
        assert set(metrics) == {"val_loss", "val_accuracy"}
        self.calls.append(("evaluation", run.step))

    def on_checkpoint(self, run, path) -> None:
        assert path.is_dir()
        self.calls.append(("checkpoint", path.name))

    def on_end(self, run, result) -> None:
        assert isinstance(result, RunResult)
        self.calls.append(("end", result.steps))


def test_the_order_of_calls(tmp_path: Path) -> None:
    recorder = Recorder()
    train(toy(), budget="4steps", out=tmp_path, eval_every=2, checkpoint_every=3, callbacks=[Callback(), recorder])
    assert recorder.calls == [
        ("start", 0, 4),
        ("update", 1, 0.25),
        ("update", 2, 0.5),
        ("evaluation", 2),
        ("update", 3, 0.75),
        ("checkpoint", "step-00000003"),
        ("update", 4, 1.0),
        ("evaluation", 4),
        ("checkpoint", "step-00000004"),
        ("end", 4),
    ]


def test_a_resumed_run_starts_where_it_was(tmp_path: Path) -> None:
    class Break(Callback):
        def on_update(self, run, row) -> None:
            if run.step == 3:
                raise RuntimeError("power cut")

    arguments = {"budget": "4steps", "out": tmp_path, "checkpoint_every": 2}
    with pytest.raises(RuntimeError, match="power cut"):
        train(toy(), callbacks=[Break()], **arguments)
    recorder = Recorder()
    train(toy(), resume=True, callbacks=[recorder], **arguments)
    assert recorder.calls[:2] == [("start", 2, 4), ("update", 3, 0.75)]


@pytest.mark.parametrize("moment", ["on_update", "on_evaluation", "on_checkpoint"])
def test_a_callback_ends_the_run(tmp_path: Path, moment: str) -> None:
    class Stop(Callback):
        pass

    def stop(self, run, what) -> None:
        if run.step == 6:
            run.stop_reason = "good enough"

    setattr(Stop, moment, stop)
    result = train(toy(), budget="50steps", out=tmp_path, eval_every=3, checkpoint_every=3, callbacks=[Stop()])
    assert result.stopped == "good enough"
    assert result.steps == 6
    assert result.cost["evaluations"] == 2, "the update it ended at is evaluated once"
    curve = read_curve(tmp_path)
    assert curve["step"].tolist() == list(range(6))
    assert math.isfinite(curve["val_loss"][-1])
    assert train(toy(), budget="50steps", out=tmp_path, resume=True) == result


def test_an_error_in_a_callback_is_not_hidden() -> None:
    class Bad(Callback):
        def on_evaluation(self, run, metrics) -> None:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        train(toy(), budget="2steps", callbacks=[Bad()])


# --- trackers --------------------------------------------------------------------------------------------------------


def tracker(ended: list[bool]):
    from accelerate.tracking import GeneralTracker

    class Memory(GeneralTracker):
        name = "memory"
        requires_logging_directory = False

        def __init__(self) -> None:
            super().__init__()
            self.values: list[tuple[int, dict]] = []
            self.config: dict = {}

        @property
        def tracker(self):
            return self

        def store_init_configuration(self, values) -> None:
            self.config = values

        def log(self, values, step=None, **_) -> None:
            self.values.append((step, values))

        def finish(self) -> None:
            ended.append(True)

    return Memory()


def test_values_reach_a_tracker_of_ones_own() -> None:
    ended: list[bool] = []
    memory = tracker(ended)
    result = train(toy(), budget="25steps", eval_every=10, trackers=[memory], seed=3)
    assert memory.config == {"recipe": "cosine", "budget": "25steps", "seed": 3}
    rows = [(step, values) for step, values in memory.values if "loss" in values]
    assert [step for step, _ in rows] == [0, 10, 20]
    for step, values in rows:
        for name, value in values.items():
            assert value == result.curve[name][step], name
    measured = [(step, values["val_loss"]) for step, values in memory.values if "val_loss" in values]
    assert measured == [(step, result.curve["val_loss"][step]) for step in (9, 19, 24)]
    assert ended == [True]


def test_a_tracker_is_closed_when_the_run_breaks() -> None:
    class Bad(Callback):
        def on_update(self, run, row) -> None:
            raise ZeroDivisionError

    ended: list[bool] = []
    with pytest.raises(ZeroDivisionError):
        train(toy(), budget="2steps", trackers=[tracker(ended)], callbacks=[Bad()])
    assert ended == [True]


def test_a_tracker_that_is_not_installed_says_so(monkeypatch) -> None:
    from accelerate import tracking

    monkeypatch.setattr(tracking, "get_available_trackers", list)
    with pytest.raises(ConfigError, match='Tracker "wandb" needs a package that is not installed: pip install wandb'):
        train(toy(), budget="1steps", trackers=["wandb"])
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: ["tensorboard"])
    with pytest.raises(ConfigError, match='Tracker "tensorboard" writes files: give the run a folder with out'):
        train(toy(), budget="1steps", trackers=["tensorboard"])


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed: pip install tensorboard")
    train(toy(), budget="12steps", out=tmp_path, trackers=["tensorboard"])
    assert list(tmp_path.rglob("events.out.tfevents*"))


def test_a_paused_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    class Pause(Callback):
        def on_update(self, run, row) -> None:
            run.pause = run.step in (5, 11)

    settings = {"budget": "16steps", "eval_every": 5, "callbacks": [Pause()], "resume": True}
    for step in (5, 11):
        with pytest.raises(RunPaused, match=f"paused after update {step}; resume it") as paused:
            train(toy(), out=tmp_path / "paused", **settings)
        assert paused.value.step == step
        assert len(read_curve(tmp_path / "paused")["step"]) == step
    result = train(toy(), out=tmp_path / "paused", **settings)
    assert_same_run(result, train(toy(), out=tmp_path / "straight", budget="16steps", eval_every=5))
    assert copy.copy(paused.value).step == 11  # it comes whole from a worker process
