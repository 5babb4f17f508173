"""The constants of :class:`PowerLR` for your own model: best rates out of a grid of runs, and the law through them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.schedules._protocol import require


@dataclass(frozen=True, kw_only=True)
class TriedRate:
    """How one run at one rate ended.

    Args:
        batch: Sequences of one update, > 0.
        tokens: Tokens of the run, > 0.
        rate: Its peak rate, > 0.
        loss: What it ended at, less being better; ``None``, NaN or infinite where it diverged.
        seed: Rates are compared on the seeds they share.
    """

    batch: float
    tokens: float
    rate: float
    loss: float | None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class BestRate:
    """The best rate of one batch size and number of tokens.

    Args:
        batch: Sequences of one update.
        tokens: Tokens of the run.
        rate: The best rate, refined between those tried where it lies inside the grid.
        best_tried: The rate tried that ended lowest.
        loss: Its mean loss over seeds.
        tried: Mean loss by rate tried, lowest rate first; infinite where it diverged on any seed.
        seeds: Seeds the means are over.
        edge: ``lowest`` or ``highest`` where the best rate is the end of what was tried, else empty. A best rate at an
            edge is a bound, not an estimate: try further ones.
    """

    batch: float
    tokens: float
    rate: float
    best_tried: float
    loss: float
    tried: Mapping[float, float]
    seeds: tuple[int, ...]
    edge: Literal["", "lowest", "highest"]

    @property
    def row(self) -> tuple[float, float, float]:
        """The row :func:`fit_power` takes: batch, tokens, rate."""
        return self.batch, self.tokens, self.rate


def best_rates(runs: Iterable[TriedRate], *, refine: bool = True) -> list[BestRate]:
    """Return the best rate of every batch size and number of tokens in a grid of runs.

    **Formula**: with ``x = log(rate)`` and the mean losses of the best rate tried and its two neighbours, the vertex of
    the parabola through the three. Near its minimum a smooth loss is a parabola in ``x``, and as the middle one of the
    three is lowest, the vertex lies between the midpoints to its neighbours: a grid a factor of 2 apart then gives more
    than a factor of 2.

    Args:
        runs: Every run of the grid, any order.
        refine: Take the vertex; the best rate tried, as the paper does, where not, and at the edges of the grid.

    Returns:
        One entry for each batch size and number of tokens, sorted by them.

    Raises:
        ValueError: No runs, a number out of range, one rate only, no seed that all rates of a setting share, a run
            given twice, or a setting whose runs all diverged.

    Example:
        >>> losses = {rate: 3 + math.log(rate / 0.013) ** 2 for rate in (5e-3, 1e-2, 2e-2)}
        >>> runs = [TriedRate(batch=8, tokens=1e6, rate=rate, loss=loss) for rate, loss in losses.items()]
        >>> [(best.best_tried, round(best.rate, 6), best.edge) for best in best_rates(runs)]
        [(0.01, 0.013, '')]

    Source:
        Shen et al., 2024, arXiv 2408.13359, section 3, takes the best rate tried on a finer grid. The parabola is ours.
    """
    settings: dict[tuple[float, float], dict[float, dict[int, float]]] = {}
    for run in runs:
        for argument in ("batch", "tokens", "rate"):
            value = getattr(run, argument)
            require(math.isfinite(value) and value > 0, "best_rates", argument, "a finite number > 0", value)
        seeds = settings.setdefault((run.batch, run.tokens), {}).setdefault(run.rate, {})
        if run.seed in seeds:
            where = f"best_rates: {_named(run.batch, run.tokens)}"
            raise ValueError(f"{where}: rate {run.rate:g} has two runs of seed {run.seed}; keep one.")
        seeds[run.seed] = run.loss if run.loss is not None and math.isfinite(run.loss) else math.inf
    if not settings:
        raise ValueError("best_rates: runs must hold at least one run, got none.")
    return [_best(*setting, settings[setting], refine) for setting in sorted(settings)]


def _best(batch: float, tokens: float, table: Mapping[float, Mapping[int, float]], refine: bool) -> BestRate:
    where = f"best_rates: {_named(batch, tokens)}"
    if len(table) < 2:
        raise ValueError(f"{where}: must have runs at 2 or more rates, got one ({next(iter(table)):g}).")
    seeds = sorted(set.intersection(*(set(losses) for losses in table.values())))
    if not seeds:
        raise ValueError(f"{where}: its rates share no seed; run all of them on the same ones.")
    tried = {rate: math.fsum(table[rate][seed] for seed in seeds) / len(seeds) for rate in sorted(table)}
    best = min(tried, key=lambda rate: (tried[rate], rate))
    if tried[best] == math.inf:
        raise ValueError(f"{where}: every rate diverged ({', '.join(f'{rate:g}' for rate in tried)}); try lower ones.")
    place = list(tried).index(best)
    edge: Literal["", "lowest", "highest"] = "lowest" if place == 0 else "highest" if place == len(tried) - 1 else ""
    rate = best
    if refine and not edge:
        near = [list(tried.items())[index] for index in (place - 1, place, place + 1)]
        rate = _vertex(near)
    return BestRate(
        batch=batch,
        tokens=tokens,
        rate=rate,
        best_tried=best,
        loss=tried[best],
        tried=tried,
        seeds=tuple(seeds),
        edge=edge,
    )


def _vertex(points: Sequence[tuple[float, float]]) -> float:
    """Return the rate at the vertex of the parabola in log(rate) through three points, the middle one lowest."""
    (left, high), (middle, low), (right, other) = points
    before, after = math.log(middle / left), math.log(right / middle)
    falls, rises = (high - low) / before, (other - low) / after
    if not 0 < falls + rises < math.inf:  # a plateau, or a neighbour that diverged, which says nothing of the shape
        return middle
    # The derivative is -falls at the left midpoint, rises at the right one, and linear between them.
    return middle * math.exp(-before / 2 + falls / (falls + rises) * (before + after) / 2)


def _named(batch: float, tokens: float) -> str:
    return f"batch {batch:g}, {tokens:g} tokens"


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
        batch_interval: Confidence interval of it; ``None`` too where three rows leave nothing to estimate it from.
        highest: The highest rate of the table.
        confidence: Level of the intervals.
        rows: Settings fitted.
    """

    a: float
    b: float
    r2: float
    a_interval: tuple[float, float]
    b_interval: tuple[float, float]
    batch_exponent: float | None
    batch_interval: tuple[float, float] | None
    highest: float
    confidence: float
    rows: int

    def recommend(self, batch: float, tokens: float) -> float:
        """Return the best rate for ``batch`` sequences an update and ``tokens`` tokens, ``a batch tokens^b``."""
        return recommend(batch, tokens, a=self.a, b=self.b)

    def spec(self, *, peak: float | None = None) -> str:
        """Return the spec of :class:`PowerLR` with these constants, such as ``power:a=3.9,b=-0.5,peak=0.02``.

        The table's batches must have been counted as :class:`PowerLR` counts them where it is not told: tokens of an
        update over 4,096.

        Args:
            peak: Cap of the rate; ``highest`` where not given, as no run of the table was best at more. Without a cap
                the law begins at any rate, and with Adam a rate far too high costs loss long before it diverges.

        Raises:
            ValueError: ``b`` is not below 0, or ``peak`` not > 0: there is no such schedule.
        """
        require(self.b < 0, "PowerFit.spec", "b", "< 0", self.b)
        cap = self.highest if peak is None else peak
        require(cap > 0, "PowerFit.spec", "peak", "> 0", cap)
        return f"power:a={self.a:.6g},b={self.b:.6g},peak={cap:.6g}"


