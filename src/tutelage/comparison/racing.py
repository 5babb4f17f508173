"""A race to a target: submissions, each a recipe with a search space, tuned and timed by the AlgoPerf rules."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.comparison._grid import Progress, executor_for, open_folder
from tutelage.comparison._race_plan import Heat, RacePlan, TargetRules, declare, trial_job
from tutelage.comparison._race_records import RACE_DATA, RaceResult, RaceRun, RaceTarget, read_race
from tutelage.comparison._race_targets import carry_out, set_targets
from tutelage.comparison.plan import Job, slug
from tutelage.comparison.space import Space, Value, halton
from tutelage.comparison.to_target import AXES, evaluations
from tutelage.durations import Budget
from tutelage.errors import ConfigError
from tutelage.evaluation.algoperf import time_to_target
from tutelage.evaluation.algoperf_targets import TuningRules
from tutelage.randomness import derive_seed
from tutelage.training.curve import read_curve
from tutelage.training.storage import write_json

if TYPE_CHECKING:
    from tutelage.workloads import Workload

__all__ = ["RaceResult", "RaceRun", "RaceTarget", "TargetRules", "race", "read_race"]


def race(
    workload: Workload | str | Sequence[Workload | str],
    arms: Mapping[str, str] | Sequence[str],
    *,
    budget: str | Budget | Sequence[str | Budget],
    space: Space | None = None,
    rules: TuningRules | None = None,
    targets: Mapping[str, float] | None = None,
    set_by: TargetRules | None = None,
    variants: Mapping[str, str] | None = None,
    eval_every: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    jobs: int | None = None,
    on: str = "local",
    watch: Callable[[Progress], None] | None = None,
) -> RaceResult:
    """Find out which recipe reaches a target first when tuning is a part of it: AlgoPerf's rules on your workloads.

    ``compare`` gives every arm the same peaks and asks who ends best; here every arm brings its own search space, gets
    the same number of trials in it, and the clock runs to a target. A recipe names what is tuned in braces:
    ``"cosine:warmup={warmup};adamw;peak={peak}"``.

    **Formula**: an arm's time on a workload is ``median_j min_i t_ij`` over studies ``j`` and their trials ``i``, with
    ``t_ij`` what the trial spent until an evaluation first showed the target, infinity if none did. Scores are those of
    :func:`tutelage.evaluation.algoperf.profile_score`.

    Args:
        workload: One or several workloads, or their specs.
        arms: At least two recipes by name, or as ``"name=RECIPE"``, with axes of ``space`` in braces.
        budget: Longest budget of a run, one for all workloads or one each.
        space: Axes by name (:func:`tutelage.comparison.space.halton`). An arm is tuned over those it names, with draws
            that arms of equal axes share; one that names none has nothing to tune and is run once a study. An axis
            ``horizon``, a share of the budget in (0, 1], is drawn for every arm that is tuned: the trial's schedule,
            and the trial, end there.
        rules: 3 studies of 5 trials where not given. Under ``"self"`` arms must have no axes, and the budget is
            multiplied by ``budget_factor``.
        targets: Value of the workload's metric to reach, by the workload's spec, or name where it has none.
        set_by: How a tuned baseline sets the targets that are not given.
        variants: Held-out variants: spec of the variant to that of a workload in the list. An arm that misses a variant
            loses the workload.
        eval_every: Updates between evaluations, the resolution of all times; a 20th of the budget where not given.
        seed: Of draws and runs; another one gives an independent set of studies.
        out: Folder for runs and result; nothing is kept where not given.
        resume: Go on with the race in ``out``, or start it if there is none.
        force: Replace what is in ``out``.
        jobs: Runs at a time, each in a process of one thread; as many as there are cores where not given.
        on: Where, as for :func:`tutelage.comparison.compare`.
        watch: Called about twice a second with the progress.

    Returns:
        Every trial's times; ``result.scores("steps")`` are the scores.

    Raises:
        ConfigError: Every fault of the declaration in one message, a target that cannot be set, or a folder that holds
            something else.
        KeyboardInterrupt: Ctrl-C; every run has saved itself, and ``resume`` goes on.

    Example:
        >>> result = race("digits:net=mlp", {"adam": "cosine;adamw;peak={peak}", "sgd": "cosine;sgd;peak={rate}"},
        ...               space={"peak": "log:1e-3..1e-2", "rate": "log:0.03..0.3"}, budget="20steps",
        ...               rules=TuningRules(studies=1, trials=2), targets={"digits:net=mlp": 2.0}, jobs=1)
        >>> [sorted(run.trial for run in result.runs if run.arm == arm) for arm in ("adam", "sgd")]
        [[0, 1], [0, 1]]

    Use with:
        ``tutelage race --workload digits --arm "adam=cosine;adamw;peak={peak}" --space peak=log:1e-4..1e-2 ...``.

    Helps / does not help:
        Honest about tuning, and dear: arms x workloads x studies x trials runs. Scores are relative to the arms given:
        keep the times (:meth:`RaceResult.times`) and join them with others of the same targets.

    Relations:
        Like :func:`tutelage.comparison.compare`, with the clock instead of the loss;
        :func:`tutelage.comparison.to_target.score_comparison` scores a finished comparison without new runs.

    Source:
        Dahl et al., 2023, arXiv 2306.07179, and the benchmark's documentation (mlcommons/algorithmic-efficiency,
        docs/DOCUMENTATION.md, "Tuning Rulesets", "Scoring"). Ours draws the points anew for every workload, and knows
        no test targets.
    """
    declared = declare(
        workload, arms, budget, space, rules or TuningRules(), targets, set_by, variants, eval_every, seed
    )
    with contextlib.ExitStack() as stack:
        executor = stack.enter_context(executor_for(on, jobs))
        root = (
            Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tutelage-")))
        )
        if out is not None:
            open_folder(root, declared.declaration(), resume=resume, force=force)
        marks, spent = set_targets(declared, root, executor, watch)
        todo = [job for heat in declared.heats for job in _race_jobs(declared, heat)]
        stored = carry_out(declared, root, executor, [job for job, *_ in todo], "race", watch)
        runs = tuple(
            _race_run(root, declared.heats[job.workload].label, job, study, trial, point, marks, stored[job.folder])
            for job, study, trial, point in todo
        )
        result = RaceResult(
            arms={entry.name: entry.recipe for entry in declared.entries},
            workloads=tuple(heat.label for heat in declared.heats),
            specs=tuple(heat.workload.spec or heat.workload.name for heat in declared.heats),
            variants=declared.variants,
            targets=marks,
            rules=declared.rules,
            runs=runs,
            cost={"race_steps": sum(run.steps for run in runs), "target_steps": spent},
            notes=tuple(_notes(runs)),
        )
        if out is not None:
            write_json(root / RACE_DATA, result.to_json())
    return result


def _race_jobs(declared: RacePlan, heat: Heat) -> list[tuple[Job, int, int, dict[str, Value]]]:
    rules = declared.rules
    # By what the workload is, not by its place: a workload added to the list moves no draws.
    stream = derive_seed(declared.seed, f"race {heat.workload.fingerprint}")
    cell = declared.plan.cell(heat.index, str(heat.budget))
    jobs = []
    for entry in declared.entries:
        trials = rules.trials if entry.axes else 1
        for number, point in enumerate(halton(entry.axes, rules.studies * trials, stream)):
            study, trial = divmod(number, trials)
            folder = f"runs/{cell}/{slug(entry.name)}/study-{study}/trial-{trial}"
            seed = derive_seed(stream, "run", study, trial)
            jobs.append((trial_job(heat, entry, point, seed, folder), study, trial, point))
    return jobs


def _race_run(
    root: Path,
    label: str,
    job: Job,
    study: int,
    trial: int,
    point: Mapping[str, Value],
    marks: Mapping[str, RaceTarget],
    stored: Mapping[str, Any],
) -> RaceRun:
    curve, mark = read_curve(root / job.folder), marks[label]
    values = evaluations(curve, mark.metric)[1]
    times = {}
    for axis in AXES:
        try:
            clock, series = evaluations(curve, mark.metric, axis)
        except ConfigError:  # examples without a number of tokens
            continue
        times[axis] = time_to_target(clock, series, mark.value, lower_is_better=mark.lower_is_better)
    best = None if not len(values) else float(values.min() if mark.lower_is_better else values.max())
    return RaceRun(
        arm=job.arm,
        workload=label,
        study=study,
        trial=trial,
        seed=job.seed,
        recipe=job.recipe,
        point=point,
        budget=job.budget,
        times=times,
        best=best,
        steps=int(stored["cost"]["train_steps"] + stored["cost"]["search_steps"]),
        diverged=bool(stored["diverged"]),
        folder=job.folder,
    )


def _notes(runs: Sequence[RaceRun]) -> list[str]:
    diverged = [run for run in runs if run.diverged]
    if not diverged:
        return []
    arms = ", ".join(dict.fromkeys(run.arm for run in diverged))
    return [f"{len(diverged)} of {len(runs)} runs diverged ({arms}); what they reached before counts."]
