"""ReWarm: the check values of paper 24."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutelage.schedules import Cosine, ReWarm


def test_check_values_of_the_card():
    schedule = ReWarm(peak=3e-4, final=3e-5, total_steps=1000, warmup=10)
    rates = schedule([0, 5, 10, 257.5, 505, 1000])
    np.testing.assert_allclose(rates, [0, 1.5e-4, 3e-4, 2.60459e-4, 1.65e-4, 3e-5], rtol=2e-6)


def test_whole_vector_from_the_checkpoint_rate():
    schedule = ReWarm(peak=0.8, final=0.2, total_steps=12, warmup=4, start=0.4)
    fall = [0.2 + 0.6 * math.cos(math.pi * step / 16) ** 2 for step in range(9)]
    np.testing.assert_allclose(schedule(np.arange(13)), [0.4, 0.5, 0.6, 0.7, *fall], rtol=1e-13)


def test_defaults_are_one_percent_of_warm_up_and_a_tenth_of_the_peak():
    schedule = ReWarm(peak=3e-4, total_steps=1000)
    assert (schedule.warmup, schedule.start) == (10, 0.0)
    assert schedule.floor == schedule(1000) == pytest.approx(3e-5, rel=1e-15)
    assert ReWarm(peak=1.0, total_steps=250).warmup == 2
    assert ReWarm(peak=1.0, total_steps=10).warmup == 0
    assert ReWarm(peak=1.0, total_steps=1000, warmup=0)(0) == 1.0


def test_after_warm_up_it_is_cosine():
    steps = np.arange(10, 101)
    common = {"peak": 3e-4, "total_steps": 100, "warmup": 10, "final": 3e-5}
    np.testing.assert_array_equal(ReWarm(**common)(steps), Cosine(**common)(steps))
