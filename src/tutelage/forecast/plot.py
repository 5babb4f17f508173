"""A picture of observed losses, a fitted law, and a forecast with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tutelage.forecast.curve import LossCurve
from tutelage.forecast.forecaster import CurveForecast
from tutelage.pictures import new_figure, picture_path, save_picture

_SEEN, _FITTED, _AHEAD = "#8a8f98", "#1f5fa8", "#c2571a"


def plot_forecast(
    found: CurveForecast, path: str | Path, *, observed: Sequence[LossCurve] = (), held_out: Sequence[LossCurve] = ()
) -> None:
    """Draw what was observed, the law fitted to it, and the forecast with its interval.

    Args:
        found: The forecast.
        path: ``.svg``, ``.png`` or ``.pdf``.
        observed: Curves that were fitted; those of the fit if empty.
        held_out: Losses that were not fitted, to compare with.

    Raises:
        ConfigError: Another ending, or a folder that does not exist.
    """
    path = picture_path(path)
    figure = new_figure()
    axes = figure.subplots()
    lows, highs = [float(found.low.min())], [float(found.high.max())]
    for place, curve in enumerate(observed or found.fit.curves):
        axes.plot(curve.steps, curve.losses, color=_SEEN, linewidth=0.9, label="observed" if not place else None)
        fitted = np.unique(np.linspace(curve.steps[0], curve.steps[-1], 400).astype(np.int64))
        law = found.fit.predict(curve.rates, fitted, warmup=curve.warmup)
        axes.plot(fitted, law, color=_FITTED, linewidth=1.4, label="fitted" if not place else None)
        # The first tenth of a run is so high that the rest would be a flat line.
        late = curve.losses[curve.steps > 0.1 * curve.steps[-1]]
        lows.append(float(late.min()))
        highs.append(float(late.max()))
    for place, curve in enumerate(held_out):
        axes.plot(
            curve.steps, curve.losses, color="black", linewidth=0.7, alpha=0.6, label=None if place else "held out"
        )
    band = f"{found.level:.0%} interval"
    axes.fill_between(found.steps, found.low, found.high, color=_AHEAD, alpha=0.2, linewidth=0, label=band)
    axes.plot(found.steps, found.mean, color=_AHEAD, linewidth=1.8, label=f"forecast ({found.fit.name})")
    edge = 0.05 * (max(highs) - min(lows))
    axes.set(xlabel="updates", ylabel="loss (nats)", ylim=(min(lows) - edge, max(highs) + edge))
    axes.legend(frameon=False)
    save_picture(figure, path)
