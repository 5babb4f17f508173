"""Running a comparison: every arm, every seed, side by side, resumable at any moment."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.comparison._conclusion import version_notes
from tutelage.comparison._executor import Work
from tutelage.comparison._grid import Progress, executor_for, open_folder, run_jobs
from tutelage.comparison._peaks import choose_peaks, tuning_costs
from tutelage.comparison._pruned_runs import check_prunable, run_pruned
from tutelage.comparison.plan import Job, Plan, Tuning, make_plan
from tutelage.comparison.pruning import ForecastPruning
from tutelage.comparison.result import ComparisonResult, RunOutcome, summarise
from tutelage.durations import Budget
from tutelage.training.folder import read_run
from tutelage.training.recipe import Recipe
from tutelage.training.sources import notes_of
from tutelage.training.storage import write_json

if TYPE_CHECKING:
    from tutelage.workloads import Workload

__all__ = ["Progress", "compare"]


def compare(
    workload: Workload | str | Sequence[Workload | str],
    arms: Mapping[str, str | Recipe] | Sequence[str | Recipe],
    *,
    budget: str | Budget | Sequence[str | Budget],
    seeds: int | Sequence[int] = 3,
    baseline: str | None = None,
    tune: str | int | Sequence[float] | Tuning | None = None,
    tune_seeds: int = 1,
    prune: str | ForecastPruning | None = None,
    margin: float = 0.0,
    confidence: float = 0.95,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    jobs: int | None = None,
    on: str = "local",
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
        prune: Stop arms whose forecast cannot win: ``"forecast"``, ``"forecast:risk=0.01"`` or a
            :class:`ForecastPruning`. The baseline is never stopped; those that are keep their checkpoints.
        margin: Differences up to this size do not matter, in the unit of the metric.
        confidence: Of the intervals.
        out: Folder for runs and reports; nothing is kept where not given.
        resume: Go on with the comparison in ``out``, or start it if there is none.
        force: Replace whatever comparison is in ``out``.
        jobs: Runs at a time, each in a process of one thread; as many as there are cores where not given. 1 runs them
            in this process. Not with Ray, where the cluster decides.
        on: ``"local"``, or a Ray cluster, with ``out`` on a path its machines share: ``"ray"`` (the one of
            ``RAY_ADDRESS``, else a local one), ``"ray:auto"``, ``"ray:HOST:PORT"`` or ``"ray://HOST:PORT"``.
        keep_weights: Keep the final weights of every run.
        watch: Called about twice a second with the progress.
        settings: Further settings of the loop; see :class:`tutelage.training.loop.LoopSettings`.

    Returns:
        The result: a table, intervals, verdicts and a sentence of conclusion; it prints itself.

    Raises:
        ConfigError: Every fault of the declaration in one message, a folder that holds another comparison or cannot be
            written, or a cluster that does not answer.
        MissingExtra: Ray is not installed.
        KeyboardInterrupt: Ctrl-C; every run has saved itself, and ``resume`` goes on.

    Example:
        >>> result = compare("digits:net=mlp", ["constant", "cosine"], budget="20steps", seeds=2, jobs=1)
        >>> [arm.name for arm in result.arms]
        ['constant', 'cosine']
    """
    from tutelage.workloads import prepare

    rule = None if prune is None else ForecastPruning.parse(prune)
    listed = [workload] if isinstance(workload, str) or not isinstance(workload, Sequence) else list(workload)
    prepared = [prepare(item) for item in listed]
    budgets = [budget] if isinstance(budget, (str, Budget)) else list(budget)
    tuning = Tuning.parse(tune, seeds=tune_seeds)
    plan = make_plan(prepared, arms, budgets=budgets, seeds=seeds, baseline=baseline, tuning=tuning)
    # Without the rule the same comparison goes on, and finishes what was pruned.
    declaration = plan.declaration() | ({} if rule is None else {"prune": str(rule)})
    if rule is not None:
        check_prunable(plan, rule)
    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(executor_for(on, jobs))
        root = (
            Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tutelage-")))
        )
        if out is not None:
            open_folder(root, declaration, resume=resume, force=force)
        work = Work(plan.workloads, root, {"keep_weights": keep_weights, **(settings or {})})
        tuning_jobs = plan.tuning_jobs()
        # Each arm runs once a cell and seed, whatever its peak will be.
        total = len(tuning_jobs) + len(plan.workloads) * len(plan.budgets) * len(plan.seeds) * len(plan.arms)
        tried = run_jobs(executor, work, tuning_jobs, Progress("tuning", tuning_jobs, root, total), watch)
        peaks, notes, scores = choose_peaks(plan, tried)
        write_json(root / "tuning.json", scores)
        final_jobs = plan.jobs(peaks)
        progress = Progress("runs", final_jobs, root, total, len(tuning_jobs))
        pruning: Mapping[str, Any] = {}
        if rule is None:
            found = run_jobs(executor, work, final_jobs, progress, watch)
        else:
            made = run_pruned(rule, plan, executor, work, final_jobs, progress, watch)
            found, pruning = made.found, made.facts
            notes += made.notes
        told = (notes_of(arm.recipe, item) for arm in plan.arms for item in plan.workloads)
        notes += dict.fromkeys(note for some in told for note in some)
        if resume:
            notes += version_notes(read_run(root / job.folder).versions for job, _ in found)
        result = summarise(
            _outcomes(plan, root, found, tuning_costs(plan, tried)),
            baseline=plan.baseline,
            arms=[arm.name for arm in plan.arms],
            margin=margin,
            confidence=confidence,
            notes=notes,
            declaration={**declaration, "specs": [item.spec or item.name for item in plan.workloads]},
        )
        result = dataclasses.replace(result, pruning=pruning)
        if out is not None:
            from tutelage.comparison.report import write_report

            write_report(result, root)
    return result


def _outcomes(
    plan: Plan,
    root: Path,
    found: Sequence[tuple[Job, Mapping[str, Any]]],
    tuning_steps: Mapping[tuple[str, int, str], int],
) -> Iterator[RunOutcome]:
    peaks = {recipe: Recipe.parse(recipe).peak for recipe in {job.recipe for job, _ in found}}
    labels = [plan.label(index) for index in range(len(plan.workloads))]
    for job, stored in found:
        yield RunOutcome(
            arm=job.arm,
            workload=labels[job.workload],
            budget=job.budget,
            seed=job.seed,
            metric=stored["metric"],
            lower_is_better=stored["lower_is_better"],
            value=stored["final_loss"],
            diverged=stored["diverged"],
            recipe=job.recipe,
            peak=peaks[job.recipe] or plan.workloads[job.workload].peak,
            steps=stored["steps"],
            tokens=stored["tokens"],
            seconds=stored["seconds"],
            cost={**stored["cost"], "tuning_steps": tuning_steps.get((job.arm, job.workload, job.budget), 0)},
            hashes=stored["hashes"],
            folder=str(root / job.folder),
            pruned=stored.get("pruned", ""),
        )
