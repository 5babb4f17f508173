"""CLIMB's data curriculum: what lies below a growing percentile of difficulty may be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula._batches import scored_batches
from tutelage.curricula._protocol import ExampleStream
from tutelage.curricula._shared import First, clean_scores, spec_of
from tutelage.curricula._streams import AdmissionStream, WeightStream, changes
from tutelage.curricula.pacing import Pace, Pacing


@dataclass(frozen=True, kw_only=True, repr=False)
class PercentilePacing:
    """Draws from the examples whose difficulty is at most a percentile that grows with the run; equal scores together.

    The data curriculum of a BabyLM study that found no gain over a tuned baseline: the honest thing to compare with.

    **Formula**: ``threshold(p) = percentile(scores, 100 g(p))``, linear between order statistics, ``g`` a
    :class:`Pacing`; ``w_i = 1`` where ``score_i <= threshold``, else 0. With ``uniform=False``, ``w_i = score_i``
    there, which favours the hardest admitted.

    Args:
        pace: How the percentile grows; the study used ``linear`` and ``logarithmic``.
        start: Progress at which growth begins.
        end: Progress at which it is done.
        low: Share at the start.
        high: Share at the end.
        uniform: Draw all admitted alike.
        stages: Times the percentile is looked at while it grows.
        by: Column or signal of the scores, high for hard.

    Returns:
        ``weights(progress, scores)``: float64 ``(n,)``.

    Raises:
        ValueError: What :class:`Pacing` refuses, ``stages`` below 1, NaN scores, or negative ones without ``uniform``.

    Example:
        >>> PercentilePacing(start=0, end=1, low=0.4).weights(0.0, np.array([1.0, 2, 3, 4, 10]))
        array([1., 1., 0., 0., 0.])

    Use with:
        ``CurriculumSampler("percentile-pacing:pace=logarithmic", perplexities, num_samples=n, seed=0)``.

    Helps / does not help:
        No data, vocabulary or objective curriculum beat the tuned baseline consistently on 10M words. With few levels
        of difficulty a whole level is admitted at once.

    Relations:
        :class:`Paced` cuts through equal scores so that exactly the share is admitted.

    Source:
        Martinez et al., CLIMB, 2023, arXiv 2311.08886 (data curriculum; defaults and both weightings are its code's,
        read for the card). Its batches are drawn without replacement one by one; ours, while the admitted stay
        the same.
    """

    spec_name: ClassVar[str] = "percentile-pacing"
    ties: ClassVar[str] = "include"
    first: ClassVar[First] = "easy"
    arrange: ClassVar[str] = "drawn"
    repeat: ClassVar[bool] = True

    pace: Pace = "linear"
    start: float = 0.0625
    end: float = 0.875
    low: float = 0.1
    high: float = 1.0
    uniform: bool = True
    stages: int = 100
    by: str = "length"

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        self._pacing().change_points(1, self.stages)

    def _pacing(self) -> Pacing:
        return Pacing(kind=self.pace, start=self.start, end=self.end, low=self.low, high=self.high)

    def columns(self) -> tuple[str, ...]:
        """Return the column it needs."""
        return (self.by,)

    def admitted(self, progress: Any, examples: int) -> Any:
        """Return how many of ``examples`` with different scores lie below the percentile at ``progress``."""
        share = np.asarray(self._pacing()(progress))
        return np.floor(share * (examples - 1) + 1e-9).astype(np.int64) + 1

    def boundaries(self, num_samples: int, num_examples: int) -> NDArray[np.int64]:
        """Return the positions at which the percentile has passed another example."""
        looks = self._pacing().change_points(num_samples, self.stages)
        return changes(looks, self.admitted(looks / num_samples, num_examples))

    def weights(self, progress: float, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Return the weight of each example, shape ``(n,)``."""
        column = self._checked(clean_scores(scores, self.spec_name))
        admitted = column <= np.percentile(column, 100 * self._pacing()(progress))
        return np.where(admitted, 1.0 if self.uniform else column, 0.0)

    def stream(self, scores: Any, *, num_samples: int, seed: int) -> ExampleStream:
        """Return the examples of a run; see :func:`tutelage.curricula.example_stream`."""
        # Uniform draws need the rank of the examples alone, and no weight of any.
        return (AdmissionStream if self.uniform else WeightStream)(self, scores, num_samples, seed)

    def _checked(self, column: NDArray[Any]) -> NDArray[Any]:
        if not self.uniform and column.min() < 0:
            raise ValueError(f"PercentilePacing: scores must be >= 0 where uniform=False, got {column.min():g}.")
        return column
