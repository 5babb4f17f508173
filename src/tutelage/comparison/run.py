"""Running a comparison: every arm, every seed, side by side, resumable at any moment."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from tutelage.comparison.plan import Job, Plan, Tuning, make_plan
from tutelage.comparison.result import ComparisonResult, RunOutcome, summarise
from tutelage.durations import Budget
from tutelage.errors import ConfigError, CorruptRun, TutelageError
from tutelage.training.callbacks import Callback, RunState
from tutelage.training.folder import read_result
from tutelage.training.recipe import Recipe
from tutelage.training.storage import storage, write_json

if TYPE_CHECKING:
    from tutelage.workloads import Workload

FORMAT = 1
_STOP_FILE = ".stop"
_RETRIES = 2


@dataclass
class Progress:
    """How far a comparison is; handed to ``watch`` about twice a second.

    Args:
        phase: ``"tuning"`` or ``"runs"``.
        jobs: The runs of the phase.
        finished: Final values by folder, ``None`` for a diverged run.
        total: Runs of the whole comparison, tuning included.
        done: Runs finished of them.
        root: The comparison's folder.
    """

    phase: str
    jobs: Sequence[Job]
    root: Path
    total: int
    done: int = 0
    finished: dict[str, float | None] = field(default_factory=dict)


def compare(
    workload: Workload | str | Sequence[Workload | str],
    arms: Mapping[str, str | Recipe] | Sequence[str | Recipe],
    *,
    budget: str | Budget | Sequence[str | Budget],
    seeds: int | Sequence[int] = 3,
    baseline: str | None = None,
    tune: str | int | Sequence[float] | Tuning | None = None,
    tune_seeds: int = 1,
    margin: float = 0.0,
    confidence: float = 0.95,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    jobs: int | None = None,
    keep_weights: bool = False,
    watch: Callable[[Progress], None] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> ComparisonResult:
    """Compare recipes on workloads under equal budgets, paired by seed, and say what that shows and what it does not.

    Every arm sees the same seeds, first weights and data order. Peak rates are those of recipe and workload, or with
    ``tune`` chosen for every arm on the same grid, budget and seeds; what tuning cost is counted apart.

    Args:
        workload: One or several workloads, or their specs.
        arms: Recipes by name, or as strings that are their own names (``"name=SPEC"`` names one).
        budget: One or several budgets, such as ``"300steps"``.
        seeds: How many seeds (0, 1, ...), or which.
        baseline: The arm others are compared to; ``cosine`` where there is one, else the first.
        tune: How many peak rates to try around the workload's default, or which rates.
        tune_seeds: Seeds a candidate peak is tried on; none of them is used in the comparison.
        margin: Differences up to this size do not matter, in the unit of the metric.
        confidence: Of the intervals.
        out: Folder for runs and reports; nothing is kept where not given.
        resume: Go on with the comparison in ``out``, or start it if there is none.
        force: Replace whatever comparison is in ``out``.
        jobs: Runs at a time, each in a process of one thread; as many as there are cores where not given. 1 runs them
            in this process.
        keep_weights: Keep the final weights of every run.
        watch: Called about twice a second with the progress.
        settings: Further settings of the loop; see :class:`tutelage.training.loop.LoopSettings`.

    Returns:
        The result: a table, intervals, verdicts and a sentence of conclusion; it prints itself.

    Raises:
        ConfigError: Every fault of the declaration in one message, or a folder that holds another comparison.
        KeyboardInterrupt: Ctrl-C; every run has saved itself, and ``resume`` goes on.

    Example:
        >>> result = compare("digits:net=mlp", ["constant", "cosine"], budget="20steps", seeds=2, jobs=1)
        >>> [arm.name for arm in result.arms]
        ['constant', 'cosine']
    """
    from tutelage.workloads import prepare

    listed = [workload] if isinstance(workload, str) or not isinstance(workload, Sequence) else list(workload)
    prepared = [prepare(item) for item in listed]
    budgets = [budget] if isinstance(budget, (str, Budget)) else list(budget)
    tuning = Tuning.parse(tune, seeds=tune_seeds)
    plan = make_plan(prepared, arms, budgets=budgets, seeds=seeds, baseline=baseline, tuning=tuning)
    with contextlib.ExitStack() as stack:
        root = (
            Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tutelage-")))
        )
        if out is not None:
            open_comparison(root, plan, resume=resume, force=force)
        loop = {"keep_weights": keep_weights, **(settings or {})}
        run_jobs = functools.partial(_run_jobs, plan, root, loop, jobs, watch)
        tuning_jobs = plan.tuning_jobs()
        # Each arm runs once a cell and seed, whatever its peak will be.
        total = len(tuning_jobs) + len(plan.workloads) * len(plan.budgets) * len(plan.seeds) * len(plan.arms)
        tried = run_jobs(tuning_jobs, Progress("tuning", tuning_jobs, root, total))
        peaks, notes, scores = choose_peaks(plan, tried)
        write_json(root / "tuning.json", scores)
        final_jobs = plan.jobs(peaks)
        outcomes = run_jobs(final_jobs, Progress("runs", final_jobs, root, total, len(tuning_jobs)))
        result = summarise(
            [_outcome(plan, root, job, stored, tuning_cost(plan, tried, job)) for job, stored in outcomes],
            baseline=plan.baseline,
            arms=[arm.name for arm in plan.arms],
            margin=margin,
            confidence=confidence,
            notes=notes,
            declaration={**plan.declaration(), "specs": [item.spec or item.name for item in plan.workloads]},
        )
        if out is not None:
            from tutelage.comparison.report import write_report

            write_report(result, root)
    return result


def open_comparison(root: Path, plan: Plan, *, resume: bool, force: bool) -> None:
    """Make the folder of a comparison, or accept the one of the same comparison.

    Raises:
        ConfigError: It holds another comparison or other files, or the same one without ``resume``.
        CorruptRun: Its declaration cannot be read.
    """
    path = root / "comparison.json"
    declared = {"format": FORMAT, **plan.declaration()}
    if root.exists() and not root.is_dir():
        raise ConfigError(f"--out {root} is a file; name a folder.")
    if root.exists() and any(root.iterdir()) and not path.exists():
        raise ConfigError(f"--out {root} holds other files and no comparison; name a new or empty folder.")
    if path.exists() and force:
        shutil.rmtree(root)
    if path.exists():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CorruptRun(
                f"{path} cannot be read ({error}); name another --out, or replace it with --force."
            ) from error
        # Through JSON, as the stored one went, so that tuples and lists compare equal.
        differing = [key for key, value in json.loads(json.dumps(declared)).items() if stored.get(key) != value]
        if differing:
            raise ConfigError(
                f"{root} holds another comparison (it differs in {', '.join(differing)}). Name another --out, or "
                "replace it with --force."
            )
        if not resume:
            raise ConfigError(f"{root} holds this comparison already. Go on with --resume, or replace it with --force.")
        (root / _STOP_FILE).unlink(missing_ok=True)
        return
    with storage(root):
        root.mkdir(parents=True, exist_ok=True)
    write_json(path, declared)


def choose_peaks(
    plan: Plan, tried: Sequence[tuple[Job, Mapping[str, Any]]]
) -> tuple[dict[tuple[str, int, str], float], list[str], list[dict[str, Any]]]:
    """Return each tuned arm's best peak by (arm, workload index, budget), remarks worth showing, and all scores.

    A peak is judged by its mean over the tuning seeds; one that diverged on any seed is out. A score is that mean at
    the best peak, signed so that less is better.

    Raises:
        TutelageError: An arm diverged at every peak.
    """
    table: dict[tuple[str, int, str], dict[float, list[float]]] = {}
    for job, stored in tried:
        peak = Recipe.parse(job.recipe).peak or 0.0
        value = stored["final_loss"]
        sign = 1.0 if stored["lower_is_better"] else -1.0
        scores = table.setdefault((job.arm, job.workload, job.budget), {}).setdefault(peak, [])
        scores.append(float("inf") if value is None else sign * value)
    peaks: dict[tuple[str, int, str], float] = {}
    notes: list[str] = []
    rows: list[dict[str, Any]] = []
    for key, candidates in table.items():
        means = {peak: sum(scores) / len(scores) for peak, scores in candidates.items()}
        best = min(means, key=lambda peak: (means[peak], peak))
        arm, index, budget = key
        if means[best] == float("inf"):
            tried_peaks = ", ".join(f"{peak:g}" for peak in means)
            raise TutelageError(f"Arm {arm} diverged at every peak tried ({tried_peaks}); give --tune lower ones.")
        if best in (min(means), max(means)):
            side = "lowest" if best == min(means) else "highest"
            where = f" on {plan.label(index)}, {budget}" if len(table) > len(plan.arms) else ""
            notes.append(
                f"The best peak of {arm}{where} is the {side} tried, {best:g}: a wider grid might find a better one."
            )
        peaks[key] = best
        cell = {"arm": arm, "workload": plan.label(index), "budget": budget}
        rows.append({**cell, "peak": best, "score": means[best], "tried": {f"{p:g}": m for p, m in means.items()}})
    fixed = [arm.name for arm in plan.arms if plan.tuning is not None and not plan.tuned(arm)]
    if fixed:
        notes.append(f"Not tuned, because the recipe says its own peak: {', '.join(fixed)}.")
    return peaks, notes, rows


def tuning_cost(plan: Plan, tried: Sequence[tuple[Job, Mapping[str, Any]]], job: Job) -> int:
    """Return the updates spent on choosing the peak of a run's arm, shared over its seeds."""
    spent = sum(
        int(stored["cost"]["train_steps"] + stored["cost"]["search_steps"])
        for other, stored in tried
        if (other.arm, other.workload, other.budget) == (job.arm, job.workload, job.budget)
    )
    return round(spent / len(plan.seeds))


