"""What a judge's win rate goes with, against SciPy, the textbook's formula, invariants, and what cannot be used."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.evaluation import style_bias


def systems(seed: int, n: int = 12) -> tuple[np.ndarray[Any, Any], ...]:
    rng = np.random.default_rng(seed)
    right, words = rng.random(n), rng.normal(size=n)
    return 0.5 * right + 0.3 * words + 0.2 * rng.normal(size=n), words + right, right


def test_plain_and_partial_correlation_agree_with_the_textbook() -> None:
    win, words, right = systems(0)
    found = style_bias(win, {"words": words}, control={"right": right})["words"]
    xy, xz, yz = (stats.pearsonr(a, b).statistic for a, b in ((win, words), (win, right), (words, right)))
    assert found.correlation == pytest.approx(xy)
    assert found.partial == pytest.approx((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))
    assert found.partial is not None
    middle, reach = np.arctanh(found.partial), stats.norm.ppf(0.975) / np.sqrt(12 - 1 - 3)
    assert (found.low, found.high) == pytest.approx((np.tanh(middle - reach), np.tanh(middle + reach)))


def test_without_control_the_interval_is_that_of_scipy() -> None:
    win, words, _ = systems(1)
    found = style_bias(win, {"words": words}, confidence=0.9)["words"]
    interval = stats.pearsonr(win, words).confidence_interval(0.9)
    assert found.partial == found.correlation
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@given(st.integers(0, 500), st.floats(0.1, 10), st.floats(-5, 5))
def test_units_do_not_matter(seed: int, scale: float, shift: float) -> None:
    win, words, right = systems(seed)
    plain = style_bias(win, {"words": words}, control={"right": right})["words"]
    other = style_bias(scale * win + shift, {"words": words}, control={"right": 3 - scale * right})["words"]
    assert other.partial == pytest.approx(plain.partial, abs=1e-9)
    assert other.correlation == pytest.approx(plain.correlation, abs=1e-9)


def test_what_does_not_vary_correlates_with_nothing() -> None:
    win = [0.1, 0.2, 0.4, 0.7]
    found = style_bias(win, {"flat": [2.0] * 4, "same": [1, 2, 3, 5]}, control={"held": [1, 2, 3, 5]})
    assert (found["flat"].correlation, found["flat"].partial) == (None, None)
    assert found["same"].partial is None, "holding it constant leaves nothing of it"
    assert found["same"].correlation == pytest.approx(np.corrcoef(win, [1, 2, 3, 5])[0, 1])


def test_few_systems_have_no_interval_and_fewer_no_partial_correlation() -> None:
    four = style_bias([1, 2, 4, 3], {"words": [1, 3, 3, 2]}, control={"held": [1, 0, 0, 1]})["words"]
    assert four.partial is not None
    assert (four.low, four.high) == (None, None)
    three = style_bias([1, 2, 4], {"words": [1, 3, 3]}, control={"held": [1, 0, 0]})["words"]
    assert three.partial is None
    assert three.correlation is not None


@pytest.mark.parametrize(
    ("win", "features", "options", "message"),
    [
        ([1, 2], {"a": [1, 2]}, {}, "win must hold at least 3 systems, got 2"),
        ([1, 2, 3], {}, {}, "features must hold at least 1 list, got none"),
        ([1, 2, 3], {"a": [1, 2]}, {}, "a must hold one value a system, 3, got 2"),
        ([1, 2, 3], {"a": [1, 2, 3]}, {"control": {"b": [1]}}, "b must hold one value a system, 3, got 1"),
        (
            [1, 2, np.nan],
            {"a": [1, 2, 3]},
            {},
            "win must be a list of finite numbers, one a system, got [1.0, 2.0, nan]",
        ),
        (0.5, {"a": [1, 2, 3]}, {}, "win must be a list of finite numbers, one a system, got 0.5"),
        ([1, 2, 3], {"a": [1, 2, 3]}, {"confidence": 1.0}, "confidence must be between 0 and 1, got 1.0"),
    ],
)
def test_what_cannot_be_used_is_refused(win: Any, features: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        style_bias(win, features, **options)
