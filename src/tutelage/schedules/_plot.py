"""A picture of learning rates over a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from numpy.typing import ArrayLike

from tutelage.pictures import new_figure, picture_path, save_picture


def plot_rates(rates: Mapping[str, ArrayLike], path: str | Path) -> None:
    """Draw the rates of each schedule over its updates.

    Args:
        rates: Rates by name, each of shape ``(steps,)``.
        path: ``.svg``, ``.png`` or ``.pdf``.

    Raises:
        ConfigError: Another ending, or a folder that does not exist.
    """
    path = picture_path(path)
    figure = new_figure(7, 3.5)
    axes = figure.subplots()
    for name, values in rates.items():
        axes.plot(values, label=name.replace("$", r"\$"), linewidth=1.8)
    axes.set(xlabel="update", ylabel="learning rate", ylim=(0, None))
    axes.legend(frameon=False)
    save_picture(figure, path)
