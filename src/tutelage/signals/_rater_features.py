"""Features of whole texts for a rater: means over chunks of an encoder's vectors, or of hashed words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.signals.neighbour_distance import Encoder, sentence_encoder


def features_of(
    texts: Sequence[str], encoder: str | Encoder | None, chunk: int, dimensions: int
) -> tuple[Any, NDArray[np.bool_]]:
    """Return the mean features of each text's chunks, weighed by their words, ``(n, width)``, and which have any words.

    Dense for an encoder, sparse for hashed words.
    """
    from scipy import sparse

    chunks: list[str] = []
    rows: list[int] = []
    sizes: list[int] = []
    for row, text in enumerate(texts):
        words = text.split()
        for start in range(0, len(words), chunk):
            part = words[start : start + chunk]
            chunks.append(" ".join(part))
            rows.append(row)
            sizes.append(len(part))
    total = np.bincount(rows, sizes, len(texts))
    there = total > 0
    if encoder is None:
        vectors: Any = _hashed(chunks, dimensions)
    elif chunks:
        vectors = np.asarray(sentence_encoder(encoder)(chunks), dtype=np.float64)
        if vectors.ndim != 2 or len(vectors) != len(chunks) or not np.isfinite(vectors).all():
            raise DataError(
                f"The encoder of a rater must return finite numbers ({len(chunks)}, width), got shape {vectors.shape}."
            )
    else:
        vectors = np.zeros((0, dimensions))
    shares = np.asarray(sizes) / total[rows] if rows else np.empty(0)
    mean = sparse.csr_matrix((shares, (rows, np.arange(len(rows)))), shape=(len(texts), len(chunks)))
    return mean @ vectors, there


def _hashed(chunks: Sequence[str], dimensions: int) -> Any:
    from scipy import sparse
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.preprocessing import normalize

    if not chunks:
        return sparse.csr_matrix((0, dimensions))
    # Marks are words too: how a text is punctuated says something about it.
    cut = HashingVectorizer(
        n_features=dimensions, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", norm=None, alternate_sign=True
    )
    counts = cut.transform(chunks)
    counts.data = np.sign(counts.data) * np.log1p(np.abs(counts.data))
    return normalize(counts).astype(np.float64)
