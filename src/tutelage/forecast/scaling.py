"""What a scaling law gives its user: a plan for a run, and a fit that says how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tutelage.forecast.curve import Floats
from tutelage.randomness import numpy_generator

#: Floating-point operations of a parameter for one token, forward and backward.
FLOPS = 6.0
#: A constant is determined where its 90 % interval spans less than this factor.
_KNOWN = 3.0
#: Webb's six points: weights of mean 0 and variance 1, which give few runs more patterns than two signs do.
_WEBB = np.array([-math.sqrt(1.5), -1.0, -math.sqrt(0.5), math.sqrt(0.5), 1.0, math.sqrt(1.5)])


@dataclass(frozen=True, kw_only=True)
class ScalingPlan:
    """What to train to reach a loss, or what a budget reaches.

    Args:
        loss: Loss at the end, in nats a token.
        size: Parameters without embeddings.
        tokens: Tokens to train on.
        compute: ``6 size tokens``, in floating-point operations.
        least_loss: What a model of this size reaches with tokens without end.
        batch: Tokens of an update, where the law speaks of batches.
        steps: Updates, where it does.
        critical_batch: Tokens of the critical batch at this loss, where it does.
    """

    loss: float
    size: float
    tokens: float
    compute: float
    least_loss: float
    batch: float | None = None
    steps: float | None = None
    critical_batch: float | None = None

    def to_json(self) -> dict[str, float]:
        """Return the plan as a table; what the law does not speak of is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class Extrapolated(NamedTuple):
    """A predicted value, and the interval in which it is expected."""

    value: float
    interval: tuple[float, float]


class ScalingLaw(Protocol):
    """A formula for the loss by size, data or both."""

    @property
    def loss(self) -> Callable[..., Floats]:
        """The loss in nats: of size and tokens, of size, updates and batch, ... as the law has it."""
        ...

    def params(self) -> dict[str, float]:
        """Return the constants by name."""
        ...


Law = TypeVar("Law", bound=ScalingLaw)


@dataclass(frozen=True, eq=False, kw_only=True)
class ScalingFit(Generic[Law]):
    """A scaling law fitted to runs, and how sure it is.

    What the runs leave open is measured by a wild bootstrap: the law is fitted again to its own losses plus the
    residuals of every run times a random weight of mean 0 and variance 1 (Webb's six points), one weight a run, so that
    what all points of a run have in common stays together. The residuals are those of a fit without the run, to first
    order; those of the fit itself are too small where runs are few.

    Args:
        law: The law with its constants.
        fitted: Logarithms of the fitted losses, shape ``(points,)``.
        residuals: Logarithms of observed over fitted losses, shape ``(points,)``.
        slopes: Derivatives of ``fitted`` by the free constants, shape ``(constants, points)``.
        groups: The run of each point, counted from 0, shape ``(points,)``.
        determined_by: For every free constant the one that says how well it is determined: a scale is as certain as
            its exponent.
        refit: Returns the law fitted to other losses of the same runs, given as logarithms of shape ``(points,)``.
        notes: Remarks a reader must see.
        details: What was found on the way.
        resamples: Laws of the bootstrap.
        seed: Of the bootstrap.
    """

    law: Law
    fitted: Floats
    residuals: Floats
    slopes: Floats
    groups: NDArray[np.int64]
    determined_by: Mapping[str, str]
    refit: Callable[[Floats], Law]
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    resamples: int = 200
    seed: int = 0

    @property
    def runs(self) -> int:
        """Runs it was fitted to."""
        return int(self.groups.max()) + 1

    @property
    def mape(self) -> float:
        """Mean absolute error over the points fitted, in percent of the observed loss."""
        return float(100 * np.mean(np.abs(np.expm1(-self.residuals))))

    @cached_property
    def laws(self) -> tuple[Law, ...]:
        """Laws fitted to losses that might have been observed."""
        rng = numpy_generator(self.seed, "bootstrap", self.runs)
        weights = rng.choice(_WEBB, size=(self.resamples, self.runs))
        return tuple(self.refit(self.fitted + row[self.groups] * self._left_out) for row in weights)

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 90 % interval of every constant."""

        def named(name: str) -> Callable[[Law], float]:
            return lambda law: law.params()[name]

        return {name: self.interval(named(name)).interval for name in self.law.params()}

    @cached_property
    def identified(self) -> dict[str, bool]:
        """By free constant, whether the runs determine it: to a factor of 3 from end to end of its 90 % interval."""

        def known(name: str) -> bool:
            low, high = self.intervals[name]
            return low > 0 and high < _KNOWN * low

        return {name: known(decisive) for name, decisive in self.determined_by.items()}

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes, and which constants the runs leave open."""
        loose = [name for name, known in self.identified.items() if not known]
        if not loose:
            return self.notes
        return (*self.notes, f"These runs do not determine {', '.join(loose)}; compare predictions, not constants.")

    def extrapolate(self, *at: float, level: float = 0.9) -> Extrapolated:
        """Return the loss of a run to come, and the interval in which it is expected.

        Args:
            at: What the law's ``loss`` takes, such as a size, or a size and its tokens.
            level: Of the interval, in (0, 1). It counts how far single runs lie off the law and what they leave open
                about its constants, not that the law itself may be wrong far from them.
        """
        return self.interval(lambda law: float(law.loss(*at)), level=level, of_a_run=True)

    def interval(self, value: Callable[[Law], float], *, level: float = 0.9, of_a_run: bool = False) -> Extrapolated:
        """Return ``value`` of the law, and its interval over the laws that might have been fitted.

        Args:
            value: What is asked of a law, such as ``lambda law: law.plan(loss=3.0).size``.
            level: Of the interval, in (0, 1).
            of_a_run: Add how far single runs lie off the law; for losses only.
        """
        if not 0 < level < 1:
            raise ValueError(f"interval: level must be > 0 and < 1, got {level}.")
        values = np.array([value(law) for law in self.laws])
        if of_a_run:
            rng = numpy_generator(self.seed, "scatter", self.runs)
            means = np.bincount(self.groups, weights=self._left_out) / np.bincount(self.groups)
            values = values * np.exp(rng.choice(_WEBB, size=len(values)) * rng.choice(means, size=len(values)))
        # Infinities, as of a loss that is never reached, have a place in the order but none in arithmetic.
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="nearest")
        return Extrapolated(float(value(self.law)), (float(low), float(high)))

    @cached_property
    def _left_out(self) -> Floats:
        """Return each run's residuals from a fit without it, to first order: ``r + J (H - H_run)^-1 J^T r``."""
        scale = np.sqrt(np.maximum(np.sum(self.slopes**2, axis=1, keepdims=True), 1e-300))
        slopes = self.slopes / scale
        whole = slopes @ slopes.T
        found = self.residuals.copy()
        for run in range(self.runs):
            mine = self.groups == run
            own = slopes[:, mine]
            # What only this run determines it fits exactly: a direction without a residual, left as it is.
            others = np.linalg.pinv(whole - own @ own.T, rcond=1e-8, hermitian=True)
            found[mine] += own.T @ (others @ (own @ self.residuals[mine]))
        return found
