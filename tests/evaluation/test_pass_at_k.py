"""The chance that one of k answers is right, against the card's values, counting, and what cannot be used."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation import pass_at_k


@pytest.mark.parametrize(("k", "expected"), [(1, 0.3), (5, 0.916667), (10, 1.0)])
def test_values_of_the_card(k: int, expected: float) -> None:
    assert pass_at_k(10, 3, k) == pytest.approx(expected, abs=1e-6)


@given(st.integers(1, 7), st.data())
def test_it_is_the_share_of_draws_that_hold_a_right_one(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = list(combinations(range(n), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(min(draw) < c for draw in draws) / len(draws))


def test_questions_keep_their_shape() -> None:
    found = pass_at_k(20, np.array([[0, 1], [10, 20]]), 3)
    assert isinstance(found, np.ndarray)
    assert found.shape == (2, 2)
    assert found[0].tolist() == [0.0, pytest.approx(3 / 20)]
    assert found[1, 1] == 1.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((10, 3, 11), "k must be >= 1 and <= n, got k=11 for n=10"),
        (([10, 4], [1, 1], 5), "k must be >= 1 and <= n, got k=5 for n=[10, 4]"),
        ((10, 3, 0), "k must be >= 1 and <= n, got k=0"),
        ((10, 11, 1), "c must be >= 0 and <= n, got c=11"),
        ((10, -1, 1), "c must be >= 0 and <= n, got c=-1"),
        ((10.0, 3, 1), "n and c must be whole numbers, got types float64"),
    ],
)
def test_what_cannot_be_used_is_refused(given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        pass_at_k(*given)
