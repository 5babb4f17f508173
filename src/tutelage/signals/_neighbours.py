"""Distances to the nearest neighbours, exactly and in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Distances held at once.
_ELEMENTS = 2**23
#: Neighbours beyond those asked for whose distance is worked out again in full precision.
_SPARE = 8


def knn_distances(vectors: ArrayLike, k: int = 6, *, pool: ArrayLike | None = None) -> NDArray[np.float64]:
    """Return the Euclidean distance of each vector to its ``k``-th nearest other one.

    **Formula**: ``d_i = k-th smallest of || v_i - v_j ||_2`` over ``j != i``; over all of ``pool`` where one is given.

    Products in blocks find the nearest; their distances are then worked out from the differences, so that near copies
    have the small distances they should have.

    Args:
        vectors: ``(n, width)``.
        k: Which neighbour, >= 1. 6 is InstructMining's.
        pool: Other vectors to look among, ``(m, width)``; the vectors themselves where ``None``.

    Returns:
        float64 ``(n,)``, >= 0. It shrinks as the pool grows: compare distances in pools of equal size.

    Raises:
        ValueError: Fewer than ``k`` other vectors, other shapes, or values that are not finite.

    Example:
        >>> knn_distances([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [6.0]], k=6)
        array([6., 5., 4., 3., 4., 5., 6.])
    """
    own = pool is None
    left = np.asarray(vectors, dtype=np.float64)
    right = left if pool is None else np.asarray(pool, dtype=np.float64)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise ValueError(f"knn_distances: vectors must be (n, width) and pool alike, got {left.shape}, {right.shape}.")
    others = len(right) - (1 if own else 0)
    if not 1 <= k <= others:
        raise ValueError(f"knn_distances: k must be in [1, {others}], the other vectors there are, got {k}.")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("knn_distances: vectors must be finite numbers.")
    # Around the mean, where products lose least.
    centre = right.mean(0)
    left, right = left - centre, right - centre
    squares, near = np.einsum("ij,ij->i", right, right), min(k + _SPARE, others)
    found, rows = np.empty(len(left)), max(1, _ELEMENTS // len(right))
    for start in range(0, len(left), rows):
        block = left[start : start + rows]
        apart = squares - 2 * (block @ right.T)
        if own:
            apart[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        chosen = np.argpartition(apart, near - 1, axis=1)[:, :near]
        exact = np.linalg.norm(right[chosen] - block[:, None], axis=2)
        found[start : start + rows] = np.partition(exact, k - 1, axis=1)[:, k - 1]
    return found
