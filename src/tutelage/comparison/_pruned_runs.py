"""A comparison whose hopeless arms are stopped: all runs up to a look, a decision, the others on to the next."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.comparison._arm_forecast import forecast_of
from tutelage.comparison._executor import Executor, Work
from tutelage.comparison._grid import Progress, run_jobs
from tutelage.comparison.plan import Job, Plan
from tutelage.comparison.pruning import ForecastPruning, PrunedArm, saved_words
from tutelage.durations import Budget
from tutelage.errors import ConfigError, CorruptRun, DataError, DataNotFound, TutelageError
from tutelage.training import checkpoint
from tutelage.training.counters import Counters
from tutelage.training.folder import CHECKPOINTS, PRUNED_FILE, read_result, read_run
from tutelage.training.recipe import Recipe
from tutelage.training.resolve import clock_of, schedule_of, searches
from tutelage.training.storage import write_json

if TYPE_CHECKING:
    from tutelage.forecast import LossCurve
    from tutelage.workloads import Workload

#: Workload and budget of a cell.
Place = tuple[int, str]


@dataclass(frozen=True)
class PrunedRuns:
    """What a comparison with pruning made.

    Args:
        found: What the runs stored, in order; a pruned one has ``pruned``, a sentence, and no final loss.
        facts: For the report: the rule, what it saved, and why each arm was stopped.
        notes: Remarks a reader must see.
    """

    found: list[tuple[Job, dict[str, Any]]]
    facts: dict[str, Any]
    notes: list[str]


def check_prunable(plan: Plan, rule: ForecastPruning) -> None:
    """Refuse a comparison that the rule cannot speak about.

    Raises:
        ConfigError: A metric that is no loss, or a budget in seconds.
    """
    for workload in plan.workloads:
        if not workload.lower_is_better:
            raise ConfigError(
                f"prune={rule.spec_name} forecasts losses; the metric {workload.metric} of {workload.name} is better "
                "when higher. Leave prune out."
            )
    for budget in plan.budgets:
        if Budget.parse(budget).seconds is not None:
            raise ConfigError(
                f"prune={rule.spec_name} looks at shares of a run of known length; give the budget {budget} in steps, "
                "examples or tokens."
            )


def run_pruned(
    rule: ForecastPruning,
    plan: Plan,
    executor: Executor,
    work: Work,
    jobs: Sequence[Job],
    progress: Progress,
    watch: Callable[[Progress], None] | None,
) -> PrunedRuns:
    """Carry out the runs that are compared, stopping arms that cannot win.

    What is decided depends on the curves up to the look alone, so a comparison that is resumed decides the same again,
    and the runs that go on are those of a comparison without pruning, to the last bit.

    Args:
        rule: When to look and whom to stop.
        plan: The comparison.
        executor: Carries the runs out.
        work: What they have in common.
        jobs: The runs.
        progress: Handed to ``watch``; runs that are stopped leave its total.
        watch: Called about twice a second.

    Raises:
        TutelageError: A run failed, or was stopped from outside.
        KeyboardInterrupt: Ctrl-C; every run has saved itself.
    """
    left = list(jobs)
    stopped: dict[str, tuple[Job, PrunedArm]] = {}
    looks: set[Place] = set()
    for share in rule.at:
        paused = [_paused(plan, job, share) for job in left]
        _run_to_look(executor, work, [job for job in paused if job.pause], progress, watch)
        cells: dict[Place, list[Job]] = {}
        for job in paused:
            cells.setdefault((job.workload, job.budget), []).append(job)
        for place, members in cells.items():
            views = {arm: forecast_of(curve) for arm, curve in _curves(plan, work.root, members).items()}
            looks |= {place} if sum(view is not None for view in views.values()) > 1 else set()
            for found in rule.judge(views, keep=(plan.baseline,), arms=len(plan.arms)):
                for job in (job for job in members if job.arm == found.arm):
                    record = dataclasses.replace(found, step=job.pause or found.step)
                    stopped[job.folder] = (dataclasses.replace(job, pause=None), record)
                    reason = record.sentence(plan.workloads[job.workload].metric)
                    write_json(work.root / job.folder / PRUNED_FILE, {"reason": reason, **dataclasses.asdict(record)})
        left = [job for job in left if job.folder not in stopped]
    # One that was resumed by hand since then has a result, which counts.
    finished = [job for job, _ in stopped.values() if read_result(work.root / job.folder) is not None]
    pruned = {folder: item for folder, item in stopped.items() if item[0] not in finished}
    progress.total -= len(pruned)
    stored = {job.folder: values for job, values in run_jobs(executor, work, [*left, *finished], progress, watch)}
    for folder, (job, record) in pruned.items():
        workload = plan.workloads[job.workload]
        stored[folder] = _stored(workload, work.root / folder) | {"pruned": record.sentence(workload.metric)}
    saved = sum(record.total_steps - stored[folder]["steps"] for folder, (_, record) in pruned.items())
    return PrunedRuns([(job, stored[job.folder]) for job in jobs], *_account(rule, plan, jobs, pruned, looks, saved))


def _account(
    rule: ForecastPruning,
    plan: Plan,
    jobs: Sequence[Job],
    pruned: Mapping[str, tuple[Job, PrunedArm]],
    looks: set[Place],
    saved: int,
) -> tuple[dict[str, Any], list[str]]:
    """Return what the report says of the pruning, and the remarks."""
    planned = sum(_length(plan, job) for job in jobs)
    arms = {(job.workload, job.budget, job.arm): record for job, record in pruned.values()}
    rows = [
        {
            "workload": plan.label(workload),
            "budget": budget,
            "sentence": f"{arm} was {record.sentence(plan.workloads[workload].metric)}.",
            **dataclasses.asdict(record),
        }
        for (workload, budget, arm), record in arms.items()
    ]
    if pruned:
        said = (
            f"Pruning ({rule}) saved {saved_words(saved, planned)}. Its stated risk that the arm which would have won "
            f"is among the pruned ones is {100 * rule.risk:g} % in each workload and budget; --resume without --prune "
            "finishes them."
        )
    else:
        said = f"Pruning ({rule}) stopped no arm: no forecast was sure enough that one could not win."
    notes = [said]
    blind = [
        f"{plan.label(place[0])}, {place[1]}"
        for place in dict.fromkeys((job.workload, job.budget) for job in jobs)
        if place not in looks
    ]
    if blind:
        notes.append(
            f"Nothing could be forecast on {'; '.join(blind)}: the runs have too few updates or evaluations, or "
            "diverged."
        )
    facts = {
        "rule": str(rule),
        "risk": rule.risk,
        "planned_steps": planned,
        "saved_steps": saved,
        "arms": rows,
    }
    return facts, notes


def _length(plan: Plan, job: Job) -> int:
    """Return the updates of a run."""
    workload, recipe = plan.workloads[job.workload], Recipe.parse(job.recipe)
    return clock_of(workload, Budget.parse(job.budget), recipe.batch_size or workload.batch_size).total_steps or 0


def _paused(plan: Plan, job: Job, share: float) -> Job:
    """Return the run up to a look; a search has no plan to forecast by, and is not interrupted."""
    total = _length(plan, job)
    at = round(share * total)
    known = not searches(Recipe.parse(job.recipe)) and 1 < at < total
    return dataclasses.replace(job, pause=at if known else None)


def _run_to_look(
    executor: Executor,
    work: Work,
    jobs: Sequence[Job],
    progress: Progress,
    watch: Callable[[Progress], None] | None,
) -> None:
    waiting = [job for job in jobs if not _reached(work.root / job.folder, job.pause or 0)]
    ended = {
        job.folder for job, stored in executor(work, waiting, lambda: watch(progress) if watch else None) if stored
    }
    left = [job.folder for job in waiting if job.folder not in ended]
    if left:
        raise TutelageError(f"{len(left)} runs were stopped from outside ({left[0]}, ...); go on with --resume.")


def _reached(folder: Path, step: int) -> bool:
    """Return whether a run has ended, or has saved itself at an update or after it."""
    if read_result(folder) is not None:
        return True
    kept = checkpoint.checkpoints(folder / CHECKPOINTS)
    return bool(kept) and int(kept[-1].name.removeprefix("step-")) >= step


def _curves(plan: Plan, root: Path, jobs: Sequence[Job]) -> dict[str, LossCurve]:
    """Return the curve of each arm up to the look, the mean over its seeds; arms without one are left out."""
    found: dict[str, LossCurve] = {}
    by_arm: dict[str, list[Job]] = {}
    for job in jobs:
        by_arm.setdefault(job.arm, []).append(job)
    for arm, members in by_arm.items():
        curves = [curve_so_far(plan.workloads[job.workload], root / job.folder, job.pause) for job in members]
        known = [curve for curve in curves if curve is not None]
        if len(known) == len(members):
            mean = mean_curve(known)
            found |= {arm: mean} if mean is not None else {}
    return found


def curve_so_far(workload: Workload, folder: Path, until: int | None) -> LossCurve | None:
    """Return a run's curve at the level of the metric, ``None`` where it diverged or shows too little."""
    from tutelage.training.metric_curve import run_curve

    result = read_result(folder)
    if until is None or (result is not None and result["diverged"]):
        return None
    try:
        record = read_run(folder)
        rates = schedule_of(record.phases[0], record, workload)(np.arange(record.phases[0].total_steps or 0))
        return run_curve(folder, rates, metric=workload.metric, until=until)
    except (DataError, DataNotFound, CorruptRun, ValueError):
        return None  # no curve, no forecast: the arm goes on


