"""Top, threshold and the weighted draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tutelage.gumbel import gumbel_top_k
from tutelage.selection import Gumbel, Threshold, Top
from tutelage.selection._smallest import smallest

SCORES = arrays.arrays(
    st.sampled_from([np.float64, np.float32]),
    st.integers(1, 50),
    elements=st.one_of(st.floats(-5, 5, width=16), st.sampled_from([0.0, 1.0, np.inf, -np.inf])),
)


@given(SCORES, st.data())
def test_top_is_the_start_of_a_stable_sort(scores, data) -> None:
    count = data.draw(st.integers(1, len(scores)))
    low = Top(count=count, side="low").select(scores)
    assert low.tolist() == sorted(np.argsort(scores, kind="stable")[:count].tolist())
    high = Top(count=count).select(scores)
    assert high.tolist() == sorted(np.argsort(-scores, kind="stable")[:count].tolist())


@pytest.mark.parametrize("kind", ["normal", "few values", "sorted", "reversed", "periodic", "all equal", "infinite"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_large_arrays_give_the_same_whatever_the_sample_sees(kind: str, dtype) -> None:
    rng = np.random.default_rng(0)
    size = 400_000
    values = {
        "normal": rng.normal(size=size),
        "few values": rng.integers(0, 4, size).astype(float),
        "sorted": np.sort(rng.normal(size=size)),
        "reversed": -np.sort(rng.normal(size=size)),
        # Every value the sample looks at is far from the rest.
        "periodic": np.where(np.arange(size) % (size // (1 << 16)) == 0, 100.0, rng.normal(size=size)),
        "all equal": np.ones(size),
        "infinite": np.where(rng.random(size) < 0.4, -np.inf, rng.normal(size=size)),
    }[kind].astype(dtype)
    order = np.argsort(values, kind="stable")
    for k in (1, 1000, 120_000, 399_999, size):
        assert np.array_equal(smallest(values, k), np.sort(order[:k])), k


def test_share_is_to_the_nearest_and_never_none() -> None:
    scores = np.arange(10.0)
    assert [len(Top(share=share).select(scores)) for share in (0.01, 0.25, 0.3, 0.34, 0.35, 1.0)] == [1, 3, 3, 3, 4, 10]


def test_missing_scores_are_refused_or_left_out() -> None:
    scores = [1.0, np.nan, 3.0, np.nan, 2.0]
    for part in (Top(count=2), Threshold(min=0), Gumbel(count=2)):
        with pytest.raises(ValueError, match=r"2 of 5 are NaN, the first at 1; .*missing=drop"):
            part.select(scores)
    assert Top(count=2, missing="drop").select(scores).tolist() == [2, 4]
    assert Top(share=0.34, missing="drop", side="low").select(scores).tolist() == [0]
    assert Threshold(min=1.5, missing="drop").select(scores).tolist() == [2, 4]
    assert Gumbel(count=3, missing="drop").select(scores).tolist() == [0, 2, 4]
    # Both infinities add up to NaN, and are none.
    assert Top(count=1).select([np.inf, 0.0, -np.inf]).tolist() == [0]


@pytest.mark.parametrize(
    ("part", "scores", "message"),
    [
        (Top(count=4), [1.0, 2.0], "count must be <= 2, the examples there are, got 4"),
        (Top(count=4, missing="drop"), [1.0, np.nan], "count must be <= 1"),
        (Top(count=1), [], "at least one example, got none"),
        (Top(count=1), [[1.0], [2.0]], r"one dimension, got shape \(2, 1\)"),
        (Top(count=1), ["a", "b"], "must be numbers"),
        (Threshold(max=0), [1.0, 2.0], "keeps none of 2 examples; their scores are between 1 and 2"),
        (Gumbel(budget=5), [1.0, 2.0], "budget needs sizes"),
        (Gumbel(count=1), [np.inf, 1.0], "below infinity"),
        (Gumbel(count=2), [-np.inf, 1.0], "count must be <= 1"),
        (Gumbel(count=1), [-np.inf, -np.inf], "weight 0"),
    ],
)
def test_bad_scores(part, scores, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        part.select(scores)


def test_integers_and_booleans_are_scores() -> None:
    assert Top(count=1).select([1, 3, 2]).tolist() == [1]
    assert Threshold(min=1).select([True, False]).tolist() == [0]


def test_threshold_bounds_are_inside() -> None:
    scores = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    assert Threshold(min=0.25, max=0.75).select(scores).tolist() == [1, 2, 3]
    assert Threshold(min=np.inf).select([1.0, np.inf]).tolist() == [1]


@given(st.integers(1, 30), st.integers(0, 5), st.sampled_from([0.0, 0.5, 2.0, np.inf]))
def test_gumbel_keeps_what_the_shared_draw_keeps(count: int, seed: int, temperature: float) -> None:
    scores = np.random.default_rng(seed).normal(size=30)
    part = Gumbel(count=count, temperature=temperature)
    expected = np.sort(gumbel_top_k(scores, count, seed=seed, temperature=temperature))
    assert np.array_equal(part.select(scores, seed=seed), expected)
    low = Gumbel(count=count, temperature=temperature, side="low").select(-scores, seed=seed)
    assert np.array_equal(low, expected)


def test_gumbel_draws_with_the_probabilities_of_the_paper() -> None:
    """Ratings z of the card: tau 1 and tau 2; 4,000 draws of one have a standard error below 0.008."""
    ratings = np.array([2.0, 0.0, -1.0, 1.0])
    z = (ratings - ratings.mean()) / ratings.std()
    assert z.round(6).tolist() == [1.341641, -0.447214, -1.341641, 0.447214]
    for tau, expected in (
        (1, [0.608150, 0.101653, 0.041560, 0.248637]),
        (2, [0.432963, 0.177013, 0.113184, 0.276840]),
    ):
        part = Gumbel(count=1, temperature=tau)
        drawn = np.bincount([part.select(z, seed=seed)[0] for seed in range(4000)], minlength=4) / 4000
        assert np.abs(drawn - expected).max() < 0.03


def test_a_budget_is_reached_with_the_fewest() -> None:
    scores, sizes = np.array([3.0, 2.0, 1.0, 0.0]), [100, 50, 70, 10]
    part = Gumbel(budget=150, temperature=0)
    assert part.select(scores, sizes=sizes).tolist() == [0, 1]
    assert Gumbel(budget=151, temperature=0).select(scores, sizes=sizes).tolist() == [0, 1, 2]
    assert Gumbel(budget=80, temperature=0, side="low").select(scores, sizes=sizes).tolist() == [2, 3]
    with pytest.raises(ValueError, match="budget must be <= 230"):
        Gumbel(budget=231).select(scores, sizes=sizes)
    with pytest.raises(ValueError, match=r"sizes must have one value an example, shape \(4,\), got \(2,\)"):
        part.select(scores, sizes=[1, 2])
    with pytest.raises(ValueError, match=r"sizes must be finite and >= 0, got -1.0 at 1"):
        part.select(scores, sizes=[1, -1, 2, 3])
