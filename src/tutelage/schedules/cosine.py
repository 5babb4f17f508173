"""Cosine: half a wave from the peak to the end, or more of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from tutelage.durations import Rate, Steps
from tutelage.schedules._protocol import Schedule, check_common, require
from tutelage.schedules._shapes import between, half_wave


@dataclass(frozen=True, kw_only=True, repr=False)
class Cosine(Schedule):
    """Half a cosine wave from ``peak`` to ``final``: slow, fast, slow. The common practice to compare others with.

    **Formula**: with ``u = (step - warmup) / n`` and ``n = total_steps - warmup``::

        rate(u) = final + (peak - final) (1 + cos(2 pi cycles u)) / 2

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - 1``:
    ``final + (peak - final) * (1 + cos(2 * pi * cycles * (1 - 1 / n))) / 2``; ``total_steps``:
    ``final + (peak - final) * (1 + cos(2 * pi * cycles)) / 2``, which is ``final`` at the default of half a cycle.

    Args:
        peak: Highest rate, > 0.
        total_steps: Updates in the run, >= 1.
        final: Lowest rate, in [0, peak].
        warmup: Updates of linear warm-up, counted inside the total.
        cycles: Waves over the run, > 0. 0.5, the paper's, falls once; less stops before ``final`` is reached, more
            rises again, smoothly.

    Returns:
        Rates in ``[final, peak]`` (less during warm-up), same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, ``final`` outside [0, peak], ``warmup`` outside [0, total_steps),
            ``cycles`` not finite or <= 0, ``total_steps`` below 1, a negative step.

    Example:
        >>> schedule = Cosine(peak=1.0, total_steps=100, warmup=10)
        >>> [round(schedule(step), 4) for step in (0, 9, 10, 55, 99, 100)]
        [0.1, 1.0, 1.0, 0.5, 0.0003, 0.0]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "cosine:final=10%")``. Lightning:
        ``to_lightning``. Optax: as it is. With restarts: ``cosine@0.5+cosine``.

    Helps / does not help:
        Good where the run ends exactly at ``total_steps``; stopped earlier, or set too long, it loses against schedules
        that decay late (arXiv 2203.15556, appendix B).

    Relations:
        :class:`UBA` with ``phi=2``; :class:`Decay` with ``shape=cosine``; :class:`ReWarm` for a further data set.

    Source:
        Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2016, arXiv 1608.03983, equation 5,
        without the restarts. ``cycles`` is ``num_cycles`` of transformers, checked against its source.
    """

    spec_name: ClassVar[str] = "cosine"

    peak: float
    total_steps: Steps
    final: Rate = 0.0
    warmup: Steps = 0
    cycles: float = 0.5

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self, final=self.final)
        require(math.isfinite(self.cycles) and self.cycles > 0, "Cosine", "cycles", "a finite number > 0", self.cycles)

    def _rate(self, t: Any, xp: Any) -> Any:
        progress = t / (self.total_steps - self.warmup)
        return between(self.peak, self.final, half_wave(2.0 * self.cycles * progress, xp), xp)
