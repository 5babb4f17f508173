"""Answers: the generated answers that are fit to train on."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.selection._checks import as_spec, beside
from tutelage.selection._protocol import Takes
from tutelage.selection._texts import text_list


@dataclass(frozen=True, kw_only=True, repr=False)
class Answers:
    """Keeps generated answers that are fluent, do not loop, and have all the parts they should.

    Use it on what a larger model wrote, before fine-tuning on it.

    **Formula**: keep an answer if its perplexity is ``<= max_perplexity``; no run of ``length`` words stands in it more
    than ``repeats`` times; the number of turns of its talk is even; its text is not empty; and with ``reasoning=true``
    neither what stands before nor what stands after the closing mark of the reasoning is.

    Args:
        max_perplexity: Highest perplexity kept, > 0; looked at where ``perplexities`` are given.
        length: Words in a run that is counted, >= 1.
        repeats: How often the same run may stand in a text, >= 1.
        reasoning: Whether an answer must have a part before and a part after ``mark``.
        mark: Closes the reasoning.

    Returns:
        ``select(texts, perplexities=..., turns=...)``: places of the answers kept, int64, ascending.
        ``reasons(texts, ...)``: for each answer what is wrong with it: ``"repeats"``, ``"empty"``, ``"perplexity"``,
        ``"turns"``, or ``""``.

    Raises:
        ValueError: A number out of range; from ``select``: no texts, one that is no text, columns of another length,
            or no answer left.

    Example:
        >>> rule = Answers(length=2, repeats=2)
        >>> rule.reasons(["so it is 4", "and on and on and on and on", " "]).tolist()
        ['', 'repeats', 'empty']
        >>> rule.select(["four", "five"], perplexities=[3.5, 80.0]).tolist()
        [0]

    Use with:
        ``tutelage select answers.jsonl --keep answers --out fit.jsonl``, which takes columns ``perplexity`` and
        ``turns`` where they are there.

    Helps / does not help:
        Takes out broken answers, not wrong ones: for those see ``variation``. Tables and poems repeat runs of words
        with good reason.

    Relations:
        ``duplicates`` compares answers with each other.

    Source:
        DeepDistill, 2025, arXiv 2504.17565, quality filters (perplexity 20, runs of 20 tokens more than 20 times, even
        turns, both parts present). Ours: runs are of words, as no tokenizer need be there.
    """

    spec_name: ClassVar[str] = "answers"
    takes: ClassVar[Takes] = "texts"
    beside: ClassVar[tuple[str, ...]] = ("perplexities", "turns")

    max_perplexity: float = 20.0
    length: int = 20
    repeats: int = 20
    reasoning: bool = False
    mark: str = "</think>"

    def __post_init__(self) -> None:
        """Check every argument."""
        if math.isnan(self.max_perplexity) or self.max_perplexity <= 0:
            raise ValueError(f"Answers: max_perplexity must be > 0, got {self.max_perplexity}.")
        for argument, value in (("length", self.length), ("repeats", self.repeats)):
            if value < 1:
                raise ValueError(f"Answers: {argument} must be >= 1, got {value}.")
        if not self.mark:
            raise ValueError("Answers: mark must not be empty.")

    def __repr__(self) -> str:
        """Return the spec that builds this selection again."""
        return as_spec(self)

    def select(
        self,
        texts: Sequence[str],
        /,
        *,
        seed: int = 0,
        perplexities: ArrayLike | None = None,
        turns: ArrayLike | None = None,
    ) -> NDArray[np.int64]:
        """Return the places of the answers kept, ascending; nothing is drawn, so ``seed`` changes nothing."""
        reasons = self.reasons(texts, perplexities=perplexities, turns=turns)
        places = np.flatnonzero(reasons == "")
        if not places.size:
            raise ValueError(f"{self!r} keeps none of {len(reasons)} answers: {_listed(reasons)}.")
        return places

    def reasons(
        self, texts: Sequence[str], *, perplexities: ArrayLike | None = None, turns: ArrayLike | None = None
    ) -> NDArray[np.str_]:
        """Return what is wrong with each answer, empty where nothing is; shape ``(n,)``.

        Args:
            texts: The answers.
            perplexities: Of each under some model, shape ``(n,)``; NaN is refused as too high.
            turns: Number of turns of the talk each belongs to, shape ``(n,)``.
        """
        answers = text_list("Answers", texts)
        found = np.array([self._fault(text) for text in answers], dtype="U10")
        fine = found == ""
        if perplexities is not None:
            values = beside("Answers", "perplexities", perplexities, len(answers)).astype(np.float64)
            found[fine & ~(values <= self.max_perplexity)] = "perplexity"
            fine = found == ""
        if turns is not None:
            numbers = beside("Answers", "turns", turns, len(answers)).astype(np.float64)
            found[fine & (numbers % 2 != 0)] = "turns"
        return found

    def _fault(self, text: str) -> str:
        before, mark, after = text.partition(self.mark)
        parts = (before, mark, after) if self.reasoning else (text,)
        if not all(part.strip() for part in parts):
            return "empty"
        words = text.split()
        # A run that stands often enough needs at least this many words: most texts are done here.
        if len(words) - self.length + 1 <= self.repeats:
            return ""
        runs = Counter(zip(*(words[start:] for start in range(self.length)), strict=False))
        return "repeats" if max(runs.values()) > self.repeats else ""


def _listed(reasons: NDArray[np.str_]) -> str:
    return ", ".join(f"{number} {name}" for name, number in Counter(reasons.tolist()).most_common())
