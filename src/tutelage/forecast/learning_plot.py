"""A picture of learning curves: scores that were measured, what is expected of larger training sets, and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tutelage.forecast.learning_bayes import LearningPosterior
from tutelage.forecast.learning_curve import LearningCurve
from tutelage.pictures import COLOURS, new_figure, picture_path, save_picture

#: How many times the largest size the picture reaches, where no size to forecast reaches further.
_AHEAD = 10.0


def plot_learning(
    curves: Mapping[str, LearningCurve] | Mapping[str, LearningPosterior],
    points: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: str | Path,
    *,
    targets: Sequence[float] = (),
    reach: float | None = None,
    level: float = 0.8,
) -> None:
    """Draw measured scores and forecasts; curves before their prediction level are drawn as points only.

    Args:
        curves: By learner.
        points: Sizes and scores by learner.
        path: ``.svg``, ``.png`` or ``.pdf``.
        targets: Scores to mark.
        reach: Largest size to draw; 10 times the largest measured if not given.
        level: Probability of the bands.

    Raises:
        ConfigError: Another ending, or a folder that does not exist.
    """
    path = picture_path(path)
    figure = new_figure()
    axes = figure.subplots()
    drawn: Mapping[str, LearningCurve | LearningPosterior] = {**curves}
    for place, (name, curve) in enumerate(drawn.items()):
        colour = COLOURS[place % len(COLOURS)]
        sizes, scores = points[name]
        label = name.replace("$", r"\$") or "measured"
        axes.plot(sizes, scores, "o", color=colour, markersize=3.5, label=label)
        ahead = np.geomspace(sizes[0], max(reach or _AHEAD * sizes[-1], sizes[-1]), 120)
        if isinstance(curve, LearningPosterior):
            found = curve.forecast(ahead, level=level, measured=False)
            axes.plot(ahead, found.median, color=colour, linewidth=1.5)
            axes.fill_between(ahead, found.low, found.high, color=colour, alpha=0.15, linewidth=0)
        elif curve.prediction_level is not None:
            axes.plot(ahead, [curve.predict(size) for size in ahead], color=colour, linewidth=1.5)
            axes.axhline(curve.asymptote, color=colour, linewidth=0.7, linestyle=":")
    for target in targets:
        axes.axhline(target, color="black", linewidth=0.8, linestyle="--")
    axes.set(xlabel="training size", ylabel="score", xscale="log")
    axes.legend(frameon=False)
    save_picture(figure, path)
