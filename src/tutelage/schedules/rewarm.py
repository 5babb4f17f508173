"""ReWarm: warm up again and decay again, to go on training a finished model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tutelage.durations import Rate, Steps
from tutelage.schedules._protocol import Schedule, check_common
from tutelage.schedules._shapes import move

#: The paper's: warm-up over 1 % of the new run, down to a tenth of the peak.
_WARMUP_SHARE = 0.01
_FINAL_SHARE = 0.1


@dataclass(frozen=True, kw_only=True, repr=False)
class ReWarm(Schedule):
    """Re-warming and re-decaying for a further data set: linear up from where the checkpoint ended, cosine down.

    Use it to continue from a checkpoint whose rate had been annealed; without re-warming it hardly learns anew.

    **Formula**: with ``n = total_steps - warmup``::

        step < warmup    rate = start + (peak - start) step / warmup
        then             rate = floor + (peak - floor) (1 + cos(pi (step - warmup) / n)) / 2

    Warm-up is the paper's ``t / warmup``: update 0 uses ``start``, update ``warmup`` the peak.

    Values: ``0``: ``start if warmup else peak``; ``warmup - 1``: ``start + (peak - start) * (warmup - 1) / warmup``;
    ``warmup``: ``peak``; ``total_steps - 1``: ``floor + (peak - floor) * (1 + cos(pi * (1 - 1 / n))) / 2``;
    ``total_steps``: ``floor``, which is ``final`` or, by default, ``peak / 10``.

    Args:
        peak: Highest rate, > 0; the paper takes that of the first training.
        total_steps: Updates in the new run, >= 1.
        final: Rate at the end, in [0, peak]; ``None`` for a tenth of the peak (3e-4 to 3e-5 in the paper).
        warmup: Updates of warm-up, counted inside the total; 1 % of the run unless given.
        start: Rate that warm-up rises from, in [0, peak]: 0 as in the paper, or the checkpoint's last rate.

    Returns:
        Rates in ``[min(start, floor), peak]``, same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, ``final`` or ``start`` outside [0, peak], ``warmup`` outside
            [0, total_steps), ``total_steps`` below 1, a negative step.

    Example:
        >>> schedule = ReWarm(peak=3e-4, total_steps=1000)
        >>> [round(schedule(step), 8) for step in (0, 5, 10, 505, 1000)]
        [0.0, 0.00015, 0.0003, 0.000165, 3e-05]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "rewarm:start=3e-5")``. Lightning:
        ``to_lightning``. Optax: as it is. Replay of old data: the curricula of this library.

    Helps / does not help:
        With 5 to 25 % of old data replayed it reached the loss of training on everything from scratch (405M and 10B
        parameters). A higher peak adapts better and forgets more; the length of warm-up hardly matters.

    Relations:
        :class:`Cosine` with the paper's warm-up and floor. :class:`InfiniteLR` avoids the re-warming and its spike.

    Source:
        Ibrahim et al., Simple and scalable strategies to continually pre-train large language models, 2024, arXiv
        2403.08763, sections 4 and 6. Formula and rates from the card, checked in form against a public port of the
        schedule; 1 % of warm-up is the paper's.
    """

    spec_name: ClassVar[str] = "rewarm"
    warmup_convention: ClassVar[Literal["next", "current"]] = "current"

    peak: float
    total_steps: Steps
    final: Rate | None = None
    warmup: Steps = None  # type: ignore[assignment]  # __post_init__ puts 1 % of the run
    start: Rate = 0.0

    def __post_init__(self) -> None:
        """Fill in the warm-up and check every argument."""
        if self.warmup is None:
            object.__setattr__(self, "warmup", round(_WARMUP_SHARE * self.total_steps))
        check_common(self, final=self.floor, start=self.start)

    @property
    def floor(self) -> float:
        """The rate at the end."""
        return _FINAL_SHARE * self.peak if self.final is None else self.final

    def _warmup_start(self) -> float:
        return self.start

    def _rate(self, t: Any, xp: Any) -> Any:
        return move("cosine", self.peak, self.floor, t / (self.total_steps - self.warmup), xp)
