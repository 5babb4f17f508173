"""Rarity: the sum of -log p over words, against counts made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.signals import BadRow, Rarity, from_spec, score

ROWS = [{"text": "the the the cat"}, {"text": "The cat, the dog"}]  # the 5, cat 2, dog 1


def test_the_paper_s_sum_over_words_of_relative_frequencies() -> None:
    found = score(ROWS, "rarity", cache=False)
    the, cat, dog = -math.log(5 / 8), -math.log(2 / 8), -math.log(1 / 8)
    np.testing.assert_allclose(found.values, [3 * the + cat, 2 * the + cat + dog], rtol=1e-14)
    mean = score(ROWS, "rarity:reduction=mean", cache=False)
    np.testing.assert_allclose(mean.values, found.values / 4, rtol=1e-14)


def test_alpha_and_unknown_words() -> None:
    signal = Rarity(counts={"a": 3, "b": 1}, alpha=1.0)
    np.testing.assert_allclose(
        signal.score({"text": ["a", "b", "never"]}), -np.log([4 / 7, 2 / 7, 1 / 7]), rtol=1e-14
    )  # N + alpha (V + 1) = 4 + 3
    assert Rarity(counts={"a": 1}).score({"text": ["a", "never", "..."]}).tolist()[:2] == [0.0, math.inf]


def test_upper_case_counts_apart_where_told() -> None:
    assert score(ROWS, "rarity:lower=false", cache=False).values[1] > score(ROWS, "rarity", cache=False).values[1]


@given(st.lists(st.text(alphabet="ab ", max_size=12), min_size=1, max_size=12), st.floats(0, 3))
def test_probabilities_of_all_words_add_to_one_with_the_unknown(texts, alpha) -> None:
    signal = Rarity(alpha=alpha).prepare([{"text": texts}])
    if not signal.counts:
        assert np.isnan(signal.score({"text": texts})).all()
        return
    vocabulary = [*signal.counts, "never"]
    assert math.fsum(np.exp(-signal.score({"text": vocabulary}))) == pytest.approx(1.0)
    order = Rarity(alpha=alpha).prepare([{"text": [text]} for text in reversed(texts)])
    np.testing.assert_array_equal(order.score({"text": texts}), signal.score({"text": texts}))
    assert order.fingerprint() == signal.fingerprint()


def test_counts_are_part_of_the_key() -> None:
    one, other = Rarity(counts={"a": 1}), Rarity(counts={"a": 2})
    assert one.fingerprint() != other.fingerprint()
    assert repr(one) == "rarity:counts=<dict>"
    assert one.prepare([{"text": ["b"]}]) is one


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: from_spec("rarity:alpha=-1"), ConfigError, "alpha must be >= 0, got -1.0"),
        (lambda: Rarity(alpha=math.nan), ValueError, "alpha must be >= 0"),
        (lambda: Rarity(reduction="max"), ValueError, '"sum" or "mean"'),
        (lambda: Rarity(counts={"a": -1}), ValueError, "counts must be >= 0, got -1 for 'a'"),
        (lambda: Rarity(counts=["a"]), ValueError, "must map words to numbers"),
        (lambda: Rarity().score({"text": ["a"]}), ConfigError, "prepare"),
        (lambda: Rarity().prepare([{"text": [1]}]), BadRow, "must hold text"),
    ],
)
def test_bad_input(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
