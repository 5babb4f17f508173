"""A fresh permutation of all examples for each epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tutelage.randomness import numpy_generator


class Permutations:
    """The permutation of each epoch: a pure function of size, seed, stream and epoch.

    Args:
        size: Examples to permute, >= 1.
        seed: The run's seed.
        stream: Name of the random stream.
    """

    def __init__(self, size: int, seed: int, stream: str) -> None:
        self.size, self.seed, self.stream = size, seed, stream
        self._cached: dict[int, NDArray[np.int64]] = {}

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """Return the permutation of ``epoch``, shape ``(size,)``."""
        if epoch not in self._cached:
            # Two epochs are enough: a batch spans at most the end of one and the start of the next, unless tiny.
            self._cached = {key: value for key, value in self._cached.items() if key == epoch - 1}
            self._cached[epoch] = numpy_generator(self.seed, self.stream, epoch).permutation(self.size)
        return self._cached[epoch]

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the examples at ``places`` of the endless sequence of all epochs, same shape."""
        epochs, within = np.divmod(places, self.size)
        found = np.empty_like(within)
        for epoch in np.unique(epochs):
            there = epochs == epoch
            found[there] = self(int(epoch))[within[there]]
        return found
