"""Confidence intervals of a mean, row by row over a matrix of samples.

They take ``(batch, n)`` and return two arrays of shape ``(batch,)``, so that the simulation which measures how often
they cover runs the same code as a comparison. An end that no finite number can honestly give is infinite.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import numpy as np
from scipy import stats

from tutelage.evaluation._resamples import EXACT_SIGNS_UP_TO, Floats, resample_weights, sign_patterns

Ends = tuple[Floats, Floats]
Method = Literal["t", "hybrid", "bootstrap", "bootstrap-expanded", "bca", "bootstrap-t", "permutation", "calibrated"]
METHODS: tuple[Method, ...] = get_args(Method)

#: Up to this size the hybrid looks at the bootstrap too. Beyond it, as where single items are paired, the mean is as
#: good as normal and the resamples of thousands of values would take seconds and gigabytes.
_HYBRID_UP_TO = 500
#: From this size on the 2**n patterns of signs have a level near any wished one: 95.3 % for 95 % at 7, 96.9 % at 6.
_CALIBRATED_SIGNS_FROM = 7
_CELLS = 4_000_000  # of the resampled matrix held at once: 32 MB


def interval(samples: Floats, confidence: float, method: Method, *, resamples: int = 10_000, seed: int = 0) -> Ends:
    """Return the ends of the confidence interval of each row's mean.

    Args:
        samples: ``(batch, n)``, n >= 2, finite.
        confidence: Wished coverage, in (0, 1).
        method: One of :data:`METHODS`.
        resamples: Resamples or sign patterns where there are too many to enumerate.
        seed: Of the stream they are drawn from.

    Returns:
        Lower and upper ends, each ``(batch,)``; infinite where the method gives no bound for so few values.
    """
    method = _standing_for(method, samples.shape[1])
    if method == "t":
        return student(samples, confidence)
    if method == "hybrid":
        wide = student(samples, confidence)
        other = interval(samples, confidence, "bootstrap-expanded", resamples=resamples, seed=seed)
        return np.minimum(wide[0], other[0]), np.maximum(wide[1], other[1])
    compute: Callable[[Floats, float, int, int], Ends] = {
        "bootstrap": percentile,
        "bootstrap-expanded": expanded,
        "bca": bias_corrected,
        "bootstrap-t": studentised,
        "permutation": permutation,
    }[method]
    parts = [compute(rows, confidence, resamples, seed) for rows in _chunks(samples, resamples)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _standing_for(method: Method, n: int) -> Method:
    """Return the method that does the work for ``n`` values."""
    if method == "hybrid" and n > _HYBRID_UP_TO:
        return "t"
    if method == "calibrated":
        return "permutation" if n >= _CALIBRATED_SIGNS_FROM else "bootstrap-t"
    return method


def _chunks(samples: Floats, resamples: int) -> Iterator[Floats]:
    size = max(1, _CELLS // max(resamples, 2**EXACT_SIGNS_UP_TO if samples.shape[1] <= EXACT_SIGNS_UP_TO else 1))
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def student(samples: Floats, confidence: float) -> Ends:
    """Return Student's interval: exact for normal values."""
    n = samples.shape[1]
    mean = samples.mean(axis=1)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * samples.std(axis=1, ddof=1) / math.sqrt(n)
    return mean - half, mean + half


def percentile(samples: Floats, confidence: float, resamples: int, seed: int) -> Ends:
    """Return the percentile bootstrap (Efron 1979): between the quantiles of the resampled means."""
    weights, probability = resample_weights(samples.shape[1], resamples, seed)
    tail = np.full(len(samples), (1 - confidence) / 2)
    return _quantiles(samples @ weights.T, probability, tail, tail)


def expanded(samples: Floats, confidence: float, resamples: int, seed: int) -> Ends:
    """Return the percentile bootstrap at a level that makes up for narrowness (Hesterberg 2015).

    The level solves ``z(level) = sqrt(n / (n - 1)) t(confidence; n - 1)``, which gives Student's width where the
    resampled means are normal. The ends never leave the range of the sample.
    """
    n = samples.shape[1]
    z = math.sqrt(n / (n - 1)) * stats.t.ppf((1 + confidence) / 2, n - 1)
    weights, probability = resample_weights(n, resamples, seed)
    tail = np.full(len(samples), stats.norm.sf(z))
    return _quantiles(samples @ weights.T, probability, tail, tail)


