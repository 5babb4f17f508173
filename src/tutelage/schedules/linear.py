"""Linear: a straight line from the peak to the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tutelage.durations import Rate, Steps
from tutelage.schedules._protocol import Schedule, check_common
from tutelage.schedules._shapes import move


@dataclass(frozen=True, kw_only=True, repr=False)
class Linear(Schedule):
    """A straight line from ``peak`` to ``final``: the plainest schedule for a fixed budget, and hard to beat.

    Use it where nothing is known about the problem: it has no shape to tune.

    **Formula**: with ``u = (step - warmup) / n`` and ``n = total_steps - warmup``::

        rate(u) = peak (1 - u) + final u

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - 1``:
    ``final + (peak - final) / n``; ``total_steps``: ``final``.

    Args:
        peak: Highest rate, > 0.
        total_steps: Updates in the run, >= 1.
        final: Rate at the end, in [0, peak].
        warmup: Updates of linear warm-up, counted inside the total.

    Returns:
        Rates in ``[final, peak]`` (less during warm-up), same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, ``final`` outside [0, peak], ``warmup`` outside [0, total_steps),
            ``total_steps`` below 1, a negative step.

    Example:
        >>> schedule = Linear(peak=1.0, total_steps=100, warmup=10)
        >>> [round(schedule(step), 4) for step in (0, 9, 10, 55, 99, 100)]
        [0.1, 1.0, 1.0, 0.5, 0.0111, 0.0]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "linear:warmup=0.05")``; it equals their own
        ``linear`` from the end of warm-up on. Lightning: ``to_lightning``. Optax: as it is.

    Helps / does not help:
        With an end at 0 it was the best or near the best of the fixed shapes for limited budgets in the budgeted
        training paper, and later for language models (arXiv 2502.15938). A run whose length is not known cannot use it.

    Relations:
        :class:`Polynomial` with ``power=1``; :class:`Decay` with ``shape=linear``.

    Source:
        Li, Yumer and Ramanan, Budgeted training, 2019, arXiv 1905.04753, section 3 (budget-aware linear decay).
    """

    spec_name: ClassVar[str] = "linear"

    peak: float
    total_steps: Steps
    final: Rate = 0.0
    warmup: Steps = 0

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self, final=self.final)

    def _rate(self, t: Any, xp: Any) -> Any:
        return move("linear", self.peak, self.final, t / (self.total_steps - self.warmup), xp)
