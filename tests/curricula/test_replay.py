"""Replay: exact counts, equal cost, any position at once, and the mixer for loops of one's own."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Subset

from tutelage.curricula import Replay, ReplayMixer, from_spec, names
from tutelage.errors import ConfigError, UnknownPart
from tutelage.training import EpochOrder

shares = st.one_of(st.integers(0, 99).map(lambda percent: percent / 100), st.floats(0, 0.999999))


# --- exact values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "total", "new", "old"), [
    (0.05, 300_000_000_000, 285_000_000_000, 15_000_000_000),  # the card's
    (0.25, 200_000_000_000, 150_000_000_000, 50_000_000_000),
    (0.005, 1000, 995, 5),
    (0.0, 1000, 1000, 0),
    (0.5, 7, 3, 4),
    (0.1, 4, 4, 0),
    (0.1, 5, 4, 1),
    (0.29, 100, 71, 29),  # 0.29 * 100 is below 29 in floating point
    (0.05, 0, 0, 0),
])  # fmt: skip
def test_counts(alpha: float, total: int, new: int, old: int) -> None:
    assert Replay(alpha=alpha).counts(total) == (new, old)


def test_whole_sequence_in_original_order() -> None:
    order = Replay(alpha=0.25, order="original").batches((8, 4), batch_size=4, total_steps=4, seed=9)
    assert [order.indices(position).tolist() for position in range(4)] == [
        [0, 8, 1, 2],
        [3, 9, 4, 5],
        [6, 10, 7, 0],  # the new data come round again, as they do without replay
        [1, 11, 2, 3],
    ]


def test_without_replay_it_is_the_order_of_any_run() -> None:
    order, plain = Replay(alpha=0.0).batches((50,), batch_size=8, total_steps=20, seed=4), EpochOrder(50, 8, 4)
    for position in range(20):
        np.testing.assert_array_equal(order.indices(position), plain.indices(position))


def test_arms_meet_new_examples_in_one_order() -> None:
    """What replay takes away is the end of the new data's sequence, whatever its share."""
    sequence = np.concatenate([EpochOrder(40, 10, 2).indices(position) for position in range(10)])
    for alpha in (0.05, 0.25, 0.9):
        order = Replay(alpha=alpha, repeat=True).batches((40, 7), batch_size=10, total_steps=10, seed=2)
        found = np.concatenate([order.indices(position) for position in range(10)])
        fresh = found[found < 40]
        np.testing.assert_array_equal(fresh, sequence[: len(fresh)])


# --- properties ------------------------------------------------------------------------------------------------------


@given(shares, st.integers(1, 60), st.integers(1, 60), st.integers(1, 16), st.integers(0, 5), st.integers(0, 40))
def test_every_beginning_of_a_run_has_exact_counts(alpha, new, old, batch_size, seed, steps) -> None:
    replay = Replay(alpha=alpha, repeat=True)
    order = replay.batches((new, old), batch_size=batch_size, total_steps=None, seed=seed)
    batches = [order.indices(position) for position in range(steps)]
    assert all(batch.shape == (batch_size,) and batch.dtype == np.int64 for batch in batches)
    places = np.concatenate([np.empty(0, np.int64), *batches])
    assert ((places >= 0) & (places < new + old)).all()
    before = np.cumsum(places >= new)
    assert [replay.counts(count + 1)[1] for count in range(len(places))] == before.tolist()
    # To the nearest example: never half of one away from the share (kept to six decimals).
    wanted = alpha * np.arange(1, len(places) + 1)
    assert np.abs(before - wanted).max(initial=0) <= 0.5 + 1e-3


@given(shares, st.integers(1, 40), st.integers(1, 40), st.sampled_from(["shuffle", "original"]), st.integers(0, 3))
def test_each_source_is_gone_through_whole_before_it_repeats(alpha, new, old, kind, seed) -> None:
    order = Replay(alpha=alpha, order=kind, repeat=True).batches((new, old), batch_size=1, total_steps=None, seed=seed)
    places = np.array([order.indices(position)[0] for position in range(150)])
    for source, size in ((places[places < new], new), (places[places >= new] - new, old)):
        for start in range(0, len(source) - size + 1, size):
            assert sorted(source[start : start + size].tolist()) == list(range(size))


