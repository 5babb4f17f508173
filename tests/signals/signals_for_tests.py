"""Signals that tests make up, in a module of their own so that other processes can import them."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tutelage.signals import BadRow, Scored


@dataclass(frozen=True, kw_only=True)
class Vowels:
    """Counts vowels, remembers on request what it was asked, and can be slow or stop."""

    spec_name: ClassVar[str] = "vowels"
    direction: ClassVar[str] = "hard"
    per_example: ClassVar[bool] = True
    neutral: ClassVar[tuple[str, ...]] = ("asked", "stop_after", "seconds")

    column: str = "text"
    times: float = 1.0
    asked: list | None = dataclasses.field(default=None, compare=False)
    stop_after: int | None = None
    seconds: float = 0.0

    def columns(self):
        return (self.column,)

    def score(self, batch):
        texts = batch[self.column]
        if self.asked is not None:
            if self.stop_after is not None and len(self.asked) >= self.stop_after:
                raise KeyboardInterrupt
            self.asked.extend(texts)
        time.sleep(self.seconds * len(texts))
        return np.array([self.one(row, text) for row, text in enumerate(texts)], dtype=np.float64)

    def one(self, row, text):
        if text == "bad":
            raise BadRow(row, "this text is bad.")
        return self.times * sum(text.count(sign) for sign in "aeiou") if text else np.nan


@dataclass(frozen=True, kw_only=True)
class Costly:
    """Says what it cost."""

    spec_name: ClassVar[str] = "costly"
    direction: ClassVar[str] = "good"
    per_example: ClassVar[bool] = False
    cached: ClassVar[bool] = False
    model: str = "none"

    def columns(self):
        return ("text",)

    def fingerprint(self):
        return f"hash of {self.model}"

    def score(self, batch):
        return self.scored(batch).values

    def scored(self, batch):
        lengths = [len(text) for text in batch["text"]]
        return Scored(np.array(lengths, dtype=float), sum(lengths), len(lengths))


@dataclass(frozen=True, kw_only=True)
class Relative:
    """The length of a text less the mean length of all texts: needs a look at all of them."""

    spec_name: ClassVar[str] = "relative"
    direction: ClassVar[str] = "none"
    per_example: ClassVar[bool] = True
    mean: float | None = None

    def columns(self):
        return ("text",)

    def prepare(self, batches):
        lengths = [len(text) for batch in batches for text in batch["text"]]
        return dataclasses.replace(self, mean=sum(lengths) / len(lengths))

    def fingerprint(self):
        return repr(self.mean)

    def score(self, batch):
        return np.array([len(text) - self.mean for text in batch["text"]])


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """Returns one number too few."""

    spec_name: ClassVar[str] = "wrong"
    direction: ClassVar[str] = "hard"
    per_example: ClassVar[bool] = True

    def columns(self):
        return ("text",)

    def score(self, batch):
        return np.zeros(len(batch["text"]) - 1)
