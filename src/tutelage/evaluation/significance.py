"""How sure is a difference? Means, paired differences, their intervals and tests.

The values come from plain arrays, one for each seed, so that results trained anywhere can be judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tutelage.evaluation._checks import check_options, values_of
from tutelage.evaluation._intervals import METHODS, Method, interval, p_values
from tutelage.evaluation._resamples import Floats
from tutelage.evaluation.power import detectable_effect

__all__ = [
    "METHODS",
    "MeanInterval",
    "Method",
    "PairedDifference",
    "mean_interval",
    "paired_difference",
    "sign_flip_p_value",
]

_FEWEST = {"bootstrap-t": 5, "calibrated": 5}


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
    pair: str = "seed",
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
    - ``"calibrated"``: ``"permutation"`` from 7 pairs on, ``"bootstrap-t"`` with 5 or 6.
    - ``"hybrid"`` (default): from the lower of the lower ends to the higher of the higher ends of ``"t"`` and
      ``"bootstrap-expanded"``. Student's t is honest for few pairs, the bootstrap adds the longer side of skewed ones.

    Args:
        a: Values of the arm, one for each seed; finite.
        b: Values of the baseline in the same order of seeds.
        confidence: Wished coverage, in (0, 1).
        method: One of the above.
        resamples: Resamples or sign patterns where there are too many to enumerate, >= 100.
        seed: Of the stream they are drawn from.
        pair: What a pair is, for the words of the note: ``"seed"`` or ``"item"``.

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
        are symmetric and ``"hybrid"`` at 95 % covers 95 to 98 % for 3 to 30 pairs, too wide rather than too narrow.
        ``"calibrated"`` covers 94 to 96 % for 5 to 30 pairs of normal, skewed (exponential) and heavy-tailed noise
        (93.5 % at worst, for 6 pairs of lognormal noise), is a third wider at 5 pairs and gives nothing for fewer.
        Where the difference itself is skewed, as with one noiseless arm, no method keeps its promise for few pairs:
        for exponential differences ``"hybrid"`` covers 88 % with 3 and 94 % with 30, ``"bootstrap-t"`` 94 to 95 %
        from 10 on.

    Relations:
        ``"t"`` is ``scipy.stats.ttest_rel``; ``"bootstrap"`` and ``"bca"`` are ``scipy.stats.bootstrap`` of the mean.

    Source:
        Hesterberg, What teachers should know about the bootstrap, The American Statistician 69(4), 2015
        (arXiv 1411.5279; narrowness bias and the expanded percentile interval). Efron, Better bootstrap confidence
        intervals, JASA 82, 1987 (BCa). Hartigan, Using subsample values as typical values, JASA 64, 1969 (permutation).
    """
    first, second = values_of("paired_difference", "a", a), values_of("paired_difference", "b", b)
    if len(first) != len(second):
        raise ValueError(
            f"paired_difference: a has {len(first)} values and b has {len(second)}; "
            "give those of the common seeds, in the same order."
        )
    check_options("paired_difference", confidence, method, resamples)
    d = first - second
    # Equal differences in exact numbers differ in their last bits once computed.
    rounding = 8 * float(np.finfo(np.float64).eps * max(np.abs(first).max(), np.abs(second).max()))
    low, high, sd, note = _ends(d, rounding, confidence, method, resamples, seed, pair)
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
    x = values_of("mean_interval", "values", values)
    check_options("mean_interval", confidence, method, resamples)
    rounding = 8 * float(np.finfo(np.float64).eps * np.abs(x).max())
    low, high, sd, note = _ends(x, rounding, confidence, method, resamples, seed, "seed")
    return MeanInterval(
        mean=float(x.mean()), low=low, high=high, sd=sd, n=len(x), confidence=confidence, method=method, note=note
    )


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
    d = values_of("sign_flip_p_value", "differences", differences)
    check_options("sign_flip_p_value", 0.95, "permutation", resamples)
    return float(p_values(d[None], "permutation", resamples=resamples, seed=seed)[0])


def _ends(
    x: Floats, rounding: float, confidence: float, method: Method, resamples: int, seed: int, pair: str
) -> tuple[float | None, float | None, float | None, str]:
    n = len(x)
    if n == 1:
        return None, None, None, f"one {pair} shows no noise, so there is no interval; use at least 3 {pair}s"
    sd = float(x.std(ddof=1))
    if sd <= rounding:
        value = float(x.mean())
        value = 0.0 if abs(value) <= rounding else value
        return value, value, 0.0, f"all {n} values are equal, so the interval has no width"
    if n < _FEWEST.get(method, 2):
        return None, None, sd, f"{method} needs at least {_FEWEST[method]} {pair}s for an interval, got {n}"
    low, high = (float(end[0]) for end in interval(x[None], confidence, method, resamples=resamples, seed=seed))
    if not (math.isfinite(low) and math.isfinite(high)):
        return None, None, sd, f"{n} {pair}s are too few for a {confidence:.4g} interval by {method}"
    return low, high, sd, ""
