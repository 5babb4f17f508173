"""Warmup: both conventions, and in front of a function of the user's."""

from __future__ import annotations

import numpy as np

from tutelage.schedules import Phases, Warmup, from_spec


def test_both_conventions_whole():
    forward = Warmup(peak=0.8, total_steps=4, start=0.4)
    np.testing.assert_allclose(forward(np.arange(6)), [0.5, 0.6, 0.7, 0.8, 0.8, 0.8], rtol=1e-15)
    current = Warmup(peak=0.8, total_steps=4, start=0.4, convention="current")
    np.testing.assert_allclose(current(np.arange(6)), [0.4, 0.5, 0.6, 0.7, 0.8, 0.8], rtol=1e-15)
    assert (forward.convention, forward.warmup, Warmup(peak=1.0, total_steps=2).start) == ("next", 0, 0.0)


def test_in_front_of_a_function():
    table = np.linspace(0.8, 0.2, 7)
    joined = Phases(schedules=(Warmup(peak=0.8, total_steps=4), lambda step: table[step]), lengths=(4, 6))
    np.testing.assert_allclose(joined(np.arange(11)), [0.2, 0.4, 0.6, 0.8, *table], rtol=1e-15)


def test_the_same_as_the_argument_of_a_schedule():
    joined = from_spec("warmup@10steps+linear", total_steps=100, peak=0.3)
    np.testing.assert_allclose(
        joined.to_array(), from_spec("linear:warmup=10steps", total_steps=100, peak=0.3).to_array()
    )
