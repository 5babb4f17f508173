"""Killed at any moment and resumed, a run ends bit for bit as one that was left alone."""

from __future__ import annotations

import os
import random
import signal
import threading
from pathlib import Path

import pytest
from tests.training.toys import assert_same_run, child, kill, lines, start, toy, wait_until, woken

from tutelage.errors import ConfigError
from tutelage.training import Callback, read_curve, train
from tutelage.training.folder import locked

KILLED = -signal.SIGKILL
RECIPES = {
    "adamw": "uba:phi=5,warmup=0.1",
    "momentum": "cosine;sgd:momentum=0.9,weight_decay=0.01,nesterov=true;clip=none",
    "accumulation": "wsd;accumulate=2;clip=0.5",
    "search": "auto-lrs:candidates=3,tau=16steps,probe_ratio=1.0,tau_max=32steps,warmup=5steps",
    "validating-search": "auto-lrs:candidates=2,tau=16steps,probe_ratio=1.0,tau_max=16steps,loss=val",
}


def arguments(name: str, **changes) -> dict:
    return {"recipe": RECIPES[name], "budget": "96steps", "seed": 4, "checkpoint_every": 7, "eval_every": 20} | changes


@pytest.mark.parametrize("name", RECIPES)
def test_killed_at_random_moments(tmp_path: Path, name: str) -> None:
    settings = arguments(name)
    whole = train(toy(), out=tmp_path / "whole", **settings)
    assert (whole.cost["search_steps"] > 0) == ("search" in name)
    assert (whole.cost["search_evaluations"] > 0) == ("validating" in name)
    moments = random.Random(name)
    codes = []
    for _ in range(4):
        codes.append(kill(tmp_path / "killed", settings, rows=lines(tmp_path / "killed") + moments.randint(3, 18)))
    assert KILLED in codes
    assert_same_run(train(toy(), out=tmp_path / "killed", resume=True, **settings), whole)


@pytest.mark.parametrize("name", ["momentum", "search"])
@pytest.mark.parametrize("updates", [(1, 1), (6, 1, 9), (20, 20, 3), (95,), (96,)])
def test_killed_between_two_given_updates(tmp_path: Path, name: str, updates: tuple[int, ...]) -> None:
    settings = arguments(name)
    whole = train(toy(), out=tmp_path / "whole", **settings)
    for number in updates:
        assert kill(tmp_path / "killed", settings, updates=number) == KILLED
    assert_same_run(train(toy(), out=tmp_path / "killed", resume=True, **settings), whole)


def test_killed_in_every_flush_of_a_short_run(tmp_path: Path) -> None:
    """Flushes are inside run.json, every file of every checkpoint, the compacted curve and result.json."""
    settings = arguments("adamw", budget="9steps", checkpoint_every=4)
    whole = train(toy(), out=tmp_path / "whole", **settings)
    number, code = 0, KILLED
    while code == KILLED:
        number += 1
        folder = tmp_path / f"killed-{number}"
        code = kill(folder, settings, flushes=number)
        assert_same_run(train(toy(), out=folder, resume=True, **settings), whole)
    assert code == 0
    assert number > 20, "a checkpoint has six flushes, and there are three"


def test_a_kill_within_resumed_runs_again_and_again(tmp_path: Path) -> None:
    settings = arguments("adamw", budget="40steps", checkpoint_every=3)
    whole = train(toy(), out=tmp_path / "whole", **settings)
    kills = 0
    while kill(tmp_path / "killed", settings, updates=4) == KILLED:
        kills += 1
        assert kills < 60
    assert kills > 10
    assert_same_run(train(toy(), out=tmp_path / "killed", resume=True, **settings), whole)


def test_rows_a_killed_run_wrote_beyond_its_checkpoint_do_not_count_twice(tmp_path: Path) -> None:
    settings = arguments("adamw", budget="30steps", checkpoint_every=10, eval_every=4)
    assert kill(tmp_path, settings, updates=19) == KILLED
    # Other evaluations from here on: those written at updates 11 and 15 belong to no update of this run any more.
    train(toy(), out=tmp_path, resume=True, **(settings | {"eval_every": 9}))
    curve = read_curve(tmp_path)
    assert curve["step"].tolist() == list(range(30))
    measured = curve["step"][curve["val_loss"] == curve["val_loss"]]
    assert measured.tolist() == [3, 7, 17, 26, 29]


