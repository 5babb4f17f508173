"""data_efficiency: how much less data one learner needs than another for the same score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.randomness import numpy_generator

#: Score by number of examples; several curves by name where there are such: a seed, a task, or ``(task, seed)``.
Curve = Mapping[int, float] | Sequence[tuple[float, float]]
Name = str | tuple[str, ...]
Curves = Curve | Mapping[str, Curve] | Mapping[tuple[str, ...], Curve] | Mapping[tuple[str, str], Mapping[int, float]]
Target = Literal["final_b"] | float
_Points = tuple[NDArray[np.float64], NDArray[np.float64]]
_Key = tuple[str, ...]
_Reached = tuple[float, float | None, float | None]
_NAME = "data_efficiency"
_FINAL: Literal["final_b"] = "final_b"


@dataclass(frozen=True)
class DataEfficiency:
    """What two learners need for the same score.

    Args:
        target: The score.
        n_a: Examples the first needs, or ``None`` where it is never reached.
        n_b: Examples the second needs, or ``None``.
        ratio: ``n_a / n_b``, or ``None``.
        ci: Interval of the ratio, or ``None`` where there is a single curve, or too few draws reach the target; its
            upper end is ``inf`` where that many draws of the first learner never reach it.
        reason: Why there is no ratio, or what to know about it; ``None`` where nothing.
        confidence: Of the interval.
        units: Curves of each learner that were resampled.
    """

    target: float
    n_a: float | None
    n_b: float | None
    ratio: float | None
    ci: tuple[float, float] | None
    reason: str | None
    confidence: float
    units: int


def data_efficiency(
    curve_a: Curves,
    curve_b: Curves,
    target: Target = _FINAL,
    *,
    higher_is_better: bool = True,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    names: tuple[str, str] = ("a", "b"),
) -> DataEfficiency:
    """Say how many examples two learners need to reach the same score, and the ratio of the two numbers.

    Where a model was tuned on other tasks first, a ratio of 0.25 says that it needs a quarter of the examples.

    **Formula**: with scores ``s_i`` at sizes ``n_1 < n_2 < ...``, a target between ``s_i`` and ``s_(i+1)`` is first
    reached at ``n = exp(ln n_i + (target - s_i) / (s_(i+1) - s_i) (ln n_(i+1) - ln n_i))``; ``ratio = n_a / n_b``.

    Args:
        curve_a: The learner in question: score by number of examples, ``{10: 0.45, 100: 0.66}`` or pairs; or several
            such curves by name, whose means at the sizes they share are taken. A name is a text (a seed, a task) or a
            tuple of texts of one length, such as ``(task, seed)``.
        curve_b: The reference. Where both are several curves, their names must be the same: they are drawn in pairs.
        target: ``"final_b"``: the score of the reference on all of its data; or a score.
        higher_is_better: Whether a higher score is better; ``False`` for losses and error rates.
        confidence: Of the interval, in (0, 1).
        resamples: Bootstrap draws, >= 100.
        seed: Of the draws.
        names: What the two are called where a reason is given.

    Returns:
        Sizes, ratio and interval: a percentile bootstrap over the named curves, the target computed anew in each draw;
        of tuples every position is drawn by itself, so that both tasks and seeds count as samples of others.
        ``None`` and a reason where a learner never reaches the target: nothing is extrapolated. A target that is
        reached with the smallest size already gives that size and a remark, because the true number may be smaller.

    Raises:
        ValueError: Sizes that are not positive or not increasing, scores that are not finite, fewer than two sizes,
            names of curves that differ, or an argument out of range.

    Example:
        >>> sizes = [10, 50, 100, 200, 1000]
        >>> tuned = dict(zip(sizes, [0.45, 0.60, 0.66, 0.70, 0.74]))
        >>> plain = dict(zip(sizes, [0.20, 0.40, 0.50, 0.58, 0.70]))
        >>> found = data_efficiency(tuned, plain)
        >>> found.n_a, found.n_b, found.ratio
        (200.0, 1000.0, 0.2)

    Use with:
        Scores of any learner on growing beginnings of one data set (:func:`nested_subsets`), and ``tutelage forecast
        efficiency`` for a table of them.

    Helps / does not help:
        A target at a plateau is passed by noise: give several seeds, and look at the interval. The ratio belongs to its
        target; at another score it is another one.

    Relations:
        Learning-curve models extrapolate beyond the sizes that were measured; this only interpolates.

    Source:
        Gupta et al., Instruction tuned models are quick learners, 2023, arXiv 2306.05539, read the share of data off a
        grid of percentages; interpolating in the logarithm and the interval are ours. Drawing tasks and seeds by
        themselves: Owen, The pigeonhole bootstrap, 2007, arXiv 0712.1111.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"{_NAME}: confidence must be > 0 and < 1, got {confidence}.")
    if resamples < 100:
        raise ValueError(f"{_NAME}: resamples must be >= 100, got {resamples}.")
    if target != _FINAL and (isinstance(target, str) or not math.isfinite(target)):
        raise ValueError(f'{_NAME}: target must be "final_b" or a finite score, got {target!r}.')
    sign = 1.0 if higher_is_better else -1.0
    sizes_a, scores_a, names_a = _table(curve_a, "curve_a", sign)
    sizes_b, scores_b, names_b = _table(curve_b, "curve_b", sign)
    paired = len(names_a) > 1 and len(names_b) > 1
    if paired and set(names_a) != set(names_b):
        odd = sorted(set(names_a) ^ set(names_b))
        raise ValueError(
            f"{_NAME}: curve_a and curve_b must hold curves of the same names, got {', '.join(odd[0])} in one only."
        )
    if paired:
        scores_b = scores_b[[names_b.index(name) for name in names_a]]

    def once(weights_a: NDArray[np.float64], weights_b: NDArray[np.float64]) -> _Reached:
        mean_a, mean_b = weights_a @ scores_a / weights_a.sum(), weights_b @ scores_b / weights_b.sum()
        goal = float(mean_b[-1]) if target == _FINAL else sign * float(target)
        return goal, _reached((sizes_a, mean_a), goal), _reached((sizes_b, mean_b), goal)

    goal, n_a, n_b = once(np.ones(len(names_a)), np.ones(len(names_b)))
    ratio = None if n_a is None or n_b is None else n_a / n_b
    units = max(len(names_a), len(names_b))
    ci = None
    if ratio is not None and units > 1:
        rng = numpy_generator(seed, "data efficiency")
        draws = np.empty(resamples)
        for number in range(resamples):
            weights_a = _drawn(names_a, rng)
            weights_b = weights_a if paired else _drawn(names_b, rng)
            draws[number] = _ratio(*once(weights_a, weights_b)[1:]) if weights_a.any() and weights_b.any() else math.nan
        ci = _percentiles(draws, confidence)
    reason = _reason(sign * goal, (n_a, n_b), (sizes_a, sizes_b), (scores_a, scores_b), sign, names)
    return DataEfficiency(sign * goal, n_a, n_b, ratio, ci, reason, confidence, units)


