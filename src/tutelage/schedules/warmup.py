"""Warmup: a rise as a phase of its own, to put in front of anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tutelage.durations import Rate, Steps
from tutelage.schedules._protocol import Schedule, check_common
from tutelage.schedules._shapes import between, require_one_of


@dataclass(frozen=True, kw_only=True, repr=False)
class Warmup(Schedule):
    """A straight rise from ``start`` to ``peak``, as a phase before any schedule or any function of your own.

    Every schedule here has a ``warmup`` of its own; take this one for a callable without one, for a rise from a rate
    above 0, or for the counting other libraries use: ``warmup@100steps:start=10%,convention=current+cosine``.

    **Formula**: ``rate = start + (peak - start) v`` with ``v = (step + 1) / total_steps`` for ``convention="next"``
    and ``v = step / total_steps`` for ``"current"``, at most 1.

    Values: ``0``: ``start + (peak - start) / total_steps``; ``total_steps - 1``: ``peak``; ``total_steps``: ``peak``.
    With ``"current"`` update 0 uses ``start`` and the last one is still below ``peak``.

    Args:
        peak: Rate it ends at, > 0.
        total_steps: Updates it takes, >= 1.
        start: Rate it rises from, in [0, peak].
        convention: ``"next"`` reaches the peak with its last update and wastes none at ``start``; ``"current"`` makes
            its first update at ``start``, as PyTorch, transformers and Optax do.

    Returns:
        Rates in ``[start, peak]``, same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, ``start`` outside [0, peak], an unknown ``convention``,
            ``total_steps`` below 1, a negative step.

    Example:
        >>> Warmup(peak=1.0, total_steps=4).to_array().tolist()
        [0.25, 0.5, 0.75, 1.0]
        >>> Warmup(peak=1.0, total_steps=4, convention="current").to_array().tolist()
        [0.0, 0.25, 0.5, 0.75]

    Use with:
        :class:`Phases`: ``Phases(schedules=(Warmup(peak=1.0, total_steps=10), my_function), lengths=(10, 90))``.
        Everything else through it: ``to_torch``, ``use_in_trainer``, Optax.

    Helps / does not help:
        Warm-up keeps the first updates of an adaptive optimizer, whose statistics are still noise, from doing harm. Its
        exact length rarely matters; that there is one often does.

    Relations:
        The ``warmup`` argument of the other schedules is this with ``start=0`` in front, counted inside their total.

    Source:
        Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017, arXiv 1706.02677, section 2.2
        (gradual warm-up).
    """

    spec_name: ClassVar[str] = "warmup"

    peak: float
    total_steps: Steps
    start: Rate = 0.0
    convention: Literal["next", "current"] = "next"
    warmup: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self, start=self.start)
        require_one_of("Warmup", "convention", self.convention, ("next", "current"))

    def _rate(self, t: Any, xp: Any) -> Any:
        done = t + 1.0 if self.convention == "next" else t
        return between(self.peak, self.start, done / self.total_steps, xp)
