"""A search over orders: it finds what can be found, asks no order twice, and keeps to permutations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.curricula.search_order import _child, search_order

COSTS = np.random.default_rng(0).random((9, 9))


def tour(orders):
    """Cost of following one thing by another."""
    return COSTS[orders[:, :-1], orders[:, 1:]].sum(axis=1)


@given(st.integers(2, 12), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_children_are_permutations(length, seed) -> None:
    rng = np.random.default_rng(seed)
    mother, father = rng.permutation(length), rng.permutation(length)
    child = _child(mother, father, 0.5, rng)
    assert sorted(child) == list(range(length))


def test_a_child_without_mutation_has_a_stretch_of_one_parent_and_the_order_of_the_other() -> None:
    rng = np.random.default_rng(3)
    mother, father = rng.permutation(10), rng.permutation(10)
    for _ in range(20):
        child = _child(mother, father, 0.0, rng)
        stretches = [
            (low, high)
            for low in range(11)
            for high in range(low, 11)
            if (child[low:high] == mother[low:high]).all()
            and [one for one in father if one not in mother[low:high]] == [*child[:low], *child[high:]]
        ]
        assert stretches


def test_better_than_as_many_random_orders() -> None:
    wins = 0
    for seed in range(8):
        found = search_order(tour, 9, generations=30, seed=seed)
        rng = np.random.default_rng(seed)
        drawn = np.stack([rng.permutation(9) for _ in range(found.judged)])
        wins += found.loss < tour(drawn).min()
        assert found.loss == pytest.approx(tour(found.order[None])[0])
        assert list(found.history) == sorted(found.history, reverse=True)
        assert len(found.history) == 31
    assert wins >= 6


def test_no_order_is_judged_twice_and_a_seed_fixes_all() -> None:
    seen = []

    def judge(orders):
        seen.extend(map(tuple, orders.tolist()))
        return tour(orders)

    first = search_order(judge, 9, generations=5, population=12, seed=1)
    assert len(seen) == len(set(seen)) == first.judged
    again = search_order(tour, 9, generations=5, population=12, seed=1)
    assert again.order.tolist() == first.order.tolist()
    assert search_order(tour, 9, generations=5, population=12, seed=2).history != first.history


def test_never_worse_than_what_it_begins_with() -> None:
    def needle(orders):
        return np.where((orders == np.arange(9)).all(axis=1), 0.0, 1.0)

    found = search_order(needle, 9, generations=3, population=8, start=[list(range(9))])
    assert found.loss == 0
    assert found.order.tolist() == list(range(9))


def test_orders_without_a_number_are_the_worst() -> None:
    found = search_order(lambda orders: np.where(orders[:, 0] == 0, 1.0, np.nan), 5, generations=10)
    assert found.loss == 1.0
    assert found.order[0] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 1}, "length must be >= 2, got 1"),
        ({"generations": -1}, "generations must be >= 0"),
        ({"population": 3}, "population must be >= 4"),
        ({"tournament": 0}, "tournament must be >= 1"),
        ({"keep": 0}, "keep must be >= 1"),
        ({"keep": 40}, "keep must be below population 40, got 40"),
        ({"mutation": 1.0}, r"mutation must be in \[0, 1\), got 1.0"),
        ({"start": [[0, 1, 1]]}, r"permutations of 0\.\.8, got \[0, 1, 1\] as number 0"),
        ({"losses": lambda orders: orders}, r"one number an order, shape \(40,\)"),
    ],
)
def test_bad_input(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        search_order(**{"losses": tour, "length": 9, **changes})
