"""The share of a supervision gap, against the card's values, theory, and what cannot be used."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation import supervision_gap_recovered


@pytest.mark.parametrize(("easy", "share"), [(0.71, 0.863636), (0.74, 1.0), (0.52, 0.0)])
def test_shares_of_the_card(easy: float, share: float) -> None:
    found = supervision_gap_recovered(easy, 0.74, 0.52)
    assert found.share == pytest.approx(share, abs=1e-6)
    assert (found.low, found.high) == (None, None)


def test_no_share_of_a_gain_that_is_hardly_there() -> None:
    assert supervision_gap_recovered(0.6, 0.53, 0.52).share is None
    assert supervision_gap_recovered(0.6, 0.4, 0.52).share is None
    # The means differ enough, the resamples do not tell the gain from none.
    right = np.arange(20) < 11
    found = supervision_gap_recovered(right, right, 0.5)
    assert found.share == 1.0
    assert found.low is None


def test_the_interval_is_that_of_the_delta_method_where_items_are_many() -> None:
    rng = np.random.default_rng(0)
    easy, hard = rng.random(4000) < 0.66, rng.random(4000) < 0.76
    found = supervision_gap_recovered(easy, hard, 0.5, draws=4000)
    gain, gap = easy.mean() - 0.5, hard.mean() - 0.5
    spread = (easy - 0.5) / gap - gain * (hard - 0.5) / gap**2
    error = spread.std() / np.sqrt(len(easy))
    assert found.share == pytest.approx(gain / gap)
    assert found.low == pytest.approx(gain / gap - 1.96 * error, abs=0.01)
    assert found.high == pytest.approx(gain / gap + 1.96 * error, abs=0.01)


def test_runs_are_resampled_too() -> None:
    rng = np.random.default_rng(1)
    skill = np.array([0.55, 0.65, 0.75])[:, None]
    easy, hard = rng.random((3, 300)) < skill, rng.random((3, 300)) < 0.8
    apart = supervision_gap_recovered(easy, hard, 0.5)
    together = supervision_gap_recovered(easy.mean(0), hard.mean(0), 0.5)
    assert apart.share == pytest.approx(together.share)
    assert apart.low is not None
    assert together.low is not None
    assert apart.low < together.low
    assert supervision_gap_recovered(easy, hard, np.full(300, 0.5)).low == apart.low


@given(st.lists(st.booleans(), min_size=30, max_size=60), st.integers(0, 5))
def test_equal_results_recover_all(right: list[bool], seed: int) -> None:
    found = supervision_gap_recovered(right, right, 0.0, draws=100, seed=seed)
    if np.mean(right) < 0.02:
        assert found.share is None
    else:
        assert found.share == pytest.approx(1)
        assert found.low is None or found.low == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, 0], [1], 0.5), {}, "easy and hard must be results on the same items, of one shape, got (2,) and (1,)"),
        (([1, 0], [1, 1], [0.5, 0.5, 0.5]), {}, "base must be a number or have the shape of easy, (2,)"),
        (([1, 2], [1, 1], 0.5), {}, "easy must be results from 0 to 1"),
        (([1, float("nan")], [1, 1], 0.5), {}, "easy must be results from 0 to 1"),
        (([], [], 0.5), {}, "easy must be a number, (items,) or (runs, items), got shape (0,)"),
        ((1, 1, 0.5), {"min_gap": 0}, "min_gap must be > 0, got 0"),
        ((1, 1, 0.5), {"draws": 5}, "draws must be >= 100, got 5"),
        ((1, 1, 0.5), {"confidence": 95}, "confidence must be between 0 and 1, got 95"),
    ],
)
def test_bad_input(arguments: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        supervision_gap_recovered(*arguments, **options)
