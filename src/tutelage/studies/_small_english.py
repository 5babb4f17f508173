"""Generated English of three sources, word by word with parts of speech, and pairs of sentences of which one is wrong.

Children are spoken to in short sentences of few words, dialogues have pronouns, prose has adjectives and phrases
between subject and verb. Words are numbered by how often they occur in the text to learn from, as merges of a tokenizer
nearly are; before them stand the mask and the unknown word.

>>> english = SmallEnglish(sequences=30, tested=20)
>>> english.train.tokens.shape, english.words[:2], sorted(english.pairs)
((90, 24), ('<mask>', '<unk>'), ['across a phrase', 'determiner', 'order', 'verb'])
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula.vocabulary import tag_numbers
from tutelage.randomness import numpy_generator

LENGTH, MASK, UNKNOWN, SPECIALS = 24, 0, 1, 2
#: Nouns and verbs that a source knows, and how often it has adjectives, phrases and pronouns.
SOURCES = {
    "child": (10, 6, 0.1, 0.0, 0.1),
    "dialogue": (20, 10, 0.2, 0.1, 0.5),
    "prose": (40, 20, 0.5, 0.4, 0.1),
}
_STEMS = [a + b + c for a in ("b", "d", "g", "k", "l", "m", "n", "p", "r", "t") for b in "aeiou" for c in "bdgklmnprt"]
_DETERMINERS = {False: ("the", "a", "this", "that"), True: ("the", "some", "these", "those")}
_PRONOUNS = {False: ("he", "she", "it"), True: ("we", "they", "you")}
_ADJECTIVES = tuple(f"{stem}y" for stem in _STEMS[300:310])
_ADVERBS = tuple(f"{stem}ly" for stem in _STEMS[340:346])
_PREPOSITIONS = ("near", "behind", "with", "under")

Ints = NDArray[np.int64]
Word = tuple[str, str]


@dataclass(frozen=True)
class Sequences:
    """Windows of joined sentences.

    Args:
        tokens: Shape ``(n, LENGTH)``.
        tags: Numbers of their parts of speech, same shape.
        source: Place of each window's source, shape ``(n,)``.
    """

    tokens: Ints
    tags: Ints
    source: Ints


@dataclass(frozen=True)
class Pairs:
    """Windows, and the same with a mistake, shapes ``(n, LENGTH)``."""

    right: Ints
    wrong: Ints


class SmallEnglish:
    """Text to learn from and to test on, and four kinds of pairs.

    Args:
        sequences: Windows of each source to learn from.
        tested: Windows of each source, and pairs of each kind, to test on.
        seed: Which text.
    """

    def __init__(self, *, sequences: int, tested: int, seed: int = 0) -> None:
        self._rng = numpy_generator(seed, "small English")
        learned = [[self._window(source) for _ in range(sequences)] for source in SOURCES]
        counts = Counter(word for windows in learned for window in windows for word, _ in window)
        self.words = ("<mask>", "<unk>", *(word for word, _ in counts.most_common()))
        self._numbers = {word: number for number, word in enumerate(self.words)}
        self.train = self._numbered(learned)
        self.test = {source: self._numbered([[self._window(source) for _ in range(tested)]]) for source in SOURCES}
        self.pairs = {kind: self._pairs(kind, tested) for kind in ("verb", "across a phrase", "determiner", "order")}

    def unigram_surprise(self) -> NDArray[np.float64]:
        """Return the mean of ``-log p(word)`` over the words of each window, by their counts in all of them."""
        counts = np.bincount(self.train.tokens.ravel(), minlength=len(self.words))
        surprise: NDArray[np.float64] = -np.log(np.maximum(counts, 1) / counts.sum())
        return np.asarray(surprise[self.train.tokens].mean(axis=1))

    def _pick(self, items: tuple[str, ...] | list[str]) -> str:
        """Return an item; the first is the likeliest, as words are in Zipf's law."""
        weights = 1 / (np.arange(len(items)) + 2)
        return items[int(np.searchsorted(np.cumsum(weights / weights.sum()), self._rng.random()))]

    def _noun_phrase(self, source: str, *, many: bool) -> list[Word]:
        nouns, _, adjectives, _, _ = SOURCES[source]
        words = [(str(self._rng.choice(_DETERMINERS[many])), "DET")]
        if self._rng.random() < adjectives:
            words.append((self._pick(_ADJECTIVES), "ADJ"))
        return [*words, (self._pick(_STEMS[:nouns]) + ("s" if many else ""), "NOUN")]

    def _sentence(self, source: str, *, phrase: bool | None = None, pronoun: bool | None = None) -> list[Word]:
        _, verbs, _, phrases, pronouns = SOURCES[source]
        many = bool(self._rng.random() < 0.5)
        if self._rng.random() < pronouns if pronoun is None else pronoun:
            words: list[Word] = [(str(self._rng.choice(_PRONOUNS[many])), "PRON")]
        else:
            words = self._noun_phrase(source, many=many)
            if self._rng.random() < phrases if phrase is None else phrase:
                # What stands between has the other number, so that the nearest noun misleads.
                other = not many if phrase else bool(self._rng.random() < 0.5)
                words += [(str(self._rng.choice(_PREPOSITIONS)), "ADP"), *self._noun_phrase(source, many=other)]
        plural = many or words[-1][0] == "you"
        words.append((self._pick(_STEMS[200 : 200 + verbs]) + ("en" if plural else "es"), "VERB"))
        if self._rng.random() < 0.7:
            words += self._noun_phrase(source, many=bool(self._rng.random() < 0.5))
        if self._rng.random() < 0.2:
            words.append((self._pick(_ADVERBS), "ADV"))
        return [*words, (".", ".")]

    def _window(self, source: str, first: list[Word] | None = None) -> list[Word]:
        words = list(first or ())
        while len(words) < LENGTH:
            words += self._sentence(source)
        return words[:LENGTH]

    def _numbered(self, sources: list[list[list[Word]]]) -> Sequences:
        windows = [window for several in sources for window in several]
        tokens = [[self._numbers.get(word, UNKNOWN) for word, _ in window] for window in windows]
        tags = [tag_numbers([tag for _, tag in window]) for window in windows]
        source = np.repeat(np.arange(len(sources)), [len(several) for several in sources])
        return Sequences(np.array(tokens), np.array(tags), source)

    def _pairs(self, kind: str, count: int) -> Pairs:
        right: list[list[int]] = []
        wrong: list[list[int]] = []
        while len(right) < count:
            window = self._window("prose", self._sentence("prose", phrase=kind == "across a phrase", pronoun=False))
            changed = _with_mistake(window, kind)
            pair = [[self._numbers.get(word, UNKNOWN) for word in words] for words in ([w for w, _ in window], changed)]
            # A word that was never read could not be told right from wrong.
            if changed and UNKNOWN not in (*pair[0], *pair[1]):
                right.append(pair[0])
                wrong.append(pair[1])
        return Pairs(np.array(right), np.array(wrong))


def _with_mistake(window: list[Word], kind: str) -> list[str]:
    """Return the words with a mistake in the first sentence; none where there is nothing to get wrong."""
    words, tags = [word for word, _ in window], [tag for _, tag in window]
    if kind in ("verb", "across a phrase"):
        place = tags.index("VERB")
        words[place] = words[place][:-2] + ("es" if words[place].endswith("en") else "en")
    elif kind == "determiner":
        turned = {"this": "these", "that": "those", "these": "this", "those": "that", "a": "some", "some": "a"}
        if words[0] not in turned:
            return []
        words[0] = turned[words[0]]
    else:
        words[0], words[1] = words[1], words[0]
    return words
