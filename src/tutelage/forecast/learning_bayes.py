"""All families of learning curves weighed against each other: a forecast with an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from tutelage.errors import UnknownPart, did_you_mean
from tutelage.forecast._learning_draws import Draws, draw, quantiles
from tutelage.forecast._learning_shapes import FAMILIES, Floats
from tutelage.forecast.learning_families import as_scores, checked, usable

#: Fewest sizes a posterior is formed from.
FEWEST = 4
#: How many times the largest observed size a target is looked for; beyond it nothing was ever tested.
FARTHEST = 1000.0


@dataclass(frozen=True, eq=False)
class LearningForecast:
    """A forecast of a learning curve.

    Args:
        sizes: Training sizes, shape ``(points,)``.
        median: Score (or loss) that is exceeded with probability 1/2.
        low: Lower end of the interval.
        high: Upper end.
        level: Probability of the interval.
    """

    sizes: Floats
    median: Floats
    low: Floats
    high: Floats
    level: float


@dataclass(frozen=True)
class SizeNeeded:
    """The training size at which a target is reached.

    Args:
        target: Score (or loss) asked for.
        size: Where the median forecast reaches it; ``inf`` where not within 1,000 times the largest observed size.
        early: Where the better end of the interval does.
        late: Where the worse end does.
        level: Probability of the interval.
    """

    target: float
    size: float
    early: float
    late: float
    level: float


@dataclass(frozen=True, eq=False)
class LearningPosterior:
    """What is believed about a learning curve after some sizes of it; made by :func:`learning_posterior`.

    Args:
        sizes: Observed sizes, shape ``(points,)``.
        scores: Observed scores (or losses).
        weights: Posterior probability of each family.
        top: Best score there can be; ``None`` for losses.
        draws: Draws from the posterior.
    """

    sizes: Floats
    scores: Floats
    weights: Mapping[str, float]
    top: float | None
    draws: Draws = field(repr=False)

    def forecast(self, sizes: ArrayLike, *, level: float = 0.8, measured: bool = True) -> LearningForecast:
        """Forecast the score at training sizes.

        Args:
            sizes: Sizes, each at least the first observed one.
            level: Probability of the interval, in (0, 1).
            measured: Interval for a score as it would be measured; otherwise for the curve without its noise.

        Raises:
            ValueError: An argument out of range.
        """
        at = self._sizes(sizes)
        if not 0 < level < 1:
            raise ValueError(f"LearningPosterior: level must be in (0, 1), got {level}.")
        tail = (1 - level) / 2
        found = quantiles(self.draws.at(at, measured=measured), self.draws.weight, (tail, 0.5, 1 - tail))
        first, median, last = (as_scores(row, self.top) for row in found)
        low, high = (first, last) if self.top is None else (last, first)
        return LearningForecast(at, median, low, high, level)

    def probability(self, target: float, size: float, *, measured: bool = False) -> float:
        """Return the probability that ``target`` is reached at ``size`` (score at least, loss at most)."""
        values = self.draws.at(self._sizes([size]), measured=measured)[:, 0]
        return float(self.draws.weight[values <= self._error(target)].sum())

    def size_for(self, target: float, *, level: float = 0.8) -> SizeNeeded:
        """Return the smallest size, from the largest observed on, at which ``target`` is reached.

        Args:
            target: Score (at least) or loss (at most).
            level: Probability of the interval, in (0, 1).
        """
        grid = self.sizes[-1] * np.exp(np.linspace(0.0, math.log(FARTHEST), 120))
        found = self.forecast(grid, level=level, measured=False)
        better, worse = (found.low, found.high) if self.top is None else (found.high, found.low)
        size, early, late = (self._reached(grid, series, target) for series in (found.median, better, worse))
        return SizeNeeded(target, size, early, late, level)

    def better_than(self, other: LearningPosterior, size: float, *, measured: bool = False) -> float:
        """Return the probability that this learner is the better one at ``size``; a tie counts half."""
        mine = self.draws.at(self._sizes([size]), measured=measured)[:, 0]
        theirs = other.draws.at(other._sizes([size]), measured=measured)[:, 0]
        order = np.argsort(theirs)
        behind = np.concatenate([[0.0], np.cumsum(other.draws.weight[order])])
        below, upto = (np.searchsorted(theirs[order], mine, side=side) for side in ("left", "right"))
        return float(self.draws.weight @ (1.0 - 0.5 * (behind[below] + behind[upto])))

    def _reached(self, grid: Floats, series: Floats, target: float) -> float:
        missing = (series - target) * (1.0 if self.top is None else -1.0)
        reached = np.flatnonzero(missing <= 0)
        if not len(reached):
            return math.inf
        place = int(reached[0])
        if place == 0:
            return float(grid[0])
        share = missing[place - 1] / (missing[place - 1] - missing[place])
        return float(grid[place - 1] * (grid[place] / grid[place - 1]) ** share)

    def _error(self, target: float) -> float:
        return target if self.top is None else self.top - target

    def _sizes(self, sizes: ArrayLike) -> Floats:
        at = np.atleast_1d(np.asarray(sizes, dtype=np.float64))
        wrong = np.flatnonzero(~((at >= self.sizes[0]) & np.isfinite(at)))
        if at.ndim != 1 or len(wrong):
            given = f"shape {at.shape}" if at.ndim != 1 else f"{at[wrong[0]]:g}"
            raise ValueError(
                f"LearningPosterior: sizes must be a series of numbers from {self.sizes[0]:g} on, the first observed "
                f"size, got {given}."
            )
        return at


def learning_posterior(
    sizes: ArrayLike,
    scores: ArrayLike,
    families: Iterable[str] | None = None,
    *,
    lower_is_better: bool = False,
    top: float = 1.0,
) -> LearningPosterior:
    """Weigh all families of learning curves by what was observed, and forecast with an interval.

    **Formula**: errors ``e_i`` at sizes ``n_i`` are a family's curve, a random walk in ``log n`` and noise::

        e_i = c + a g(n_i; theta) + W(log n_i / n_1) + noise_i,     a >= 0, c >= 0
        Var W(t) = s^2 t,     Var noise_i = s^2 r (n_i / n_last)^(-2 q)

    with ``(a, c)`` normal, ``s^2`` inverse gamma, ``theta`` even over the ranges of :func:`fit_families` in the
    logarithm, ``r`` in {0.01, 0.1, 1, 10}, ``q`` in {0, 1/2} and all families alike a priori. Given ``theta``, ``r``
    and ``q`` the posterior of ``(a, c, s^2)`` has a closed form, and so has the evidence; the rest is a sum over a
    grid. 2,048 weighted points of a lattice represent it: no random numbers, the same answer every time.

    The walk is what the families cannot say. It keeps errors of neighbouring sizes from counting as independent, lets a
    forecast start from the last observed scores, and widens the interval with the distance.

    Args:
        sizes: Training examples (or words, tokens), shape ``(points,)``, rising, > 0; four at least.
        scores: Score of a model trained on so many, shape ``(points,)``, in ``[0, top]``; losses >= 0.
        families: Names to weigh; all if not given.
        lower_is_better: The scores are errors or losses.
        top: Best score there can be: 1 for shares, 100 for percent. Not used for losses.

    Returns:
        The posterior; forming it takes about 20 ms.

    Raises:
        UnknownPart: No such family.
        ValueError: Fewer than four points, sizes that do not rise, scores out of range.

    Example:
        >>> sizes = [5000 * i for i in range(1, 9)]
        >>> posterior = learning_posterior(sizes, [0.97 - 4 * n**-0.45 for n in sizes])
        >>> ahead = posterior.forecast([200_000])
        >>> bool(ahead.low[0] < 0.97 - 4 * 200_000**-0.45 < ahead.high[0])
        True
        >>> needed = posterior.size_for(0.95)
        >>> needed.early < 129_837 < needed.late, posterior.size_for(0.999).size
        (True, inf)

    Use with:
        Accuracies of scikit-learn's ``learning_curve``, or of any model trained on growing portions of its data; also
        ``tutelage forecast learning-curve``.

    Helps / does not help:
        On 200 curves of the Learning Curve Database, of data sets that played no part in setting it up, it errs less in
        the mean than the last value and than every single family fitted by least squares, whether 10, 25 or 50 % was
        seen; its 80 % intervals hold 78 to 83 % of the later errors, 71 to 80 % of the last one, so they are somewhat
        narrow far out (``benchmarks/learning_curves.py``). It expects curves that fall smoothly: a second descent, or
        data of another kind further on, is outside of what it weighs.

    Relations:
        :func:`fit_families` fits single families; :class:`LearningCurve` says when a plain power law may be believed.

    Source:
        The idea of weighing families: Domhan, Springenberg & Hutter, Speeding up automatic hyperparameter optimization
        of deep neural networks by extrapolation of learning curves, IJCAI 2015, who sample a weighted sum of curves
        with independent noise by Markov chain Monte Carlo. Walk, closed form and lattice are ours; formulas as in
        Viering & Loog, arXiv 2103.10948.
    """
    n, errors = checked(
        sizes, scores, lower_is_better=lower_is_better, top=top, fewest=FEWEST, who="learning_posterior"
    )
    names = usable(n) if families is None else list(dict.fromkeys(families))
    unknown = next((name for name in names if name not in FAMILIES), None)
    if unknown is not None:
        raise UnknownPart(
            f'No family of learning curves "{unknown}".{did_you_mean(unknown, FAMILIES)} All: {", ".join(FAMILIES)}.'
        )
    if not names:
        raise ValueError("learning_posterior: families must name at least one family.")
    if "ilog2" in names and n[0] < 2:
        raise ValueError(f"learning_posterior: ilog2 needs sizes >= 2, where log n > 0, got {n[0]:g}; leave it out.")
    draws = draw(n, errors, names)
    best = None if lower_is_better else top
    return LearningPosterior(n, np.asarray(scores, dtype=np.float64), draws.shares(), best, draws)
