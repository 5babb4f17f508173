"""Early signals: do gradient norm and loss early in a run say which run of a sweep will end best?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from tutelage.errors import did_you_mean
from tutelage.forecast._signal_runs import FEWEST, Floats, SignalRun, by_batch, check_sweep, uneven_budgets

__all__ = ["SignalCorrelation", "SignalReport", "SignalRun", "signal_report"]

#: Two rank orders that agree to this are the same order.
_SAME = 1e-9


@dataclass(frozen=True, kw_only=True)
class SignalCorrelation:
    """How one signal and the final result of runs go together.

    Attributes:
        signal: Name of the signal.
        batch: Examples an update of the runs; ``None`` for all runs, each ranked among those of its batch size.
        runs: How many there are.
        rho: Rank correlation of the signal with the final result, turned so that more is better: below 0, a lower
            signal goes with a better run. ``None`` where all signals or all results are equal.
        low: Lower end of its interval, ``None`` where so few runs give none.
        high: Upper end.
        partial: The same with the learning rate held constant; ``None`` where the rate orders the runs as the signal
            or the result does, so that nothing is left to correlate.
        partial_low: Lower end of its interval, ``None`` where so few runs give none.
        partial_high: Upper end.
        note: What to know about it.
    """

    signal: str
    batch: int | None
    runs: int
    rho: float | None
    low: float | None = None
    high: float | None = None
    partial: float | None = None
    partial_low: float | None = None
    partial_high: float | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SignalReport:
    """What :func:`signal_report` finds.

    Attributes:
        at: Share of the run that was looked at.
        confidence: Wished coverage of the intervals.
        rows: One for each signal and batch size with 4 runs or more, and one for each signal over all of them.
        notes: Runs that were left out, and what the numbers cannot say.
    """

    at: float
    confidence: float
    rows: tuple[SignalCorrelation, ...]
    notes: tuple[str, ...] = ()

    def of(self, signal: str, batch: int | None = None) -> SignalCorrelation:
        """Return the row of a signal, of one batch size or of all.

        Raises:
            ValueError: There is no such row.
        """
        for row in self.rows:
            if (row.signal, row.batch) == (signal, batch):
                return row
        known = sorted({row.signal for row in self.rows})
        if signal not in known:
            raise ValueError(f'no signal "{signal}".{did_you_mean(signal, known)} All: {", ".join(known)}.')
        raise ValueError(f"batch size {batch} has no row: it needs {FEWEST} runs that ended.")

    def to_json(self) -> dict[str, Any]:
        """Return all numbers by name."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        """Return a table of all rows."""
        table = [("signal", "batch", "runs", "rank correlation", "with the rate held constant")]
        for row in self.rows:
            batch = "all" if row.batch is None else str(row.batch)
            plain, partial = _cell(row.rho, row.low, row.high), _cell(row.partial, row.partial_low, row.partial_high)
            table.append((row.signal, batch, str(row.runs), plain, partial))
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        return "\n".join(line.rstrip() for line in lines)


def signal_report(
    runs: Sequence[SignalRun],
    *,
    at: float = 0.2,
    signals: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> SignalReport:
    """Say how well what runs of one sweep show early predicts how they end, apart from their learning rates.

    Ask it of a finished sweep before trusting :func:`prune_runs` on the next one.

    **Formula**: the signal of a run is its mean over updates ``t`` with ``at T / 2 < t <= at T``, ``T`` the run's
    updates. With ``x, y, z`` the ranks of signal, final result (more is better) and learning rate, each run ranked
    among those of its own batch size and the ranks of each batch size centred::

        rho = sum(x y) / sqrt(sum(x^2) sum(y^2))                                   = Spearman for one batch size
        partial = (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2))
        interval = tanh(atanh(r) -+ z_c sqrt((1 + r^2 / 2) / (m - 3))),   m = runs - (batch sizes - 1) [- 1 if partial]

    In the interval ``|r|`` is taken no nearer to 1 than ``1 - 6 / (m (m^2 - 1))``, half way to the next value that
    ``m`` ranks can show: four runs in perfect order are no proof.

    Args:
        runs: At least 4 that ended, of one data set and loss reduction, those of a batch size with one budget; others
            are left out. Batch sizes should see the same number of examples, not of updates.
        at: Share of the run that is looked at, in (0, 1]; the paper's claim is about 0.1 to 0.2.
        signals: Names of signals; all that every run has, where not given.
        confidence: Of the intervals, in (0, 1).

    Returns:
        A :class:`SignalReport`. Gradient norms shrink as batches grow, so batch sizes are never ranked together.

    Raises:
        ValueError: Fewer than 4 runs that ended, runs that cannot be compared, a signal that is missing, or an
            argument out of range.

    Example:
        >>> def run(name, lr, norm, final):
        ...     return SignalRun(name=name, steps=range(1, 11), signals={"grad_norm": [norm] * 10}, total_steps=10,
        ...                      batch=16, lr=lr, final=final, lower_is_better=True)
        >>> sweep = [run("a", 1e-4, 0.9, 2.0), run("b", 3e-4, 0.8, 1.7), run("c", 1e-3, 1.1, 1.9),
        ...          run("d", 3e-3, 2.0, 2.4), run("e", 1e-2, 3.0, 2.3)]
        >>> row = signal_report(sweep, at=0.2).of("grad_norm")
        >>> round(row.rho, 3), round(row.low, 3), round(row.high, 3), round(row.partial, 3)
        (-0.8, -0.991, 0.457, -0.746)

    Use with:
        Runs of this library: ``tutelage forecast signals runs``. Any trainer that logs the norm of the gradient
        (``grad_norm`` in transformers' ``trainer_state.json``): one :class:`SignalRun` a run.

    Helps / does not help:
        The rate alone lowers the gradient norm and raises the early loss or the reverse, so most of a plain
        correlation may be the rate's: the partial one says what the signal adds. Runs that differ in nothing but the
        seed count as runs here; with several seeds a setting the intervals are too narrow for settings.

    Relations:
        ``scipy.stats.spearmanr`` for one batch size. :func:`tutelage.forecast.exp_forecast` extrapolates each run by
        itself.

    Source:
        Pareja et al., Unveiling the secret recipe: a guide for supervised fine-tuning small LLMs, 2024, arXiv
        2412.13337 (lower gradient norm and higher loss early go with better final models; its abstract was read).
        Window, ranking by batch size and partial correlation are ours. Interval: Bonett and Wright, Sample size
        requirements for estimating Pearson, Kendall and Spearman correlations, Psychometrika 65, 2000.
    """
    caller = "signal_report"
    if not 0 < confidence < 1:
        raise ValueError(f"{caller}: confidence must be > 0 and < 1, got {confidence}.")
    ended = [run for run in runs if run.ended]
    if len(ended) < FEWEST <= len(runs):
        raise ValueError(f"{caller}: at least {FEWEST} runs must have ended, got {len(ended)} of {len(runs)}.")
    check_sweep(ended, caller, at)
    notes = [] if len(ended) == len(runs) else [f"{len(runs) - len(ended)} unfinished runs are left out."]
    wanted = list(signals) if signals is not None else _shared_signals(ended)
    if not wanted:
        raise ValueError(f"{caller}: no signal that every run has; log grad_norm and loss in all of them.")
    rows: list[SignalCorrelation] = []
    for signal in wanted:
        values = np.array([run.early(signal, at) for run in ended])
        kept = [run for run, value in zip(ended, values, strict=True) if math.isfinite(value)]
        if len(kept) < FEWEST:
            raise ValueError(f"{caller}: {signal}: fewer than {FEWEST} runs had not diverged by {at:g} of the run.")
        rows += _rows(signal, kept, values[np.isfinite(values)], confidence)
        gone = [run.name for run, value in zip(ended, values, strict=True) if not math.isfinite(value)]
        if gone:
            notes.append(f"{signal}: {', '.join(gone)} had diverged by then and {_are(gone)} left out.")
    small = [f"{size} ({len(places)})" for size, places in by_batch(ended).items() if len(places) < FEWEST]
    if small:
        notes.append(f"Batch sizes with fewer than {FEWEST} runs count only in the row of all: {', '.join(small)}.")
    if uneven := uneven_budgets(ended):
        notes.append(uneven)
    return SignalReport(at=at, confidence=confidence, rows=tuple(rows), notes=tuple(notes))


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _shared_signals(runs: Sequence[SignalRun]) -> list[str]:
    return [name for name in runs[0].signals if all(name in run.signals for run in runs)]


def _rows(signal: str, runs: Sequence[SignalRun], values: Floats, confidence: float) -> list[SignalCorrelation]:
    groups = by_batch(runs)
    several = [(size, {size: places}) for size, places in groups.items() if len(places) >= FEWEST and len(groups) > 1]
    found = [_row(signal, size, group, runs, values, confidence) for size, group in several]
    return [*found, _row(signal, None, groups, runs, values, confidence)]


def _row(
    signal: str,
    batch: int | None,
    groups: dict[int, list[int]],
    runs: Sequence[SignalRun],
    values: Floats,
    confidence: float,
) -> SignalCorrelation:
    places = [place for group in groups.values() for place in group]
    sizes = [len(group) for group in groups.values()]
    x, y, z = (
        np.concatenate([_centred_ranks([series[place] for place in group]) for group in groups.values()])
        for series in (values.tolist(), [run.quality for run in runs], [run.lr for run in runs])
    )
    count, free = len(places), len(places) - (len(sizes) - 1)
    rho = _correlation(x, y)
    if rho is None:
        what = "signals" if not x.any() else "results"
        return SignalCorrelation(signal=signal, batch=batch, runs=count, rho=None, note=f"All {what} are equal.")
    low, high = _interval(rho, free, confidence)
    partial, note = _partial(rho, _correlation(x, z), _correlation(y, z))
    ends = (None, None) if partial is None else _interval(partial, free - 1 if z.any() else free, confidence)
    return SignalCorrelation(
        signal=signal,
        batch=batch,
        runs=count,
        rho=rho,
        low=low,
        high=high,
        partial=partial,
        partial_low=ends[0],
        partial_high=ends[1],
        note=note,
    )


def _centred_ranks(values: Sequence[float]) -> Floats:
    ranks = stats.rankdata(values)
    return np.asarray(ranks - ranks.mean(), dtype=np.float64)


def _correlation(x: Floats, y: Floats) -> float | None:
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return None if scale == 0 else max(-1.0, min(1.0, float(x @ y) / scale))


def _partial(xy: float, xz: float | None, yz: float | None) -> tuple[float | None, str]:
    if xz is None or yz is None:
        return xy, "All runs have one learning rate; there is nothing to hold constant."
    if abs(xz) >= 1 - _SAME:
        return None, "The signal orders the runs exactly as the learning rate does: these runs cannot tell them apart."
    if abs(yz) >= 1 - _SAME:
        return None, "The learning rate orders the results exactly: nothing is left for the signal to say."
    value = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    return max(-1.0, min(1.0, value)), ""


def _interval(r: float, free: int, confidence: float) -> tuple[float | None, float | None]:
    if free <= 3:
        return None, None
    nearest = 1 - 6 / (free * (free**2 - 1))
    kept = max(-nearest, min(nearest, r))
    half = float(stats.norm.ppf((1 + confidence) / 2)) * math.sqrt((1 + kept**2 / 2) / (free - 3))
    low, high = (math.tanh(math.atanh(kept) + side * half) for side in (-1, 1))
    # Where r itself lies beyond what it was taken for, the interval reaches it.
    return min(low, r), max(high, r)


def _cell(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.2f}" if low is None or high is None else f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