def bias_corrected(samples: Floats, confidence: float, resamples: int, seed: int) -> Ends:
    """Return the bias-corrected and accelerated bootstrap (Efron 1987)."""
    weights, probability = resample_weights(samples.shape[1], resamples, seed)
    means = samples @ weights.T
    bias, acceleration = _bias_and_acceleration(samples, means, probability)
    z = stats.norm.ppf((1 + confidence) / 2)

    def level(side: float) -> Floats:
        shifted = bias + side * z
        return np.asarray(stats.norm.cdf(bias + shifted / np.maximum(1 - acceleration * shifted, 1e-9)))

    return _quantiles(means, probability, level(-1.0), 1 - level(1.0))


def _bias_and_acceleration(samples: Floats, means: Floats, probability: Floats) -> Ends:
    centre = samples.mean(axis=1, keepdims=True)
    tie = 1e-12 * np.abs(samples).max(axis=1, keepdims=True)
    below = (means < centre - tie) @ probability + 0.5 * ((np.abs(means - centre) <= tie) @ probability)
    deviations = samples - centre
    square, cube = (deviations**2).sum(axis=1), (deviations**3).sum(axis=1)
    acceleration = np.divide(cube, 6 * square**1.5, out=np.zeros_like(cube), where=square > 0)
    return np.asarray(stats.norm.ppf(np.clip(below, 1e-9, 1 - 1e-9))), acceleration


def studentised(samples: Floats, confidence: float, resamples: int, seed: int) -> Ends:
    """Return the bootstrap of Student's t (Efron 1982): the quantiles of t come from the resamples.

    A resample of equal values has no spread and an infinite t; where those are more than the tails, as for 3 values,
    the interval has no end.
    """
    t, probability = _studentised_means(samples, resamples, seed)
    tail = np.full(len(samples), (1 - confidence) / 2)
    low, high = _quantiles(t, probability, tail, tail)
    centre = samples.mean(axis=1)
    error = samples.std(axis=1, ddof=1) / math.sqrt(samples.shape[1])
    return centre - high * error, centre - low * error


def _studentised_means(samples: Floats, resamples: int, seed: int) -> Ends:
    n = samples.shape[1]
    weights, probability = resample_weights(n, resamples, seed)
    centre = samples.mean(axis=1, keepdims=True)
    deviations = samples - centre
    means = deviations @ weights.T
    variances = (deviations**2) @ weights.T - means**2
    scale = (deviations**2).mean(axis=1, keepdims=True)
    flat = variances <= 1e-12 * scale
    with np.errstate(divide="ignore", invalid="ignore"):
        t = means / np.sqrt(variances / (n - 1))
    t[flat] = np.sign(means[flat]) * np.inf
    t[np.isnan(t)] = 0.0  # an equal-valued resample at the mean itself
    return t, probability


def permutation(samples: Floats, confidence: float, resamples: int, seed: int) -> Ends:
    """Return the interval that inverts the sign-flip test (Hartigan 1969): order statistics of subset means.

    Exact for symmetric values of any tail. ``2**n`` must reach ``2 / (1 - confidence)``: 6 values at 95 %.
    """
    patterns, _ = sign_patterns(samples.shape[1], resamples, seed)
    subsets = patterns / patterns.sum(axis=1, keepdims=True)
    # Rounding up would turn "p <= 1 - confidence" at equality into an acceptance; the nudge keeps 1/40 * 40 at 1.
    rank = math.floor((len(patterns) + 1) * (1 - confidence) / 2 + 1e-9)
    if rank < 1:
        return np.full(len(samples), -np.inf), np.full(len(samples), np.inf)
    means = np.sort(samples @ subsets.T, axis=1)
    return means[:, rank - 1], means[:, -rank]


