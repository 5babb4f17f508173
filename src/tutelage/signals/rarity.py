"""Rarity: how unlikely the words of an example are, by how often they occur."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.signals._protocol import Batch, Direction, fingerprint_of, spec_of
from tutelage.signals._words import Cut, check_tokenizer, cutter, cutter_fingerprint, texts_of


@dataclass(frozen=True, kw_only=True, repr=False)
class Rarity:
    """How rare the words of a text are: a text of rare words is learned late, as each is seen seldom.

    One pass over the data counts the words, another adds up their logarithms; needs no model.

    **Formula**: with ``c(w)`` how often word ``w`` occurs, ``N`` all words and ``V`` different ones::

        p(w) = (c(w) + alpha) / (N + alpha (V + 1))          score = sum over words w of -log p(w)

    in nats, or the mean over the words. ``alpha = 0`` is the relative frequency; the ``+ 1`` stands for all words that
    were never counted.

    Args:
        reduction: ``"sum"``, the paper's, which grows with the length, or ``"mean"`` over the words.
        alpha: Added to each count, >= 0. With counts of other data, 0 makes a text with an unknown word infinitely
            rare.
        lower: Count words in lower case; not for a tokenizer.
        tokenizer: Cuts texts into tokens that count instead of words: a ``tokenizer.json`` or the folder that holds it,
            a hub id, or in Python a function.
        column: Column with the text.
        counts: How often each word occurs in data of your own choice, as a mapping; only in Python. Otherwise the
            scored data are counted, all rows including equal ones.

    Returns:
        ``score(batch)``: float64 ``(n,)``, nats, >= 0, high = hard; NaN for a text without words. ``prepare(batches)``:
        the signal with its counts.

    Raises:
        ValueError: An unknown reduction, ``alpha`` below 0, or counts that are no numbers >= 0.
        ConfigError: From ``score``: no counts, as ``prepare`` was not called.
        BadRow: A value that is no text.

    Example:
        >>> rarity = Rarity(counts={"the": 3, "cat": 1})
        >>> rarity.score({"text": ["The cat", "the the"]}).round(4)
        array([1.674 , 0.5754])

    Use with:
        ``tutelage score data.jsonl --signal rarity``; the competence-based curriculum (its second difficulty).

    Helps / does not help:
        In machine translation a curriculum by rarity reached the baseline's quality in up to 70 % less time. The sum
        goes mostly with length; use the mean to tell apart texts of all lengths. Names and typing errors count as rare.

    Relations:
        The loss of a unigram model: :class:`Loss` is the same under a model that reads the context. :class:`Length` in
        words is its sum where all words are equally frequent.

    Source:
        Platanios et al., Competence-based curriculum learning for neural machine translation, 2019, arXiv 1903.09848,
        section 2.1, equation of d_rarity (from memory of the paper). Ours: ``alpha``, the mean, and counts of other
        data.
    """

    spec_name: ClassVar[str] = "rarity"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True
    neutral: ClassVar[tuple[str, ...]] = ("counts",)  # they are in the fingerprint

    reduction: Literal["sum", "mean"] = "sum"
    alpha: float = 0.0
    lower: bool = True
    tokenizer: str | Cut | None = None
    column: str = "text"
    counts: Mapping[Any, float] | None = dataclasses.field(default=None, hash=False)

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.reduction not in ("sum", "mean"):
            raise ValueError(f'Rarity: reduction must be "sum" or "mean", got "{self.reduction}".')
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"Rarity: alpha must be >= 0, got {self.alpha}.")
        check_tokenizer("Rarity", self.tokenizer)
        if self.counts is not None:
            if not isinstance(self.counts, Mapping):
                raise ValueError(f"Rarity: counts must map words to numbers, got {type(self.counts).__name__}.")
            bad = next((word for word, count in self.counts.items() if not 0 <= count < math.inf), None)
            if bad is not None:
                raise ValueError(f"Rarity: counts must be >= 0, got {self.counts[bad]} for {bad!r}.")

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return (self.column,)

    def prepare(self, batches: Iterable[Batch]) -> Rarity:
        """Return the signal with the counts of all data, or as it is where it has counts."""
        if self.counts is not None:
            return self
        counts: Counter[Any] = Counter()
        for batch in batches:
            for text in texts_of(batch, self.column):
                counts.update(self._cut(text))
        return dataclasses.replace(self, counts=dict(counts))

    def fingerprint(self) -> str:
        """Return a hash of the counts and of the tokenizer."""
        return fingerprint_of(cutter_fingerprint(self.tokenizer), self.counts)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the rarity of each text."""
        if self.counts is None:
            raise ConfigError("rarity: no counts yet; call prepare(batches) first, or tutelage.signals.score.")
        total = math.fsum(self.counts.values()) + self.alpha * (len(self.counts) + 1)
        unseen = self._cost(0.0, total)
        costs: dict[Any, float] = {}
        found = np.empty(len(batch[self.column]))
        for row, text in enumerate(texts_of(batch, self.column)):
            pieces = self._cut(text)
            for word in pieces:
                if word not in costs:
                    count = self.counts.get(word)
                    costs[word] = unseen if count is None else self._cost(float(count), total)
            # fsum: the score does not depend on the order in which words were counted.
            whole = math.fsum(costs[word] for word in pieces) if pieces else math.nan
            found[row] = whole / len(pieces) if pieces and self.reduction == "mean" else whole
        return found

    def _cut(self, text: str) -> list[Any]:
        if self.tokenizer is None and self.lower:
            text = text.lower()
        return list(cutter(self.tokenizer)(text))

    def _cost(self, count: float, total: float) -> float:
        share = count + self.alpha
        return math.log(total) - math.log(share) if share > 0 else math.inf
