"""The ``k`` smallest of many numbers, without sorting them and without moving most of them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Below this, a partition of everything is as fast.
_FEW = 1 << 17
#: Numbers looked at to guess where the limit lies.
_SAMPLE = 1 << 16
#: Standard errors on either side of the guess; a guess that misses costs time and nothing else.
_WIDE = 4.0


def smallest(values: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """Return the places of the ``k`` smallest values in ascending order of place; of equal ones the first are taken.

    A sample says between which two values the k-th smallest lies. Whatever is below is taken, whatever is above is
    not, in one pass each; only the few per cent between are partitioned (Floyd and Rivest, 1975).

    Args:
        values: Shape ``(n,)``, without NaN.
        k: 1 to n.
    """
    low, high = _bracket(values, k)
    taken = values < low
    between = np.flatnonzero(taken ^ (values <= high))
    below = int(np.count_nonzero(taken))
    if not below < k <= below + between.size:  # the sample was unlucky, or the order of the data fooled it
        taken[:] = False
        between, below = np.arange(values.size), 0
    inner = values[between]
    wanted = k - below
    limit = np.partition(inner, wanted - 1)[wanted - 1]
    sure = inner < limit
    ties = np.flatnonzero(inner == limit)[: wanted - int(np.count_nonzero(sure))]
    taken[between[sure]] = True
    taken[between[ties]] = True
    return np.flatnonzero(taken)


def _bracket(values: NDArray[np.floating], k: int) -> tuple[float, float]:
    """Return two values between which the k-th smallest lies, almost surely."""
    size = values.size
    if size < _FEW:
        return -math.inf, math.inf
    sample = np.sort(values[:: size // _SAMPLE])
    share = k / size
    place = share * sample.size
    width = _WIDE * math.sqrt(sample.size * share * (1 - share)) + 2
    first, last = math.floor(place - width), math.ceil(place + width)
    return (
        float(sample[first]) if first >= 0 else -math.inf,
        float(sample[last]) if last < sample.size else math.inf,
    )