def test_every_row_written_before_the_kill_is_there(tmp_path: Path) -> None:
    assert kill(tmp_path, arguments("adamw", eval_every=500), updates=87) == KILLED
    curve = read_curve(tmp_path)
    assert curve["step"].tolist() == list(range(87))
    assert (curve["loss"] > 0).all()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_signal_saves_first(tmp_path: Path, number: signal.Signals) -> None:
    settings = arguments("adamw", budget="4000steps", eval_every=1000, checkpoint_every=100_000)
    process, _ = start(tmp_path, settings)
    wait_until(process, lambda: lines(tmp_path) >= 20)
    rows_then = lines(tmp_path)
    assert process.exitcode is None
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == 130
    (saved,) = (tmp_path / "checkpoint").iterdir()
    step = int(saved.name.removeprefix("step-"))
    assert rows_then <= step == lines(tmp_path) < 4000, "saved after the update in hand: no update is lost"


def test_a_signalled_run_ends_like_one_left_alone(tmp_path: Path) -> None:
    settings = arguments("adamw", budget="300steps", checkpoint_every=100_000)
    whole = train(toy(), out=tmp_path / "whole", **settings)
    process, _ = start(tmp_path / "stopped", settings)
    wait_until(process, lambda: lines(tmp_path / "stopped") >= 10)
    process.terminate()
    process.join()
    assert_same_run(train(toy(), out=tmp_path / "stopped", resume=True, **settings), whole)


def test_the_second_interrupt_leaves_at_once(tmp_path: Path) -> None:
    settings = arguments("adamw", checkpoint_every=100_000, eval_every=500)
    process, note = start(tmp_path / "run", settings, updates=30)  # waits for ever inside update 30
    wait_until(process, note.exists)
    os.kill(process.pid, signal.SIGINT)
    wait_until(process, woken(note).exists)
    assert process.exitcode is None, "asked once, it waits for the update in hand"
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 130
    assert not (tmp_path / "run" / "checkpoint").exists()
    assert lines(tmp_path / "run") == 30


@pytest.mark.parametrize(("moment", "steps"), [("update", 5), ("last evaluation", 12)])
def test_a_signal_ends_the_run_and_leaves_the_callers_handlers(tmp_path: Path, moment: str, steps: int) -> None:
    class Signal(Callback):
        def on_update(self, run, row) -> None:
            if moment == "update" and run.step == 5:
                signal.raise_signal(signal.SIGTERM)

        def on_evaluation(self, run, metrics) -> None:
            if moment == "last evaluation" and run.step == 12:
                signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    settings = arguments("adamw", budget="12steps")
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        train(toy(), out=tmp_path / "run", callbacks=[Signal()], **settings)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    # Asked during the last evaluation it finishes, stores, and still does as it was told.
    assert (tmp_path / "run" / "result.json").exists() == (steps == 12)
    whole = train(toy(), out=tmp_path / "whole", **settings)
    assert_same_run(train(toy(), out=tmp_path / "run", resume=True, **settings), whole)


def test_in_memory_and_in_a_thread_signals_are_the_callers(tmp_path: Path) -> None:
    answers = []

    class Look(Callback):
        def on_update(self, run, row) -> None:
            answers.append(signal.getsignal(signal.SIGINT))

    mine = signal.getsignal(signal.SIGINT)
    train(toy(), budget="1steps", callbacks=[Look()])
    thread = threading.Thread(
        target=train, args=(toy(),), kwargs={"budget": "1steps", "out": tmp_path / "run", "callbacks": [Look()]}
    )
    thread.start()
    thread.join()
    assert answers == [mine, mine]
    assert (tmp_path / "run" / "result.json").exists()


def test_two_processes_cannot_train_the_same_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(locked.__wrapped__.__kwdefaults__, "patience", 0.0)
    settings = arguments("adamw")
    process, note = start(tmp_path / "run", settings, updates=5)
    wait_until(process, note.exists)
    try:
        with pytest.raises(ConfigError, match=r"Another process is training the run in .*; wait for it"):
            train(toy(), out=tmp_path / "run", resume=True, **settings)
        with pytest.raises(ConfigError, match="Another process"):
            train(toy(), out=tmp_path / "run", force=True, **settings)
    finally:
        process.kill()
        process.join()
    assert train(toy(), out=tmp_path / "run", resume=True, **settings).steps == 96


def test_a_finished_run_is_read_not_repeated(tmp_path: Path) -> None:
    settings = arguments("adamw", budget="10steps")
    first = train(toy(), out=tmp_path, **settings)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = train(toy(), out=tmp_path, resume=True, **settings)
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_child_is_the_same_training(tmp_path: Path) -> None:
    """What the kills above interrupt is the run they are compared with."""
    settings = arguments("adamw", budget="12steps")
    process = start(tmp_path / "child", settings)[0]
    process.join()
    assert process.exitcode == 0
    here = train(toy(), out=tmp_path / "here", **settings)
    assert_same_run(train(toy(), out=tmp_path / "child", resume=True, **settings), here)
    assert child.__module__ == "tests.training.toys"
