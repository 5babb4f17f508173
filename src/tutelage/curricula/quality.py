"""Quality as logits: an example is drawn with probability proportional to the exponential of its rating."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula._batches import scored_batches
from tutelage.curricula._shared import clean_scores, spec_of

#: Scores worked on at a time.
_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True, repr=False)
class Quality:
    """Draws good examples sooner and more surely than bad ones, without dropping any: the rating is a logit.

    Between taking the top (which loses variety) and drawing evenly (which ignores quality). One pass, no repeats.

    **Formula**: ``p_i`` proportional to ``exp(z_i / T)`` among those not drawn yet, ``z`` the ratings shifted and
    scaled to mean 0 and standard deviation 1; all at once by Gumbel keys. ``T = 0``: from the best down; ``T``
    infinite: evenly.

    Args:
        temperature: T >= 0; the paper's choice is 2.
        normalise: Scale the ratings to mean 0 and deviation 1; without, ``temperature`` has no fixed meaning.
        inverse: Draw bad examples sooner, the control.
        repeat: Go through the data again when the run asks for more examples than there are.
        by: Column or signal of the ratings, high for good.

    Returns:
        ``weights(progress, scores)``: probabilities that sum to 1, float64 ``(n,)``.
        ``log_weights(progress, scores)``: logits, dtype of the scores.

    Raises:
        ValueError: ``temperature`` below 0, NaN ratings; from a sampler, more examples than there are without
            ``repeat``.

    Example:
        >>> Quality(temperature=1.0).weights(0.0, np.array([2.0, 0.0, -1.0, 1.0])).round(6)
        array([0.60815 , 0.101653, 0.04156 , 0.248637])

    Use with:
        ``CurriculumSampler("quality:temperature=2", ratings, num_samples=n // 4, seed=0)`` trains on a quarter of the
        data, good ones likelier. To select once: :func:`tutelage.gumbel.gumbel_to_budget`.

    Helps / does not help:
        At 1.3B parameters and 30B of 260B tokens, T = 2 beat even draws and the top. Long documents take more of a
        token budget at equal probability.

    Relations:
        :class:`RankOrder` with a ``temperature`` orders the whole data by the same keys. :class:`Cyclical` draws by
        weights in episodes.

    Source:
        Wettig et al., QuRating, 2024, arXiv 2402.09739, section 3 (its code was read for the card). The paper draws a
        subset and trains on it in random order; here good examples also come sooner: shuffle a drawn subset
        (``indices``) for the paper's.
    """

    spec_name: ClassVar[str] = "quality"
    arrange: ClassVar[str] = "drawn"
    steady: ClassVar[bool] = True

    temperature: float = 2.0
    normalise: bool = True
    inverse: bool = False
    repeat: bool = False
    by: str = "quality"

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        if math.isnan(self.temperature) or self.temperature < 0:
            raise ValueError(f"Quality: temperature must be >= 0, got {self.temperature}.")

    def columns(self) -> tuple[str, ...]:
        """Return the column it needs."""
        return (self.by,)

    def boundaries(self, num_samples: int, num_examples: int) -> NDArray[np.int64]:
        """Return 0: the weights never change."""
        return np.zeros(1, dtype=np.int64)

    def log_weights(self, progress: float, scores: NDArray[Any]) -> NDArray[Any]:
        """Return the logits, shape ``(n,)``; in single precision above a million examples, for the memory."""
        ratings = clean_scores(scores, self.spec_name)
        mean, spread = 0.0, 1.0
        if self.normalise:
            mean = float(ratings.mean(dtype=np.float64))
            # Piece by piece: deviations of all at once would be another copy of the data.
            pieces = (ratings[start : start + _BLOCK] for start in range(0, len(ratings), _BLOCK))
            spread = math.sqrt(math.fsum(float(np.square(piece - mean).sum()) for piece in pieces) / len(ratings))
        if math.isinf(self.temperature) or spread == 0:
            return np.zeros(len(ratings))
        if self.temperature == 0:
            # The limit: neighbours in rank lie so far apart that no Gumbel noise (at most 40) turns them round.
            ranks = np.unique(ratings, return_inverse=True)[1] * 1e3
            return -ranks if self.inverse else ranks
        factor = 1 / (spread * self.temperature)
        found = np.empty(len(ratings), dtype=np.float32 if len(ratings) > 1 << 20 else np.float64)
        for start in range(0, len(ratings), _BLOCK):
            found[start : start + _BLOCK] = (ratings[start : start + _BLOCK] - mean) * (
                -factor if self.inverse else factor
            )
        return found

    def weights(self, progress: float, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability of being drawn first, shape ``(n,)``."""
        logits = self.log_weights(progress, scores).astype(np.float64)
        found = np.exp(logits - logits.max())
        return np.asarray(found / found.sum())
