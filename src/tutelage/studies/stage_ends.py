"""Where would each candidate of a search have ended? All are trained from their stage's start to the stage's end."""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.comparison.plan import Job
from tutelage.errors import TutelageError
from tutelage.studies.study import Setting

if TYPE_CHECKING:
    from tutelage.schedules._auto_lrs import StageResult
    from tutelage.schedules.auto_lrs import AutoLRS
    from tutelage.workloads import Workload


@dataclass(frozen=True, kw_only=True)
class SearchedRun:
    """A finished run of AutoLRS.

    Args:
        workload: Spec of its workload.
        name: What the workload goes by; names a folder.
        seed: Seed of the run.
        folder: The run folder.
        settings: The settings its recipe stands for; warm-up must be at least one update.
    """

    workload: str
    name: str
    seed: int
    folder: Path
    settings: AutoLRS

    def history(self) -> tuple[StageResult, ...]:
        """Return what the search of each stage found."""
        from tutelage.training.folder import read_result

        found = (read_result(self.folder) or {}).get("search")
        if found is None:
            raise TutelageError(f"The run in {self.folder} holds nothing that a search has found.")
        controller = self.settings.controller(self.seed)
        controller.load_state_dict(found["state"])
        return controller.history


def stage_ends(setting: Setting, runs: Sequence[SearchedRun]) -> list[dict[str, Any]]:
    """Train every candidate of every stage from the stage's own start to its end.

    A run is a function of its seed, so its weights at the start of a stage come again from the same updates: warm-up,
    then the branch of each stage's chosen rate. All branches of a stage leave from that checkpoint, optimizer state
    and data position included; that of the chosen rate must repeat what the run itself did.

    Args:
        setting: Of the study; branches lie in ``stage-ends`` below its folder and go on from there.
        runs: Runs of AutoLRS that did not diverge.

    Returns:
        For each run and stage the candidates with their predicted and true losses, and the rank correlation of the
        two. The true loss is the mean training loss over the last tenth of the stage.
    """
    root = setting.out / "stage-ends"
    if setting.force:
        shutil.rmtree(root, ignore_errors=True)
    found = [(run, run.history(), root / run.name / f"seed-{run.seed}") for run in runs]
    _carry_out(setting, root, "warm-up", [_warm_up(run, folder) for run, _, folder in found])
    stages = max((len(history) for _, history, _ in found), default=0)
    for number in range(stages):
        branches = [
            _Branch(
                workload=run.workload,
                trunk=_start(folder, history, number),
                folder=_place(folder, number, rate),
                recipe=_recipe(run, f"constant:peak={rate!r}"),
                steps=history[number].stage.train_steps,
                seed=run.seed,
                threads=_threads(run),
            )
            for run, history, folder in found
            for rate, _ in history[number].candidates
        ]
        _carry_out(setting, root, f"stage {number + 1} of {stages}", branches)
    return [
        _judged(run, stage, number, folder) for run, history, folder in found for number, stage in enumerate(history)
    ]


def rank_correlation(predicted: Sequence[float | None], true: Sequence[float | None]) -> float | None:
    """Return Spearman's rank correlation; ``None`` in a series is a loss that was not finite, the worst of all.

    Equal values share their mean rank. The result is ``None`` where a series is all the same, which ranks nothing.

    Example:
        >>> round(rank_correlation([1.0, 2.0, None], [0.5, 0.7, 0.6]), 6)
        0.5
    """
    from scipy import stats

    left, right = ([math.inf if value is None else value for value in series] for series in (predicted, true))
    if len(set(left)) < 2 or len(set(right)) < 2:
        return None
    return float(np.corrcoef(stats.rankdata(left), stats.rankdata(right))[0, 1])


@dataclass(frozen=True, kw_only=True)
class _Branch:
    """Some updates from a checkpoint, or from the start of a run where there is no trunk."""

    workload: str
    trunk: Path | None
    folder: Path
    recipe: str
    steps: int
    seed: int
    threads: int


def _warm_up(run: SearchedRun, folder: Path) -> _Branch:
    return _Branch(
        workload=run.workload,
        trunk=None,
        folder=folder / "warm-up",
        recipe=_recipe(run, f"warmup:peak={run.settings.warmup_rate!r}"),
        steps=run.settings.warmup,
        seed=run.seed,
        threads=_threads(run),
    )


