"""A picture of runs, a scaling law through them, and what it says of a run to come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.pictures import new_figure, picture_path, save_picture

if TYPE_CHECKING:
    from tutelage.cli._scaling_runs import ScalingData
    from tutelage.forecast.scaling import ScalingFit

_AHEAD = "#c2571a"


def plot_scaling(
    law: str,
    fit: ScalingFit[Any],
    data: ScalingData,
    path: Path,
    *,
    plan: Mapping[str, float] | None = None,
    interval: tuple[float, float] | None = None,
) -> None:
    """Draw losses over tokens, one colour a size, with the law through them; over the size for a law of it alone.

    Args:
        law: ``kaplan``, ``chinchilla``, ``size`` or ``tokens``.
        fit: The fit.
        data: What was read.
        path: ``.svg``, ``.png`` or ``.pdf``.
        plan: What the law says of a run to come; drawn where it has a place in the picture.
        interval: Of its loss.

    Raises:
        ConfigError: Another ending, or a folder that does not exist.
    """
    import numpy as np
    from matplotlib import colormaps

    path = picture_path(path)
    figure = new_figure(8, 4.8)
    axes = figure.subplots()
    sizes = sorted({end.size for end in data.ends})
    place = {size: index / max(len(sizes) - 1, 1) for index, size in enumerate(sizes)}
    colours = {size: colormaps["viridis"](0.9 * place[size]) for size in sizes}
    by = "size" if law == "size" else "tokens"
    planned = None if not plan or not {by, "loss"} <= set(plan) else (plan[by], plan["loss"])
    if law == "kaplan":
        for run in data.curves:
            axes.plot(run.steps * run.B, run.losses, color=colours[run.size], linewidth=0.8, alpha=0.5)
            steps = np.geomspace(max(run.warmup + 1, run.steps[0]), run.steps[-1], 100)
            axes.plot(steps * run.B, fit.law.loss(run.size, steps, run.B), color=colours[run.size], linewidth=1.4)
    else:
        given = np.array([end.size if by == "size" else end.tokens for end in data.ends])
        furthest = planned[0] if planned and np.isfinite(planned[0]) else given.max()
        along = np.geomspace(given.min(), max(given.max(), furthest), 200)
        axes.scatter(given, [end.loss for end in data.ends], s=14, color=[colours[end.size] for end in data.ends])
        if law == "chinchilla":
            for size in sizes:
                axes.plot(along, fit.law.loss(size, along), color=colours[size], linewidth=1.2)
        else:
            axes.plot(along, fit.law.loss(along), color="black", linewidth=1.2)
    if planned and all(np.isfinite(planned)):
        axes.plot(*planned, marker="D", color=_AHEAD, linestyle="none", label="planned")
        if interval is not None:
            axes.vlines(planned[0], *interval, color=_AHEAD, linewidth=1.5)
    if law in ("kaplan", "chinchilla"):
        for size in sizes:
            axes.plot([], [], color=colours[size], label=f"{size:.3g} parameters")
    axes.set(xscale="log", yscale="log", xlabel="parameters" if by == "size" else "tokens", ylabel="loss (nats)")
    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which("{x:.3g}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    save_picture(figure, path)