@given(st.integers(0, 10**12), st.integers(0, 10**9), st.integers(0, 3))
def test_a_position_needs_no_history(far: int, other: int, seed: int) -> None:
    def fresh():
        return Replay(alpha=0.3, repeat=True).batches((30, 11), batch_size=8, total_steps=None, seed=seed)

    used = fresh()
    used.indices(other)
    np.testing.assert_array_equal(used.indices(far), fresh().indices(far))


def test_a_far_position_draws_only_its_own_epochs(monkeypatch) -> None:
    from tutelage.randomness import numpy_generator

    drawn = []
    monkeypatch.setattr(
        "tutelage.permutations.numpy_generator",
        lambda seed, name, epoch: drawn.append((name, epoch)) or numpy_generator(seed, name, epoch),
    )
    order = Replay(alpha=0.5, repeat=True).batches((100, 50), batch_size=4, total_steps=None, seed=0)
    order.indices(10**9)
    assert sorted(drawn) == [("data", 20_000_000), ("replay", 40_000_000)]


def test_seeds_give_other_orders_and_the_same_one_again() -> None:
    def first(seed: int) -> list[int]:
        return Replay(alpha=0.4).batches((50, 50), batch_size=50, total_steps=1, seed=seed).indices(0).tolist()

    assert first(1) == first(1)
    assert first(1) != first(2)


# --- specs and refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["replay:alpha=0.05", "replay:alpha=0.25,order=original,repeat=true"])
def test_specs(spec: str) -> None:
    assert repr(from_spec(spec)) == spec
    assert "replay" in names()


