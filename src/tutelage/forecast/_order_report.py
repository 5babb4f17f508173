"""What retraining a few orders says about forecasts of orders."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def rank_correlation(a: Floats, b: Floats) -> float:
    """Return Spearman's rank correlation, 0 where one side does not vary."""
    ranked = [stats.rankdata(one) for one in (a, b)]
    if min(one.std() for one in ranked) == 0:
        return 0.0
    return float(np.corrcoef(*ranked)[0, 1])


def rank_correlation_interval(rho: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a rank correlation of ``count`` pairs, by Fisher's transformation."""
    if count < 4:
        return -1.0, 1.0
    if abs(rho) >= 1:
        # Ranks that agree fully have no spread to go by; one swap of neighbours is what may have been missed.
        swapped = 1 - 12 / (count * (count**2 - 1))
        return (swapped, 1.0) if rho > 0 else (-1.0, -swapped)
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (count - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


@dataclass(frozen=True, kw_only=True)
class OrderCheck:
    """Estimated and true final losses of orders that were trained, and what both took.

    Args:
        orders: The orders, int64 of shape ``(k, batches)``.
        true: Loss after training in each order, shape ``(k,)``.
        estimated: Loss at the estimated weights, shape ``(k,)``.
        reference: Loss after the reference run: the guess of somebody who says that order does not matter.
        fit_seconds: What the reference run and the terms of all pairs took, once.
        retrain_seconds: What training in one order takes, without evaluation.
        estimate_seconds: What estimating one order's weights takes, without evaluation.
        evaluate_seconds: What one evaluation takes.

    Source:
        Interval of the rank correlation: Bonett and Wright, Sample size requirements for estimating Pearson, Kendall
        and Spearman correlations, 2000: the variance of Fisher's transform is ``(1 + rho^2 / 2) / (k - 3)``.
    """

    orders: NDArray[np.int64]
    true: Floats
    estimated: Floats
    reference: float
    fit_seconds: float
    retrain_seconds: float
    estimate_seconds: float
    evaluate_seconds: float

    @property
    def spearman(self) -> float:
        """Rank correlation of estimated and true losses."""
        return rank_correlation(self.estimated, self.true)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of :attr:`spearman`."""
        return rank_correlation_interval(self.spearman, len(self.true))

    @property
    def mae(self) -> float:
        """Mean absolute error of the estimated losses."""
        return float(np.abs(self.estimated - self.true).mean())

    @property
    def constant_mae(self) -> float:
        """Mean absolute error of guessing the reference run's loss for every order."""
        return float(np.abs(self.reference - self.true).mean())

    @property
    def ranks(self) -> bool:
        """Whether the estimates rank orders better than chance: the interval lies above 0."""
        return self.interval[0] > 0

    @property
    def break_even(self) -> float:
        """Orders from which on estimating, the fit included, takes less than training them all; may be infinite."""
        gained = self.retrain_seconds - self.estimate_seconds
        return float(math.ceil(self.fit_seconds / gained)) if gained > 0 else math.inf

    def speed_up(self, orders: int | None = None) -> float:
        """Return how many times as long it takes to train and evaluate orders as to estimate and evaluate them.

        Args:
            orders: How many orders the fit's time is spread over; not counted at all where ``None``.
        """
        fit = 0.0 if orders is None else self.fit_seconds / orders
        estimated = fit + self.estimate_seconds + self.evaluate_seconds
        return (self.retrain_seconds + self.evaluate_seconds) / max(estimated, 1e-12)

    @property
    def sentence(self) -> str:
        """The check in words, with advice where the estimates should not be used."""
        low, high = self.interval
        text = (
            f"{len(self.true)} orders retrained: rank correlation {self.spearman:.2f} ({low:.2f} to {high:.2f}), "
            f"mean error {self.mae:.4g} where guessing {self.reference:.4g} for all gives {self.constant_mae:.4g}; "
            f"{self.speed_up():.3g} times as fast as training, the fit paid back after {self.break_even:g} orders."
        )
        if not self.ranks:
            return text + " These estimates do not rank orders: do not choose by them."
        if self.mae >= self.constant_mae:
            return text + " Use them to rank orders, not as losses."
        return text


@dataclass(frozen=True, kw_only=True)
class OrderForecast:
    """Estimated losses of orders, with the check that says how far to trust them.

    Args:
        losses: Estimated loss of each order, shape ``(orders,)``.
        drift: How far each order's estimated weights end from those of the reference run, over how far the reference
            run went, shape ``(orders,)``. The expansion is one around the reference run: small is safe.
        check: Orders that were retrained.
    """

    losses: Floats
    drift: Floats
    check: OrderCheck

    @property
    def best(self) -> int:
        """Number of the order with the least estimated loss."""
        return int(np.argmin(self.losses))

    @property
    def sentence(self) -> str:
        """Best estimate, drift and check in words."""
        return (
            f"Order {self.best} of {len(self.losses)} is estimated best, at a loss of {self.losses[self.best]:.4g}; "
            f"weights end {np.median(self.drift):.2g} of the run's way from the reference. {self.check.sentence}"
        )
