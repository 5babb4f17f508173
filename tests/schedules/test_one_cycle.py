"""OneCycle: two and three phases, both shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.schedules import OneCycle


def along(shape: str, first: float, last: float, u: float) -> float:
    left = math.cos(math.pi * u / 2) ** 2 if shape == "cosine" else 1 - u
    return last + (first - last) * left


@pytest.mark.parametrize("up", ["cosine", "linear"])
@pytest.mark.parametrize("down", ["cosine", "linear"])
@pytest.mark.parametrize("three_phase", [False, True])
def test_whole_vector(up, down, three_phase):
    schedule = OneCycle(
        peak=0.8,
        total_steps=12,
        rise=0.25,
        up=up,
        down=down,
        div_factor=4,
        final_div_factor=10,
        three_phase=three_phase,
    )
    start, end = 0.2, 0.02
    expected = [along(up, start, 0.8, step / 3) for step in range(3)]
    if three_phase:
        expected += [along(down, 0.8, start, step / 3) for step in range(3)]
        expected += [along(down, start, end, step / 6) for step in range(7)]
    else:
        expected += [along(down, 0.8, end, step / 9) for step in range(10)]
    np.testing.assert_allclose(schedule(np.arange(13)), expected, rtol=1e-13)


def test_defaults_are_those_of_pytorch():
    schedule = OneCycle(peak=1.0, total_steps=10)
    assert (schedule.rise, schedule.div_factor, schedule.final_div_factor) == (0.3, 25.0, 1e4)
    assert (schedule.up, schedule.down, schedule.three_phase, schedule.warmup) == ("cosine", "cosine", False, 0)


@given(total=st.integers(2, 3000), rise=st.floats(0.01, 0.99), peak=st.floats(1e-6, 10), three=st.booleans())
def test_boundaries_are_exact(total, rise, peak, three):
    top = round(rise * total)
    if top < 1 or top * (1 + three) >= total:
        with pytest.raises(ValueError, match=f"leaves at least one of {total} updates to each phase"):
            OneCycle(peak=peak, total_steps=total, rise=rise, three_phase=three)
        return
    schedule = OneCycle(peak=peak, total_steps=total, rise=rise, three_phase=three)
    assert schedule.rise_steps == top
    assert schedule(0) == peak / 25
    assert schedule(top) == peak
    assert schedule(total) == peak / 25 / 1e4
    if three:
        assert schedule(2 * top) == peak / 25
    rates = schedule(np.arange(total + 1))
    assert (np.diff(rates[: top + 1]) >= 0).all()
    assert (np.diff(rates[top:]) <= 0).all()


def test_limits_that_are_allowed():
    assert OneCycle(peak=1.0, total_steps=100, rise=0.49, three_phase=True)(49) == 1.0
    flat = OneCycle(peak=1.0, total_steps=4, div_factor=1, final_div_factor=1, rise=0.25)
    assert flat(np.arange(5)).tolist() == [1.0] * 5


@pytest.mark.parametrize("peak", [0.1, 0.3, 0.7])
def test_rounding_never_leaves_the_two_ends(peak):
    # Unclipped, some of these sums of two products lie a rounding error above the peak, and some below.
    flat = OneCycle(peak=peak, total_steps=100, div_factor=1, final_div_factor=1)
    assert set(flat(np.arange(101)).tolist()) == {peak}
