"""Polynomial: a power of what is left of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from tutelage.durations import Rate, Steps
from tutelage.schedules._protocol import Schedule, check_common, require
from tutelage.schedules._shapes import between


@dataclass(frozen=True, kw_only=True, repr=False)
class Polynomial(Schedule):
    """The rate follows a power of the share of the run that is left; the power bends the line.

    Below 1 the rate stays high and drops at the end, at 1 it is a line, above 1 it falls early.

    **Formula**: with ``u = (step - warmup) / n`` and ``n = total_steps - warmup``::

        rate(u) = final + (peak - final) (1 - u)^power

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - 1``:
    ``final + (peak - final) * n ** -power``; ``total_steps``: ``final``.

    Args:
        peak: Highest rate, > 0.
        total_steps: Updates in the run, >= 1.
        power: The exponent, > 0. It has no default that suits all: 0.9 is usual in segmentation.
        final: Rate at the end, in [0, peak].
        warmup: Updates of linear warm-up, counted inside the total.

    Returns:
        Rates in ``[final, peak]`` (less during warm-up), same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, ``power`` not finite or <= 0, ``final`` outside [0, peak], ``warmup``
            outside [0, total_steps), ``total_steps`` below 1, a negative step.

    Example:
        >>> schedule = Polynomial(peak=1.0, total_steps=100, power=2)
        >>> [round(schedule(step), 4) for step in (0, 50, 99, 100)]
        [1.0, 0.25, 0.0001, 0.0]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "polynomial:power=0.9")``. Lightning:
        ``to_lightning``. Optax: as it is.

    Helps / does not help:
        A mild bend of the line; the gain over :class:`Linear` is small wherever it was measured.

    Relations:
        ``power=1`` is :class:`Linear`; :class:`UBA` is another one-parameter bend, which holds cosine.

    Source:
        Liu, Rabinovich and Berg, ParseNet: looking wider to see better, 2015, arXiv 1506.04579, section 3 (the "poly"
        policy of Caffe). Checked against the sources of transformers and Optax.
    """

    spec_name: ClassVar[str] = "polynomial"

    peak: float
    total_steps: Steps
    power: float
    final: Rate = 0.0
    warmup: Steps = 0

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self, final=self.final)
        require(math.isfinite(self.power) and self.power > 0, "Polynomial", "power", "a finite number > 0", self.power)

    def _rate(self, t: Any, xp: Any) -> Any:
        length = self.total_steps - self.warmup
        # Not 1 - t / length, which a compiler may round to below 0, where most powers are no number.
        left = ((length - t) / length) ** self.power
        return between(self.peak, self.final, left, xp)
