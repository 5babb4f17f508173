"""InfiniteLR: the check values of paper 24, runs without an end, and annealing a checkpoint."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutelage.schedules import InfiniteLR, from_spec

CARD = {"peak": 3e-4, "final": 3e-5, "total_steps": 1000, "warmup": 10, "cooldown_end": 610, "anneal": 0.15}


def test_check_values_of_the_card_cosine():
    rates = InfiniteLR(**CARD)([5, 10, 160, 310, 460, 610, 700, 850, 925, 1000])
    expected = [1.5e-4, 3e-4, 2.8023e-4, 2.325e-4, 1.8477e-4, 1.65e-4, 1.65e-4, 1.65e-4, 7.03562e-5, 3e-5]
    np.testing.assert_allclose(rates, expected, rtol=5e-6)


def test_check_values_of_the_card_inverse_sqrt():
    rates = InfiniteLR(**CARD, kind="inverse-sqrt")([160, 310, 460, 610])
    np.testing.assert_allclose(rates, [2.10035e-4, 1.8563e-4, 1.73018e-4, 1.65e-4], rtol=5e-6)


@pytest.mark.parametrize("kind", ["cosine", "inverse-sqrt"])
def test_whole_vector(kind):
    schedule = InfiniteLR(
        peak=0.8,
        final=0.1,
        constant=0.4,
        total_steps=20,
        warmup=2,
        cooldown_end=10,
        anneal=0.25,
        kind=kind,
        steepness=3,
    )

    def cool(x: float) -> float:
        if kind == "cosine":
            return 0.4 + 0.4 * math.cos(math.pi * x / 2) ** 2
        return 0.8 - 0.4 * (1 / math.sqrt(1 + 3 * x) - 1) / (1 / 2 - 1)

    expected = (
        [0, 0.4] + [cool(step / 8) for step in range(8)] + [0.4] * 5 + [0.4 / 4 ** (step / 5) for step in range(6)]
    )
    np.testing.assert_allclose(schedule(np.arange(21)), expected, rtol=1e-13, atol=1e-17)
    assert [schedule(step) for step in (2, 10, 15, 20)] == [0.8, 0.4, 0.4, 0.1]


def test_defaults_follow_the_length_of_the_run():
    schedule = InfiniteLR(peak=1.0, total_steps=1000)
    assert (schedule.warmup, schedule.cooldown_end, schedule.anneal_steps) == (10, 600, 150)
    assert (schedule.floor, schedule.plateau) == (0.1, 0.55)
    assert (schedule.kind, schedule.steepness) == ("cosine", 10.0)
    assert InfiniteLR(peak=1.0, total_steps=2, anneal=0).cooldown_end == 1
    assert InfiniteLR(peak=1.0, total_steps=10, warmup=7, anneal=0).cooldown_end == 8


def test_a_run_without_an_end():
    schedule = InfiniteLR(peak=1.0, cooldown_end=100)
    assert (schedule.warmup, schedule.anneal_steps, schedule.total_steps) == (0, 0, None)
    assert [schedule(step) for step in (0, 50, 100, 10**9)] == pytest.approx([1.0, 0.775, 0.55, 0.55])
    assert InfiniteLR(peak=1.0, total_steps=200, anneal=0.0)(200) == 0.55


def test_annealing_a_checkpoint():
    schedule = InfiniteLR(peak=1.0, cooldown_end=100)
    annealed = schedule.anneal_from(300, 50)
    assert annealed.total_steps == 350
    np.testing.assert_array_equal(annealed(np.arange(300)), schedule(np.arange(300)))
    tail = 0.55 * (0.1 / 0.55) ** (np.arange(51) / 50)
    np.testing.assert_allclose(annealed(np.arange(300, 351)), tail, rtol=1e-13)
    assert from_spec(repr(annealed)) == annealed
    straight = schedule.anneal_from(100, 10, final=0.0, shape="linear")
    np.testing.assert_allclose(straight([100, 105, 110]), [0.55, 0.275, 0], rtol=1e-14)
    with pytest.raises(ValueError, match=r"InfiniteLR: step must be >= cooldown_end \(100\), got 99."):
        schedule.anneal_from(99, 50)


def test_the_next_data_set_goes_on_from_the_plateau():
    first = InfiniteLR(peak=1.0, total_steps=1000)
    second = first.branch(850)
    np.testing.assert_array_equal(second(np.arange(151)), first(np.arange(850, 1001)))


def test_limits_that_are_allowed():
    assert InfiniteLR(peak=1.0, total_steps=100, cooldown_end=85)(85) == 0.55
    assert InfiniteLR(peak=1.0, total_steps=100, constant=1.0)(60) == 1.0
    assert InfiniteLR(peak=1.0, cooldown_end=5, anneal=0.0)(9) == 0.55
    gentle = InfiniteLR(peak=1.0, cooldown_end=4, kind="inverse-sqrt", steepness=0.5625)
    assert gentle(2) == pytest.approx(1 - 0.45 * (1 - 1 / math.sqrt(1.28125)) / (1 - 1 / 1.25), rel=1e-14)
