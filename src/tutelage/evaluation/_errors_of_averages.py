"""Standard errors of averages over workloads, over leading dimensions, so that a simulation runs the same code."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from tutelage.evaluation._resamples import Floats


def separate(variances: ArrayLike, freedoms: ArrayLike) -> tuple[Floats, Floats]:
    """Return the standard error of an average of independent means and its degrees of freedom, by Welch.

    Args:
        variances: ``(..., workloads)``, of each mean.
        freedoms: ``(workloads,)``, degrees of freedom of each.

    Returns:
        Standard errors and degrees of freedom, each ``(...)``.
    """
    v, f = np.asarray(variances, dtype=np.float64), np.asarray(freedoms, dtype=np.float64)
    total, squares = v.sum(axis=-1), (v**2 / f).sum(axis=-1)
    freedom = np.divide(total**2, squares, out=np.full_like(total, f.sum()), where=squares > 0)
    return np.sqrt(total) / v.shape[-1], freedom


def half_width(parts: Sequence[tuple[ArrayLike, ArrayLike]], confidence: float) -> Floats:
    """Return Student's half widths of independent errors, added in quadrature (Howe 1974).

    Args:
        parts: Standard error and degrees of freedom of each, any shapes that go together.
        confidence: Wished coverage.
    """
    squares = [(stats.t.ppf((1 + confidence) / 2, freedom) * np.asarray(error)) ** 2 for error, freedom in parts]
    return np.asarray(np.sqrt(np.sum(np.broadcast_arrays(*squares), axis=0)), dtype=np.float64)


def p_value(estimate: float, parts: Sequence[tuple[float, float]]) -> float:
    """Return the two-sided p value of no difference: one less the confidence whose half width just reaches it."""
    if len(parts) == 1:
        return float(2 * stats.t.sf(abs(estimate) / parts[0][0], parts[0][1]))
    if estimate == 0:
        return 1.0

    def missing(log_p: float) -> float:
        return float(half_width(parts, 1 - math.exp(log_p))) - abs(estimate)

    # Beyond a confidence of 1 - 1e-12 the quantiles lose their digits, and nobody asks.
    if missing(math.log(1e-12)) < 0:
        return 1e-12
    return math.exp(float(optimize.brentq(missing, math.log(1e-12), 0.0)))
