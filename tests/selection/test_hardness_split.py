"""Levels of hardness: the card's split, classes, cut-offs, and what cannot be split."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.selection import hardness_split


def test_the_split_of_the_card() -> None:
    split = hardness_split(np.arange(10))
    assert np.flatnonzero(split.easy).tolist() == [0, 1, 2]
    assert np.flatnonzero(split.hard).tolist() == [7, 8, 9]


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=60, unique=True), st.data())
def test_every_example_has_one_level_and_every_class_its_share(values: list[float], data: Any) -> None:
    classes = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(values), max_size=len(values))))
    if min(np.bincount(classes, minlength=2)[np.unique(classes)]) < 2:
        return
    split = hardness_split(values, classes=classes)
    assert (split.easy.astype(int) + split.medium + split.hard == 1).all()
    scores = np.array(values)
    for label in np.unique(classes):
        mine = classes == label
        low, high = np.quantile(scores[mine], (0.3, 0.7))
        assert (split.easy[mine] == (scores[mine] <= low)).all()
        assert (split.hard[mine] == (scores[mine] >= high)).all()


def test_cut_offs_of_few_values() -> None:
    split = hardness_split([3, 5, 5, 8], cutoffs=(4, 8))
    assert split.easy.tolist() == [True, False, False, False]
    assert split.medium.tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ([1, 1, 1], {}, "do not tell easy from hard: the cuts at 0.3 and 0.7 both fall on 1; give cutoffs=(a, b)"),
        ([1, 2, 3, 3], {"classes": ["a", "a", "b", "b"]}, "scores of class b do not tell easy from hard"),
        ([1, 2], {"cutoffs": (2, 2)}, "cutoffs must be (a, b) with a < b, got (2, 2)"),
        ([1, 2], {"cutoffs": (1, 2), "classes": [0, 1]}, "give cutoffs or classes"),
        ([1, 2], {"low": 0.7, "high": 0.3}, "shares must be 0 < low < high < 1, got low=0.7 and high=0.3"),
        ([1, float("nan")], {}, "1 of 2 are NaN, the first at 1"),
        ([1, 2], {"classes": [1]}, "classes must have one value an example, shape (2,), got (1,)"),
    ],
)
def test_bad_input(scores: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        hardness_split(scores, **options)