@pytest.mark.parametrize(("spec", "error", "message"), [
    ("replay", ConfigError, "replay: needs alpha"),
    ("replay:alpha=1", ConfigError, "Replay: alpha must be >= 0 and < 1, the share of old examples, got 1"),
    ("replay:alpha=-0.1", ConfigError, "alpha must be >= 0 and < 1"),
    ("replay:alpha=nan", ConfigError, "alpha must be >= 0 and < 1"),
    ("replay:alpha=0.1,order=sorted", ConfigError, "order must be one of shuffle, original"),
    ("replay:share=0.1", ConfigError, 'no argument "share"'),
    ("reply:alpha=0.1", UnknownPart, 'No curriculum "reply". Did you mean "replay"? All: tutelage parts curricula'),
])  # fmt: skip
def test_bad_specs(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        from_spec(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(("alpha", "sources", "total_steps", "message"), [
    (0.25, (100, 24), 10, "alpha=0.25 of 100 examples are 25 old ones, and there are 24; .* repeat=true"),
    (0.25, (100,), 10, "alpha=0.25 of no old data; name them in the workload, such as text-lm:data=new,replay=old"),
    (0.25, (100, 0), 10, "of no old data"),
    (0.25, (100, 24), None, "a budget in seconds .* repeat=true, or give a budget in steps"),
])  # fmt: skip
def test_sources_that_do_not_hold_enough(alpha, sources, total_steps, message) -> None:
    with pytest.raises(ConfigError, match=message):
        Replay(alpha=alpha).batches(sources, batch_size=10, total_steps=total_steps, seed=0)
    if len(sources) > 1 and sources[1]:
        Replay(alpha=alpha, repeat=True).batches(sources, batch_size=10, total_steps=total_steps, seed=0).indices(50)
    Replay(alpha=0.0).batches(sources, batch_size=10, total_steps=total_steps, seed=0)


def test_other_bad_arguments() -> None:
    with pytest.raises(ValueError, match='Replay: order must be "shuffle" or "original", got "x"'):
        Replay(alpha=0.1, order="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="examples must be >= 0, got -1"):
        Replay(alpha=0.1).counts(-1)
    with pytest.raises(ValueError, match="batch_size must be >= 1, got 0"):
        Replay(alpha=0.1).batches((1, 1), batch_size=0, total_steps=1, seed=0)


# --- the mixer -------------------------------------------------------------------------------------------------------


def test_five_lines_of_ones_own() -> None:
    new_data, old_data = list(range(200)), list(range(1000, 1100))
    mixed = ReplayMixer(new_data, old_data, alpha=0.05, seed=0)
    batches = [batch.tolist() for batch in DataLoader(mixed, batch_size=20)]
    assert mixed.counts == {"new": 190, "old": 10}
    assert [sum(example >= 1000 for example in batch) for batch in batches] == [1] * 10
    seen = [example for batch in batches for example in batch]
    assert len(set(seen)) == len(mixed) == 200, "replay replaces new examples and adds none"
    later = [batch.tolist() for batch in DataLoader(Subset(mixed, range(60, len(mixed))), batch_size=20)]
    assert later == batches[3:]


@given(st.integers(0, 80), st.integers(0, 3))
def test_a_mixer_goes_on_where_it_stopped(stop: int, seed: int) -> None:
    def make() -> ReplayMixer[int]:
        return ReplayMixer(range(80), range(100, 130), alpha=0.3, seed=seed)

    whole = list(make())
    first = make()
    begun = [example for example, _ in zip(first, range(stop), strict=False)]
    if stop < 80:
        # zip takes one more than it gives before it sees that the range has ended.
        first.load_state_dict({"position": stop})
    second = make()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert begun + (list(second) if stop < 80 else []) == whole
    assert second.counts_until(stop) == {
        "new": sum(example < 100 for example in whole[:stop]),
        "old": sum(example >= 100 for example in whole[:stop]),
    }
    assert whole[-1] == make()[-1]


def test_a_mixer_in_original_order_reads_both_from_the_start() -> None:
    mixed = ReplayMixer("abcdefgh", "ABCD", alpha=0.25, order="original")
    assert "".join(mixed) == "aAbcdBef"
    assert "".join(mixed) == "aAbcdBef", "after the end it begins anew"


def test_more_than_the_new_data_by_wish() -> None:
    mixed = ReplayMixer(range(10), range(100, 103), alpha=0.5, total=40, repeat=True)
    assert mixed.counts == {"new": 20, "old": 20}
    often = [list(mixed).count(example) for example in (*range(10), *range(100, 103))]
    assert often[:10] == [2] * 10
    assert sorted(often[10:]) == [6, 7, 7]


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"alpha": 1.0}, ValueError, "alpha must be >= 0 and < 1"),
    ({"alpha": 0.5}, ConfigError, "alpha=0.5 of 10 examples needs 5 old ones, and there are 4; .* repeat=True"),
    ({"alpha": 0.1, "total": 20}, ConfigError, "of 20 examples needs 18 new ones, and there are 10"),
    ({"alpha": 0.1, "total": 0}, ValueError, "total must be >= 1, got 0"),
    ({"alpha": 0.1, "new": []}, ValueError, "new must hold at least one example"),
    ({"alpha": 0.1, "old": [], "repeat": True}, ValueError, "old must hold at least one example"),
])  # fmt: skip
def test_bad_mixers(arguments, error, message) -> None:
    given_here = {"new": range(10), "old": range(4), **arguments}
    with pytest.raises(error, match=message):
        ReplayMixer(given_here.pop("new"), given_here.pop("old"), **given_here)


def test_places_and_positions_outside() -> None:
    mixed = ReplayMixer(range(10), [], alpha=0.0)
    assert sorted(mixed) == list(range(10)), "without replay no old data are needed"
    for place in (10, -11):
        with pytest.raises(IndexError, match="places must be below 10"):
            mixed[place]
    with pytest.raises(ValueError, match="position must be >= 0 and <= 10, got 11"):
        mixed.load_state_dict({"position": 11})
