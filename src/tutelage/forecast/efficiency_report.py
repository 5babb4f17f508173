"""efficiency_report: a table of scores by arm and number of examples, and how much data each arm saves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tutelage.errors import ConfigError, DataError, did_you_mean
from tutelage.forecast.data_efficiency import DataEfficiency, data_efficiency

#: Where a row stands, for messages about it; such as ``scores.csv: line 3``.
PLACE = "\x00place"
_NEEDED = ("arm", "size", "score")
#: Score by number of examples, for each task and seed.
ArmCurves = dict[tuple[str, str], dict[int, float]]


@dataclass(frozen=True)
class ArmEfficiency:
    """What one arm saves against the baseline.

    Args:
        overall: On the mean over tasks and seeds.
        by_task: On each task, over seeds; empty where the table has no tasks.
        median_ratio: Median over tasks of the ratio, one that is never reached counting as infinite; ``None`` where
            the median is infinite itself, or there are no tasks.
    """

    overall: DataEfficiency
    by_task: Mapping[str, DataEfficiency]
    median_ratio: float | None


@dataclass(frozen=True)
class EfficiencyReport:
    """Every arm against a baseline.

    Args:
        baseline: The arm others are compared with.
        target: ``"final"``, or the score.
        arms: The other arms.
        curves: Mean score by size of every arm, the baseline first.
    """

    baseline: str
    target: str | float
    arms: Mapping[str, ArmEfficiency]
    curves: Mapping[str, Mapping[int, float]]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "baseline": self.baseline,
            "target": self.target,
            "arms": {
                name: {
                    **asdict(arm.overall),
                    "median_task_ratio": arm.median_ratio,
                    "tasks": {task: asdict(found) for task, found in arm.by_task.items()},
                }
                for name, arm in self.arms.items()
            },
            "curves": {
                name: {str(size): score for size, score in curve.items()} for name, curve in self.curves.items()
            },
        }


def efficiency_report(
    rows: Iterable[Mapping[str, Any]],
    *,
    baseline: str | None = None,
    target: str | float = "final",
    higher_is_better: bool = True,
    confidence: float = 0.95,
) -> EfficiencyReport:
    """Compare arms of a table by the number of examples they need for the same score.

    **Formula**: :func:`data_efficiency` of each arm against the baseline: on the mean over tasks and seeds, drawing
    tasks and seeds for the interval, and on each task by itself.

    Args:
        rows: Each with ``arm``, ``size`` (examples) and ``score``, and where there are such ``seed`` and ``task``.
        baseline: The reference arm; the first of the table where not given.
        target: ``"final"``: what the baseline reaches on all of its data; or a score.
        higher_is_better: Whether a higher score is better.
        confidence: Of the intervals.

    Returns:
        The report.

    Raises:
        DataError: A column is missing, a cell is no number, a row is there twice, or arms lack a task or seed that
            others have.
        ConfigError: No such arm, fewer than two arms, or another target.

    Example:
        >>> plain, tuned = {10: 0.2, 100: 0.5, 1000: 0.7}, {10: 0.4, 100: 0.7, 1000: 0.8}
        >>> rows = [{"arm": "plain", "size": n, "score": s} for n, s in plain.items()]
        >>> rows += [{"arm": "tuned", "size": n, "score": s} for n, s in tuned.items()]
        >>> round(efficiency_report(rows).arms["tuned"].overall.ratio, 3)
        0.1

    Use with:
        ``tutelage forecast efficiency scores.csv``.

    Helps / does not help:
        Each task is compared at its own final score, so an easy task counts as much as a hard one in the median.

    Relations:
        :func:`data_efficiency` compares two curves.

    Source:
        See :func:`data_efficiency`.
    """
    arms = _curves(rows)
    names = list(arms)
    if baseline is not None and baseline not in arms:
        raise ConfigError(f'No arm "{baseline}".{did_you_mean(baseline, names)} Arms: {", ".join(names)}.')
    if len(arms) < 2:
        raise ConfigError(f"Two arms or more can be compared, got {', '.join(names)}.")
    goal = _goal(target)
    first = baseline or names[0]
    reference = arms[first]
    options: dict[str, Any] = {"higher_is_better": higher_is_better, "confidence": confidence}
    found = {}
    for name, curves in arms.items():
        if name == first:
            continue
        odd = sorted(set(curves) ^ set(reference))
        if odd:
            where = " ".join(f"{what} {part}" for what, part in zip(("task", "seed"), odd[0], strict=True) if part)
            raise DataError(f"The arms {first} and {name} must have the same tasks and seeds; {where} is in one only.")
        tasks = sorted({task for task, _ in reference if task})
        options["names"] = (name, first)
        by_task = {task: data_efficiency(_of(curves, task), _of(reference, task), goal, **options) for task in tasks}
        overall = data_efficiency(curves, reference, goal, **options)
        found[name] = ArmEfficiency(overall, by_task, _median(by_task))
    order = [first, *found]
    return EfficiencyReport(
        first, "final" if goal == "final_b" else float(goal), found, {name: _mean(arms[name]) for name in order}
    )


def _of(curves: ArmCurves, task: str) -> dict[str, dict[int, float]]:
    """Return the curves of one task by seed."""
    return {seed: curve for (name, seed), curve in curves.items() if name == task}


def _goal(target: str | float) -> Any:
    if target == "final":
        return "final_b"
    try:
        value = float(target)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f'target must be "final" or a finite score, got "{target}".')
    return value


def _median(by_task: Mapping[str, DataEfficiency]) -> float | None:
    """Return the median ratio; a task on which the baseline itself misses a fixed target has none and is left out."""
    ratios = [math.inf if one.ratio is None else one.ratio for one in by_task.values() if one.n_b is not None]
    # NumPy's own median makes nan of two infinities.
    ordered = sorted(ratios)
    middle = ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1]
    return sum(middle) / len(middle) if middle and math.isfinite(middle[-1]) else None


def _mean(curves: ArmCurves) -> dict[int, float]:
    shared = sorted(set.intersection(*(set(curve) for curve in curves.values())))
    return {size: float(np.mean([curve[size] for curve in curves.values()])) for size in shared}


def _curves(rows: Iterable[Mapping[str, Any]]) -> dict[str, ArmCurves]:
    arms: dict[str, ArmCurves] = {}
    for number, row in enumerate(rows, 1):
        where = str(row.get(PLACE, f"row {number}"))
        for column in _NEEDED:
            if row.get(column) in (None, ""):
                known = [str(name) for name in row if name != PLACE]
                what = (
                    "is empty"
                    if column in row
                    else f"is missing.{did_you_mean(column, known)} It has: {', '.join(known)}"
                )
                raise DataError(f'{where}: column "{column}" {what}.')
        size, score = _number(row["size"], where, "size"), _number(row["score"], where, "score")
        if size <= 0 or size != int(size):
            raise DataError(f'{where}: "size" must be a number of examples > 0, got {row["size"]}.')
        key = tuple("" if row.get(name) is None else str(row[name]) for name in ("task", "seed"))
        curve = arms.setdefault(str(row["arm"]), {}).setdefault((key[0], key[1]), {})
        if int(size) in curve:
            raise DataError(
                f"{where}: a second score of {row['arm']} at size {int(size)}; give a column seed or task that tells "
                "them apart."
            )
        curve[int(size)] = score
    if not arms:
        raise DataError("The table holds no rows.")
    return {name: {key: dict(sorted(c.items())) for key, c in curves.items()} for name, curves in arms.items()}


def _number(value: Any, where: str, column: str) -> float:
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f'{where}: "{column}" must be a finite number, got "{value}".')
    return found
