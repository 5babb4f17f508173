"""Constant: one rate, with and without an end."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.schedules import Constant


def test_whole_vector_with_warm_up():
    assert Constant(peak=0.8, warmup=4).to_array(7).tolist() == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8], rel=1e-15
    )


def test_it_never_ends():
    assert Constant(peak=0.3)(10**12) == 0.3
    np.testing.assert_array_equal(Constant(peak=0.3, total_steps=5)(np.arange(9)), 0.3)


def test_defaults():
    schedule = Constant(peak=0.1)
    assert (schedule.total_steps, schedule.warmup) == (None, 0)
    assert repr(schedule) == "constant:peak=0.1"
