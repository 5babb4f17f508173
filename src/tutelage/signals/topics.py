"""Topic: which of several topics a text is about, by keywords."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError, DataNotFound
from tutelage.signals._protocol import Batch, Direction, fingerprint_of, spec_of
from tutelage.signals._words import texts_of

#: Words that speak for each topic, by topic.
Keywords: TypeAlias = Mapping[str, Sequence[str]]


@dataclass(frozen=True, kw_only=True, repr=False)
class Topic:
    """Which of several topics a text is about, by keywords or by a judge: the subject a syllabus alternates.

    Its number stands for a topic and is no score: it groups examples for interleaved and blocked orders and for
    mixtures.

    **Formula**: the place, from 0, of the topic with the most keywords in the text, each occurrence counted; of equal
    ones the first. A keyword counts where it stands as whole words, in upper or lower case.

    Args:
        keywords: Words and phrases of each topic: a JSON file such as ``{"biology": ["cell", "gene"], ...}``, or in
            Python the mapping itself. Topics are numbered in its order.
        judge: Instead of counting: a function from a prompt to an answer that names a topic; only in Python. An answer
            that names none, ``None``, or one that raises ``OSError`` or ``TimeoutError`` is missing.
        column: Column with the text.

    Returns:
        ``score(batch)``: float64 ``(n,)``, whole numbers in [0, topics), neither hard nor easy; NaN where no keyword is
        found.

    Raises:
        ValueError: Fewer than 2 topics, or a topic without keywords.
        DataNotFound: There is no such file.
        DataError: The file is no JSON object of lists of words.
        BadRow: A value that is no text.

    Example:
        >>> topic = Topic(keywords={"biology": ["cell", "gene"], "law": ["court", "contract law"]})
        >>> topic.score({"text": ["A gene in a cell.", "The Court on contract law", "Hello"]})
        array([ 0.,  1., nan])
        >>> topic.topics
        ('biology', 'law')

    Use with:
        ``tutelage score data.jsonl --signal topic:keywords=topics.json``; interleaving by subject with :class:`Bloom`
        as the level.

    Helps / does not help:
        Interleaving subjects while difficulty rises beat blocking them in the paper, whose subjects come from
        syllabuses. Keywords are a makeshift where the data name no subject: read a sample of each topic before using
        it.

    Relations:
        A column of names is a topic already: :class:`Stored` with ``levels`` numbers it, and orders take it as it is.

    Source:
        CORGI: instruction tuning with human curriculum, 2023, arXiv 2310.09518 (subjects). The rule is our own.
    """

    spec_name: ClassVar[str] = "topic"
    direction: ClassVar[Direction] = "none"
    per_example: ClassVar[bool] = True
    neutral: ClassVar[tuple[str, ...]] = ("keywords",)  # they are in the fingerprint

    keywords: str | Keywords
    judge: Callable[[str], str | None] | None = None
    column: str = "text"

    def __post_init__(self) -> None:
        """Check every argument; keywords of a mapping are frozen."""
        if not isinstance(self.keywords, str):
            frozen = _Frozen({str(name): tuple(found) for name, found in self.keywords.items()})
            _check(frozen, "Topic")
            object.__setattr__(self, "keywords", frozen)

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    @property
    def topics(self) -> tuple[str, ...]:
        """The names of the topics, by number."""
        return tuple(_read(self.keywords))

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return (self.column,)

    def fingerprint(self) -> str:
        """Return a hash of the topics and their keywords, in order."""
        return fingerprint_of(*(part for item in _read(self.keywords).items() for part in item))

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the number of each text's topic."""
        find = self._counted if self.judge is None else self._judged
        return np.array([find(text) for text in texts_of(batch, self.column)], dtype=np.float64)

    def _counted(self, text: str) -> float:
        counts = [len(pattern.findall(text)) for pattern in _patterns(self.keywords)]
        return float(counts.index(max(counts))) if any(counts) else math.nan

    def _judged(self, text: str) -> float:
        names = self.topics
        asked = f"Which topic is the text below about? Reply with one of: {', '.join(names)}.\n\nText: {text}\n\nTopic:"
        try:
            answer = self.judge(asked) if self.judge is not None else None
        except OSError:  # TimeoutError is one
            return math.nan
        at = {name: _whole(name).search(answer or "") for name in names}
        found = [(match.start(), -len(name), names.index(name)) for name, match in at.items() if match]
        return float(min(found)[2]) if found else math.nan


class _Frozen(dict[str, tuple[str, ...]]):
    """Keywords that serve as an argument of a frozen part."""

    name = "mapping"

    def __hash__(self) -> int:  # type: ignore[override]  # a dict that nobody changes
        return hash(tuple(self.items()))


def _check(keywords: Mapping[str, Sequence[str]], where: str) -> None:
    if len(keywords) < 2:
        raise ValueError(f"{where}: keywords must name 2 or more topics, got {len(keywords)}.")
    for name, found in keywords.items():
        if not found or not all(isinstance(word, str) and word.strip() for word in found):
            raise ValueError(f'{where}: topic "{name}" must have a list of words, got {list(found)!r:.60}.')


def _read(keywords: str | Keywords) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(keywords, str):
        return keywords  # type: ignore[return-value]  # frozen when the part was made
    path = Path(keywords).expanduser()
    if not path.is_file():
        raise DataNotFound(f"No file {path} with keywords of topics.")
    return _read_file(str(path), path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read_file(path: str, changed: int) -> _Frozen:
    """Return the topics of a file; ``changed`` has it read anew after a change."""
    try:
        stored: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not JSON ({error}).") from None
    if not (isinstance(stored, dict) and all(isinstance(found, list) for found in stored.values())):
        raise DataError(f'{path}: must be an object of lists, such as {{"biology": ["cell"], "law": ["court"]}}.')
    frozen = _Frozen({name: tuple(found) for name, found in stored.items()})
    try:
        _check(frozen, path)
    except ValueError as error:
        raise DataError(str(error)) from None
    return frozen


def _patterns(keywords: str | Keywords) -> tuple[re.Pattern[str], ...]:
    return _compiled(tuple(_read(keywords).values()))


@functools.lru_cache(maxsize=8)
def _compiled(keywords: tuple[tuple[str, ...], ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(_whole(*found) for found in keywords)


def _whole(*phrases: str) -> re.Pattern[str]:
    longest_first = sorted(phrases, key=len, reverse=True)
    choices = "|".join(r"\s+".join(map(re.escape, phrase.split())) for phrase in longest_first)
    return re.compile(rf"(?<!\w)(?:{choices})(?!\w)", re.IGNORECASE)