def _outcome(plan: Plan, root: Path, job: Job, stored: Mapping[str, Any], tuning_steps: int) -> RunOutcome:
    workload = plan.workloads[job.workload]
    return RunOutcome(
        arm=job.arm,
        workload=plan.label(job.workload),
        budget=job.budget,
        seed=job.seed,
        metric=stored["metric"],
        lower_is_better=stored["lower_is_better"],
        value=stored["final_loss"],
        diverged=stored["diverged"],
        recipe=job.recipe,
        peak=Recipe.parse(job.recipe).peak or workload.peak,
        steps=stored["steps"],
        tokens=stored["tokens"],
        seconds=stored["seconds"],
        cost={**stored["cost"], "tuning_steps": tuning_steps},
        hashes=stored["hashes"],
        folder=str(root / job.folder),
    )


# --- carrying out ----------------------------------------------------------------------------------------------------


def default_jobs() -> int:
    """Return how many runs go side by side: one a core, or one where an accelerator does the work."""
    import torch

    if torch.cuda.is_available():
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_jobs(
    plan: Plan,
    root: Path,
    loop: Mapping[str, Any],
    jobs: int | None,
    watch: Callable[[Progress], None] | None,
    todo: Sequence[Job],
    progress: Progress,
) -> list[tuple[Job, dict[str, Any]]]:
    """Carry out runs, those finished before being read, and return their stored results in order."""
    waiting: list[Job] = []
    for job in todo:
        stored = read_result(root / job.folder)
        if stored is None:
            waiting.append(job)
        else:
            progress.finished[job.folder] = stored["final_loss"]
            progress.done += 1
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs must be >= 1, got {jobs}.")
    workers = min(jobs or default_jobs(), max(1, len(waiting)))
    run = _in_this_process if workers == 1 else functools.partial(_in_processes, workers=workers)
    for job, value in run(plan, root, loop, waiting, lambda: watch(progress) if watch else None):
        progress.finished[job.folder] = value
        progress.done += 1
    if watch:
        watch(progress)
    results = [(job, read_result(root / job.folder)) for job in todo]
    stopped = [job.folder for job, stored in results if stored is None]
    if stopped:
        raise TutelageError(f"{len(stopped)} runs were stopped from outside ({stopped[0]}, ...); go on with --resume.")
    return [(job, stored) for job, stored in results if stored is not None]


