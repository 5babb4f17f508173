"""Readability: how hard a text is to read, by the lengths of its words and sentences."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, did_you_mean, missing_extra
from tutelage.signals._protocol import Batch, Direction, spec_of
from tutelage.signals._words import texts_of

Formula = Literal["flesch", "flesch-kincaid", "gunning-fog", "smog", "coleman-liau", "ari", "lix", "rix"]


class _Counts:
    """What the formulas are made of, counted by textstat, each when a formula asks for it."""

    def __init__(self, text: str, syllables: Callable[[str], int], textstat: Any) -> None:
        self.text, self._syllables, self._textstat = text, syllables, textstat
        self._all: list[str] = textstat.remove_punctuation(text).split()
        self.words = len(self._all)

    @property
    def sentences(self) -> int:
        return int(self._textstat.sentence_count(self.text))

    @property
    def letters(self) -> int:
        return int(self._textstat.letter_count(self.text))

    @property
    def characters(self) -> int:
        return int(self._textstat.char_count(self.text))

    @property
    def long_words(self) -> int:
        return int(self._textstat.long_word_count(self.text))

    @property
    def syllables(self) -> int:
        return sum(self._syllables(word.lower()) for word in self._all)

    @property
    def long_syllabled(self) -> int:
        return sum(self._syllables(word.lower()) >= 3 for word in self._all)

    @property
    def difficult(self) -> int:
        from textstat.backend.utils import get_lang_easy_words

        easy = get_lang_easy_words("en_US")
        return sum(word.lower() not in easy and self._syllables(word.lower()) >= 3 for word in self._all)


_FORMULAS: Mapping[str, Callable[[_Counts], float]] = {
    "flesch": lambda of: 206.835 - 1.015 * of.words / of.sentences - 84.6 * of.syllables / of.words,
    "flesch-kincaid": lambda of: 0.39 * of.words / of.sentences + 11.8 * of.syllables / of.words - 15.59,
    "gunning-fog": lambda of: 0.4 * (of.words / of.sentences + 100 * of.difficult / of.words),
    "smog": lambda of: 1.043 * math.sqrt(30 * of.long_syllabled / of.sentences) + 3.1291,
    "coleman-liau": lambda of: 5.8 * of.letters / of.words - 29.6 * of.sentences / of.words - 15.8,
    "ari": lambda of: 4.71 * of.characters / of.words + 0.5 * of.words / of.sentences - 21.43,
    "lix": lambda of: of.words / of.sentences + 100 * of.long_words / of.words,
    "rix": lambda of: of.long_words / of.sentences,
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Readability:
    """How hard a text is to read, as a school grade or on the formula's own scale; counted, without a model.

    Take it to order prose from simple to hard, where people are the measure.

    **Formula**: with ``W`` words, ``S`` sentences, ``Y`` syllables, ``L`` letters, ``C`` characters without spaces,
    ``P`` words of 3 or more syllables, ``D`` those of ``P`` that are not on textstat's list of easy words, and ``G``
    words of more than 6 letters::

        flesch          206.835 - 1.015 W/S - 84.6 Y/W      (high = easy; all others high = hard)
        flesch-kincaid  0.39 W/S + 11.8 Y/W - 15.59         (school grade in the USA, as the next four)
        gunning-fog     0.4 (W/S + 100 D/W)
        smog            1.043 sqrt(30 P/S) + 3.1291         (meant for 30 sentences or more)
        coleman-liau    5.8 L/W - 29.6 S/W - 15.8
        ari             4.71 C/W + 0.5 W/S - 21.43
        lix             W/S + 100 G/W                       (any language with spaces, as the last)
        rix             G/S

    Args:
        formula: One of these names.
        syllables: ``"hyphens"``: places where a word may be hyphenated, plus one; the same on every machine.
            ``"dictionary"``: textstat's own way for English, which looks words up in the CMU dictionary; nltk downloads
            that on first use. Hyphens find fewer syllables (idea, area), so English texts come out somewhat easier.
        column: Column with the text.

    Returns:
        ``score(batch)``: float64 ``(n,)``; NaN for a text without words.

    Raises:
        ValueError: An unknown formula or way to count syllables.
        MissingExtra: textstat is not installed: ``pip install "tutelage[text]"``.
        ConfigError: The CMU dictionary is not there and cannot be downloaded.
        BadRow: A value that is no text.

    Example:
        >>> text = "The cat sat on the mat. It was a sunny day in spring."
        >>> Readability(formula="lix").score({"text": [text, ""]})
        array([6.5, nan])
        >>> Readability(formula="flesch").direction
        'easy'

    Use with:
        ``tutelage score data.jsonl --signal readability:formula=lix``; easy-to-hard curricula on prose.

    Helps / does not help:
        On English sentences whose level teachers gave they order better than lengths do:
        ``benchmarks/reading_levels.py`` has the correlations. The formulas with syllables are for English; none of them
        knows whether a text makes sense, and on code, lists or dialogue they measure little but the lengths of lines.

    Relations:
        :class:`Length` of a sentence is the greater part of it; :class:`Rarity` looks at which words there are.

    Source:
        Flesch, 1948; Kincaid et al., 1975; Gunning, 1952; McLaughlin, 1969; Coleman and Liau, 1975; Senter and Smith,
        1967; Bjornsson, 1968; Anderson, 1983. Words, sentences, letters and easy words are counted by textstat, and
        with ``syllables=dictionary`` the scores are those of textstat 0.7.13; checked against it.
    """

    spec_name: ClassVar[str] = "readability"
    per_example: ClassVar[bool] = True

    formula: Formula = "flesch-kincaid"
    syllables: Literal["hyphens", "dictionary"] = "hyphens"
    column: str = "text"

    def __post_init__(self) -> None:
        """Check every argument."""
        known = get_args(Formula)
        if self.formula not in known:
            near = did_you_mean(str(self.formula), known)
            raise ValueError(f'Readability: formula must be {", ".join(known)}, got "{self.formula}".{near}')
        if self.syllables not in ("hyphens", "dictionary"):
            raise ValueError(f'Readability: syllables must be hyphens or dictionary, got "{self.syllables}".')

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    @property
    def direction(self) -> Direction:
        """Flesch's reading ease rises with ease, every other formula with difficulty."""
        return "easy" if self.formula == "flesch" else "hard"

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return (self.column,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the readability of each text."""
        formula, textstat = _FORMULAS[self.formula], _textstat()
        syllables = _hyphenated if self.syllables == "hyphens" else _looked_up
        found = np.full(len(batch[self.column]), np.nan)
        for row, text in enumerate(texts_of(batch, self.column)):
            counts = _Counts(text, syllables, textstat)
            if counts.words:
                found[row] = formula(counts)
        return found


def _textstat() -> Any:
    try:
        import textstat
    except ImportError:
        raise missing_extra("textstat", "text", "readability") from None
    return textstat.textstat


def _looked_up(word: str) -> int:
    try:
        return int(_textstat().syllable_count(word))
    except LookupError:
        raise ConfigError(
            "readability: the CMU dictionary is not there and could not be downloaded; run python -m nltk.downloader "
            "cmudict where there is a network, or count by syllables=hyphens."
        ) from None


@functools.lru_cache(maxsize=65536)
def _hyphenated(word: str) -> int:
    return len(_hyphens().positions(word)) + 1


@functools.cache
def _hyphens() -> Any:
    from pyphen import Pyphen

    return Pyphen(lang="en_US")
