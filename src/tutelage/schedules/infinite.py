"""InfiniteLR: cool down to a plateau that can be trained on for ever, and annealed whenever a model is wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tutelage.durations import Rate, RunFraction, Steps
from tutelage.schedules._protocol import Schedule, check_common, piecewise, require
from tutelage.schedules._shapes import Shape, between, half_wave, move, require_one_of

#: The paper's phases where the length of the run is known, and its lowest rate.
_WARMUP_SHARE = 0.01
_COOLDOWN_SHARE = 0.6
_ANNEAL_SHARE = 0.15
_FINAL_SHARE = 0.1


@dataclass(frozen=True, kw_only=True, repr=False)
class InfiniteLR(Schedule):
    """Warm-up, cool-down to a constant rate, and an anneal only when a finished model is wanted.

    Use it when more data will come: the next data set starts from the plateau, so nothing has to be re-warmed.

    **Formula**: with ``x = (step - warmup) / (cooldown_end - warmup)`` clipped to [0, 1]::

        step < warmup                      rate = peak step / warmup
        cool-down, cosine                  rate = constant + (peak - constant) (1 + cos(pi x)) / 2
        cool-down, inverse-sqrt            rate = peak + (constant - peak) h(x) / h(1),  h(x) = 1 / sqrt(1 + k x) - 1
        until the anneal                   rate = constant
        the last a updates                 rate = constant (final / constant)^(1 - (total_steps - step) / a)

    Warm-up is the paper's ``t / warmup``; ``k = steepness``; ``a = round(anneal total_steps)``.

    Values: ``0``: ``0 if warmup else peak``; ``warmup - 1``: ``peak * (warmup - 1) / warmup``; ``warmup``: ``peak``;
    ``cooldown_end``: ``plateau``; ``total_steps - a``: ``plateau``; ``total_steps - 1``:
    ``plateau * (floor / plateau) ** (1 - 1 / a)``; ``total_steps``: ``floor``, where ``plateau`` is ``constant`` or
    half of ``peak + floor``, and ``floor`` is ``final`` or ``peak / 10``.

    Args:
        peak: Highest rate, > 0.
        total_steps: Updates in the run, >= 1, or ``None`` for a run without an end, which is never annealed.
        cooldown_end: Update at which the plateau begins, > ``warmup``; 60 % of the run unless given. Needed for a run
            without an end.
        constant: Rate of the plateau, in (final, peak]; ``None`` for the mean of peak and final.
        final: Rate at the end of the anneal, > 0; ``None`` for a tenth of the peak.
        warmup: Updates of warm-up, counted inside the total; 1 % of the run unless given, 0 for one without an end.
        anneal: Fraction of the run that is annealed, in [0, 1); ``None`` for 0.15, or nothing without an end.
        kind: Shape of the cool-down.
        steepness: ``k`` of the inverse square root, > 0. 10, of a public port; the paper's value is not confirmed.

    Returns:
        Rates in ``[0, peak]``, same shape as ``step``.

    Raises:
        ValueError: ``constant`` outside (final, peak], ``final`` <= 0, phases not in order, an anneal or no
            ``cooldown_end`` without ``total_steps``, an unknown ``kind``, ``steepness`` not finite or <= 0, a negative
            step.

    Example:
        >>> schedule = InfiniteLR(peak=3e-4, total_steps=1000, cooldown_end=610)
        >>> [round(schedule(step), 8) for step in (5, 10, 310, 610, 850, 925, 1000)]
        [0.00015, 0.0003, 0.0002325, 0.000165, 0.000165, 7.036e-05, 3e-05]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "infinite:anneal=0.1")``. Lightning:
        ``to_lightning``. Optax: as it is. The next data set: :meth:`~Schedule.branch` at a checkpoint of the plateau,
        optimizer state kept.

    Helps / does not help:
        Equals cosine on one data set and has no spike in loss between data sets. At the end of a single run of known
        length it wins nothing.

    Relations:
        :class:`WSD` with a lower plateau than its peak; :class:`ReWarm` is what it replaces.

    Source:
        Ibrahim et al., Simple and scalable strategies to continually pre-train large language models, 2024, arXiv
        2403.08763, section 7. Both cool-downs, the exponential anneal and ``k = 10`` agree with a public port of the
        schedule; the shares of the phases are from memory of the paper.
    """

    spec_name: ClassVar[str] = "infinite"
    warmup_convention: ClassVar[Literal["next", "current"]] = "current"

    peak: float
    total_steps: Steps | None = None
    cooldown_end: Steps = None  # type: ignore[assignment]  # __post_init__ puts 60 % of the run
    constant: Rate | None = None
    final: Rate | None = None
    warmup: Steps = None  # type: ignore[assignment]  # __post_init__ puts 1 % of the run
    anneal: RunFraction | None = None
    kind: Literal["cosine", "inverse-sqrt"] = "cosine"
    steepness: float = 10.0

    def __post_init__(self) -> None:
        """Fill in the phases and check every argument."""
        if self.warmup is None:
            object.__setattr__(self, "warmup", round(_WARMUP_SHARE * (self.total_steps or 0)))
        if self.cooldown_end is None:
            if self.total_steps is None:
                raise ValueError(
                    "InfiniteLR: a run without total_steps must say where its plateau begins: cooldown_end."
                )
            object.__setattr__(self, "cooldown_end", max(self.warmup + 1, round(_COOLDOWN_SHARE * self.total_steps)))
        check_common(self, final=self.floor)
        require(self.floor > 0, "InfiniteLR", "final", "> 0, which the exponential anneal ends at", self.final)
        require(
            self.floor < self.plateau <= self.peak,
            "InfiniteLR",
            "constant",
            f"> final ({self.floor}) and <= peak ({self.peak})",
            self.constant,
        )
        require_one_of("InfiniteLR", "kind", self.kind, ("cosine", "inverse-sqrt"))
        require(
            math.isfinite(self.steepness) and self.steepness > 0,
            "InfiniteLR",
            "steepness",
            "a finite number > 0",
            self.steepness,
        )
        require(
            self.cooldown_end > self.warmup,
            "InfiniteLR",
            "cooldown_end",
            f"> warmup ({self.warmup})",
            self.cooldown_end,
        )
        require(self.anneal is None or 0 <= self.anneal < 1, "InfiniteLR", "anneal", ">= 0 and < 1", self.anneal)
        if self.total_steps is None:
            require(not self.anneal, "InfiniteLR", "anneal", "0 in a run without total_steps", self.anneal)
            return
        begins = self.total_steps - self.anneal_steps
        require(
            self.cooldown_end <= begins,
            "InfiniteLR",
            "cooldown_end",
            f"<= {begins}, where the anneal begins",
            self.cooldown_end,
        )

    @property
    def floor(self) -> float:
        """The rate at the end of the anneal."""
        return _FINAL_SHARE * self.peak if self.final is None else self.final

    @property
    def plateau(self) -> float:
        """The constant rate."""
        return (self.peak + self.floor) / 2 if self.constant is None else self.constant

    @property
    def plateau_ends(self) -> int | None:
        """Update at which the anneal begins, or ``None`` without one; the loop stores the state there."""
        return self.total_steps - self.anneal_steps if self.total_steps is not None and self.anneal_steps else None

    @property
    def anneal_steps(self) -> int:
        """Updates the anneal takes; 0 for none."""
        if self.total_steps is None:
            return 0
        return round((_ANNEAL_SHARE if self.anneal is None else self.anneal) * self.total_steps)

    def anneal_from(
        self, step: int, length: int, *, final: float | None = None, shape: Shape = "exponential"
    ) -> Schedule:
        """Return this schedule up to ``step``, then an anneal to ``final``, exponential as in the paper.

        Args:
            step: First update of the anneal, on the plateau.
            length: Updates the anneal takes.
            final: Rate at the end; this schedule's own unless given.
            shape: How the rate falls.

        Raises:
            ValueError: ``step`` lies before the end of the cool-down.
        """
        require(step >= self.cooldown_end, "InfiniteLR", "step", f">= cooldown_end ({self.cooldown_end})", step)
        return super().anneal_from(step, length, final=self.floor if final is None else final, shape=shape)

    def _rate(self, t: Any, xp: Any) -> Any:
        def cooldown(t: Any) -> Any:
            x = t / (self.cooldown_end - self.warmup)
            if self.kind == "cosine":
                left = half_wave(x, xp)
            else:
                deepest = 1.0 / math.sqrt(1.0 + self.steepness) - 1.0
                left = 1.0 - (1.0 / xp.sqrt(1.0 + self.steepness * x) - 1.0) / deepest
            return between(self.peak, self.plateau, left, xp)

        def tail(t: Any) -> Any:
            return move("exponential", self.plateau, self.floor, (t - begins) / length, xp)

        later = [(self.cooldown_end - self.warmup, lambda t: xp.full_like(t, self.plateau))]
        length = self.anneal_steps
        if self.total_steps is not None and length:
            begins = self.total_steps - self.warmup - length
            later.append((begins, tail))
        return piecewise(t, cooldown, later, xp)
