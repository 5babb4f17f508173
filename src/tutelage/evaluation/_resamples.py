"""Resamples and patterns of signs: all of them for few values, drawn ones beyond."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tutelage.randomness import numpy_generator

Floats = NDArray[np.float64]

#: Up to this size every resample is enumerated: C(2n-1, n) multisets, 6,435 at 8.
EXACT_RESAMPLES_UP_TO = 8
#: Up to this size every pattern of signs is enumerated: 2**n, 16,384 at 14.
EXACT_SIGNS_UP_TO = 14


@functools.lru_cache(maxsize=16)
def resample_weights(n: int, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """Return the resamples of ``n`` values as weights, and the probability of each.

    Args:
        n: Size of the sample.
        resamples: How many to draw where there are too many to enumerate.
        seed: Of the stream they are drawn from.

    Returns:
        ``(resamples, n)`` weights whose rows sum to 1, and ``(resamples,)`` probabilities that sum to 1.
    """
    if n <= EXACT_RESAMPLES_UP_TO:
        multisets = np.array(list(itertools.combinations_with_replacement(range(n), n)))
        counts = (multisets[:, :, None] == np.arange(n)).sum(axis=1)
        log_ways = special.gammaln(n + 1) - special.gammaln(counts + 1).sum(axis=1)
        return counts / n, np.exp(log_ways - n * math.log(n))
    counts = numpy_generator(seed, "bootstrap", n).multinomial(n, np.full(n, 1 / n), size=resamples)
    return counts / n, np.full(resamples, 1 / resamples)


@functools.lru_cache(maxsize=16)
def sign_patterns(n: int, resamples: int, seed: int) -> tuple[NDArray[np.bool_], bool]:
    """Return which values each pattern flips, without the pattern that flips none, and whether these are all.

    Args:
        n: Size of the sample.
        resamples: How many patterns to draw where there are too many to enumerate.
        seed: Of the stream they are drawn from.

    Returns:
        ``(patterns, n)`` booleans, and whether every pattern is there.
    """
    if n <= EXACT_SIGNS_UP_TO:
        codes = np.arange(1, 2**n)
        return (codes[:, None] >> np.arange(n)) & 1 == 1, True
    drawn = numpy_generator(seed, "sign-flip", n).random((resamples, n)) < 0.5
    return drawn[drawn.any(axis=1)], False
