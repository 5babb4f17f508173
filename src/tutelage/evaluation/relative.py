"""Differences as fractions of the baseline, so that those of different metrics can be averaged."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from tutelage.evaluation._checks import values_of
from tutelage.evaluation._resamples import Floats

__all__ = ["relative_gains"]


def relative_gains(
    arm: ArrayLike, baseline: ArrayLike, *, lower_is_better: bool, scale: Literal["pair", "mean"] = "pair"
) -> Floats:
    """Return by which fraction of the baseline an arm is better, pair by pair, so that metrics can be averaged.

    **Formula**: with ``s = -1`` where less is better, else 1: ``g_i = s (a_i - b_i) / |b_i|`` for ``scale="pair"``. For
    ``scale="mean"``, where single values may be 0 (one item, right or wrong), ``g = s mean(a - b) / |mean(b)|`` and
    ``g_i = g + (s (a_i - b_i) - g |b_i|) / |mean(b)|``, whose mean is g and whose spread is that of a ratio of means.

    Args:
        arm: Values of the arm, one for each pair; finite.
        baseline: Values of the baseline in the same order; none below zero, or none above.
        lower_is_better: Whether less of the metric is better.
        scale: What the difference is divided by.

    Returns:
        ``(n,)``; plus says that the arm is better; 0.01 is one percent.

    Raises:
        ValueError: Lengths differ, a value not finite, a baseline that changes sign, or is 0 where it divides.

    Example:
        >>> relative_gains([1.9, 2.2], [2.0, 2.0], lower_is_better=True).round(3).tolist()
        [0.05, -0.1]

    Helps / does not help:
        For losses and for rates well inside (0, 1). One and the same change is 1 % of an accuracy of 0.98 and half of
        an error of 0.02, so do not mix the two; a metric whose zero means nothing has no relative difference.

    Source:
        Cochran, Sampling Techniques, 1977, chapter 6 (the spread of a ratio of means).
    """
    a, b = values_of("relative_gains", "arm", arm), values_of("relative_gains", "baseline", baseline)
    if len(a) != len(b):
        raise ValueError(f"relative_gains: arm has {len(a)} values and baseline {len(b)}; give those of common pairs.")
    if scale not in ("pair", "mean"):
        raise ValueError(f'relative_gains: scale must be "pair" or "mean", got "{scale}".')
    if b.min() < 0 < b.max():
        raise ValueError("relative_gains: the baseline changes sign, so a fraction of it means nothing.")
    size = np.abs(b) if scale == "pair" else np.full(len(b), np.abs(b).mean())
    if np.any(size == 0):
        raise ValueError("relative_gains: the baseline is 0, so there is no fraction of it.")
    difference = (b - a) if lower_is_better else (a - b)
    if scale == "pair":
        return np.asarray(difference / size)
    gain = difference.mean() / size
    return np.asarray(gain + (difference - gain * np.abs(b)) / size)
