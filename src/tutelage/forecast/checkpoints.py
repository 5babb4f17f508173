"""Downstream scores over checkpoints: which tasks move together, in which order they come, and what early ones tell.

>>> sorted(__all__)
['Dynamics', 'Similarity', 'SizeSimilarity', 'dynamics', 'early_indicator', 'health_report', 'onset', 'predict_task']
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tutelage.forecast._checkpoint_similarity import (
    Similarity,
    SizeSimilarity,
    mean_of,
    similarity_of,
    size_similarity_of,
)
from tutelage.forecast._checkpoint_table import (
    Checkpoints,
    Curves,
    Smooth,
    Table,
    aligned,
    curves_of,
    read_table,
    smoothed,
)
from tutelage.forecast.checkpoint_health import THRESHOLD, health_report, onset
from tutelage.forecast.checkpoint_prediction import (
    FEWEST_LEARNED,
    TaskPrediction,
    early_indicator,
    predict_curve,
    predict_task,
)

__all__ = [
    "Dynamics",
    "Similarity",
    "SizeSimilarity",
    "dynamics",
    "early_indicator",
    "health_report",
    "onset",
    "predict_task",
]


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """What :func:`dynamics` found.

    Args:
        similarity: Of tasks, for each run.
        onsets: Tokens at which each task left chance, in this order, for each run; ``None`` for tasks that did not.
        kendall: Rank correlation (tau b) of onsets between two runs, by the names of both.
        domain_r2: Prediction of each task's later part from the other tasks of its domain, for each run.
        elsewhere: Mean absolute error of the same prediction from the tasks of another domain, the mean over the other
            domains: what any domain would do.
        size_similarity: Of each two runs.
        domains: Domain of each task.
    """

    similarity: Mapping[str, Similarity]
    onsets: Mapping[str, Mapping[str, float | None]]
    kendall: Mapping[str, Mapping[str, float | None]]
    domain_r2: Mapping[str, Mapping[str, TaskPrediction]]
    elsewhere: Mapping[str, Mapping[str, float | None]]
    size_similarity: tuple[SizeSimilarity, ...]
    domains: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return dataclasses.asdict(self)


def dynamics(
    table: Table | Checkpoints,
    *,
    interpolate: bool = False,
    smooth: Smooth = "mean",
    threshold: float = THRESHOLD,
    upto: float = 0.5,
) -> Dynamics:
    """Analyse scores over checkpoints: similar tasks, order of onsets, prediction within domains, similar sizes.

    Use it on one run to see which tasks are proxies of which, on several to see what carries over.

    **Formula**, for run ``m``, task ``t``, checkpoint ``k`` at ``x_k`` tokens:

    1. ``z = (y - chance) / (1 - chance)``; below chance it is negative.
    2. Smoothed over three checkpoints (for 3, 5 and 6).
    3. Similarity in a run: Spearman's correlation over ``k`` of ``z`` of two tasks, and of ``z(k + 1) - z(k)``.
    4. Domain prediction: ridge regression of a task from the others of its domain, learned up to ``upto`` of the
       tokens (:func:`predict_task`).
    5. Similarity of two runs, aligned by tokens: Pearson's correlation of the curves of a task; ranks of final scores.
    6. Onset: the first ``x_k`` from which ``z`` exceeds ``threshold`` at three checkpoints on end. Kendall's tau b
       between the onsets of two runs.

    Tasks that never leave chance in a run are left out of 3, 4, 5 and of tau, and named.

    Args:
        table: Rows ``(run, step, tokens, task, score, chance, domain[, ci])``: a list of records, a dict of columns or
            a ``pyarrow.Table``. ``score`` and ``chance`` are shares; rows of domain ``loss`` are passed over.
        interpolate: Allow tasks and runs that were measured at different tokens, by straight lines between checkpoints,
            at those of the one with the fewest.
        smooth: ``"mean"``, ``"isotonic"`` or ``"none"``.
        threshold: Normalised score that counts as above chance.
        upto: Share of tokens that the domain prediction learns from, above 0 and below 1.

    Returns:
        The analysis.

    Raises:
        ValueError: ``smooth`` or ``upto`` that cannot be used.
        DataError: A missing chance level or column, a run, step and task that is there twice, fewer than five
            checkpoints, or different tokens without ``interpolate``; names row or run.

    Example:
        >>> rows = [
        ...     {"run": "a", "step": k, "tokens": k, "task": t, "score": y, "chance": 0.0, "domain": "d"}
        ...     for t, curve in (("A", [0, 0.1, 0.2, 0.3, 0.3]), ("B", [0, 0.2, 0.4, 0.6, 0.6]))
        ...     for k, y in enumerate(curve, 1)
        ... ]
        >>> found = dynamics(rows, smooth="none", upto=0.8)
        >>> round(found.similarity["a"].differences["A"]["B"], 6), found.onsets["a"]
        (1.0, {'A': 2.0, 'B': 2.0})

    Use with:
        ``read_checkpoints(*folders)`` of ``CheckpointTracker``; tables of an evaluation harness; ``tutelage forecast
        checkpoints``.

    Helps / does not help:
        Any two rising curves correlate: read the differences. Scores on few items jitter, which hides similarity of
        differences; 100 items and ten checkpoints are little.

    Relations:
        :func:`health_report` says how each task goes, :func:`early_indicator` compares runs by their end.

    Source:
        The Fine Line, 2024, arXiv 2404.01204. Checked against its abstract: downstream scores go alike in models of
        different sizes, up to 67 billion parameters, and the loss alone does not say how they go. The paper shows
        curves and gives no formulas for this; every definition above is ours.
    """
    if not 0 < upto < 1:
        raise ValueError(f"dynamics: upto must be above 0 and below 1, a share of the tokens, got {upto}.")
    read = read_table(table)
    raw = {run: curves_of(read, run, interpolate=interpolate) for run in read.runs}
    curves = {run: dataclasses.replace(one, z=smoothed(one.z, smooth)) for run, one in raw.items()}
    tokens = {
        run: {task: _tokens_at(one, onset(one.column(task), threshold)) for task in one.tasks}
        for run, one in curves.items()
    }
    sizes = tuple(
        size_similarity_of(
            *aligned(curves[first], curves[second], interpolate=interpolate), tokens[first], tokens[second]
        )
        for first, second in combinations(read.runs, 2)
    )
    predicted = {run: _by_domains(read, one, tokens[run], upto) for run, one in raw.items()}
    kendall: dict[str, dict[str, float | None]] = {}
    for pair in sizes:
        kendall.setdefault(pair.first, {})[pair.second] = pair.kendall
    return Dynamics(
        similarity={run: similarity_of(one, tokens[run], read.domains) for run, one in curves.items()},
        onsets={run: _in_order(found) for run, found in tokens.items()},
        kendall=kendall,
        domain_r2={run: mates for run, (mates, _) in predicted.items()},
        elsewhere={run: others for run, (_, others) in predicted.items()},
        size_similarity=sizes,
        domains={task: read.domains[task] for task in read.chance},
    )


def _in_order(onsets: Mapping[str, float | None]) -> dict[str, float | None]:
    return dict(sorted(onsets.items(), key=lambda item: (item[1] is None, item[1] or 0.0)))


def _tokens_at(curves: Curves, checkpoint: int | None) -> float | None:
    return None if checkpoint is None else float(curves.tokens[checkpoint])


def _by_domains(
    read: Checkpoints, curves: Curves, starts: Mapping[str, float | None], upto: float
) -> tuple[dict[str, TaskPrediction], dict[str, float | None]]:
    """Predict every task that has a mate from its mates, and from other domains; nothing from too few checkpoints."""
    if int((curves.tokens <= upto * curves.tokens[-1]).sum()) < FEWEST_LEARNED:
        return {}, {}
    kept: dict[str, list[str]] = {}
    for task in curves.tasks:
        if starts[task] is not None:
            kept.setdefault(read.domains[task], []).append(task)
    mates: dict[str, TaskPrediction] = {}
    elsewhere: dict[str, float | None] = {}
    for domain, tasks in kept.items():
        for task in tasks if len(tasks) > 1 else ():

            def predicted(sources: list[str], task: str = task) -> TaskPrediction:
                return predict_curve(curves, read.chance[task], [task, *sources], upto)

            mates[task] = predicted([other for other in tasks if other != task])
            elsewhere[task] = mean_of(predicted(others).mae for name, others in kept.items() if name != domain)
    return mates, elsewhere
