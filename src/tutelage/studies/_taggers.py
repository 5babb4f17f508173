"""Small part-of-speech taggers that learn from the first words of a treebank: learners for studies of learning curves.

All see a corpus as arrays, made once; training on a portion takes a second or less.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.workloads._rows import read_lines

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Sentence = list[tuple[str, str]]

#: Hashed features are rows of a table of this many.
_BUCKETS = 1 << 16
_SUFFIXES, _PREFIXES = (1, 2, 3, 4), (1, 2, 3)
#: Passes of the perceptron and of the logistic regression, and words of a batch of the former.
_EPOCHS, _PASSES, _BATCH = 5, 3, 64
#: Words seen at most so often stand for words that were never seen.
_RARE = 3


def read_treebank(path: Path) -> list[Sentence]:
    """Return the sentences of a CoNLL-U file as (form, universal tag), without ranges and empty words.

    Raises:
        DataError: A line with fewer than four columns; names it.
    """
    sentences: list[Sentence] = [[]]
    for number, line in enumerate(read_lines(path), 1):
        text = line.rstrip("\n")
        if not text:
            sentences.append([])
        elif not text.startswith("#"):
            cells = text.split("\t")
            if len(cells) < 4:
                raise DataError(f"{path}:{number}: a word needs four columns or more, got {len(cells)}.")
            if "-" not in cells[0] and "." not in cells[0]:
                sentences[-1].append((cells[1], cells[3]))
    return [sentence for sentence in sentences if sentence]


@dataclass(frozen=True, eq=False)
class Words:
    """Words in the order they are learned from, or tested on.

    Args:
        types: Number of each word's form, shape ``(words,)``.
        tags: Number of its tag.
        features: Hashed features of word and neighbours, shape ``(words, features)``.
        starts: Place of each sentence's first word, and the number of words at the end.
    """

    types: Indices
    tags: Indices
    features: NDArray[np.int32]
    starts: Indices

    def first(self, words: int) -> Words:
        """Return the whole sentences that hold the first ``words`` words."""
        count = int(np.searchsorted(self.starts, words))
        end = int(self.starts[min(count, len(self.starts) - 1)])
        return Words(self.types[:end], self.tags[:end], self.features[:end], self.starts[: count + 1])

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self.types)


@dataclass(frozen=True, eq=False)
class Corpus:
    """A treebank as arrays.

    Args:
        tags: Names of the tags.
        train: Training words, in an order drawn from the seed, sentence by sentence.
        test: Test words.
        suffixes: For each suffix length the number of every form's suffix, shape ``(lengths, types)``.
        forms: Number of forms.
    """

    tags: tuple[str, ...]
    train: Words
    test: Words
    suffixes: Indices
    forms: int

    @classmethod
    def of(cls, train: Sequence[Sentence], test: Sequence[Sentence], *, rng: np.random.Generator) -> Corpus:
        """Return a corpus whose training sentences are in an order drawn from ``rng``."""
        train = [train[place] for place in rng.permutation(len(train))]
        everything = [*train, *test]
        forms = {form: place for place, form in enumerate(dict.fromkeys(form for s in everything for form, _ in s))}
        names = sorted({tag for sentence in everything for _, tag in sentence})
        tags = {name: place for place, name in enumerate(names)}
        known = _features_of_forms(list(forms))
        suffixes = np.stack([_numbered([form[-length:] for form in forms]) for length in _SUFFIXES])

        def words(sentences: Sequence[Sentence]) -> Words:
            types = np.array([forms[form] for sentence in sentences for form, _ in sentence], dtype=np.int64)
            starts = np.cumsum([0, *(len(sentence) for sentence in sentences)])
            labels = np.array([tags[tag] for sentence in sentences for _, tag in sentence], dtype=np.int64)
            return Words(types, labels, _features(types, starts, known), starts)

        return cls(tuple(names), words(train), words(test), suffixes, len(forms))


# --- taggers ---------------------------------------------------------------------------------------------------------


def majority(corpus: Corpus, train: Words, rng: np.random.Generator) -> Indices:
    """Tag test words with the most frequent tag of their form, of unknown ones with that of their longest suffix."""
    many = len(corpus.tags)
    counts = _counts(train.types, train.tags, corpus.forms, many)
    found = np.full(corpus.forms, int(np.bincount(train.tags, minlength=many).argmax()))
    for place in range(len(_SUFFIXES)):
        numbers = corpus.suffixes[place]
        table = _counts(numbers[train.types], train.tags, int(numbers.max()) + 1, many)[numbers]
        found = np.where(table.sum(axis=1) > 0, table.argmax(axis=1), found)
    found = np.where(counts.sum(axis=1) > 0, counts.argmax(axis=1), found)
    return np.asarray(found[corpus.test.types], dtype=np.int64)


def hidden_markov(corpus: Corpus, train: Words, rng: np.random.Generator) -> Indices:
    """Tag with a hidden Markov model of tag pairs; unknown words by the suffixes of rare ones."""
    many = len(corpus.tags)
    counts = _counts(train.types, train.tags, corpus.forms, many)
    prior = np.bincount(train.tags, minlength=many) + 1.0
    before, after = train.tags[:-1], train.tags[1:]
    inner = np.ones(len(before), dtype=bool)
    inner[train.starts[1:-1] - 1] = False
    moves = np.log(_shares(_counts(before[inner], after[inner], many, many) + 0.1))
    begin = np.log(_shares(np.bincount(train.tags[train.starts[:-1]], minlength=many).astype(np.float64)[None] + 0.1))[
        0
    ]
    # Log of P(tag | form) / P(tag), which is P(form | tag) up to what all tags share.
    seen = counts.sum(axis=1)
    rare = (seen > 0) & (seen <= _RARE)
    belief = _shares(np.asarray(counts[rare].sum(axis=0, keepdims=True) + 0.1)).repeat(corpus.forms, axis=0)
    for place in range(len(_SUFFIXES)):
        numbers = corpus.suffixes[place]
        table = np.zeros((int(numbers.max()) + 1, many))
        np.add.at(table, numbers[rare], counts[rare])
        belief = (table[numbers] + belief) / (table.sum(axis=1)[numbers, None] + 1)
    known = (counts + 0.1 * belief) / (seen[:, None] + 0.1)
    emissions = np.log(np.where(seen[:, None] > 0, known, belief) + 1e-12) - np.log(prior / prior.sum())
    return _viterbi(emissions[corpus.test.types], corpus.test.starts, moves, begin)


def perceptron(corpus: Corpus, train: Words, rng: np.random.Generator) -> Indices:
    """Tag with an averaged perceptron on hashed features, learned in small batches."""
    many = len(corpus.tags)
    weights = np.zeros((_BUCKETS, many), dtype=np.float32)
    # The average over all batches is the last value less each change weighted with when it came.
    late = np.zeros_like(weights)
    time = 0
    for _ in range(_EPOCHS):
        order = rng.permutation(len(train))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            features, right = train.features[batch], train.tags[batch]
            said = weights[features].sum(axis=1).argmax(axis=1)
            time += 1
            wrong = np.flatnonzero(said != right)
            if len(wrong):
                rows = features[wrong].ravel()
                for tags, sign in ((right[wrong], 1.0), (said[wrong], -1.0)):
                    columns = np.repeat(tags, features.shape[1])
                    np.add.at(weights, (rows, columns), sign)
                    np.add.at(late, (rows, columns), sign * time)
    average = weights - late / np.float32(time + 1)
    return np.asarray(_scores(average, corpus.test.features).argmax(axis=1), dtype=np.int64)


def logistic(corpus: Corpus, train: Words, rng: np.random.Generator) -> Indices:
    """Tag with logistic regression on hashed features, one class against the rest, by stochastic gradient descent."""
    from scipy import sparse
    from sklearn.linear_model import SGDClassifier

    def matrix(words: Words) -> sparse.csr_matrix:
        rows, columns = words.features.shape
        ends = np.arange(rows + 1, dtype=np.int32) * columns
        ones = np.ones(rows * columns)
        return sparse.csr_matrix((ones, words.features.ravel(), ends), shape=(rows, _BUCKETS))

    model = SGDClassifier(
        loss="log_loss", alpha=1e-6, max_iter=_PASSES, tol=None, average=True, random_state=int(rng.integers(2**31))
    )
    model.fit(matrix(train), train.tags)
    return np.asarray(model.predict(matrix(corpus.test)), dtype=np.int64)


Tagger = Callable[[Corpus, Words, np.random.Generator], Indices]
#: The learners by name, the simplest first.
TAGGERS: Mapping[str, Tagger] = {
    "majority": majority,
    "hidden Markov": hidden_markov,
    "perceptron": perceptron,
    "logistic": logistic,
}


def portions(corpus: Corpus, step: int, words: int) -> Iterator[Words]:
    """Yield nested portions of about ``step``, ``2 step``, ... words, whole sentences, up to ``words``."""
    for size in range(step, min(words, len(corpus.train)) + 1, step):
        yield corpus.train.first(size)


def accuracy(corpus: Corpus, said: Indices) -> float:
    """Return the share of test words that got their tag."""
    return float((said == corpus.test.tags).mean())


# --- arrays ----------------------------------------------------------------------------------------------------------


def _numbered(texts: Sequence[str]) -> Indices:
    known: dict[str, int] = {}
    return np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int64)


def _features_of_forms(forms: Sequence[str]) -> NDArray[np.int64]:
    """Return hashes of what a form alone shows, shape ``(forms, features)``: form, suffixes, prefixes, shape."""
    rows = []
    for form in forms:
        low = form.lower()
        shown = [
            f"w{low}",
            *(f"s{low[-length:]}" for length in _SUFFIXES),
            *(f"p{low[:length]}" for length in _PREFIXES),
            f"x{form[0].isupper():d}{form.isupper():d}{any(map(str.isdigit, form)):d}{'-' in form:d}{form.isalpha():d}",
        ]
        rows.append([zlib.crc32(text.encode()) for text in shown])
    return np.array(rows, dtype=np.int64)


def _features(types: Indices, starts: Indices, known: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return hashed features of words in their sentences: their own, and form and suffixes of both neighbours."""
    own = known[types]
    sides = []
    for offset, salt in ((-1, 0x9E3779B1), (1, 0x85EBCA77)):
        beside = np.roll(types, -offset)
        # Form and the suffixes of three and two characters; a constant where the sentence ends.
        values = known[beside][:, [0, 3, 2]] * 31 + salt
        values[starts[:-1] if offset < 0 else starts[1:] - 1] = salt
        sides.append(values + np.arange(3) * 0x27D4EB2F)
    both = (sides[0][:, :1] ^ (sides[1][:, :1] * 3)) + 0x165667B1
    everything = np.concatenate([own, *sides, both], axis=1)
    # A multiplicative hash: the upper bits of a product modulo 2^64.
    mixed = (everything.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    return (mixed % np.uint64(_BUCKETS)).astype(np.int32)


def _counts(rows: Indices, columns: Indices, height: int, width: int) -> Floats:
    return np.bincount(rows * width + columns, minlength=height * width).reshape(height, width).astype(np.float64)


def _shares(counts: Floats) -> Floats:
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), dtype=np.float64)


