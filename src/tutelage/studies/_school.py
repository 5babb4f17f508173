"""A generated school: subjects whose facts are asked for at three levels of thinking, as short lists of tokens.

A subject has two operations, each a table of what becomes of a symbol. *Remember*: what does this operation make of
this symbol? *Understand*: what does it make this symbol of? *Apply*: what do two operations make of it, in turn?
A word that means nothing stands before each question, so that no test question has been read before.

>>> lesson = School(subjects=2, symbols=4, seed=1).lesson(6)
>>> lesson.tokens.shape, sorted(set(lesson.level.tolist()))
((6, 6), [0, 1, 2])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.randomness import numpy_generator

LEVELS = ("remember", "understand", "apply")
OPERATIONS, WORDS, LENGTH = 2, 32, 6
#: Of the pairs of operations with a symbol, the share that is never taught.
UNTAUGHT = 0.25

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Lesson:
    """Questions in no particular order.

    Args:
        tokens: What is read, shape ``(n, LENGTH)``.
        answer: The symbol that is right, shape ``(n,)``.
        subject: Of each question.
        level: Place of its level in ``LEVELS``.
        concept: Number of operation and symbol that it starts from.
    """

    tokens: Ints
    answer: Ints
    subject: Ints
    level: Ints
    concept: Ints


class School:
    """Tables of all operations of all subjects.

    Args:
        subjects: How many.
        symbols: How many each operation maps onto each other.
        seed: Which tables.
    """

    def __init__(self, *, subjects: int, symbols: int, seed: int) -> None:
        rng = numpy_generator(seed, "school")
        self.subjects, self.symbols, self.seed = subjects, symbols, seed
        self.tables = np.stack(
            [np.stack([rng.permutation(symbols) for _ in range(OPERATIONS)]) for _ in range(subjects)]
        )
        self.untaught = rng.random((subjects, OPERATIONS, OPERATIONS, symbols)) < UNTAUGHT

    @property
    def vocabulary(self) -> int:
        """Tokens: symbols, operations of every subject, subjects, levels, none, words of training and of tests."""
        return self.symbols + self.subjects * (OPERATIONS + 1) + len(LEVELS) + 1 + 2 * WORDS

    def lesson(self, count: int, *, part: str = "taught", level: int | None = None) -> Lesson:
        """Return questions, as many of each subject and level.

        Args:
            count: How many, at least as many as there are subjects times levels.
            part: ``"taught"``; ``"test"``, taught questions behind words of their own; or ``"untaught"``, pairs of
                operations that were never taught, where the level is the last.
            level: The only one; all of them where ``None``.
        """
        rng = numpy_generator(self.seed, "lesson", ("taught", "test", "untaught").index(part), count, level or 0)
        place = np.arange(count)
        subject = place % self.subjects
        levels = place // self.subjects % len(LEVELS) if level is None else np.full(count, level)
        first, second, symbol = (rng.integers(limit, size=count) for limit in (OPERATIONS, OPERATIONS, self.symbols))
        # Questions of the wrong part are drawn anew, until there are none.
        while len(wrong := self._wrong(subject, levels, first, second, symbol, part == "untaught")):
            first[wrong], second[wrong] = rng.integers(OPERATIONS, size=(2, len(wrong)))
            symbol[wrong] = rng.integers(self.symbols, size=len(wrong))
        word = rng.integers(WORDS, size=count) + (0 if part == "taught" else WORDS)
        once = self.tables[subject, first, symbol]
        inverse = np.argsort(self.tables, axis=-1)[subject, first, symbol]
        answer = np.choose(levels, [once, inverse, self.tables[subject, second, once]])
        none = self.symbols + self.subjects * (OPERATIONS + 1) + len(LEVELS)
        operations = self.symbols + subject * OPERATIONS
        last = np.where(levels == len(LEVELS) - 1, operations + second, none)
        subjects = self.symbols + self.subjects * OPERATIONS + subject
        columns = (none + 1 + word, subjects, none - len(LEVELS) + levels, operations + first, last, symbol)
        return Lesson(np.stack(columns, axis=1), answer, subject, levels, first * self.symbols + symbol)

    def _wrong(
        self, subject: Ints, levels: Ints, first: Ints, second: Ints, symbol: Ints, untaught: bool
    ) -> NDArray[np.int64]:
        held = self.untaught[subject, first, second, symbol]
        return np.flatnonzero((levels == len(LEVELS) - 1) & (held != untaught))
