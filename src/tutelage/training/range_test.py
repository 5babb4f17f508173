"""A range test: a few updates at each of many rates, to see between which rates a model learns at all."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, NotReady
from tutelage.training.loop import train
from tutelage.training.recipe import Recipe

if TYPE_CHECKING:
    from tutelage.workloads import Workload

#: Share of the whole fall of the loss at which learning counts as begun.
_BEGUN = 0.1


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """Mean training loss on each stair of a staircase of rising rates.

    **Formula**: with losses ``L_0, L_1, ...`` at rates ``r_0 < r_1 < ...``, ``b`` the stair of the lowest one::

        high = r_b        low = first r_i with L_i <= L_0 - 0.1 (L_0 - L_b)        at(p) = low (high / low)^p

    Args:
        rates: Rising, > 0, at least 3.
        losses: One a rate; infinite or NaN from where the run diverged.

    Raises:
        ValueError: Lengths that differ, fewer than 3 rates, or rates that do not rise.

    Example:
        >>> test = RangeTest(rates=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1), losses=(3.0, 2.9, 2.5, 2.0, 6.0))
        >>> test.usable, round(test.at(0.5), 6)
        ((0.0001, 0.01), 0.001)
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check every argument."""
        if len(self.rates) != len(self.losses) or len(self.rates) < 3:
            raise ValueError(
                f"RangeTest: rates and losses must be one each for at least 3 stairs, got {len(self.rates)} and "
                f"{len(self.losses)}."
            )
        if not (self.rates[0] > 0 and all(a < b for a, b in pairwise(self.rates))):
            raise ValueError(f"RangeTest: rates must rise from above 0, got {self.rates}.")

    @classmethod
    def of(cls, curve: Mapping[str, NDArray[Any]], rates: Sequence[float]) -> RangeTest:
        """Return the test from the curve of a run up a :func:`staircase`, each update logged; it may have diverged."""
        lr, losses = np.asarray(curve["lr"], dtype=np.float64), np.asarray(curve["loss"], dtype=np.float64)
        # A run that diverged on a stair ends there: its NaN makes that mean NaN, and stairs without a row have none.
        means = [losses[np.isclose(lr, rate, rtol=1e-6)] for rate in rates]
        return cls(rates=tuple(rates), losses=tuple(float(part.mean()) if part.size else math.nan for part in means))

    @property
    def usable(self) -> tuple[float, float]:
        """The rates between which the model learns: where the loss begins to fall, and where it is lowest.

        Raises:
            NotReady: The loss never falls, or still falls at the highest rate.
        """
        losses = [loss if math.isfinite(loss) else math.inf for loss in self.losses]
        best = int(np.argmin(losses))
        if not best or not math.isfinite(losses[0]):
            raise NotReady(f"range test: the loss does not fall from {self.rates[0]:g} on; begin at a lower rate.")
        if best == len(losses) - 1:
            raise NotReady(f"range test: the loss still falls at {self.rates[-1]:g}; go on to a higher rate.")
        begun = losses[0] - _BEGUN * (losses[0] - losses[best])
        first = next(place for place, loss in enumerate(losses) if loss <= begun)
        return self.rates[first], self.rates[best]

    def at(self, position: float) -> float:
        """Return the rate at a position of the usable range, 0 its low end, 1 its high one, on a logarithmic scale.

        Raises:
            ValueError: ``position`` outside [0, 1].
            NotReady: See :attr:`usable`.
        """
        if not 0 <= position <= 1:
            raise ValueError(f"RangeTest: position must be >= 0 and <= 1, got {position}.")
        low, high = self.usable
        return float(low * (high / low) ** position)


def range_test(
    workload: Workload,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    stairs: int = 19,
    updates: int = 4,
    recipe: str | Recipe = "constant",
    seed: int = 0,
    from_run: str | Path | None = None,
) -> RangeTest:
    """Train a short run up a staircase of rates, and return the mean loss on each stair.

    Args:
        workload: What is learned.
        low: Lowest rate, > 0.
        high: Highest rate.
        stairs: Rates, at equal factors, >= 3; 19 from 1e-6 to 1 are three a decade.
        updates: Updates at each, >= 1.
        recipe: Everything but the schedule: batch size, optimizer, clipping.
        seed: Seed of the run.
        from_run: Run whose weights it starts from, as in :func:`tutelage.training.train`.

    Returns:
        A :class:`RangeTest`; the run itself is not kept. It costs ``stairs * updates`` updates.

    Raises:
        ConfigError: A rate, number or recipe out of range.

    Example:
        >>> from tutelage.workloads import prepare
        >>> test = range_test(prepare("digits:net=mlp"), low=1e-5, high=10.0, stairs=7)
        >>> len(test.rates), test.usable[0] < test.usable[1]
        (7, True)

    Relations:
        :class:`tutelage.schedules.AutoLRS` searches all through the run; this looks once, before it.

    Source:
        Smith, Cyclical learning rates for training neural networks, 2017, arXiv 1506.01186, section 3.3 (a rate that
        rises over a short run). Ours: stairs at equal factors, and what counts as the usable range.
    """
    rates, schedule = staircase(low, high, stairs, updates)
    result = train(
        workload,
        dataclasses.replace(Recipe.parse(recipe), schedule=schedule, peak=None),
        budget=f"{stairs * updates}steps",
        seed=seed,
        from_run=from_run,
        eval_every=stairs * updates,
        log_every=1,
    )
    return RangeTest.of(result.curve, rates)


def staircase(low: float, high: float, stairs: int, updates: int) -> tuple[tuple[float, ...], str]:
    """Return the rates of a range test and the spec of its schedule; the arguments are those of :func:`range_test`.

    Raises:
        ConfigError: One of them is out of range.

    Example:
        >>> staircase(1e-3, 1e-1, 3, 2)[1]
        'constant@2steps:peak=0.001+constant@2steps:peak=0.01+constant@2steps:peak=0.1'
    """
    if not (0 < low < high < math.inf):
        raise ConfigError(f"range_test: low and high must be 0 < low < high, got {low} and {high}.")
    if stairs < 3 or updates < 1:
        raise ConfigError(f"range_test: stairs must be >= 3 and updates >= 1, got {stairs} and {updates}.")
    rates = tuple(float(f"{rate:.6g}") for rate in np.geomspace(low, high, stairs))
    return rates, "+".join(f"constant@{updates}steps:peak={rate:g}" for rate in rates)
