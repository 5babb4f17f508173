"""Data efficiency: the card's numbers, first crossings, reasons, and intervals over seeds and tasks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.forecast import data_efficiency

SIZES = [10, 50, 100, 200, 1000]
PLAIN = dict(zip(SIZES, [0.2, 0.4, 0.5, 0.58, 0.70], strict=True))
TUNED = dict(zip(SIZES, [0.45, 0.6, 0.66, 0.70, 0.74], strict=True))


def test_the_cards_values() -> None:
    found = data_efficiency(TUNED, PLAIN)
    assert (found.target, found.n_a, found.n_b, found.ratio) == (0.70, 200, 1000, 0.2)
    assert found.ci is None
    assert found.reason is None
    assert data_efficiency(TUNED, PLAIN, 0.70) == found


def test_between_sizes_the_logarithm_is_linear() -> None:
    found = data_efficiency(TUNED, PLAIN, 0.63)
    assert found.n_a == pytest.approx(50 * (100 / 50) ** 0.5)
    assert found.n_b == pytest.approx(200 * (1000 / 200) ** (0.05 / 0.12))
    assert found.ratio == pytest.approx(found.n_a / found.n_b)
    # NumPy's own interpolation, on a rising curve.
    for target in np.linspace(0.46, 0.69, 20):
        expected = np.exp(np.interp(target, list(TUNED.values()), np.log(SIZES)))
        assert data_efficiency(TUNED, PLAIN, float(target)).n_a == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(0.05, 0.95))
def test_the_first_crossing_counts_and_pairs_are_as_good_as_a_mapping(scores: list[float], target: float) -> None:
    curve = list(zip(SIZES, scores, strict=True))
    found = data_efficiency(curve, curve, target)
    if max(scores) < target:
        assert found.n_a is None
        assert found.ratio is None
        assert f"a never reaches {target:.4g}" in found.reason
        return
    assert found.ratio == 1
    before = [score for size, score in curve if size < found.n_a * (1 - 1e-9)]
    assert all(score < target for score in before)
    after = next(score for size, score in curve if size >= found.n_a * (1 - 1e-9))
    assert after >= target
    assert data_efficiency(dict(curve), dict(curve), target) == found


def test_a_target_out_of_reach_has_a_reason_and_no_number() -> None:
    found = data_efficiency(PLAIN, TUNED)
    assert (found.n_a, found.ratio, found.ci) == (None, None, None)
    assert found.n_b == 1000
    assert found.reason == "a never reaches 0.74: its best is 0.7, up to 1000 examples"
    both = data_efficiency(PLAIN, TUNED, 0.9)
    assert "a never reaches 0.9" in both.reason
    assert "b never reaches 0.9" in both.reason


def test_the_smallest_size_is_a_bound() -> None:
    found = data_efficiency(TUNED, PLAIN, 0.3)
    assert found.n_a == 10
    assert found.reason == "a reaches 0.3 with the smallest size already, 10; it may need less"


def test_lower_may_be_better() -> None:
    losses = [{size: 1 - score for size, score in curve.items()} for curve in (TUNED, PLAIN)]
    found = data_efficiency(*losses, higher_is_better=False)
    assert found.target == pytest.approx(0.3)
    assert found.ratio == pytest.approx(0.2)
    never = data_efficiency(losses[1], losses[0], higher_is_better=False)
    assert never.reason.startswith("a never reaches 0.26: its best is 0.3")


def _noisy(curve: dict[int, float], names: list, shift: dict, rng: np.random.Generator) -> dict:
    return {name: {n: s + shift[name] + rng.normal(0, 0.005) for n, s in curve.items()} for name in names}


def test_curves_are_averaged_and_drawn_in_pairs() -> None:
    rng = np.random.default_rng(0)
    seeds = [f"seed {number}" for number in range(8)]
    # What a seed shifts it shifts in both curves: pairs must not suffer from it.
    shift = {name: rng.normal(0, 0.1) for name in seeds}
    tuned, plain = _noisy(TUNED, seeds, shift, rng), _noisy(PLAIN, seeds, shift, rng)
    found = data_efficiency(tuned, plain)
    means = [{n: float(np.mean([c[n] for c in curves.values()])) for n in SIZES} for curves in (tuned, plain)]
    alone = data_efficiency(*means)
    assert found.ratio == pytest.approx(alone.ratio)
    assert found.units == 8
    low, high = found.ci
    assert low <= found.ratio <= high
    assert 0.12 < low < 0.2 < high < 0.3
    assert data_efficiency(tuned, dict(reversed(plain.items()))) == found
    assert data_efficiency(tuned, plain, confidence=0.5).ci[1] <= high


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(1), 0
    names = [str(number) for number in range(12)]
    for _ in range(120):
        none = dict.fromkeys(names, 0.0)
        noisy = [
            {k: {n: s + rng.normal(0, 0.02) for n, s in c.items()} for k, c in _noisy(x, names, none, rng).items()}
            for x in (TUNED, PLAIN)
        ]
        low, high = data_efficiency(*noisy, confidence=0.8, resamples=200).ci
        hits += low <= 0.2 <= high
    # A percentile bootstrap of twelve is a little short; 80 % would be 96.
    assert 78 <= hits <= 110


def test_tasks_and_seeds_are_drawn_each_by_themselves() -> None:
    rng = np.random.default_rng(2)
    names = [(task, seed) for task in "abcdef" for seed in "01"]
    own = {task: rng.normal(0, 0.03) for task in "abcdef"}
    shift = {name: own[name[0]] for name in names}
    zero = dict.fromkeys(names, 0.0)
    tuned, plain = _noisy(TUNED, names, shift, rng), _noisy(PLAIN, names, zero, rng)
    crossed = data_efficiency(tuned, plain)
    flat = data_efficiency(*({" ".join(k): v for k, v in curves.items()} for curves in (tuned, plain)))
    assert crossed.ratio == pytest.approx(flat.ratio)
    # Twelve curves of six tasks say less than twelve tasks would.
    assert crossed.ci[1] - crossed.ci[0] > 1.15 * (flat.ci[1] - flat.ci[0])


def test_draws_that_never_reach_it_make_the_upper_end_infinite() -> None:
    low, high = {10: 0.1, 100: 0.5}, {10: 0.1, 100: 0.9}
    curves = {str(number): (high if number % 2 else low) for number in range(6)}
    found = data_efficiency(curves, {10: 0.3, 100: 0.68}, 0.68)
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert math.isinf(found.ci[1])
    assert found.ci[0] < 1


def test_only_shared_sizes_count() -> None:
    curves = {"0": PLAIN, "1": {n: s for n, s in PLAIN.items() if n != 10} | {5000: 0.9}}
    assert data_efficiency(TUNED, curves).target == pytest.approx(0.70)


@pytest.mark.parametrize(
    ("a", "b", "more", "message"),
    [
        ({10: 0.1}, PLAIN, {}, "curve_a needs scores at two or more sizes"),
        ([(10, 0.1), (10, 0.2)], PLAIN, {}, "sizes of curve_a must increase"),
        ([(50, 0.1), (10, 0.2)], PLAIN, {}, "sizes of curve_a must increase"),
        ({0: 0.1, 10: 0.2}, PLAIN, {}, "must be finite and > 0"),
        (PLAIN, {10: 0.1, 20: math.nan}, {}, "scores of curve_b must be finite"),
        ({"s": {10: 0.1, 20: math.inf}}, PLAIN, {}, r"scores of curve_a \(s\) must be finite"),
        ([1, 2, 3], PLAIN, {}, "must be a score by size"),
        ({"0": PLAIN, "1": PLAIN}, {"0": PLAIN, "2": PLAIN}, {}, "same names, got 1 in one only"),
        ({"0": PLAIN, ("1", "x"): PLAIN}, PLAIN, {}, "as many positions"),
        (PLAIN, TUNED, {"target": math.nan}, 'target must be "final_b" or a finite score'),
        (PLAIN, TUNED, {"target": "final_a"}, 'target must be "final_b"'),
        (PLAIN, TUNED, {"confidence": 1.0}, "confidence must be > 0 and < 1, got 1.0"),
        (PLAIN, TUNED, {"resamples": 10}, "resamples must be >= 100, got 10"),
    ],
)
def test_bad_input(a: object, b: object, more: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data_efficiency(a, b, **more)
