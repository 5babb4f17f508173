"""Chinchilla's law and the power law of one quantity: published values, a peer's fit, real runs, intervals."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from tutelage.errors import NotReady
from tutelage.forecast.chinchilla import ChinchillaLaw, fit_chinchilla
from tutelage.forecast.power_law import PowerLaw, fit_power_law

PAPER = ChinchillaLaw(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28)
N, D = (axis.ravel() for axis in np.meshgrid([1e7, 3e7, 1e8, 3e8], [1e8, 1e9, 1e10, 1e11]))

laws = st.builds(
    ChinchillaLaw,
    E=st.just(0.0) | st.floats(0.1, 3),
    A=st.floats(1, 1000),
    alpha=st.floats(0.05, 1),
    B=st.floats(1, 1000),
    beta=st.floats(0.05, 1),
)


def test_published_values() -> None:
    # Hoffmann et al., 2022: 1.69 + 406.4 / N^0.34 + 410.7 / D^0.28, at Chinchilla's own 70 billion and 1.4 trillion.
    expected = 1.69 + 406.4 / 70e9**0.34 + 410.7 / 1.4e12**0.28
    assert PAPER.loss(70e9, 1.4e12) == pytest.approx(expected)
    assert PAPER.loss(math.inf, math.inf) == 1.69
    plan = PAPER.plan(compute=5.76e23)
    g = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62)
    assert plan.size == pytest.approx(g * (5.76e23 / 6) ** (0.28 / 0.62))
    assert plan.tokens == pytest.approx((5.76e23 / 6) ** (0.34 / 0.62) / g)
    assert plan.size * plan.tokens * 6 == pytest.approx(5.76e23)


@given(laws, st.floats(15, 25).map(lambda power: 10.0**power))
def test_the_plan_of_a_budget_is_its_best_use(law, compute) -> None:
    plan = law.plan(compute=compute)
    for factor in (0.5, 0.9, 1.1, 2.0):
        other = law.plan(compute=compute, size=plan.size * factor)
        assert other.compute == pytest.approx(compute)
        assert other.loss >= plan.loss * (1 - 1e-12)
    assert law.plan(size=plan.size).tokens == pytest.approx(plan.tokens, rel=1e-6)
    if plan.loss - law.E > 1e-6:
        back = law.plan(loss=plan.loss)
        assert back.compute == pytest.approx(compute, rel=1e-6)
        assert law.tokens_to(plan.loss, plan.size) == pytest.approx(plan.tokens, rel=1e-6)


def test_what_is_never_reached_takes_for_ever() -> None:
    assert PAPER.plan(loss=1.69).tokens == math.inf
    assert PAPER.plan(loss=2.0, size=1e9).tokens == math.inf
    assert PAPER.tokens_to([2.0, 3.0], 1e9)[0] == math.inf
    assert PowerLaw(alpha=0.1, scale=1e10, floor=2.0).needed(2.0) == math.inf


def by_many_starts(size, tokens, losses, delta):
    """The published way: L-BFGS on Huber's loss of log-sum-exp, from a grid of starts."""
    log_n, log_d, observed = np.log(size), np.log(tokens), np.log(losses)

    def objective(values):
        a, alpha, b, beta, e = values
        terms = np.stack([a - alpha * log_n, b - beta * log_d, np.full_like(log_n, e)])
        total = special.logsumexp(terms, axis=0)
        weights = np.exp(terms - total)
        gap = total - observed
        slope = np.clip(gap, -delta, delta)
        gradient = [slope @ weights[0], -slope @ (weights[0] * log_n), slope @ weights[1],
                    -slope @ (weights[1] * log_d), slope @ weights[2]]  # fmt: skip
        return special.huber(delta, gap).sum() * 1e4, np.array(gradient) * 1e4

    starts = itertools.product((2, 6), (0.1, 0.5), (2, 6), (0.1, 0.5), (-0.5, 0.5))
    return min(optimize.minimize(objective, start, jac=True, method="L-BFGS-B").fun for start in starts) / 1e4


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_reaches_what_a_peer_reaches(seed) -> None:
    rng = np.random.default_rng(seed)
    losses = PAPER.loss(N, D) * np.exp(0.01 * rng.standard_t(3, len(N)))
    fit = fit_chinchilla(N, D, losses)
    ours = special.huber(1e-3, fit.residuals).sum()
    assert ours <= by_many_starts(N, D, losses, 1e-3) * (1 + 1e-6)
    np.testing.assert_allclose(fit.fitted, np.log(fit.law.loss(N, D)), rtol=1e-9)


