"""QuRating: how good a text is by a criterion, as a rater learned it from comparisons in pairs."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, did_you_mean
from tutelage.signals._protocol import Batch, Direction, spec_of
from tutelage.signals._words import texts_of
from tutelage.signals.quality_rater import QualityRater

#: Criteria whose high end is hard, not good.
_HARD = ("required-expertise",)


@dataclass(frozen=True, kw_only=True, repr=False)
class QuRating:
    """The rating of a text by a rater that has learned from pairwise judgements.

    Texts are easier to compare than to grade; a judge compares some pairs, a rater learns from that, and all data are
    rated at the cost of the features.

    **Formula**: ``score = sum over chunks c of (words in c / words) * s(c)``, with ``s`` the rater's score in log odds,
    0 for an average text among those that were judged.

    Args:
        rater: The file of a rater, or a :class:`QualityRater`; :func:`fit_rater` makes one.
        criterion: Which of its criteria; the first where not given.
        column: Column with the text.

    Returns:
        ``score(batch)``: float64 ``(n,)``, log odds; high = good, or hard for ``required-expertise``. NaN for a text
        without words.

    Raises:
        DataNotFound: There is no such file.
        DataError: The file is no rater.
        ConfigError: The rater has no such criterion.
        BadRow: A value that is no text.

    Example:
        >>> from tutelage.signals import fit_rater, judge_pairs
        >>> texts = ["Water boils at 100 degrees.", "Buy now!", "Light is a wave.", "Click here!"]
        >>> judge = lambda question, a, b: float("!" not in a)
        >>> pairs = [(0, 1), (2, 3), (1, 2), (3, 0)]
        >>> judged = judge_pairs(texts, pairs, judge, criteria=["educational-value"], both_orders=False, cache=False)
        >>> quality = QuRating(rater=fit_rater(texts, judged, ridge=0.1))
        >>> high, low = quality.score({"text": ["Sound is a wave.", "Order now!"]})
        >>> bool(high > 0 > low)
        True

    Use with:
        ``tutelage score data.jsonl --signal qurating:rater=FILE,criterion=educational-value``; selection by Gumbel
        noise with a temperature, after scaling to mean 0 and spread 1; orders from low to high.

    Helps / does not help:
        Sampling with the rating as a logit at temperature 2 beat both uniform sampling and the best only, which loses
        diversity; educational value was the best criterion (paper). Ratings differ by domain: look at the mix of what
        is chosen.

    Relations:
        :class:`InstructMining` learns what lowers the loss from runs; this learns what a judge prefers.

    Source:
        Wettig et al., QuRating, 2024, arXiv 2402.09739, section 3; effects from memory of the paper.
    """

    spec_name: ClassVar[str] = "qurating"
    per_example: ClassVar[bool] = True
    #: It is in the fingerprint by its content.
    neutral: ClassVar[tuple[str, ...]] = ("rater",)

    rater: str | QualityRater
    criterion: str | None = None
    column: str = "text"

    def __post_init__(self) -> None:
        """Check what can be checked without opening the rater."""
        if isinstance(self.rater, Path):
            object.__setattr__(self, "rater", str(self.rater))
        if isinstance(self.rater, QualityRater):
            self._place()

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    @property
    def direction(self) -> Direction:
        """What a high score means."""
        chosen = self.criterion or (self.rater.criteria[0] if isinstance(self.rater, QualityRater) else None)
        return "hard" if (chosen or self._open().criteria[0]) in _HARD else "good"

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return (self.column,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the rating of each text."""
        texts = texts_of(batch, self.column)
        return self._open().rate(texts)[:, self._place()] if texts else np.empty(0)

    def fingerprint(self) -> str:
        """Return a hash of the rater."""
        return self._open().fingerprint()

    def _open(self) -> QualityRater:
        if isinstance(self.rater, QualityRater):
            return self.rater
        path = Path(self.rater).expanduser()
        return _opened(path, path.stat().st_mtime_ns if path.exists() else 0)

    def _place(self) -> int:
        known = self._open().criteria
        if self.criterion is None:
            return 0
        if self.criterion not in known:
            raise ConfigError(
                f'qurating: the rater has no criterion "{self.criterion}".{did_you_mean(self.criterion, known)} It '
                f"has: {', '.join(known)}."
            )
        return known.index(self.criterion)


@functools.lru_cache(maxsize=4)
def _opened(path: Path, changed: int) -> QualityRater:
    """Return the rater of a file, read once for each of its versions."""
    return QualityRater.load(path)
