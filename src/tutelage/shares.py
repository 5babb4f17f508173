"""Shares that come out exactly: how many of the first ``n`` places belong to a share, in whole numbers, for any ``n``.

A share drawn at random is right on average; here it is right to the nearest place at any moment, and the count at any
place is found without going through those before it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

#: Shares are kept as fractions with no larger denominator, so that counts are exact in whole numbers.
FINEST = 1_000_000


def exact_share(value: float | Fraction) -> Fraction:
    """Return a share as the fraction its digits say, to six decimals: 0.05 is 1/20, not the nearest binary number.

    Example:
        >>> exact_share(0.05)
        Fraction(1, 20)
    """
    fraction = value if isinstance(value, Fraction) else Fraction(str(float(value)))
    return fraction.limit_denominator(FINEST)


def count_before(share: Fraction, places: Any, offset: Fraction = Fraction(1, 2)) -> Any:
    """Return ``floor(share places + offset)``, with no rounding on the way.

    Args:
        share: Such as :func:`exact_share` gives, in [0, 1].
        places: An int of any size, or an int64 array of any shape, >= 0.
        offset: What is added; a half rounds to the nearest.

    Returns:
        An int, or int64 of the same shape. Between a place and the next it grows by 0 or 1.

    Example:
        >>> count_before(exact_share(0.05), 300_000_000_000)
        15000000000
        >>> import numpy as np
        >>> count_before(exact_share(0.25), np.arange(9)).tolist()
        [0, 0, 1, 1, 1, 1, 2, 2, 2]
    """
    whole = offset.numerator // offset.denominator
    # An integer added under the floor: the offset may be cut to a whole number of 1/denominator before.
    rest = (offset - whole) * share.denominator
    begun = rest.numerator // rest.denominator
    # Places are taken apart first, or their product with the numerator would not fit into 64 bits.
    turns, left = divmod(places, share.denominator)
    return whole + share.numerator * turns + (share.numerator * left + begun) // share.denominator