@settings(max_examples=30)
@given(laws)
@example(ChinchillaLaw(E=0.0, A=66.0, alpha=0.75, B=1.0, beta=1.0))  # columns that are all but alike
def test_any_law_is_found_again(law) -> None:
    losses = law.loss(N, D)
    fit = fit_chinchilla(N, D, losses)
    np.testing.assert_allclose(fit.law.loss(N, D), losses, rtol=1e-4)


def test_without_a_floor_there_is_none() -> None:
    fit = fit_chinchilla(N, D, PAPER.loss(N, D), floor=False)
    assert fit.law.E == 0
    assert "E" not in fit.identified
    assert fit_chinchilla(N, D, PAPER.loss(N, D)).identified == dict.fromkeys(("alpha", "A", "beta", "B", "E"), True)


def test_one_bad_run_does_not_bend_it() -> None:
    losses = PAPER.loss(N, D)
    losses[5] *= 1.2
    robust, squares = (fit_chinchilla(N, D, losses, delta=delta) for delta in (1e-3, 10.0))
    ahead = float(PAPER.loss(1e10, 1e12))
    assert float(robust.law.loss(1e10, 1e12)) == pytest.approx(ahead, rel=2e-3)
    assert abs(float(squares.law.loss(1e10, 1e12)) / ahead - 1) > 0.01


def test_a_regression_of_logarithms() -> None:
    rng = np.random.default_rng(0)
    x = np.geomspace(1e6, 1e8, 9)
    losses = 4 * (x / 1e6) ** -0.08 * np.exp(0.01 * rng.standard_normal(9))
    slope, height = np.polyfit(np.log(x), np.log(losses), 1)
    law = fit_power_law(x, losses).law
    assert law.alpha == pytest.approx(-slope, rel=1e-6)
    assert math.log(law.scale) * law.alpha == pytest.approx(height, rel=1e-6)


@settings(max_examples=30)
@given(st.floats(0.04, 1), st.floats(0.5, 3), st.just(0.0) | st.floats(0.1, 2))
def test_any_power_law_is_found_again(alpha, height, floor) -> None:
    law = PowerLaw(alpha=alpha, scale=1e7 * height ** (1 / alpha), floor=floor)
    x = np.geomspace(1e6, 1e8, 7)
    fit = fit_power_law(x, law.loss(x), floor=floor > 0)
    # A floor and a small exponent say nearly the same, so the last digits take long.
    np.testing.assert_allclose(fit.law.loss(x), law.loss(x), rtol=5e-4)
    assert float(law.needed(float(law.loss(3e9)))) == pytest.approx(3e9, rel=1e-4)


@pytest.mark.parametrize(("floor", "points"), [(False, 6), (True, 12)])
def test_intervals_hold_what_they_say(floor, points) -> None:
    x, law = np.geomspace(1e6, 1e8, points), PowerLaw(alpha=0.1, scale=1e13, floor=float(floor))
    inside = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        fit = fit_power_law(x, law.loss(x) * np.exp(0.01 * rng.standard_normal(points)), floor=floor)
        value, (low, high) = fit.extrapolate(1e9)
        inside.append(low <= float(law.loss(1e9)) * np.exp(0.01 * rng.standard_normal()) <= high)
        assert low <= value <= high
        narrow = fit.interval(lambda one: float(one.loss(1e9)), level=0.5).interval
        assert low < narrow[0] < narrow[1] < high
    # 90 % of 6; fewer than 4 would happen once in 60 times.
    assert sum(inside) >= 4
    with pytest.raises(ValueError, match="level must be > 0 and < 1, got 1"):
        fit.interval(lambda one: 1.0, level=1)