def _threads(run: SearchedRun) -> int:
    """Return with how many threads the run was made; the last digits of its numbers depend on it."""
    from tutelage.training.folder import read_run

    return read_run(run.folder).threads


def _recipe(run: SearchedRun, schedule: str) -> str:
    """Return the run's recipe with another schedule; optimizer, clipping and all else stay."""
    from tutelage.training import Recipe, read_run

    return str(replace(Recipe.parse(read_run(run.folder).recipe), schedule=schedule, peak=None))


def _place(folder: Path, number: int, rate: float) -> Path:
    return folder / f"stage-{number + 1}" / f"rate-{rate!r}"


def _start(folder: Path, history: Sequence[StageResult], number: int) -> Path:
    """Return the folder of what ends where a stage starts."""
    rate = history[number - 1].rate if number else None
    return folder / "warm-up" if rate is None else _place(folder, number - 1, rate)


@functools.cache
def _prepared(spec: str) -> Workload:
    from tutelage.workloads import prepare

    return prepare(spec)


def _train(branch: _Branch) -> tuple[_Branch, float | None]:
    """Train a branch, go on with it, or read it."""
    from tutelage import training

    workload, length = _prepared(branch.workload), f"{branch.steps}steps"
    settings: dict[str, Any] = {
        "out": branch.folder,
        "resume": True,
        "threads": branch.threads,
        "eval_every": branch.steps,
        "log_every": 1,
    }
    if branch.trunk is None:
        result = training.train(workload, branch.recipe, budget=length, seed=branch.seed, **settings)
    else:
        result = training.branch(workload, branch.trunk, length, recipe=branch.recipe, **settings)
    return branch, result.final_loss


def _carry_out(setting: Setting, root: Path, phase: str, branches: Sequence[_Branch]) -> None:
    """Train branches side by side, and report how far they are."""
    import joblib

    from tutelage.comparison.on_local import default_jobs
    from tutelage.comparison.run import Progress

    names = {branch: str(branch.folder.relative_to(root)) for branch in branches}
    jobs = [Job(f"rates of {b.workload}", 0, f"{b.steps}steps", b.seed, b.recipe, name) for b, name in names.items()]
    progress = Progress(phase, jobs, root, len(branches))
    workers = min(setting.jobs or default_jobs(), max(1, len(branches)))
    results = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(
        joblib.delayed(_train)(branch) for branch in branches
    )
    for branch, value in results:
        progress.finished[names[branch]] = value
        progress.done += 1
        if setting.watch:
            setting.watch(progress)


def _judged(run: SearchedRun, found: StageResult, number: int, folder: Path) -> dict[str, Any]:
    """Return what was predicted and what came of it, for the candidates of one stage."""
    from tutelage.training.curve import read_curve
    from tutelage.training.folder import read_result

    def losses_of(place: Path) -> Any:
        curve = read_curve(place)
        steps, losses = curve["step"], curve["loss"]
        inside = (steps >= stage.start) & (steps < stage.start + stage.train_steps) & ~np.isnan(losses)
        return losses[inside]

    stage = found.stage
    rows = []
    for rate, predicted in found.candidates:
        place = _place(folder, number, rate)
        result = read_result(place) or {}
        # One batch is noise; the last tenth of the stage has the same batches for every candidate.
        last = losses_of(place)[-max(1, stage.train_steps // 10) :]
        true = None if result["diverged"] else float(np.mean(last))
        rows.append({"rate": rate, "predicted": predicted, "true": true, "validation": result["final_loss"]})
    predictions = [row["predicted"] for row in rows]
    chosen = next(row for row in rows if row["rate"] == found.rate)
    best = min((row["true"] for row in rows if row["true"] is not None), default=None)
    again = losses_of(_place(folder, number, chosen["rate"]))
    return {
        "workload": run.name,
        "seed": run.seed,
        "stage": number + 1,
        "updates": len(rows) * stage.train_steps,
        "rank correlation": rank_correlation(predictions, [row["true"] for row in rows]),
        "with validation loss": rank_correlation(predictions, [row["validation"] for row in rows]),
        "chosen above best": None if best is None or chosen["true"] is None else chosen["true"] - best,
        "repeats the run": bool(np.array_equal(losses_of(run.folder), again)),
        "candidates": rows,
    }
