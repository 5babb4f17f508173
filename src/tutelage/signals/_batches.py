"""Sequences of any lengths as few, full batches: sorted by length, padded on the right, given back in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import torch


def token_batches(lengths: ArrayLike, batch_tokens: int) -> list[NDArray[np.int64]]:
    """Return the places of sequences in batches of at most ``batch_tokens`` places, padding included.

    The longest come first, so that a batch that does not fit the memory fails at once. A sequence longer than
    ``batch_tokens`` is a batch of its own. Ties keep their order, so the batches depend on the lengths only.

    Args:
        lengths: Tokens of each sequence, >= 1, shape ``(n,)``.
        batch_tokens: Places of a batch at most, >= 1.

    Example:
        >>> [batch.tolist() for batch in token_batches([3, 9, 4, 1], batch_tokens=10)]
        [[1], [2, 0], [3]]
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    batches, start = [], 0
    while start < len(order):
        fit = max(1, batch_tokens // int(sizes[order[start]]))
        batches.append(order[start : start + fit])
        start += fit
    return batches


def padded(sequences: Sequence[Sequence[int]], device: torch.device | None = None) -> torch.Tensor:
    """Return sequences as int64 ``(batch, longest)``, filled up on the right by zeros.

    Under a causal model nothing looks to its right, so what stands there cannot change a result.
    """
    import torch

    lengths = [len(sequence) for sequence in sequences]
    table = np.zeros((len(sequences), max(lengths, default=0)), dtype=np.int64)
    for row, sequence in zip(table, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(table).to(device)
