"""Duplicates: every text once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.selection._checks import as_spec, beside, score_array
from tutelage.selection._protocol import Takes
from tutelage.selection._texts import normalised, text_list


@dataclass(frozen=True, kw_only=True, repr=False)
class Duplicates:
    """Keeps one of every set of equal texts, where case, width and white space do not count.

    Use it first of all: copies cost training time, are learned by heart, and carry test data into training.

    **Formula**: texts ``a`` and ``b`` are equal if ``norm(a) = norm(b)``; ``norm`` is Unicode's NFKC form with case
    folded and white space drawn together. One of each set is kept: the first, or the one with the highest score.

    Args:
        exact: Compare texts as they stand, without ``norm``.

    Returns:
        ``select(texts)``: places of the texts kept, int64, ascending. ``originals(texts)``: for each text the place of
        the one kept in its stead, its own where it is kept.

    Raises:
        ValueError: From ``select``: no texts, one that is no text, or scores of another length.

    Example:
        >>> texts = ["One  text.", "another", "one text."]
        >>> Duplicates().select(texts).tolist()
        [0, 1]
        >>> Duplicates().originals(texts, scores=[0.1, 0.5, 0.9]).tolist()
        [2, 1, 2]

    Use with:
        ``tutelage select data.jsonl --keep duplicates --out once.jsonl``.

    Helps / does not help:
        Finds copies only: a text with one other word is another text; see ``near-duplicates``. Sixteen bytes and a
        number a text are kept, not the texts.

    Relations:
        ``near-duplicates`` also finds texts that share most of their words, and costs a hundred times as much.

    Source:
        Common practice; Lee et al., Deduplicating training data makes language models better, 2021, arXiv 2107.06499.
    """

    spec_name: ClassVar[str] = "duplicates"
    takes: ClassVar[Takes] = "texts"
    beside: ClassVar[tuple[str, ...]] = ("scores",)

    exact: bool = False

    def __repr__(self) -> str:
        """Return the spec that builds this selection again."""
        return as_spec(self)

    def select(self, texts: Sequence[str], /, *, seed: int = 0, scores: ArrayLike | None = None) -> NDArray[np.int64]:
        """Return the places of the texts kept, ascending; nothing is drawn, so ``seed`` changes nothing.

        Args:
            texts: The examples.
            seed: Unused.
            scores: Of each text, shape ``(n,)``: of equal texts that with the highest is kept.
        """
        return np.unique(self.originals(texts, scores=scores))

    def originals(self, texts: Sequence[str], *, scores: ArrayLike | None = None) -> NDArray[np.int64]:
        """Return for each text the place of the one that is kept in its stead, int64 ``(n,)``."""
        listed = text_list("Duplicates", texts)
        kept: dict[bytes, int] = {}
        found = np.empty(len(listed), dtype=np.int64)
        for place in order_of("Duplicates", len(listed), scores):
            text = listed[place] if self.exact else normalised(listed[place])
            digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            found[place] = kept.setdefault(digest, place)
        return found


def order_of(name: str, examples: int, scores: ArrayLike | None) -> list[int]:
    """Return the order in which texts are looked at: those with the highest scores first, else as they come."""
    if scores is None:
        return list(range(examples))
    values = score_array(name, beside(name, "scores", scores, examples))
    places: list[int] = np.argsort(-values, kind="stable").tolist()
    return places
