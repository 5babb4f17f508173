"""What scores at early checkpoints say: about another task later, and about how a run will end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from tutelage.forecast._checkpoint_table import Checkpoints, Curves, Floats, Table, curves_of, read_table

__all__ = ["EarlyIndicator", "Indicator", "TaskPrediction", "early_indicator", "predict_task"]

#: Ridge penalties tried, as multiples of the number of checkpoints learned from.
_PENALTIES = tuple(10.0**power for power in range(-4, 3))
FEWEST_LEARNED = 3


@dataclass(frozen=True, kw_only=True)
class TaskPrediction:
    """A task's later scores, predicted from other tasks at the same checkpoints; see :func:`predict_task`.

    Args:
        run: Run that is predicted.
        target: Task that is predicted.
        from_tasks: Tasks it is predicted from.
        trained_on: Run the weights were learned on.
        tokens: Tokens of the checkpoints that are predicted.
        predicted: Scores predicted for them, in the target's own unit.
        actual: Scores measured there.
        mae: Mean absolute error, in normalised scores.
        r2: Share of the variance over these checkpoints that is explained; ``None`` where the scores do not vary.
        last_value_mae: Error of the last score before them, repeated; ``None`` where there is none.
        mean_mae: Error of the mean normalised score of all other tasks at the checkpoint.
        weights: What a task's normalised score counts for, by task.
        penalty: Ridge penalty that left-out checkpoints chose, as a multiple of the checkpoints learned from.
    """

    run: str
    target: str
    from_tasks: tuple[str, ...]
    trained_on: str
    tokens: tuple[float, ...]
    predicted: tuple[float, ...]
    actual: tuple[float, ...]
    mae: float
    r2: float | None
    last_value_mae: float | None
    mean_mae: float
    weights: Mapping[str, float]
    penalty: float

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as JSON."""
        return dataclasses.asdict(self)


def predict_task(
    table: Table | Checkpoints,
    target: str,
    from_tasks: Sequence[str],
    upto: float = 0.5,
    *,
    run: str | None = None,
    trained_on: str | None = None,
    interpolate: bool = False,
) -> TaskPrediction:
    """Predict a task at later checkpoints, or in a larger model, from other tasks that are cheaper to measure there.

    Use it to ask which tasks need not be measured at every checkpoint: those that their likes predict well.

    **Formula**: with normalised scores ``z = (y - chance) / (1 - chance)`` of checkpoint ``k``,
    ``z_target(k) = c + sum over tasks t of w_t z_t(k)``, by ridge regression on standardised scores of the checkpoints
    up to ``upto`` of the run's tokens (or on all checkpoints of ``trained_on``). The penalty is the one of ``1e-4 ...
    100`` per checkpoint with the least error on each of these checkpoints when it is left out. Scores are not smoothed:
    a mean over neighbours would look ahead.

    Args:
        table: Rows ``(run, step, tokens, task, score, chance, domain[, ci])``: records, columns or an Arrow table.
        target: Task to predict.
        from_tasks: Tasks to predict it from.
        upto: Share of the run's tokens, in [0, 1): checkpoints after it are predicted. 0 with ``trained_on`` only.
        run: Run to predict; may be left out where the table has one.
        trained_on: Another run, such as a smaller model, whose every checkpoint is learned from instead.
        interpolate: Allow tasks measured at different tokens, by straight lines.

    Returns:
        The prediction, its error, and the errors of two baselines.

    Raises:
        ValueError: An unknown task or run, a target among the tasks it is predicted from, ``upto`` out of range, or
            fewer than three checkpoints to learn from, or none to predict.
        DataError: A table that cannot be used; names the row.

    Example:
        >>> rows = [
        ...     {"run": "a", "step": k, "tokens": 100 * k, "task": t, "score": s * k / 10, "chance": 0.0, "domain": "d"}
        ...     for k in range(1, 11)
        ...     for t, s in (("one", 0.4), ("two", 0.8))
        ... ]
        >>> found = predict_task(rows, "two", ["one"], upto=0.5)
        >>> [round(value, 3) for value in found.predicted], round(found.last_value_mae, 3)
        ([0.48, 0.56, 0.64, 0.72, 0.8], 0.24)

    Use with:
        ``tutelage forecast checkpoints RUN --predict two --from one --upto 0.5``.

    Helps / does not help:
        Curves that all rise are predicted well by any rising curve: compare with the baselines, and with tasks of
        other domains. A handful of checkpoints carries few weights; name two or three tasks, not ten.

    Relations:
        :func:`dynamics` does this for every task from its domain.

    Source:
        The Fine Line, 2024, arXiv 2404.01204, on tasks of one domain as signs of each other (its text was not at hand;
        the regression, its penalty and the baselines are ours).
    """
    read = read_table(table)
    names = (read.task(target), *(read.task(name) for name in from_tasks))
    if len(names) < 2:
        raise ValueError("predict_task: from_tasks must name at least one task, got none.")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'predict_task: "{twice}" is named twice; a task cannot help to predict itself.')
    if not 0 <= upto < 1:
        raise ValueError(f"predict_task: upto must be >= 0 and < 1, a share of the run's tokens, got {upto}.")
    chosen = read.run(run)
    curves = curves_of(read, chosen, interpolate=interpolate)
    lacking = next((name for name in names if name not in curves.tasks), None)
    if lacking is not None:
        raise ValueError(f'predict_task: run {chosen} has no scores of "{lacking}".')
    if trained_on is None:
        return predict_curve(curves, read.chance[target], names, upto)
    other = curves_of(read, read.run(trained_on), interpolate=interpolate, tasks=names)
    return predict_curve(curves, read.chance[target], names, upto, other)


