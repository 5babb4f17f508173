"""Bradley-Terry strengths: closed forms, the conditions for a maximum, choix, and what errors say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation._pairwise_newton import _loss
from tutelage.evaluation.bradley_terry import bradley_terry


def drawn(items: int, comparisons: int, seed: int, spread: float = 1.0):
    rng = np.random.default_rng(seed)
    strengths = rng.normal(scale=spread, size=items)
    first = rng.integers(items, size=comparisons)
    second = (first + rng.integers(1, items, size=comparisons)) % items
    won = (rng.random(comparisons) < 1 / (1 + np.exp(strengths[second] - strengths[first]))).astype(float)
    return strengths - strengths.mean(), first, second, won


def gradient(found, first, second, outcomes, counts=1.0):
    pull = counts * (outcomes - found.probability(first, second))
    n = len(found.strengths)
    return np.bincount(first, pull, n) - np.bincount(second, pull, n) - found.ridge * found.strengths


def test_two_items_have_a_closed_form() -> None:
    found = bradley_terry([0, 1], [1, 0], [1, 1], counts=[3, 1])
    assert found.strengths == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-12)
    assert float(found.probability(0, 1)) == pytest.approx(0.75, abs=1e-12)
    assert found.log_likelihood == pytest.approx(3 * math.log(0.75) + math.log(0.25), abs=1e-12)
    assert found.comparisons == 4
    # 1 / (n p q) is the variance of the log odds; each strength is half of their difference.
    assert found.difference_error(0, 1) == pytest.approx(1 / math.sqrt(4 * 0.75 * 0.25), abs=1e-9)
    assert found.standard_errors() == pytest.approx([0.5 / math.sqrt(0.75)] * 2, abs=1e-9)


def test_the_cards_probability() -> None:
    # Soft outcomes that some strengths fit exactly give those strengths.
    strengths = np.array([1.2, -0.4, 0.3])
    first, second = np.array([0, 0, 1]), np.array([1, 2, 2])
    outcomes = 1 / (1 + np.exp(strengths[second] - strengths[first]))
    assert outcomes[0] == pytest.approx(0.832018, abs=5e-7)
    found = bradley_terry(first, second, outcomes)
    assert found.strengths == pytest.approx(strengths - strengths.mean(), abs=1e-10)


def test_the_cards_loss() -> None:
    gap, label = 1.6, 0.9
    loss, probability = _loss(np.array([gap, -gap]), np.array([label, 1 - label]), np.array([1.0, 2.0]))
    assert loss == pytest.approx(3 * 0.343901, abs=2e-6)
    assert probability == pytest.approx([0.832018, 1 - 0.832018], abs=5e-7)


def test_ties_and_rings_leave_items_equal() -> None:
    assert bradley_terry([0, 1, 2], [1, 2, 0], [1, 1, 1]).strengths == pytest.approx([0, 0, 0], abs=1e-12)
    assert bradley_terry([0, 1], [1, 2], [0.5, 0.5]).strengths == pytest.approx([0, 0, 0], abs=1e-12)


def test_standard_errors_are_those_of_the_inverse_information() -> None:
    _, first, second, won = drawn(12, 400, seed=1)
    for ridge in (0.0, 0.7):
        found = bradley_terry(first, second, won, ridge=ridge)
        p = found.probability(first, second)
        design = np.zeros((len(first), 12))
        design[np.arange(len(first)), first] = 1
        design[np.arange(len(first)), second] = -1
        information = design.T @ np.diag(p * (1 - p)) @ design + ridge * np.eye(12)
        covariance = np.linalg.inv(information) if ridge else np.linalg.pinv(information)
        assert found.standard_errors() == pytest.approx(np.sqrt(np.diag(covariance)), rel=1e-8)
        contrast = np.zeros(12)
        contrast[[3, 7]] = 1, -1
        assert found.difference_error(3, 7) == pytest.approx(math.sqrt(contrast @ covariance @ contrast), rel=1e-8)
    assert found.difference_error(4, 4) == 0.0


def test_errors_are_as_large_as_they_say() -> None:
    misses = []
    for seed in range(40):
        truth, first, second, won = drawn(10, 600, seed=seed)
        found = bradley_terry(first, second, won)
        misses.append((found.strengths - truth) / found.standard_errors())
    assert 0.85 < np.std(misses) < 1.15


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3]))
def test_the_gradient_is_zero_and_order_does_not_matter(seed: int, ridge: float) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    m = int(rng.integers(n, 60))
    # Outcomes strictly inside (0, 1) and a ring through all items: there is always a maximum.
    first = np.concatenate([np.arange(n), rng.integers(n, size=m)])
    second = np.concatenate([(np.arange(n) + 1) % n, (first[n:] + rng.integers(1, n, size=m)) % n])
    outcomes, counts = rng.uniform(0.02, 0.98, len(first)), rng.uniform(0.1, 5, len(first))
    found = bradley_terry(first, second, outcomes, counts=counts, ridge=ridge)
    assert np.linalg.norm(gradient(found, first, second, outcomes, counts)) < 1e-9
    assert found.strengths.sum() == pytest.approx(0, abs=1e-9)
    order = rng.permutation(len(first))
    turned = bradley_terry(second[order], first[order], 1 - outcomes[order], counts=counts[order], ridge=ridge)
    assert turned.strengths == pytest.approx(found.strengths, abs=1e-8)
    doubled = bradley_terry(np.r_[first, first], np.r_[second, second], np.r_[outcomes, outcomes],
                            counts=np.r_[counts, counts] / 2, ridge=ridge)  # fmt: skip
    assert doubled.strengths == pytest.approx(found.strengths, abs=1e-8)


@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_it_agrees_with_choix(alpha: float) -> None:
    choix = pytest.importorskip("choix", reason="choix is not installed; only needed for this check")
    for seed in range(5):
        _, first, second, won = drawn(8, 200, seed=seed)
        winners, losers = np.where(won > 0, first, second), np.where(won > 0, second, first)
        pairs = list(zip(winners.tolist(), losers.tolist(), strict=True))
        peer = choix.opt_pairwise(8, pairs, alpha=alpha, tol=1e-12)
        # choix penalises alpha |s|^2, with no half.
        found = bradley_terry(first, second, won, ridge=2 * alpha)
        assert found.strengths == pytest.approx(peer - peer.mean(), abs=1e-4)
        assert found.log_likelihood >= -1e-9 + float(choix.log_likelihood_pairwise(pairs, peer)) or alpha


def test_many_items_at_the_optimum() -> None:
    truth, first, second, won = drawn(1000, 40_000, seed=3)
    found = bradley_terry(first, second, won)
    assert found.gradient_norm < 1e-6
    assert np.linalg.norm(gradient(found, first, second, won)) < 1e-6
    assert np.corrcoef(found.strengths, truth)[0, 1] > 0.95
    assert found.newton_steps < 15


def test_wide_strengths_converge() -> None:
    # Hardly any upsets: the information is nearly singular at the optimum.
    _, first, second, won = drawn(60, 6000, seed=2, spread=4.0)
    found = bradley_terry(first, second, won, ridge=1e-6)
    assert np.linalg.norm(gradient(found, first, second, won)) < 1e-6


@pytest.mark.parametrize(
    ("first", "second", "outcomes", "said"),
    [
        ([0, 2], [1, 3], [0.5, 0.5], "2 groups never compared with each other; one is items"),
        ([0, 0, 1], [1, 2, 2], [1, 1, 0.5], "item 0 wins every comparison with the others"),
        ([0, 0, 1], [1, 2, 2], [0, 0, 0.5], "item 0 loses every comparison with the others"),
        ([0, 1, 2, 0, 0], [1, 2, 3, 3, 2], [0.5, 1, 0.5, 1, 1], "items 0, 1 win every comparison with the others"),
    ],
)
def test_without_a_maximum_it_says_why(first, second, outcomes, said) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        bradley_terry(first, second, outcomes)
    assert "ridge=0.1" in str(caught.value)
    assert np.isfinite(bradley_terry(first, second, outcomes, ridge=0.1).strengths).all()


def test_an_item_without_comparisons() -> None:
    with pytest.raises(ValueError, match="every item needs a comparison, got none for items 1, 3, 4;"):
        bradley_terry([0], [2], [0.5], items=5)
    found = bradley_terry([0], [2], [1.0], items=5, ridge=1.0)
    assert found.strengths[[1, 3, 4]] == pytest.approx([0, 0, 0], abs=1e-12)
    assert found.strengths[0] == -found.strengths[2] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([], [], []), "at least one comparison"),
        (([0, 1], [1], [1, 0]), "first and second must be equally long, got 2 and 1"),
        (([0], [1], [1, 0]), r"outcomes must hold a number for each of 1 comparisons, got \(2,\)"),
        (([0.5], [1], [1]), "first must be a list of items by number"),
        (([0], [-1], [1]), "second must be a list of items by number"),
        (([[0]], [1], [1]), "first must be a list of items by number"),
        (([0, 1], [1, 1], [1, 1]), "an item is compared with itself, got items 1 and 1, .* in comparison 1"),
        (([0], [1], [1.5]), r"outcomes must be in \[0, 1\], got items 0 and 1, outcome 1.5"),
        (([0], [1], [math.nan]), r"outcomes must be in \[0, 1\]"),
    ],
)
def test_bad_input(arguments, said) -> None:
    with pytest.raises(ValueError, match=said):
        bradley_terry(*arguments)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"counts": [0.0]}, "counts must be finite and > 0"),
        ({"counts": [math.inf]}, "counts must be finite and > 0"),
        ({"items": 1}, "items must be >= 2"),
        ({"ridge": -1.0}, "ridge must be finite and >= 0, got -1.0"),
    ],
)
def test_bad_settings(changes, said) -> None:
    with pytest.raises(ValueError, match=said):
        bradley_terry([0], [1], [0.5], **changes)


def test_the_covariance_of_too_many_items_is_refused() -> None:
    n = 20_001
    found = bradley_terry(np.arange(n), (np.arange(n) + 1) % n, np.full(n, 0.5))
    with pytest.raises(ValueError, match="standard_errors of 20001 items would need 3 GB; ask difference_error"):
        found.standard_errors()
