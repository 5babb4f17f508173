"""A loss curve and the learning rates it was made with: what every forecast of a curve starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Steps = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LossCurve:
    """Losses observed during a run, and the learning rate of each of its updates.

    Args:
        steps: Updates made when each loss was measured, shape ``(points,)``, rising, >= 1.
        losses: Loss at those steps in nats, shape ``(points,)``, > 0.
        rates: Learning rate of update 1, 2, ... at index 0, 1, ..., shape ``(updates,)``, >= 0. It reaches the last
            step at least; where the plan of the run is known it goes on to its end.
        warmup: Updates of warm-up at the start of ``rates``. Laws count them at the peak rate.
        name: Where the curve comes from, for messages.

    Raises:
        ValueError: Shapes that differ, steps that do not rise, losses or rates out of range, rates that end before
            the last step; names the curve and the place.

    Example:
        >>> curve = LossCurve.of(steps=[1, 2, 3], losses=[4.0, 3.5, 3.2], rates=[1e-3, 1e-3, 5e-4, 1e-4])
        >>> curve.until(2).steps.tolist(), curve.until(2).total_steps
        ([1, 2], 4)
    """

    steps: Steps
    losses: Floats
    rates: Floats
    warmup: int = 0
    name: str = "curve"

    @classmethod
    def of(
        cls, *, steps: ArrayLike, losses: ArrayLike, rates: ArrayLike, warmup: int = 0, name: str = "curve"
    ) -> LossCurve:
        """Return the curve of anything NumPy can read as arrays; see the class for the arguments."""
        return cls(
            np.asarray(steps, dtype=np.int64),
            np.asarray(losses, dtype=np.float64),
            np.asarray(rates, dtype=np.float64),
            warmup,
            name,
        )

    def __post_init__(self) -> None:
        """Refuse what no law can be fitted to."""
        if self.steps.ndim != 1 or self.steps.shape != self.losses.shape:
            raise ValueError(
                f"{self.name}: steps and losses must be two series of one length, got shapes {self.steps.shape} and "
                f"{self.losses.shape}."
            )
        if not len(self.steps):
            raise ValueError(f"{self.name}: a curve must have at least one point.")
        later = np.flatnonzero(np.diff(self.steps) <= 0)
        if len(later) or self.steps[0] < 1:
            place = int(later[0]) + 1 if len(later) else 0
            raise ValueError(f"{self.name}: steps must rise from 1 on, got {self.steps[place]} at place {place}.")
        wrong = np.flatnonzero(~((self.losses > 0) & np.isfinite(self.losses)))
        if len(wrong):
            raise ValueError(
                f"{self.name}: losses must be finite and > 0, got {self.losses[wrong[0]]} at step "
                f"{self.steps[wrong[0]]}."
            )
        check_rates(self.rates, name=self.name)
        if len(self.rates) < self.steps[-1]:
            raise ValueError(
                f"{self.name}: rates must reach the last step, {self.steps[-1]}, got {len(self.rates)} of them."
            )
        if not 0 <= self.warmup < len(self.rates):
            raise ValueError(
                f"{self.name}: warmup must be 0 to {len(self.rates) - 1}, the updates less one, got {self.warmup}."
            )

    @property
    def total_steps(self) -> int:
        """Updates whose rate is known."""
        return len(self.rates)

    def until(self, step: int) -> LossCurve:
        """Return the points up to ``step``, with the rates of the whole plan.

        Raises:
            ValueError: No point lies there.
        """
        return self.where(self.steps <= step)

    def where(self, kept: NDArray[np.bool_]) -> LossCurve:
        """Return the points that ``kept`` (shape ``(points,)``) marks."""
        return LossCurve(self.steps[kept], self.losses[kept], self.rates, self.warmup, self.name)

    def after_warmup(self) -> LossCurve:
        """Return the points after the warm-up, which laws of annealing speak about.

        Raises:
            ValueError: No point lies there.
        """
        return self.where(self.steps >= self.warmup)


def check_rates(rates: Floats, *, name: str) -> None:
    """Refuse learning rates that are not a series of finite numbers >= 0.

    Raises:
        ValueError: Names the first that is none.
    """
    if rates.ndim != 1 or not len(rates):
        raise ValueError(f"{name}: rates must be a series, one an update, got shape {rates.shape}.")
    wrong = np.flatnonzero(~((rates >= 0) & np.isfinite(rates)))
    if len(wrong):
        raise ValueError(f"{name}: rates must be finite and >= 0, got {rates[wrong[0]]} for update {wrong[0] + 1}.")
    if not rates.any():
        raise ValueError(f"{name}: all rates are 0; a run without learning has no curve to come.")


def at_peak_in_warmup(rates: Floats, warmup: int) -> Floats:
    """Return the rates with those of the warm-up set to the rate that follows it, as laws of annealing count them."""
    if not warmup:
        return rates
    held = rates.copy()
    held[:warmup] = rates[warmup]
    return held


def places(steps: ArrayLike | None, total: int) -> Steps:
    """Return where the loss after each of ``steps`` updates stands in a series with one value an update.

    Raises:
        ValueError: A step outside ``1 .. total``.
    """
    if steps is None:
        return np.arange(total, dtype=np.int64)
    wished = np.asarray(steps, dtype=np.int64)
    if wished.size and not (wished.min() >= 1 and wished.max() <= total):
        raise ValueError(
            f"predict: steps must be 1 to {total}, the number of rates, got {wished.min()} to {wished.max()}."
        )
    return wished - 1