def predict_curve(
    curves: Curves, chance: float, names: Sequence[str], upto: float, learned: Curves | None = None
) -> TaskPrediction:
    """Predict the first of ``names`` from the others; see :func:`predict_task`.

    Args:
        curves: The run that is predicted.
        chance: Of the target.
        names: Target, then the tasks it is predicted from.
        upto: Share of tokens up to which scores are known.
        learned: The run that is learned from; the same run's early part where not given.
    """
    target, *sources = names
    early = curves.tokens <= upto * curves.tokens[-1]
    x, y = np.column_stack([curves.column(name) for name in sources]), curves.column(target)
    if learned is None:
        known_x, known_y = x[early], y[early]
    else:
        known_x, known_y = np.column_stack([learned.column(name) for name in sources]), learned.column(target)
    if len(known_y) < FEWEST_LEARNED or early.all():
        raise ValueError(
            f"predict_task: at least {FEWEST_LEARNED} checkpoints are needed to learn from and one to predict, got "
            f"{len(known_y)} and {int((~early).sum())} of run {curves.run} at upto={upto:g}."
        )
    weights, constant, penalty = _ridge(known_x, known_y)
    predicted, actual = constant + x[~early] @ weights, y[~early]
    others = [place for place, name in enumerate(curves.tasks) if name != target]
    spread = float(np.square(actual - actual.mean()).sum())
    return TaskPrediction(
        run=curves.run,
        target=target,
        from_tasks=tuple(sources),
        trained_on=curves.run if learned is None else learned.run,
        tokens=tuple(curves.tokens[~early].tolist()),
        predicted=tuple((chance + (1 - chance) * predicted).tolist()),
        actual=tuple((chance + (1 - chance) * actual).tolist()),
        mae=_mae(predicted, actual),
        r2=1 - float(np.square(actual - predicted).sum()) / spread if spread > 0 else None,
        last_value_mae=_mae(np.full(len(actual), y[early][-1]), actual) if early.any() else None,
        mean_mae=_mae(curves.z[~early][:, others].mean(axis=1), actual),
        weights=dict(zip(sources, weights.tolist(), strict=True)),
        penalty=penalty,
    )


def _mae(predicted: Floats, actual: Floats) -> float:
    return float(np.abs(predicted - actual).mean())


