"""StepDecay: the staircase, and where exactly its steps are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.schedules import StepDecay, from_spec


def test_whole_vector():
    schedule = StepDecay(peak=0.8, total_steps=12, warmup=2, milestones=(0.25, 0.5, 0.75), gamma=0.5)
    expected = [0.4, 0.8, 0.8] + [0.4] * 3 + [0.2] * 3 + [0.1] * 4
    np.testing.assert_allclose(schedule(np.arange(13)), expected, rtol=1e-15)


def test_defaults_are_the_arm_of_the_card():
    schedule = StepDecay(peak=1.0, total_steps=8)
    assert (schedule.milestones, schedule.gamma) == ((0.5, 0.75), 0.1)
    np.testing.assert_allclose(schedule.to_array(), [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-14)


@given(total=st.integers(2, 100_000), data=st.data())
def test_a_milestone_in_updates_is_met_to_the_update(total, data):
    boundary = data.draw(st.integers(1, total - 1))
    schedule = StepDecay(peak=1.0, total_steps=total, milestones=(boundary / total,))
    assert schedule.boundaries == (boundary,)
    assert [schedule(boundary - 1), schedule(boundary)] == [1.0, 0.1]


def test_a_fraction_between_updates_drops_at_the_next_one():
    assert StepDecay(peak=1.0, total_steps=10, milestones=(0.25, 0.71)).boundaries == (3, 8)


def test_spec_takes_fractions_or_updates_and_lists_are_frozen():
    schedule = from_spec("step:milestones=300steps/0.9,gamma=0.2", total_steps=600, peak=1.0)
    assert schedule == StepDecay(peak=1.0, total_steps=600, milestones=[0.5, 0.9], gamma=0.2)
    assert hash(schedule) == hash(StepDecay(peak=1.0, total_steps=600, milestones=[0.5, 0.9], gamma=0.2))


def test_limits_that_are_allowed():
    assert StepDecay(peak=1.0, total_steps=100, warmup=50)(50) == pytest.approx(0.1)
    assert StepDecay(peak=1.0, total_steps=100, gamma=1.0)(99) == 1.0
    assert StepDecay(peak=1.0, total_steps=100, milestones=())(99) == 1.0
