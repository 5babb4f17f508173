"""What every schedule is: a pure function from the update about to be made to its learning rate.

A concrete schedule declares its fields and one method, ``_rate``; warm-up, clipping, validation, arrays and the
adaptors for other libraries are the same for all and live here. Anyone's own ``step -> rate`` callable is as good in
:func:`tutelage.schedules.to_torch` and in the training loop, which ask for :class:`RateFunction` only.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.specs import field_types, spell

if TYPE_CHECKING:
    import torch

    from tutelage.schedules._torch import StepScheduler


class RateFunction(Protocol):
    """Any callable from an update's index to its learning rate."""

    def __call__(self, step: Any, /) -> Any:
        """Return the rate used for update ``step``."""


class Schedule(ABC):
    """A frozen, hashable ``step -> learning rate``.

    ``schedule(step)`` is the rate used *for* update ``step``; valid updates are ``0 .. total_steps - 1``, and
    ``schedule(total_steps)`` is the end value, which later steps keep. The first ``warmup`` updates, counted inside
    the total, rise linearly to the value the schedule has when warm-up is over.

    A subclass is a frozen dataclass with the fields ``peak``, ``total_steps`` and ``warmup`` (and its own), and
    implements :meth:`_rate`.
    """

    #: Name in spec strings.
    spec_name: ClassVar[str]
    #: ``"next"``: warm-up update ``s`` uses ``(s + 1) / warmup`` of the target, so no update is wasted on rate 0.
    #: ``"current"``: it uses ``s / warmup``, as some papers' equations say.
    warmup_convention: ClassVar[Literal["next", "current"]] = "next"

    peak: float
    total_steps: int | None
    warmup: int

    @abstractmethod
    def _rate(self, t: Any, xp: Any) -> Any:
        """Return the rate ``t >= 0`` updates after warm-up, for a float array ``t`` of namespace ``xp``."""

    def _warmup_start(self) -> float:
        """Return the rate that warm-up rises from."""
        return 0.0

    @overload
    def __call__(self, step: float) -> float: ...
    @overload
    def __call__(self, step: ArrayLike) -> NDArray[np.float64]: ...
    def __call__(self, step: Any) -> Any:
        """Return the learning rate for update ``step``.

        Args:
            step: 0-based index of the update, a number or an array of any shape. Non-integers interpolate, for
                plots. Arrays of another array-API library (JAX, also while it traces) stay in that library.

        Returns:
            A ``float`` for a number, a float64 array of the same shape for an array.

        Raises:
            ValueError: A negative or non-finite step.
        """
        if hasattr(step, "__array_namespace__") and not isinstance(step, (np.ndarray, np.generic)):
            # A traced step has no value to check, so only the formula runs.
            xp = step.__array_namespace__()
            return self._warmed(xp.asarray(step, dtype=xp.float32), xp)
        clock = np.asarray(step, dtype=np.float64)
        if not (np.isfinite(clock) & (clock >= 0)).all():
            raise ValueError(f"{type(self).__name__}: step must be a finite number >= 0, got {step}.")
        # One-element arrays go through the same vector code as long ones, so scalar and array agree to the last bit.
        values = self._warmed(np.atleast_1d(clock), np)
        return float(values[0]) if clock.ndim == 0 else values.reshape(clock.shape)

    def _warmed(self, clock: Any, xp: Any) -> Any:
        length = math.inf if self.total_steps is None else self.total_steps - self.warmup
        after = self._rate(xp.clip(clock - self.warmup, 0.0, length), xp)
        if not self.warmup:
            return after
        start, target = self._warmup_start(), self._rate(xp.zeros_like(clock), xp)
        done = clock + 1.0 if self.warmup_convention == "next" else clock
        return xp.where(clock < self.warmup, start + (target - start) * xp.clip(done / self.warmup, 0.0, 1.0), after)

    def to_array(self, total_steps: int | None = None) -> NDArray[np.float64]:
        """Return the rates of updates ``0 .. total_steps - 1`` as one float64 array.

        Args:
            total_steps: Number of updates; the schedule's own total where it has one.

        Raises:
            ValueError: Neither is known.
        """
        steps = self.total_steps if total_steps is None else total_steps
        if steps is None:
            raise ValueError(f"{type(self).__name__} has no end of its own: say to_array(total_steps=...).")
        return self(np.arange(steps))

    def to_torch(self, optimizer: torch.optim.Optimizer) -> StepScheduler:
        """Return a ``torch.optim.lr_scheduler.LRScheduler`` that drives ``optimizer``; see :class:`StepScheduler`."""
        from tutelage.schedules._torch import StepScheduler

        return StepScheduler(optimizer, self)

    def to_lightning(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Return what ``LightningModule.configure_optimizers`` returns; steps each update, not each epoch."""
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": self.to_torch(optimizer), "interval": "step", "frequency": 1},
        }

    def anneal_from(
        self,
        step: int,
        length: int,
        *,
        final: float = 0.0,
        shape: Literal["linear", "cosine", "1-sqrt", "exponential"] = "linear",
    ) -> Schedule:
        """Return this schedule up to ``step``, then a decay over ``length`` updates from the rate it had there.

        The branch starts at ``self(step)`` exactly, so it can go on from a checkpoint saved before ``step``.

        Args:
            step: First update of the decay.
            length: Updates the decay takes; the result ends at ``step + length``.
            final: Rate at the end.
            shape: How the rate falls.
        """
        from tutelage.schedules.decay import Decay
        from tutelage.schedules.phases import Phases

        tail = Decay(peak=self(step), total_steps=length, final=final, shape=shape)
        return Phases(schedules=(self, tail), lengths=(step, length))

    def __repr__(self) -> str:
        """Return the spec that builds this schedule again."""
        kinds = field_types(type(self))
        given = [
            f"{item.name}={spell(kinds[item.name], value)}"
            for item in dataclasses.fields(self)  # type: ignore[arg-type]  # every concrete schedule is a dataclass
            if (value := getattr(self, item.name)) != item.default
        ]
        return f"{self.spec_name}:{','.join(given)}"


def check_common(schedule: Schedule, **rates: float) -> None:
    """Refuse a peak, total, warm-up or further rate out of range.

    Args:
        schedule: The schedule under construction.
        **rates: Further rates by argument name, each finite, ``>= 0`` and not above the peak.

    Raises:
        ValueError: Naming class, argument, bound and value.
    """
    name = type(schedule).__name__
    require(math.isfinite(schedule.peak) and schedule.peak > 0, name, "peak", "a finite number > 0", schedule.peak)
    if schedule.total_steps is not None:
        require(schedule.total_steps >= 1, name, "total_steps", ">= 1", schedule.total_steps)
        require(
            0 <= schedule.warmup < schedule.total_steps,
            name,
            "warmup",
            f">= 0 and < total_steps ({schedule.total_steps})",
            schedule.warmup,
        )
    require(schedule.warmup >= 0, name, "warmup", ">= 0", schedule.warmup)
    for argument, rate in rates.items():
        require(
            math.isfinite(rate) and 0 <= rate <= schedule.peak,
            name,
            argument,
            f">= 0 and <= peak ({schedule.peak})",
            rate,
        )


def require(condition: bool, name: str, argument: str, bound: str, value: object) -> None:
    """Raise ``ValueError("NAME: ARGUMENT must be BOUND, got VALUE.")`` unless ``condition``."""
    if not condition:
        raise ValueError(f"{name}: {argument} must be {bound}, got {value}.")
