"""Learners ranked by where their learning curves lead, and which of them cannot be told apart yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tutelage.errors import NotReady
from tutelage.forecast.learning_bayes import LearningPosterior
from tutelage.forecast.learning_curve import LearningCurve


@dataclass(frozen=True)
class Ranked:
    """A learner in a ranking.

    Args:
        name: Its name.
        score: Score (or loss) forecast at the size of the ranking.
        spread: Its proximity, or half of its interval.
        not_separable_from: Learners that this forecast cannot tell it from.
    """

    name: str
    score: float
    spread: float
    not_separable_from: tuple[str, ...]


def rank_systems(
    curves: Mapping[str, LearningCurve] | Mapping[str, LearningPosterior], size: float, *, level: float = 0.8
) -> tuple[Ranked, ...]:
    """Rank learners by the score forecast at a training size, and say which of them are not separable.

    **Formula**: two learners are not separable where their forecasts differ by less than the sum of their proximities
    (:class:`LearningCurve`), or where neither is the better one with probability ``(1 + level) / 2``
    (:class:`LearningPosterior`).

    Args:
        curves: By name: curves past their prediction level, or posteriors; all scores or all losses.
        size: Training size to rank at.
        level: How sure the order of two posteriors must be, in (0, 1).

    Returns:
        The learners, the best first.

    Raises:
        ValueError: No curve, curves mixed with posteriors or scores with losses, or an argument out of range.
        NotReady: A curve is before its prediction level; names it.

    Example:
        >>> sizes = [5000 * i for i in range(1, 13)]
        >>> scores = {name: [best - 4 * n**-0.45 for n in sizes] for name, best in {"a": 0.9, "b": 0.97}.items()}
        >>> ranking = rank_systems({name: LearningCurve.of(sizes, of) for name, of in scores.items()}, 200_000)
        >>> [(row.name, round(row.score, 3), row.not_separable_from) for row in ranking]
        [('b', 0.954, ()), ('a', 0.884, ())]

    Use with:
        :class:`LearningCurve`, :func:`learning_posterior`.

    Helps / does not help:
        The proximity is a cautious measure: by it few pairs of good learners are separable, and the order itself is
        right far more often. The probability is the sharper one.

    Relations:
        :meth:`LearningPosterior.better_than` gives the probability of a pair.

    Source:
        Vilares Ferro, Darriba Bilbao & Ribadas Pena, arXiv 2402.02515, on comparing systems at training time; the rules
        for pairs are ours.
    """
    if not curves:
        raise ValueError("rank_systems: curves must hold at least one curve.")
    if not 0 < level < 1:
        raise ValueError(f"rank_systems: level must be in (0, 1), got {level}.")
    if len({type(curve) for curve in curves.values()}) > 1:
        raise ValueError("rank_systems: curves must all be of one kind, got LearningCurve and LearningPosterior.")
    losses = {_is_loss(curve) for curve in curves.values()}
    if len(losses) > 1:
        raise ValueError("rank_systems: curves must all be scores or all be losses, got both.")
    found = {name: _forecast(name, curve, size, level) for name, curve in curves.items()}
    order = sorted(found, key=lambda name: found[name][0], reverse=not losses.pop())

    def tied(one: str, other: str) -> bool:
        mine, theirs = curves[one], curves[other]
        if isinstance(mine, LearningPosterior) and isinstance(theirs, LearningPosterior):
            sure = mine.better_than(theirs, size)
            return max(sure, 1 - sure) < (1 + level) / 2
        return abs(found[one][0] - found[other][0]) < found[one][1] + found[other][1]

    return tuple(
        Ranked(name, *found[name], tuple(other for other in order if other != name and tied(name, other)))
        for name in order
    )


def _is_loss(curve: LearningCurve | LearningPosterior) -> bool:
    return curve.lower_is_better if isinstance(curve, LearningCurve) else curve.top is None


def _forecast(name: str, curve: LearningCurve | LearningPosterior, size: float, level: float) -> tuple[float, float]:
    if isinstance(curve, LearningPosterior):
        ahead = curve.forecast([size], level=level, measured=False)
        return float(ahead.median[0]), float(ahead.high[0] - ahead.low[0]) / 2
    try:
        return curve.predict(size), curve.proximity
    except NotReady as error:
        raise NotReady(f"{name}: {error}") from None
