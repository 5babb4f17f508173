"""Holm's adjustment: by hand, against statsmodels where it is installed, by its properties."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation import holm


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005, 0.9]).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])
    assert holm([0.4, 0.4, 0.9]).tolist() == [1.0, 1.0, 1.0]
    assert holm([]).tolist() == []


def test_holm_is_that_of_statsmodels() -> None:
    peer = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed: nothing to compare")
    p = np.random.default_rng(0).uniform(0, 0.2, 12)
    np.testing.assert_allclose(holm(p), peer.multipletests(p, method="holm")[1], rtol=1e-12)


@given(p=st.lists(st.floats(0, 1), max_size=8))
def test_holm_properties(p: list[float]) -> None:
    adjusted = holm(p)
    assert np.all(adjusted >= np.array(p))
    assert np.all(adjusted <= 1)
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)
    assert np.all(adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-15)


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (lambda: holm([0.1, 1.2]), "numbers in [0, 1]"),
        (lambda: holm([0.1, math.nan]), "numbers in [0, 1]"),
    ],
)
def test_bad_input(call: Any, fragment: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the fragment below is the match
        call()
    assert fragment in str(caught.value)
