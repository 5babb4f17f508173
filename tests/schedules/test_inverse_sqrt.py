"""InverseSqrt: needs no end, takes its timescale from warm-up."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.schedules import InverseSqrt


def test_whole_vector_with_the_timescale_of_warm_up():
    schedule = InverseSqrt(peak=0.6, warmup=3)
    expected = [0.2, 0.4, 0.6] + [0.6 * (3 / (3 + t)) ** 0.5 for t in range(9)]
    np.testing.assert_allclose(schedule.to_array(12), expected, rtol=1e-14)
    assert schedule.tau == 3


def test_the_transformers_paper_curve():
    # Equation 3: d^-0.5 min(s^-0.5, s W^-1.5) with s counted from 1; its peak is (d W)^-0.5 at s = W.
    width, warmup = 512, 40
    schedule = InverseSqrt(peak=(width * warmup) ** -0.5, warmup=warmup)
    s = np.arange(1, 400)
    paper = width**-0.5 * np.minimum(s**-0.5, s * warmup**-1.5)
    np.testing.assert_allclose(schedule(s[s <= warmup] - 1), paper[s <= warmup], rtol=1e-13)
    np.testing.assert_allclose(schedule(s[s >= warmup]), paper[s >= warmup], rtol=1e-13)


def test_timescale():
    assert InverseSqrt(peak=1.0).tau == 10_000
    assert InverseSqrt(peak=1.0, timescale=7, warmup=3).tau == 7
    np.testing.assert_allclose(InverseSqrt(peak=1.0, timescale=4)([0, 5, 12, 32]), [1, 2 / 3, 1 / 2, 1 / 3], rtol=1e-14)
    assert InverseSqrt(peak=1.0)(30_000) == 0.5


def test_a_total_only_stops_the_fall():
    schedule = InverseSqrt(peak=1.0, timescale=1, total_steps=8)
    assert [schedule(step) for step in (0, 3, 8, 9, 1000)] == pytest.approx([1, 0.5, 1 / 3, 1 / 3, 1 / 3])
