"""How alike curves are: of tasks in one run, within and across domains, and of one task in two runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tutelage.forecast._checkpoint_table import Curves, Floats
from tutelage.forecast.checkpoint_prediction import correlation, ranks_of

Pairs = Mapping[str, Mapping[str, float | None]]

#: Curves that correlate by this much are alike.
ALIKE = 0.8
_RELABELLED = 2_000


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How alike the curves of one run's tasks are: Spearman's rank correlations over checkpoints.

    Args:
        curves: Of the curves, by task and task; high for any two that rise.
        differences: Of the changes from checkpoint to checkpoint, which a common trend does not raise.
        within: Means over pairs of one domain: ``curves``, ``differences`` and the number of ``pairs``.
        across: The same over pairs of two domains.
        p_value: How often domains given to the tasks at random show as large a gap between ``within`` and ``across``
            in the differences (2,000 draws); ``None`` where either has no pair.
        at_chance: Tasks that never left chance; they are in no pair.
        undefined: Pairs left out of the means because a series does not vary.
    """

    curves: Pairs
    differences: Pairs
    within: Mapping[str, float | None]
    across: Mapping[str, float | None]
    p_value: float | None
    at_chance: tuple[str, ...]
    undefined: int


@dataclass(frozen=True, kw_only=True)
class SizeSimilarity:
    """How alike the curves of one task are in two runs, over tasks that left chance in both.

    Args:
        first: A run, such as a small model.
        second: Another, such as a large one.
        pearson: Correlation of the two curves, by task; ``None`` where one does not vary.
        share: Share of these tasks with a correlation of at least 0.8; ``None`` where there are none.
        unlike_share: The same for two different tasks, one of each run: what rising alone does. ``None`` below two.
        kendall: Rank correlation (tau b) of the onsets of tasks; ``None`` below two tasks or where all are alike.
        final_ranks: Spearman's correlation of the final scores of tasks.
        rank_error: Mean absolute error of the ranks of the second's final scores, taken from the first.
        at_chance: Tasks at chance in one of the two.
    """

    first: str
    second: str
    pearson: Mapping[str, float | None]
    share: float | None
    unlike_share: float | None
    kendall: float | None
    final_ranks: float | None
    rank_error: float | None
    at_chance: tuple[str, ...]


def similarity_of(curves: Curves, starts: Mapping[str, float | None], domains: Mapping[str, str]) -> Similarity:
    """Return how alike the tasks of a run are.

    Args:
        curves: Smoothed.
        starts: Onset of each task, ``None`` where it stays at chance.
        domains: Of each task.
    """
    kept = [task for task in curves.tasks if starts[task] is not None]
    z = curves.z[:, [curves.tasks.index(task) for task in kept]]
    levels, changes = _spearman(z), _spearman(np.diff(z, axis=0))
    pairs = np.array(list(combinations(range(len(kept)), 2)), dtype=np.int64).reshape(-1, 2)
    first, second = pairs[:, 0], pairs[:, 1]
    defined = ~np.isnan(levels[first, second]) & ~np.isnan(changes[first, second])
    first, second = first[defined], second[defined]
    labels = np.unique([domains[task] for task in kept], return_inverse=True)[1] if kept else np.zeros(0, np.int64)
    same = labels[first] == labels[second]

    def means(side: NDArray[np.bool_]) -> dict[str, float | None]:
        found = {"curves": levels, "differences": changes}
        return {name: mean_of(values[first[side], second[side]].tolist()) for name, values in found.items()} | {
            "pairs": int(side.sum())
        }

    def by_task(matrix: Floats) -> Pairs:
        value = [[None if np.isnan(cell) else float(cell) for cell in row] for row in matrix]
        return {a: {b: value[i][j] for j, b in enumerate(kept) if i != j} for i, a in enumerate(kept)}

    return Similarity(
        curves=by_task(levels),
        differences=by_task(changes),
        within=means(same),
        across=means(~same),
        p_value=_p_value(changes[first, second], labels, first, second),
        at_chance=tuple(task for task in curves.tasks if starts[task] is None),
        undefined=int((~defined).sum()),
    )


def size_similarity_of(
    first: Curves, second: Curves, starts: Mapping[str, float | None], others: Mapping[str, float | None]
) -> SizeSimilarity:
    """Return how alike two runs are.

    Args:
        first: Smoothed curves of a run.
        second: Those of another, at the same tokens.
        starts: Tokens of the onsets of the first, ``None`` where a task stays at chance.
        others: Those of the second.
    """
    left = {task: starts[task] is not None and others[task] is not None for task in first.tasks}
    kept = [task for task in first.tasks if left[task]]
    every = {(a, b): correlation(first.column(a), second.column(b)) for a in kept for b in kept}
    alike = {pair: value is not None and value >= ALIKE for pair, value in every.items()}
    ranks = [ranks_of(np.array([one.column(task)[-1] for task in kept])) for one in (first, second)]
    tau = stats.kendalltau([starts[task] for task in kept], [others[task] for task in kept]) if len(kept) > 1 else None
    return SizeSimilarity(
        first=first.run,
        second=second.run,
        pearson={task: every[task, task] for task in kept},
        share=mean_of(float(value) for (a, b), value in alike.items() if a == b),
        unlike_share=mean_of(float(value) for (a, b), value in alike.items() if a != b),
        kendall=None if tau is None or np.isnan(tau.statistic) else float(tau.statistic),
        final_ranks=correlation(*ranks) if len(kept) > 1 else None,
        rank_error=float(np.abs(ranks[0] - ranks[1]).mean()) if kept else None,
        at_chance=tuple(task for task in first.tasks if not left[task]),
    )


def mean_of(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known, ``None`` where there are none."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _spearman(columns: Floats) -> Floats:
    """Return rank correlations of columns, NaN where one does not vary."""
    ranks, width = ranks_of(columns), columns.shape[1]
    found = np.full((width, width), np.nan)
    for i in range(width):
        for j in range(i, width):
            value = correlation(ranks[:, i], ranks[:, j])
            found[i, j] = found[j, i] = np.nan if value is None else value
    return found


def _p_value(values: Floats, labels: NDArray[np.int64], first: NDArray[Any], second: NDArray[Any]) -> float | None:
    same = labels[first] == labels[second]
    if not same.any() or same.all():
        return None
    rng = np.random.default_rng(0)
    drawn = rng.permuted(np.tile(labels, (_RELABELLED, 1)), axis=1)
    inside = drawn[:, first] == drawn[:, second]
    # Pairs without a value are left out, so a draw may have none on one side; it shows no gap then.
    counts = inside.sum(axis=1)
    usable = (counts > 0) & (counts < len(values))
    sums = inside[usable] @ values
    gaps = sums / counts[usable] - (values.sum() - sums) / (len(values) - counts[usable])
    gap = values[same].mean() - values[~same].mean()
    return float((1 + (gaps >= gap - 1e-12).sum()) / (1 + len(gaps)))
