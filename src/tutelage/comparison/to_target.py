"""Time to a target: the AlgoPerf question asked of comparisons and runs made here.

``compare`` asks who ends best under equal budgets; this asks who gets to a given quality first. It needs no new runs:
the curves of a finished comparison are enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tutelage.comparison._curves import Columns, Curves, load_curves
from tutelage.comparison._records import Cell, ComparisonResult
from tutelage.comparison.stored import read_report
from tutelage.errors import ConfigError, DataNotFound, did_you_mean
from tutelage.evaluation.algoperf import time_to_target, workload_time
from tutelage.evaluation.algoperf_scores import Axis, ScoreTable, TimeTable, score_times
from tutelage.evaluation.algoperf_targets import WorkloadTarget, set_target

__all__ = ["AXES", "curve_targets", "evaluations", "score_comparison", "time_of_curve"]

#: What a curve's own columns can count.
AXES: tuple[Axis, ...] = ("steps", "tokens", "seconds")

Floats = NDArray[np.float64]


def evaluations(curve: Columns, metric: str, axis: Axis = "steps") -> tuple[Floats, Floats]:
    """Return time spent and value of a metric at each evaluation of a run.

    Args:
        curve: Columns as :func:`tutelage.training.read_curve` returns them.
        metric: Validation metric without its ``val_``, such as ``"loss"``.
        axis: ``"steps"`` (updates made), ``"tokens"`` or ``"seconds"`` of training, evaluation left out.

    Returns:
        Two arrays of shape ``(evaluations,)``; evaluations without a finite value are left out.

    Raises:
        ConfigError: The curve has no such metric, or does not count the axis.
    """
    if axis not in AXES:
        raise ConfigError(f"Curves count {', '.join(AXES)}, not {axis}.")
    name = f"val_{metric}"
    known = [column.removeprefix("val_") for column in curve if column.startswith("val_")]
    if not known:  # the run diverged before its first evaluation
        return np.empty(0), np.empty(0)
    if name not in curve:
        near = did_you_mean(metric, known)
        raise ConfigError(f'This curve has no metric "{metric}".{near} It has: {", ".join(known)}.')
    values = np.asarray(curve[name], dtype=np.float64)
    kept = np.isfinite(values)
    if axis == "steps":
        times = np.asarray(curve["step"], dtype=np.float64)[kept] + 1  # a row's step is the update's number from 0
    else:
        times = np.asarray(curve.get(axis, np.full(len(values), np.nan)), dtype=np.float64)[kept]
    if not np.all(np.isfinite(times)):
        others = ", ".join(other for other in AXES if other != axis)
        raise ConfigError(f"This curve does not count {axis} at every evaluation; score by {others} instead.")
    return times, values[kept]


def time_of_curve(curve: Columns, target: WorkloadTarget, *, axis: Axis = "steps") -> float:
    """Return what a run spent until its target was first reached, infinity where it never was.

    Args:
        curve: Columns as :func:`tutelage.training.read_curve` returns them.
        target: The mark.
        axis: What is counted: ``"steps"``, ``"tokens"`` or ``"seconds"``.

    Raises:
        ConfigError: As :func:`evaluations`.

    Example:
        >>> curve = {"step": np.array([9, 19, 29]), "val_loss": np.array([0.9, 0.5, 0.4])}
        >>> time_of_curve(curve, WorkloadTarget(metric="loss", value=0.5, lower_is_better=True))
        20.0
    """
    times, values = evaluations(curve, target.metric, axis)
    return time_to_target(times, values, target.value, lower_is_better=target.lower_is_better)


def curve_targets(result: ComparisonResult, curves: Curves, baseline: str | None = None) -> dict[str, WorkloadTarget]:
    """Return the mark that a comparison's baseline sets on each workload: the median of its best values over seeds.

    Args:
        result: The comparison.
        curves: Curves of its runs.
        baseline: The arm; the comparison's own baseline where not given. It should be a tuned one.

    Returns:
        Targets by workload, or by ``"workload, budget"`` where there are several budgets.

    Raises:
        ConfigError: No such arm, or fewer than two of its runs on a workload have a finite value.
    """
    name = baseline or result.baseline
    arms = list(dict.fromkeys(arm.name for arm in result.arms))
    if name not in arms:
        raise ConfigError(f'No arm "{name}" to set targets.{did_you_mean(name, arms)} Arms: {", ".join(arms)}.')
    found: dict[str, WorkloadTarget] = {}
    for cell in result.cells:
        metric, runs = _metric(cell), _runs(curves, name, cell)
        try:
            set_by = set_target(
                [evaluations(curve, metric)[1] for curve in runs.values()], lower_is_better=cell.lower_is_better
            )
        except ValueError as error:
            raise ConfigError(f"{name} sets no target on {_label(result, cell)}: {error}") from error
        found[_label(result, cell)] = WorkloadTarget(
            metric=metric, value=set_by.validation, lower_is_better=cell.lower_is_better
        )
    return found


def score_comparison(
    comparison: ComparisonResult | str | Path,
    *,
    targets: Mapping[str, float] | None = None,
    baseline: str | None = None,
    axis: Axis = "steps",
    variants: Mapping[str, str] | None = None,
    r_max: float = 4.0,
    curves: Curves | None = None,
) -> ScoreTable:
    """Return AlgoPerf scores of the arms of a finished comparison: who reaches the target first, and how reliably.

    Each seed counts as one study, so an arm's time on a workload is the median over seeds, misses included.

    Args:
        comparison: The result, or the folder of the comparison.
        targets: Value to reach on each workload; set by the baseline's own runs where not given
            (:func:`curve_targets`). Better are targets that were set before.
        baseline: The arm that sets them; the comparison's own baseline where not given.
        axis: ``"steps"``, ``"tokens"`` or ``"seconds"``.
        variants: Held-out workload to the workload it is a variant of.
        r_max: Slower than this many times the best earns nothing, > 1.
        curves: Curves by (arm, workload, budget, seed); read from the run folders where not given.

    Returns:
        Scores, times, profiles and notes; ``print(table.to_text())`` shows them.

    Raises:
        DataNotFound: No finished comparison there, or the curve of a run is gone.
        CorruptRun: Its report cannot be read.
        ConfigError: A single run in place of a comparison, a workload without a target, a target for none, or an axis
            that the curves do not count.
        ValueError: Fewer than two arms, or ``r_max`` not above 1.

    Example:
        >>> from tutelage.comparison import RunOutcome, summarise
        >>> cell = {"workload": "w", "budget": "30steps", "seed": 0, "metric": "val_loss", "lower_is_better": True}
        >>> runs = [RunOutcome(arm=name, value=0.4, **cell) for name in ("old", "new")]
        >>> result = summarise(runs, baseline="old")
        >>> losses = {"old": [0.9, 0.7, 0.5], "new": [0.8, 0.5, 0.4]}
        >>> curves = {(name, "w", "30steps", 0): {"step": np.array([9, 19, 29]), "val_loss": np.array(row)}
        ...           for name, row in losses.items()}
        >>> table = score_comparison(result, targets={"w": 0.5}, curves=curves)
        >>> [(row.submission, row.times["w"], round(row.exact_score, 3)) for row in table.rows]
        [('new', 20.0, 1.0), ('old', 30.0, 0.833)]

    Use with:
        ``tutelage score-submissions COMPARISON_FOLDER``.

    Relations:
        Like :func:`tutelage.evaluation.algoperf_logs.score_submissions`, for runs made here;
        :func:`tutelage.comparison.race` makes runs by the benchmark's own rules of tuning.

    Source:
        As :mod:`tutelage.evaluation.algoperf`.
    """
    result = comparison if isinstance(comparison, ComparisonResult) else _stored(comparison)
    known = load_curves(result) if curves is None else curves
    cells = {_label(result, cell): cell for cell in result.cells}
    marks = curve_targets(result, known, baseline) if targets is None else _given(targets, cells)
    arms = list(dict.fromkeys(arm.name for arm in result.arms))
    rows: dict[str, dict[str, float]] = {}
    for name in arms:
        for label, cell in cells.items():
            times = [[time_of_curve(curve, marks[label], axis=axis)] for curve in _runs(known, name, cell).values()]
            rows.setdefault(name, {})[label] = workload_time(times)
    notes = [
        f"Target on {label}: {mark.metric} {'<=' if mark.lower_is_better else '>='} {mark.value:.6g}"
        + (f", the median of the best values of {baseline or result.baseline}." if targets is None else ".")
        for label, mark in marks.items()
    ]
    notes += _notes(result, own_targets=targets is None)
    table = TimeTable.from_rows(rows, axis=axis)
    return score_times(table, variants=variants, r_max=r_max, notes=notes)


def _stored(folder: str | Path) -> ComparisonResult:
    report = read_report(folder)
    if report.of_run:
        raise ConfigError(f"{folder} holds one run, and a score needs several arms; name a comparison's folder.")
    return report.result


def _label(result: ComparisonResult, cell: Cell) -> str:
    several = len({other.budget for other in result.cells}) > 1
    return f"{cell.workload}, {cell.budget}" if several else cell.workload


def _metric(cell: Cell) -> str:
    return cell.metric.removeprefix("val_")


def _runs(curves: Curves, arm: str, cell: Cell) -> dict[int, Columns]:
    """Return an arm's curves in a cell, by seed."""
    found: dict[int, Columns] = {}
    for seed in cell.seeds:
        key = (arm, cell.workload, cell.budget, seed)
        if key not in curves:
            raise DataNotFound(
                f"The curve of {arm} on {cell.workload}, seed {seed}, is not there; keep the runs (compare with "
                "--out), and name the folder they are in."
            )
        found[seed] = curves[key]
    return found


