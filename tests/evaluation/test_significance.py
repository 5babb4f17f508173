"""Intervals and tests of paired differences: by hand, against SciPy, by symmetry, on bad input."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.evaluation import mean_interval, paired_difference, sign_flip_p_value
from tutelage.evaluation.significance import METHODS

values = st.floats(-100, 100).map(lambda x: round(x, 3))
pairs = st.lists(st.tuples(values, values), min_size=2, max_size=9)


# --- by hand ---


def test_student_by_hand() -> None:
    # d = 1, 2, 3: mean 2, sd 1, error 1 / sqrt(3); for 2 degrees of freedom t(p) = (2 p - 1) / sqrt(2 p (1 - p)).
    found = paired_difference([2, 4, 6], [1, 2, 3], method="t")
    assert (found.estimate, found.sd, found.n) == (2.0, 1.0, 3)
    half = 0.95 / math.sqrt(2 * 0.975 * 0.025) / math.sqrt(3)
    np.testing.assert_allclose([found.low, found.high], [2 - half, 2 + half], rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_the_bootstrap_enumerates_every_resample(n: int) -> None:
    d = np.random.default_rng(n).normal(size=n)
    means = np.sort([np.mean(draw) for draw in product(d, repeat=n)])
    tail = Fraction(25, 1000) * len(means)
    low, high = means[math.ceil(tail) - 1], means[len(means) - math.ceil(tail)]
    found = paired_difference(d, np.zeros(n), method="bootstrap")
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-12)


def test_three_values_bound_the_bootstrap() -> None:
    # The smallest resample has probability 1/27 > 2.5 %, so the interval is the range: it covers 1 - 2 / 2**3 = 75 %.
    found = mean_interval([0.3, -0.1, 0.9], method="bootstrap")
    assert (found.low, found.high) == pytest.approx((-0.1, 0.9))


@pytest.mark.parametrize("n", [3, 6, 8])
def test_the_permutation_p_value_enumerates_every_sign(n: int) -> None:
    d = np.random.default_rng(n).normal(0.4, 1, size=n)
    sums = [abs(np.dot(signs, d)) for signs in product([1, -1], repeat=n)]
    expected = np.mean([total >= abs(d.sum()) - 1e-12 for total in sums])
    assert sign_flip_p_value(d) == pytest.approx(expected, rel=1e-12)


def test_smallest_permutation_p_values() -> None:
    assert [sign_flip_p_value([0.1 * k + 1 for k in range(n)]) for n in (1, 2, 3, 6)] == [1.0, 0.5, 0.25, 2 / 64]


def test_the_permutation_interval_is_made_of_subset_means() -> None:
    d = np.array([0.1, 0.5, 0.2, 0.9, 0.4, 0.35])
    means = sorted(np.mean(d[[bool(code >> k & 1) for k in range(6)]]) for code in range(1, 64))
    found = mean_interval(d, method="permutation")  # 64 * 2.5 % = 1.6: the first from either end
    assert (found.low, found.high) == pytest.approx((means[0], means[-1]))
    found = mean_interval(d, method="permutation", confidence=0.9)  # 3.2: the third
    assert (found.low, found.high) == pytest.approx((means[2], means[-3]))


def test_hybrid_is_the_wider_of_student_and_expanded_bootstrap() -> None:
    d = np.array([0.0, 0.1, 0.05, 0.02, 0.08, 2.0, 0.01])
    student, expanded, hybrid = (mean_interval(d, method=m) for m in ("t", "bootstrap-expanded", "hybrid"))
    assert student.low < expanded.low  # type: ignore[operator]
    assert (hybrid.low, hybrid.high) == (student.low, max(student.high, expanded.high))  # type: ignore[type-var]


def test_the_expanded_bootstrap_makes_up_for_narrowness() -> None:
    # 400 values that are normal quantiles: resampled means are normal, so the width must be Student's; the plain
    # bootstrap is narrower by sqrt((n - 1) / n) and by z instead of t. 40,000 resamples: quantiles to about 1 %.
    d = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    student, wide = (mean_interval(d, method=m, resamples=40_000) for m in ("t", "bootstrap-expanded"))
    assert wide.high - wide.low == pytest.approx(student.high - student.low, rel=0.02)  # type: ignore[operator]
    n = 10
    d = stats.norm.ppf((np.arange(n) + 0.5) / n)
    student, wide, plain = (
        mean_interval(d, method=m, resamples=40_000) for m in ("t", "bootstrap-expanded", "bootstrap")
    )
    ratio = stats.norm.ppf(0.975) / stats.t.ppf(0.975, n - 1) * math.sqrt((n - 1) / n)
    assert plain.high / student.high == pytest.approx(ratio, rel=0.03)  # type: ignore[operator]
    assert wide.high / student.high == pytest.approx(1, rel=0.05)  # type: ignore[operator]


# --- agreement with SciPy ---


@pytest.mark.parametrize("n", [2, 3, 5, 12, 30])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_student_agrees_with_ttest_rel(n: int, confidence: float) -> None:
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(2, n))
    found = paired_difference(a, b, method="t", confidence=confidence)
    peer = stats.ttest_rel(a, b)
    ends = peer.confidence_interval(confidence)
    np.testing.assert_allclose([found.low, found.high, found.p_value], [ends.low, ends.high, peer.pvalue], rtol=1e-10)


@pytest.mark.parametrize(("method", "peer"), [("bootstrap", "percentile"), ("bca", "BCa")])
@pytest.mark.parametrize("n", [12, 25])
def test_the_bootstrap_agrees_with_scipy(method: Any, peer: str, n: int) -> None:
    d = np.random.default_rng(n).exponential(size=n)
    found = mean_interval(d, method=method, resamples=40_000)
    other = stats.bootstrap((d,), np.mean, method=peer, n_resamples=40_000, rng=np.random.default_rng(1))
    # Two independent sets of 40,000 resamples: quantiles of either differ by about 1 % of the standard error.
    ends = other.confidence_interval
    np.testing.assert_allclose([found.low, found.high], [ends.low, ends.high], atol=0.05 * float(other.standard_error))


@pytest.mark.parametrize("n", [4, 9, 12])
def test_the_sign_flip_test_agrees_with_scipy(n: int) -> None:
    d = np.random.default_rng(n).normal(0.3, 1, n)
    peer = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p_value(d) == pytest.approx(peer.pvalue, rel=1e-12)


def test_drawn_signs_approach_the_exact_answer() -> None:
    d = np.random.default_rng(0).normal(0.35, 1, 18)
    peer = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    # 20,000 patterns: standard error sqrt(p / 20000) each tail; five of them.
    assert sign_flip_p_value(d, resamples=20_000) == pytest.approx(peer, abs=10 * math.sqrt(peer / 20_000))


# --- properties ---


@pytest.mark.parametrize("method", METHODS)
@given(rows=pairs)
def test_swapping_the_arms_turns_the_sign(method: Any, rows: list[tuple[float, float]]) -> None:
    a, b = zip(*rows, strict=True)
    one, other = (paired_difference(x, y, method=method, resamples=200) for x, y in ((a, b), (b, a)))
    assert one.estimate == -other.estimate
    if one.low is None or one.high is None:
        assert other.low is None
        return
    # Resamples are drawn once for both: enumerated ones are exact mirrors up to the order of summing.
    tolerance = 1e-9 * (1 + abs(one.low) + abs(one.high))
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=tolerance)  # type: ignore[operator]
    assert one.p_value == pytest.approx(other.p_value, abs=1e-9)
    assert one.p_permutation == pytest.approx(other.p_permutation)


@pytest.mark.parametrize("method", METHODS)
@given(rows=st.lists(st.integers(-50, 50), min_size=5, max_size=8), shift=st.integers(-20, 20))
def test_shifting_every_value_shifts_the_interval(method: Any, rows: list[int], shift: int) -> None:
    before, after = mean_interval(rows, method=method), mean_interval([r + shift for r in rows], method=method)
    assert (before.low is None) == (after.low is None)
    if before.low is not None and before.high is not None:
        assert (after.low, after.high) == pytest.approx((before.low + shift, before.high + shift), abs=1e-7)


@given(rows=st.lists(values, min_size=3, max_size=8), order=st.randoms())
def test_the_order_of_seeds_does_not_matter(rows: list[float], order: Any) -> None:
    mixed = list(rows)
    order.shuffle(mixed)
    one, other = mean_interval(rows), mean_interval(mixed)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [3, 5, 8, 11, 16])
def test_p_value_and_interval_say_the_same(method: Any, n: int) -> None:
    rng = np.random.default_rng(n)
    said = set()
    for _ in range(40):
        d = rng.exponential(size=n) - 0.4
        found = paired_difference(d, np.zeros(n), method=method, resamples=500)
        if found.low is None or found.high is None or found.p_value is None:
            continue
        excluded = found.low > 0 or found.high < 0
        assert excluded == (found.p_value < 1 - found.confidence), (found.low, found.high, found.p_value)
        said.add(excluded)
    if n >= 8:
        assert said == {True, False}


def test_results_do_not_depend_on_global_randomness() -> None:
    d = np.random.default_rng(0).normal(size=20)
    assert mean_interval(d) == mean_interval(d)
    assert mean_interval(d, seed=1) != mean_interval(d, seed=2)


# --- edges ---


def test_one_pair_has_no_interval() -> None:
    found = paired_difference([1.0], [0.5])
    assert (found.estimate, found.n) == (0.5, 1)
    assert (found.low, found.high, found.sd, found.p_value, found.p_permutation, found.detectable) == (None,) * 6
    assert "one seed" in found.note
    assert mean_interval([2.0]).low is None


def test_equal_differences_have_no_width_but_are_no_proof() -> None:
    found = paired_difference([1.3, 2.3, 3.3], [1.0, 2.0, 3.0])  # equal but for the last bits
    assert found.sd == 0
    assert found.low == found.high == pytest.approx(0.3)
    assert found.p_value == 0.25
    assert found.detectable is None


def test_equal_arms_differ_by_exactly_nothing() -> None:
    found = paired_difference([0.1 + 0.2, 1.0], [0.3, 1.0])
    assert (found.low, found.high, found.sd, found.p_value) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(("method", "n"), [("permutation", 5), ("bootstrap-t", 4)])
def test_too_few_for_a_method_is_said(method: Any, n: int) -> None:
    found = mean_interval(np.arange(n) ** 2, method=method)
    assert found.low is None
    assert str(n) in found.note
    assert mean_interval(np.arange(n + 1) ** 2, method=method).low is not None


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (lambda: paired_difference([1, 2], [1]), "a has 2 values and b has 1"),
        (lambda: paired_difference([], []), "at least one number"),
        (lambda: paired_difference([[1.0]], [[1.0]]), "got shape (1, 1)"),
        (lambda: paired_difference([1, math.nan], [1, 2]), "a[1] is nan"),
        (lambda: paired_difference([1, 2], [math.inf, 2]), "b[0] is inf"),
        (lambda: paired_difference([1, 2], [1, 2], confidence=95), "confidence must be between 0 and 1, got 95"),
        (lambda: paired_difference([1, 2], [1, 2], method="welch"), 'no method "welch"'),  # type: ignore[arg-type]
        (lambda: mean_interval([1, 2], resamples=10), "resamples must be >= 100, got 10"),
        (lambda: sign_flip_p_value([]), "at least one number"),
    ],
)
def test_bad_input(call: Any, fragment: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the fragment below is the match
        call()
    assert fragment in str(caught.value)


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        mean_interval([1, 2]).mean = 3.0  # type: ignore[misc]
