"""The steps by which Kaplan's constants are estimated: points of runs, critical batches, one regression a pair."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tutelage.forecast._huber import minimise_huber
from tutelage.forecast._scaling import LEAST_SQUARES, fit_powers, positive
from tutelage.forecast.curve import Floats

#: Losses at which the critical batch is read off.
LEVELS = 12
#: Share of a loss by which it must exceed that of an endless run to say how fast the gap closes.
LEAST_EXCESS = 0.01


@dataclass(frozen=True, eq=False, kw_only=True)
class ScalingRun:
    """One run of one model size: what scaling laws are fitted to.

    Args:
        N: Parameters, without those of embeddings, > 0.
        B: Tokens of one update, > 0.
        steps: Updates made when each loss was measured, shape ``(points,)``, rising, >= 1.
        losses: Loss at those steps, in nats a token on text that was not trained on, shape ``(points,)``, > 0.
        warmup: Updates of warm-up; losses of these are not used.
        embeddings: Parameters of embeddings that ``N`` still counts; they are taken off.
        name: What the run is called in messages.

    Raises:
        ValueError: A number out of range, shapes that differ, or steps that do not rise; names the run and the place.

    Example:
        >>> run = ScalingRun(N=1.2e6, embeddings=2e5, B=8192, steps=[100, 200], losses=[4.1, 3.6])
        >>> run.size, run.tokens
        (1000000.0, 1638400.0)
    """

    N: float
    B: float
    steps: NDArray[np.int64]
    losses: Floats
    warmup: int = 0
    embeddings: float = 0.0
    name: str = "run"

    def __post_init__(self) -> None:
        """Check the run; lists become arrays."""
        for argument in ("N", "B"):
            positive(getattr(self, argument), of=self.name, argument=argument)
        if not 0 <= self.embeddings < self.N:
            raise ValueError(
                f"{self.name}: embeddings must be >= 0 and below N ({self.N:g}), got {self.embeddings:g}; were they "
                "taken off N already?"
            )
        steps, losses = np.asarray(self.steps, dtype=np.int64), np.asarray(self.losses, dtype=np.float64)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "losses", losses)
        if steps.ndim != 1 or steps.shape != losses.shape or not len(steps):
            raise ValueError(
                f"{self.name}: steps and losses must be two series of one length, got shapes {steps.shape} and "
                f"{losses.shape}."
            )
        later = np.flatnonzero(np.diff(steps) <= 0)
        if len(later) or steps[0] < 1:
            place = int(later[0]) + 1 if len(later) else 0
            raise ValueError(f"{self.name}: steps must rise from 1 on, got {steps[place]} at place {place}.")
        wrong = np.flatnonzero(~((losses > 0) & np.isfinite(losses)))
        if len(wrong):
            at = wrong[0]
            raise ValueError(f"{self.name}: losses must be finite and > 0, got {losses[at]} at step {steps[at]}.")
        if self.warmup < 0:
            raise ValueError(f"{self.name}: warmup must be >= 0, got {self.warmup}.")

    @property
    def size(self) -> float:
        """Parameters without embeddings."""
        return self.N - self.embeddings

    @property
    def tokens(self) -> float:
        """Tokens up to the last loss."""
        return float(self.B * self.steps[-1])


@dataclass(frozen=True, eq=False)
class Points:
    """The points of all runs, in logarithms, one run after the other; each of shape ``(points,)``.

    Args:
        size: Parameters without embeddings.
        batch: Tokens of an update.
        steps: Updates.
        losses: Losses.
        run: The run of each point, counted from 0.
    """

    size: Floats
    batch: Floats
    steps: Floats
    losses: Floats
    run: NDArray[np.int64]

    def of(self, run: int) -> NDArray[np.bool_]:
        """Return which points are those of a run."""
        found: NDArray[np.bool_] = self.run == run
        return found


def points_of(runs: Sequence[ScalingRun], *, skip: float, bins: int, tolerance: float) -> Points:
    """Return the points after warm-up and after the first ``skip`` of each run, joined to at most ``bins`` a run.

    The bins are even in ``log(step)``, and a point is the mean of both logarithms, so that noise averages out and a
    run that logs every update counts no more than one that logs a few.

    Raises:
        ValueError: A run has fewer than 3 points left, or a loss that rises again by more than ``tolerance``.
    """
    columns: list[tuple[Floats, Floats]] = []
    for run in runs:
        late = run.steps > max(run.warmup, skip * run.steps[-1])
        steps, losses = np.log(run.steps[late]), np.log(run.losses[late])
        if len(steps) < 3:
            raise ValueError(
                f"{run.name}: must have 3 or more losses after the warm-up and the first {skip:.0%} of its updates, "
                f"got {len(steps)} of {len(run.steps)}.".replace("%", " %")
            )
        place = np.floor((steps - steps[0]) / (steps[-1] - steps[0]) * (bins - 1e-9))
        starts = np.flatnonzero(np.diff(place, prepend=-1.0))
        counts = np.diff(np.append(starts, len(steps)))
        joined = np.add.reduceat(steps, starts) / counts, np.add.reduceat(losses, starts) / counts
        _check_fall(run, *joined, tolerance=tolerance)
        columns.append(joined)
    lengths = [len(steps) for steps, _ in columns]
    return Points(
        size=np.repeat(np.log([run.size for run in runs]), lengths),
        batch=np.repeat(np.log([run.B for run in runs]), lengths),
        steps=np.concatenate([steps for steps, _ in columns]),
        losses=np.concatenate([losses for _, losses in columns]),
        run=np.repeat(np.arange(len(runs)), lengths),
    )


def _check_fall(run: ScalingRun, steps: Floats, losses: Floats, *, tolerance: float) -> None:
    # The median of five is deaf to the noise of one point.
    padded = np.pad(losses, 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    rise = smooth - np.minimum.accumulate(smooth)
    if rise.max() > math.log1p(tolerance):
        worst = int(rise.argmax())
        lowest = int(smooth[: worst + 1].argmin())
        raise ValueError(
            f"{run.name}: the loss must not rise again by more than {tolerance:.0%} (tolerance), got ".replace(
                "%", " %"
            )
            + f"{math.exp(smooth[lowest]):.4g} at step {math.exp(steps[lowest]):.0f} and {math.exp(smooth[worst]):.4g} "
            f"at step {math.exp(steps[worst]):.0f}; end the run at its lowest loss."
        )


@dataclass(frozen=True)
class CriticalBatch:
    """What runs at several batch sizes say about one loss of one model size.

    Args:
        size: Parameters.
        loss: The loss, in nats.
        batch: Tokens of the critical batch there.
        min_steps: Updates to reach the loss at an endless batch.
        min_tokens: Tokens to reach it at the smallest batch.
        error: Standard error of ``log(batch)``, for errors of 1 in the logarithms of updates.
    """

    size: float
    loss: float
    batch: float
    min_steps: float
    min_tokens: float
    error: float


def critical_batches(points: Points, runs: Sequence[ScalingRun]) -> list[CriticalBatch]:
    """Return the critical batch at several losses, for every size that has runs at 3 or more batch sizes.

    At one loss ``(S/S_min - 1) (E/E_min - 1) = 1`` is ``S = S_min + E_min / B``; both are fitted to the updates that
    the runs took, by least squares in logarithms. A loss at which either comes out as 0 says nothing and is left out.
    """
    found = []
    for size in sorted({run.size for run in runs}):
        chosen = [place for place, run in enumerate(runs) if run.size == size]
        if len({runs[place].B for place in chosen}) < 3:
            continue
        curves = [
            (runs[place].B, np.minimum.accumulate(points.losses[points.of(place)]), points.steps[points.of(place)])
            for place in chosen
        ]
        ends = sorted({batch: min(c[-1] for b, c, _ in curves if b == batch) for batch, _, _ in curves}.values())
        low, high = ends[2], min(float(losses[0]) for _, losses, _ in curves)
        for level in np.linspace(low, high, LEVELS + 2)[1:-1] if low < high else ():
            read = [
                (batch, float(np.exp(np.interp(-level, -losses, steps))))
                for batch, losses, steps in curves
                if losses[-1] <= level <= losses[0]
            ]
            one = _trade_off(np.array(read), size, float(np.exp(level))) if read else None
            if one is not None:
                found.append(one)
    return found


def _trade_off(read: Floats, size: float, loss: float) -> CriticalBatch | None:
    batches, steps = read.T
    if len(set(batches)) < 3:
        return None
    start = optimize.nnls(np.stack([1 / steps, 1 / (batches * steps)], axis=1), np.ones_like(steps))[0]
    if not start.all():
        return None

    def residuals(values: Floats) -> tuple[Floats, Floats]:
        terms = np.exp(values[:, None] - np.stack([np.zeros_like(batches), np.log(batches)]))
        total = terms.sum(axis=0)
        return np.log(total / steps), terms / total

    wide = np.full(2, 200.0)
    found = minimise_huber(residuals, np.log(start), lower=-wide, upper=wide, delta=LEAST_SQUARES)
    (least, tokens), covariance = found.values, np.linalg.pinv(found.curvature, hermitian=True)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return CriticalBatch(
        size=size,
        loss=loss,
        batch=math.exp(tokens - least),
        min_steps=math.exp(least),
        min_tokens=math.exp(tokens),
        error=math.sqrt(max(variance, 1e-12)),
    )


def critical_law(found: Sequence[CriticalBatch]) -> tuple[float, float] | None:
    """Return ``log(B_star)`` and ``1 / alpha_B`` by a weighted regression of ``log(batch)`` on ``log(loss)``.

    ``None`` with fewer than 2 losses. A critical batch that grows with the loss, against the law, gives 0 for the
    second.
    """
    if len({one.loss for one in found}) < 2:
        return None
    losses, batches = (np.log([getattr(one, name) for one in found]) for name in ("loss", "batch"))
    weights = np.array([one.error for one in found]) ** -2.0
    middle, height = np.average(losses, weights=weights), np.average(batches, weights=weights)
    slope = float(np.sum(weights * (losses - middle) * (batches - height)) / np.sum(weights * (losses - middle) ** 2))
    falls = max(0.0, -slope)
    return float(height + falls * middle), falls


def size_law(points: Points, runs: Sequence[ScalingRun], *, floor: bool) -> tuple[float, float, float]:
    """Return ``E_0``, ``log(N_c)`` and ``alpha_N`` by a regression of the lowest loss of every size on the size."""
    lowest: dict[float, float] = {}
    for place, run in enumerate(runs):
        end = float(points.losses[points.of(place)].min())
        lowest[run.size] = min(end, lowest.get(run.size, math.inf))
    sizes = np.array(sorted(lowest))
    found = fit_powers([sizes], np.array([lowest[size] for size in sizes]), floor=floor, delta=LEAST_SQUARES)
    exponent = max(float(found.exponents[0]), 1e-3)
    return found.floor, float(found.heights[0]) / exponent, exponent


def min_steps(points: Points, log_b_star: float, falls: float) -> Floats:
    """Return ``log(S_min)`` of every point, at the critical batch of the loss observed there."""
    batch = log_b_star - falls * points.losses - points.batch
    found: Floats = points.steps - np.logaddexp(0.0, batch)
    return found


def step_law(points: Points, limit: Floats, least: Floats) -> tuple[float, float] | None:
    """Return ``log(S_c)`` and ``alpha_S`` by a regression of ``log(L - L(N))`` on ``log(S_min)``, if there are points.

    Args:
        points: The points.
        limit: ``L(N)`` of every point.
        least: ``log(S_min)`` of every point.
    """
    losses = np.exp(points.losses)
    clear = losses - limit > LEAST_EXCESS * losses
    if clear.sum() < 3 or np.ptp(least[clear]) == 0:
        return None
    slope, height = np.polyfit(least[clear], np.log((losses - limit)[clear]), 1)
    return (float(height / -slope), float(-slope)) if slope < 0 else None
