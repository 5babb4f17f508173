"""InverseSqrt: one over the square root of the update, for runs without an end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from tutelage.durations import Steps
from tutelage.schedules._protocol import Schedule, check_common, require

#: Timescale without a warm-up to take it from; that of transformers.
_TIMESCALE = 10_000


@dataclass(frozen=True, kw_only=True, repr=False)
class InverseSqrt(Schedule):
    """A fall like one over the square root of time; it needs no end, so a run can go on for as long as it pays.

    **Formula**: with ``tau = timescale``::

        rate = peak sqrt(tau / (step - warmup + tau))

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - 1``:
    ``peak * sqrt(tau / (n - 1 + tau))``; ``total_steps``: ``peak * sqrt(tau / (n + tau))``, with
    ``n = total_steps - warmup``.

    Args:
        peak: Highest rate, > 0.
        total_steps: Updates in the run, >= 1, or ``None`` for a run without an end; it only sets where the rate stops
            falling.
        warmup: Updates of linear warm-up, counted inside the total.
        timescale: Updates after warm-up until the rate has fallen to ``1 / sqrt(2)`` of the peak, >= 1; ``None`` for
            ``warmup`` (the Transformer's curve), or 10,000 without warm-up.

    Returns:
        Rates in ``(0, peak]``, same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, ``timescale`` below 1, ``warmup`` negative or not below
            ``total_steps``, a negative step.

    Example:
        >>> schedule = InverseSqrt(peak=1.0, warmup=100)
        >>> [round(schedule(step), 4) for step in (0, 99, 100, 200, 400, 10_000)]
        [0.01, 1.0, 1.0, 0.7071, 0.5, 0.1]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "inverse-sqrt:warmup=0.05")``. Lightning:
        ``to_lightning``. Optax: as it is. End it with :meth:`~Schedule.anneal_from`.

    Helps / does not help:
        Never has to be planned; without a decay at the end it stays above schedules that know their budget.

    Relations:
        :class:`PowerLR` falls nearly as fast (exponent -0.51) on a clock of tokens, with a peak that follows the batch.

    Source:
        Vaswani et al., Attention is all you need, 2017, arXiv 1706.03762, equation 3, with the peak as an argument.
        ``timescale`` as in ``get_inverse_sqrt_schedule`` of transformers, checked against its source.
    """

    spec_name: ClassVar[str] = "inverse-sqrt"

    peak: float
    total_steps: Steps | None = None
    warmup: Steps = 0
    timescale: Steps | None = None

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self)
        require(self.tau >= 1, "InverseSqrt", "timescale", ">= 1", self.timescale)

    @property
    def tau(self) -> int:
        """The timescale in use."""
        return (self.warmup or _TIMESCALE) if self.timescale is None else self.timescale

    def _rate(self, t: Any, xp: Any) -> Any:
        return self.peak * xp.sqrt(self.tau / (t + self.tau))
