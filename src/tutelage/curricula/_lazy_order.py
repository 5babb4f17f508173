"""The examples in the order of their keys, sorted a slab at a time when asked for.

A full sort of ten million keys takes most of a second before the first example is known. Here one pass finds how the
keys are spread, and only the slab of half a million that is wanted is sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.gumbel import random_bits

#: Examples sorted at a time, about.
SLAB = 1 << 19
#: Numbers worked on at a time: what stays in a processor's cache.
BLOCK = 1 << 15
#: Bins of the histogram by which slabs are cut.
_BINS = 1 << 16

#: Gives the 64-bit sort key of each example asked for.
Keys = Callable[[NDArray[Any]], NDArray[np.uint64]]


def ascending(values: NDArray[np.floating]) -> NDArray[np.uint64]:
    """Return unsigned numbers in the same order as float ``values``; -0.0 counts as 0.0."""
    bits = (np.asarray(values, dtype=np.float64) + 0.0).view(np.int64)
    # All bits turn over below zero, the sign alone above it.
    turned = (bits >> 63).view(np.uint64)
    turned |= np.uint64(1 << 63)
    turned ^= bits.view(np.uint64)
    return turned


class LazyOrder:
    """All of ``size`` examples in ascending order of their keys.

    Args:
        size: Examples, >= 1.
        keys: Returns the keys of the examples asked for; a pure function.
        ties: Seed of a random order among equal keys; where not given they keep the order of the examples.
        slab: Examples sorted at a time, about.
        cuts: Places, ascending, where it alone matters what comes before and what behind: between two of them the
            order of the keys is not kept, which spares most of the sort.
    """

    def __init__(
        self,
        size: int,
        keys: Keys,
        *,
        ties: int | None = None,
        slab: int = SLAB,
        cuts: NDArray[np.int64] | None = None,
    ) -> None:
        self.size, self._keys, self._ties, self._cuts = size, keys, ties, cuts
        # The upper half of every key is kept; the lower half is made again for the slab that is sorted.
        self._coarse = np.empty(size, dtype=np.uint32)
        for start in range(0, size, BLOCK):
            stop = min(size, start + BLOCK)
            self._coarse[start:stop] = keys(np.arange(start, stop)) >> np.uint64(32)
        self._lowest = int(self._coarse.min())
        spread = int(self._coarse.max()) - self._lowest
        self._shift = max(0, spread.bit_length() - (_BINS - 1).bit_length())
        counts = np.zeros(_BINS, dtype=np.int64)
        for start in range(0, size, BLOCK):
            bins = (self._coarse[start : start + BLOCK] - np.uint32(self._lowest)) >> np.uint32(self._shift)
            counts += np.bincount(bins, minlength=_BINS)
        reached = np.cumsum(counts)
        # A slab ends with the bin in which the next multiple of its size is reached; one bin is never divided.
        ends = np.unique(np.searchsorted(reached, np.append(np.arange(slab, size, slab), size)))
        self._edges = np.concatenate(([0], ends + 1))
        self._starts = np.concatenate(([0], reached[ends]))
        self._cached: tuple[int, NDArray[np.int32]] | None = None

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the examples at places ``start`` to ``stop`` of the order, shape ``(stop - start,)``."""
        found = np.empty(stop - start, dtype=np.int64)
        place = start
        while place < stop:
            number = int(np.searchsorted(self._starts, place, side="right")) - 1
            begins, ends = int(self._starts[number]), int(self._starts[number + 1])
            until = min(stop, ends)
            found[place - start : until - start] = self._slab(number)[place - begins : until - begins]
            place = until
        return found

    def first_set(self, count: int) -> NDArray[np.int32]:
        """Return the first ``count`` of the order in the order of the examples; all but one slab stay unsorted."""
        number = max(0, int(np.searchsorted(self._starts, count, side="right")) - 1)
        whole = int(self._starts[number])
        found = np.empty(count, dtype=np.int32)
        if whole:
            self._fill(found[:whole], self._lowest, (int(self._edges[number]) << self._shift))
        if whole < count:
            found[whole:] = np.sort(self._slab(number)[: count - whole])
            self._cached = None
            found.sort(kind="stable")  # two runs that ascend, which it merges
        return found

    def slab_end(self, place: int) -> int:
        """Return the place behind the slab that holds ``place``: as far as can be read without another sort."""
        return int(self._starts[int(np.searchsorted(self._starts, place, side="right"))])

    def _slab(self, number: int) -> NDArray[np.int32]:
        if self._cached is None or self._cached[0] != number:
            self._cached = None  # before the next is made, so that two are never held
            members, cuts = self._members(number), self._cuts
            order = self._order(members) if cuts is None else self._parted(number, members, cuts)
            self._cached = (number, members[order])
        return self._cached[1]

    def _members(self, number: int) -> NDArray[np.int32]:
        """Return the examples of a slab in their own order."""
        low = self._lowest + (int(self._edges[number]) << self._shift)
        width = (int(self._edges[number + 1]) - int(self._edges[number])) << self._shift
        members = np.empty(int(self._starts[number + 1] - self._starts[number]), dtype=np.int32)
        self._fill(members, low, width)
        return members

    def _fill(self, members: NDArray[np.int32], low: int, width: int) -> None:
        """Put in the examples whose coarse keys lie in ``width`` from ``low`` on."""
        filled = 0
        for start in range(0, self.size, BLOCK):
            # Unsigned numbers below ``low`` wrap round to large ones, so that one comparison tests both ends.
            there = np.flatnonzero(self._coarse[start : start + BLOCK] - np.uint32(low) <= np.uint32(width - 1))
            members[filled : filled + len(there)] = there + start
            filled += len(there)

    def _order(self, members: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the order of ``members`` by their keys."""
        keys = self._keys(members)
        order = argsort(keys)
        if self._ties is not None and _has_equal(keys[order]):
            # Put in random order first: the sort keeps it among equal keys.
            shuffled = argsort(random_bits(members, self._ties))
            order = shuffled[argsort(keys[shuffled])]
        return order

    def _parted(self, number: int, members: NDArray[np.int32], cuts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return an order of a slab's members in which they are parted at the cuts; else they keep their own order."""
        cuts = cuts[slice(*np.searchsorted(cuts, self._starts[number : number + 2]))]
        bins = self._coarse[members]
        bins -= bins.min()
        bins >>= np.uint32(max(0, int(bins.max()).bit_length() - (_BINS - 1).bit_length()))
        ends = int(self._starts[number]) + np.cumsum(np.bincount(bins))
        begins = np.concatenate((self._starts[number : number + 1], ends[:-1]))
        parts = np.searchsorted(cuts, begins, side="right")
        divided = np.searchsorted(cuts, ends, side="left") > parts
        part = parts.astype(np.min_scalar_type(len(cuts)))[bins]
        inside = np.flatnonzero(divided[bins])
        if inside.size:
            # Only what shares a bin with a cut has to be sorted.
            places = np.concatenate([np.arange(*span) for span in zip(begins[divided], ends[divided], strict=True)])
            part[inside[self._order(members[inside])]] = np.searchsorted(cuts, places, side="right")
        return np.argsort(part, kind="stable")


def argsort(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the stable order of ``keys``, three times as fast as NumPy's sort of 64 bits.

    NumPy sorts 16 bits by counting. Two such passes order the upper 32 bits of the spread; the few keys that are equal
    there are put in order by the rest.
    """
    low = keys.min()
    spread = int(keys.max() - low)
    shift = max(0, spread.bit_length() - 32)
    upper = ((keys - low) >> np.uint64(shift)).astype(np.uint32)
    order = np.argsort(upper.astype(np.uint16), kind="stable")
    if spread >> shift >= 1 << 16:
        order = order[np.argsort((upper >> np.uint32(16)).astype(np.uint16)[order], kind="stable")]
    if shift:
        upper = upper[order]
        same = upper[1:] == upper[:-1]
        unsure = np.flatnonzero(np.append(same, False) | np.append(False, same))
        if len(unsure) > len(keys) // 4:
            return np.asarray(np.argsort(keys, kind="stable"))
        members = order[unsure]
        order[unsure] = members[np.lexsort((keys[members], upper[unsure]))]
    return np.asarray(order)


def _has_equal(ordered: NDArray[np.uint64]) -> bool:
    return bool((ordered[1:] == ordered[:-1]).any())


class Ranking:
    """Examples by rank of their scores, found as far as asked for: the easiest thousand without the order of the rest.

    Args:
        scores: float64 ``(n,)``, finite.
        descending: The highest score has rank 0.
        ties: Seed of the order among equal scores.
        keys: Keys to rank by instead of the scores.
        counts: The counts that will be asked for, where nothing but these sets matters, and no order within them.
        slab: Examples arranged at a time, about.
    """

    def __init__(
        self,
        scores: NDArray[np.float64],
        *,
        descending: bool = False,
        ties: int,
        keys: Keys | None = None,
        counts: NDArray[np.int64] | None = None,
        slab: int = SLAB,
    ) -> None:
        self.scores = scores
        # The examples on both sides of an edge are looked at for equal scores.
        cuts = None if counts is None else np.unique(np.add.outer([-1, 0, 1], counts))

        def of_scores(examples: NDArray[Any]) -> NDArray[np.uint64]:
            values = ascending(scores[examples])
            return ~values if descending else values

        self._order: LazyOrder | None = LazyOrder(len(scores), keys or of_scores, ties=ties, slab=slab, cuts=cuts)
        self._found = np.empty(len(scores), dtype=np.int32)
        self._filled = 0

    def until(self, count: int) -> NDArray[np.int32]:
        """Return the examples of rank below ``count``, by rank where no counts were named."""
        while self._order is not None and self._filled < count:
            end = self._order.slab_end(self._filled)
            self._found[self._filled : end] = self._order.take(self._filled, end)
            self._filled = end
            if end == len(self.scores):
                self._order = None  # all is known: its memory is free
        return self._found[:count]

    def with_ties(self, count: int) -> int:
        """Return ``count`` raised until the examples at its edge whose scores are equal are all in."""
        if count in (0, len(self.scores)):
            return count
        edge = self.until(count + 1)
        if self.scores[edge[-1]] != self.scores[edge[-2]]:
            return count
        same = int(np.count_nonzero(self.scores == self.scores[edge[-1]]))
        return self._first_of_tie(count) + same

    def without_ties(self, count: int) -> int:
        """Return ``count`` lowered until the examples at its edge whose scores are equal are all out."""
        if count in (0, len(self.scores)):
            return count
        edge = self.until(count + 1)
        if self.scores[edge[-1]] != self.scores[edge[-2]]:
            return count
        return self._first_of_tie(count)

    def _first_of_tie(self, count: int) -> int:
        before = self.scores[self.until(count)]
        return count - int(np.count_nonzero(before == before[-1]))
