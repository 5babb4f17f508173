"""WSD: warm-up, a long stable phase, and a decay at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tutelage.durations import Rate, RunFraction, Steps
from tutelage.schedules._protocol import Schedule, check_common, piecewise, require
from tutelage.schedules._shapes import Shape, check_shape, move


@dataclass(frozen=True, kw_only=True, repr=False)
class WSD(Schedule):
    """Warm-up, stable, decay: a constant rate for most of the run, then a short cool-down.

    Use it when the length may change: any checkpoint of the stable phase can be annealed, or trained further.

    **Formula**: with ``d = max(1, round(decay total_steps))`` updates of decay and
    ``u = (step - (total_steps - d)) / d`` clipped to [0, 1]::

        rate(u) = final + (peak - final) g(u),   g(u) = 1 - sqrt(u) | 1 - u | (1 + cos(pi u)) / 2

    or ``peak (final / peak)^u`` for ``exponential``.

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - d``:
    ``peak``; ``total_steps - 1``: ``final + (peak - final) * (1 - sqrt(1 - 1 / d))``; ``total_steps``: ``final``.

    Args:
        peak: Highest rate, > 0.
        total_steps: Updates in the run, >= 1.
        decay: Fraction of the run the decay takes, in (0, 1], rounded to whole updates, at least one. 0.1 is
            MiniCPM's.
        shape: How it falls. ``1-sqrt`` fell lowest among the shapes in arXiv 2405.18392.
        final: Rate at the end, in [0, peak]; > 0 for ``exponential``.
        warmup: Updates of linear warm-up, counted inside the total.

    Returns:
        Rates in ``[final, peak]`` (less during warm-up), same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, ``decay`` outside (0, 1], warm-up and decay longer than the run, an
            unknown ``shape``, ``final`` outside [0, peak] or 0 with ``exponential``, ``total_steps`` below 1, a
            negative step.

    Example:
        >>> schedule = WSD(peak=1.0, total_steps=100, decay=0.2)
        >>> [round(schedule(step), 4) for step in (0, 80, 85, 99, 100)]
        [1.0, 1.0, 0.5, 0.0253, 0.0]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "wsd:decay=0.2,warmup=0.01")``. Lightning:
        ``to_lightning``. Optax: as it is.

    Helps / does not help:
        Matches a cosine of the same length at 10 to 20 % decay (arXiv 2404.06395, 2405.18392) and saves the runs that
        a cosine of every length would need. Before the decay its loss looks worse than it is.

    Relations:
        :class:`Constant` and :class:`Decay` as one; :class:`PowerLR` lets the stable phase fall with the tokens seen;
        :class:`InfiniteLR` cools down to a lower plateau first.

    Source:
        Hu et al., MiniCPM, 2024, arXiv 2404.06395, section 4 (the schedule, 10 % decay); Haegele et al., 2024, arXiv
        2405.18392 (the shapes). ``get_wsd_schedule`` of transformers, checked against its source.
    """

    spec_name: ClassVar[str] = "wsd"

    peak: float
    total_steps: Steps
    decay: RunFraction = 0.1
    shape: Shape = "1-sqrt"
    final: Rate = 0.0
    warmup: Steps = 0

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self, final=self.final)
        check_shape("WSD", self.shape, self.final)
        require(0 < self.decay <= 1, "WSD", "decay", "> 0 and <= 1", self.decay)
        require(
            self.warmup + self.decay_steps <= self.total_steps,
            "WSD",
            "decay",
            f"short enough to leave room for warm-up ({self.warmup} of {self.total_steps} updates)",
            self.decay,
        )

    @property
    def decay_steps(self) -> int:
        """Updates the decay takes."""
        return max(1, round(self.decay * self.total_steps))

    @property
    def plateau_ends(self) -> int:
        """Update at which the decay begins; the loop stores the state there."""
        return self.total_steps - self.decay_steps

    def _rate(self, t: Any, xp: Any) -> Any:
        begins = self.total_steps - self.warmup - self.decay_steps

        def tail(t: Any) -> Any:
            return move(self.shape, self.peak, self.final, (t - begins) / self.decay_steps, xp)

        return piecewise(t, lambda t: xp.full_like(t, self.peak), [(begins, tail)], xp)
