"""What holds for every selection."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.selection.cases import CASES

from tutelage.errors import ConfigError, UnknownPart
from tutelage.selection import Mixture, from_spec, names

ALL = [pytest.param(*case, id=name) for name, case in CASES.items()]


def test_every_selection_has_a_case() -> None:
    assert set(CASES) | {"mixture"} == set(names())


@pytest.mark.parametrize(("part", "content", "beside"), ALL)
def test_places_are_ascending_distinct_int64_within_the_data(part, content, beside) -> None:
    places = part.select(content, seed=3, **beside)
    assert places.dtype == np.int64
    assert places.ndim == 1
    assert (np.diff(places) > 0).all()
    assert places[0] >= 0
    assert places[-1] < len(content)
    assert 0 < len(places) < 60 or part.spec_name == "answers"


@pytest.mark.parametrize(("part", "content", "beside"), ALL)
def test_the_seed_decides_and_nothing_else(part, content, beside) -> None:
    first = part.select(content, seed=3, **beside)
    assert np.array_equal(first, part.select(content, seed=3, **beside))
    drawn = part.spec_name in ("gumbel", "balanced", "variation")
    assert drawn == any(not np.array_equal(first, part.select(content, seed=seed, **beside)) for seed in range(4, 9))


@pytest.mark.parametrize(("part", "content", "beside"), ALL)
def test_a_part_is_a_frozen_value_and_shows_its_spec(part, content, beside) -> None:
    assert from_spec(repr(part)) == part
    assert hash(from_spec(repr(part))) == hash(part)
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.seed = 1
    before = np.array(content)
    part.select(content, **beside)
    assert np.array_equal(before, np.array(content))


@pytest.mark.parametrize(("part", "content", "beside"), ALL)
def test_it_says_what_it_looks_at(part, content, beside) -> None:
    assert part.takes == ("texts" if isinstance(content, list) else "attempts" if content.ndim == 2 else "scores")
    assert set(beside) <= set(part.beside)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("top:share=0.3", "top:share=0.3"),
        ("threshold:max=2.5", "threshold:max=2.5"),
        ("gumbel:count=1000,temperature=2", "gumbel:count=1000,temperature=2.0"),
        ("gumbel:count=5,temperature=inf", "gumbel:count=5,temperature=inf"),
        ("mixture:weights=0.7/0.3,exhausted=stop", "mixture:weights=0.7/0.3,exhausted=stop"),
        ("mixture:weights=uniform", "mixture:weights=uniform"),
        ("near-duplicates", "near-duplicates"),
    ],
)
def test_specs(spec: str, expected: str) -> None:
    assert repr(from_spec(spec)) == expected


def test_a_mixture_of_one_spec_is_the_mixture() -> None:
    assert from_spec("mixture:weights=1/2") == Mixture(weights=(1.0, 2.0))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("top", "give exactly one of share or count, got none"),
        ("top:share=0.3,count=4", "got share, count"),
        ("top:share=0", "share must be > 0 and <= 1, got 0.0"),
        ("top:share=1.5", "share must be > 0 and <= 1"),
        ("top:share=nan", "share must be > 0 and <= 1, got nan"),
        ("top:count=0", "count must be >= 1, got 0"),
        ("top:share=0.3,side=easy", "side must be one of high, low"),
        ("threshold", "give min, max or both"),
        ("threshold:min=2,max=1", "min must be <= max, got 2.0 and 1.0"),
        ("threshold:max=nan", "must be numbers"),
        ("gumbel:count=2,temperature=-1", "temperature must be >= 0, got -1.0"),
        ("gumbel:budget=inf", "budget must be a finite number > 0"),
        ("balanced:share=0.2,quota=fair", "quota must be one of"),
        ("variation", "exactly one of cv and quantile"),
        ("variation:cv=0.5,stable=2", "stable must be >= 0 and <= 1"),
        ("variation:cv=-1", "cv must be a finite number >= 0"),
        ("near-duplicates:threshold=0", "threshold must be > 0 and <= 1"),
        ("near-duplicates:signature=4", "signature must be >= 16"),
        ("answers:repeats=0", "repeats must be >= 1"),
        ("mixture:weights=0/0", "must not all be 0"),
        ("mixture:weights=1/-1", "weights must be finite and >= 0, got -1.0 for source 1"),
        ("mixture:weights=1/1,final=1/1/1", "final must have as many weights as weights, 2, got 3"),
        ("mixture:begin=0.5,end=0.2", "0 <= begin <= end <= 1"),
        ("mixture:cap=0", "cap must be >= 1"),
    ],
)
def test_bad_specs_are_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_spec(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_name_is_suggested() -> None:
    with pytest.raises(UnknownPart, match='Did you mean "top"'):
        from_spec("topp:share=0.1")
