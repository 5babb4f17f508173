"""Interleaving, in one place: items of several groups in turn, or in given shares evenly spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Places made at a time; also the grid on which the order of an even spread is fixed.
_BLOCK = 1 << 12


def number_in_group(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each item how many of its group come before it, and how many its group has, each shape ``(n,)``.

    Args:
        groups: Group of each item in the order given, whole numbers from 0.
    """
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups)
    starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
    found = np.empty(len(groups), dtype=np.int64)
    found[order] = np.arange(len(groups)) - starts[groups[order]]
    return found, np.asarray(counts[groups])


def part_number(places: NDArray[np.int64], sizes: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """Return the part each place lies in where ``sizes`` items are cut into ``parts``, the first parts one longer."""
    whole, rest = np.divmod(sizes, parts)
    longer = rest * (whole + 1)
    late = rest + (places - longer) // np.maximum(whole, 1)
    return np.asarray(np.where(places < longer, places // (whole + 1), late))


class EvenSpread:
    """Which source each place of an endless sequence is of, and which item of that source, in given shares.

    Item ``j`` of a source with share ``p`` belongs at time ``(j + 1/2) / p``; items come in order of time. So among the
    first ``n`` places each source has its share of ``n`` to within half an item for each source.

    Args:
        shares: Share of each source, >= 0, not all 0.
    """

    def __init__(self, shares: Sequence[float]) -> None:
        total = math.fsum(shares)
        self.shares = np.array([share / total for share in shares])

    def take(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the sources of places ``start`` to ``stop`` and their items, each shape ``(stop - start,)``."""
        block = start // _BLOCK
        while block and self._before(block).sum() > start:
            block -= 1
        sources: list[NDArray[np.int64]] = []
        items: list[NDArray[np.int64]] = []
        first = reached = int(self._before(block).sum())
        while reached < stop:
            which, numbers = self._block(block)
            sources.append(which)
            items.append(numbers)
            reached += len(which)
            block += 1
        if not sources:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        wanted = slice(start - first, stop - first)
        return np.concatenate(sources)[wanted], np.concatenate(items)[wanted]

    def counts(self, places: int) -> NDArray[np.int64]:
        """Return the items of each source among the first ``places``."""
        block = max(0, places // _BLOCK - 1)
        while block and self._before(block).sum() > places:
            block -= 1
        before = self._before(block)
        sources, _ = self.take(int(before.sum()), places)
        return before + np.bincount(sources, minlength=len(self.shares))

    def _before(self, block: int) -> NDArray[np.int64]:
        return np.maximum(0, np.ceil(self.shares * (block * _BLOCK) - 0.5)).astype(np.int64)

    def _block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        begins, ends = self._before(block), self._before(block + 1)
        counts = ends - begins
        sources = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(sources)) - np.repeat(np.cumsum(counts) - counts, counts)
        numbers = np.repeat(begins, counts) + within
        order = np.lexsort((sources, (numbers + 0.5) / self.shares[sources]))
        return sources[order], numbers[order]
