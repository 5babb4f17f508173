"""Bayesian optimisation of one learning rate: a Gaussian process on log rate and a lower confidence bound."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tutelage.randomness import derive_seed, numpy_generator

#: Points of the grid on which the acquisition is minimised; two neighbours differ by 1 % of a factor of 1e4.
_GRID = 1001
_STREAM = "auto-lrs"


def next_rate(
    tried: Sequence[tuple[float, float]], lowest: float, highest: float, *, kappa: float, seed: int, stage: int
) -> float:
    """Return the rate to try next; a pure function of its arguments.

    Without a tried rate it is drawn log-uniformly. Otherwise it is the point of a grid, equal steps in log rate, that
    minimises ``mean - kappa * deviation`` of a Gaussian process through the tried ones, none of which is proposed
    again.

    Args:
        tried: Rates with the loss each is expected to lead to, finite.
        lowest: Lower end of the interval, > 0.
        highest: Upper end.
        kappa: Weight of the deviation; large values explore.
        seed: Seed of the search.
        stage: Which search of the run this is.
    """
    if not tried:
        return _rate(float(numpy_generator(seed, _STREAM, stage).random()), lowest, highest)
    places = np.array([np.log(rate / lowest) / np.log(highest / lowest) for rate, _ in tried])
    losses = np.array([loss for _, loss in tried])
    # Centred and scaled to 1, so that the bounds of the kernel's parameters fit losses of any unit.
    scale = float(losses.std())
    losses = (losses - losses.mean()) / (scale if scale > 0 else 1.0)
    grid = np.linspace(0.0, 1.0, _GRID)
    mean, deviation = _posterior(places, losses, grid, derive_seed(seed, _STREAM, stage, len(tried)) % 2**32)
    bound = mean - kappa * deviation
    bound[np.abs(grid[:, None] - places).min(axis=1) < 0.5 / (_GRID - 1)] = np.inf
    return _rate(float(grid[np.argmin(bound)]), lowest, highest)


def _rate(place: float, lowest: float, highest: float) -> float:
    return float(np.clip(lowest * (highest / lowest) ** place, lowest, highest))


def _posterior(
    places: NDArray[np.float64], losses: NDArray[np.float64], grid: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the noise-free loss at each point of the grid."""
    from scipy.linalg import solve_triangular
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    # Rates a tenth of the interval apart tell something of each other, and its two ends never everything. Without these
    # limits a few points are often fitted by a length at which the deviation is the same wherever nothing was tried, or
    # nowhere above a rounding error; the least bound is then any point, and the search stays where it began.
    shape = Matern(0.3, (0.1, 1.0), nu=2.5)
    kernel = ConstantKernel(1.0, (1e-2, 1e3)) * shape + WhiteKernel(1e-2, (1e-8, 1e1))
    process = GaussianProcessRegressor(kernel, n_restarts_optimizer=2, random_state=seed)
    with warnings.catch_warnings():
        # With a handful of points a kernel parameter often ends at its bound, which does no harm.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(places[:, None], losses)
    # Not by way of predict, which adds the noise: small deviations would be lost when it is taken off again.
    signal = process.kernel_.k1
    across = signal(places[:, None], grid[:, None])
    known = solve_triangular(process.L_, across, lower=True)
    variance = signal.diag(grid[:, None]) - (known**2).sum(axis=0)
    return across.T @ process.alpha_, np.sqrt(np.maximum(variance, 0.0))
