"""Places dealt out to several sources in given shares, which may change on the way: exact counts at any place.

Sources hang on a binary tree, the lightest deepest (Huffman's). At each fork the places that come there are dealt to
its two sides as :func:`tutelage.shares.count_before` does for two. So a source's count strays from its share by half a
place at each fork on its way at most, times the part of that fork the source is: as every uncle weighs at least as much
as its nephews, the sum stays below 1.7 for any number of sources, and is half a place for two.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.shares import count_before, exact_share


@dataclass(frozen=True)
class Fork:
    """Deals places to two sides; a side is a fork or the number of a source.

    Args:
        left: The side that holds the first source of both.
        right: The other side.
        begins: Place, among those that come here, at which each stretch of constant shares begins.
        shares: Of the right side in each stretch.
        offsets: What the right side has by each stretch's beginning, and a half.
    """

    left: Fork | int
    right: Fork | int
    begins: NDArray[np.int64]
    shares: tuple[Fraction, ...]
    offsets: tuple[Fraction, ...]

    def before(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many of the first ``places`` that come here go right, same shape."""
        if len(self.shares) == 1:
            return np.asarray(count_before(self.shares[0], places, self.offsets[0]))
        stretch = np.searchsorted(self.begins, places, side="right") - 1
        found = np.empty_like(places)
        for number in np.unique(stretch):
            there = stretch == number
            since = places[there] - self.begins[number]
            found[there] = count_before(self.shares[number], since, self.offsets[number])
        return found


def plant(begins: Sequence[int], weights: Sequence[Sequence[Fraction]]) -> Fork | int:
    """Return the tree that deals places out.

    Args:
        begins: Place at which each stretch begins, ascending from 0.
        weights: For each stretch the weight of every source, >= 0, their sum above 0.
    """
    sources = len(weights[0])
    ends = [*begins[1:], begins[-1] + 1]
    spans = [max(0, end - begin) for begin, end in zip(begins, ends, strict=True)]
    overall = [
        sum((span * row[source] / sum(row) for span, row in zip(spans, weights, strict=True)), Fraction(0))
        for source in range(sources)
    ]
    # Each entry: weight over the run, first source (which settles ties and sides), members, shape.
    heap: list[tuple[Fraction, int, tuple[int, ...], Any]] = [
        (overall[source], source, (source,), source) for source in range(sources)
    ]
    heapq.heapify(heap)
    while len(heap) > 1:
        one, other = sorted((heapq.heappop(heap), heapq.heappop(heap)), key=lambda entry: entry[1])
        members = (*one[2], *other[2])
        heapq.heappush(heap, (one[0] + other[0], one[1], members, (one, other)))
    return _grown(heap[0], np.asarray(begins, dtype=np.int64), weights)


def _grown(entry: tuple[Any, ...], begins: NDArray[np.int64], weights: Sequence[Sequence[Fraction]]) -> Fork | int:
    _, _, _, shape = entry
    if isinstance(shape, int):
        return shape
    left, right = shape
    shares: list[Fraction] = []
    for row in weights:
        mine, theirs = (sum((row[source] for source in side[2]), Fraction(0)) for side in (right, left))
        # A stretch in which neither side has weight gets no places; any share will do.
        shares.append(exact_share(mine / (mine + theirs)) if mine + theirs else Fraction(0))
    offsets = [Fraction(1, 2)]
    for stretch in range(1, len(begins)):
        length = int(begins[stretch] - begins[stretch - 1])
        offsets.append(offsets[-1] + shares[stretch - 1] * length)
    fork = Fork(0, 0, begins, tuple(shares), tuple(offsets))
    to_right = fork.before(begins)
    return Fork(
        _grown(left, begins - to_right, weights), _grown(right, to_right, weights), begins, fork.shares, fork.offsets
    )


def counts_at(tree: Fork | int, places: NDArray[np.int64], sources: int) -> NDArray[np.int64]:
    """Return how many of the first ``places`` each source has, int64 ``(len(places), sources)``."""
    found = np.zeros((len(places), sources), dtype=np.int64)
    work: list[tuple[Fork | int, NDArray[np.int64]]] = [(tree, places)]
    while work:
        node, come = work.pop()
        if isinstance(node, int):
            found[:, node] = come
            continue
        to_right = node.before(come)
        work += [(node.left, come - to_right), (node.right, to_right)]
    return found


def dealt(tree: Fork | int, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the source of each place and the number of places it had before, both int64 of the shape of ``places``."""
    source, turn = np.empty_like(places), np.empty_like(places)
    work: list[tuple[Fork | int, NDArray[np.int64], NDArray[np.int64]]] = [
        (tree, np.arange(places.size), places.ravel())
    ]
    flat_source, flat_turn = source.reshape(-1), turn.reshape(-1)
    while work:
        node, rows, come = work.pop()
        if isinstance(node, int):
            flat_source[rows], flat_turn[rows] = node, come
            continue
        before = node.before(come)
        right = node.before(come + 1) > before
        work.append((node.right, rows[right], before[right]))
        work.append((node.left, rows[~right], (come - before)[~right]))
    return source, turn
