"""Bounded Huber regression for laws of few parameters: a damped Newton method with analytic derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tutelage.forecast.curve import Floats

#: Returns the residuals, shape ``(points,)``, and their derivatives, shape ``(parameters, points)``.
Residuals = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Minimum:
    """Where a Huber objective is smallest.

    Args:
        values: Parameters, shape ``(parameters,)``.
        objective: Sum of the Huber losses there.
        curvature: Second derivatives of the objective by the parameters, shape ``(parameters, parameters)``.
        converged: Whether the search ended because nothing more was to be gained.
    """

    values: Floats
    objective: float
    curvature: Floats
    converged: bool


def huber(residuals: Floats, delta: float) -> float:
    """Return the sum of ``r^2 / 2`` where ``|r| < delta`` and ``delta |r| - delta^2 / 2`` elsewhere."""
    size = np.abs(residuals)
    inner = np.minimum(size, delta)
    return float(np.sum(inner * (size - 0.5 * inner)))


def minimise_huber(
    residuals: Residuals, start: Floats, *, lower: Floats, upper: Floats, delta: float, steps: int = 200
) -> Minimum:
    """Minimise the sum of Huber losses of residuals within bounds, from one start.

    A step solves ``(H + d M) p = -g`` over the parameters that are not held by a bound, where ``g`` is the gradient,
    ``H`` the second derivative that counts the points within ``delta`` only, and ``M`` that of the weighted squares
    which touch the objective from above. With ``d`` near 0 this is Newton's method, exact where the set of points
    within ``delta`` stays the same; with ``d`` near 1 it is the slower reweighted least squares, which always descends.

    Args:
        residuals: Gives residuals and derivatives.
        start: Parameters to start from, within the bounds.
        lower: Smallest values.
        upper: Largest values.
        delta: Size beyond which a residual counts linearly.
        steps: Most steps.
    """
    values = np.clip(start, lower, upper)
    found, slopes = residuals(values)
    objective = huber(found, delta)
    damping, converged = 1.0, False
    for _ in range(steps):
        bounded = np.clip(found, -delta, delta)
        gradient = slopes @ bounded
        free = ~(((values <= lower) & (gradient > 0)) | ((values >= upper) & (gradient < 0)))
        if not free.any():
            converged = True
            break
        size = np.abs(found)
        near = slopes[free]
        newton = (near * (size < delta)) @ near.T
        above = (near * np.minimum(1.0, delta / np.maximum(size, delta))) @ near.T
        scale = np.sqrt(np.maximum(np.diag(above), 1e-300))
        step = np.zeros_like(values)
        gained = 0.0
        while True:
            # Solved in units in which every parameter moves the residuals alike, so that none drowns in another.
            matrix = (newton + damping * above) / np.outer(scale, scale)
            matrix[np.diag_indices_from(matrix)] += 1e-12 * max(1.0, float(matrix.diagonal().max()))
            step[free] = -np.linalg.solve(matrix, gradient[free] / scale) / scale
            tried = np.clip(values + step, lower, upper)
            tried_found, tried_slopes = residuals(tried)
            reached = huber(tried_found, delta)
            if np.isfinite(reached) and reached <= objective:
                gained = objective - reached
                values, found, slopes, objective = tried, tried_found, tried_slopes, reached
                damping = max(damping / 5, 1e-9)
                break
            damping *= 6
            if damping > 1e9:
                break
        if gained <= 1e-12 * objective or damping > 1e9:
            converged = True
            break
    size = np.abs(found)
    curvature = (slopes * (size < delta)) @ slopes.T
    return Minimum(values, objective, curvature, converged)
