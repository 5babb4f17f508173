"""Threshold: the examples whose score lies in a range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.selection._checks import as_spec, check_choice, score_array
from tutelage.selection._protocol import Takes


@dataclass(frozen=True, kw_only=True, repr=False)
class Threshold:
    """Keeps the examples whose score is at least ``min`` and at most ``max``.

    Use it where the score has a meaning of its own: a perplexity, a pass rate, a count of tokens.

    **Formula**: keep example ``i`` if ``min <= s_i <= max``.

    Args:
        min: Lowest score kept; no bound where not given. Give this, ``max`` or both.
        max: Highest score kept; no bound where not given.
        missing: ``"refuse"``: a score that is NaN is an error; ``"drop"``: such examples are left out.

    Returns:
        ``select(scores)``: places of the examples kept, int64, ascending.

    Raises:
        ValueError: Neither bound, NaN as one, or ``min`` above ``max``; from ``select``: NaN, or no example in the
            range.

    Example:
        >>> Threshold(max=2.5).select([1.0, 3.0, 2.5]).tolist()
        [0, 2]
        >>> Threshold(min=0.25, max=0.75).select([0.0, 0.25, 0.5, 1.0]).tolist()
        [1, 2]

    Use with:
        ``tutelage select scored.parquet --keep threshold:max=2.5 --score loss --out kept.parquet``.

    Helps / does not help:
        The band of pass rates between 0.25 and 0.75 is a common choice for reinforcement learning: examples always or
        never solved teach nothing. How many are kept depends on the data: look at the count.

    Relations:
        ``top`` fixes how many are kept instead. On scores of 0 and 1, "variation above t" is the pass rate in
        ``(0, 1 / (1 + t^2))``: see ``variation``.

    Source:
        Common practice; perplexity at most 20 is a filter of DeepDistill, 2025, arXiv 2504.17565.
    """

    spec_name: ClassVar[str] = "threshold"
    takes: ClassVar[Takes] = "scores"
    beside: ClassVar[tuple[str, ...]] = ()

    min: float | None = None
    max: float | None = None
    missing: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        """Check every argument."""
        bounds = [bound for bound in (self.min, self.max) if bound is not None]
        if not bounds:
            raise ValueError("Threshold: give min, max or both, got none.")
        if any(math.isnan(bound) for bound in bounds):
            raise ValueError(f"Threshold: min and max must be numbers, got min={self.min}, max={self.max}.")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"Threshold: min must be <= max, got {self.min} and {self.max}.")
        check_choice("Threshold", "missing", self.missing, ("refuse", "drop"))

    def __repr__(self) -> str:
        """Return the spec that builds this selection again."""
        return as_spec(self)

    def select(self, scores: ArrayLike, /, *, seed: int = 0) -> NDArray[np.int64]:
        """Return the places of the examples kept, ascending; nothing is drawn, so ``seed`` changes nothing."""
        values = score_array("Threshold", scores, missing=self.missing)
        # Comparisons with NaN are false: what is missing is left out.
        lowest, highest = (-math.inf if self.min is None else self.min), (math.inf if self.max is None else self.max)
        places = np.flatnonzero((values >= lowest) & (values <= highest))
        if not places.size:
            there = values[~np.isnan(values)]
            span = f"between {there.min():g} and {there.max():g}" if there.size else "all missing"
            raise ValueError(f"{self!r} keeps none of {values.size} examples; their scores are {span}.")
        return places
