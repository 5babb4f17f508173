"""What the fits of scaling laws share: checked arguments, roots, and a floor with powers fitted to losses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from tutelage.forecast._huber import Minimum, huber, minimise_huber
from tutelage.forecast.curve import Floats

#: Huber's loss with this width is that of least squares.
LEAST_SQUARES = 1e6
_EXPONENTS = (0.03, 0.08, 0.15, 0.25, 0.4, 0.6, 0.9, 1.3)
_LARGEST_EXPONENT = 10.0
_STARTS = 5
#: Most steps from a grid of starts, and from the end of an earlier search.
STEPS, REFIT_STEPS = 200, 60


def positive(values: ArrayLike, *, of: str, argument: str, infinite: bool = False) -> Floats:
    """Return numbers as an array of floats.

    Raises:
        ValueError: One of them is not > 0, or not finite where it must be.
    """
    found = np.asarray(values, dtype=np.float64)
    wrong = ~((found > 0) & (np.isfinite(found) | infinite))
    if wrong.any():
        raise ValueError(f"{of}: {argument} must be > 0{'' if infinite else ' and finite'}, got {found[wrong][0]:g}.")
    return found


def falling_root(value: Callable[[float], float], start: float, *, reach: float = 1e4) -> float:
    """Return where a falling function of one number crosses 0, searching outwards from ``start``.

    Returns:
        Infinity where it is above 0 for ``reach`` on, minus infinity where it is below 0 that far back.
    """
    step, low, high = 1.0, start, start
    if value(start) > 0:
        while value(high) > 0:
            low, high, step = high, high + step, 2 * step
            if high > start + reach:
                return math.inf
    else:
        while value(low) <= 0:
            low, high, step = low - step, low, 2 * step
            if low < start - reach:
                return -math.inf
    return float(optimize.brentq(value, low, high, xtol=1e-13, rtol=1e-14))


@dataclass(frozen=True, eq=False)
class PowersFit:
    """A floor and powers of several columns, fitted: ``E + sum_k A_k x_k^-alpha_k``.

    Args:
        floor: ``E``.
        heights: ``log A_k``, shape ``(columns,)``.
        exponents: ``alpha_k``, shape ``(columns,)``.
        residuals: Logarithms of observed over fitted losses, shape ``(points,)``.
        slopes: Derivatives of the fitted logarithms by the free constants, shape ``(constants, points)``.
        minimum: The end of the search; its values can start another.
    """

    floor: float
    heights: Floats
    exponents: Floats
    residuals: Floats
    slopes: Floats
    minimum: Minimum

    def notes(self) -> tuple[str, ...]:
        """Return remarks on the search."""
        return () if self.minimum.converged else ("The fit had not settled when it was ended.",)


def exponential(value: float) -> float:
    """Return ``e^value`` within what a float holds."""
    return math.exp(min(max(value, -700.0), 700.0))


def points_of_rows(
    of: str, columns: Mapping[str, ArrayLike], losses: ArrayLike, delta: float | None
) -> tuple[list[Floats], Floats]:
    """Return columns as arrays and the logarithms of losses, one row a run.

    Raises:
        ValueError: A number out of range, or series of different lengths.
    """
    found = [positive(column, of=of, argument=name) for name, column in columns.items()]
    observed = np.log(positive(losses, of=of, argument="losses"))
    for name, column in zip(columns, found, strict=True):
        if column.ndim != 1 or column.shape != observed.shape:
            raise ValueError(
                f"{of}: {name} and losses must be series of one length, got shapes {column.shape} and {observed.shape}."
            )
    if delta is not None and not 0 < delta < math.inf:
        raise ValueError(f"{of}: delta must be > 0, got {delta}.")
    return found, observed


def fit_powers(
    columns: Sequence[Floats], log_losses: Floats, *, floor: bool, delta: float, start: Floats | None = None
) -> PowersFit:
    """Fit a floor and one power of each column to logarithms of losses, by the smallest sum of Huber losses.

    Given the exponents the rest is linear with coefficients >= 0: a grid of exponents is solved by least squares, and
    the best few points of it are refined.

    Args:
        columns: Sizes, tokens, ...: each of shape ``(points,)``, > 0.
        log_losses: Shape ``(points,)``.
        floor: Whether there is a floor.
        delta: Log residual beyond which Huber's loss is linear.
        start: Values of an earlier minimum, to start from in place of the grid.
    """
    logs = np.log(np.stack(list(columns)))
    centres: Floats = logs.mean(axis=1)
    centred = logs - centres[:, None]
    losses = np.exp(log_losses)
    free = int(floor)

    def residuals(values: Floats) -> tuple[Floats, Floats]:
        terms = np.exp(np.clip(values[free::2, None] - values[free + 1 :: 2, None] * centred, -500, 500))
        total = terms.sum(axis=0) + (values[0] if floor else 0.0)
        rows = [np.ones_like(total)] * free
        for term, z in zip(terms, centred, strict=True):
            rows += [term, -z * term]
        return np.log(total) - log_losses, np.stack(rows) / total

    def grid() -> list[Floats]:
        tried = []
        for exponents in itertools.product(_EXPONENTS, repeat=len(centred)):
            terms = np.exp(-np.array(exponents)[:, None] * centred)
            matrix = np.concatenate([np.ones((free, len(losses))), terms]) / losses
            solved = optimize.nnls(matrix.T, np.ones_like(losses))[0]
            heights = np.log(np.maximum(solved[free:], 1e-3 * losses.mean()))
            woven = np.stack([heights, exponents], axis=1).ravel()
            tried.append(np.concatenate([np.minimum(solved[:free], 0.999 * losses.min()), woven]))
        return sorted(tried, key=lambda values: huber(residuals(values)[0], delta))[:_STARTS]

    lower = np.array([0.0] * free + [-60.0, 0.0] * len(centred))
    upper = np.array([float(losses.min())] * free + [60.0, _LARGEST_EXPONENT] * len(centred))
    starts = grid() if start is None else [start]
    steps = STEPS if start is None else REFIT_STEPS
    found = [minimise_huber(residuals, values, lower=lower, upper=upper, delta=delta, steps=steps) for values in starts]
    best = min(found, key=lambda minimum: minimum.objective)
    at_best = residuals(best.values)
    exponents = best.values[free + 1 :: 2]
    return PowersFit(
        floor=float(best.values[0]) if floor else 0.0,
        heights=best.values[free::2] + exponents * centres,
        exponents=exponents,
        residuals=-at_best[0],
        slopes=at_best[1],
        minimum=best,
    )