def _ridge(x: Floats, y: Floats) -> tuple[Floats, float, float]:
    """Return weights, constant and penalty of the ridge regression that predicts left-out rows best."""
    n, centre, scale = len(y), x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-12, scale, np.inf)  # a task that does not move says nothing
    u, s, vt = np.linalg.svd((x - centre) / scale, full_matrices=False)
    middle = y.mean()
    projected = u.T @ (y - middle)
    best: tuple[float, float, Floats] | None = None
    for penalty in _PENALTIES:
        shrunk = s**2 / (s**2 + penalty * n)
        residual = y - middle - u @ (shrunk * projected)
        leverage = 1 / n + np.square(u) @ shrunk
        error = float(np.square(residual / np.maximum(1 - leverage, 1e-9)).sum())
        if best is None or error < best[0]:
            best = (error, penalty, vt.T @ (s / (s**2 + penalty * n) * projected) / scale)
    if best is None:
        raise ValueError("predict_task: no ridge penalty to try.")
    _, penalty, weights = best
    return weights, float(middle - centre @ weights), penalty


@dataclass(frozen=True, kw_only=True)
class Indicator:
    """How well an early number ranks runs by their end.

    Args:
        spearman: Rank correlation over runs with the final score; ``None`` where one of the two is the same in all.
        pearson: Correlation of the values.
        interval: 95 % interval of ``spearman``; ``None`` below four runs or at a correlation of 1.
    """

    spearman: float | None
    pearson: float | None
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, early: Floats, final: Floats) -> Indicator:
        """Return the correlations of two series over runs."""
        spearman, pearson = correlation(ranks_of(early), ranks_of(final)), correlation(early, final)
        if spearman is None or len(early) < 4 or abs(spearman) > 1 - 1e-9:
            return cls(spearman=spearman, pearson=pearson, interval=None)
        half = 1.96 * math.sqrt((1 + spearman**2 / 2) / (len(early) - 3))
        ends = (math.tanh(math.atanh(spearman) - half), math.tanh(math.atanh(spearman) + half))
        return cls(spearman=spearman, pearson=pearson, interval=ends)


