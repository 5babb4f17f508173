"""What every schedule is: a pure function from the update about to be made to its learning rate.

A concrete schedule declares its fields and one method, ``_rate``; warm-up, clipping, validation, arrays and the
adaptors for other libraries are the same for all and live here. Anyone's own ``step -> rate`` callable is as good in
:func:`tutelage.schedules.to_torch` and in the training loop, which ask for :class:`RateFunction` only.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.specs import field_types, spell

if TYPE_CHECKING:
    import torch

    from tutelage.schedules._shapes import Shape
    from tutelage.schedules._torch import StepScheduler


#: Updates :meth:`Schedule.to_array` computes at once.
_BLOCK = 5120


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
            return self._warmed(xp.asarray(step, dtype=float), xp)
        clock = np.asarray(step, dtype=np.float64)
        # NaN fails both comparisons too.
        if clock.size and not (clock.min() >= 0 and clock.max() < math.inf):
            raise ValueError(f"{type(self).__name__}: step must be a finite number >= 0, got {step}.")
        # One-element arrays go through the same vector code as long ones, so scalar and array agree to the last bit.
        values = self._warmed(np.atleast_1d(clock), np)
        return float(values[0]) if clock.ndim == 0 else values

    def _warmed(self, clock: Any, xp: Any) -> Any:
        length = math.inf if self.total_steps is None else self.total_steps - self.warmup

        def after(clock: Any) -> Any:
            return self._rate(xp.clip(clock - self.warmup if self.warmup else clock, 0.0, length), xp)

        def rise(clock: Any) -> Any:
            # One element is enough for NumPy; where shapes are traced, the target has that of the clock.
            start, target = self._warmup_start(), self._rate(np.zeros(1) if xp is np else xp.zeros_like(clock), xp)
            done = clock + 1.0 if self.warmup_convention == "next" else clock
            share = done / self.warmup
            return start * (1.0 - share) + target * share

        return piecewise(clock, rise, [(self.warmup, after)], xp) if self.warmup else after(clock)

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
        require(steps >= 0, type(self).__name__, "total_steps", ">= 0", steps)
        rates = np.empty(steps)
        # Intermediate results of a block stay in the cache and on the heap; whole long arrays take up to five times as
        # long, most of it for pages the system hands out and takes back.
        for first in range(0, steps, _BLOCK):
            last = min(first + _BLOCK, steps)
            rates[first:last] = self._warmed(np.arange(first, last, dtype=np.float64), np)
        return rates

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

    def branch(self, step: int, *, length: int | None = None) -> Schedule:
        """Return this schedule as a run sees it that starts from a checkpoint saved before update ``step``.

        ``schedule.branch(k)(s)`` is ``schedule(k + s)``. Resuming a run needs no branch: it goes on counting.

        Args:
            step: Update of this schedule that the new run begins with.
            length: Updates of the new run; all that are left unless given.

        Raises:
            ValueError: A negative step, or no update left.
        """
        from tutelage.schedules.phases import Phases

        if length is None and self.total_steps is not None:
            length = self.total_steps - step
            bound = f"below total_steps ({self.total_steps}), or say length"
            require(length >= 1, type(self).__name__, "step", bound, step)
        return Phases(schedules=(self,), lengths=(length,), starts=(step,))

    def anneal_from(self, step: int, length: int, *, final: float = 0.0, shape: Shape = "linear") -> Schedule:
        """Return this schedule up to ``step``, then a decay over ``length`` updates from the rate it had there.

        The decay starts at ``self(step)`` exactly, so the result can go on from a checkpoint saved before ``step``.

        Args:
            step: First update of the decay.
            length: Updates the decay takes; the result ends at ``step + length``.
            final: Rate at the end.
            shape: How the rate falls.

        Raises:
            ValueError: A negative step, a length below 1, or a rate of 0 at ``step``, from which nothing can fall.
        """
        from tutelage.schedules.decay import Decay
        from tutelage.schedules.phases import Phases

        rate = self(step)
        require(rate > 0, type(self).__name__, "step", "one at which the rate is above 0", step)
        tail = Decay(peak=rate, total_steps=length, final=final, shape=shape)
        return Phases(schedules=(self, tail), lengths=(step, length)) if step else tail

    def __repr__(self) -> str:
        """Return the spec that builds this schedule again."""
        kinds = field_types(type(self))
        given = [
            f"{item.name}={spell(kinds[item.name], value)}"
            for item in dataclasses.fields(self)  # type: ignore[arg-type]  # every concrete schedule is a dataclass
            if (value := getattr(self, item.name)) != item.default
        ]
        return f"{self.spec_name}:{','.join(given)}" if given else self.spec_name


def piecewise(
    clock: Any, first: Callable[[Any], Any], later: Sequence[tuple[float, Callable[[Any], Any]]], xp: Any
) -> Any:
    """Return the value of the piece that each element of ``clock`` lies in; a boundary belongs to the later piece.

    Args:
        clock: Array of the namespace ``xp``.
        first: Function of the first piece.
        later: Where each further piece begins, in order, and its function.
        xp: NumPy, for which a function sees the elements of its own piece only, or another namespace, which may be
            tracing, so that every function sees every element and what it gives for those of others is dropped.
    """
    if xp is not np:
        values = first(clock)
        for begin, function in later:
            values = xp.where(clock < begin, values, function(clock))
        return values
    values = np.empty_like(clock)
    functions = [first] + [function for _, function in later]
    ends = [begin for begin, _ in later] + [math.inf]
    left = np.ones(clock.shape, dtype=bool)
    for function, end in zip(functions, ends, strict=True):
        here = left & (clock < end)
        if here.all():
            return function(clock)
        size = np.count_nonzero(here)
        if size:
            start = here.argmax()
            run = slice(start, start + size)
            # A slice costs a tenth of a mask, and a clock that rises has one for each piece.
            index = run if clock.ndim == 1 and here[run].all() else here
            values[index] = function(clock[index])
        left &= ~here
    return values


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
    for argument in ("total_steps", "warmup"):
        value = getattr(schedule, argument)
        # A schedule that can do without an end has None as its class's default.
        optional = argument == "total_steps" and getattr(type(schedule), argument, 0) is None
        whole = isinstance(value, Integral) or (value is None and optional)
        require(whole, name, argument, "a whole number of updates", value)
    require(schedule.warmup >= 0, name, "warmup", ">= 0", schedule.warmup)
    total = schedule.total_steps
    if total is not None:
        require(total >= 1, name, "total_steps", ">= 1", total)
        require(schedule.warmup < total, name, "warmup", f"< total_steps ({total})", schedule.warmup)
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
