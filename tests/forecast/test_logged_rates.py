from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.forecast.logged_rates import logged_rates
from tutelage.schedules import WSD, Cosine

EVERY = 128


def logged(rates, *, every=EVERY, start=None):
    steps = np.arange(start or every, len(rates) + 1, every)
    return steps, rates[steps - 1]


def test_a_jump_falls_in_the_middle_between_its_rows():
    rates = np.where(np.arange(1, 16_001) <= 8000, 3e-4, 3e-5)
    found, warmup = logged_rates(*logged(rates, start=64))
    # Rows at 7,936 + 64 = 8,000 and 8,128.
    assert np.flatnonzero(np.diff(found)).tolist() == [8063]
    assert warmup == 0
    assert logged_rates([7936, 8064], [3e-4, 3e-5])[0][7999:8001].tolist() == [3e-4, 3e-5]


@pytest.mark.parametrize(
    "rates",
    [
        Cosine(peak=3e-4, total_steps=24_000, final=3e-5)(np.arange(24_000)),
        WSD(peak=3e-4, total_steps=24_000, decay=1 / 6)(np.arange(24_000)),
        WSD(peak=3e-4, total_steps=24_000, decay=0.02)(np.arange(24_000)),
        3e-4 / np.sqrt(np.arange(1000, 25_000) / 1000),
    ],
)
def test_slopes_are_interpolated(rates):
    steps, rows = logged(rates)
    found, warmup = logged_rates(steps, rows)
    np.testing.assert_array_equal(found, np.interp(np.arange(1, steps[-1] + 1), steps, rows))
    assert warmup == 0


def test_a_warmup_that_is_logged_is_kept():
    rates = np.minimum(1.0, np.arange(1, 5001) / 1000)
    found, warmup = logged_rates(*logged(rates, every=50))
    np.testing.assert_allclose(found[49:], rates[49:])
    assert warmup == 0


def test_a_warmup_that_is_missing_is_linear():
    found, warmup = logged_rates(np.arange(2160, 5000, 128), np.full(23, 3e-4))
    assert warmup == 2159
    np.testing.assert_allclose(found[:2160], 3e-4 * np.arange(1, 2161) / 2160)


@pytest.mark.parametrize(("first", "missing"), [(1, 0), (100, 0), (300, 0), (301, 300)])
def test_when_a_start_is_missing(first, missing):
    found, warmup = logged_rates(first + 100 * np.arange(10), np.ones(10))
    assert warmup == missing
    assert (found[0] < 1) == (missing > 0)


@given(st.lists(st.tuples(st.integers(1, 200), st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0])), min_size=1, max_size=20))
def test_rows_keep_their_rates_and_nothing_leaves_their_range(rows):
    steps, rates = np.cumsum([gap for gap, _ in rows]), np.array([rate for _, rate in rows])
    found, warmup = logged_rates(steps, rates)
    assert len(found) == steps[-1]
    np.testing.assert_allclose(found[steps - 1], rates)
    assert 0 <= warmup < steps[0]
    assert found.min() >= 0
    assert found.max() <= rates.max()


@pytest.mark.parametrize(
    ("steps", "rates", "fragment"),
    [
        ([1, 2], [1.0], r"two series of one length, got shapes \(2,\) and \(1,\)"),
        ([], [], "two series of one length"),
        ([0, 1], [1.0, 1.0], "rise from 1 on"),
        ([2, 2], [1.0, 1.0], "rise from 1 on"),
    ],
)
def test_bad_input(steps, rates, fragment):
    with pytest.raises(ValueError, match=fragment):
        logged_rates(steps, rates)