def _table(given: Curves, argument: str, sign: float) -> tuple[NDArray[np.float64], NDArray[np.float64], list[_Key]]:
    """Return sizes, scores ``(curves, sizes)`` with more being better, and the curves' names."""
    several = isinstance(given, Mapping) and any(not isinstance(value, int | float) for value in given.values())
    curves: dict[Any, Any] = {"": given}
    if several and isinstance(given, Mapping):
        curves = dict(given.items())
    points: dict[_Key, _Points] = {}
    for name, curve in curves.items():
        key = tuple(map(str, name)) if isinstance(name, tuple) else (str(name),)
        points[key] = _points(curve, f"{argument} ({', '.join(key)})" if several else argument)
    if len({len(key) for key in points}) > 1:
        raise ValueError(
            f"{_NAME}: names of the curves in {argument} must all have as many positions, got {list(points)}."
        )
    shared = sorted(set.intersection(*({float(size) for size in sizes} for sizes, _ in points.values())))
    if len(shared) < 2:
        raise ValueError(f"{_NAME}: {argument} needs scores at two or more sizes that all its curves share.")
    rows = [scores[np.isin(sizes, shared)] for sizes, scores in points.values()]
    return np.array(shared), sign * np.array(rows), list(points)


def _drawn(names: Sequence[_Key], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how often each curve counts in a draw that takes every position of the names by itself."""
    weights = np.ones(len(names))
    for column in zip(*names, strict=True):
        levels, which = np.unique(column, return_inverse=True)
        weights *= rng.multinomial(len(levels), np.full(len(levels), 1 / len(levels)))[which]
    return weights


def _points(curve: Curve, where: str) -> _Points:
    pairs = list(curve.items()) if isinstance(curve, Mapping) else list(curve)
    try:
        table = np.array(pairs, dtype=np.float64).reshape(len(pairs), 2)
    except (TypeError, ValueError):
        raise ValueError(f"{_NAME}: {where} must be a score by size, such as {{10: 0.45, 100: 0.66}}.") from None
    sizes, scores = table[:, 0], table[:, 1]
    if not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise ValueError(f"{_NAME}: sizes of {where} must be finite and > 0, got {sizes.tolist()}.")
    if (np.diff(sizes) <= 0).any():
        raise ValueError(f"{_NAME}: sizes of {where} must increase, got {sizes.tolist()}.")
    if not np.isfinite(scores).all():
        raise ValueError(f"{_NAME}: scores of {where} must be finite, got {scores.tolist()}.")
    return sizes, scores


def _reached(points: _Points, goal: float) -> float | None:
    sizes, scores = points
    # Means of equal numbers may differ in their last bits, which is no difference in score.
    above = np.flatnonzero(scores >= goal - 1e-12 * max(1.0, abs(goal)))
    if not above.size:
        return None
    first = int(above[0])
    if first == 0 or scores[first] <= goal:
        return float(sizes[first])
    share = (goal - scores[first - 1]) / (scores[first] - scores[first - 1])
    return float(np.exp(np.log(sizes[first - 1]) + share * np.log(sizes[first] / sizes[first - 1])))


def _ratio(n_a: float | None, n_b: float | None) -> float:
    if n_b is None:
        return math.nan
    return math.inf if n_a is None else n_a / n_b


def _percentiles(draws: NDArray[np.float64], confidence: float) -> tuple[float, float] | None:
    known = np.sort(draws[~np.isnan(draws)])
    # Draws in which the reference itself misses a fixed target say nothing; too many of them, and nothing is known.
    if len(known) < 0.5 * len(draws):
        return None
    tail = (1 - confidence) / 2
    places = [math.floor(tail * (len(known) - 1)), math.ceil((1 - tail) * (len(known) - 1))]
    return float(known[places[0]]), float(known[places[1]])


def _reason(
    target: float,
    needed: tuple[float | None, float | None],
    sizes: tuple[NDArray[np.float64], NDArray[np.float64]],
    scores: tuple[NDArray[np.float64], NDArray[np.float64]],
    sign: float,
    names: tuple[str, str],
) -> str | None:
    remarks = []
    for name, reached, points, values in zip(names, needed, sizes, scores, strict=True):
        best = sign * float(values.mean(axis=0).max())
        if reached is None:
            remarks.append(f"{name} never reaches {target:.4g}: its best is {best:.4g}, up to {points[-1]:g} examples")
        elif reached == points[0]:
            remarks.append(
                f"{name} reaches {target:.4g} with the smallest size already, {points[0]:g}; it may need less"
            )
    return "; ".join(remarks) or None