def _given(targets: Mapping[str, float], cells: Mapping[str, Cell]) -> dict[str, WorkloadTarget]:
    unknown = [f'"{name}"{did_you_mean(name, cells)}' for name in targets if name not in cells]
    missing = [label for label in cells if label not in targets]
    if unknown or missing:
        raise ConfigError(
            f"targets must name every workload once; no workload {', '.join(unknown) or 'is unknown'}; without target: "
            f"{', '.join(missing) or 'none'}. Workloads: {', '.join(cells)}."
        )
    return {
        label: WorkloadTarget(metric=_metric(cell), value=float(targets[label]), lower_is_better=cell.lower_is_better)
        for label, cell in cells.items()
    }


def _notes(result: ComparisonResult, *, own_targets: bool) -> Sequence[str]:
    notes = []
    if own_targets:
        notes.append("These targets come from runs that are scored here; targets set before would be fairer.")
        if any(len(cell.seeds) % 2 == 0 for cell in result.cells):
            notes.append(
                "With an even number of seeds half of the baseline's runs miss the median of their own best values, "
                "and so does their median time: use an odd number."
            )
    searching = sorted({run.arm for run in result.runs if run.cost.get("search_steps")})
    if searching:
        notes.append(f"Updates spent on search while training are not in these times: {', '.join(searching)}.")
    tuned = sorted({run.arm for run in result.runs if run.cost.get("tuning_steps")})
    if tuned:
        notes.append(f"Runs spent on tuning the peak are not in these times: {', '.join(tuned)}.")
    diverged = sorted({run.arm for run in result.runs if run.failed})
    if diverged:
        notes.append(f"Some runs of {', '.join(diverged)} diverged; what they reached before counts.")
    return notes
