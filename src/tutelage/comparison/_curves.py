"""Curves of a comparison, brought to common grids and few enough points to be looked at in a page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.comparison._records import Cell, ComparisonResult
from tutelage.errors import CorruptRun, DataNotFound

Columns = Mapping[str, NDArray[Any]]
#: A run: arm, workload, budget, seed.
Key = tuple[str, str, str, int]
#: Curves by run, each as columns that contain ``step``.
Curves = Mapping[Key, Columns]
Floats = NDArray[np.float64]

_CLOCKS = ("tokens", "seconds")
_NOT_SHOWN = {"step", "tokens", "examples", "seconds", "lr"}
_NUMBERS = 110_000  # over the whole page, about 800 kB
#: Arms of a cell and curves of a page that are drawn: more cannot be told apart, and would take minutes to read.
MOST_ARMS, MOST_CURVES = 24, 400


def load_curves(
    result: ComparisonResult, root: Path | None = None, *, only: Collection[Key] | None = None
) -> dict[Key, Columns]:
    """Return the curves of all runs whose folders are still there.

    Args:
        result: The comparison.
        root: Folder that relative run folders start from.
        only: Runs to read; all where not given.
    """
    from tutelage.training.curve import read_curve

    curves: dict[Key, Columns] = {}
    for run in result.runs:
        key = (run.arm, run.workload, run.budget, run.seed)
        if run.folder is None or (only is not None and key not in only):
            continue
        folder = Path(run.folder)
        # Of a stored comparison folders start from its own; of one just made from the working directory.
        if root is not None and not folder.is_absolute() and (root / folder).exists():
            folder = root / folder
        try:
            curves[key] = read_curve(folder)
        except (DataNotFound, CorruptRun, OSError):
            continue
    return curves


def runs_to_draw(result: ComparisonResult) -> set[Key]:
    """Return the runs whose curves a page draws: all, or of many the best arms, the baseline, and some seeds."""
    if len(result.runs) <= MOST_CURVES and all(len(result.arms_of(cell)) <= MOST_ARMS for cell in result.cells):
        return {(run.arm, run.workload, run.budget, run.seed) for run in result.runs}
    share = max(2, MOST_CURVES // len(result.cells))
    chosen: set[Key] = set()
    for cell in result.cells:
        ranked = [arm.name for arm in result.arms_of(cell)]
        best = [result.baseline, *(name for name in ranked if name != result.baseline)][: min(MOST_ARMS, share)]
        count = min(len(cell.seeds), max(1, share // len(best)))
        places = np.unique(np.round(np.linspace(0, len(cell.seeds) - 1, count)).astype(int))
        seeds = [cell.seeds[place] for place in places]
        chosen |= {(name, cell.workload, cell.budget, seed) for name in best for seed in seeds}
    return chosen


def left_out(result: ComparisonResult, cell: Cell, drawn: Collection[Key]) -> str:
    """Return what the curves of a cell leave out, in words; nothing where they show all."""
    here = [key for key in drawn if key[1:3] == (cell.workload, cell.budget)]
    arms, seeds = {key[0] for key in here}, {key[3] for key in here}
    parts = []
    known = len(result.arms_of(cell))
    if len(arms) < known:
        parts.append(f"{len(arms)} of {known} arms, the best and the baseline")
    if len(seeds) < len(cell.seeds):
        parts.append(f"{len(seeds)} of {len(cell.seeds):,} {cell.pair}s")
    return f"Drawn: {'; '.join(parts)}. The tables have all." if parts else ""


def thin_cell(
    cell: Cell, names: Sequence[str], curves: Curves, *, points: int, metrics: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the curves of a cell on common grids, ready for JSON.

    Every metric has one grid of steps that all its runs share, at most ``points`` long. A dense curve, one value an
    update, is averaged between grid points; a sparse one, such as a validation loss, keeps its own steps.

    Args:
        cell: Workload and budget.
        names: Arms, in the order they are listed.
        curves: Curves by run.
        points: Most grid points of a metric.
        metrics: Metrics to keep; all where not given.

    Returns:
        ``metrics`` (names, the compared one first) and ``series``: by metric ``x`` and ``arms``, by arm ``y`` (a list a
        seed, ``None`` for gaps), ``seeds`` and, where known, ``tokens`` and ``seconds`` at the grid.
    """
    runs = {
        name: {
            seed: curves[key]
            for seed in cell.seeds
            if (key := (name, cell.workload, cell.budget, seed)) in curves and len(curves[key]["step"])
        }
        for name in names
    }
    found: dict[str, None] = {}
    for columns in (column for by_seed in runs.values() for column in by_seed.values()):
        found.update({key: None for key in columns if key not in _NOT_SHOWN and np.isfinite(columns[key]).any()})
    preferred = [name for name in (cell.metric, "loss") if name in found]
    shown = [*preferred, *(name for name in found if name not in preferred)]
    if metrics is not None:
        shown = [name for name in shown if name in metrics]
    series = {metric: _series(metric, runs, points) for metric in [*shown, "lr"]}
    return {"metrics": shown, "series": {metric: value for metric, value in series.items() if value["arms"]}}


