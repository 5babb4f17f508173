"""Constant: one rate, from the first update to the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tutelage.durations import Steps
from tutelage.schedules._protocol import Schedule, check_common


@dataclass(frozen=True, kw_only=True, repr=False)
class Constant(Schedule):
    """The peak rate at every update, after an optional warm-up.

    The null arm of a comparison of schedules, and the first phase of many others; it needs no end.

    **Formula**: ``rate = peak``.

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - 1``:
    ``peak``; ``total_steps``: ``peak``.

    Args:
        peak: The rate, > 0.
        total_steps: Updates in the run, >= 1, or ``None`` for a run without an end.
        warmup: Updates of linear warm-up, counted inside the total.

    Returns:
        ``peak`` (less during warm-up), same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, ``warmup`` outside [0, total_steps), ``total_steps`` below 1, a
            negative step.

    Example:
        >>> schedule = Constant(peak=1e-3, warmup=4)
        >>> [schedule(step) for step in (0, 3, 4, 1_000_000)]
        [0.00025, 0.001, 0.001, 0.001]

    Use with:
        Everything: ``to_torch``, ``to_lightning``, ``use_in_trainer(trainer, "constant")``, Optax as it is. Followed
        by a decay: ``constant@0.8+linear``, or :meth:`~Schedule.anneal_from` a checkpoint.

    Helps / does not help:
        Ends at a higher loss than any schedule that decays, as the noise of the gradient is never averaged out; the
        usual proof is annealing its checkpoint, which lowers the loss at once.

    Relations:
        :class:`WSD` without its decay; ``UBA`` for ``phi`` towards 0.

    Source:
        No paper; stochastic approximation asks for decaying rates (Robbins and Monro, 1951).
    """

    spec_name: ClassVar[str] = "constant"

    peak: float
    total_steps: Steps | None = None
    warmup: Steps = 0

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self)

    def _rate(self, t: Any, xp: Any) -> Any:
        return xp.full_like(t, self.peak)
