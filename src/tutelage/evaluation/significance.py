"""How sure is a difference? Intervals, tests and what so few seeds could have shown.

The values come from plain arrays, one for each seed, so that results trained anywhere can be judged.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from tutelage.evaluation._intervals import METHODS, Floats, Method, interval, p_values

__all__ = [
    "METHODS",
    "MeanInterval",
    "Method",
    "PairedDifference",
    "detectable_effect",
    "holm",
    "mean_interval",
    "paired_difference",
    "seeds_needed",
    "sign_flip_p_value",
]

_FEWEST = {"bootstrap-t": 5}


@dataclass(frozen=True, kw_only=True)
class MeanInterval:
    """A mean over seeds and how well it is known.

    Attributes:
        mean: Mean of the values.
        low: Lower end, or ``None`` where so few values give none.
        high: Upper end, likewise.
        sd: Standard deviation over the values (divisor n - 1), or ``None`` for one value.
        n: How many values.
        confidence: Wished coverage of the interval.
        method: How the interval was computed.
        note: Why there is no interval, or what to know about it; empty where there is nothing to say.
    """

    mean: float
    low: float | None
    high: float | None
    sd: float | None
    n: int
    confidence: float
    method: Method
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The mean of ``a - b`` over pairs, its interval, its p value and what so many pairs can show.

    Attributes:
        estimate: Mean difference ``a - b``.
        low: Lower end of the interval, or ``None`` where so few pairs give none.
        high: Upper end, likewise.
        sd: Standard deviation of the differences, or ``None`` for one pair.
        n: How many pairs.
        confidence: Wished coverage of the interval.
        method: How interval and p value were computed.
        p_value: Two-sided, of no difference; below ``1 - confidence`` exactly where the interval leaves zero out.
            ``None`` for one pair.
        p_permutation: Two-sided, of the sign-flip test, which assumes nothing but symmetry; at least ``2 / 2**n``.
        detectable: Smallest true difference that so many pairs of this spread show with 80 % power.
        note: Why there is no interval, or what to know about it.
    """

    estimate: float
    low: float | None
    high: float | None
    sd: float | None
    n: int
    confidence: float
    method: Method
    p_value: float | None
    p_permutation: float | None
    detectable: float | None
    note: str = ""


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = 0.95,
    method: Method = "hybrid",
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Compare two arms on the seeds they share: the mean difference and how well it is known.

    Pairing removes what both arms owe to the seed, so fewer seeds are needed; it pays wherever arms share initial
    weights and data order.

    **Formula**: with ``d_i = a_i - b_i``, ``i = 1..n``, the estimate is ``mean(d)``. Methods:

    - ``"t"``: ``mean(d) ± t((1 + confidence) / 2; n - 1) sd(d) / sqrt(n)``.
    - ``"bootstrap"``: quantiles of the mean over resamples (all of them up to 8 pairs). Never leaves the range of
      ``d``: covers ``1 - 2 / 2**3 = 75 %`` for 3 pairs, whatever was asked for.
    - ``"bootstrap-expanded"``: the same at the level ``Phi(-sqrt(n / (n - 1)) t)``, which undoes its narrowness.
    - ``"bca"``: bias-corrected and accelerated. ``"bootstrap-t"``: quantiles of t from the resamples, 5 pairs or more.
    - ``"permutation"``: all ``d`` that the sign-flip test does not reject; exact for symmetric ``d``; at 95 % it needs
      6 pairs.
    - ``"hybrid"`` (default): from the lower of the lower ends to the higher of the higher ends of ``"t"`` and
      ``"bootstrap-expanded"``. Student's t is honest for few pairs, the bootstrap adds the longer side of skewed ones.

    Args:
        a: Values of the arm, one for each seed; finite.
        b: Values of the baseline in the same order of seeds.
        confidence: Wished coverage, in (0, 1).
        method: One of the above.
        resamples: Resamples or sign patterns where there are too many to enumerate, >= 100.
        seed: Of the stream they are drawn from.

    Returns:
        A :class:`PairedDifference` in the values' own unit. One pair gives an estimate and no interval.

    Raises:
        ValueError: Lengths differ, no values, a value not finite, ``confidence``, ``method`` or ``resamples`` out of
            range.

    Example:
        >>> found = paired_difference([2.31, 2.35, 2.28], [2.40, 2.41, 2.38])
        >>> round(found.estimate, 4), round(found.low, 4), round(found.high, 4), round(found.p_value, 4)
        (-0.0833, -0.135, -0.0316, 0.0202)

    Use with:
        Any per-seed results; ``tutelage compare`` calls it for each arm against the baseline.

    Helps / does not help:
        Measured with ``benchmarks/interval_coverage.py``: where both arms have noise of the same shape, differences
        are symmetric and ``"hybrid"`` at 95 % covers 95 to 98 % for 3 to 30 pairs, ``"permutation"`` 94 to 96 %
        for 10 to 30. Where the difference itself is skewed, as with one noiseless arm, no method keeps its promise for
        few pairs: for exponential differences ``"hybrid"`` covers 88 % with 3 and 94 % with 30, ``"bootstrap-t"`` 94 to
        95 % from 10 on.

    Relations:
        ``"t"`` is ``scipy.stats.ttest_rel``; ``"bootstrap"`` and ``"bca"`` are ``scipy.stats.bootstrap`` of the mean.

    Source:
        Hesterberg, What teachers should know about the bootstrap, The American Statistician 69(4), 2015
        (arXiv 1411.5279; narrowness bias and the expanded percentile interval). Efron, Better bootstrap confidence
        intervals, JASA 82, 1987 (BCa). Hartigan, Using subsample values as typical values, JASA 64, 1969 (permutation).
    """
    first, second = _values("paired_difference", "a", a), _values("paired_difference", "b", b)
    if len(first) != len(second):
        raise ValueError(
            f"paired_difference: a has {len(first)} values and b has {len(second)}; "
            "give those of the common seeds, in the same order."
        )
    _check_options("paired_difference", confidence, method, resamples)
    d = first - second
    # Equal differences in exact numbers differ in their last bits once computed.
    rounding = 8 * float(np.finfo(np.float64).eps * max(np.abs(first).max(), np.abs(second).max()))
    low, high, sd, note = _ends(d, rounding, confidence, method, resamples, seed)
    n = len(d)
    p: float | None = None
    p_flip: float | None = None
    detectable: float | None = None
    if n > 1:
        d = np.where(np.abs(d) <= rounding, 0.0, d)
        p_flip = sign_flip_p_value(d, resamples=resamples, seed=seed)
        p = p_flip if sd == 0 else float(p_values(d[None], method, resamples=resamples, seed=seed)[0])
        detectable = None if not sd else detectable_effect(n, sd, confidence=confidence)
    return PairedDifference(
        estimate=float(d.mean()),
        low=low,
        high=high,
        sd=sd,
        n=n,
        confidence=confidence,
        method=method,
        p_value=p,
        p_permutation=p_flip,
        detectable=detectable,
        note=note,
    )


def mean_interval(
    values: ArrayLike,
    *,
    confidence: float = 0.95,
    method: Method = "hybrid",
    resamples: int = 10_000,
    seed: int = 0,
) -> MeanInterval:
    """Return the mean of one arm over its seeds with an interval.

    Two arms' intervals may overlap although their paired difference is sure: judge by :func:`paired_difference`.

    Args:
        values: One for each seed; finite.
        confidence: Wished coverage, in (0, 1).
        method: As in :func:`paired_difference`.
        resamples: Resamples or sign patterns where there are too many to enumerate, >= 100.
        seed: Of the stream they are drawn from.

    Returns:
        A :class:`MeanInterval`; one value gives a mean and no interval.

    Raises:
        ValueError: No values, a value not finite, an option out of range.

    Example:
        >>> found = mean_interval([1.0, 2.0, 3.0], method="t")
        >>> found.mean, round(found.low, 4), round(found.high, 4)
        (2.0, -0.4841, 4.4841)
    """
    x = _values("mean_interval", "values", values)
    _check_options("mean_interval", confidence, method, resamples)
    rounding = 8 * float(np.finfo(np.float64).eps * np.abs(x).max())
    low, high, sd, note = _ends(x, rounding, confidence, method, resamples, seed)
    return MeanInterval(
        mean=float(x.mean()), low=low, high=high, sd=sd, n=len(x), confidence=confidence, method=method, note=note
    )


def holm(p_values: Sequence[float] | ArrayLike) -> NDArray[np.float64]:
    """Adjust p values for their number, so that the chance of any false alarm among them keeps the level.

    Uniformly more powerful than Bonferroni, and as free of assumptions.

    **Formula**: with ``p_(1) <= ... <= p_(m)``, ``adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))``.

    Args:
        p_values: ``(m,)``, each in [0, 1].

    Returns:
        Adjusted p values, same order.

    Raises:
        ValueError: A value outside [0, 1] or not a number, or not one-dimensional.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(4).tolist()
        [0.03, 0.06, 0.06]

    Source:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not bool(np.all((p >= 0) & (p <= 1))):
        raise ValueError(f"holm: p_values must be a list of numbers in [0, 1], got {p_values!r}.")
    order = np.argsort(p, kind="stable")
    scaled = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(scaled) if len(p) else scaled
    return adjusted


