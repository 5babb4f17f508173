"""Map-style data sets read in an order of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Examples(Protocol[T_co]):
    """A map-style data set: PyTorch's, ``datasets``', a list."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def __getitem__(self, index: int, /) -> T_co:
        """Return an example."""


class OrderedExamples(Generic[T]):
    """Several map-style data sets as one, in an order; made by :func:`phased` and :func:`stacked`.

    It is ordered already: read it in order, such as with PyTorch's ``DataLoader`` without ``shuffle``.

    Args:
        datasets: The data sets.
        total: Examples in the whole order.
        at: Gives the examples at places of the order, numbered on from one data set to the next.

    Raises:
        IndexError: A place outside it.
    """

    def __init__(
        self, datasets: Sequence[Examples[T]], total: int, at: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    ) -> None:
        self.datasets, self.total, self._at = list(datasets), total, at
        self._starts = np.cumsum([0, *(len(data) for data in datasets)])

    def __len__(self) -> int:
        """Return the number of examples, repeats counted."""
        return self.total

    def __getitem__(self, place: int) -> T:
        """Return the example at ``place``; negative places count from the end."""
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[int]) -> list[T]:
        """Return the examples at ``places``, which PyTorch's loaders ask for a batch at a time."""
        wanted = np.asarray(places, dtype=np.int64)
        if wanted.size and (wanted.min() < -self.total or wanted.max() >= self.total):
            raise IndexError(f"{type(self).__name__}: places must be below {self.total}, got {list(places)}.")
        found = self._at(np.where(wanted < 0, wanted + self.total, wanted))
        which = np.searchsorted(self._starts, found, side="right") - 1
        return [
            self.datasets[data][index]
            for data, index in zip(which.tolist(), (found - self._starts[which]).tolist(), strict=True)
        ]

    def __iter__(self) -> Iterator[T]:
        """Yield all examples in order."""
        return (self[place] for place in range(self.total))
