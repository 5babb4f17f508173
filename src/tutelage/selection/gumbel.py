"""Gumbel: a weighted draw without replacement, the score as the logarithm of the weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.gumbel import gumbel_keys, gumbel_to_budget
from tutelage.selection._checks import (
    amount_of,
    as_spec,
    check_amount,
    check_choice,
    present,
    score_array,
    size_column,
)
from tutelage.selection._protocol import Takes
from tutelage.selection._smallest import smallest


@dataclass(frozen=True, kw_only=True, repr=False)
class Gumbel:
    """Draws examples without replacement, those with higher scores more likely: ``p`` proportional to ``exp(s / T)``.

    Between taking the best (``temperature=0``) and taking any (``temperature=inf``): keeps most of the quality and
    much of the variety.

    **Formula**: ``key_i = s_i / T + g_i`` with independent standard Gumbel noise ``g_i``; the largest keys are kept.
    That is the law of drawing one example after another with probability proportional to ``exp(s_i / T)`` among those
    left. With ``budget`` in the unit of ``sizes``: examples in descending order of their keys until their sizes add up
    to it; the last may overshoot.

    Args:
        share: Share of the examples to keep, in (0, 1]; at least one is kept. Give one of these three.
        count: Number of examples to keep, >= 1.
        budget: Total size to keep, > 0, such as tokens; needs ``sizes``.
        temperature: T >= 0 in the unit of the scores. With scores of mean 0 and deviation 1 the paper takes 2.
        side: ``"high"`` draws high scores more often, ``"low"`` low ones.
        missing: ``"refuse"``: a score that is NaN is an error; ``"drop"``: such examples are left out.

    Returns:
        ``select(scores, seed=..., sizes=...)``: places of the examples kept, int64, ascending.

    Raises:
        ValueError: Not exactly one of ``share``, ``count`` and ``budget``, one out of range, ``temperature`` below 0;
            from ``select``: more asked than there are, ``sizes`` absent, of another length or negative, NaN or an
            infinite weight.

    Example:
        >>> scores = np.log([0.6, 0.1, 0.3])
        >>> Gumbel(count=2, temperature=0).select(scores).tolist()
        [0, 2]
        >>> drawn = [Gumbel(count=1).select(scores, seed=seed)[0] for seed in range(2000)]
        >>> np.round(np.bincount(drawn) / 2000, 1).tolist()
        [0.6, 0.1, 0.3]

    Use with:
        ``tutelage select rated.parquet --keep gumbel:share=0.25,temperature=2 --score quality --out drawn.parquet``.

    Helps / does not help:
        Drawing at temperature 2 gave lower perplexity than drawing uniformly and than the top (1.3B parameters, 30B of
        260B tokens; QuRating, section 5). A long example takes more of a budget at equal probability.

    Relations:
        ``temperature=0`` is ``top``; ``balanced`` also normalises the scores and gives every group its quota;
        :func:`tutelage.gumbel.gumbel_top_k` gives the order drawn.

    Source:
        Wettig et al., QuRating, 2024, arXiv 2402.09739, section 3 (read with the authors' selection script); Kool, van
        Hoof and Welling, 2019, arXiv 1903.06059 (the draw).
    """

    spec_name: ClassVar[str] = "gumbel"
    takes: ClassVar[Takes] = "scores"
    beside: ClassVar[tuple[str, ...]] = ("sizes",)

    share: float | None = None
    count: int | None = None
    budget: float | None = None
    temperature: float = 1.0
    side: Literal["high", "low"] = "high"
    missing: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        """Check every argument."""
        check_amount("Gumbel", share=self.share, count=self.count, budget=self.budget)
        if math.isnan(self.temperature) or self.temperature < 0:
            raise ValueError(f"Gumbel: temperature must be >= 0, got {self.temperature}.")
        check_choice("Gumbel", "side", self.side, ("high", "low"))
        check_choice("Gumbel", "missing", self.missing, ("refuse", "drop"))

    def __repr__(self) -> str:
        """Return the spec that builds this selection again."""
        return as_spec(self)

    def select(self, scores: ArrayLike, /, *, seed: int = 0, sizes: ArrayLike | None = None) -> NDArray[np.int64]:
        """Return the places of the examples kept, ascending.

        Args:
            scores: Shape ``(n,)``.
            seed: Of the draw.
            sizes: Size of each example, shape ``(n,)``; needed for ``budget``, unused otherwise.
        """
        values = score_array("Gumbel", scores, missing=self.missing)
        if self.budget is not None and sizes is None:
            raise ValueError("Gumbel: budget needs sizes, one an example, such as its tokens, got none.")
        lengths = None if sizes is None else size_column("Gumbel", sizes, values.size)
        places = present(values) if self.missing == "drop" else None
        if places is not None:
            values, lengths = values[places], None if lengths is None else lengths[places]
        logits = values if self.side == "high" else -values
        if self.budget is not None and lengths is not None:
            kept = np.sort(gumbel_to_budget(logits, lengths, self.budget, seed=seed, temperature=self.temperature))
        else:
            keys = gumbel_keys(logits, seed=seed, temperature=self.temperature)
            np.negative(keys, out=keys)
            # Weight 0 is never drawn, not even where nothing else is left.
            there = keys.size - int(np.count_nonzero(keys == np.inf))
            if not there:
                raise ValueError("Gumbel: scores give every example the weight 0, all are infinite.")
            kept = smallest(keys, amount_of("Gumbel", there, self.share, self.count))
        return kept if places is None else places[kept]
