"""The power law of one level of a learning curve, and where it crosses the one before."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from tutelage.forecast._learning_shapes import Floats
from tutelage.forecast._projection import least_squares

#: Fewest points of a fit, and so the number of the first level.
FIRST_LEVEL = 3
#: Exponents that are considered: early ones are hardly determined.
_EXPONENTS = (math.log(0.05), math.log(2.0))
#: Where two trends may cross to count, as multiples of the largest size.
_CROSSING = 10.0


@dataclass(frozen=True)
class Trend:
    """The power law fitted to the first ``level`` points.

    Args:
        level: Number of points.
        size: Size of the last of them.
        a: Height, of scores ``c - a x^-b`` or losses ``c + a x^-b``.
        b: Exponent.
        c: Asymptote.
        anchored: Whether the previous asymptote took part in the fit.
        proximity: How far the curve is from its asymptote where this trend and the one before cross; ``None`` for the
            first.
    """

    level: int
    size: float
    a: float
    b: float
    c: float
    anchored: bool
    proximity: float | None


def fit_trend(sizes: Floats, errors: Floats, before: Trend | None, *, anchor: float, least: float) -> Trend:
    """Fit ``c + a x^-b`` to errors, and find where the trend crosses the one before.

    Args:
        sizes: Sizes, shape ``(level,)``, rising.
        errors: Errors at them.
        before: Trend of the level before, its asymptote an error, if there is one.
        anchor: Weight of the residual that ties the asymptote to that of ``before``; 0 for none.
        least: Trends that differ by less do not cross.

    Returns:
        The trend, its asymptote an error.
    """
    x, ones = np.log(sizes / sizes[0]), np.ones(len(sizes))
    anchored = anchor > 0 and before is not None
    if anchor > 0 and before is not None:
        # A point at infinity: there the curve is its asymptote alone.
        errors, ones = np.append(errors, anchor * before.c), np.append(ones, anchor)

    def shape(theta: Floats) -> Floats:
        values = np.exp(-np.exp(theta) * x)
        return np.pad(values, ((0, 0), (0, 1))) if anchored else values

    a, c, theta = least_squares(errors, shape, (_EXPONENTS,), offset="free", ones=ones)
    b = math.exp(theta[0])
    found = Trend(len(sizes), float(sizes[-1]), a * float(sizes[0]) ** b, b, c, anchored, None)
    if before is None:
        return found
    at = _crossing(found, before, float(sizes[0]), least)
    return replace(found, proximity=found.a * at**-b)


def _crossing(trend: Trend, before: Trend, smallest: float, least: float) -> float:
    """Return the largest size up to 10 times the last at which two trends cross, the last size if there is none."""
    first, last = math.log(smallest), math.log(_CROSSING * trend.size)

    def gap(log_size: float) -> float:
        falls = trend.a * math.exp(-trend.b * log_size) - before.a * math.exp(-before.b * log_size)
        return trend.c - before.c + falls

    ends = [first, last]
    if trend.a > 0 and before.a > 0 and trend.b != before.b:
        # Between two zeros of a gap of two powers lies its one extremum.
        turn = math.log(before.a * before.b / (trend.a * trend.b)) / (before.b - trend.b)
        ends += [turn] if first < turn < last else []
    ends.sort()
    for low, high in reversed(list(itertools.pairwise(ends))):
        if gap(low) * gap(high) < 0 and max(abs(gap(low)), abs(gap(high))) > least:
            return math.exp(float(optimize.brentq(gap, low, high, xtol=1e-12)))
    return trend.size
