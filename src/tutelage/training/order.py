"""Which examples an update sees: a pure function of seed and position, so any position is reached at once."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tutelage.permutations import Permutations


class ExampleOrder(Protocol):
    """Gives the global batch of each update; ranks and micro-batches take slices of it."""

    def indices(self, position: int) -> NDArray[np.int64]:
        """Return the examples of update ``position``, shape ``(batch_size,)``."""


class EpochOrder:
    """A fresh permutation of all examples each epoch, cut into batches without a break between epochs.

    The order depends on ``seed`` and ``num_examples`` only; batch ``position`` holds places
    ``position * batch_size`` to ``(position + 1) * batch_size`` of the endless sequence.

    Args:
        num_examples: Examples in the training data, >= 1.
        batch_size: Examples an update over all processes, >= 1.
        seed: The run's seed; stream ``data`` of it is used.
    """

    def __init__(self, num_examples: int, batch_size: int, seed: int) -> None:
        if num_examples < 1:
            raise ValueError(f"EpochOrder: num_examples must be >= 1, got {num_examples}.")
        if batch_size < 1:
            raise ValueError(f"EpochOrder: batch_size must be >= 1, got {batch_size}.")
        self.num_examples = num_examples
        self.batch_size = batch_size
        self.seed = seed
        self._permutation = Permutations(num_examples, seed, "data")

    def indices(self, position: int) -> NDArray[np.int64]:
        """Return the examples of update ``position``, shape ``(batch_size,)``."""
        place, left = position * self.batch_size, self.batch_size
        pieces: list[NDArray[np.int64]] = []
        while left:
            epoch, start = divmod(place, self.num_examples)
            piece = self._permutation(epoch)[start : start + left]
            pieces.append(piece)
            place, left = place + len(piece), left - len(piece)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def chain_digest(previous: str, indices: NDArray[np.int64]) -> str:
    """Return the hash of a data order grown by one batch; small enough to keep in a checkpoint."""
    return hashlib.blake2b(bytes.fromhex(previous) + indices.tobytes(), digest_size=8).hexdigest()
