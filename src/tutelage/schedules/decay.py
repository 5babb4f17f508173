"""Decay: the tail that any schedule can end with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tutelage.durations import Rate, Steps
from tutelage.schedules._protocol import Schedule, check_common
from tutelage.schedules._shapes import Shape, check_shape, move


@dataclass(frozen=True, kw_only=True, repr=False)
class Decay(Schedule):
    """One fall from ``peak`` to ``final`` with the shape as an argument: the cool-down behind another schedule.

    Use it as the last phase (``constant@0.8+decay:shape=1-sqrt``); :meth:`Schedule.anneal_from` makes one for you.

    **Formula**: with ``u = (step - warmup) / n`` and ``n = total_steps - warmup``::

        linear       rate(u) = final + (peak - final) (1 - u)
        cosine       rate(u) = final + (peak - final) (1 + cos(pi u)) / 2
        1-sqrt       rate(u) = final + (peak - final) (1 - sqrt(u))
        exponential  rate(u) = peak (final / peak)^u

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - 1``:
    ``final + (peak - final) / n``; ``total_steps``: ``final``. The last but one is that of the linear shape.

    Args:
        peak: Rate it starts from, > 0.
        total_steps: Updates it takes, >= 1.
        shape: How it falls. ``linear`` is the neutral default.
        final: Rate at the end, in [0, peak]; > 0 for ``exponential``.
        warmup: Updates of linear warm-up, counted inside the total.

    Returns:
        Rates in ``[final, peak]`` (less during warm-up), same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, an unknown ``shape``, ``final`` outside [0, peak] or 0 with
            ``exponential``, ``warmup`` outside [0, total_steps), ``total_steps`` below 1, a negative step.

    Example:
        >>> schedule = Decay(peak=1.0, total_steps=100, shape="1-sqrt")
        >>> [round(schedule(step), 4) for step in (0, 25, 49, 100)]
        [1.0, 0.5, 0.3, 0.0]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "constant@0.8+decay:shape=1-sqrt")``.
        Lightning: ``to_lightning``. Optax: as it is.

    Helps / does not help:
        A cool-down of 10 to 20 % of a run brings a constant rate to the loss of a full cosine (arXiv 2405.18392). By
        itself, over a whole run, take the named schedules.

    Relations:
        :class:`WSD` is a constant phase with this behind it; :class:`Linear`, :class:`Cosine` and
        :class:`Exponential` are its shapes by themselves.

    Source:
        Haegele et al., Scaling laws and compute-optimal training beyond fixed training durations, 2024, arXiv
        2405.18392, section 3 (shapes of the cool-down); the exponential one as in :class:`InfiniteLR` (arXiv
        2403.08763).
    """

    spec_name: ClassVar[str] = "decay"

    peak: float
    total_steps: Steps
    shape: Shape = "linear"
    final: Rate = 0.0
    warmup: Steps = 0

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self, final=self.final)
        check_shape("Decay", self.shape, self.final)

    def _rate(self, t: Any, xp: Any) -> Any:
        return move(self.shape, self.peak, self.final, t / (self.total_steps - self.warmup), xp)
