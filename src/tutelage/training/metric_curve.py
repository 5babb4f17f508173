"""A metric that is measured now and then, at every update: its gaps filled by the training loss."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.forecast import LossCurve
from tutelage.training.curve import read_curve
from tutelage.training.curve_files import read_loss_curve

__all__ = ["in_blocks", "metric_curve", "run_curve"]

#: Share of the run on either side of an evaluation over which training losses are averaged.
_WINDOW = 0.05
#: Points that a line is drawn through at least; of fewer the mean is taken.
_LINE = 4
#: Evaluations that must have been made for the training loss to be brought to the level of a metric.
_EVALUATIONS = 2


def metric_curve(train: LossCurve, steps: ArrayLike, values: ArrayLike) -> LossCurve:
    """Bring training losses to the level of a metric, so that a curve of few evaluations becomes a dense one.

    A run is evaluated ten times or so, which is too few points for any law; its training loss is known at every update,
    but of another level: dropout, label smoothing, over-fitting.

    **Formula**: ``log y(s) = log L(s) + g(s)``. At an evaluation after ``v`` updates
    ``g(v) = log value - log l(v)``, ``log l`` being the straight line through the log losses within 5 % of the run
    around ``v``; ``g`` is linear between evaluations and constant outside.

    Args:
        train: Training losses.
        steps: Updates made at each evaluation, shape ``(evaluations,)``, rising.
        values: The metric there, shape ``(evaluations,)``, > 0, lower being better.

    Returns:
        A curve with the steps, rates and warm-up of ``train`` and the level of the metric.

    Raises:
        ValueError: No evaluation within reach of the training losses, values that are not > 0, or series of different
            lengths.

    Example:
        >>> train = LossCurve.of(steps=range(1, 101), losses=np.linspace(4.0, 2.0, 100), rates=np.ones(100))
        >>> curve = metric_curve(train, [50, 100], [3.3, 2.31])
        >>> curve.losses[[49, 99]].round(2).tolist()
        [3.3, 2.31]

    Use with:
        :func:`tutelage.forecast.forecast`; :class:`tutelage.comparison.ForecastPruning`.

    Helps / does not help:
        As exact as the metric and the training loss move together between evaluations; the noise of single batches is
        not taken out.

    Relations:
        Where a metric is logged often, use it as it is.

    Source:
        Ours.
    """
    at = np.asarray(steps, dtype=np.int64)
    measured = np.asarray(values, dtype=np.float64)
    if at.ndim != 1 or at.shape != measured.shape:
        raise ValueError(
            f"metric_curve: steps and values must be two series of one length, got {at.shape} and {measured.shape}."
        )
    wrong = np.flatnonzero(~((measured > 0) & np.isfinite(measured)))
    if len(wrong):
        raise ValueError(f"metric_curve: values must be finite and > 0, got {measured[wrong[0]]}.")
    losses = np.log(train.losses)
    reach = max(2, round(_WINDOW * train.total_steps))
    found = [(place, gap) for place in at if np.isfinite(gap := _level(train.steps, losses, int(place), reach))]
    if not found:
        raise ValueError("metric_curve: steps must lie among the training losses, got none that does.")
    places, levels = (np.array(column, dtype=np.float64) for column in zip(*found, strict=True))
    gaps = np.log(measured[np.isin(at, places)]) - levels
    filled = np.exp(losses + np.interp(train.steps, places, gaps))
    return LossCurve(train.steps, filled, train.rates, train.warmup, train.name)


def _level(steps: NDArray[np.int64], losses: NDArray[np.float64], place: int, reach: int) -> float:
    """Return where a line through the log losses around an update passes it, NaN where there are none."""
    near = np.abs(steps - place) <= reach
    if near.sum() < _LINE:
        return float(losses[near].mean()) if near.any() else float("nan")
    return float(np.polyfit(steps[near] - place, losses[near], 1)[1])


def run_curve(folder: str | Path, rates: ArrayLike, *, metric: str, until: int | None = None) -> LossCurve | None:
    """Return the curve of a run that is under way at the level of a metric.

    Args:
        folder: The run folder.
        rates: Rate of every update of the run's plan, shape ``(updates,)``.
        metric: Name of the metric in the curve, such as ``val_loss``; lower is better, > 0.
        until: Updates after which nothing counts; all that were made if not given.

    Returns:
        The curve, ``None`` before the second evaluation.

    Raises:
        DataNotFound: The folder holds no curve.
        CorruptRun: The curve cannot be read.
        DataError: It has no usable loss.
        ValueError: No training loss before ``until``, or a metric that is not > 0.

    Example:
        >>> import tempfile
        >>> from tutelage.training import train
        >>> from tutelage.workloads import prepare
        >>> folder = tempfile.mkdtemp()
        >>> result = train(prepare("digits:net=mlp"), "constant", budget="20steps", out=folder, eval_every=5)
        >>> curve = run_curve(folder, np.full(20, 0.1), metric="val_loss", until=10)
        >>> len(curve.steps), curve.total_steps
        (9, 20)
    """
    train = read_loss_curve(folder, loss="loss", rates=rates).curve
    columns = read_curve(folder)
    measured = columns.get(metric)
    if measured is None:
        return None
    at = columns["step"] + 1  # what stands beside an update was measured after it
    known = np.isfinite(measured)
    if until is not None:
        train, known = train.until(until - 1), known & (at <= until)
    return metric_curve(train, at[known], measured[known]) if known.sum() >= _EVALUATIONS else None


def in_blocks(curve: LossCurve, blocks: int = 60) -> LossCurve:
    """Return a curve in blocks of equal length, each the mean of its log losses: less of the noise of batches.

    Args:
        curve: The curve.
        blocks: How many, >= 1; one without any point is left out.

    Raises:
        ValueError: ``blocks`` below 1.

    Example:
        >>> curve = LossCurve.of(steps=range(1, 101), losses=np.linspace(4.0, 2.0, 100), rates=np.ones(100))
        >>> in_blocks(curve, 2).steps.tolist(), in_blocks(curve, 2).losses.round(2).tolist()
        ([25, 75], [3.5, 2.49])
    """
    if blocks < 1:
        raise ValueError(f"in_blocks: blocks must be >= 1, got {blocks}.")
    place = np.minimum(curve.steps * blocks // int(curve.steps[-1]), blocks - 1)
    count = np.bincount(place, minlength=blocks)
    kept = count > 0
    sums = [
        np.bincount(place, weights=values, minlength=blocks)[kept] for values in (curve.steps, np.log(curve.losses))
    ]
    steps, losses = (column / count[kept] for column in sums)
    return dataclasses.replace(curve, steps=np.rint(steps).astype(np.int64), losses=np.exp(losses))
