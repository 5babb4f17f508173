"""Least squares for curves with two coefficients and few parameters inside: variable projection from many starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tutelage.forecast._learning_shapes import Floats, Offset, grid

#: Nodes of the grid that the search starts from, by number of parameters.
_COARSE = {0: (), 1: (48,), 2: (25, 17)}
_STARTS, _ROUNDS, _STEP = 5, 60, 1e-5


def least_squares(
    y: Floats,
    shape: Callable[[Floats], Floats],
    bounds: Sequence[tuple[float, float]],
    *,
    offset: Offset,
    ones: Floats | None = None,
) -> tuple[float, float, Floats]:
    """Minimise ``sum (y - c ones - a shape(theta))^2`` over ``a >= 0``, ``c`` and ``theta`` within bounds.

    Args:
        y: What is fitted, shape ``(points,)``.
        shape: Values at ``theta (nodes, parameters)``, shape ``(nodes, points)``.
        bounds: Range of each parameter.
        offset: Sign of ``c``; see :class:`tutelage.forecast._learning_shapes.Family`.
        ones: What ``c`` is multiplied by, shape ``(points,)``; all 1 if not given.

    Returns:
        ``a``, ``c`` and ``theta``.
    """
    ones = np.ones_like(y) if ones is None else ones
    ends = np.array(bounds).reshape(-1, 2)
    low, high = ends[:, 0], ends[:, 1]

    def projected(theta: Floats) -> tuple[Floats, Floats]:
        values = shape(theta)
        coefficients = _coefficients(y, values, ones, offset)
        return coefficients, y - coefficients[:, 1:] * ones - coefficients[:, :1] * values

    theta = nodes = grid(bounds, _COARSE[len(bounds)])
    if len(ends):
        squares = (projected(nodes)[1] ** 2).sum(axis=1)
        # The best node of each stretch of the first parameter: starts that lie apart.
        parts = np.array_split(np.arange(len(nodes)), _STARTS)
        theta = _descend(projected, nodes[[part[np.argmin(squares[part])] for part in parts]], low, high)
    coefficients, residuals = projected(theta)
    best = int(np.argmin((residuals**2).sum(axis=1)))
    return float(coefficients[best, 0]), float(coefficients[best, 1]), theta[best]


def _coefficients(y: Floats, values: Floats, ones: Floats, offset: Offset) -> Floats:
    """Return ``(a, c)`` of least squares for each row of values, with ``a >= 0`` and ``c`` as ``offset`` says."""
    power = np.einsum("gi,gi->g", values, values)
    alone = np.maximum(values @ y / np.maximum(power, 1e-300), 0.0)
    if offset == "none":
        return np.stack([alone, np.zeros_like(alone)], axis=1)
    weight = ones @ ones
    # What is left of both sides when c has taken its part: exact also where the shape is almost constant.
    beyond = values - np.outer(values @ ones / weight, ones)
    spread = np.einsum("gi,gi->g", beyond, beyond)
    a = np.where(spread > 1e-24 * power, np.maximum(beyond @ y, 0.0) / np.maximum(spread, 1e-300), 0.0)
    c = (ones @ y - a * (values @ ones)) / weight
    if offset == "asymptote":
        below = c < 0
        a, c = np.where(below, alone, a), np.where(below, 0.0, c)
    return np.stack([a, c], axis=1)


def _descend(projected: Callable[[Floats], tuple[Floats, Floats]], theta: Floats, low: Floats, high: Floats) -> Floats:
    """Lower the squared residuals from several starts at once, by damped Gauss-Newton steps within bounds."""
    starts, many = theta.shape
    damping = np.full(starts, 1e-2)
    residuals = projected(theta)[1]
    squares = (residuals**2).sum(axis=1)
    offsets = np.concatenate([np.eye(many), -np.eye(many)]) * _STEP
    for _ in range(_ROUNDS):
        around = projected((theta[:, None] + offsets).reshape(-1, many))[1].reshape(starts, 2, many, -1)
        slopes = (around[:, 0] - around[:, 1]) / (2 * _STEP)
        gradient = np.einsum("sdi,si->sd", slopes, residuals)
        # A parameter at its end that would go beyond it stays there.
        held = ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
        slopes[held] = 0.0
        matrix = np.einsum("sdi,sei->sde", slopes, slopes)
        scale = np.einsum("sdd->sd", matrix)
        matrix = matrix + np.eye(many) * (damping[:, None] * scale + 1e-300 + (scale == 0))[:, None, :]
        step = -np.linalg.solve(matrix, np.where(held, 0.0, gradient)[..., None])[..., 0]
        tried = np.clip(theta + np.clip(step, -2.0, 2.0), low, high)
        found = projected(tried)[1]
        reached = (found**2).sum(axis=1)
        better = reached < squares
        gained = np.where(better, squares - reached, 0.0)
        moved = np.abs(tried - theta).max(axis=1)
        theta = np.where(better[:, None], tried, theta)
        residuals = np.where(better[:, None], found, residuals)
        squares = np.where(better, reached, squares)
        damping = np.where(better, np.maximum(damping / 10, 1e-12), damping * 10)
        done = (moved < 1e-9) | (better & (gained <= 1e-14 * squares)) | (damping > 1e6)
        if done.all():
            break
    return theta
