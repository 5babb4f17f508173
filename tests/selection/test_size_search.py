"""Searching how many examples to keep: few runs, the right number, and what a stopped search keeps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from tutelage.selection import search_size


@given(
    low=st.integers(1, 50),
    span=st.integers(2, 100_000),
    place=st.floats(0, 1),
    steep=st.floats(0.1, 5),
    trials=st.just(60),
)
def test_a_single_minimum_is_found_exactly(low: int, span: int, place: float, steep: float, trials: int) -> None:
    best = round(low + place * span)

    def loss(size: int) -> float:
        gap = math.log(size / best)
        return abs(gap) * (1.0 if gap < 0 else steep)

    found = search_size(loss, low, low + span, trials=trials)
    assert (found.size, found.loss) == (best, 0.0)
    assert found.inside is (low < best < low + span)


@given(trials=st.integers(4, 30), method=st.sampled_from(["golden", "grid"]), high=st.integers(2, 10_000))
def test_no_number_is_measured_twice_nor_more_than_asked(trials: int, method: str, high: int) -> None:
    asked: list[int] = []

    def loss(size: int) -> float:
        asked.append(size)
        return math.sin(size)

    found = search_size(loss, 1, high, trials=trials, method=method)  # type: ignore[arg-type]
    assert len(asked) == len(set(asked)) == len(found.tried) <= trials
    assert all(1 <= size <= high for size in asked)
    assert asked[:2] == [1, high]
    assert list(found.tried) == sorted(asked)
    assert found.loss == min(map(math.sin, asked))


def test_each_trial_cuts_the_section_as_scipy_does() -> None:
    def loss(size: float) -> float:
        return (math.log(size) - math.log(777)) ** 2

    theirs = minimize_scalar(lambda u: loss(math.exp(u)), bounds=(0.0, math.log(10**6)), method="bounded")
    found = search_size(loss, 1, 10**6, trials=24)
    assert found.size == pytest.approx(math.exp(theirs.x), rel=0.01)
    # Two ends, two cuts, then one trial a round, each leaving 0.618 of the section.
    sizes = sorted(found.tried)
    place = sizes.index(found.size)
    section = math.log(sizes[place + 1] / sizes[place - 1])
    assert section < math.log(10**6) * 0.618034 ** (24 - 4) * 3


def test_a_search_that_was_stopped_goes_on() -> None:
    def loss(size: int) -> float:
        return abs(size - 321)

    whole = search_size(loss, 10, 5000, trials=12)
    kept: dict[int, float] = {}

    def stopped(size: int) -> float:
        if len(kept) == 5:
            raise KeyboardInterrupt
        kept[size] = loss(size)
        return kept[size]

    with pytest.raises(KeyboardInterrupt):
        search_size(stopped, 10, 5000, trials=12)
    assert len(kept) == 5
    assert search_size(loss, 10, 5000, trials=12, known=kept) == whole


def test_the_grid_finds_the_deeper_of_two_valleys() -> None:
    def loss(size: int) -> float:
        return min(abs(math.log(size / 30)), abs(math.log(size / 2000)) - 0.5)

    found = search_size(loss, 10, 10_000, trials=13, method="grid")
    assert found.size == round(10 * 1000 ** (9 / 12))
    steps = [math.log(after / before) for before, after in zip([*found.tried], [*found.tried][1:], strict=False)]
    assert max(steps) / min(steps) < 1.1


def test_a_run_that_diverged_is_never_the_best() -> None:
    found = search_size(lambda size: math.nan if size < 100 else float(size), 10, 1000, trials=20)
    assert found.tried[10] == math.inf
    assert found.size == min(size for size in found.tried if size >= 100)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"low": 0, "high": 5}, "low and high must be 1 <= low < high, got 0 and 5"),
        ({"low": 5, "high": 5}, "low < high, got 5 and 5"),
        ({"low": 1, "high": 5, "trials": 3}, "trials must be >= 4, got 3"),
        ({"low": 1, "high": 5, "method": "flaml"}, "method must be"),
        ({"low": 10, "high": 50, "known": {9: 1.0}}, "known numbers must lie in 10 to 50, got 9"),
    ],
)
def test_bad_input_is_named(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        search_size(lambda size: 1.0, **arguments)  # type: ignore[arg-type]
