"""PowerLR: a rate that follows the tokens seen and the batch, not the planned length."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from tutelage.durations import Rate, RunFraction, Steps
from tutelage.schedules._protocol import Schedule, check_common, piecewise, require
from tutelage.schedules._shapes import Shape, check_shape, move

#: The paper's training context: its batch sizes count sequences of this many tokens.
_CONTEXT = 4096


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
        2408.13359, section 3. The power with its cap and the warm-up to its value were checked against the authors'
        code (``PowerScheduler`` of IBM/dolomite-engine, which has no decay and takes ``a`` times the batch); the decay
        is the paper's. ``batch`` in sequences of 4,096 tokens is our reading for other contexts.
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
        self._warn_if_capped(self.total_steps)

    def _warn_if_capped(self, total_steps: int) -> None:
        stable = min(self.cap_tokens / self.tokens_per_step, total_steps - self.decay_steps) - self.warmup
        share = stable / total_steps
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
        return self.tokens_per_step / _CONTEXT if self.batch is None else self.batch

    @property
    def cap_tokens(self) -> float:
        """Tokens after which the cap is left: ``(peak / (a beta))^(1 / b)``."""
        return float((self.peak / (self.a * self.sequences)) ** (1 / self.b))

    @property
    def decay_steps(self) -> int:
        """Updates the decay takes; 0 for none."""
        return 0 if self.total_steps is None else round(self.decay * self.total_steps)

    def power(self, tokens: float) -> float:
        """Return ``min(peak, a beta tokens^b)``, the rate without warm-up and decay."""
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


def recommend(batch: float, tokens: float, *, a: float = 4.0, b: float = -0.51, peak: float = math.inf) -> float:
    """Return the power law's best rate for a run of ``tokens`` tokens: ``min(peak, a batch tokens^b)``.

    Args:
        batch: Sequences of one update, > 0.
        tokens: Tokens of the run, > 0.
        a: Amplitude, > 0.
        b: Exponent, < 0.
        peak: Cap.

    Raises:
        ValueError: An argument out of range.

    Example:
        >>> round(recommend(128, 1e9), 9)
        0.013160426
    """
    for argument, value in (("batch", batch), ("tokens", tokens), ("a", a), ("peak", peak)):
        require(value > 0, "recommend", argument, "> 0", value)
    require(b < 0, "recommend", "b", "< 0", b)
    return float(min(peak, a * batch * tokens**b))


@dataclass(frozen=True)
class PowerFit:
    """What :func:`fit_power` found.

    Args:
        a: Amplitude.
        b: Exponent of the tokens.
        r2: Share of the variance of ``log(rate / batch)`` explained.
        a_interval: Confidence interval of ``a``.
        b_interval: Confidence interval of ``b``.
        batch_exponent: Exponent of the batch where it is fitted too; the law says 1. ``None`` with one batch size, or
            too few rows to fit it.
        confidence: Level of the intervals.
        rows: Runs fitted.
    """

    a: float
    b: float
    r2: float
    a_interval: tuple[float, float]
    b_interval: tuple[float, float]
    batch_exponent: float | None
    confidence: float
    rows: int

    def recommend(self, batch: float, tokens: float) -> float:
        """Return the best rate for ``batch`` sequences an update and ``tokens`` tokens, ``a batch tokens^b``."""
        return recommend(batch, tokens, a=self.a, b=self.b)


def fit_power(table: Iterable[tuple[float, float, float]], *, confidence: float = 0.9) -> PowerFit:
    """Fit ``best rate = a batch tokens^b`` to runs of your own model, by least squares on ``log(rate / batch)``.

    Args:
        table: Rows ``(batch, tokens, best_rate)``: sequences of an update, tokens of the run, and the rate that ended
            lowest, from a grid of rates (a factor of sqrt(2) apart in the paper). At least three rows and two numbers
            of tokens.
        confidence: Level of the intervals, in (0, 1).

    Raises:
        ValueError: Too few rows, one number of tokens only, or a number that is not finite and > 0 (names the row).

    Example:
        >>> fit = fit_power([(b, n, 4.0 * b * n**-0.51) for b in (8, 32) for n in (1e6, 1e7, 1e8)])
        >>> round(fit.a, 6), round(fit.b, 6), round(fit.r2, 6), round(fit.batch_exponent, 6)
        (4.0, -0.51, 1.0, 1.0)

    Source:
        Shen et al., 2024, arXiv 2408.13359, section 3 (regression of the best rate of WSD runs).
    """
    from scipy import stats

    require(0 < confidence < 1, "fit_power", "confidence", "> 0 and < 1", confidence)
    rows = np.asarray(list(table), dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != 3 or len(rows) < 3:
        raise ValueError(
            f"fit_power: table must be 3 or more rows of (batch, tokens, best_rate), got shape {rows.shape}."
        )
    bad = np.flatnonzero(~(np.isfinite(rows) & (rows > 0)).all(axis=1))
    if bad.size:
        raise ValueError(f"fit_power: row {bad[0]} must hold finite numbers > 0, got {rows[bad[0]].tolist()}.")
    batch, tokens, rate = np.log(rows).T
    if np.ptp(tokens) == 0:
        raise ValueError("fit_power: table must hold at least two numbers of tokens, got one.")
    line = stats.linregress(tokens, rate - batch)
    reach = float(stats.t.ppf((1 + confidence) / 2, len(rows) - 2))
    both = np.column_stack([np.ones_like(batch), batch, tokens])
    apart = np.linalg.matrix_rank(both) == 3
    exponent = float(np.linalg.lstsq(both, rate, rcond=None)[0][1]) if apart else None
    low, high = (float(np.exp(line.intercept + sign * reach * line.intercept_stderr)) for sign in (-1, 1))
    return PowerFit(
        a=float(np.exp(line.intercept)),
        b=float(line.slope),
        r2=float(line.rvalue**2),
        a_interval=(low, high),
        b_interval=(float(line.slope - reach * line.stderr), float(line.slope + reach * line.stderr)),
        batch_exponent=exponent,
        confidence=confidence,
        rows=len(rows),
    )
