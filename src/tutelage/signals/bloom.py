"""Bloom: which level of Bloom's taxonomy a question or instruction asks for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._protocol import Batch, Direction, spec_of
from tutelage.signals._words import texts_of, words

#: The levels of the revised taxonomy, from 1.
LEVELS = ("remember", "understand", "apply", "analyze", "evaluate", "create")
#: Verbs that ask for each level: the processes the taxonomy names under it, and common words for them.
VERBS: Mapping[str, tuple[str, ...]] = {
    "remember": (
        *("recall", "recognize", "recognise", "remember", "identify", "list", "name", "define", "state", "label"),
        *("match", "memorize", "memorise", "repeat", "reproduce", "quote", "spell", "recite", "select", "locate"),
    ),
    "understand": (
        *("explain", "summarize", "summarise", "paraphrase", "interpret", "classify", "categorize", "categorise"),
        *("infer", "compare", "describe", "discuss", "illustrate", "exemplify", "translate", "rephrase", "clarify"),
        *("conclude", "generalize", "generalise", "contrast", "outline", "express", "report"),
    ),
    "apply": (
        *("apply", "execute", "implement", "use", "solve", "calculate", "compute", "demonstrate", "carry", "perform"),
        *("convert", "complete", "operate", "practice", "practise", "simplify", "determine", "find"),
    ),
    "analyze": (
        *("analyze", "analyse", "differentiate", "distinguish", "organize", "organise", "attribute", "examine"),
        *("investigate", "deconstruct", "dissect", "structure", "relate", "separate", "discriminate", "break"),
    ),
    "evaluate": (
        *("evaluate", "check", "critique", "criticize", "criticise", "judge", "assess", "argue", "justify", "defend"),
        *("rate", "rank", "recommend", "review", "verify", "test", "appraise", "weigh", "debate"),
    ),
    "create": (
        *("create", "generate", "plan", "produce", "design", "compose", "write", "invent", "construct", "develop"),
        *("devise", "formulate", "hypothesize", "hypothesise", "imagine", "propose", "draft", "build"),
    ),
}
_LEVEL_OF = {verb: level for level, verbs in enumerate(VERBS.values(), 1) for verb in verbs}
_QUESTIONS = {"who": 1, "what": 1, "when": 1, "where": 1, "which": 1, "whom": 1, "whose": 1, "why": 2, "how": 2}
#: Words before the verb of a request.
_BEFORE = frozenset(
    (
        *("please", "now", "then", "next", "first", "second", "third", "finally", "also", "briefly", "and", "so"),
        *("can", "could", "would", "will", "you"),
    )
)
_SENTENCE = re.compile(r"[^.!?;:\n]+[.!?;:\n]?")
_PROMPT = (
    "Which level of Bloom's revised taxonomy does answering the task below call for? Reply with one word: "
    f"{', '.join(LEVELS)}.\n\nTask: {{text}}\n\nLevel:"
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Bloom:
    """Which level of Bloom's taxonomy a question or instruction asks for, by its verbs or by a judge.

    From recalling a fact to creating something new: a syllabus for instruction data that has none.

    **Formula**: levels ``remember`` 1, ``understand`` 2, ``apply`` 3, ``analyze`` 4, ``evaluate`` 5, ``create`` 6; the
    score is the highest that a sentence of the text asks for, at most ``highest``. A sentence asks for the level of the
    verb it begins with ("please", "then", "could you" and the like passed over); a question that begins with no such
    verb asks for 1 with who, what, when, where, which, and for 2 with why and how.

    Args:
        highest: The highest level there is, 2 to 6; what lies above counts as it. The paper keeps to 3, as higher ones
            are a matter of taste.
        judge: Instead of verbs: a function from a prompt to an answer, such as a language model or an endpoint; only in
            Python. An answer without a level, ``None``, or one that raises ``OSError`` or ``TimeoutError`` is missing.
        column: Column with the question or instruction.

    Returns:
        ``score(batch)``: float64 ``(n,)``, whole numbers in [1, ``highest``], high = hard; NaN where nothing is asked.

    Raises:
        ValueError: ``highest`` outside 2 to 6.
        BadRow: A value that is no text.

    Example:
        >>> texts = ["Who wrote Hamlet?", "Explain why ice floats.", "Write a poem.", "Ice floats."]
        >>> Bloom().score({"text": texts})
        array([ 1.,  2.,  6., nan])
        >>> Bloom(highest=3, judge=lambda prompt: "Level: Evaluate").score({"text": ["Is it just?"]})
        array([3.])

    Use with:
        ``tutelage score data.jsonl --signal bloom:column=instruction,highest=3``; the interleaved syllabus, with
        :class:`Topic` or a column of your own as the subject.

    Helps / does not help:
        The paper's data are written to a level, which is more reliable than reading it off: where yours say it, take
        :class:`Stored`. Verbs tell the levels of clear requests; code, dialogues and long prompts mostly come out
        missing.

    Relations:
        :class:`Stored` reads a level the data have; :class:`Length` often ranks instructions as well.

    Source:
        CORGI: instruction tuning with human curriculum, 2023, arXiv 2310.09518 (levels remember, understand, apply).
            Levels
        and processes: Anderson and Krathwohl, A taxonomy for learning, teaching, and assessing, 2001; the rule and the
        list of verbs are our own.
    """

    spec_name: ClassVar[str] = "bloom"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True

    highest: int = 6
    judge: Callable[[str], str | None] | None = None
    column: str = "text"

    def __post_init__(self) -> None:
        """Check every argument."""
        if not 2 <= self.highest <= len(LEVELS):
            raise ValueError(f"Bloom: highest must be in 2 to 6 ({', '.join(LEVELS)}), got {self.highest}.")

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return (self.column,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the level of each text."""
        find = _asked_for if self.judge is None else self._judged
        levels = np.array([find(text) for text in texts_of(batch, self.column)], dtype=np.float64)
        return np.minimum(levels, float(self.highest))

    def _judged(self, text: str) -> float:
        try:
            answer = self.judge(_PROMPT.format(text=text)) if self.judge is not None else None
        except OSError:  # TimeoutError is one
            return math.nan
        found = [word for word in words((answer or "").lower()) if word in LEVELS]
        return float(LEVELS.index(found[0]) + 1) if found else math.nan


def _asked_for(text: str) -> float:
    levels = []
    for sentence in _SENTENCE.findall(text):
        found = [word.lower() for word in words(sentence)]
        while found and found[0] in _BEFORE:
            found.pop(0)
        if not found:
            continue
        level = _LEVEL_OF.get(found[0])
        if level is None and sentence.endswith("?"):
            level = _QUESTIONS.get(found[0])
        if level is not None:
            levels.append(level)
    return float(max(levels)) if levels else math.nan
