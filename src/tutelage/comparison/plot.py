"""A still picture of a comparison: mean curves with bands over seeds, and the differences beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tutelage.comparison._curves import Curves, thin_cell
from tutelage.comparison._records import Cell, ComparisonResult
from tutelage.errors import ConfigError
from tutelage.evaluation.verdicts import counted
from tutelage.pictures import ENDINGS, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The colours of the report page on a light ground; the baseline is a dashed dark grey.
COLOURS = ("#0067b1", "#c8500a", "#00805e", "#a8478a", "#8a6a00", "#2586bd", "#6a4fb3", "#b02a37")
_BASELINE, _INK, _SOFT, _LINE = "#3a3936", "#1d1c1a", "#5d5a55", "#e3e0da"


def plot_comparison(
    result: ComparisonResult,
    curves: Curves,
    path: str | Path,
    *,
    cell: int = 0,
    metric: str | None = None,
    skip: float = 0.1,
) -> Path:
    """Draw one cell of a comparison into a file; the file's ending chooses PNG, SVG or PDF.

    Args:
        result: The comparison.
        curves: By (arm, workload, budget, seed), columns with ``step``, ``lr`` and the metric.
        path: The picture to write, atomically.
        cell: Which workload and budget, counted from 0.
        metric: Which curve; the compared metric where not given.
        skip: Share of the run left out at its start, where every recipe falls alike, in [0, 1).

    Returns:
        ``path``.

    Raises:
        ConfigError: An ending other than .png, .svg and .pdf, no such cell, or no curve of that metric.
        ValueError: ``skip`` outside [0, 1).
        StorageFull: No space is left.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ConfigError(f"{path}: a picture ends in {', '.join(ENDINGS)}.")
    if not 0 <= skip < 1:
        raise ValueError(f"plot_comparison: skip must be in [0, 1), got {skip}.")
    if not 0 <= cell < len(result.cells):
        raise ConfigError(f"This comparison has cells 0 to {len(result.cells) - 1}, got {cell}.")
    shown = result.cells[cell]
    names = [arm.name for arm in result.arms if (arm.workload, arm.budget) == (shown.workload, shown.budget)]
    wanted = metric or shown.metric
    series = thin_cell(shown, names, curves, points=400)["series"]
    if wanted not in series:
        raise ConfigError(f'There is no curve of "{wanted}" to draw; known: {", ".join(series) or "none"}.')
    figure = Figure(figsize=(10, 4.6), dpi=160, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25, 1), height_ratios=(2.6, 1))
    look = {name: _style(name, result.baseline, index) for index, name in enumerate(_others_first(names, result))}
    main, rate = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    first = skip * max(x for item in series.values() for x in item["x"][-1:])
    _curves(main, series[wanted], look, first, wanted)
    if "lr" in series:
        rate.sharex(main)
        _curves(rate, series["lr"], look, 0.0, "learning rate")
        rate.set_ylim(bottom=0)
    rate.set_xlabel("updates", color=_SOFT)
    main.legend(frameon=False, fontsize=8, labelcolor=_INK)
    _forest(figure.add_subplot(grid[:, 1]), result, shown, look)
    save_picture(figure, path)
    return path


def _others_first(names: list[str], result: ComparisonResult) -> list[str]:
    return [name for name in names if name != result.baseline] + [name for name in names if name == result.baseline]


def _style(name: str, baseline: str, index: int) -> dict[str, Any]:
    if name == baseline:
        return {"color": _BASELINE, "linestyle": "--"}
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": ("-", ":", "-.")[index // len(COLOURS) % 3]}


def _literal(name: str) -> str:
    """Return a name that matplotlib shows as it is: a dollar sign starts no formula, an underscore hides no label."""
    return ("\u200b" if name.startswith("_") else "") + name.replace("$", r"\$")


def _curves(axes: Axes, series: dict[str, Any], look: dict[str, dict[str, Any]], first: float, label: str) -> None:
    steps = np.asarray(series["x"], dtype=np.float64)
    kept = steps >= first
    for name, style in look.items():
        if name not in series["arms"]:
            continue
        rows = np.array(series["arms"][name]["y"], dtype=np.float64)[:, kept]
        known = np.isfinite(rows).any(axis=0)
        if not known.any():
            continue
        rows, x = rows[:, known], steps[kept][known]
        mean: NDArray[np.float64] = np.nanmean(rows, axis=0)
        axes.plot(x, mean, linewidth=1.6, label=_literal(name), **style)
        if len(rows) > 1:
            low, high = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.13, linewidth=0)
    axes.set_title(label, loc="left", fontsize=9, color=_INK, fontweight="bold")
    _calm(axes)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)


def _forest(axes: Axes, result: ComparisonResult, cell: Cell, look: dict[str, dict[str, Any]]) -> None:
    found = [item for arm in result.arms_of(cell) if (item := result.comparison_of(arm)) is not None]
    axes.axvline(0, color=_SOFT, linewidth=1)
    if result.margin:
        axes.axvspan(-result.margin, result.margin, color="#e4eff7", linewidth=0)
    for row, item in enumerate(reversed(found)):
        colour = look[item.arm]["color"]
        axes.plot(item.per_seed, [row - 0.2] * len(item.per_seed), "|", color=colour, markersize=5, alpha=0.7)
        if item.low is not None and item.high is not None:
            axes.plot([item.low, item.high], [row, row], color=colour, linewidth=3, solid_capstyle="round")
        if item.difference is not None:
            axes.plot([item.difference], [row], "o", color=colour, markersize=7, markeredgecolor="white")
    labels = [f"{_literal(item.arm)}\n{item.verdict}" for item in reversed(found)]
    axes.set_yticks(range(len(found)), labels, fontsize=8.5, color=_INK)
    axes.set_ylim(-0.7, len(found) - 0.4)
    sides = ("better", "worse") if cell.lower_is_better else ("worse", "better")
    percent, pairs = f"{100 * result.confidence:.4g} %", counted(len(cell.seeds), cell.pair)
    axes.set_title(
        f"{cell.metric} minus that of {_literal(result.baseline)}\n{percent} intervals, {pairs}",
        loc="left",
        fontsize=9,
        color=_INK,
        fontweight="bold",
    )
    axes.set_xlabel(f"← {sides[0]}          {sides[1]} →", color=_SOFT)
    _calm(axes)
    axes.grid(axis="x", color=_LINE, linewidth=0.8)
    axes.spines["left"].set_visible(False)


def _calm(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=_SOFT, labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_LINE)