def sign_flip_p_value(differences: ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> float:
    """Test a mean of zero by flipping signs; assumes only that the differences are symmetric under no effect.

    **Formula**: the share of the ``2**n`` patterns of signs whose sum is at least as far from zero as the observed
    one. All patterns up to 14 values, beyond that random ones with the observed pattern counted among them.

    Args:
        differences: ``(n,)``, finite.
        resamples: Patterns drawn where there are too many to enumerate, >= 100.
        seed: Of the stream they are drawn from.

    Returns:
        Two-sided p value in ``[2 / 2**n, 1]``; 1 for a single value, which shows nothing.

    Raises:
        ValueError: No values, a value not finite, ``resamples`` below 100.

    Example:
        >>> sign_flip_p_value([0.2, 0.1, 0.4])
        0.25

    Relations:
        ``scipy.stats.permutation_test(permutation_type="samples")``.

    Source:
        Fisher, The Design of Experiments, 1935, section 21.
    """
    d = _values("sign_flip_p_value", "differences", differences)
    _check_options("sign_flip_p_value", 0.95, "permutation", resamples)
    return float(p_values(d[None], "permutation", resamples=resamples, seed=seed)[0])


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
    if isinstance(n, bool) or n != int(n) or n < 2:
        raise ValueError(f"detectable_effect: n must be a whole number >= 2, got {n}.")
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"detectable_effect: sd must be a finite number >= 0, got {sd}.")
    _check_power("detectable_effect", confidence, power)
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
    _check_power("seeds_needed", confidence, power)
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


