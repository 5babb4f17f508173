from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.curricula import Replay
from tutelage.errors import ConfigError
from tutelage.selection import Mixture

WEIGHTS = st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any)


def counts(mixed, places) -> np.ndarray:
    return np.array([list(mixed.counts_at(int(place)).values()) for place in places])


def test_proportions_of_the_paper() -> None:
    """96,913 of 196,913 is 0.492162."""
    sizes = (96_913, 100_000)
    assert Mixture().proportions(sizes, [0.0]).round(6).tolist() == [[0.492162, 0.507838]]
    assert Mixture(weights="uniform").proportions(sizes, [0.0]).tolist() == [[0.5, 0.5]]
    whole = Mixture().deal(sizes)
    assert whole.counts == {"0": 96_913, "1": 100_000}
    assert np.array_equal(np.sort(whole.at(np.arange(len(whole)))), np.arange(196_913))


@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.25, 0.5, 0.7, 0.123456])
@pytest.mark.parametrize("order", ["original", "shuffle"])
def test_two_sources_are_dealt_as_replay_deals_them(alpha: float, order) -> None:
    places = np.arange(4000)
    replay = Replay(alpha=alpha, order=order, repeat=True).batches((900, 300), batch_size=1, total_steps=None, seed=1)
    mixed = Mixture(weights=(1 - alpha, alpha), order=order, exhausted="repeat").deal((900, 300), total=4000, seed=1)
    theirs, ours = replay.at(places), mixed.at(places)
    assert np.array_equal(theirs >= 900, ours >= 900)
    if order == "original":
        assert np.array_equal(theirs, ours)


@given(WEIGHTS)
def test_counts_follow_constant_weights_at_every_place(weights: list[int]) -> None:
    mixed = Mixture(weights=tuple(map(float, weights)), exhausted="repeat").deal([10] * len(weights), total=400)
    found = counts(mixed, range(401))
    ideal = np.arange(401)[:, None] * (np.array(weights) / sum(weights))
    assert (found.sum(axis=1) == np.arange(401)).all()
    assert (np.diff(found, axis=0) >= 0).all()
    assert np.abs(found - ideal).max() < (0.5 + 1e-3 if len(weights) <= 2 else 1.7)


