"""LexicalDiversity: how many words a text goes on for before it repeats itself (MTLD)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._protocol import Batch, Direction, spec_of
from tutelage.signals._words import texts_of, words


@dataclass(frozen=True, kw_only=True, repr=False)
class LexicalDiversity:
    """The measure of textual lexical diversity (MTLD): how long a text goes on with new words.

    One of InstructMining's indicators; unlike the share of different words it hardly depends on the length.

    **Formula**: walk the words; whenever the share of different ones since the last reset is ``<= threshold``, count a
    factor and start anew; what is left, with share ``r``, counts ``(1 - r) / (1 - threshold)``. The score is
    ``words / factors``, the mean of a walk from the front and one from the back.

    Args:
        column: Column with the text. Words are runs of letters and digits, also across apostrophes and hyphens.
        threshold: Share at which a factor is full, in (0, 1). 0.72 is the authors'.
        lower: Whether case counts for nothing.

    Returns:
        ``score(batch)``: float64 ``(n,)``, words, > 0, high = diverse; NaN for a text without words.

    Raises:
        ValueError: ``threshold`` out of range.
        BadRow: A value that is no text.

    Example:
        >>> LexicalDiversity().score({"text": ["a b c a b c a b c d e f", "one two three"]}).round(3)
        array([9.973, 3.   ])

    Use with:
        ``tutelage score data.jsonl --signal mtld:column=response``; :func:`instruction_indicators`.

    Helps / does not help:
        Of little use below some fifty words: a text without a repeated word scores its own length, for what would be
        infinite. Random words score highest.

    Relations:
        Rarity asks how common words are elsewhere, this how often they come back in the text itself.

    Source:
        McCarthy and Jarvis, MTLD, vocd-D, and HD-D, 2010, Behavior Research Methods 42(2). At the threshold itself
        implementations differ; here a share that equals it is full.
    """

    spec_name: ClassVar[str] = "mtld"
    direction: ClassVar[Direction] = "none"
    per_example: ClassVar[bool] = True

    column: str = "text"
    threshold: float = 0.72
    lower: bool = True

    def __post_init__(self) -> None:
        """Check every argument."""
        if not 0 < self.threshold < 1:
            raise ValueError(f"LexicalDiversity: threshold must be > 0 and < 1, got {self.threshold}.")

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the column of the text."""
        return (self.column,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the diversity of each row."""
        texts = texts_of(batch, self.column)
        return np.array([mtld(words(text.lower() if self.lower else text), threshold=self.threshold) for text in texts])


def mtld(tokens: Sequence[str], *, threshold: float = 0.72) -> float:
    """Return the measure of textual lexical diversity of a text's words.

    **Formula**: walk the tokens; whenever the share of different ones since the last reset is ``<= threshold``, count a
    factor and start anew. What is left at the end, with share ``r``, counts ``(1 - r) / (1 - threshold)``.
    ``MTLD = tokens / factors``, the mean of a walk from the front and one from the back.

    Args:
        tokens: The words, in order; lower case where case shall not count.
        threshold: Share at which a factor is full, in (0, 1). 0.72 is the authors'.

    Returns:
        In tokens, > 0, high = diverse. A text in which no token comes twice has no factor at all; its own length stands
        for what would be infinite. NaN without tokens.

    Raises:
        ValueError: ``threshold`` out of range.

    Example:
        >>> round(mtld("a b c a b c a b c d e f".split()), 6)
        9.972973

    Source:
        McCarthy and Jarvis, MTLD, vocd-D, and HD-D, 2010, Behavior Research Methods 42(2). At the threshold itself
        implementations differ; here a share that equals it is full.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"mtld: threshold must be > 0 and < 1, got {threshold}.")
    if not tokens:
        return float("nan")
    return (_one_way(tokens, len(tokens), threshold) + _one_way(reversed(tokens), len(tokens), threshold)) / 2


def _one_way(tokens: Iterable[str], length: int, threshold: float) -> float:
    factors, seen, count = 0.0, set[str](), 0
    for token in tokens:
        seen.add(token)
        count += 1
        if len(seen) <= threshold * count:
            factors, count = factors + 1, 0
            seen.clear()
    if count:
        factors += (1 - len(seen) / count) / (1 - threshold)
    return length / factors if factors else float(length)
