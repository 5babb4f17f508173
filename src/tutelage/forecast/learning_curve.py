"""A learning curve followed while its training set grows: from when on to believe a power law, and when to stop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tutelage.errors import NotReady
from tutelage.forecast._learning_trends import FIRST_LEVEL, Trend, fit_trend
from tutelage.forecast.learning_families import as_scores, checked

LevelName = Literal["early", "working", "predicting", "converged"]

#: Trends that differ by less, as a share of ``top``, are one.
_SAME = 1e-9
_FALLS = 3


class LearningCurve:
    """Follow a learner's score over growing training sets; forecast it, and say when the forecast can be trusted.

    **Formula** (levels ``l`` = number of sizes so far, sizes ``x_i``, scores ``y_i``)::

        trend       A_l(x) = c - a x^-b, least squares over the first l >= 3 points, b in [0.05, 2]
        working     smallest l with |c_j - c_i| / (x_j - x_i) <= nu^(1 / slowdown) for all i < j in [l, l + lookahead]
        prediction  smallest l from there on with c_l <= top: before it there is no forecast
        anchoring   after it, each fit has one residual more, anchor * (c - c of the level before)
        proximity   eps_l = a_l q^-b_l, q the largest size in [x_1, 10 x_l] where A_l and A_(l-1) cross, else x_l
        converged   eps_l <= tau, at the first level at which all of the above is known

    Losses (``lower_is_better``) follow ``c + a x^-b`` and need ``c >= 0`` instead.

    Args:
        nu: Largest move of the asymptote per unit of size that counts as calm, as a share of ``top``. It depends on the
            unit of size: the default is for words or examples by the ten thousand. For x in other units, scale it.
        slowdown: Root taken of ``nu``, >= 1.
        lookahead: Levels over which the asymptote must stay calm, >= 1.
        anchor: Weight of the anchor; 0 for none, 1 as in the paper.
        tau: Proximity at which the curve counts as converged, as a share of ``top``.
        lower_is_better: The scores are errors or losses; ``nu`` and ``tau`` are then in their unit.
        top: Best score there can be: 1 for shares, 100 for percent.

    Raises:
        ValueError: An argument out of range.

    Example:
        >>> sizes = [5000 * i for i in range(1, 13)]
        >>> curve = LearningCurve.of(sizes, [0.97 - 4 * n**-0.45 for n in sizes])
        >>> curve.level, curve.working_level, curve.prediction_level, curve.convergence_level
        ('converged', 3, 3, 11)
        >>> round(curve.asymptote, 4), round(curve.predict(200_000), 4), round(curve.size_for(0.95))
        (0.97, 0.9535, 129837)
        >>> curve.size_for(0.98)
        inf

    Use with:
        Any learner: train it on nested portions of one shuffled data set, measure on one fixed test set, and call
        :meth:`add`. ``tutelage forecast learning-curve`` does the rest for a table.

    Helps / does not help:
        It holds back a forecast while the curve is still irregular, where a plain power law can be far off. The
        anchor makes the sequence of asymptotes steadier, not more accurate. Portions that are not nested, or a test
        set that changes, break what it rests on; three falls in a row are reported in :attr:`remarks`.

    Relations:
        :func:`learning_posterior` weighs many families and gives intervals; :func:`fit_families` fits them singly.

    Source:
        Vilares Ferro, Darriba Bilbao & Ribadas Pena, Modeling of learning curves with applications to POS tagging,
        Computer Speech & Language 41 (2017), arXiv 2402.02515. Compared with the abstract: prediction level, proximity
        condition, anchoring. The exact form of working level, anchor and proximity is from memory of the paper, its
        text was not at hand; ``nu`` is ours (the paper's, as remembered, is 2e-7 for shares), set by simulation.
    """

    def __init__(
        self,
        *,
        nu: float = 5e-7,
        slowdown: float = 1.0,
        lookahead: int = 5,
        anchor: float = 0.0,
        tau: float = 0.03,
        lower_is_better: bool = False,
        top: float = 1.0,
    ) -> None:
        for name, value in {"nu": nu, "tau": tau, "top": top}.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"LearningCurve: {name} must be finite and > 0, got {value}.")
        for name, value in {"slowdown": slowdown, "lookahead": lookahead}.items():
            if not (math.isfinite(value) and value >= 1):
                raise ValueError(f"LearningCurve: {name} must be >= 1, got {value}.")
        if not (math.isfinite(anchor) and anchor >= 0):
            raise ValueError(f"LearningCurve: anchor must be >= 0, 0 for none, got {anchor}.")
        self.nu, self.slowdown, self.lookahead, self.anchor, self.tau = nu, slowdown, int(lookahead), anchor, tau
        self.lower_is_better, self.top = lower_is_better, 1.0 if lower_is_better else top
        self._restart()

    def _restart(self) -> None:
        self._sizes: list[float] = []
        self._scores: list[float] = []
        self._plain: list[Trend] = []
        self._anchored: list[Trend] = []
        self._working: int | None = None
        self._prediction: int | None = None
        self._convergence: int | None = None

    @classmethod
    def of(cls, sizes: ArrayLike, scores: ArrayLike, **settings: Any) -> LearningCurve:
        """Return the curve after these sizes; see the class and :meth:`add`."""
        curve = cls(**settings)
        n, values = np.asarray(sizes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
        checked(n, values, lower_is_better=curve.lower_is_better, top=curve.top, fewest=0, who="LearningCurve")
        for size, score in zip(n.tolist(), values.tolist(), strict=True):
            curve.add(size, score)
        return curve

    def add(self, size: float, score: float) -> LevelName:
        """Take in the score of a model trained on ``size`` examples, and return :attr:`level`.

        Raises:
            ValueError: A size that is not larger than those before, or a score out of range.
        """
        checked(
            [*self._sizes[-1:], size],
            [*self._scores[-1:], score],
            lower_is_better=self.lower_is_better,
            top=self.top,
            fewest=1,
            who="LearningCurve",
        )
        self._sizes.append(float(size))
        self._scores.append(float(score))
        level = len(self._sizes)
        if level < FIRST_LEVEL:
            return self.level
        self._plain.append(self._fit(level, self._plain[-1] if self._plain else None, anchor=0.0))
        if self._working is None and level - self.lookahead >= FIRST_LEVEL:
            moved = self._move(level - self.lookahead)
            if moved <= self._limit():
                self._working = level - self.lookahead
        if self._working is not None and self._prediction is None:
            later = (trend for trend in self._plain if trend.level >= (self._working or 0))
            found = next((trend for trend in later if self._feasible(trend)), None)
            if found is not None:
                self._prediction = found.level
                self._anchored = [found]
        if self._prediction is not None:
            for number in range(self._anchored[-1].level + 1, level + 1):
                self._anchored.append(self._fit(number, self._anchored[-1], anchor=self.anchor))
            near = self._anchored[-1].proximity
            if self._convergence is None and near is not None and near <= self.tau * self.top:
                self._convergence = level
        return self.level

    @property
    def level(self) -> LevelName:
        """``early``, ``working`` (calm, asymptote not possible yet), ``predicting`` or ``converged``."""
        if self._convergence is not None:
            return "converged"
        if self._prediction is not None:
            return "predicting"
        return "early" if self._working is None else "working"

    @property
    def working_level(self) -> int | None:
        """First level of the calm stretch; it is known ``lookahead`` levels later."""
        return self._working

    @property
    def prediction_level(self) -> int | None:
        """First level from the working level on whose asymptote is possible."""
        return self._prediction

    @property
    def convergence_level(self) -> int | None:
        """First level at which the proximity was known to be at most ``tau``: where one may stop."""
        return self._convergence

    @property
    def history(self) -> tuple[Trend, ...]:
        """The trend of every level from 3 on; those after the prediction level are anchored, if any are."""
        if self._prediction is None:
            return tuple(self._plain)
        return (*self._plain[: self._prediction - FIRST_LEVEL], *self._anchored)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader must see: scores that fall, against what the method rests on."""
        sign = -1.0 if self.lower_is_better else 1.0
        falls = np.diff(np.array(self._scores)) * sign < 0
        for place in range(len(falls) - _FALLS + 1):
            if falls[place : place + _FALLS].all():
                word = "rose" if self.lower_is_better else "fell"
                return (
                    f"The score {word} {_FALLS} times in a row from size {self._sizes[place]:g} on; the method "
                    "supposes that more data help.",
                )
        return ()

    @property
    def asymptote(self) -> float:
        """The best score more data of this kind can bring.

        Raises:
            NotReady: Before the prediction level.
        """
        return self._ready().c

    @property
    def proximity(self) -> float:
        """How far the forecast is from its limit, in the unit of the scores.

        Raises:
            NotReady: Before the prediction level.
        """
        trend = self._ready()
        return trend.a * trend.size**-trend.b if trend.proximity is None else trend.proximity

    def predict(self, size: float) -> float:
        """Return the score expected of a model trained on ``size`` examples.

        Raises:
            ValueError: A size that is not > 0.
            NotReady: Before the prediction level.
        """
        trend = self._ready()
        if not size > 0:
            raise ValueError(f"LearningCurve: size must be > 0, got {size}.")
        error = np.array([self._error(trend.c) + trend.a * size**-trend.b])
        return float(as_scores(error, None if self.lower_is_better else self.top)[0])

    def size_for(self, score: float) -> float:
        """Return the size at which ``score`` is expected, ``inf`` where it lies beyond the asymptote.

        Raises:
            NotReady: Before the prediction level.
        """
        trend = self._ready()
        beyond = self._error(score) - self._error(trend.c)
        if beyond <= 0:
            return math.inf
        return float((trend.a / beyond) ** (1 / trend.b))

    def missing(self) -> tuple[str, ...]:
        """Return what is missing for a forecast, in words; nothing from the prediction level on."""
        if self._prediction is not None:
            return ()
        level = len(self._sizes)
        if self._working is None:
            needed = FIRST_LEVEL + self.lookahead
            if level < needed:
                return (f"the working level: it takes {needed} sizes to see, there are {level}",)
            moved = self._move(level - self.lookahead)
            return (
                f"the working level: over {self.lookahead + 1} levels the asymptote moved by up to {moved:.2g} a unit "
                f"of size, more than {self._limit():.2g} (nu = {self.nu:g}, slowdown = {self.slowdown:g})",
            )
        bound = "at least 0" if self.lower_is_better else f"at most {self.top:g}"
        return (f"the prediction level: an asymptote of {bound}, that of level {level} is {self._plain[-1].c:.4g}",)

    def state_dict(self) -> dict[str, list[float]]:
        """Return the points; settings are configuration and not part of it."""
        return {"sizes": list(self._sizes), "scores": list(self._scores)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take in the points of a stored curve, in place of those here."""
        self._restart()
        for size, score in zip(state["sizes"], state["scores"], strict=True):
            self.add(size, score)

    def _ready(self) -> Trend:
        if self._prediction is None:
            raise NotReady(f"LearningCurve: no forecast after {len(self._sizes)} sizes; missing: {self.missing()[0]}.")
        return self._anchored[-1]

    def _limit(self) -> float:
        return float(self.nu ** (1 / self.slowdown))

    def _move(self, start: int) -> float:
        """Return the fastest move of the asymptote within the window that starts at a level, per unit of size."""
        window = self._plain[start - FIRST_LEVEL : start - FIRST_LEVEL + self.lookahead + 1]
        pairs = itertools.combinations(window, 2)
        return max(abs(later.c - before.c) / (later.size - before.size) for before, later in pairs) / self.top

    def _feasible(self, trend: Trend) -> bool:
        return trend.c >= 0 if self.lower_is_better else trend.c <= self.top

    def _error(self, score: float) -> float:
        return score if self.lower_is_better else self.top - score

    def _fit(self, level: int, before: Trend | None, *, anchor: float) -> Trend:
        found = fit_trend(
            np.array(self._sizes[:level]),
            np.array([self._error(score) for score in self._scores[:level]]),
            None if before is None else replace(before, c=self._error(before.c)),
            anchor=anchor,
            least=_SAME * self.top,
        )
        return replace(found, c=self._error(found.c))
