"""A curve in a few lines of text."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

_BLOCKS = " ▁▂▃▄▅▆▇█"


def text_plot(values: ArrayLike, *, width: int = 72, height: int = 6) -> str:
    """Return a filled plot of ``values`` over their index.

    Args:
        values: Shape ``(length,)``, finite; drawn from 0, or from the least where that is negative.
        width: Characters across; each shows the mean of the values it stands for.
        height: Lines.

    Returns:
        ``height`` lines, the highest value written at the first and the lowest bound at the last.
    """
    curve = np.asarray(values, dtype=np.float64)
    edges = np.linspace(0, len(curve), min(width, len(curve)) + 1).astype(int)
    means = np.array([curve[start:end].mean() for start, end in itertools.pairwise(edges)])
    low, high = min(0.0, float(curve.min())), float(curve.max())
    filled = (means - low) / (high - low or 1.0) * height * 8
    lines = []
    for row in range(height - 1, -1, -1):
        bar = "".join(_BLOCKS[int(np.clip(round(level - row * 8), 0, 8))] for level in filled)
        label = f"{high:.3g}" if row == height - 1 else f"{low:.3g}" if row == 0 else ""
        lines.append(f"{label:>10} ┤{bar}")
    return "\n".join(lines)
