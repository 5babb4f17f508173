"""Small workloads on synthetic data: fast, with dropout, so that every random stream matters; and runs to kill."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tutelage.training import Callback, RunResult, read_curve, train
from tutelage.training.checkpoint import checkpoints
from tutelage.training.curve import CURVE_LOG
from tutelage.workloads import Workload


class Rows:
    """Examples of a fixed random classification problem."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(count, 12, generator=generator)
        self.labels = (self.inputs[:, :3].sum(1) > 0).long() + (self.inputs[:, 3] > 0.5).long()

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices):
        index = torch.as_tensor(indices)
        return self.inputs[index], self.labels[index]


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 24), nn.Dropout(0.2), nn.GELU(), nn.Linear(24, 3))


def make_plain_model() -> nn.Module:
    """Without dropout: two ways to make one update must give the same weights."""
    return nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 3))


def make_normed_model() -> nn.Module:
    """With buffers, which every process updates on its own examples."""
    return nn.Sequential(nn.Linear(12, 24), nn.BatchNorm1d(24), nn.GELU(), nn.Linear(24, 3))


def loss(model, batch):
    return functional.cross_entropy(model(batch[0]), batch[1])


def measure(model, batch):
    logits = model(batch[0])
    count = len(batch[1])
    return {
        "loss": (functional.cross_entropy(logits, batch[1], reduction="sum").item(), count),
        "accuracy": ((logits.argmax(1) == batch[1]).sum().item(), count),
    }


def toy(**changes) -> Workload:
    settings = {
        "name": "toy",
        "train": Rows(203, 0),
        "validation": Rows(57, 1),
        "make_model": make_model,
        "loss": loss,
        "measure": measure,
        "batch_size": 8,
        "peak": 0.01,
        "tokens_per_example": 12,
        "fingerprint": "toy-1",
    }
    return Workload(**(settings | changes))


# --- comparing runs --------------------------------------------------------------------------------------------------


def final_bytes(folder: Path) -> dict[str, bytes]:
    """Return the stored weights and optimizer state of a finished run."""
    newest = checkpoints(folder / "checkpoint")[-1]
    return {name: (newest / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")}


def counted(result: RunResult) -> dict[str, Any]:
    """Return all of a result that must repeat: everything but seconds and the place it is stored."""
    facts = result.to_json()
    facts["cost"] = {name: value for name, value in facts["cost"].items() if "seconds" not in name}
    del facts["seconds"]
    return facts


def assert_same_run(left: RunResult, right: RunResult) -> None:
    """Two runs are the same to the last bit: weights, optimizer state, result, ledger and curve."""
    assert counted(left) == counted(right)
    assert left.folder is not None
    assert right.folder is not None
    assert final_bytes(left.folder) == final_bytes(right.folder)
    one, other = read_curve(left.folder), read_curve(right.folder)
    assert set(one) == set(other)
    for name in set(one) - {"seconds"}:
        assert one[name].tobytes() == other[name].tobytes(), name


# --- runs in a process of their own ----------------------------------------------------------------------------------

#: Forked from a clean server that has imported everything, so that a child starts in milliseconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.training.warm", "tutelage.schedules.auto_lrs", "sklearn.gaussian_process"])


class Stall(Callback):
    """Waits for the kill after so many updates, counted from this process's start."""

    def __init__(self, updates: int, note: Path) -> None:
        self.left, self.note = updates, note

    def on_update(self, run, row) -> None:
        self.left -= 1
        if not self.left:
            wait_for_kill(self.note)


def wait_for_kill(note: Path) -> None:
    answer = signal.getsignal(signal.SIGINT)

    def answer_and_tell(number: int, frame: Any) -> None:
        answer(number, frame)
        woken(note).touch()

    signal.signal(signal.SIGINT, answer_and_tell)
    note.touch()
    while True:
        signal.pause()


def woken(note: Path) -> Path:
    """Return the file that a waiting process makes when a signal has been handled."""
    return note.with_name(note.name + "-woken")


def stall_in_flush(number: int, note: Path) -> None:
    """Wait for the kill inside the ``number``-th flush to the disk, in the middle of writing a file."""
    flush, calls = os.fsync, []

    def counting(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == number:
            wait_for_kill(note)
        flush(descriptor)

    os.fsync = counting


def child(folder: Path, arguments: dict[str, Any], updates: int | None, flushes: int | None, note: Path) -> None:
    """Run inside the process that is killed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    torch.set_num_threads(1)
    if flushes is not None:
        stall_in_flush(flushes, note)
    callbacks = [Stall(updates, note)] if updates is not None else []
    try:
        train(toy(), out=folder, resume=True, callbacks=callbacks, **arguments)
    except KeyboardInterrupt:
        os._exit(130)
    os._exit(0)


def start(folder: Path, arguments: dict[str, Any], *, updates=None, flushes=None) -> tuple[Any, Path]:
    """Start a run in a process of its own; it makes the file returned when it has come to where it waits."""
    note = folder.with_name(f"{folder.name}-stalled")
    note.unlink(missing_ok=True)
    woken(note).unlink(missing_ok=True)
    process = PROCESSES.Process(target=child, args=(folder, arguments, updates, flushes, note))
    process.start()
    return process, note


def wait_until(process: Any, condition: Callable[[], bool]) -> None:
    """Return when the condition holds, or when the process has ended."""
    while not condition() and process.exitcode is None:
        process.join(0.001)


def lines(folder: Path) -> int:
    """Return how many complete lines the log of a run has."""
    try:
        return (folder / CURVE_LOG).read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def kill(folder: Path, arguments: dict[str, Any], *, rows=None, updates=None, flushes=None) -> int:
    """Start a run and kill it: when its log has so many lines, or where it waits. Returns its exit code."""
    process, note = start(folder, arguments, updates=updates, flushes=flushes)
    wait_until(process, note.exists if rows is None else lambda: lines(folder) >= rows)
    process.kill()
    process.join()
    return process.exitcode