def mean_curve(curves: Sequence[LossCurve]) -> LossCurve | None:
    """Return the mean of log losses over seeds, at the updates that all have."""
    common = functools.reduce(np.intersect1d, [curve.steps for curve in curves])
    if not len(common):
        return None
    logs = [np.log(curve.losses[np.isin(curve.steps, common)]) for curve in curves]
    return dataclasses.replace(curves[0], steps=common, losses=np.exp(np.mean(logs, axis=0)))


def _stored(workload: Workload, folder: Path) -> dict[str, Any]:
    """Return what a run that was stopped has to say, in the form of a result."""
    found = checkpoint.load_newest(folder / CHECKPOINTS)
    if found is None:
        raise CorruptRun(f"The run in {folder} has lost its checkpoints; delete the folder and go on with --resume.")
    counters = Counters(**found[3]["counters"])
    record = read_run(folder)
    tokens = workload.tokens_per_example
    return {
        "final_loss": None,
        "metric": workload.metric,
        "lower_is_better": workload.lower_is_better,
        "diverged": False,
        "steps": counters.step,
        "tokens": None if tokens is None else int(counters.step * record.batch_size * tokens),
        "seconds": counters.train_seconds,
        "cost": counters.cost(),
        "hashes": {"data": record.data_fingerprint},
    }
