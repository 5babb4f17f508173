"""UBA: the check values of paper 1, and the facts that pin its formula."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.schedules import UBA, Cosine

#: Paper 1: phi -> rates at u = 0, 0.25, 0.5, 0.75, 0.9, 1, and the mean over u.
CHECK_VALUES = {
    0.25: ([1, 0.979004, 0.888889, 0.578518, 0.167142, 0], 0.738796),
    0.5: ([1, 0.958871, 0.8, 0.406983, 0.091192, 0], 0.666667),
    1: ([1, 0.920991, 0.666667, 0.255479, 0.047774, 0], 0.585786),
    2: ([1, 0.853553, 0.5, 0.146447, 0.024472, 0], 0.5),
    5: ([1, 0.699823, 0.285714, 0.064222, 0.009935, 0], 0.387426),
    10: ([1, 0.538252, 0.166667, 0.033176, 0.004992, 0], 0.309017),
}


@pytest.mark.parametrize("phi", CHECK_VALUES)
def test_check_values_of_the_card(phi):
    rates, mean = CHECK_VALUES[phi]
    schedule = UBA(peak=1.0, total_steps=100, phi=phi)
    # The card prints six decimals.
    np.testing.assert_allclose(schedule([0, 25, 50, 75, 90, 100]), rates, atol=5.1e-7, rtol=0)
    assert schedule.area() == pytest.approx(mean, abs=5.1e-7)
    fine = UBA(peak=1.0, total_steps=20_000, phi=phi)
    assert float(np.mean(fine(np.arange(20_000) + 0.5))) == pytest.approx(mean, abs=1e-6)


def test_check_value_with_a_floor():
    assert UBA(peak=3e-3, final=3e-4, phi=5, total_steps=100)(50) == pytest.approx(0.00107142857, abs=5e-12)


def test_whole_vector_with_warm_up_against_the_printed_formula():
    schedule = UBA(peak=0.8, final=0.1, phi=3.5, total_steps=13, warmup=3)

    def rate(u: float) -> float:
        c = 1 + math.cos(math.pi * u)
        return 0.7 * 2 * c / (2 * 3.5 + (2 - 3.5) * c) + 0.1

    expected = [0.8 / 3, 1.6 / 3, 0.8] + [rate(step / 10) for step in range(11)]
    np.testing.assert_allclose(schedule(np.arange(14)), expected, rtol=1e-13)


def test_phi_two_is_cosine():
    steps = np.arange(38)
    common = {"peak": 3e-4, "final": 2e-5, "total_steps": 37, "warmup": 4}
    np.testing.assert_allclose(UBA(**common)(steps), Cosine(**common)(steps), rtol=1e-13)


#: Paper 1: the eight Chebyshev steps for curvatures in [0.1, 1].
CHEBYSHEV = [9.20415163, 5.68703104, 3.33340672, 2.16352177, 1.56791262, 1.24998968, 1.08206216, 1.00872204]


def test_chebyshev_steps_and_worst_contraction_of_the_card():
    schedule = UBA.from_condition(0.1, 1.0, 8)
    assert (schedule.phi, schedule.peak, schedule.final) == (20.0, 10.0, 1.0)
    steps = schedule.to_array()
    np.testing.assert_allclose(steps, CHEBYSHEV, rtol=1e-8)
    curvatures = np.linspace(0.1, 1, 20_001)
    worst = np.abs(np.prod(1 - steps[:, None] * curvatures, axis=0)).max()
    assert worst == pytest.approx(0.0106086735, rel=1e-8)
    assert worst == pytest.approx(1 / math.cosh(8 * math.acosh(11 / 9)), rel=1e-10)
    assert abs(1 - 2 / 1.1 * 0.1) ** 8 == pytest.approx(0.200816, rel=1e-5)
    assert schedule(8) == 1.0


@given(lowest=st.floats(1e-3, 1.0), kappa=st.floats(1.5, 200.0), total=st.integers(1, 40))
def test_from_condition_gives_the_chebyshev_steps(lowest, kappa, total):
    highest = lowest * kappa
    angle = np.pi * (2 * np.arange(total) + 1) / (2 * total)
    roots = (highest + lowest) / 2 - (highest - lowest) / 2 * np.cos(angle)
    np.testing.assert_allclose(UBA.from_condition(lowest, highest, total).to_array(), 1 / roots, rtol=1e-9)


def test_phases_fall_and_rise():
    one = UBA(peak=1.0, total_steps=10, phi=5)
    three = UBA(peak=1.0, total_steps=30, phi=5, phases=3)
    fall = one(np.arange(11))
    expected = np.concatenate([fall[:10], fall[:0:-1], fall])
    np.testing.assert_allclose(three(np.arange(31)), expected, rtol=1e-12, atol=1e-14)
    assert UBA(peak=1.0, total_steps=20, phi=5, phases=2)(20) == 1.0


@given(phi=st.floats(0.01, 100), peak=st.floats(1e-6, 10), share=st.floats(0, 1), total=st.integers(1, 2000))
def test_ends_order_and_midpoint(phi, peak, share, total):
    final = share * peak
    schedule = UBA(peak=peak, final=final, phi=phi, total_steps=total)
    rates = schedule(np.arange(total + 1))
    assert (rates[0], rates[-1]) == (peak, final)
    assert (np.diff(rates) <= 0).all()
    middle = final + (peak - final) * 2 / (2 + phi)
    assert schedule(total / 2) == pytest.approx(middle, rel=1e-9)


def test_smaller_phi_stays_higher():
    inside = np.arange(1, 50)
    curves = [UBA(peak=1.0, total_steps=50, phi=phi)(inside) for phi in (0.25, 1, 2, 5, 10)]
    assert all((higher > lower).all() for higher, lower in itertools.pairwise(curves))


@pytest.mark.parametrize(
    ("lowest", "highest", "message"),
    [
        (0.0, 1.0, "UBA: lowest must be a finite number > 0, got 0.0."),
        (float("nan"), 1.0, "lowest must be"),
        (1.0, 1.0, r"UBA: highest must be a finite number > lowest \(1.0\), got 1.0."),
        (1.0, float("inf"), "highest must be"),
    ],
)
def test_bad_curvatures(lowest, highest, message):
    with pytest.raises(ValueError, match=message):
        UBA.from_condition(lowest, highest, 10)


@pytest.mark.parametrize("step", [-1, -0.001, float("nan"), float("inf"), [3, -2]])
def test_bad_steps(step):
    with pytest.raises(ValueError, match="UBA: step must be a finite number >= 0, got"):
        UBA(peak=1.0, total_steps=100)(step)