@pytest.mark.data
def test_published_runs_predict_the_largest_ones(shared_data) -> None:
    lines = (shared_data("scaling_runs") / "runs.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    inside, errors = [], []
    for corpus in ("c4_original", "rpj"):
        mine = [row for row in rows if row["dataset"] == corpus]
        size, tokens = (np.array([float(row[name]) for row in mine]) for name in ("params_no_embed", "tokens"))
        losses = np.array([row["losses"]["c4_val"]["loss"] for row in mine])
        seen = size < 1e9
        fit = fit_chinchilla(size[seen], tokens[seen], losses[seen])
        assert fit.mape < 1.6
        # 3.7 to 18.6 times the largest size that was fitted.
        for n, d, loss in zip(size[~seen], tokens[~seen], losses[~seen], strict=True):
            value, (low, high) = fit.extrapolate(n, d)
            errors.append(abs(value / loss - 1))
            inside.append(low <= loss <= high)
    assert len(errors) == 6
    assert np.mean(errors) < 0.025
    assert max(errors) < 0.05
    assert sum(inside) >= 5


@pytest.mark.parametrize(
    ("act", "error", "fragment"),
    [
        (lambda: fit_chinchilla(N[:8] * 0 + 1e7, D[:8], N[:8]), NotReady, "alpha and A are not identified: .* got 1"),
        (lambda: fit_chinchilla(N, D * 0 + 1e9, N), NotReady, "beta and B are not identified: .* 3 or more numbers of"),
        (lambda: fit_chinchilla(N[:5], [1e8, 1e9, 1e10, 1e8, 1e9], N[:5]), NotReady, "6 or more runs, got 5"),
        (lambda: fit_chinchilla([1e6, 2e6, 3e6] * 2, [2e7, 4e7, 6e7] * 2, [3.0] * 6), NotReady,
         "not identified apart: every run has 20 tokens a parameter"),
        (lambda: fit_chinchilla(N, D[:-1], N), ValueError, "D and losses must be series of one length"),
        (lambda: fit_chinchilla(N, D, -N), ValueError, "losses must be > 0 and finite"),
        (lambda: fit_chinchilla(N, D, N, delta=0), ValueError, "delta must be > 0, got 0"),
        (lambda: fit_power_law([1, 2], [3, 2]), NotReady, "alpha and scale are not identified: .* got 2"),
        (lambda: fit_power_law([1, 2, 3], [3, 2, 1.9], floor=True), NotReady, "floor is not identified: .* 4 or more"),
        (lambda: fit_power_law([1, 2, 0], [3, 2, 1]), ValueError, "fit_power_law: x must be > 0 and finite, got 0"),
        (lambda: ChinchillaLaw(E=-1, A=1, alpha=1, B=1, beta=1), ValueError, "E must be >= 0 and finite, got -1"),
        (lambda: ChinchillaLaw(E=1, A=1, alpha=0, B=1, beta=1), ValueError, "alpha must be > 0 and finite, got 0"),
        (lambda: PowerLaw(alpha=-1, scale=1), ValueError, "PowerLaw: alpha must be > 0 and finite, got -1"),
        (lambda: PowerLaw(alpha=1, scale=1, floor=math.inf), ValueError, "floor must be >= 0 and finite, got inf"),
        (lambda: PAPER.loss(0, 1), ValueError, "N must be > 0, got 0"),
        (lambda: PAPER.plan(), ValueError, "got none"),
        (lambda: PAPER.plan(loss=2, compute=1), ValueError, "got loss, compute"),
        (lambda: PAPER.plan(size=1, loss=2, tokens=1), ValueError, "got loss, size, tokens"),
        (lambda: PAPER.plan(tokens=3), ValueError, "got tokens"),
        (lambda: PAPER.plan(compute=0), ValueError, "compute must be > 0 and finite, got 0"),
    ],
)  # fmt: skip
def test_refuses(act, error, fragment) -> None:
    with pytest.raises(error, match=fragment):
        act()
