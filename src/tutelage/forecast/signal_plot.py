"""A picture of early signals against how the runs of a sweep ended."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path

from tutelage.errors import ConfigError
from tutelage.forecast._signal_runs import SignalRun, by_batch
from tutelage.pictures import COLOURS, new_figure, picture_path, save_picture


def plot_signals(
    runs: Sequence[SignalRun],
    path: str | Path,
    *,
    signals: Sequence[str],
    at: float = 0.2,
    stopped: Collection[str] = (),
) -> None:
    """Draw each signal early in a run against its final result, batch sizes in colours, stopped runs as crosses.

    Args:
        runs: A sweep; runs without a final result or a finite signal are left out.
        path: ``.svg``, ``.png`` or ``.pdf``.
        signals: One panel each.
        at: Share of the run that is looked at; see :func:`tutelage.forecast.early_signals.signal_report`.
        stopped: Names of runs that a rule stops.

    Raises:
        ConfigError: Another ending, a folder that does not exist, or nothing to draw.
    """
    path = picture_path(path)
    drawn = [run for run in runs if run.final is not None]
    if not drawn:
        raise ConfigError(f"--plot {path}: no run has a final result yet; there is nothing to draw.")
    figure = new_figure(4.5 * len(signals), 4.2)
    panels = figure.subplots(1, len(signals), squeeze=False, sharey=True)[0]
    for panel, signal in zip(panels, signals, strict=True):
        for colour, (batch, places) in enumerate(by_batch(drawn).items()):
            for mark, wanted in (("o", False), ("x", True)):
                points = [
                    (run.early(signal, at), run.final)
                    for run in (drawn[place] for place in places)
                    if (run.name in stopped) is wanted and math.isfinite(run.early(signal, at))
                ]
                label = f"batch {batch}" + (", stopped" if wanted else "")
                if points:
                    shown = COLOURS[colour % len(COLOURS)]
                    panel.scatter(*zip(*points, strict=True), color=shown, marker=mark, label=label)
        panel.set_xlabel(f"{signal} at {at:g} of the run")
    panels[0].set_ylabel(f"final result ({'lower' if drawn[0].lower_is_better else 'higher'} is better)")
    panels[-1].legend(frameon=False)
    save_picture(figure, path)