@dataclass(frozen=True, kw_only=True)
class EarlyIndicator:
    """How well early scores rank runs by their end; see :func:`early_indicator`.

    Args:
        at: Shares of a run's tokens at which it was looked at.
        runs: The runs.
        tasks: The panel.
        target: What the end is judged by: a task, or ``panel``.
        panel: The panel's mean, for each share.
        loss: The loss, for each share, where the table has one; a good loss ranks runs the other way round.
        by_task: Each task by itself: ``by_task[share][early task]``, correlated with the end.
        pairs: ``pairs[share][early task][late task]``: rank correlation of a task early with another late.
    """

    at: tuple[float, ...]
    runs: tuple[str, ...]
    tasks: tuple[str, ...]
    target: str
    panel: Mapping[float, Indicator]
    loss: Mapping[float, Indicator] | None
    by_task: Mapping[float, Mapping[str, Indicator]]
    pairs: Mapping[float, Mapping[str, Mapping[str, float | None]]]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON, shares as text."""
        plain: dict[str, Any] = dataclasses.asdict(self)
        for name in ("panel", "loss", "by_task", "pairs"):
            if plain[name] is not None:
                plain[name] = {f"{share:g}": value for share, value in plain[name].items()}
        return plain


def early_indicator(
    table: Table | Checkpoints,
    at: Sequence[float] = (0.1, 0.2, 0.3),
    *,
    tasks: Sequence[str] | None = None,
    target: str | None = None,
    loss: str = "val_loss",
    interpolate: bool = False,
) -> EarlyIndicator:
    """Say over several runs how well scores early in a run rank the runs by their end, and whether the loss does.

    Use it on finished runs, to learn which early number may stop the next ones.

    **Formula**: for share ``a``, ``e_r`` = mean normalised score of the panel in run ``r`` at its last checkpoint at or
    before ``a`` of its tokens, ``f_r`` = the same (or a task's) at its end; the Spearman correlation of ``e`` and ``f``
    over runs, with the interval of ``atanh`` and standard error ``sqrt((1 + rho^2 / 2) / (n - 3))``.

    Args:
        table: Rows ``(run, step, tokens, task, score, chance, domain[, ci])`` of three or more runs; rows of domain
            ``loss`` hold losses and need no chance.
        at: Shares of a run's tokens, each above 0 and below 1.
        tasks: The panel, chosen before the end is known; all tasks where not given. None is left out for being at
            chance: that would be choosing by the outcome.
        target: Task whose final score counts; the panel's mean where not given.
        loss: Name of the loss among the rows of domain ``loss``.
        interpolate: Allow tasks measured at different tokens, by straight lines between a run's checkpoints.

    Returns:
        Correlations of panel, loss and each task with the end, and of each task early with each late.

    Raises:
        ValueError: Fewer than three runs, an unknown task, a share out of range, or no checkpoint up to it.
        DataError: A table that cannot be used; names the row.

    Example:
        >>> rows = [
        ...     {"run": r, "step": k, "tokens": k, "task": "t", "score": s * k / 10, "chance": 0.0, "domain": "d"}
        ...     for r, s in (("a", 0.3), ("b", 0.6), ("c", 0.9))
        ...     for k in range(1, 11)
        ... ]
        >>> round(early_indicator(rows, at=[0.2]).panel[0.2].spearman, 6)
        1.0

    Use with:
        ``read_checkpoints(*folders)``; ``tutelage forecast checkpoints RUN RUN RUN ...``.

    Helps / does not help:
        Six runs rank anything by luck: below ten the interval spans most of -1 to 1. Runs of one recipe and different
        sizes are ranked by size alone, early and late; vary what you want to choose by.

    Relations:
        :func:`predict_task` predicts within a run; this compares runs.

    Source:
        The Fine Line, 2024, arXiv 2404.01204, on early tasks against the loss; the numbers are ours. Interval: Bonett
        and Wright, Psychometrika 65, 2000.
    """
    read = read_table(table)
    if len(read.runs) < 3:
        raise ValueError(f"early_indicator: at least three runs are needed, got {len(read.runs)}.")
    for share in at:
        if not 0 < share < 1:
            raise ValueError(f"early_indicator: at must be above 0 and below 1, a share of the tokens, got {share}.")
    panel = tuple(read.task(name) for name in (read.chance if tasks is None else tasks))
    if not panel:
        raise ValueError("early_indicator: tasks must name at least one task, got none.")
    every = panel if target is None or target in panel else (*panel, read.task(target))
    curves = [curves_of(read, run, interpolate=interpolate, tasks=every) for run in read.runs]
    ends = np.array([one.z[-1] for one in curves])
    final = ends[:, : len(panel)].mean(axis=1) if target is None else ends[:, every.index(target)]
    losses = [read.losses.get(run, {}).get(loss) for run in read.runs]
    by_panel, by_loss, by_task, pairs = {}, {}, {}, {}
    for share in at:
        early = np.array([one.z[_last(one.tokens, share * one.tokens[-1], one.run, share)] for one in curves])
        by_panel[share] = Indicator.of(early[:, : len(panel)].mean(axis=1), final)
        by_task[share] = {name: Indicator.of(early[:, place], final) for place, name in enumerate(panel)}
        ranks = ranks_of(early), ranks_of(ends)
        pairs[share] = {
            a: {b: correlation(ranks[0][:, i], ranks[1][:, j]) for j, b in enumerate(panel)}
            for i, a in enumerate(panel)
        }
        if all(one is not None for one in losses):
            values = [
                one.scores[_last(one.tokens, share * curve.tokens[-1], curve.run, share)]
                for one, curve in zip(losses, curves, strict=True)
                if one is not None
            ]
            by_loss[share] = Indicator.of(np.array(values), final)
    return EarlyIndicator(
        at=tuple(at),
        runs=tuple(read.runs),
        tasks=panel,
        target=target or "panel",
        panel=by_panel,
        loss=by_loss or None,
        by_task=by_task,
        pairs=pairs,
    )


def _last(tokens: Floats, end: float, run: str, share: float) -> int:
    place = int(np.searchsorted(tokens, end * (1 + 1e-9), side="right")) - 1
    if place < 0:
        raise ValueError(
            f"early_indicator: run {run} has no checkpoint up to {share:g} of its tokens, the first is at "
            f"{tokens[0]:g}; score it earlier, or ask for a later share."
        )
    return place


def ranks_of(values: Floats) -> Floats:
    """Return ranks along the first axis; values that differ by a rounding error share theirs."""
    found: Floats = stats.rankdata(np.round(values, 9), axis=0)
    return found


def correlation(x: Floats, y: Floats) -> float | None:
    """Return Pearson's correlation, ``None`` where a series does not vary."""
    a, b = x - x.mean(), y - y.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(np.clip(a @ b / size, -1, 1)) if size > 1e-15 else None
