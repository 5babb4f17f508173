"""Phases: where they begin, what they replay, that they cost what all data at once cost, and the views for loops."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.toys import toy
from torch.utils.data import DataLoader

from tutelage.curricula import Phased, from_spec, names, phased, stacked
from tutelage.errors import ConfigError
from tutelage.training import EpochOrder, train


def sequence(order, updates: int) -> np.ndarray:
    return np.stack([order.indices(position) for position in range(updates)])


# --- exact values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "begins", "updates"), [
    (16, [0, 625, 1125], 1875),  # the card's 6,000 examples in 5 epochs
    (128, [0, 78, 141], 235),
    (512, [0, 20, 35], 59),
])  # fmt: skip
def test_the_phases_of_the_card(batch: int, begins: list[int], updates: int) -> None:
    part = Phased(sizes=(2000, 1600, 2400), epochs=5)
    assert part.begins(batch) == begins
    order = part.batches((6000,), batch_size=batch, total_steps=updates, seed=3)
    phase = np.searchsorted([2000, 3600], sequence(order, updates), side="right")
    for number, (begin, end) in enumerate(zip(begins, [*begins[1:], updates], strict=True)):
        assert (phase[begin:end] == number).all()


def test_each_pass_of_a_phase_is_a_fresh_permutation_of_its_part() -> None:
    order = Phased(sizes=(6, 4), epochs=2).batches((10,), batch_size=2, total_steps=10, seed=1)
    found = sequence(order, 10).ravel()
    assert [sorted(found[start : start + 6]) for start in (0, 6)] == [list(range(6))] * 2
    assert [sorted(found[start : start + 4]) for start in (12, 16)] == [list(range(6, 10))] * 2
    assert found[:6].tolist() != found[6:12].tolist()
    other = Phased(sizes=(6, 4), epochs=2).batches((10,), batch_size=2, total_steps=10, seed=2)
    assert sequence(other, 10).ravel().tolist() != found.tolist()


def test_replay_comes_from_all_earlier_parts_and_in_every_batch() -> None:
    part = Phased(sizes=(40, 40, 40), epochs=2, replay=0.25)
    order = part.batches((120,), batch_size=8, total_steps=30, seed=0)
    parts = sequence(order, 30) // 40
    assert (parts[:10] == 0).all()
    assert ((parts[10:20] == 0).sum(axis=1) == 2).all()
    assert ((parts[10:20] == 1).sum(axis=1) == 6).all()
    assert ((parts[20:] == 2).sum(axis=1) == 6).all()
    assert {0, 1} <= set(parts[20:].ravel().tolist())
    again = sequence(order, 30)[20:]
    old = again[again < 80]
    assert len(set(old.tolist())) == len(old) == 20, "none comes twice before all have come"


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=4),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.integers(0, 5),
)
def test_any_position_at_once_and_never_a_later_part(sizes, epochs, replay, seed) -> None:
    part = Phased(sizes=tuple(sizes), epochs=epochs, replay=replay)
    total = sum(sizes) * epochs
    order = part.batches((sum(sizes),), batch_size=1, total_steps=total, seed=seed)
    found = sequence(order, total).ravel()
    backwards = np.array([order.indices(position)[0] for position in reversed(range(total))])[::-1]
    np.testing.assert_array_equal(found, backwards)
    np.testing.assert_array_equal(found, order.at(np.arange(total)))
    phase = np.repeat(np.arange(len(sizes)), np.array(sizes) * epochs)
    assert (found < np.cumsum(sizes)[phase]).all()
    if not replay:
        assert np.bincount(found, minlength=sum(sizes)).tolist() == [epochs] * sum(sizes)


# --- in recipes ------------------------------------------------------------------------------------------------------


def test_it_is_a_part() -> None:
    part = from_spec("phased:sizes=120/83,epochs=2,replay=0.1")
    assert part == Phased(sizes=(120, 83), epochs=2.0, replay=0.1)
    assert repr(part) == "phased:sizes=120/83,epochs=2.0,replay=0.1"
    assert from_spec(repr(part)) == part
    assert "phased" in names()
    assert hash(part)
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.replay = 0.5


def test_a_run_in_phases_is_resumed_and_extended(tmp_path) -> None:
    recipe = "constant;phased:sizes=120/83,epochs=1,replay=0.25"
    whole = train(toy(), recipe, budget="25steps", seed=1)
    from tutelage.training import Callback, extend

    class Stop(Callback):
        def on_update(self, run, row) -> None:
            if run.step == 17:
                raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(toy(), recipe, budget="25steps", seed=1, out=tmp_path, checkpoint_every=5, callbacks=[Stop()])
    resumed = train(toy(), recipe, budget="25steps", seed=1, out=tmp_path, resume=True)
    assert resumed.hashes == whole.hashes
    assert resumed.final_loss == whole.final_loss
    # The last phase goes on.
    longer = extend(toy(), tmp_path, "5steps")
    assert longer.hashes["order"] == train(toy(), recipe, budget="30steps", seed=1).hashes["order"]


@pytest.mark.parametrize(("recipe", "budget", "message"), [
    ("phased:sizes=100/100", "30steps", "sizes=100/100 are 200 examples, and the training data have 203; say how many"),
    ("phased:sizes=200/3", "10steps", "the last phase begins at update 25 and the run has 10; give it 203 examples"),
    ("phased:sizes=3/200", "26steps", r"phase 0 of 3 examples and 1 epochs makes no update of 8; use more epochs"),
    ("phased:sizes=203", "26steps", r"sizes must be two or more numbers >= 1, such as 2000/1600, got \(203,\)"),
    ("phased:sizes=203/0", "26steps", "sizes must be"),
    ("phased:sizes=100/103,epochs=0", "26steps", "epochs must be a finite number > 0, got 0"),
    ("phased:sizes=100/103,replay=1", "26steps", "replay must be >= 0 and < 1, a share of every batch, got 1"),
    ("phased", "26steps", "phased: needs sizes"),
    ("phased:sizes=many", "26steps", "sizes must be a whole number"),
])  # fmt: skip
def test_what_it_refuses(recipe: str, budget: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(toy(), f"constant;{recipe}", budget=budget)


def test_a_budget_in_seconds_has_phases_too() -> None:
    order = Phased(sizes=(4, 4)).batches((8,), batch_size=2, total_steps=None, seed=0)
    assert (sequence(order, 6) // 4).tolist() == [[0, 0]] * 2 + [[1, 1]] * 4


# --- views for loops of one's own ------------------------------------------------------------------------------------


def test_the_views_go_into_a_data_loader() -> None:
    sets = [list(range(10)), list(range(100, 106))]
    view = phased(sets, 0.25, epochs=2, seed=4)
    assert len(view) == 32
    batches = [batch.tolist() for batch in DataLoader(view, batch_size=4)]
    assert [item for batch in batches for item in batch] == list(view)
    assert all(item < 100 for batch in batches[:5] for item in batch)
    assert all(sum(item < 100 for item in batch) == 1 for batch in batches[5:])
    assert (view[-1], view[0]) == (list(view)[-1], next(iter(view)))
    with pytest.raises(IndexError, match=r"places must be below 32, got \[32\]"):
        view[32]


def test_stacked_is_the_order_of_any_run() -> None:
    view = stacked([range(30), range(30, 50)], epochs=3, seed=7)
    plain = [EpochOrder(50, 10, 7).indices(position).tolist() for position in range(15)]
    assert list(view) == [item for batch in plain for item in batch]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: phased([[1]]), "sizes must be two or more"),
    (lambda: phased([[1], []]), "sizes must be two or more"),
    (lambda: phased([[1], [2]], 1.0), "replay must be"),
    (lambda: stacked([]), "stacked: datasets must hold at least one example"),
    (lambda: stacked([[], []]), "stacked: datasets must hold"),
    (lambda: stacked([[1]], epochs=-1), "stacked: epochs must be a finite number > 0, got -1"),
])  # fmt: skip
def test_views_that_are_none(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