def _train(
    workload: Workload, job: Job, root: Path, loop: Mapping[str, Any], callbacks: Sequence[Callback]
) -> float | None:
    from tutelage.training.loop import train

    return train(
        workload,
        job.recipe,
        budget=job.budget,
        seed=job.seed,
        out=root / job.folder,
        resume=True,
        **{**loop, "callbacks": callbacks, "keep_weights": loop["keep_weights"] and not job.tuning},
    ).final_loss


class _Beat(Callback):
    """Calls back at most twice a second from inside a run."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act, self.last = act, 0.0

    def on_update(self, run: RunState, row: Mapping[str, Any]) -> None:
        """Act, if half a second has passed."""
        now = time.monotonic()
        if now - self.last >= 0.5:
            self.last = now
            self.act()


def _in_this_process(
    plan: Plan, root: Path, loop: Mapping[str, Any], waiting: Sequence[Job], beat: Callable[[], None]
) -> Iterator[tuple[Job, float | None]]:
    for job in waiting:
        yield job, _train(plan.workloads[job.workload], job, root, loop, [_Beat(beat)])
        beat()


def _in_processes(
    plan: Plan, root: Path, loop: Mapping[str, Any], waiting: Sequence[Job], beat: Callable[[], None], *, workers: int
) -> Iterator[tuple[Job, float | None]]:
    """Run in processes of one thread each; a worker that is killed is replaced and its runs go on where they were."""
    import concurrent.futures

    import cloudpickle
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    left = {job.folder: job for job in waiting}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with _noted_interrupt() as asked, tempfile.TemporaryDirectory(prefix="tutelage-") as scratch:
        # Written and read within this call only: workers of this very process load it, nothing stored is unpickled.
        shared = Path(scratch) / "workloads"
        try:
            shared.write_bytes(cloudpickle.dumps(plan.workloads))
        except Exception as error:
            raise ConfigError(
                f"This workload cannot be sent to other processes ({error}); run the comparison with jobs=1."
            ) from error
        for attempt in range(_RETRIES + 1):
            executor = ProcessPoolExecutor(
                max_workers=workers,
                env=threads | {"TOKENIZERS_PARALLELISM": "false"},
                initializer=_leave_with_parent,
                initargs=(os.getpid(),),
            )
            futures = {
                executor.submit(_work, str(shared), job, str(root), dict(loop), os.getpid()): job
                for job in left.values()
            }
            try:
                pending = set(futures)
                while pending:
                    if asked.is_set():
                        raise KeyboardInterrupt
                    done, pending = concurrent.futures.wait(pending, 0.5, concurrent.futures.FIRST_COMPLETED)
                    for future in done:
                        job = futures[future]
                        value = future.result()
                        del left[job.folder]
                        yield job, value
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
                (root / _STOP_FILE).touch()
                for future in futures:
                    future.cancel()
                concurrent.futures.wait(futures, 20)
                executor.shutdown(kill_workers=True)
                (root / _STOP_FILE).unlink(missing_ok=True)
                raise
            except BaseException:
                executor.shutdown(kill_workers=True)
                raise


@contextlib.contextmanager
def _noted_interrupt() -> Iterator[threading.Event]:
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
    import cloudpickle

    return tuple(cloudpickle.loads(Path(path).read_bytes()))


def _work(shared: str, job: Job, root: str, loop: dict[str, Any], parent: int) -> float | None:
    """Carry out one run in a worker process, as long as the process that wants it lives."""
    stop = Path(root) / _STOP_FILE

    def look() -> None:
        if stop.exists() or os.getppid() != parent:
            signal.raise_signal(signal.SIGINT)

    # Ctrl-C in a terminal reaches workers too; the run in hand saves itself, the parent decides what follows.
    settings = {**loop, "threads": 1}
    try:
        return _train(_shared_workloads(shared)[job.workload], job, Path(root), settings, [_Beat(look)])
    except KeyboardInterrupt:
        return None
