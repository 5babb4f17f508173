"""Maps of what positions do: known effects come back, every cell is filled, and odd losses are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.evaluation.position_map import position_map


@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_an_effect_of_batch_and_position_comes_back(length, repeats, seed) -> None:
    effects = np.random.default_rng(seed).normal(size=(length, length))

    def losses(orders):
        assert (np.sort(orders, axis=1) == np.arange(length)).all()
        return np.stack([effects[np.arange(length), np.argsort(order)] for order in orders])

    found = position_map(losses, length, repeats=repeats, seed=seed)
    assert found.memorisation == pytest.approx(effects)
    assert found.generalisation is None
    if repeats > 1:
        assert found.memorisation_error == pytest.approx(np.zeros((length, length)), abs=1e-12)
    else:
        assert np.isnan(found.memorisation_error).all()


def test_held_out_losses_are_means_over_the_orders_that_have_the_batch_there() -> None:
    length, seen = 4, []

    def losses(orders):
        seen.extend(orders.tolist())
        told = orders @ np.array([1.0, 10.0, 100.0, 1000.0])
        return np.column_stack([np.zeros((len(orders), length)), told, told + 2])

    found = position_map(losses, length, held_out=2, repeats=5, seed=3)
    assert len(seen) == 5 * length
    for batch in range(length):
        for position in range(length):
            there = [order for order in seen if order[position] == batch]
            values = [float(np.dot(order, [1.0, 10.0, 100.0, 1000.0])) + 1 for order in there]
            assert len(there) == 5
            assert found.generalisation[batch, position] == pytest.approx(np.mean(values))
            error = np.std(values, ddof=1) / np.sqrt(5)
            assert found.generalisation_error[batch, position] == pytest.approx(error)


def test_a_seed_fixes_the_orders() -> None:
    def losses(orders):
        return orders.astype(float) ** 2 * np.arange(1, 6)

    maps = [position_map(losses, 5, seed=seed).memorisation.tolist() for seed in (0, 0, 1)]
    assert maps[0] == maps[1] != maps[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": 1}, "length must be >= 2, got 1"),
        ({"held_out": -1}, "held_out must be >= 0, got -1"),
        ({"repeats": 0}, "repeats must be >= 1, got 0"),
        ({"held_out": 1}, r"losses must have shape \(3, 4\).*got \(3, 3\)"),
        ({"losses": lambda orders: orders * np.inf}, "losses must be finite"),
    ],
)
def test_bad_input(changes, message) -> None:
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=message):
        position_map(**{"losses": lambda orders: orders.astype(float), "length": 3, **changes})
