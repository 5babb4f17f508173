"""A pool of texts of several topics, most of them damaged to a known degree, and a judge that errs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.randomness import numpy_generator

#: Topics and the share of each one's texts that is whole: quality goes with topic, 40 % of all texts are whole.
TOPICS: Mapping[str, float] = {
    "novels-en": 0.8,
    "tinystories": 0.6,
    "speeches": 0.5,
    "wiki-en": 0.3,
    "web-en": 0.15,
    "shakespeare": 0.05,
}
DAMAGES = ("shuffled", "symbols", "boilerplate", "cut off")
#: Words of a text, and the least share of them that damage changes; at most all.
WORDS, LEAST = 70, 0.3
#: How often an answer of the judge is the wrong way round.
FLIPPED = 0.15
_SYMBOLS = list("#@%&*~^|_=+<>{}[]")
_BOILERPLATE = (
    *("click", "here", "to", "accept", "all", "cookies", "and", "subscribe", "now"),
    *("terms", "of", "use", "apply", "all", "rights", "reserved"),
)


def texts_of(topic: str, characters: int) -> list[str]:
    """Return the first texts of a named data set, each of ``WORDS`` words, with so many characters in all.

    Raises:
        DataNotFound: The data are not there.
    """
    from tutelage.workloads.data import read_texts

    found: list[str] = []
    waiting: list[str] = []
    length = 0
    for document in read_texts(topic):
        waiting += document.split()
        for start in range(0, len(waiting) - WORDS + 1, WORDS):
            found.append(" ".join(waiting[start : start + WORDS]))
            length += len(found[-1])
            if length >= characters:
                return found
        waiting = waiting[len(waiting) - len(waiting) % WORDS :]
    return found


def damaged(text: str, kind: str, level: float, rng: np.random.Generator) -> str:
    """Return a text with a share of its words shuffled, replaced or cut off.

    Args:
        text: The text.
        kind: One of :data:`DAMAGES`.
        level: Share of the words that is changed, 0 to 1.
        rng: Which ones.
    """
    words = text.split()
    chosen = np.sort(rng.permutation(len(words))[: round(level * len(words))])
    if kind == "shuffled":
        changed = [words[place] for place in rng.permutation(chosen)]
    elif kind == "symbols":
        changed = ["".join(rng.choice(_SYMBOLS, size=len(words[place]))) for place in chosen]
    elif kind == "boilerplate":
        start = int(rng.integers(len(_BOILERPLATE)))
        changed = [_BOILERPLATE[(start + number) % len(_BOILERPLATE)] for number in range(len(chosen))]
    else:
        changed = [words[place][:2] for place in chosen]
    for place, word in zip(chosen, changed, strict=True):
        words[place] = word
    return " ".join(words)


@dataclass(frozen=True, eq=False)
class Pool:
    """Texts in random order with what is known of them.

    Args:
        texts: The texts.
        topics: Topic of each.
        levels: Share of its words that is damaged, 0 for a whole text, float64 ``(n,)``.
    """

    texts: Sequence[str]
    topics: Sequence[str]
    levels: NDArray[np.float64]

    @classmethod
    def of(cls, whole: Mapping[str, Sequence[str]], *, seed: int) -> Pool:
        """Return the texts of every topic, as many of them left whole as :data:`TOPICS` says."""
        rng = numpy_generator(seed, "noisy pool")
        rows: list[tuple[str, str, float]] = []
        for topic, texts in whole.items():
            for text in texts:
                kind, level = DAMAGES[int(rng.integers(len(DAMAGES)))], float(rng.uniform(LEAST, 1.0))
                if rng.random() < TOPICS[topic]:
                    rows.append((text, topic, 0.0))
                else:
                    rows.append((damaged(text, kind, level, rng), topic, level))
        rows = [rows[place] for place in rng.permutation(len(rows))]
        return cls([row[0] for row in rows], [row[1] for row in rows], np.array([row[2] for row in rows]))

    @property
    def sizes(self) -> NDArray[np.float64]:
        """Bytes of each text."""
        return np.array([len(text.encode()) for text in self.texts], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ErringJudge:
    """Prefers the text that is damaged less, but says the opposite for a fixed share of questions.

    Args:
        levels: Damage of each text.
        seed: Which questions it gets wrong; the two orders of a pair are two questions.
        flipped: Their share.
    """

    levels: Mapping[str, float]
    seed: int
    flipped: float = FLIPPED

    def __call__(self, question: str, a: str, b: str) -> float:
        """Return 1 where ``a`` is said to be better, 0 where ``b`` is, 1/2 where both are damaged alike."""
        if self.levels[a] == self.levels[b]:
            return 0.5
        digest = hashlib.blake2b(f"{self.seed}\x1f{a}\x1f{b}".encode(), digest_size=8).digest()
        wrong = int.from_bytes(digest, "little") / 2**64 < self.flipped
        return float((self.levels[a] < self.levels[b]) != wrong)


def topic_entropy(topics: Sequence[str], sizes: NDArray[np.float64]) -> float:
    """Return the entropy of the topics' shares of the bytes, in nats.

    Example:
        >>> round(topic_entropy(["a", "b", "b"], np.array([2.0, 1.0, 1.0])), 4)
        0.6931
    """
    _, codes = np.unique(np.asarray(topics), return_inverse=True)
    shares = np.bincount(codes, weights=sizes) / sizes.sum()
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def letters(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the share of letters and spaces among each text's characters: a rule that needs no judge."""
    return np.array([sum(c.isalpha() or c == " " for c in text) / max(1, len(text)) for text in texts])
