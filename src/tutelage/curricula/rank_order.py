"""Every example once, in the order of its score: the simplest curriculum, with noise if wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula._batches import scored_batches
from tutelage.curricula._lazy_order import LazyOrder, ascending
from tutelage.curricula._shared import clean_scores, columns_of, spec_of
from tutelage.gumbel import gumbel_noise
from tutelage.randomness import derive_seed


@dataclass(frozen=True, kw_only=True, repr=False)
class RankOrder:
    """Shows every example once, from the lowest score to the highest or back, sharply or with noise.

    Costs nothing beside random order and changes no data: the first curriculum to try with ratings at hand.

    **Formula**: ascending order of the scores, equal ones in random order. With ``temperature`` T > 0: of the keys
    ``z_i / T + g_i``, ``g`` Gumbel noise, ``z`` the scores at mean 0 and deviation 1. ``descending`` turns it round:
    with noise, the order of draws without replacement with ``p`` proportional to ``exp(z / T)``.

    Args:
        descending: From the highest score to the lowest.
        temperature: T >= 0; 0 sorts sharply.
        repeat: Go through the order again when the run asks for more examples than there are; the noise and the order
            of equal scores are new each time.
        by: Column or signal of the scores.

    Returns:
        ``order(scores, seed=...)``: a permutation, int64 ``(n,)``.

    Raises:
        ValueError: ``temperature`` below 0, NaN scores; from a sampler, more examples than there are without
            ``repeat``.

    Example:
        >>> RankOrder().order(np.array([0.3, 0.1, 0.2]), seed=0)
        array([1, 2, 0])
        >>> RankOrder(descending=True).order(np.array([0.3, 0.1, 0.2]), seed=0)
        array([0, 2, 1])

    Use with:
        ``CurriculumSampler("rank-order:by=length", lengths, num_samples=n, seed=0)``. Trainers that shuffle destroy it:
        :func:`tutelage.curricula.use_with_trainer`.

    Helps / does not help:
        Training 1.3B parameters on one sample from low to high required expertise lowered perplexity against random
        order. In medical question answering sorted order gained 0.05 points over shuffling on average.

    Relations:
        :class:`Paced` keeps drawing easy examples; :class:`HumanOrder` groups by category; :class:`Quality` draws with
        the same keys, best first.

    Source:
        Wettig et al., QuRating, 2024, arXiv 2402.09739 (training in order of rating, code read for the card); Bengio et
        al., Curriculum learning, ICML 2009.
    """

    spec_name: ClassVar[str] = "rank-order"

    descending: bool = False
    temperature: float = 0.0
    repeat: bool = False
    by: str = "length"

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"RankOrder: temperature must be a finite number >= 0, got {self.temperature}.")

    def columns(self) -> tuple[str, ...]:
        """Return the column it needs."""
        return (self.by,)

    def order(self, scores: Any, *, seed: int) -> NDArray[np.int64]:
        """Return the examples in order, shape ``(n,)``."""
        lazy = self.lazy_order(scores, seed=seed)
        return lazy.take(0, lazy.size)

    def lazy_order(self, scores: Any, *, seed: int) -> LazyOrder:
        """Return the order, sorted as far as it is read."""
        column = clean_scores(columns_of(scores, self.columns(), self.spec_name)[0], self.spec_name)
        noise_seed = derive_seed(seed, "gumbel")
        # With the mean left in: a shift of all keys changes no order.
        scale = 1 / ((float(column.std()) or 1.0) * self.temperature) if self.temperature else 1.0

        def keys(examples: NDArray[np.int64]) -> NDArray[np.uint64]:
            values = column[examples].astype(np.float64) * scale
            found = ascending(values + gumbel_noise(examples, noise_seed) if self.temperature else values)
            return ~found if self.descending else found

        return LazyOrder(len(column), keys, ties=derive_seed(seed, "ties"))
