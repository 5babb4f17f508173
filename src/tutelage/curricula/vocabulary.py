"""CLIMB's vocabulary curriculum: rare words are unknown at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from tutelage.curricula._batches import no_batches
from tutelage.curricula._shared import spec_of
from tutelage.curricula.pacing import Pace, Pacing

Array = TypeVar("Array")
#: Parts of speech in the order they become known.
TAGS: tuple[str, ...] = ("NOUN", "VERB", "ADJ", "ADV", "PRON", "DET", "ADP", "NUM", "CONJ", "PRT", ".", "X")


@dataclass(frozen=True, kw_only=True, repr=False)
class VocabularyPacing:
    """Replaces rare tokens by the unknown token, fewer and fewer of them as the run goes on; inputs and labels alike.

    A vocabulary that grows as a child's does. For tokenizers whose ids rise with rarity, as merges of BPE do.

    **Formula**: with the share ``g(p)`` of :class:`Pacing` and ``V`` ids, a token of id ``t`` and part of speech ``s``
    becomes unknown where ``t > g V`` (``of="id"``), ``s > 11 g`` (``"tag"``), or ``t + V s > 11 g V`` (``"both"``).

    Args:
        vocab_size: ``V`` >= 1.
        unk_id: Id of the unknown token, in [0, V).
        of: What is unknown at first: rare tokens, later parts of speech, or both ranked together.
        specials: Ids that are never replaced.
        pace: How the share grows; the study used ``linear`` and ``logarithmic``.
        start: Progress at which growth begins.
        end: Progress at which all is known.
        low: Share at the start.
        high: Share at the end.

    Returns:
        ``value(progress)``: the share. ``transform(ids, progress, tags=None)``: ids with the unknown token put in, an
        array or tensor like ``ids``.

    Raises:
        ValueError: ``vocab_size`` below 1, ``unk_id`` or a special outside it, an unknown ``of``, what :class:`Pacing`
            refuses, or no tags where they are needed.

    Example:
        >>> import numpy as np
        >>> VocabularyPacing(vocab_size=8192, unk_id=3).transform(np.array([819, 820, 5000]), 0.0)
        array([819,   3,   3])

    Use with:
        In a collate function: ``batch["input_ids"] = part.transform(batch["input_ids"], drawn / num_samples)``.

    Helps / does not help:
        No consistent gain over a tuned baseline on 10M words. With the logarithmic pace nearly all is known after a
        quarter of the growth.

    Relations:
        :class:`PercentilePacing` holds back whole examples; :class:`ObjectiveCurriculum` holds back losses.

    Source:
        Martinez et al., CLIMB, 2023, arXiv 2311.08886 (its code was read for the card; order of the tags is its).
    """

    spec_name: ClassVar[str] = "vocabulary"

    vocab_size: int
    unk_id: int
    of: Literal["id", "tag", "both"] = "id"
    specials: tuple[int, ...] = ()
    pace: Pace = "linear"
    start: float = 0.0625
    end: float = 0.875
    low: float = 0.1
    high: float = 1.0

    __repr__ = spec_of
    batches = no_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.vocab_size < 1:
            raise ValueError(f"VocabularyPacing: vocab_size must be >= 1, got {self.vocab_size}.")
        for name, ids in (("unk_id", (self.unk_id,)), ("specials", self.specials)):
            for token in ids:
                if not 0 <= token < self.vocab_size:
                    raise ValueError(f"VocabularyPacing: {name} must be in [0, {self.vocab_size}), got {token}.")
        if self.of not in ("id", "tag", "both"):
            raise ValueError(f'VocabularyPacing: of must be id, tag or both, got "{self.of}".')
        self._pacing()

    def _pacing(self) -> Pacing:
        return Pacing(kind=self.pace, start=self.start, end=self.end, low=self.low, high=self.high)

    def columns(self) -> tuple[str, ...]:
        """Return no column: it needs no scores."""
        return ()

    def value(self, progress: float) -> float:
        """Return the share of the vocabulary that is known at ``progress``."""
        return float(self._pacing()(progress))

    def transform(self, ids: Any, progress: float, tags: Any = None) -> Any:
        """Return ``ids`` with the unknown token in place of what is not known yet, the same shape and kind."""
        share, size = self.value(progress), self.vocab_size
        if self.of == "id":
            unknown = ids > share * size
        else:
            if tags is None:
                raise ValueError(f'VocabularyPacing: of="{self.of}" needs tags, numbers of TAGS, got none.')
            most = len(TAGS) - 1
            unknown = tags > share * most if self.of == "tag" else ids + size * tags > share * most * size
        for special in self.specials:
            unknown = unknown & (ids != special)
        # Arithmetic that NumPy and PyTorch share; ids are whole numbers, so that nothing is rounded.
        return ids + (self.unk_id - ids) * unknown


def tag_numbers(tags: Sequence[str]) -> list[int]:
    """Return the numbers of universal part-of-speech tags; unknown ones count as X, the last to be known.

    Example:
        >>> tag_numbers(["NOUN", "PRON", "FOREIGN"])
        [0, 4, 11]
    """
    numbers = {tag: number for number, tag in enumerate(TAGS)}
    return [numbers.get(tag, len(TAGS) - 1) for tag in tags]
