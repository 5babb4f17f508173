"""Curriculum, anti-curriculum and random curriculum with any pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.curricula._batches import scored_batches
from tutelage.curricula._shared import First, check_first, clean_scores, spec_of
from tutelage.curricula._streams import admitted_count, changes, ranking_of
from tutelage.curricula.pacing import Pace, Pacing


@dataclass(frozen=True, kw_only=True, repr=False)
class Paced:
    """Draws from a growing share of the examples: the easy ones first, the hard ones (anti-curriculum), or random ones.

    The plain curriculum most papers compare with, under any usual pace. Pays with noisy labels or too few steps.

    **Formula**: with ``n`` examples by rank and the share ``g(p)`` of :class:`Pacing`, the first
    ``max(1, floor(g(p) n))`` are drawn with equal weight at progress ``p``, the others not. Progress is looked at
    ``stages`` times while the share grows, and while the admitted stay the same none comes
    again before all have come.

    Args:
        first: Which examples come first: ``"easy"`` (low scores), ``"hard"`` or ``"random"``, the control in which only
            the amount of data grows.
        pace: How the share grows: ``linear``, ``quadratic``, ``root``, ``exponential``, ``logarithmic``, ``step``,
            ``geometric`` or ``staircase``.
        start: Progress at which growth begins.
        end: Progress at which all are admitted; above 1 the run ends before.
        low: Share at the start.
        high: Share at the end.
        stairs: Steps of ``staircase``.
        stages: Times the share is looked at while it grows; set it to the number of updates for one a batch.
        by: Column or signal of the scores, high for hard.

    Returns:
        ``weights(progress, scores)``: 1.0 for admitted examples, else 0.0, float64 ``(n,)``.
        ``admitted(progress, n)``: how many.

    Raises:
        ValueError: What :class:`Pacing` refuses, an unknown ``first``, ``stages`` below 1, or scores that are NaN.

    Example:
        >>> Paced(end=0.8, low=0.2).weights(0.4, np.array([5.0, 1.0, 4.0, 2.0, 3.0]))
        array([0., 1., 0., 1., 1.])
        >>> Paced(first="hard", end=0.8, low=0.2).weights(0.0, np.array([5.0, 1.0, 4.0, 2.0, 3.0]))
        array([1., 0., 0., 0., 0.])

    Use with:
        PyTorch: ``DataLoader(data, batch_size=32, sampler=CurriculumSampler("paced", scores, num_samples=n, seed=0))``.
        Recipes: ``tutelage train --recipe "cosine;paced:pace=root,by=length"``.

    Helps / does not help:
        Over image tasks no order or pace beat random order given standard time; with a tenth of the steps or noisy
        labels easy first did, and a random curriculum often as much. Easy examples are seen more often than hard ones.

    Relations:
        :class:`PercentilePacing` admits whole groups of equal scores; :class:`Competence` has the pace of its paper;
        :class:`RankOrder` shows every example once.

    Source:
        Bengio et al., Curriculum learning, ICML 2009; Wu, Dyer and Neyshabur, When do curricula work?, 2021, arXiv
        2012.03107 (paces, anti- and random curriculum). Defaults ``low`` 0.2, ``end`` 0.8 lie on its grid. Ours: draws
        without replacement within a stage, equal scores in random order.
    """

    spec_name: ClassVar[str] = "paced"
    ties: ClassVar[Literal["include", "exclude", "split"]] = "split"

    first: First = "easy"
    pace: Pace = "linear"
    start: float = 0.0
    end: float = 0.8
    low: float = 0.2
    high: float = 1.0
    stairs: int = 5
    stages: int = 100
    by: str = "length"

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        check_first("Paced", self.first)
        self._pacing().change_points(1, self.stages)

    def _pacing(self) -> Pacing:
        return Pacing(kind=self.pace, start=self.start, end=self.end, low=self.low, high=self.high, stairs=self.stairs)

    def columns(self) -> tuple[str, ...]:
        """Return the column it needs."""
        return (self.by,)

    def admitted(self, progress: ArrayLike, examples: int) -> NDArray[np.int64]:
        """Return how many of ``examples`` are admitted at ``progress``, a number or an array."""
        # The small number keeps a whole product whole where it has come out a little less.
        share = np.asarray(self._pacing()(progress))
        return np.maximum(1, np.floor(share * examples + 1e-9).astype(np.int64))

    def boundaries(self, num_samples: int, num_examples: int) -> NDArray[np.int64]:
        """Return the positions at which more are admitted."""
        looks = self._pacing().change_points(num_samples, self.stages)
        return changes(looks, self.admitted(looks / num_samples, num_examples))

    def weights(self, progress: float, scores: NDArray[Any], *, seed: int = 0) -> NDArray[np.float64]:
        """Return 1.0 for each admitted example, shape ``(n,)``; ``seed`` decides among equal scores."""
        column = clean_scores(scores, self.spec_name)
        ranking = ranking_of(column, self.first, seed)
        found = np.zeros(len(column))
        found[ranking.until(admitted_count(self, progress, ranking))] = 1.0
        return found
