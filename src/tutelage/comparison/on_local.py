"""Runs on this machine: one after the other in this process, or side by side in processes of one thread each."""

from __future__ import annotations

import concurrent.futures
import functools
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.comparison._executor import Beat, Outcome, Work, noted_interrupt, pack, train_job, unpack
from tutelage.comparison.plan import Job
from tutelage.errors import TutelageError

if TYPE_CHECKING:
    from tutelage.workloads import Workload

STOP_FILE = ".stop"
_RETRIES = 2


def default_jobs() -> int:
    """Return how many runs go side by side: one a core, or one where an accelerator does the work."""
    import torch

    if torch.cuda.is_available():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_local(
    work: Work, waiting: Sequence[Job], beat: Callable[[], None], *, jobs: int | None = None
) -> Iterator[Outcome]:
    """Carry out runs on this machine; see :class:`tutelage.comparison._executor.Executor`.

    Args:
        work: What the runs have in common.
        waiting: The runs.
        beat: Called about twice a second.
        jobs: Runs at a time, 1 for this process; as many as there are cores where not given.
    """
    workers = min(jobs or default_jobs(), len(waiting))
    return _in_processes(work, waiting, beat, workers) if workers > 1 else _in_this_process(work, waiting, beat)


def _in_this_process(work: Work, waiting: Sequence[Job], beat: Callable[[], None]) -> Iterator[Outcome]:
    for job in waiting:
        yield job, train_job(work.workloads[job.workload], job, work, [Beat(beat)])
        beat()


def _in_processes(work: Work, waiting: Sequence[Job], beat: Callable[[], None], workers: int) -> Iterator[Outcome]:
    """Run in worker processes; one that is killed is replaced and its runs go on where they were."""
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    left = {job.folder: job for job in waiting}
    stop = work.root / STOP_FILE
    stop.unlink(missing_ok=True)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    packed = pack(work.workloads)
    light = replace(work, workloads=(), loop={**work.loop, "threads": 1})
    with noted_interrupt() as asked, tempfile.TemporaryDirectory(prefix="tutelage-") as scratch:
        # Written and read within this call only: workers of this very process load it, nothing stored is unpickled.
        shared = Path(scratch) / "workloads"
        shared.write_bytes(packed)
        for attempt in range(_RETRIES + 1):
            executor = ProcessPoolExecutor(
                max_workers=workers,
                env=threads | {"TOKENIZERS_PARALLELISM": "false"},
                initializer=_leave_with_parent,
                initargs=(os.getpid(),),
            )
            futures = {executor.submit(_work, str(shared), job, light, os.getpid()): job for job in left.values()}
            try:
                pending = set(futures)
                while pending:
                    if asked.is_set():
                        raise KeyboardInterrupt
                    # Not at every run that ends: among ten thousand a look at all of them takes a while.
                    done, pending = concurrent.futures.wait(pending, 0.5, concurrent.futures.FIRST_EXCEPTION)
                    for future in done:
                        job = futures[future]
                        stored = future.result()
                        del left[job.folder]
                        yield job, stored
                    beat()
                executor.shutdown()
                return
            except BrokenProcessPool as error:
                executor.shutdown(kill_workers=True)
                if attempt == _RETRIES:
                    raise TutelageError(
                        f"Worker processes keep dying ({error}); is memory short? Go on with fewer at a time: "
                        "--resume --jobs 1."
                    ) from error
            except KeyboardInterrupt:
                stop.touch()
                for future in futures:
                    future.cancel()
                concurrent.futures.wait(futures, 20)
                executor.shutdown(kill_workers=True)
                stop.unlink(missing_ok=True)
                raise
            except BaseException:
                executor.shutdown(kill_workers=True)
                raise


def _leave_with_parent(parent: int) -> None:
    """End this worker soon after its parent died; the run in hand has had time to save itself by then."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        time.sleep(5.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@functools.cache
def _shared_workloads(path: str) -> tuple[Workload, ...]:
    return unpack(Path(path).read_bytes())


def _work(shared: str, job: Job, work: Work, parent: int) -> dict[str, object] | None:
    """Carry out one run in a worker process, as long as the process that wants it lives."""
    stop = work.root / STOP_FILE

    def look() -> None:
        if stop.exists() or os.getppid() != parent:
            signal.raise_signal(signal.SIGINT)

    # Ctrl-C in a terminal reaches workers too; the run in hand saves itself, the parent decides what follows.
    try:
        return train_job(_shared_workloads(shared)[job.workload], job, work, [Beat(look)])
    except KeyboardInterrupt:
        return None
