"""UBA: one parameter from almost-constant through cosine to fast-early decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tutelage.durations import Rate, Steps
from tutelage.schedules._protocol import Schedule, check_common, require
from tutelage.schedules._shapes import between, half_wave, require_one_of


@dataclass(frozen=True, kw_only=True, repr=False)
class UBA(Schedule):
    """Unified budget-aware schedule: minimises the worst-case error over a range of curvatures for a known budget.

    One number, ``phi``, bends the curve: near 0 almost constant with a late drop, 2 is cosine exactly, large values
    fall early and keep a long low tail. Use it when the number of updates is fixed and one knob is worth tuning.

    **Formula**: with ``u = (step - warmup) / (total_steps - warmup)`` in [0, 1] and ``c(u) = 1 + cos(pi u)``::

        rate(u) = (peak - final) * 2 c(u) / (2 phi + (2 - phi) c(u)) + final

    Midpoint fraction ``2 / (2 + phi)``; mean fraction ``2 / (2 + sqrt(2 phi))`` (:meth:`area`).

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - 1``:
    ``final + (peak - final) * 2 * c / (2 * phi + (2 - phi) * c)`` with ``c = 1 - cos(pi / n)`` and
    ``n = total_steps - warmup``; ``total_steps``: ``final`` (an even number of ``phases`` ends at ``peak``).

    Args:
        peak: Highest rate, > 0.
        total_steps: Updates in the run, >= 1.
        phi: Shape, > 0. 2 (cosine) is the neutral default: the paper's per-optimizer advice could not be confirmed.
            Twice the condition number where that is known (:meth:`from_condition`).
        final: Rate at the end, in [0, peak].
        warmup: Updates of linear warm-up, counted inside the total.
        phases: Equal phases the horizon is cut into; odd phases fall, even ones rise, so an even number ends at
            ``peak``. 1 as in the paper's comparisons.
        sampling: ``"grid"`` evaluates at ``u = t / T``; ``"chebyshev"`` at ``(2 t + 1) / (2 T)``, the nodes at which
            the minimax derivation is exact.

    Returns:
        Rates in ``[final, peak]``, same shape as ``step``.

    Raises:
        ValueError: ``phi`` not finite or <= 0, ``final`` outside [0, peak], ``warmup`` outside [0, total_steps),
            ``total_steps`` or ``phases`` below 1, a negative step.

    Example:
        >>> schedule = UBA(peak=3e-3, total_steps=100, phi=5, final=3e-4)
        >>> [round(schedule(step), 8) for step in (0, 50, 99, 100)]
        [0.003, 0.00107143, 0.00030027, 0.0003]

    Use with:
        PyTorch: ``UBA(...).to_torch(optimizer)``. transformers, TRL: ``use_in_trainer(trainer, "uba:phi=5")``.
        Lightning: ``to_lightning``. Optax: pass the object as the schedule.

    Helps / does not help:
        The paper reports it best or tied at 25, 50 and 100 % of the usual budget. As cosine is a member, tuning
        ``phi`` cannot lose much; differences between decaying schedules are about 1 % on small models. ``phi`` changes
        the area under the curve, so compare at a re-tuned peak.

    Relations:
        Like :class:`Cosine`, which is ``phi=2``; small ``phi`` is close to WSD.

    Source:
        Stepsize anything: a unified learning rate schedule for budgeted-iteration training, 2025, arXiv 2505.24452,
        closed form of the min-max problem. The phase shift for ``phases > 1`` and ``from_condition`` (which
        reproduces the Chebyshev step sizes) are derived from it here.
    """

    spec_name: ClassVar[str] = "uba"

    peak: float
    total_steps: Steps
    phi: float = 2.0
    final: Rate = 0.0
    warmup: Steps = 0
    phases: int = 1
    sampling: Literal["grid", "chebyshev"] = "grid"

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self, final=self.final)
        require(math.isfinite(self.phi) and self.phi > 0, "UBA", "phi", "a finite number > 0", self.phi)
        require(self.phases >= 1, "UBA", "phases", ">= 1", self.phases)
        require_one_of("UBA", "sampling", self.sampling, ("grid", "chebyshev"))

    @classmethod
    def from_condition(cls, lowest: float, highest: float, total_steps: int) -> UBA:
        """Return the schedule that is minimax optimal for gradient descent on curvatures in ``[lowest, highest]``.

        ``phi = 2 highest / lowest``, rates from ``1 / lowest`` down to ``1 / highest`` at the Chebyshev nodes; the
        worst contraction over the range is ``1 / T_n((kappa + 1) / (kappa - 1))``.

        Args:
            lowest: Smallest curvature (eigenvalue of the Hessian), > 0.
            highest: Largest curvature, > ``lowest``.
            total_steps: Updates in the run.

        Raises:
            ValueError: Curvatures not finite, not positive or not in order.
        """
        require(math.isfinite(lowest) and lowest > 0, "UBA", "lowest", "a finite number > 0", lowest)
        require(
            math.isfinite(highest) and highest > lowest,
            "UBA",
            "highest",
            f"a finite number > lowest ({lowest})",
            highest,
        )
        return cls(
            peak=1 / lowest, final=1 / highest, phi=2 * highest / lowest, total_steps=total_steps, sampling="chebyshev"
        )

    def area(self) -> float:
        """Return the mean of ``(rate - final) / (peak - final)`` over a phase: ``2 / (2 + sqrt(2 phi))``."""
        return 2 / (2 + math.sqrt(2 * self.phi))

    def _rate(self, t: Any, xp: Any) -> Any:
        length = self.total_steps - self.warmup
        # Nodes exist for updates only; the end value stays `final` so that the end is exact in both samplings.
        u = t / length if self.sampling == "grid" else xp.where(t < length, (t + 0.5) / length, 1.0)
        # With c = 2 wave, 2 c / (2 phi + (2 - phi) c) is this, which is exactly 1 and 0 at the ends. The wave itself
        # goes on falling and rising beyond 1, which is what the phases do.
        wave = half_wave(u * self.phases, xp)
        return between(self.peak, self.final, wave / (wave + self.phi / 2.0 * (1.0 - wave)), xp)