def p_values(samples: Floats, method: Method, *, resamples: int = 10_000, seed: int = 0) -> Floats:
    """Return, per row, the two-sided p value of a mean of zero that belongs to the interval of the same method.

    It is below ``1 - confidence`` exactly where the interval at that confidence leaves zero out.
    """
    method = _standing_for(method, samples.shape[1])
    if method == "t":
        return _student_p(samples)
    if method == "hybrid":
        return np.maximum(_student_p(samples), p_values(samples, "bootstrap-expanded", resamples=resamples, seed=seed))
    if method == "permutation":
        one_sided: Callable[[Floats, int, int], Ends] = _permutation_tails
    elif method == "bootstrap-t":
        one_sided = _studentised_tails
    else:
        one_sided = functools.partial(_percentile_tails, method=method)
    parts = [np.minimum(*one_sided(rows, resamples, seed)) for rows in _chunks(samples, resamples)]
    doubled: Floats = np.minimum(2 * np.concatenate(parts), 1.0)
    return doubled


def _student_p(samples: Floats) -> Floats:
    n = samples.shape[1]
    error = samples.std(axis=1, ddof=1) / math.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * stats.t.sf(np.abs(samples.mean(axis=1) / error), n - 1))


def _permutation_tails(samples: Floats, resamples: int, seed: int) -> Ends:
    patterns, _ = sign_patterns(samples.shape[1], resamples, seed)
    sums = samples @ patterns.T.astype(np.float64)
    tie = 1e-12 * np.abs(samples).sum(axis=1, keepdims=True)
    count = len(patterns) + 1
    return (1 + (sums <= tie).sum(axis=1)) / count, (1 + (sums >= -tie).sum(axis=1)) / count


def _studentised_tails(samples: Floats, resamples: int, seed: int) -> Ends:
    n = samples.shape[1]
    t, probability = _studentised_means(samples, resamples, seed)
    with np.errstate(divide="ignore"):
        observed = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / math.sqrt(n))
    return (t >= observed[:, None]) @ probability, (t <= observed[:, None]) @ probability


def _percentile_tails(samples: Floats, resamples: int, seed: int, method: Method) -> Ends:
    n = samples.shape[1]
    weights, probability = resample_weights(n, resamples, seed)
    means = samples @ weights.T
    # Probabilities that were summed up can miss 1 by their last bit.
    below, above = (np.minimum(share @ probability, 1.0) for share in (means <= 0, means >= 0))
    if method == "bootstrap":
        return below, above
    low, high = stats.norm.ppf(below), stats.norm.isf(above)
    if method == "bootstrap-expanded":
        shrink = math.sqrt((n - 1) / n)
        return np.asarray(stats.t.cdf(low * shrink, n - 1)), np.asarray(stats.t.sf(high * shrink, n - 1))
    bias, acceleration = _bias_and_acceleration(samples, means, probability)

    def undo(z: Floats) -> Floats:
        shifted = z - bias
        with np.errstate(invalid="ignore"):
            moved = np.where(np.isinf(shifted), shifted, shifted / np.maximum(1 + acceleration * shifted, 1e-9))
        return np.asarray(moved - bias)

    return np.asarray(stats.norm.cdf(undo(low))), np.asarray(stats.norm.sf(undo(high)))


def _quantiles(values: Floats, probability: Floats, lower_tail: Floats, upper_tail: Floats) -> Ends:
    """Return, row by row, the lowest value with ``lower_tail`` at or below it and its mirror image."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    if np.ptp(probability) == 0:
        size = values.shape[1]
        first = np.ceil(lower_tail * size - 1e-9).astype(np.intp) - 1
        last = size - np.ceil(upper_tail * size - 1e-9).astype(np.intp)
    else:
        mass = probability[order]
        first = (np.cumsum(mass, axis=1) < lower_tail[:, None] - 1e-12).sum(axis=1)
        from_top = np.cumsum(mass[:, ::-1], axis=1)
        last = values.shape[1] - 1 - (from_top < upper_tail[:, None] - 1e-12).sum(axis=1)
    rows = np.arange(len(values))
    top = values.shape[1] - 1
    return ordered[rows, np.clip(first, 0, top)], ordered[rows, np.clip(last, 0, top)]
