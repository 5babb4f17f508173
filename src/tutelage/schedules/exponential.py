"""Exponential: the same share of the rate is lost at every update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tutelage.durations import Rate, Steps
from tutelage.schedules._protocol import Schedule, check_common
from tutelage.schedules._shapes import check_shape, move

#: Share of the peak at the end where none is said.
_FINAL_SHARE = 0.01


@dataclass(frozen=True, kw_only=True, repr=False)
class Exponential(Schedule):
    """A fall by the same factor at every update, from ``peak`` to ``final``.

    Said by its end instead of its factor, so that it fits a budget of any length.

    **Formula**: with ``u = (step - warmup) / n`` and ``n = total_steps - warmup``::

        rate(u) = peak (final / peak)^u

    The factor of one update is ``(final / peak)^(1 / n)``, :attr:`gamma`.

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - 1``:
    ``peak * (end / peak) ** (1 - 1 / n)``; ``total_steps``: ``end``, which is ``final`` or, by default,
    ``peak / 100``.

    Args:
        peak: Highest rate, > 0.
        total_steps: Updates in the run, >= 1.
        final: Rate at the end, in (0, peak]; ``None`` for 1 % of the peak.
        warmup: Updates of linear warm-up, counted inside the total.

    Returns:
        Rates in ``[final, peak]`` (less during warm-up), same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, ``final`` outside (0, peak], ``warmup`` outside [0, total_steps),
            ``total_steps`` below 1, a negative step.

    Example:
        >>> schedule = Exponential(peak=1.0, total_steps=100, final=0.01)
        >>> [round(schedule(step), 4) for step in (0, 50, 99, 100)]
        [1.0, 0.1, 0.0105, 0.01]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "exponential:final=1%")``. Lightning:
        ``to_lightning``. Optax: as it is.

    Helps / does not help:
        Falls early: most of the run is spent at low rates, which costs on a short budget. As a short cool-down at the
        end of a long run it serves well (:class:`InfiniteLR`, :class:`WSD`).

    Relations:
        :class:`Decay` with ``shape=exponential``; :class:`StepDecay` is its staircase.

    Source:
        No paper. ``ExponentialLR`` of PyTorch with ``gamma``, and ``exponential_decay`` of Optax, checked against their
        sources. An end at 1 % is a rival in the comparisons of UBA (arXiv 2505.24452).
    """

    spec_name: ClassVar[str] = "exponential"

    peak: float
    total_steps: Steps
    final: Rate | None = None
    warmup: Steps = 0

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self, final=self.end)
        check_shape("Exponential", "exponential", self.end)

    @property
    def end(self) -> float:
        """The rate at the end."""
        return _FINAL_SHARE * self.peak if self.final is None else self.final

    @property
    def gamma(self) -> float:
        """The factor of one update after warm-up."""
        return float((self.end / self.peak) ** (1 / (self.total_steps - self.warmup)))

    def _rate(self, t: Any, xp: Any) -> Any:
        return move("exponential", self.peak, self.end, t / (self.total_steps - self.warmup), xp)
