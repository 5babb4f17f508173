"""Differences as fractions of the baseline: by hand, signed by what is better, refused where they mean nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation import relative_gains

positive = st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=1, max_size=9)


def test_by_hand() -> None:
    assert relative_gains([1.9, 2.2], [2.0, 2.0], lower_is_better=True) == pytest.approx([0.05, -0.1])
    assert relative_gains([0.9, 0.5], [0.8, 1.0], lower_is_better=False) == pytest.approx([0.125, -0.5])
    # A reward below zero: -1 instead of -2 is better by half.
    assert relative_gains([-1.0], [-2.0], lower_is_better=False) == pytest.approx([0.5])


def test_items_are_taken_relative_to_the_mean() -> None:
    # Right or wrong: 3 of 4 against 2 of 4 is better by a half. The spread is that of the ratio of means.
    arm, base = [1, 1, 1, 0], [1, 1, 0, 0]
    gains = relative_gains(arm, base, lower_is_better=False, scale="mean")
    assert gains.mean() == pytest.approx(0.5)
    assert gains == pytest.approx([0.5 + (0 - 0.5) / 0.5, 0.5 + (0 - 0.5) / 0.5, 0.5 + 1 / 0.5, 0.5])


def test_the_spread_of_a_ratio_of_means_is_honest() -> None:
    # 4,000 draws of 200 items: the mean of the estimated variances is within 3 % of the variance of the ratio.
    rng = np.random.default_rng(0)
    base = rng.uniform(size=(4000, 200)) < 0.6
    arm = np.where(rng.uniform(size=base.shape) < 0.7, base, rng.uniform(size=base.shape) < 0.7)
    gains = np.array(
        [relative_gains(a, b, lower_is_better=False, scale="mean") for a, b in zip(arm, base, strict=True)]
    )
    assert np.mean(gains.var(axis=1, ddof=1) / 200) == pytest.approx(gains.mean(axis=1).var(), rel=0.08)


@given(rows=positive, lower=st.booleans(), factor=st.floats(0.01, 100))
def test_the_unit_of_the_metric_does_not_matter(rows: list[tuple[float, float]], lower: bool, factor: float) -> None:
    a, b = (np.array(side) for side in zip(*rows, strict=True))
    for scale in ("pair", "mean"):
        one = relative_gains(a, b, lower_is_better=lower, scale=scale)  # type: ignore[arg-type]
        other = relative_gains(factor * a, factor * b, lower_is_better=lower, scale=scale)  # type: ignore[arg-type]
        turned = relative_gains(a, b, lower_is_better=not lower, scale=scale)  # type: ignore[arg-type]
        assert other == pytest.approx(one, rel=1e-9, abs=1e-9)
        assert turned == pytest.approx(-one)


@pytest.mark.parametrize(
    ("arguments", "scale", "fragment"),
    [
        (([1, 2], [1]), "pair", "arm has 2 values and baseline 1"),
        (([1, 2], [1, 0]), "pair", "the baseline is 0"),
        (([1, 2], [0, 0]), "mean", "the baseline is 0"),
        (([1, 2], [1, -1]), "mean", "changes sign"),
        (([1, math.nan], [1, 1]), "pair", "arm[1] is nan"),
        (([1], [1]), "median", 'scale must be "pair" or "mean"'),
    ],
)
def test_bad_input(arguments: Any, scale: Any, fragment: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the fragment below is the match
        relative_gains(*arguments, lower_is_better=True, scale=scale)
    assert fragment in str(caught.value)