@given(WEIGHTS, st.data())
def test_counts_follow_weights_that_change(weights: list[int], data) -> None:
    size = len(weights)
    final = data.draw(st.lists(st.integers(0, 1000), min_size=size, max_size=size).filter(any))
    begin, end = sorted(data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    mixture = Mixture(
        weights=tuple(map(float, weights)), final=tuple(map(float, final)), begin=begin, end=end, exhausted="repeat"
    )
    mixed = mixture.deal([7] * size, total=300)
    found = counts(mixed, range(301))
    assert (found.sum(axis=1) == np.arange(301)).all()
    assert (np.diff(found, axis=0) >= 0).all()
    # The line is walked in steps, and its ends are whole places.
    ideal = np.cumsum(mixture.proportions([7] * size, (np.arange(300) + 0.5) / 300), axis=0)
    assert np.abs(found[1:] - ideal).max() < 4
    source = mixed.source_at(np.arange(300))
    assert np.array_equal(np.bincount(source, minlength=size), found[-1])
    absent = (np.array(weights) == 0) & (np.array(final) == 0)
    assert not found[-1][absent].any()


def test_a_change_at_once_is_at_its_place() -> None:
    mixed = Mixture(weights=(1, 0), final=(0, 1), begin=0.3, end=0.3).deal({"old": 300, "new": 700}, total=1000)
    source = mixed.source_at(np.arange(1000))
    assert source[:300].sum() == 0
    assert source[300:].all()
    assert mixed.counts == {"old": 300, "new": 700}
    assert Mixture(weights=(1, 0), final=(0, 1), begin=0, end=0).deal((5, 5), total=5).counts == {"0": 0, "1": 5}


def test_each_source_is_gone_through_without_doubles_and_then_again() -> None:
    mixed = Mixture(weights=(0.5, 0.5), exhausted="repeat").deal((20, 8), total=40, seed=3)
    drawn = mixed.at(np.arange(40))
    assert sorted(drawn[drawn < 20].tolist()) == list(range(20))
    second = drawn[drawn >= 20]
    assert sorted(second[:8].tolist()) == sorted(second[8:16].tolist()) == list(range(20, 28))
    assert second[:8].tolist() != second[8:16].tolist()


@given(st.permutations(range(60)), st.integers(1, 60))
def test_any_place_is_reached_without_those_before(places: list[int], many: int) -> None:
    mixed = Mixture(weights=(5, 3, 2), final=(1, 1, 1), exhausted="repeat").deal((20, 9, 4), total=60, seed=1)
    wanted = np.array(places[:many])
    assert np.array_equal(mixed.at(wanted), mixed.at(np.arange(60))[wanted])


def test_batches_are_the_sequence_in_pieces() -> None:
    mixture = Mixture(weights=(0.7, 0.3))
    order = mixture.batches((70, 30), batch_size=8, total_steps=12, seed=2)
    pieces = np.concatenate([order.indices(position) for position in range(12)])
    assert np.array_equal(pieces, mixture.deal((70, 30), total=96, seed=2).at(np.arange(96)))
    assert len(set(pieces.tolist())) == 96


def test_a_source_that_runs_out() -> None:
    sources = {"web": 100, "law": 12}
    with pytest.raises(ConfigError, match=r'50 examples need 25 of "law", which has 12; .*exhausted=repeat'):
        Mixture(weights=(1, 1)).deal(sources, total=50)
    stopped = Mixture(weights=(1, 1), exhausted="stop").deal(sources, total=50)
    assert (len(stopped), stopped.ended, stopped.counts) == (24, "law", {"web": 12, "law": 12})
    endless = Mixture(weights=(1, 1), exhausted="stop").deal(sources)
    assert len(endless) == 24
    assert Mixture(weights=(1, 1), exhausted="repeat").deal(sources, total=50).counts == {"web": 25, "law": 25}
    enough = Mixture(weights=(1, 1), exhausted="stop").deal(sources, total=20)
    assert (len(enough), enough.ended) == (20, None)
    only = Mixture(weights=(1, 0), exhausted="stop").deal({"web": 5, "law": 0})
    assert (len(only), only.ended) == (5, "web")


def test_a_cap_limits_each_source() -> None:
    mixed = Mixture(cap=10).deal((100, 6), seed=1)
    assert mixed.counts == {"0": 10, "1": 6}
    drawn = mixed.at(np.arange(16))
    assert len(set(drawn.tolist())) == 16
    assert drawn[drawn < 100].max() > 10  # chosen from all, not the first ten
    first = Mixture(cap=10, order="original").deal((100, 6))
    assert set(first.at(np.arange(16)).tolist()) == set(range(10)) | set(range(100, 106))


@pytest.mark.parametrize(
    ("mixture", "sources", "total", "message"),
    [
        (Mixture(weights=(1, 2)), (5, 5, 5), 3, r"2 weights for 3 sources \(0, 1, 2\)"),
        (Mixture(weights=(1, 2)), (5, 5), None, "total is needed"),
        (Mixture(weights=(1, 2)), {"a": 5, "b": 0}, 3, 'source "b" is empty and has weight'),
        (Mixture(), {"a": 0, "b": 0}, None, "all sources are empty"),
        (Mixture(), {}, 3, "at least one source"),
        (Mixture(), (5, -1), 3, 'source "1" must have >= 0 examples'),
        (Mixture(weights=(1, 1)), (5, 5), 0, "total must be >= 1, got 0"),
    ],
)
def test_bad_sources(mixture, sources, total, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        mixture.deal(sources, total=total)


def test_runs_without_a_known_length() -> None:
    with pytest.raises(ConfigError, match="budget in seconds"):
        Mixture(weights=(1, 1)).batches((5, 5), batch_size=2, total_steps=None, seed=0)
    order = Mixture(weights=(1, 1), exhausted="repeat").batches((5, 5), batch_size=2, total_steps=None, seed=0)
    assert (order.indices(10**9) < 10).all()


def test_places_outside_the_mixture() -> None:
    with pytest.raises(ValueError, match="place must be >= 0 and <= 10"):
        Mixture().deal((5, 5)).counts_at(11)


def test_huge_mixtures_stay_exact() -> None:
    mixed = Mixture(weights=(0.95, 0.05), exhausted="repeat").deal((10, 10), total=300_000_000_000)
    assert mixed.counts == {"0": 285_000_000_000, "1": 15_000_000_000}
    assert list(itertools.islice(mixed.at(np.array([299_999_999_999])) >= 0, 1)) == [True]
