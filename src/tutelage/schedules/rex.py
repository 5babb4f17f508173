"""REX: high for long, then quickly down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tutelage.durations import Rate, Steps
from tutelage.schedules._protocol import Schedule, check_common
from tutelage.schedules._shapes import between


@dataclass(frozen=True, kw_only=True, repr=False)
class REX(Schedule):
    """Reflected exponential: stays above the line and drops near the end; made for budgets of any size.

    **Formula**: with ``u = (step - warmup) / n`` and ``n = total_steps - warmup``::

        rate(u) = final + (peak - final) (1 - u) / (1 - u / 2)

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - 1``:
    ``final + (peak - final) * 2 / (n + 1)``; ``total_steps``: ``final``.

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
        >>> schedule = REX(peak=1.0, total_steps=100)
        >>> [round(schedule(step), 4) for step in (0, 50, 99, 100)]
        [1.0, 0.6667, 0.0198, 0.0]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "rex")``. Lightning: ``to_lightning``.
        Optax: as it is.

    Helps / does not help:
        Its paper reports the best average rank over budgets from 1 to 100 % of the usual length; the gap to linear and
        cosine is small at full budget.

    Relations:
        Between :class:`Linear` and :class:`WSD`. The same midpoint, 2/3, as :class:`UBA` with ``phi=1``, which lands
        more softly.

    Source:
        Chen, Wolfe and Kyrillidis, REX: revisiting budgeted training with an improved schedule, 2021, arXiv 2107.04197,
        section 4; a rival in the comparisons of UBA (arXiv 2505.24452).
    """

    spec_name: ClassVar[str] = "rex"

    peak: float
    total_steps: Steps
    final: Rate = 0.0
    warmup: Steps = 0

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self, final=self.final)

    def _rate(self, t: Any, xp: Any) -> Any:
        progress = t / (self.total_steps - self.warmup)
        return between(self.peak, self.final, (1.0 - progress) / (1.0 - progress / 2.0), xp)