def fit_power(table: Iterable[tuple[float, float, float]], *, confidence: float = 0.9) -> PowerFit:
    """Fit ``best rate = a batch tokens^b`` to runs of your own model, by least squares on ``log(rate / batch)``.

    Args:
        table: Rows ``(batch, tokens, best_rate)``: sequences of an update, tokens of the run, and the rate that ended
            lowest (:func:`best_rates` finds it in a grid of runs). At least three rows and two numbers of tokens.
        confidence: Level of the intervals, in (0, 1); Student's, for errors that are alike in every row.

    Raises:
        ValueError: Too few rows, one number of tokens only, or a number that is not finite and > 0 (names the row).

    Example:
        >>> fit = fit_power([(b, n, 4.0 * b * n**-0.51) for b in (8, 32) for n in (1e6, 1e7, 1e8)])
        >>> round(fit.a, 6), round(fit.b, 6), round(fit.r2, 6), round(fit.batch_exponent, 6)
        (4.0, -0.51, 1.0, 1.0)
        >>> fit.spec(peak=0.02)
        'power:a=4,b=-0.51,peak=0.02'

    Use with:
        ``tutelage fit-power RUNS`` on the command line, for folders of runs.

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
    low, high = (float(np.exp(line.intercept + sign * reach * line.intercept_stderr)) for sign in (-1, 1))
    exponent, interval = _batch_exponent(batch, tokens, rate, confidence)
    return PowerFit(
        a=float(np.exp(line.intercept)),
        b=float(line.slope),
        r2=float(line.rvalue**2),
        a_interval=(low, high),
        b_interval=(float(line.slope - reach * line.stderr), float(line.slope + reach * line.stderr)),
        batch_exponent=exponent,
        batch_interval=interval,
        highest=float(rows[:, 2].max()),
        confidence=confidence,
        rows=len(rows),
    )


def _batch_exponent(
    batch: NDArray[np.float64], tokens: NDArray[np.float64], rate: NDArray[np.float64], confidence: float
) -> tuple[float | None, tuple[float, float] | None]:
    """Return the exponent of the batch in a fit of all three constants to logs, and its interval."""
    from scipy import stats

    both = np.column_stack([np.ones_like(batch), batch, tokens])
    if np.linalg.matrix_rank(both) < 3:
        return None, None
    found = np.linalg.lstsq(both, rate, rcond=None)[0]
    free = len(rate) - 3
    if not free:
        return float(found[1]), None
    variance = float(np.sum((rate - both @ found) ** 2)) / free
    error = math.sqrt(variance * np.linalg.inv(both.T @ both)[1, 1])
    reach = float(stats.t.ppf((1 + confidence) / 2, free)) * error
    return float(found[1]), (float(found[1]) - reach, float(found[1]) + reach)
