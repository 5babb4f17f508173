"""Phases: boundaries, ranges, functions of the user's, phases inside phases, branches and anneals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.schedules.foreign import Foreign

from tutelage.schedules import UBA, WSD, Constant, Cosine, Decay, Linear, Phases, Schedule, from_spec
from tutelage.testing import check_schedule


def test_whole_vector_and_boundaries_belong_to_the_later_phase():
    joined = Phases(
        schedules=(Constant(peak=0.8, warmup=2), Linear(peak=0.4, total_steps=4, final=0.2), Constant(peak=0.1)),
        lengths=(3, 4, 2),
    )
    np.testing.assert_allclose(
        joined(np.arange(12)), [0.4, 0.8, 0.8, 0.4, 0.35, 0.3, 0.25, 0.1, 0.1, 0.1, 0.1, 0.1], rtol=1e-14
    )
    assert (joined.total_steps, joined.peak, joined.warmup) == (9, 0.8, 0)
    check_schedule(joined, final=0.1)


def test_restarts_are_exact():
    joined = from_spec("cosine@30steps+cosine", total_steps=60, peak=0.5)
    one = Cosine(peak=0.5, total_steps=30)
    np.testing.assert_array_equal(joined.to_array(), np.tile(one.to_array(), 2))
    assert joined(60) == 0.0


def test_a_phase_may_start_inside_its_schedule():
    whole = Cosine(peak=0.5, total_steps=40, warmup=5)
    late = Phases(schedules=(whole,), lengths=(30,), starts=(10,))
    np.testing.assert_array_equal(late(np.arange(31)), whole(np.arange(10, 41)))
    assert repr(late) == "cosine@10steps..40steps:peak=0.5,total_steps=40steps,warmup=5steps"
    check_schedule(late, final=0.0)


@pytest.mark.parametrize("step", [0, 1, 5, 17, 39])
def test_branch_is_the_same_curve_from_there_on(step):
    whole = UBA(peak=0.5, total_steps=40, warmup=5, phi=5)
    branch = whole.branch(step)
    assert branch.total_steps == 40 - step
    np.testing.assert_array_equal(branch(np.arange(41 - step)), whole(np.arange(step, 41)))
    assert from_spec(repr(branch)) == branch
    assert whole.branch(step, length=3).total_steps == 3


def test_branch_of_a_run_without_an_end():
    branch = Constant(peak=0.5, warmup=4).branch(2)
    assert branch.total_steps is None
    assert [branch(step) for step in (0, 1, 2, 10**6)] == [0.375, 0.5, 0.5, 0.5]
    assert repr(branch) == "constant@2steps..:peak=0.5,warmup=4steps"
    assert from_spec(repr(branch)) == branch


def test_branch_refuses_what_is_not_there():
    whole = Linear(peak=1.0, total_steps=10)
    with pytest.raises(ValueError, match=r"Linear: step must be below total_steps \(10\), or say length, got 10."):
        whole.branch(10)
    assert whole.branch(10, length=2).to_array().tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match=r"Phases: starts must be >= 0, got \(-1,\)"):
        whole.branch(-1)


@pytest.mark.parametrize("shape", ["linear", "cosine", "1-sqrt", "exponential"])
@pytest.mark.parametrize("step", [1, 10, 25])
def test_anneal_from_starts_at_the_rate_of_the_checkpoint(shape, step):
    schedule = UBA(peak=0.5, total_steps=40, warmup=5, phi=5)
    annealed = schedule.anneal_from(step, 12, final=1e-3, shape=shape)
    np.testing.assert_array_equal(annealed(np.arange(step + 1)), schedule(np.arange(step + 1)))
    tail = Decay(peak=schedule(step), total_steps=12, final=1e-3, shape=shape)
    np.testing.assert_array_equal(annealed(np.arange(step, step + 13)), tail(np.arange(13)))
    assert annealed.total_steps == step + 12
    check_schedule(annealed, final=1e-3)


def test_anneal_from_the_start_end_and_defaults():
    schedule = Linear(peak=0.5, total_steps=10)
    assert schedule.anneal_from(0, 4) == Decay(peak=0.5, total_steps=4)
    assert schedule.anneal_from(5, 4)([5, 7, 9]).tolist() == pytest.approx([0.25, 0.125, 0.0])
    with pytest.raises(ValueError, match="Linear: step must be one at which the rate is above 0, got 10"):
        schedule.anneal_from(10, 4)
    with pytest.raises(ValueError, match="Linear: step must be a finite number >= 0"):
        schedule.anneal_from(-1, 4)
    with pytest.raises(ValueError, match="Decay: total_steps must be >= 1"):
        schedule.anneal_from(5, 0)


def test_phases_inside_phases_are_laid_out():
    inner = Phases(schedules=(Constant(peak=0.2), Linear(peak=0.2, total_steps=8)), lengths=(4, 8))
    outer = Phases(schedules=(inner, Constant(peak=0.1)), lengths=(10, 5))
    assert outer.lengths == (4, 6, 5)
    assert outer.starts == (0, 0, 0)
    np.testing.assert_array_equal(outer(np.arange(10)), inner(np.arange(10)))
    late = Phases(schedules=(inner,), lengths=(5,), starts=(6,))
    assert (late.lengths, late.starts) == ((5,), (2,))
    np.testing.assert_array_equal(late(np.arange(6)), inner(np.arange(6, 12)))
    assert from_spec(repr(outer)) == outer
    short = Phases(schedules=(inner,), lengths=(4,))
    assert short.lengths == (4,)
    second = Phases(schedules=(inner,), lengths=(8,), starts=(4,))
    assert (second.schedules, second.lengths, second.starts) == (inner.schedules[1:], (8,), (0,))
    with pytest.raises(ValueError, match="joined phases of 12 updates cannot be used until update 13"):
        Phases(schedules=(inner,), lengths=(13,))
    with pytest.raises(ValueError, match="cannot be used until update infinity"):
        Phases(schedules=(inner,), lengths=(None,))


@given(data=st.data())
def test_laying_out_never_changes_a_rate(data):
    parts = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    schedules = tuple(Linear(peak=1.0 + index, total_steps=9) for index in range(len(parts)))
    ends = data.draw(st.booleans())
    inner = Phases(schedules=schedules, lengths=(*parts[:-1], parts[-1] if ends else None))
    start = data.draw(st.integers(0, sum(parts) - 1))
    length = data.draw(st.integers(1, sum(parts) - start)) if ends else data.draw(st.sampled_from([1, 5, 40, None]))
    outer = Phases(schedules=(inner,), lengths=(length,), starts=(start,))
    steps = np.arange(60 if length is None else length)
    np.testing.assert_array_equal(outer(steps), inner(start + steps))


def test_functions_of_the_user():
    table = np.linspace(1.0, 0.1, 5)
    joined = Phases(
        schedules=(lambda step: table[step], math_like, lambda step: 0.25), lengths=(4, 3, 2), starts=(0, 2, 0)
    )
    expected = [*table[:4], *(0.5 / (1 + s) for s in (2, 3, 4)), 0.25, 0.25, 0.25]
    np.testing.assert_allclose(joined(np.arange(10)), expected, rtol=1e-14)
    assert joined.peak == 1.0
    assert joined(2.0) == table[2]
    np.testing.assert_allclose(Phases(schedules=(math_like,), lengths=(4,))(1.5), 0.2)
    assert Phases(schedules=(math_like,), lengths=(None,), starts=(4,)).peak == 0.1
    assert Phases(schedules=(lambda step: step / 10.0,), lengths=(None,), starts=(4,)).peak == 0.4
    assert Phases(schedules=(lambda step: step / 10.0,), lengths=(4,), starts=(2,)).peak == 0.6


def test_arrays_of_another_library_go_through_every_phase():
    joined = Phases(schedules=(math_like, Constant(peak=0.4), Linear(peak=0.3, total_steps=4)), lengths=(3, 2, 4))
    rates = joined(Foreign(np.arange(10)))
    np.testing.assert_allclose(
        rates.values, [0.5, 0.25, 0.5 / 3, 0.4, 0.4, 0.3, 0.225, 0.15, 0.075, 0.0], rtol=1e-14, atol=1e-16
    )


def test_functions_give_float64_and_show_as_themselves():
    joined = Phases(schedules=(lambda step: np.ones(np.shape(step), dtype=np.float32),), lengths=(4,))
    assert joined(np.arange(3)).dtype == np.float64
    assert repr(Phases(schedules=(math_like,), lengths=(4,))).startswith("<function math_like at 0x")
    assert repr(Phases(schedules=(math_like,), lengths=(4,))).endswith(">@4steps")


def math_like(step):
    return 0.5 / (1 + step)


def test_equality_hash_and_lists():
    first = Phases(schedules=[Constant(peak=0.2), Linear(peak=0.2, total_steps=8)], lengths=[4, 8])
    second = Phases(schedules=(Constant(peak=0.2), Linear(peak=0.2, total_steps=8)), lengths=(4, 8), starts=(0, 0))
    assert first == second
    assert hash(first) == hash(second)
    assert first != Phases(schedules=first.schedules, lengths=(5, 8))


def test_without_an_end_the_last_phase_goes_on():
    joined = Phases(schedules=(Linear(peak=1.0, total_steps=4), Constant(peak=0.5)), lengths=(4, None))
    assert joined.total_steps is None
    assert [joined(step) for step in (3, 4, 10**6)] == [0.25, 0.5, 0.5]
    assert from_spec(repr(joined)) == joined
    check_schedule(joined)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedules": (), "lengths": ()}, r"Phases: schedules must be at least one, got \(\)"),
        ({"lengths": (4,)}, r"Phases: lengths must be one for each of 2 schedules, got \(4,\)"),
        ({"starts": (1,)}, r"Phases: starts must be one for each of 2 schedules, got \(1,\)"),
        ({"lengths": (None, 4)}, r"Phases: lengths must be known for each phase but the last, got \(None, 4\)\."),
        ({"lengths": (0, 4)}, r"Phases: lengths must be >= 1, got \(0, 4\)\."),
        ({"starts": (0, -2)}, "Phases: starts must be >= 0"),
    ],
)
def test_bad_arguments(arguments, message):
    schedules: tuple[Schedule, ...] = (Constant(peak=1.0), WSD(peak=1.0, total_steps=9))
    with pytest.raises(ValueError, match=message):
        Phases(**{"schedules": schedules, "lengths": (4, 9)} | arguments)


def test_a_negative_step_is_refused():
    with pytest.raises(ValueError, match="Phases: step must be a finite number >= 0, got -1"):
        Phases(schedules=(Constant(peak=1.0),), lengths=(4,))(-1)
    assert math.isclose(Phases(schedules=(Constant(peak=1.0),), lengths=(4,))(2.5), 1.0)


@pytest.mark.parametrize(("spec", "ends"), [
    ("infinite", 85),
    ("infinite:anneal=0", None),
    ("wsd:decay=0.2", 80),
    ("cosine", None),
    ("constant@40steps+wsd:decay=0.5", 70),
    ("infinite@0steps..100steps:total_steps=200steps,cooldown_end=20steps", None),
    ("infinite@100steps..200steps:total_steps=200steps,cooldown_end=20steps", 70),
    ("wsd@50steps+wsd", 95),
    ("wsd@50steps:total_steps=100steps,decay=0.1+constant", None),
])  # fmt: skip
def test_where_the_last_plateau_ends(spec: str, ends: int | None) -> None:
    """Up to there the rate has not begun to fall for the end: what trains on starts from the state kept there."""
    schedule = from_spec(spec, total_steps=100, peak=1.0)
    assert getattr(schedule, "plateau_ends", None) == ends
    if ends is not None:
        assert schedule(ends - 1) == schedule(ends) > schedule(ends + 1)
