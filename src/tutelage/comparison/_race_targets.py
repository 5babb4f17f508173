"""Making the runs of a race, and those of the tuned baseline that set its targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.comparison._executor import Executor, Work
from tutelage.comparison._grid import Progress, run_jobs
from tutelage.comparison._race_plan import HORIZON, Heat, RacePlan, TargetRules, trial_job
from tutelage.comparison._race_records import RaceTarget
from tutelage.comparison.plan import Job, slug
from tutelage.comparison.space import halton
from tutelage.comparison.to_target import evaluations
from tutelage.errors import TutelageError
from tutelage.evaluation.algoperf_targets import best_setting, set_target
from tutelage.randomness import derive_seed
from tutelage.training.curve import read_curve


def carry_out(
    declared: RacePlan,
    root: Path,
    executor: Executor,
    todo: Sequence[Job],
    phase: str,
    watch: Callable[[Progress], None] | None,
) -> dict[str, Mapping[str, Any]]:
    """Make runs, those of equal evaluation together, and return what they stored, by folder."""
    found: dict[str, Mapping[str, Any]] = {}
    done = 0
    for every in dict.fromkeys(heat.eval_every for heat in declared.heats):
        mine = [job for job in todo if declared.heats[job.workload].eval_every == every]
        if not mine:
            continue
        work = Work(declared.plan.workloads, root, {"keep_weights": False, "eval_every": every})
        for job, stored in run_jobs(executor, work, mine, Progress(phase, mine, root, len(todo), done), watch):
            found[job.folder] = stored
        done += len(mine)
    return found


def set_targets(
    declared: RacePlan, root: Path, executor: Executor, watch: Callable[[Progress], None] | None
) -> tuple[dict[str, RaceTarget], int]:
    """Return the mark on every workload, and the updates spent on setting those that were not given."""
    marks: dict[str, RaceTarget] = {}
    waiting: list[Heat] = []
    for heat in declared.heats:
        metric = heat.workload.metric.removeprefix("val_")
        if heat.label in declared.targets:
            value = declared.targets[heat.label]
            marks[heat.label] = RaceTarget(metric=metric, value=value, lower_is_better=heat.workload.lower_is_better)
        else:
            waiting.append(heat)
    rules, spent = declared.set_by, 0
    if rules is None or not waiting:
        return marks, spent
    tried = {heat.label: _target_jobs(declared, rules, heat) for heat in waiting}
    todo = [job for jobs in tried.values() for job in jobs.values()]
    stored = carry_out(declared, root, executor, todo, "targets", watch)
    again: dict[str, list[Job]] = {}
    for heat in waiting:
        values = {key: _values(root, heat, job) for key, job in tried[heat.label].items()}
        try:
            best = tried[heat.label][best_setting(values, lower_is_better=heat.workload.lower_is_better)]
        except ValueError as error:
            raise TutelageError(f"No target on {heat.label}: every run of {', '.join(rules.arms)} diverged.") from error
        stream = derive_seed(declared.seed, f"target {heat.workload.fingerprint}")
        again[heat.label] = [
            dataclasses.replace(
                best,
                seed=derive_seed(stream, "repeat", repeat),
                folder=f"targets/{declared.plan.cell(heat.index, str(heat.budget))}/repeat-{repeat}",
            )
            for repeat in range(rules.repeats)
        ]
    todo = [job for jobs in again.values() for job in jobs]
    stored |= carry_out(declared, root, executor, todo, "targets", watch)
    for heat in waiting:
        repeats = again[heat.label]
        lower = heat.workload.lower_is_better
        found = set_target([_values(root, heat, job) for job in repeats], lower_is_better=lower)
        source = f"median of the best values of {found.runs} runs of {repeats[0].arm} in {repeats[0].budget}, "
        source += f"tuned in {rules.trials} trials"
        marks[heat.label] = RaceTarget(
            metric=heat.workload.metric.removeprefix("val_"),
            value=found.validation,
            lower_is_better=lower,
            source=source,
            recipe=repeats[0].recipe,
        )
    spent = sum(int(item["cost"]["train_steps"] + item["cost"]["search_steps"]) for item in stored.values())
    return {heat.label: marks[heat.label] for heat in declared.heats}, spent


def _target_jobs(declared: RacePlan, rules: TargetRules, heat: Heat) -> dict[str, Job]:
    """Return the tuning runs of the baselines on a workload, by a name of their own; the horizon is not tuned here."""
    stream = derive_seed(declared.seed, f"target {heat.workload.fingerprint}")
    cell = declared.plan.cell(heat.index, str(heat.budget))
    share = rules.share / declared.rules.budget_factor  # of what a workload allows before self-tuning's allowance
    jobs: dict[str, Job] = {}
    for entry in declared.entries:
        if entry.name not in rules.arms:
            continue
        axes = {name: axis for name, axis in entry.axes.items() if name != HORIZON}
        for trial, point in enumerate(halton(axes, rules.trials if axes else 1, stream)):
            folder = f"targets/{cell}/{slug(entry.name)}/trial-{trial}"
            jobs[folder] = trial_job(heat, entry, point, derive_seed(stream, "trial", trial), folder, share)
    return jobs


def _values(root: Path, heat: Heat, job: Job) -> Any:
    values = evaluations(read_curve(root / job.folder), heat.workload.metric.removeprefix("val_"))[1]
    return values if len(values) else np.array([np.nan])
