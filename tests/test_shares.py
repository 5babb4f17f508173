from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tutelage.shares import count_before, exact_share


def test_replay_of_five_per_cent_is_exact_at_any_length() -> None:
    assert count_before(exact_share(0.05), 300_000_000_000) == 15_000_000_000
    assert count_before(exact_share(0.05), 10**21) == 5 * 10**19


@given(
    share=st.fractions(0, 1, max_denominator=1_000_000),
    offset=st.fractions(0, 50, max_denominator=10**9),
    places=st.lists(st.integers(0, 2**60), min_size=1, max_size=8),
)
def test_arrays_give_the_floor_of_the_exact_fraction(share: Fraction, offset: Fraction, places: list[int]) -> None:
    expected = [(share * place + offset).__floor__() for place in places]
    assert count_before(share, np.array(places, dtype=np.int64), offset).tolist() == expected
    assert [count_before(share, place, offset) for place in places] == expected


def test_digits_are_taken_as_written() -> None:
    assert exact_share(0.1) == Fraction(1, 10)
    assert exact_share(1e-7) == 0
    assert exact_share(Fraction(1, 3)) == Fraction(1, 3)
