"""What the executors of a comparison share: what they are given, what they give back, and how one run is made."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from tutelage.comparison.plan import Job
from tutelage.errors import ConfigError
from tutelage.training.callbacks import Callback, RunPaused, RunState
from tutelage.training.storage import finite

if TYPE_CHECKING:
    from tutelage.workloads import Workload

#: A job and what its run stored, ``None`` where it was stopped from outside.
Outcome = tuple[Job, dict[str, Any] | None]


@dataclass(frozen=True)
class Work:
    """What the runs of a comparison have in common.

    Args:
        workloads: Those of the plan; a job names one by its place.
        root: The comparison's folder.
        loop: Settings of the loop, ``keep_weights`` among them.
    """

    workloads: tuple[Workload, ...]
    root: Path
    loop: Mapping[str, Any]


class Executor(Protocol):
    """Where and how runs are carried out."""

    def __call__(self, work: Work, waiting: Sequence[Job], beat: Callable[[], None]) -> Iterator[Outcome]:
        """Carry out runs, each in its folder, and yield what they stored, in any order.

        Args:
            work: What the runs have in common.
            waiting: The runs; one that has begun goes on from its last checkpoint.
            beat: To be called about twice a second.

        Raises:
            KeyboardInterrupt: Ctrl-C; every run has saved itself.
            TutelageError: A run failed, or its workers died again and again.
        """
        ...


def train_job(workload: Workload, job: Job, work: Work, callbacks: Sequence[Callback] = ()) -> dict[str, Any]:
    """Carry out one run in this process, or go on with it, and return what it stored; ``paused`` if it waits."""
    from tutelage.training.loop import train

    keep = work.loop["keep_weights"] and not job.tuning
    callbacks = [*callbacks, *([] if job.pause is None else [PauseAt(job.pause)])]
    settings = {**work.loop, "callbacks": callbacks, "keep_weights": keep}
    folder = work.root / job.folder
    try:
        result = train(workload, job.recipe, budget=job.budget, seed=job.seed, out=folder, resume=True, **settings)
    except RunPaused as paused:
        return {"paused": paused.step}
    stored: dict[str, Any] = finite(result.to_json())
    return stored


class PauseAt(Callback):
    """Pauses a run after an update, for others to come as far."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_update(self, run: RunState, row: Mapping[str, Any]) -> None:
        """Pause, if the update has been reached."""
        run.pause = run.step >= self.step and not run.searching


class Beat(Callback):
    """Calls back at most twice a second from inside a run."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act, self.last = act, 0.0

    def on_update(self, run: RunState, row: Mapping[str, Any]) -> None:
        """Act, if half a second has passed."""
        now = time.monotonic()
        if now - self.last >= 0.5:
            self.last = now
            self.act()


def pack(workloads: Sequence[Workload]) -> bytes:
    """Return workloads as bytes for workers of this very comparison.

    Raises:
        ConfigError: They hold something that cannot leave this process.
    """
    import cloudpickle

    try:
        packed: bytes = cloudpickle.dumps(tuple(workloads))
    except Exception as error:  # whatever a user's class raises in it
        raise ConfigError(
            f"This workload cannot be sent to other processes ({error}); compare in this process, with jobs=1."
        ) from error
    return packed


def unpack(packed: bytes) -> tuple[Workload, ...]:
    """Return what :func:`pack` was given; never called on anything stored."""
    import cloudpickle

    workloads: tuple[Workload, ...] = cloudpickle.loads(packed)
    return workloads


@contextlib.contextmanager
def noted_interrupt() -> Iterator[threading.Event]:
    """Note Ctrl-C for the loop to act on: raised in the middle of another library's code it can get lost there."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():  # asked twice: the user does not want to wait
            raise KeyboardInterrupt
        asked.set()

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, previous)