def _ends(
    x: Floats, rounding: float, confidence: float, method: Method, resamples: int, seed: int
) -> tuple[float | None, float | None, float | None, str]:
    n = len(x)
    if n == 1:
        return None, None, None, "one seed shows no noise, so there is no interval; use at least 3 seeds"
    sd = float(x.std(ddof=1))
    if sd <= rounding:
        value = float(x.mean())
        value = 0.0 if abs(value) <= rounding else value
        return value, value, 0.0, f"all {n} values are equal, so the interval has no width"
    if n < _FEWEST.get(method, 2):
        return None, None, sd, f"{method} needs at least {_FEWEST[method]} seeds for an interval, got {n}"
    low, high = (float(end[0]) for end in interval(x[None], confidence, method, resamples=resamples, seed=seed))
    if not (math.isfinite(low) and math.isfinite(high)):
        return None, None, sd, f"{n} seeds are too few for a {confidence:.4g} interval by {method}"
    return low, high, sd, ""


def _values(where: str, name: str, values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"{where}: {name} must be a list of at least one number, got shape {x.shape}.")
    bad = np.flatnonzero(~np.isfinite(x))
    if bad.size:
        raise ValueError(
            f"{where}: {name}[{bad[0]}] is {x[bad[0]]}; leave that seed out of both arms and report it as diverged."
        )
    return x


def _check_options(where: str, confidence: float, method: str, resamples: int) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"{where}: confidence must be between 0 and 1, got {confidence}.")
    if method not in METHODS:
        raise ValueError(f'{where}: no method "{method}"; choose one of {", ".join(METHODS)}.')
    if resamples < 100:
        raise ValueError(f"{where}: resamples must be >= 100, got {resamples}.")


def _check_power(where: str, confidence: float, power: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"{where}: confidence must be between 0 and 1, got {confidence}.")
    if not 1 - confidence < power < 1:
        raise ValueError(f"{where}: power must be between {1 - confidence:.4g} and 1, got {power}.")
