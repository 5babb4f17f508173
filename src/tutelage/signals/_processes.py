"""Batches scored one after another, in several processes, or as Ray tasks; outcomes keep the order of the batches."""

from __future__ import annotations

import importlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.signals._protocol import BadRow, Scored

#: What connects to Ray stands above the signals, with the runs on Ray, and is found on first use by name.
_RAY = "tutelage.comparison.on_ray"


class Task(NamedTuple):
    """Rows to score: their numbers and their content."""

    numbers: NDArray[np.int64]
    batch: dict[str, list[Any]]


class Outcome(NamedTuple):
    """Scores of a batch, what they cost, and the row that could not be scored, if any, with the reason."""

    values: NDArray[np.float64]
    seconds: float
    tokens: int = 0
    forward_passes: int = 0
    bad: tuple[int, str] | None = None


def apply(signal: Any, batch: dict[str, list[Any]]) -> Outcome:
    """Score a batch."""
    began = time.perf_counter()
    try:
        found = signal.scored(batch) if hasattr(signal, "scored") else Scored(signal.score(batch))
    except BadRow as error:
        return Outcome(np.empty(0), time.perf_counter() - began, bad=(error.row, error.message))
    values = np.asarray(found.values, dtype=np.float64)
    return Outcome(values, time.perf_counter() - began, int(found.tokens), int(found.forward_passes))


def outcomes(
    signal: Any, tasks: Iterator[Task], num_proc: int, on: str, work: Callable[[Any, dict[str, list[Any]]], Outcome]
) -> Iterator[tuple[Task, Outcome]]:
    """Return each task with its outcome, in order.

    Args:
        signal: The signal.
        tasks: Read as they are needed: at most two a process lie in memory.
        num_proc: Processes, or Ray tasks at a time.
        on: ``"local"`` or where Ray is.
        work: Scores one batch.

    Raises:
        ConfigError: ``on`` is neither.
        MissingExtra: Ray is not installed.
    """
    if on != "local" and not on.startswith("ray"):
        raise ConfigError(f'on must be local, ray, ray:auto, ray:HOST:PORT or ray://HOST:PORT, got "{on}".')
    if on != "local":
        yield from _on_ray(signal, tasks, num_proc, on, work)
    elif num_proc == 1:
        for task in tasks:
            yield task, work(signal, task.batch)
    else:
        yield from _in_processes(signal, tasks, num_proc, work)


def _in_processes(
    signal: Any, tasks: Iterator[Task], num_proc: int, work: Callable[[Any, dict[str, list[Any]]], Outcome]
) -> Iterator[tuple[Task, Outcome]]:
    from joblib import Parallel, delayed

    running: deque[Task] = deque()

    def sent() -> Iterator[Any]:
        for task in tasks:
            running.append(task)
            yield delayed(work)(signal, task.batch)

    pool = Parallel(n_jobs=num_proc, return_as="generator", pre_dispatch=2 * num_proc, batch_size=1)
    done = pool(sent())
    try:
        for outcome in done:
            yield running.popleft(), outcome
    finally:
        done.close()


def _on_ray(
    signal: Any,
    tasks: Iterator[Task],
    num_proc: int,
    on: str,
    work: Callable[[Any, dict[str, list[Any]]], Outcome],
) -> Iterator[tuple[Task, Outcome]]:
    with importlib.import_module(_RAY).connected(on):
        import ray

        remote, held = ray.remote(num_cpus=1)(work), ray.put(signal)
        running: deque[tuple[Task, Any]] = deque()
        try:
            for task in tasks:
                running.append((task, remote.remote(held, task.batch)))
                if len(running) >= num_proc:
                    first, reference = running.popleft()
                    yield first, ray.get(reference)
            while running:
                first, reference = running.popleft()
                yield first, ray.get(reference)
        finally:
            for _, reference in running:
                ray.cancel(reference)
