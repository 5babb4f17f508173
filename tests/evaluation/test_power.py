"""What so many seeds show, and how many a wished effect needs: against statsmodels and SciPy, by simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.evaluation import detectable_effect, sd_interval, seeds_needed


@pytest.mark.parametrize(
    ("n", "effect"),
    [(3, 3.264043552819638), (5, 1.6819970833232674), (10, 0.9960019107624178), (30, 0.529235704523894)],
)
def test_detectable_effect_is_that_of_statsmodels(n: int, effect: float) -> None:
    # statsmodels 0.14, TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8).
    assert detectable_effect(n, 2.0) == pytest.approx(2 * effect, rel=2e-6)


@pytest.mark.parametrize(("effect", "seeds"), [(1.0, 10), (-0.5, 34), (0.25, 128)])
def test_seeds_needed_is_that_of_statsmodels_rounded_up(effect: float, seeds: int) -> None:
    assert seeds_needed(effect, 1.0) == seeds  # 9.94, 33.37, 127.52


@pytest.mark.parametrize("n", [3, 8, 25])
def test_power_is_that_of_the_installed_statsmodels(n: int) -> None:
    peer = pytest.importorskip("statsmodels.stats.power", reason="statsmodels is not installed: stored values above")
    assert detectable_effect(n, 1.0) == pytest.approx(peer.TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8))


@pytest.mark.parametrize("n", [3, 10, 30])
def test_power_agrees_with_scipy(n: int) -> None:
    # SciPy has the noncentral t itself; both tails of it at the detectable effect make 80 %.
    shift, limit = detectable_effect(n, 1.0) * math.sqrt(n), stats.t.ppf(0.975, n - 1)
    assert stats.nct.sf(limit, n - 1, shift) + stats.nct.cdf(-limit, n - 1, shift) == pytest.approx(0.8, abs=1e-6)


@given(st.integers(2, 40), st.floats(0.01, 10), st.floats(0.5, 0.95))
def test_detectable_effect_has_the_power_it_claims(n: int, sd: float, power: float) -> None:
    effect = detectable_effect(n, sd, power=power)
    limit, shift = stats.t.ppf(0.975, n - 1), effect * math.sqrt(n) / sd
    if n > 2:  # SciPy's noncentral t is NaN at one degree of freedom
        reached = stats.nct.sf(limit, n - 1, shift) + stats.nct.cdf(-limit, n - 1, shift)
        assert reached == pytest.approx(power, abs=1e-5)
    assert detectable_effect(n, 2 * sd, power=power) == pytest.approx(2 * effect)
    assert detectable_effect(n + 1, sd, power=power) < effect


def test_two_pairs_have_a_detectable_effect() -> None:
    # One degree of freedom, by simulation of 200,000 pairs: standard error 0.0009.
    rng = np.random.default_rng(0)
    d = rng.normal(detectable_effect(2, 1.0), 1, (200_000, 2))
    t = d.mean(axis=1) / (d.std(axis=1, ddof=1) / math.sqrt(2))
    assert np.mean(np.abs(t) > stats.t.ppf(0.975, 1)) == pytest.approx(0.8, abs=0.004)


@given(st.floats(0.05, 3), st.floats(0.1, 5), st.floats(0.5, 0.95))
def test_seeds_needed_are_the_fewest(effect: float, sd: float, power: float) -> None:
    if effect / sd < 0.05:
        return
    n = seeds_needed(effect, sd, power=power)
    assert detectable_effect(n, sd, power=power) <= effect
    assert n == 2 or detectable_effect(n - 1, sd, power=power) > effect


# --- the spread ---


def test_sd_interval_by_hand() -> None:
    # Two degrees of freedom: chi-square is exponential, quantile -2 ln(1 - p).
    low, high = sd_interval(1.0, 3)
    assert (low, high) == pytest.approx((math.sqrt(1 / -math.log(0.025)), math.sqrt(1 / -math.log(0.975))))


def test_sd_interval_covers() -> None:
    # 20,000 samples: standard error 0.15 points.
    sd = np.random.default_rng(0).normal(size=(20_000, 6)).std(axis=1, ddof=1)
    low, high = sd_interval(1.0, 6)
    assert np.mean((sd * low <= 1) & (sd * high >= 1)) == pytest.approx(0.95, abs=0.008)


@given(st.integers(2, 50), st.floats(0.01, 9), st.floats(0.5, 0.99))
def test_sd_interval_holds_the_estimate_and_scales(n: int, sd: float, confidence: float) -> None:
    low, high = sd_interval(sd, n, confidence=confidence)
    assert low < high
    assert sd_interval(2 * sd, n, confidence=confidence) == pytest.approx((2 * low, 2 * high))
    wider = sd_interval(sd, n, confidence=0.995)
    assert wider[0] < low
    assert wider[1] > high
    assert sd_interval(0.0, n) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (lambda: detectable_effect(1, 1.0), "n must be a whole number >= 2, got 1"),
        (lambda: detectable_effect(3, -1.0), "sd must be a finite number >= 0"),
        (lambda: detectable_effect(3, 1.0, power=0.01), "power must be between 0.05 and 1"),
        (lambda: seeds_needed(0.0, 1.0), "effect must be a finite number other than 0"),
        (lambda: seeds_needed(1.0, 0.0), "sd must be a finite number > 0"),
        (lambda: seeds_needed(1e-4, 1.0), "needs more than 10000 seeds"),
        (lambda: seeds_needed(1.0, 1.0, most=1), "most must be >= 2"),
        (lambda: sd_interval(1.0, 1), "sd_interval: n must be a whole number >= 2, got 1"),
        (lambda: sd_interval(math.nan, 3), "sd must be a finite number >= 0"),
        (lambda: sd_interval(1.0, 3, confidence=95), "confidence must be between 0 and 1, got 95"),
    ],
)
def test_bad_input(call: Any, fragment: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the fragment below is the match
        call()
    assert fragment in str(caught.value)
