"""Length: how long an example is, in characters, words or tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._protocol import Batch, Direction, fingerprint_of, spec_of
from tutelage.signals._words import Cut, check_tokenizer, cutter, cutter_fingerprint, texts_of, words

Unit = Literal["characters", "words", "tokens"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Length:
    """How long a text is: the plainest measure of how hard it is, and the one every other has to beat.

    Costs nothing. Question, answer and reasoning length are this signal on their columns.

    **Formula**: the number of characters (Unicode code points), of words (runs of letters and digits, with apostrophes
    and hyphens inside them), or of tokens (without the special ones a model adds).

    Args:
        unit: ``"characters"``, ``"words"`` or ``"tokens"``.
        tokenizer: For tokens: a ``tokenizer.json`` or the folder that holds it, a hub id, or in Python a function from
            a text to its tokens.
        column: Column with the text.

    Returns:
        ``score(batch)``: float64 ``(n,)``, >= 0, high = hard; an empty text has length 0.

    Raises:
        ValueError: An unknown unit, tokens without a tokenizer, or a tokenizer without tokens.
        DataNotFound: There is no such tokenizer.
        BadRow: A value that is no text.

    Example:
        >>> Length(unit="words").score({"text": ["It's a well-known song.", ""]})
        array([4., 0.])
        >>> Length(unit="tokens", tokenizer=list).score({"text": ["abc"]})
        array([3.])

    Use with:
        ``tutelage score data.jsonl --signal length:unit=words``; easy-to-hard curricula; ``group_by_length`` of
        trainers.

    Helps / does not help:
        For sentences and for sums of numbers, longer is mostly harder. For questions it often is not; and a curriculum
        by length also changes the tokens of a batch, so compare at equal tokens.

    Relations:
        :class:`Rarity` with its sum contains it: each word adds to the sum. :class:`ReasoningSteps` counts lines.

    Source:
        Platanios et al., Competence-based curriculum learning for neural machine translation, 2019, arXiv 1903.09848,
        section 2.1 (sentence length); Hase et al., The unreasonable effectiveness of easy training data for hard tasks,
        2024, arXiv 2401.06751 (question, answer and reasoning length).
    """

    spec_name: ClassVar[str] = "length"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True

    unit: Unit = "characters"
    tokenizer: str | Cut | None = None
    column: str = "text"

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.unit not in ("characters", "words", "tokens"):
            raise ValueError(f'Length: unit must be characters, words or tokens, got "{self.unit}".')
        check_tokenizer("Length", self.tokenizer)
        if (self.unit == "tokens") != (self.tokenizer is not None):
            raise ValueError(
                "Length: unit=tokens and tokenizer belong together, such as length:unit=tokens,tokenizer=FOLDER."
            )

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    @property
    def cached(self) -> bool:
        """Counting characters costs less than looking a score up."""
        return self.unit != "characters"

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return (self.column,)

    def fingerprint(self) -> str:
        """Return a hash of the tokenizer."""
        named = cutter_fingerprint(self.tokenizer)
        return fingerprint_of(named) if named else ""

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the length of each text."""
        cut: Cut = list if self.unit == "characters" else words if self.unit == "words" else cutter(self.tokenizer)
        if self.unit == "characters":
            cut = str  # its length is the number of code points, without a list of them
        return np.array([len(cut(text)) for text in texts_of(batch, self.column)], dtype=np.float64)
