"""Families of learning curves: formulas, the least squares behind them, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from tutelage.errors import UnknownPart
from tutelage.forecast.learning_families import FAMILIES, fit_families

SIZES = 5000.0 * np.arange(1, 9)
CLEAN = 0.97 - 4 * SIZES**-0.45
CHECKED = [0.883399, 0.906604, 0.917178, 0.923592, 0.928025, 0.931332, 0.933923, 0.936027]

#: The formulas once more, written down from the survey: error at size n.
FORMULAS = {
    "last-value": lambda n, a: a + 0 * n,
    "pow2": lambda n, a, b: a * n**-b,
    "log2": lambda n, a, c: c - a * np.log(n),
    "exp2": lambda n, a, b: a * np.exp(-b * n),
    "ilog2": lambda n, a, c: c + a / np.log(n),
    "pow3": lambda n, a, b, c: c + a * n**-b,
    "exp3": lambda n, a, b, c: c + a * np.exp(-b * n),
    "vap3": lambda n, a, b, c: np.exp(a + b / n + c * np.log(n)),
    "log-power3": lambda n, a, b, c: a / (1 + (n / np.exp(b)) ** c),
    "mmf4": lambda n, a, b, c, d: (a * b + c * n**d) / (b + n**d),
    "wbl4": lambda n, a, b, c, d: c + b * np.exp(-a * n**d),
    "pow4": lambda n, a, b, c, d: c + a * (n + d) ** -b,
}
#: Parameters inside the ranges, for sizes from 50 on.
TRUE = {
    "last-value": {"a": 0.2},
    "pow2": {"a": 1.4, "b": 0.3},
    "log2": {"a": 0.03, "c": 0.5},
    "exp2": {"a": 0.4, "b": 0.0008},
    "ilog2": {"a": 0.9, "c": 0.05},
    "pow3": {"a": 2.0, "b": 0.5, "c": 0.1},
    "exp3": {"a": 0.4, "b": 0.002, "c": 0.1},
    "vap3": {"a": -0.2, "b": -40.0, "c": -0.2},
    "log-power3": {"a": 0.6, "b": 5.0, "c": 0.9},
    "mmf4": {"a": 0.7, "b": 90.0, "c": 0.1, "d": 0.9},
    "wbl4": {"a": 0.05, "b": 0.8, "c": 0.1, "d": 0.5},
    "pow4": {"a": 60.0, "b": 0.9, "c": 0.1, "d": 120.0},
}


def noisy(seed: int, points: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(20, 20_000, points).round()
    errors = rng.uniform(0.02, 0.2) + rng.uniform(0.5, 2) * sizes ** -rng.uniform(0.2, 0.8)
    return sizes, np.clip(errors * (1 + 0.03 * rng.standard_normal(points)), 0.0, 1.0)


# --- check values ----------------------------------------------------------------------------------------------------


def test_the_power_law_of_the_card():
    assert pytest.approx(CHECKED, abs=5e-7) == CLEAN
    found = fit_families(SIZES, CLEAN, ["pow3"])["pow3"]
    assert found.params == pytest.approx({"a": 4.0, "b": 0.45, "c": 0.03}, rel=1e-6)
    assert found.asymptote == pytest.approx(0.97)
    assert found.size_for(0.95) == pytest.approx((4 / 0.02) ** (1 / 0.45), rel=1e-6)
    assert found.size_for(0.95) == pytest.approx(129_837, abs=1)
    assert found.predict([200_000]) == pytest.approx([0.97 - 4 * 200_000**-0.45])
    assert found.size_for(0.97) == math.inf
    assert not found.at_bound


@pytest.mark.parametrize("name", list(FAMILIES))
def test_a_family_finds_its_own_parameters(name):
    sizes = np.geomspace(50, 5000, 30)
    errors = FORMULAS[name](sizes, **TRUE[name])
    assert 0 < errors.min() <= errors.max() < 1
    found = fit_families(sizes, 1 - errors, [name])[name]
    assert found.rmse < 1e-7
    assert found.params == pytest.approx(TRUE[name], rel=2e-3)
    ahead = np.array([10_000.0, 50_000.0])
    assert found.predict(ahead) == pytest.approx(np.clip(1 - FORMULAS[name](ahead, **TRUE[name]), 0, 1), abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_parameters_are_those_of_the_formula(seed):
    sizes, errors = noisy(seed)
    for name, found in fit_families(sizes, 1 - errors).items():
        assert list(found.params) == list(TRUE[name])
        expected = np.clip(1 - FORMULAS[name](2 * sizes, **found.params), 0, 1)
        assert found.predict(2 * sizes) == pytest.approx(expected, abs=1e-9), name


def test_the_last_value_is_the_last_one():
    found = fit_families([1, 2, 3], [0.5, 0.7, 0.6], ["last-value"])["last-value"]
    assert found.predict(np.array([[9.0], [99.0]])).tolist() == [[0.6], [0.6]]
    assert (found.asymptote, found.size_for(0.6), found.size_for(0.61)) == (0.6, 1.0, math.inf)


# --- agreement -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pow2", "pow3", "exp3", "vap3", "mmf4", "wbl4", "pow4"])
@pytest.mark.parametrize("seed", range(3))
def test_no_residual_above_that_of_scipy(name, seed):
    """SciPy fits all parameters at once, started from our solution and from others; it finds nothing better."""
    sizes, errors = noisy(seed)
    ours = fit_families(sizes, 1 - errors, [name])[name]
    family, x = FAMILIES[name], sizes / sizes[0]
    ends = np.array(family.bounds(x[-1]))

    def residuals(p):
        return p[1] * (family.offset != "none") + p[0] * family.shape(p[None, 2:], x, sizes[0])[0] - errors

    low, high = np.concatenate([[0, 0], ends[:, 0]]), np.concatenate([[np.inf, 1], ends[:, 1]])
    rng = np.random.default_rng(seed)
    theirs = min(
        optimize.least_squares(
            residuals, [errors[0], 0.9 * errors[-1], *rng.uniform(ends[:, 0], ends[:, 1])], bounds=(low, high)
        ).cost
        for _ in range(6)
    )
    assert len(sizes) * ours.rmse**2 / 2 <= theirs * (1 + 1e-6)


def test_percent_and_losses_are_the_same_curve():
    sizes, errors = noisy(4)
    shares = fit_families(sizes, 1 - errors)
    percent = fit_families(sizes, 100 * (1 - errors), top=100)
    losses = fit_families(sizes, errors, lower_is_better=True)
    ahead = [3e4, 1e5]
    for name, found in shares.items():
        assert percent[name].predict(ahead) == pytest.approx(100 * found.predict(ahead), abs=1e-5)
        assert losses[name].predict(ahead) == pytest.approx(1 - found.predict(ahead), abs=1e-7)


# --- properties ------------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=4, max_size=12), st.floats(2, 1000), st.floats(1.1, 3))
def test_any_scores_give_fits_within_the_range_that_never_fall(scores, first, growth):
    sizes = first * growth ** np.arange(len(scores))
    ahead = sizes[-1] * np.geomspace(1, 1e6, 20)
    for name, found in fit_families(sizes, scores).items():
        expected = found.predict(ahead)
        assert ((expected >= 0) & (expected <= 1)).all(), name
        if name != "vap3":  # the one whose curve may turn
            assert (np.diff(expected) >= -1e-12).all(), name


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(["pow2", "pow3", "mmf4", "log2"]))
def test_size_for_is_where_the_curve_reaches_the_target(seed, name):
    sizes, errors = noisy(seed)
    found = fit_families(sizes, 1 - errors, [name])[name]
    target = float(found.predict([3 * sizes[-1]])[0])
    size = found.size_for(target)
    assert found.predict([size])[0] == pytest.approx(target, abs=1e-9)
    assert size <= 3 * sizes[-1] * (1 + 1e-6)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "scores", "changes", "said"),
    [
        ([1, 2, 3], [0.1, 0.2], {}, r"two series of one length, got shapes \(3,\) and \(2,\)"),
        ([], [], {}, "sizes must hold at least 1, got 0"),
        ([1, 3, 2], [0.1, 0.2, 0.3], {}, "sizes must rise and be > 0, got 2 at place 2"),
        ([1, 1, 2], [0.1, 0.2, 0.3], {}, "got 1 at place 1"),
        ([0, 1, 2], [0.1, 0.2, 0.3], {}, "got 0 at place 0"),
        ([1, math.nan, 2], [0.1, 0.2, 0.3], {}, "got nan at place 1"),
        ([2, 3, 4], [0.1, 80.0, 0.3], {}, r"scores must be in \[0, 1\], got 80 at size 3; are they percent\?"),
        ([2, 3, 4], [0.1, math.nan, 0.3], {}, "got nan at size 3"),
        ([2, 3, 4], [0.1, -1.0, 0.3], {"lower_is_better": True}, "losses must be >= 0, got -1 at size 3"),
        ([2, 3, 4], [0.1, 0.2, 0.3], {"top": 0.0}, "top must be > 0, 1 for shares and 100 for percent, got 0.0"),
        ([2, 3, 4], [0.1, 0.2, 0.3], {}, "mmf4 has 4 parameters and needs as many sizes, got 3"),
        ([1, 3, 4], [0.1, 0.2, 0.3], {"families": ["ilog2"]}, "ilog2 needs sizes >= 2"),
    ],
)
def test_bad_input(sizes, scores, changes, said):
    with pytest.raises(ValueError, match=said):
        fit_families(sizes, scores, **changes)


def test_an_unknown_family_gets_a_suggestion():
    with pytest.raises(UnknownPart, match=r'No family of learning curves "pow5"\. Did you mean "pow'):
        fit_families(SIZES, CLEAN, ["pow5"])


def test_a_size_of_one_leaves_out_the_family_that_has_no_value_there():
    assert set(fit_families([1, 2, 4, 8], [0.1, 0.3, 0.4, 0.45])) == set(FAMILIES) - {"ilog2"}
