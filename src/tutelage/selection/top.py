"""Top: the examples with the highest or lowest scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.selection._checks import amount_of, as_spec, check_amount, check_choice, present, score_array
from tutelage.selection._protocol import Takes
from tutelage.selection._smallest import smallest


@dataclass(frozen=True, kw_only=True, repr=False)
class Top:
    """Keeps a share or a number of examples with the highest scores, or the lowest.

    Use it where the score alone decides; where the best examples are much alike, :class:`tutelage.selection.Gumbel` or
    :class:`tutelage.selection.Balanced` keep more of the variety.

    **Formula**: with ``k = floor(share n + 1/2)`` or ``k = count``, the ``k`` examples that come first when sorted by
    score; of equal scores those that come first in the data. Share 0.3 of 10 examples are 3.

    Args:
        share: Share of the examples to keep, in (0, 1]; at least one is kept. Give this or ``count``.
        count: Number of examples to keep, >= 1.
        side: ``"high"`` keeps the highest scores, ``"low"`` the lowest: the easiest where high means hard.
        missing: ``"refuse"``: a score that is NaN is an error; ``"drop"``: such examples are left out, and a share is
            one of the rest.

    Returns:
        ``select(scores)``: places of the examples kept, int64 ``(k,)``, ascending.

    Raises:
        ValueError: Not exactly one of ``share`` and ``count``, one out of range; from ``select``: more asked than there
            are, NaN, or no examples.

    Example:
        >>> Top(share=0.5).select([0.1, 0.9, 0.5, 0.9]).tolist()
        [1, 3]
        >>> Top(count=1, side="low").select([3.0, 1.0, 1.0]).tolist()
        [1]

    Use with:
        ``tutelage select scored.parquet --keep top:share=0.3,side=low --score loss --out easy.parquet``;
        ``dataset.select(indices)`` of the datasets library; ``torch.utils.data.Subset(dataset, indices)``.

    Helps / does not help:
        A hard cut loses variety: for pre-training on texts rated by quality, taking the top was worse than drawing by
        rating (QuRating, section 5). Scores that depend on length or domain select those.

    Relations:
        ``gumbel:temperature=0`` keeps the same examples. Nothing is sorted: about one pass over the data, several times
        faster than a partition of all (``benchmarks/selection_speed.py``).

    Source:
        Common practice; the limit is found by sampling as in Floyd and Rivest, Expected time bounds for selection,
        Communications of the ACM 18, 1975.
    """

    spec_name: ClassVar[str] = "top"
    takes: ClassVar[Takes] = "scores"
    beside: ClassVar[tuple[str, ...]] = ()

    share: float | None = None
    count: int | None = None
    side: Literal["high", "low"] = "high"
    missing: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        """Check every argument."""
        check_amount("Top", share=self.share, count=self.count)
        check_choice("Top", "side", self.side, ("high", "low"))
        check_choice("Top", "missing", self.missing, ("refuse", "drop"))

    def __repr__(self) -> str:
        """Return the spec that builds this selection again."""
        return as_spec(self)

    def select(self, scores: ArrayLike, /, *, seed: int = 0) -> NDArray[np.int64]:
        """Return the places of the examples kept, ascending; nothing is drawn, so ``seed`` changes nothing."""
        values = score_array("Top", scores, missing=self.missing)
        places = present(values) if self.missing == "drop" else None
        if places is not None:
            values = values[places]
        k = amount_of("Top", values.size, self.share, self.count)
        kept = smallest(values if self.side == "low" else -values, k)
        return kept if places is None else places[kept]
