"""A picture of learning rates over a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from numpy.typing import ArrayLike

from tutelage.errors import ConfigError

_ENDINGS = (".svg", ".png", ".pdf")


def plot_rates(rates: Mapping[str, ArrayLike], path: str | Path) -> None:
    """Draw the rates of each schedule over its updates.

    Args:
        rates: Rates by name, each of shape ``(steps,)``.
        path: ``.svg``, ``.png`` or ``.pdf``.

    Raises:
        ConfigError: Another ending, or a folder that does not exist.
    """
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise ConfigError(f"--plot {path}: the name must end in {', '.join(_ENDINGS)}.")
    if not path.parent.is_dir():
        raise ConfigError(f"--plot {path}: there is no folder {path.parent}.")
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, values in rates.items():
        axes.plot(values, label=name.replace("$", r"\$"), linewidth=1.8)
    axes.set(xlabel="update", ylabel="learning rate", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)
