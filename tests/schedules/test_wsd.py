"""WSD: stable, then each shape of decay."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.schedules import WSD, Constant, Decay, Phases

LEFT = {
    "linear": lambda u: 1 - u,
    "cosine": lambda u: math.cos(math.pi * u / 2) ** 2,
    "1-sqrt": lambda u: 1 - math.sqrt(u),
    "exponential": lambda u: (0.8 * 0.25**u - 0.2) / 0.6,
}


@pytest.mark.parametrize("shape", LEFT)
def test_whole_vector(shape):
    schedule = WSD(peak=0.8, final=0.2, total_steps=20, warmup=2, decay=0.25, shape=shape)
    tail = [0.2 + 0.6 * LEFT[shape](step / 5) for step in range(6)]
    np.testing.assert_allclose(schedule(np.arange(21)), [0.4] + [0.8] * 14 + tail, rtol=1e-13)
    assert schedule(20) == 0.2
    assert schedule(15) == 0.8


def test_defaults():
    schedule = WSD(peak=1.0, total_steps=100)
    assert (schedule.decay, schedule.shape, schedule.final, schedule.decay_steps) == (0.1, "1-sqrt", 0.0, 10)
    assert schedule(90) == 1.0
    assert schedule(91) == pytest.approx(1 - math.sqrt(0.1), rel=1e-14)


def test_it_is_a_constant_and_a_decay_joined():
    whole = WSD(peak=0.8, total_steps=50, warmup=5, decay=0.3, shape="cosine")
    joined = Phases(
        schedules=(Constant(peak=0.8, warmup=5), Decay(peak=0.8, total_steps=15, shape="cosine")), lengths=(35, 15)
    )
    np.testing.assert_allclose(whole(np.arange(51)), joined(np.arange(51)), rtol=1e-14)


@given(total=st.integers(1, 5000), decay=st.floats(1e-4, 1.0))
def test_the_decay_takes_whole_updates_and_at_least_one(total, decay):
    schedule = WSD(peak=1.0, total_steps=total, decay=decay, shape="linear")
    length = max(1, round(decay * total))
    assert schedule.decay_steps == length
    assert schedule(total - length) == 1.0
    assert schedule(total - length + 0.5) == pytest.approx(1 - 0.5 / length)
    assert schedule(total) == 0.0


def test_warm_up_and_decay_may_fill_the_run():
    assert WSD(peak=1.0, total_steps=100, decay=0.6, warmup=40)(40) == 1.0
    assert WSD(peak=1.0, total_steps=100, decay=1.0, shape="linear")(50) == 0.5
