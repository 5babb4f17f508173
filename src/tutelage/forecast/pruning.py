"""Stopping runs of a sweep by an early signal: which go on, and what that would have cost on finished sweeps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tutelage.forecast._signal_runs import SignalRun, by_batch, check_sweep

__all__ = ["Pruning", "prune_runs"]

Prefer = Literal["low", "high"]
#: The paper's finding, by signal: what good runs have early.
_PREFERRED: dict[str, Prefer] = {"grad_norm": "low", "loss": "high"}


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Which runs of a sweep an early signal stops.

    Attributes:
        signal: Name of the signal.
        at: Share of the run at which it is looked at.
        prefer: ``"low"`` or ``"high"``: the end of the signal that goes on.
        kept: Names of the runs that go on, the preferred first within each batch size.
        dropped: Names of those that are stopped.
        saved: Share of the sweep's examples that is not spent.
        best: Name of the best run of all, ``None`` while a run is unfinished.
        best_kept: Name of the best run that goes on, likewise.
        regret: How much worse ``best_kept`` ends than ``best``, >= 0, in the unit of the result; infinite where every
            run that goes on diverges. ``None`` while a run is unfinished.
        random_regret: What is expected of keeping as many of each batch size at random: the null arm.
    """

    signal: str
    at: float
    prefer: Prefer
    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    saved: float
    best: str | None
    best_kept: str | None
    regret: float | None
    random_regret: float | None

    def to_json(self) -> dict[str, Any]:
        """Return all facts by name."""
        return dataclasses.asdict(self)


def prune_runs(
    runs: Sequence[SignalRun],
    *,
    signal: str = "grad_norm",
    keep: float = 0.5,
    at: float = 0.2,
    prefer: Prefer | None = None,
) -> Pruning:
    """Stop the less promising runs of a sweep early, by one signal.

    Two uses: on runs under way it says which to stop; on a finished sweep it says what stopping them would have cost
    and saved, beside stopping as many at random.

    **Formula**: among the ``n`` runs of each batch size, ``ceil(keep n)`` with the preferred signal go on (mean over
    the second half of the first ``at``, as in :func:`signal_report`); a run that has diverged is stopped before any
    other. ``regret = quality(best) - quality(best kept)``; ``saved`` = examples after ``at`` of the runs that are
    stopped, over the examples of all.

    Args:
        runs: At least 4, of one data set and loss reduction, those of a batch size with one budget, each past ``at``.
        signal: Which signal decides.
        keep: Share that goes on, in (0, 1).
        at: Share of the run at which to decide, in (0, 1].
        prefer: ``"low"`` or ``"high"``; where not given, what the paper found: a low ``grad_norm``, a high ``loss``.

    Returns:
        A :class:`Pruning`.

    Raises:
        ValueError: Fewer than 4 runs, runs that cannot be compared or have not come that far, a signal that is missing
            or has no usual direction, or an argument out of range.

    Example:
        >>> def run(name, norm, final):
        ...     return SignalRun(name=name, steps=range(1, 11), signals={"grad_norm": [norm] * 10}, total_steps=10,
        ...                      batch=16, lr=1e-3, final=final, lower_is_better=True)
        >>> sweep = [run("a", 0.9, 2.0), run("b", 0.8, 1.75), run("c", 1.1, 1.5), run("d", 2.0, 2.5)]
        >>> found = prune_runs(sweep, keep=0.5, at=0.2)
        >>> found.kept, found.best_kept, found.regret, found.saved
        (('b', 'a'), 'b', 0.25, 0.4)

    Use with:
        ``tutelage forecast signals runs --keep 0.5``; :class:`SignalRun` for runs of any trainer.

    Helps / does not help:
        Halving saves 0.4 of the budget at ``at=0.2``. It is worth as much as :func:`signal_report` says the signal is
        on sweeps of your own; where its interval reaches 0 the runs are stopped at random. High early loss is no aim
        in itself: it is what small rates and large batches look like early, on the same data.

    Relations:
        Successive halving stops by the validation loss so far, and in several rounds; AutoLRS
        (:class:`tutelage.schedules.AutoLRS`) by forecast losses.

    Source:
        The claim is that of Pareja et al., 2024, arXiv 2412.13337; the rule is ours.
    """
    caller = "prune_runs"
    if not 0 < keep < 1:
        raise ValueError(f"{caller}: keep must be > 0 and < 1, the share of runs that go on, got {keep}.")
    if prefer not in (None, "low", "high"):
        raise ValueError(f'{caller}: prefer must be "low" or "high", got "{prefer}".')
    check_sweep(runs, caller, at)
    values = [run.early(signal, at) for run in runs]
    chosen = prefer or _PREFERRED.get(signal)
    if chosen is None:
        raise ValueError(f'{caller}: "{signal}" has no usual direction; say prefer="low" or prefer="high".')
    groups = by_batch(runs)
    counts = {size: math.ceil(keep * len(places) - 1e-9) for size, places in groups.items()}
    kept: list[int] = []
    for size, places in groups.items():
        kept += sorted(places, key=lambda place: _badness(values[place], chosen))[: counts[size]]
    dropped = [place for place in range(len(runs)) if place not in kept]
    known = all(run.ended for run in runs)
    best = max(range(len(runs)), key=lambda place: runs[place].quality) if known else None
    best_kept = max(kept, key=lambda place: runs[place].quality) if known else None
    return Pruning(
        signal=signal,
        at=at,
        prefer=chosen,
        kept=tuple(runs[place].name for place in kept),
        dropped=tuple(runs[place].name for place in dropped),
        saved=sum(_left(runs[place], at) for place in dropped) / sum(_spent(run) for run in runs),
        best=None if best is None else runs[best].name,
        best_kept=None if best_kept is None else runs[best_kept].name,
        regret=None if best is None or best_kept is None else _gap(runs[best], runs[best_kept]),
        random_regret=_random_regret(runs, groups, counts) if known else None,
    )


def _badness(value: float, prefer: Prefer) -> float:
    return value if prefer == "low" or math.isinf(value) else -value


def _spent(run: SignalRun) -> int:
    """Examples the run spends where nothing stops it; one that diverges stops by itself."""
    return (run.last_step if run.diverged else run.total_steps) * run.batch


def _left(run: SignalRun, at: float) -> int:
    return max(0, _spent(run) - run.updates(at) * run.batch)


def _gap(best: SignalRun, other: SignalRun) -> float:
    return 0.0 if best.quality == other.quality else best.quality - other.quality


def _random_regret(runs: Sequence[SignalRun], groups: dict[int, list[int]], counts: dict[int, int]) -> float:
    """Return the expected regret of a random choice, exactly: from how likely it misses all of the best ``k`` runs."""
    order = sorted(range(len(runs)), key=lambda place: -runs[place].quality)
    expected, before = 0.0, 1.0
    for k in range(1, len(order) + 1):
        top = set(order[:k])
        missed = 1.0
        for size, places in groups.items():
            others = sum(place not in top for place in places)
            missed *= math.comb(others, counts[size]) / math.comb(len(places), counts[size])
        if before > missed:  # the k-th best is the best that is kept
            expected += (before - missed) * _gap(runs[order[0]], runs[order[k - 1]])
        before = missed
    return expected
