"""Linear, cosine, polynomial, exponential, REX and the generic decay: whole vectors against scalar formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tutelage.schedules import REX, Cosine, Decay, Exponential, Linear, Polynomial, Schedule

U = [step / 8 for step in range(9)]

#: Schedule with peak 0.8, final 0.2, 11 updates of which 3 are warm-up, and its share of the way left at u.
SHARES: list[tuple[Schedule, Callable[[float], float]]] = [
    (Linear(peak=0.8, final=0.2, total_steps=11, warmup=3), lambda u: 1 - u),
    (Cosine(peak=0.8, final=0.2, total_steps=11, warmup=3), lambda u: math.cos(math.pi * u / 2) ** 2),
    (Cosine(peak=0.8, final=0.2, total_steps=11, warmup=3, cycles=0.3), lambda u: math.cos(0.3 * math.pi * u) ** 2),
    (Cosine(peak=0.8, final=0.2, total_steps=11, warmup=3, cycles=1.5), lambda u: math.cos(1.5 * math.pi * u) ** 2),
    (Polynomial(peak=0.8, final=0.2, total_steps=11, warmup=3, power=3), lambda u: (1 - u) ** 3),
    (Polynomial(peak=0.8, final=0.2, total_steps=11, warmup=3, power=0.5), lambda u: math.sqrt(1 - u)),
    (REX(peak=0.8, final=0.2, total_steps=11, warmup=3), lambda u: (2 - 2 * u) / (2 - u)),
    (Decay(peak=0.8, final=0.2, total_steps=11, warmup=3), lambda u: 1 - u),
    (Decay(peak=0.8, final=0.2, total_steps=11, warmup=3, shape="cosine"), lambda u: math.cos(math.pi * u / 2) ** 2),
    (Decay(peak=0.8, final=0.2, total_steps=11, warmup=3, shape="1-sqrt"), lambda u: 1 - math.sqrt(u)),
]


@pytest.mark.parametrize(("schedule", "share"), SHARES, ids=[repr(schedule) for schedule, _ in SHARES])
def test_whole_vector(schedule, share):
    rise = [0.8 / 3, 1.6 / 3, 0.8]
    fall = [0.2 + 0.6 * share(u) for u in U]
    np.testing.assert_allclose(schedule(np.arange(12)), rise + fall, rtol=1e-13, atol=1e-16)
    assert schedule(3) == 0.8


@pytest.mark.parametrize(
    "schedule",
    [
        Exponential(peak=0.8, final=0.2, total_steps=11, warmup=3),
        Decay(peak=0.8, final=0.2, total_steps=11, warmup=3, shape="exponential"),
    ],
)
def test_exponential_whole_vector(schedule):
    expected = [0.8 / 3, 1.6 / 3, 0.8] + [0.8 / 2 ** (2 * u) for u in U]
    np.testing.assert_allclose(schedule(np.arange(12)), expected, rtol=1e-13)
    assert schedule(11) == 0.2


def test_exponential_ends_at_one_percent_unless_told():
    schedule = Exponential(peak=0.5, total_steps=4)
    np.testing.assert_allclose(schedule.to_array(), [0.5, 0.5 / 10**0.5, 0.05, 0.05 / 10**0.5], rtol=1e-14)
    assert schedule(4) == schedule.end == 0.005


def test_exponential_gamma_is_the_factor_of_one_update():
    schedule = Exponential(peak=0.8, final=0.2, total_steps=11, warmup=3)
    assert schedule.gamma == pytest.approx(0.5**0.25, rel=1e-15)
    rates = schedule(np.arange(3, 12))
    np.testing.assert_allclose(rates[1:] / rates[:-1], schedule.gamma, rtol=1e-13)


def test_card_one_arms_at_the_midpoint():
    midpoints = {
        "linear": Linear(peak=1.0, total_steps=2)(1),
        "cosine": Cosine(peak=1.0, total_steps=2)(1),
        "rex": REX(peak=1.0, total_steps=2)(1),
        "exponential": Exponential(peak=1.0, total_steps=2)(1),
    }
    assert midpoints == pytest.approx({"linear": 0.5, "cosine": 0.5, "rex": 2 / 3, "exponential": 0.1}, rel=1e-14)


def test_named_schedules_equal_the_generic_one():
    steps = np.arange(38)
    common = {"peak": 3e-4, "final": 1e-5, "total_steps": 37, "warmup": 5}
    for schedule, shape in ((Linear, "linear"), (Cosine, "cosine"), (Exponential, "exponential")):
        np.testing.assert_allclose(schedule(**common)(steps), Decay(**common, shape=shape)(steps), rtol=1e-13)
    np.testing.assert_allclose(Polynomial(**common, power=1)(steps), Linear(**common)(steps), rtol=1e-13)


def test_defaults():
    assert [Linear(peak=1.0, total_steps=3).final, Cosine(peak=1.0, total_steps=3).cycles] == [0.0, 0.5]
    assert Decay(peak=1.0, total_steps=3).shape == "linear"
    assert repr(Cosine(peak=1.0, total_steps=3)) == "cosine:peak=1.0,total_steps=3steps"


@pytest.mark.parametrize("shape", ["linear", "cosine", "1-sqrt", "exponential"])
@pytest.mark.parametrize("total", [97, 100])
def test_rounding_never_leaves_the_two_ends(shape, total):
    # Unclipped, some of these sums of two products lie a rounding error above both ends, and some below.
    flat = Decay(peak=3e-4, final=3e-4, total_steps=total, shape=shape)
    assert set(flat(np.arange(total + 1)).tolist()) == {3e-4}


rates = st.floats(1e-8, 1e3)


@example(peak=1.1, share=0.9999999999999999, total=8, warm=0.0, kind="linear")
@given(
    peak=rates,
    share=st.floats(1e-6, 1.0),
    total=st.integers(1, 3000),
    warm=st.floats(0, 0.99),
    kind=st.sampled_from(["linear", "cosine", "1-sqrt", "exponential", "rex", "polynomial"]),
)
def test_every_decay_falls_and_is_exact_at_its_ends(peak, share, total, warm, kind):
    common = {"peak": peak, "final": share * peak, "total_steps": total, "warmup": int(warm * total)}
    schedule: Schedule
    if kind == "rex":
        schedule = REX(**common)
    elif kind == "polynomial":
        schedule = Polynomial(**common, power=1 + share)
    else:
        schedule = Decay(**common, shape=kind)
    warmup = common["warmup"]
    values = schedule(np.arange(total + 1))
    assert values[warmup] == peak
    assert values[total] == share * peak
    assert values.max() == peak
    if warmup:
        assert values[warmup - 1] == peak
        np.testing.assert_allclose(np.diff(values[:warmup]), peak / warmup, rtol=1e-9)
    # Between ends that are nearly equal rates may rise by a rounding error.
    assert (np.diff(values[warmup:]) <= 4 * np.spacing(peak)).all()
