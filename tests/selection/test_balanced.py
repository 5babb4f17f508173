from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.selection import Balanced, Gumbel

RNG = np.random.default_rng(1)
SCORES = RNG.normal(size=300)
GROUPS = RNG.choice(["a", "b", "c", "d"], size=300, p=[0.6, 0.25, 0.1, 0.05])
SIZES = RNG.integers(1, 200, size=300)


def per_group(places, weights=None):
    return {
        name: (np.ones(300) if weights is None else weights)[places][GROUPS[places] == name].sum() for name in "abcd"
    }


def test_one_group_and_one_criterion_is_the_plain_draw_of_normalised_scores() -> None:
    z = (SCORES - SCORES.mean()) / SCORES.std()
    for amount in ({"count": 77}, {"budget": 5000.0}):
        part = Balanced(quota="none", **amount)
        assert np.array_equal(
            part.select(SCORES, seed=4, sizes=SIZES),
            Gumbel(temperature=2.0, **amount).select(z, seed=4, sizes=SIZES),
        )


@given(st.integers(1, 300), st.integers(0, 3))
def test_proportional_quotas_are_the_nearest_and_add_up(count: int, seed: int) -> None:
    kept = per_group(Balanced(count=count).select(SCORES, seed=seed, groups=GROUPS))
    there = per_group(np.arange(300))
    assert sum(kept.values()) == count
    assert all(abs(kept[name] - count * there[name] / 300) < 1 for name in "abcd")


@given(st.integers(1, 300))
def test_equal_quotas_take_small_groups_whole(count: int) -> None:
    kept = per_group(Balanced(count=count, quota="equal").select(SCORES, groups=GROUPS))
    there = per_group(np.arange(300))
    assert sum(kept.values()) == count
    not_exhausted = [kept[name] for name in "abcd" if kept[name] < there[name]]
    assert not not_exhausted or max(not_exhausted) - min(not_exhausted) <= 1
    assert all(kept[name] <= max(not_exhausted, default=np.inf) for name in "abcd")


@pytest.mark.parametrize("quota", ["proportional", "equal"])
def test_budgets_are_reached_in_every_group_and_overshot_by_less_than_one_text(quota: str) -> None:
    part = Balanced(budget=8000, quota=quota)
    kept = per_group(part.select(SCORES, seed=2, groups=GROUPS, sizes=SIZES), SIZES)
    there = per_group(np.arange(300), SIZES)
    total = sum(there.values())
    if quota == "proportional":
        wished = {name: 8000 * there[name] / total for name in "abcd"}
    else:
        small = [name for name in "abcd" if there[name] < 2000]
        rest = (8000 - sum(there[name] for name in small)) / (4 - len(small))
        wished = {name: there[name] if name in small else rest for name in "abcd"}
    for name in "abcd":
        assert wished[name] - 1e-6 <= kept[name] < wished[name] + 200


def test_temperature_zero_takes_the_best_of_each_group() -> None:
    places = Balanced(share=0.2, temperature=0).select(SCORES, groups=GROUPS)
    for name in "abcd":
        kept, rest = (
            SCORES[places][GROUPS[places] == name],
            np.delete(SCORES, places)[np.delete(GROUPS, places) == name],
        )
        assert kept.min() > rest.max()


def test_a_higher_temperature_keeps_worse_examples() -> None:
    means = [
        np.mean(
            [SCORES[Balanced(share=0.2, temperature=t).select(SCORES, seed=s, groups=GROUPS)].mean() for s in range(20)]
        )
        for t in (0, 0.5, 2, np.inf)
    ]
    assert means == sorted(means, reverse=True)
    assert abs(means[-1] - SCORES.mean()) < 0.05


def test_criteria_draw_their_part_each() -> None:
    """At temperature 0 half of the places are the best by one criterion, the other half the best of the rest."""
    two = np.stack([np.arange(10.0), -np.arange(10.0)], axis=1)
    part = Balanced(count=4, temperature=0, quota="none")
    assert part.select(two).tolist() == [0, 1, 8, 9]
    same = np.stack([np.arange(10.0), np.arange(10.0)], axis=1)
    assert part.select(same).tolist() == [6, 7, 8, 9]
    odd = Balanced(count=3, temperature=0, quota="none").select(two)
    assert len(odd) == 3


def test_constant_scores_are_drawn_alike() -> None:
    assert len(Balanced(count=5, quota="none").select(np.ones(20))) == 5


@pytest.mark.parametrize(
    ("part", "given_", "message"),
    [
        (Balanced(count=2), {}, "quota=proportional needs groups"),
        (Balanced(budget=2, quota="none"), {}, "budget needs sizes"),
        (Balanced(count=400), {"groups": GROUPS}, "count must be <= 300"),
        (Balanced(budget=1e9), {"groups": GROUPS, "sizes": SIZES}, "budget must be <= "),
        (Balanced(count=2), {"groups": GROUPS[:5]}, "groups must have one value an example"),
        (Balanced(count=2), {"groups": np.array([None] * 300)}, "groups must be named, got none at 0"),
        (Balanced(count=2), {"groups": np.full(300, np.nan)}, "groups must be named, got NaN at 0"),
    ],
)
def test_bad_input(part, given_, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        part.select(SCORES, **given_)


def test_scores_must_be_finite_and_may_be_missing() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        Balanced(count=1, quota="none").select([1.0, -np.inf])
    scores = SCORES.copy()
    scores[::2] = np.nan
    places = Balanced(share=0.5, missing="drop").select(scores, groups=GROUPS)
    assert (places % 2 == 1).all()
    assert len(places) == 75
