"""Uniform draws in passes: every one of ``size`` once, in random order, before any comes again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula._lazy_order import LazyOrder, argsort
from tutelage.gumbel import random_bits
from tutelage.randomness import derive_seed

#: Passes of at most so many are ordered many at a time.
_SMALL = 1 << 16
#: Draws held at a time for small passes, about.
_HELD = 1 << 18
#: Draws made at a time where few of many are drawn.
_TOGETHER = 1 << 17
#: Places of the table that counts draws by their last bits.
_MARKS = 1 << 18


class Passes:
    """Places 0 to ``size`` in a fresh random order for every pass; any stretch of the endless sequence at once.

    Args:
        size: Places, >= 1.
        seed: Seed of the order.
        wanted: Draws that will be asked for at most; a small share of ``size`` is drawn without ordering the rest.
    """

    def __init__(self, size: int, seed: int, wanted: int) -> None:
        self.size, self.seed = size, seed
        self._few = _FirstDraws(size, seed, wanted) if wanted <= size // 2 else None
        self._small: tuple[int, NDArray[np.int64]] | None = None
        self._large: tuple[int, LazyOrder] | None = None

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the draws ``start`` to ``stop``, shape ``(stop - start,)``."""
        if self._few is not None:
            return self._few.take(start, stop)
        pieces: list[NDArray[np.int64]] = []
        while start < stop:
            piece = self._small_piece(start, stop) if self.size <= _SMALL else self._large_piece(start, stop)
            pieces.append(piece)
            start += len(piece)
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int64)

    def _small_piece(self, start: int, stop: int) -> NDArray[np.int64]:
        together = max(1, _HELD // self.size)
        block = start // (together * self.size)
        if self._small is None or self._small[0] != block:
            places = np.arange(block * together * self.size, (block + 1) * together * self.size)
            bits = random_bits(places, derive_seed(self.seed, "passes")).reshape(together, self.size)
            self._small = (block, np.argsort(bits, axis=1).ravel())
        first = block * together * self.size
        return self._small[1][start - first : stop - first]

    def _large_piece(self, start: int, stop: int) -> NDArray[np.int64]:
        number, within = divmod(start, self.size)
        if self._large is None or self._large[0] != number:
            self._large = None
            seed = derive_seed(self.seed, "pass", number)
            self._large = (number, LazyOrder(self.size, lambda places: random_bits(places, seed)))
        return self._large[1].take(within, min(self.size, within + stop - start))


class _FirstDraws:
    """At most ``wanted`` different places of ``size``: drawn one by one, what has come already left out."""

    def __init__(self, size: int, seed: int, wanted: int) -> None:
        self._size, self._seed = size, derive_seed(seed, "few")
        self._seen = np.zeros(size, dtype=bool)
        self._drawn = np.empty(wanted, dtype=np.int32)
        self._count, self._tried = 0, 0

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the draws ``start`` to ``stop``, shape ``(stop - start,)``."""
        while self._count < stop:
            self._draw()
        return self._drawn[start:stop].astype(np.int64)

    def _draw(self) -> None:
        wanted = min(len(self._drawn) - self._count, _TOGETHER)
        # At least half of all are left, so that this many nearly always are enough.
        tries = int(wanted / (1 - self._count / self._size) * 1.05) + 16
        # 53 random bits against a size below 2^31: no place is likelier than another by more than one in 2^22.
        bits = random_bits(np.arange(self._tried, self._tried + tries), self._seed) >> np.uint64(11)
        self._tried += tries
        fresh = (bits * (self._size / 2.0**53)).astype(np.int64)
        fresh = _without_repeats(fresh[~self._seen[fresh]])[: len(self._drawn) - self._count]
        self._seen[fresh] = True
        self._drawn[self._count : self._count + len(fresh)] = fresh
        self._count += len(fresh)


def _without_repeats(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``drawn`` without the places that have come before, in order."""
    marks = drawn & (_MARKS - 1)
    # Only places that share their last bits with another one can have come twice; these are looked at one by one.
    suspects = np.flatnonzero(np.bincount(marks, minlength=_MARKS)[marks] > 1)
    if not suspects.size:
        return drawn
    order = argsort(drawn[suspects].view(np.uint64))
    values = drawn[suspects[order]]
    # The order is stable, so that the first of equal places is the one that came first.
    keep = np.ones(len(drawn), dtype=bool)
    keep[suspects[order[1:][values[1:] == values[:-1]]]] = False
    return drawn[keep]
