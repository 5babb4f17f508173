"""PowerLR: a rate that follows the tokens seen and the batch, not the planned length."""

from __future__ import annotations

import dataclasses
import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from tutelage.durations import Rate, RunFraction, Steps
from tutelage.schedules._protocol import Schedule, check_common, piecewise, require
from tutelage.schedules._shapes import Shape, check_shape, move

#: The paper's training context: its batch sizes count sequences of this many tokens.
PAPER_CONTEXT = 4096


@dataclass(frozen=True, kw_only=True, repr=False)
class PowerLR(Schedule):
    """The best rate of a warm-up, stable, decay run, as a power of the tokens seen: no planned length needed.

    One pair of constants serves any batch size and any number of tokens, so a run can go on, or its batch change,
    without a new search. Print the rate at a few points before you believe the constants (below).

    **Formula**: with ``n`` the tokens seen, ``beta`` the batch in sequences, ``W`` tokens of warm-up, the last ``D`` of
    ``N`` tokens a decay, and ``g`` falling from 1 to 0::

        power(n) = min(peak, a beta n^b)
        rate(n)  = (n / W) power(W)                                   n < W
                 = power(n)                                           W <= n <= N - D, or for ever
                 = final + (power(N - D) - final) g((n - (N - D)) / D)    n > N - D

    At update ``step``, ``n = step tokens_per_step``. Warm-up is the paper's ``n / W``: update 0 uses rate 0, update
    ``warmup`` the power.

    Values: ``0``: ``0 if warmup else peak``; ``warmup - 1``:
    ``power(warmup * tokens_per_step) * (warmup - 1) / warmup``; ``warmup``: ``power(warmup * tokens_per_step)``;
    ``total_steps - 1``: ``power((total_steps - 1) * tokens_per_step)``; ``total_steps``:
    ``power(total_steps * tokens_per_step)``, or ``final`` with a decay.

    Args:
        peak: Cap of the rate, > 0. 0.02, the paper's, is in base units of muP.
        tokens_per_step: Tokens of one update over all processes, > 0.
        total_steps: Updates in the run, >= 1, or ``None`` for a run without an end.
        batch: Sequences of one update, > 0; ``None`` for ``tokens_per_step / 4096``, so that the rate depends on tokens
            alone whatever the context length.
        a: Amplitude, > 0.
        b: Exponent of the tokens, < 0.
        decay: Fraction of the run that is decayed, in [0, 1), rounded to whole updates; needs ``total_steps``. The
            paper's models used 10 to 20 %.
        shape: How the decay falls; the paper compares ``linear`` and ``exponential``.
        final: Rate at the end of the decay, >= 0 and not above the rate it starts from; > 0 for ``exponential``.
        warmup: Updates of warm-up, counted inside the total.

    Returns:
        Rates in ``[0, peak]``, same shape as ``step``.

    Raises:
        ValueError: ``b`` not < 0, ``a``, ``batch`` or ``tokens_per_step`` not > 0, a decay without ``total_steps`` or
            longer than what warm-up leaves, ``final`` above the start of the decay, an unknown ``shape``, a negative
            step.

    Warns:
        UserWarning: The cap holds for more than half of the run, which is then a constant rate. Raise ``peak`` or fit
            ``a`` (:func:`fit_power`); silence it with ``warnings.filterwarnings("ignore", message="PowerLR")``.

    Example:
        >>> schedule = PowerLR(batch=32, tokens_per_step=1e6, warmup=100, total_steps=1000, decay=0.1)
        >>> [round(schedule(step), 7) for step in (0, 50, 100, 500, 900, 950, 1000)]
        [0.0, 0.0053233, 0.0106466, 0.0046853, 0.0034717, 0.0017359, 0.0]

    Use with:
        PyTorch: ``to_torch``, with :func:`mup_groups` for the widths. transformers, TRL:
        ``use_in_trainer(trainer, "power:peak=0.02,tokens_per_step=65536")``. Lightning: ``to_lightning``. Optax: as it
        is. In :func:`~tutelage.train` the tokens of an update come from the workload.

    Helps / does not help:
        Continuing beyond a planned end, or changing the batch, without tuning again. The constants are in base units of
        muP: without it, or on very small models, fit them. At tiny batches the best rate grows more slowly than the
        batch.

    Relations:
        :class:`WSD` with a stable phase that falls; :class:`InverseSqrt` (exponent -0.5) with a peak from the batch.

    Source:
        Shen et al., Power scheduler: a batch size and token number agnostic learning rate scheduler, 2024, arXiv
        2408.13359. The power, its cap and the warm-up to its value agree with the authors' code (``PowerScheduler`` of
        IBM/dolomite-engine, now open-lm-engine/lm-engine), which takes tokens per update, one amplitude for ``a batch``
        (its settings name the batch size, without a factor 4) and the optimizer's rate as the cap; it has no decay, and
        without warm-up no value at update 0, where ours is the cap. ``a = 4``, the cap 0.02 and the linear decay were
        compared with a public port only, the paper's fit (``a = 4.6``) and its choice of decays with neither. ``batch``
        in sequences of 4,096 tokens is our reading for other contexts.
    """

    spec_name: ClassVar[str] = "power"
    warmup_convention: ClassVar[Literal["next", "current"]] = "current"

    peak: float = 0.02
    tokens_per_step: float
    total_steps: Steps | None = None
    batch: float | None = None
    a: float = 4.0
    b: float = -0.51
    decay: RunFraction = 0.0
    shape: Shape = "linear"
    final: Rate = 0.0
    warmup: Steps = 0

    def __post_init__(self) -> None:
        """Check every argument, and warn where the cap makes the schedule a constant."""
        check_common(self, final=self.final)
        for argument in ("tokens_per_step", "sequences", "a"):
            value = getattr(self, argument)
            name = argument if argument != "sequences" else "batch"
            require(math.isfinite(value) and value > 0, "PowerLR", name, "a finite number > 0", value)
        require(math.isfinite(self.b) and self.b < 0, "PowerLR", "b", "a finite number < 0", self.b)
        require(0 <= self.decay < 1, "PowerLR", "decay", ">= 0 and < 1", self.decay)
        if self.total_steps is None:
            require(self.decay == 0, "PowerLR", "decay", "0 in a run without total_steps", self.decay)
            return
        fits = self.warmup + self.decay_steps <= self.total_steps
        require(fits, "PowerLR", "decay", f"short enough to leave room for warm-up ({self.warmup} updates)", self.decay)
        if self.decay_steps:
            check_shape("PowerLR", self.shape, self.final)
            begins = self.power((self.total_steps - self.decay_steps) * self.tokens_per_step)
            require(self.final <= begins, "PowerLR", "final", f"<= {begins:.6g}, the start of the decay", self.final)
        share = self.capped_fraction
        if share > 0.5:
            warnings.warn(
                f"PowerLR: the cap peak={self.peak:g} holds for {share:.0%} of the run, so it is a constant; raise "
                f"peak (0.02 is the paper's) or lower a={self.a:g} (fit_power). Silence: "
                'warnings.filterwarnings("ignore", message="PowerLR").',
                UserWarning,
                stacklevel=4,
            )

    @property
    def sequences(self) -> float:
        """The batch in sequences."""
        return self.tokens_per_step / PAPER_CONTEXT if self.batch is None else self.batch

    @property
    def cap_tokens(self) -> float:
        """Tokens after which the cap is left: ``(peak / (a beta))^(1 / b)``."""
        # Kept within what a float can hold: an exponent near 0 leaves the cap never, or at once.
        power = (math.log(self.peak) - math.log(self.a) - math.log(self.sequences)) / self.b
        return math.exp(min(max(power, -690.0), 690.0))

    @property
    def capped_fraction(self) -> float:
        """Fraction of the run, between warm-up and decay, in which the cap holds; 0 for a run without an end."""
        if self.total_steps is None:
            return 0.0
        stable = min(self.cap_tokens / self.tokens_per_step, self.total_steps - self.decay_steps) - self.warmup
        return max(0.0, stable / self.total_steps)

    @property
    def decay_steps(self) -> int:
        """Updates the decay takes; 0 for none."""
        return 0 if self.total_steps is None else round(self.decay * self.total_steps)

    def power(self, tokens: float) -> float:
        """Return ``min(peak, a beta tokens^b)``, the rate without warm-up and decay.

        Raises:
            ValueError: ``tokens`` below 0.
        """
        require(tokens >= 0, "PowerLR", "tokens", ">= 0", tokens)
        return float(self._power(np.atleast_1d(np.float64(tokens)), np)[0])

    def at_tokens(self, tokens: float) -> float:
        """Return the rate after ``tokens`` tokens."""
        return self(tokens / self.tokens_per_step)

    def decay_from(self, tokens: float, length: float, *, final: float = 0.0, shape: Shape = "linear") -> PowerLR:
        """Return this schedule with a decay of ``length`` tokens that begins after ``tokens`` tokens.

        A branch from any checkpoint: up to there both schedules are equal.

        Args:
            tokens: Tokens at which the decay begins, rounded to whole updates; not before the end of warm-up.
            length: Tokens the decay takes, rounded to whole updates, at least one.
            final: Rate at the end.
            shape: How it falls.

        Raises:
            ValueError: The decay would begin within warm-up, or take no update.
        """
        begins, steps = round(tokens / self.tokens_per_step), round(length / self.tokens_per_step)
        least = self.warmup * self.tokens_per_step
        require(begins >= max(self.warmup, 1), "PowerLR", "tokens", f">= the end of warm-up ({least:g})", tokens)
        require(steps >= 1, "PowerLR", "length", f"at least one update ({self.tokens_per_step:g} tokens)", length)
        total = begins + steps
        return dataclasses.replace(self, total_steps=total, decay=steps / total, final=final, shape=shape)

    def area(self) -> float:
        """Return the mean of ``rate / peak`` over the run, as an integral over its tokens.

        Raises:
            ValueError: The run has no end.
        """
        if self.total_steps is None:
            raise ValueError("PowerLR: a run without total_steps has no area.")
        total = float(self.total_steps)
        begins = total - self.decay_steps
        warm, cap = float(self.warmup), min(max(self.cap_tokens / self.tokens_per_step, self.warmup), begins)
        area = warm * self.power(warm * self.tokens_per_step) / 2 + (cap - warm) * self.peak
        if begins > cap:
            factor = self.a * self.sequences * self.tokens_per_step**self.b
            exponent = self.b + 1
            antiderivative = math.log if exponent == 0 else lambda x: x**exponent / exponent
            area += factor * (antiderivative(begins) - antiderivative(cap))
        if self.decay_steps:
            high = self.power(begins * self.tokens_per_step)
            area += self.decay_steps * _mean_of_decay(self.shape, high, self.final)
        return area / (total * self.peak)

    def _power(self, tokens: Any, xp: Any) -> Any:
        # Half of the tokens at which the cap is left still lie under the cap, and keep 0 out of the power.
        seen = xp.maximum(tokens, self.cap_tokens / 2)
        return xp.minimum(self.a * self.sequences * seen**self.b, self.peak)

    def _rate(self, t: Any, xp: Any) -> Any:
        def stable(step: Any) -> Any:
            return self._power(step * self.tokens_per_step, xp)

        def tail(step: Any) -> Any:
            high = self.power(begins * self.tokens_per_step)
            return move(self.shape, high, self.final, (step - begins) / length, xp)

        length = self.decay_steps
        if self.total_steps is None or not length:
            return stable(t + self.warmup)
        begins = self.total_steps - length
        return piecewise(t + self.warmup, stable, [(begins, tail)], xp)


def _mean_of_decay(shape: Shape, high: float, low: float) -> float:
    """Return the mean rate of a decay from ``high`` to ``low``."""
    if shape == "exponential":
        return high if high == low else (low - high) / math.log(low / high)
    return low + (high - low) * {"linear": 1 / 2, "cosine": 1 / 2, "1-sqrt": 1 / 3}[shape]