def _scores(weights: NDArray[np.float32], features: NDArray[np.int32]) -> NDArray[np.float32]:
    parts = np.array_split(np.arange(len(features)), max(1, len(features) // 4096))
    return np.concatenate([weights[features[part]].sum(axis=1) for part in parts])


def _viterbi(emissions: Floats, starts: Indices, moves: Floats, begin: Floats) -> Indices:
    """Return the best path of tags through each sentence, all sentences of a chunk at once."""
    found = np.zeros(len(emissions), dtype=np.int64)
    lengths = np.diff(starts)
    order = np.argsort(-lengths, kind="stable")
    for chunk in np.array_split(order, max(1, len(order) // 512)):
        first, length = starts[:-1][chunk], lengths[chunk]
        score = begin + emissions[first]
        came = np.zeros((int(length.max()), len(chunk), len(begin)), dtype=np.int8)
        for place in range(1, int(length.max())):
            # Longest first: those that go on are the first of the chunk.
            on = int((length > place).sum())
            paths = score[:on, :, None] + moves
            came[place, :on] = paths.argmax(axis=1)
            score[:on] = paths.max(axis=1) + emissions[first[:on] + place]
        tag = score.argmax(axis=1)
        for place in range(int(length.max()) - 1, -1, -1):
            on = int((length > place).sum())
            found[first[:on] + place] = tag[:on]
            if place:
                tag[:on] = came[place, np.arange(on), tag[:on]]
    return found
