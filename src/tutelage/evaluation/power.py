"""How small a difference so many seeds show, and how many seeds a wished difference needs."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import optimize, special, stats

from tutelage.evaluation._checks import check_confidence, check_power
from tutelage.evaluation._resamples import Floats

__all__ = ["detectable_effect", "sd_interval", "seeds_needed"]


def detectable_effect(n: int, sd: float, *, confidence: float = 0.95, power: float = 0.8) -> float:
    """Return the smallest true difference that ``n`` pairs would show with the wished power.

    It stands beside every inconclusive verdict: no difference found is no news when only a huge one could be found.

    **Formula**: the ``e > 0`` with ``P(|T| > t((1 + confidence) / 2; n - 1)) = power``, T noncentral t with n - 1
    degrees of freedom and noncentrality ``e sqrt(n) / sd``.

    Args:
        n: Pairs, >= 2.
        sd: Standard deviation of the differences, >= 0.
        confidence: Of the interval that must leave zero out, in (0, 1).
        power: Wished chance of that, between ``1 - confidence`` and 1.

    Returns:
        The difference, in the unit of ``sd``.

    Raises:
        ValueError: An argument out of range.

    Example:
        >>> round(detectable_effect(3, 1.0), 3), round(detectable_effect(10, 1.0), 3)
        (3.264, 0.996)

    Relations:
        ``statsmodels.stats.power.TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)``.

    Source:
        Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2.
    """
    _check_spread("detectable_effect", n, sd)
    check_power("detectable_effect", confidence, power)
    return sd * _standard_effect(int(n), confidence, power)


def seeds_needed(effect: float, sd: float, *, confidence: float = 0.95, power: float = 0.8, most: int = 10_000) -> int:
    """Return the fewest pairs that would show a true difference of ``effect`` with the wished power.

    Args:
        effect: The difference worth knowing, not 0; its sign does not matter.
        sd: Standard deviation of the differences, from a pilot, > 0.
        confidence: Of the interval that must leave zero out, in (0, 1).
        power: Wished chance of that, between ``1 - confidence`` and 1.
        most: Give up above this many.

    Returns:
        Pairs, >= 2.

    Raises:
        ValueError: An argument out of range, or more than ``most`` pairs.

    Example:
        >>> seeds_needed(0.02, sd=0.02), seeds_needed(0.01, sd=0.02)
        (10, 34)
    """
    if not (math.isfinite(effect) and effect != 0):
        raise ValueError(f"seeds_needed: effect must be a finite number other than 0, got {effect}.")
    if not (math.isfinite(sd) and sd > 0):
        raise ValueError(f"seeds_needed: sd must be a finite number > 0, got {sd}.")
    check_power("seeds_needed", confidence, power)
    if most < 2:
        raise ValueError(f"seeds_needed: most must be >= 2, got {most}.")
    wished = abs(effect) / sd
    if _standard_effect(most, confidence, power) > wished:
        raise ValueError(
            f"seeds_needed: an effect of {effect:g} at a spread of {sd:g} needs more than {most} seeds; "
            "ask for a larger effect, or raise most."
        )
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _standard_effect(middle, confidence, power) <= wished else (middle, high)
    return high


def sd_interval(sd: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return between which bounds a standard deviation lies that was estimated from ``n`` values.

    A plan from a pilot is as good as the pilot's spread, and three seeds know it to a factor of twelve.

    **Formula**: ``sd sqrt((n - 1) / q)`` with ``q`` the ``(1 + confidence) / 2`` and ``(1 - confidence) / 2`` quantiles
    of the chi-square distribution with n - 1 degrees of freedom.

    Args:
        sd: Estimated standard deviation (divisor n - 1), >= 0.
        n: Values it comes from, >= 2.
        confidence: Wished coverage, in (0, 1).

    Returns:
        Lower and upper end, in the unit of ``sd``.

    Raises:
        ValueError: An argument out of range.

    Example:
        >>> [round(end, 3) for end in sd_interval(1.0, 3)], [round(end, 3) for end in sd_interval(1.0, 10)]
        ([0.521, 6.285], [0.688, 1.826])

    Helps / does not help:
        Exact for normal values. Skewed or heavy-tailed ones vary more than it says, whatever their number.

    Source:
        Browne, On the use of a pilot sample for sample size determination, Statistics in Medicine 14, 1995.
    """
    _check_spread("sd_interval", n, sd)
    check_confidence("sd_interval", confidence)
    tails = stats.chi2.ppf([(1 + confidence) / 2, (1 - confidence) / 2], n - 1)
    low, high = (sd * math.sqrt((n - 1) / float(tail)) for tail in tails)
    return low, high


def _check_spread(where: str, n: int, sd: float) -> None:
    if isinstance(n, bool) or n != int(n) or n < 2:
        raise ValueError(f"{where}: n must be a whole number >= 2, got {n}.")
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"{where}: sd must be a finite number >= 0, got {sd}.")


@functools.lru_cache(maxsize=1024)
def _standard_effect(n: int, confidence: float, power: float) -> float:
    """Return the detectable difference in units of its standard deviation.

    The noncentral t is integrated over the chi distribution of the estimated spread: SciPy's own gives NaN at one
    degree of freedom.
    """
    nodes, weights = _quadrature()
    spread = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, n - 1) / (n - 1))
    limit = float(stats.t.ppf((1 + confidence) / 2, n - 1))

    def missing(shift: float) -> float:
        found = special.ndtr(shift - limit * spread) + special.ndtr(-shift - limit * spread)
        return float(weights @ found) / 2 - power

    high = limit + 1.0
    while missing(high) < 0:
        high *= 2
    return float(optimize.brentq(missing, 0.0, high, xtol=1e-12)) / math.sqrt(n)


@functools.cache
def _quadrature() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(400)
    return nodes, weights
