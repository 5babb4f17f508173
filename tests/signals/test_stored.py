"""A column as the signal: numbers, and labels in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError, DataError
from tutelage.signals import Stored, from_spec, score


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-9, 9), st.booleans()), min_size=1))
def test_numbers_come_as_they_are(values) -> None:
    found = score({"v": values}, "column:name=v,high=good", cache=False)
    np.testing.assert_array_equal(found.values, [np.nan if value is None else float(value) for value in values])
    assert found.direction == "good"


def test_arc_s_human_measures() -> None:
    rows = {"grade": ["Grade 03", "grade 05", None], "depth": ["II", "I", ""]}
    grade = score(rows, "column:name=grade,levels=Grade 03/Grade 04/Grade 05,high=hard", cache=False)
    np.testing.assert_array_equal(grade.values, [1, 3, np.nan])
    depth = score(rows, "column:name=depth,levels=I/II/III,high=hard", cache=False)
    np.testing.assert_array_equal(depth.values, [2, 1, np.nan])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Stored(name="a", high="up"), ValueError, "high must be hard, easy, good, none"),
        (lambda: Stored(name="a", levels=("x",)), ValueError, "2 or more different labels"),
        (lambda: Stored(name="a", levels=("x", "X ")), ValueError, "2 or more different labels"),
        (lambda: from_spec("column"), ConfigError, "needs name"),
        (lambda: score({"a": ["hard"]}, "column:name=a", cache=False), DataError, "row 1: .*levels=low/high"),
        (lambda: score({"a": ["x"]}, "column:name=a,levels=y/z", cache=False), DataError, "'x' is none of y, z"),
        (lambda: score({"a": [[1]]}, "column:name=a", cache=False), DataError, "must be a number"),
    ],
)
def test_bad_input(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
