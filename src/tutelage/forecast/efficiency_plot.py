"""A picture of scores by number of examples, and of what two arms need for the same score."""

from __future__ import annotations

from pathlib import Path

from tutelage.forecast.efficiency_report import EfficiencyReport
from tutelage.pictures import COLOURS, new_figure, picture_path, save_picture

_COLOURS = ("#3a3936", *COLOURS)


def plot_efficiency(found: EfficiencyReport, path: str | Path) -> None:
    """Draw the mean score of every arm over the number of examples, and a line at the common score.

    Args:
        found: The report.
        path: ``.svg``, ``.png`` or ``.pdf``.

    Raises:
        ConfigError: Another ending, or a folder that does not exist.
    """
    path = picture_path(path)
    figure = new_figure()
    axes = figure.subplots()
    for place, (name, curve) in enumerate(found.curves.items()):
        colour, reached = _COLOURS[place % len(_COLOURS)], None
        style = "--" if name == found.baseline else "-"
        if name in found.arms:
            reached = found.arms[name].overall.n_a
        label = name.replace("$", r"\$")
        axes.plot(list(curve), list(curve.values()), style, color=colour, marker="o", markersize=4, label=label)
        if reached is not None:
            axes.plot([reached], [found.arms[name].overall.target], marker="|", markersize=16, color=colour)
    targets = {arm.overall.target for arm in found.arms.values()}
    for target in targets:
        axes.axhline(target, color="#8a8f98", linewidth=0.8, linestyle=":")
    sizes = sorted({size for curve in found.curves.values() for size in curve})
    axes.set(xscale="log", xlabel="training examples", ylabel="score")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.legend(frameon=False)
    save_picture(figure, path)