def budget_of_points(result: ComparisonResult, curves: Curves) -> tuple[int, bool]:
    """Return how many grid points a metric may have so that the page stays small, and whether to keep all metrics."""
    sizes = [sum(1 for key in columns if key not in _NOT_SHOWN) + 1 for columns in curves.values()]
    everything = _NUMBERS // max(1, sum(sizes) + 2 * len(result.arms))
    if everything >= 40:
        return min(everything, 320), True
    return max(4, min(_NUMBERS // max(1, 2 * len(curves) + 2 * len(result.arms)), 320)), False


def _series(metric: str, runs: Mapping[str, Mapping[int, Columns]], points: int) -> dict[str, Any]:
    dense = metric == "lr"
    known: dict[str, dict[int, tuple[Floats, Floats]]] = {}
    for name, by_seed in runs.items():
        for seed, columns in by_seed.items():
            if metric not in columns:
                continue
            value = np.asarray(columns[metric], dtype=np.float64)
            kept = np.isfinite(value)
            if kept.any():
                known.setdefault(name, {})[seed] = np.asarray(columns["step"], dtype=np.float64)[kept], value[kept]
    if not known:
        return {"x": [], "arms": {}}
    steps = np.unique(np.concatenate([x for by_seed in known.values() for x, _ in by_seed.values()]))
    if len(steps) > points:
        steps = steps[np.unique(np.round(np.linspace(0, len(steps) - 1, points)).astype(int))]
    arms: dict[str, Any] = {}
    for name, pairs in known.items():
        grid = [(_at if dense else _averaged)(steps, x, y) for x, y in pairs.values()]
        if dense and len(grid) > 1 and all(np.array_equal(grid[0], other, equal_nan=True) for other in grid[1:]):
            grid = grid[:1]
        arm: dict[str, Any] = {"seeds": list(pairs), "y": [_short(values) for values in grid]}
        for clock in _CLOCKS:
            rows = [_clock(steps, runs[name][seed], clock) for seed in pairs]
            if all(row is not None for row in rows):
                arm[clock] = _short(np.mean([row for row in rows if row is not None], axis=0))
        arms[name] = arm
    return {"x": [int(step) for step in steps], "arms": arms}


def _averaged(grid: Floats, x: Floats, y: Floats) -> Floats:
    """Return the mean of the values after each grid point's predecessor; gaps between sparse values are bridged."""
    place = np.searchsorted(grid, x)
    inside = place < len(grid)
    count = np.bincount(place[inside], minlength=len(grid))
    total = np.bincount(place[inside], weights=y[inside], minlength=len(grid))
    means = np.full(len(grid), np.nan)
    means[count > 0] = total[count > 0] / count[count > 0]
    if len(x) > 1:
        gap = (count == 0) & (grid > x[0]) & (grid < x[-1])
        means[gap] = np.interp(grid[gap], x, y)
    return means


def _at(grid: Floats, x: Floats, y: Floats) -> Floats:
    """Return the last value at or before each grid point, none outside the run."""
    place = np.searchsorted(x, grid, side="right") - 1
    values = y[np.clip(place, 0, len(y) - 1)].astype(np.float64)
    values[(place < 0) | (grid > x[-1])] = np.nan
    return values


def _clock(grid: Floats, columns: Columns, clock: str) -> Floats | None:
    if clock not in columns:
        return None
    value = np.asarray(columns[clock], dtype=np.float64)
    kept = np.isfinite(value)
    if kept.sum() < 2:
        return None
    return np.interp(grid, np.asarray(columns["step"], dtype=np.float64)[kept], value[kept])


def _short(values: Floats) -> list[float | None]:
    """Return numbers to five significant digits, which is what a screen can show."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]
