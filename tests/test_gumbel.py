"""Weighted draws without replacement: check values, exact probabilities of every order, budgets, bad input."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from tutelage.gumbel import gumbel_keys, gumbel_noise, gumbel_to_budget, gumbel_top_k, random_bits

# --- exact values ----------------------------------------------------------------------------------------------------

Z = np.array([1.341641, -0.447214, -1.341641, 0.447214])  # ratings 2, 0, -1, 1 as z-scores
NOISE = np.array([0.1, 1.5, 0.9, -0.2])


def test_keys_and_order_of_the_card() -> None:
    keys = gumbel_keys(Z, seed=0, temperature=2, noise=NOISE)
    np.testing.assert_allclose(keys, [0.770820, 1.276393, 0.229180, 0.023607], atol=1e-6)
    assert gumbel_top_k(Z, 4, seed=0, temperature=2, noise=NOISE).tolist() == [1, 0, 2, 3]
    assert gumbel_top_k(Z, 1, seed=0, temperature=2, noise=NOISE).tolist() == [1]


def test_bits_are_those_of_splitmix64() -> None:
    # The published test vector of the generator, seed 1234567.
    assert random_bits(np.arange(3), 1234567).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_noise_is_standard_gumbel() -> None:
    drawn = gumbel_noise(np.arange(50_000), 5)
    assert kstest(drawn, "gumbel_r").pvalue > 1e-3
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (5.0, 2.0, 2.0, 1.0)])
def test_every_order_has_its_exact_probability(weights: tuple[float, ...]) -> None:
    """Against the definition: one example after another, each by its weight among those left."""
    draws = 24_000
    logits = np.log(weights)
    # One seed's noise for all draws at once: rows are independent draws.
    keys = logits + gumbel_noise(np.arange(draws * 4).reshape(draws, 4), 11)
    orders = np.argsort(-keys, axis=1)
    expected = []
    for order in itertools.permutations(range(4)):
        left, chance = sum(weights), 1.0
        for example in order:
            chance *= weights[example] / left
            left -= weights[example]
        expected.append(chance)
    codes = orders @ np.array([64, 16, 4, 1])
    counts = [int((codes == np.dot(order, [64, 16, 4, 1])).sum()) for order in itertools.permutations(range(4))]
    assert sum(counts) == draws
    assert chisquare(counts, np.array(expected) * draws).pvalue > 1e-3


def test_seeds_draw_by_weight() -> None:
    firsts = [int(gumbel_top_k(np.log([8.0, 1.0, 1.0]), 1, seed=seed)[0]) for seed in range(3000)]
    assert chisquare(np.bincount(firsts, minlength=3), [2400, 300, 300]).pvalue > 1e-3


# --- properties ------------------------------------------------------------------------------------------------------

logits = st.lists(st.one_of(st.floats(-30, 30), st.just(-math.inf)), min_size=1, max_size=40)


@given(logits, st.integers(0, 5), st.sampled_from([0.0, 0.5, 1.0, 3.0, math.inf]), st.data())
def test_fewer_are_a_beginning_of_more(values, seed, temperature, data) -> None:
    there = sum(value > -math.inf for value in values)
    k = data.draw(st.integers(0, there))
    whole = gumbel_top_k(values, there, seed=seed, temperature=temperature)
    assert sorted(whole) == [place for place, value in enumerate(values) if value > -math.inf]
    np.testing.assert_array_equal(gumbel_top_k(values, k, seed=seed, temperature=temperature), whole[:k])


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.data())
def test_a_budget_takes_the_fewest_that_reach_it(values, data) -> None:
    sizes = data.draw(st.lists(st.integers(0, 50), min_size=len(values), max_size=len(values)))
    sizes[0] += 1
    budget = data.draw(st.integers(1, sum(sizes)))
    found = gumbel_to_budget(values, sizes, budget, seed=3)
    taken = np.array(sizes)[found]
    assert taken.sum() >= budget > taken[:-1].sum()
    np.testing.assert_array_equal(found, gumbel_top_k(values, len(values), seed=3)[: len(found)])


def test_equal_keys_come_in_the_order_of_the_examples() -> None:
    assert gumbel_top_k(np.zeros(9), 4, seed=0, temperature=0).tolist() == [0, 1, 2, 3]
    assert gumbel_top_k(np.zeros(9), 2, seed=0, temperature=0).tolist() == [0, 1]


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "message"), [
    (lambda: gumbel_top_k([0.0, math.nan], 1, seed=0), "got nan at 1"),
    (lambda: gumbel_top_k([math.inf, 1.0], 1, seed=0), "got inf at 0"),
    (lambda: gumbel_top_k([0.0, -math.inf], 2, seed=0), "k must be >= 0 and <= 1, the examples that can be drawn"),
    (lambda: gumbel_top_k([0.0], -1, seed=0), "got -1"),
    (lambda: gumbel_top_k([0.0], 1, seed=0, temperature=-1), "temperature must be >= 0, got -1"),
    (lambda: gumbel_keys([[0.0]], seed=0), "one dimension"),
    (lambda: gumbel_keys([0.0], seed=0, noise=[1, 2]), "noise must have the shape"),
    (lambda: gumbel_to_budget([0.0], [1, 2], 1, seed=0), "sizes must have the shape"),
    (lambda: gumbel_to_budget([0.0], [-1], 1, seed=0), "finite numbers >= 0"),
    (lambda: gumbel_to_budget([0.0], [3], 0, seed=0), "budget must be a finite number > 0"),
    (lambda: gumbel_to_budget([0.0, -math.inf], [3, 9], 5, seed=0), "budget must be <= 3"),
])  # fmt: skip
def test_bad_input(call, message) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        call()
