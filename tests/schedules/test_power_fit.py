"""Best rates out of grids of runs, and the power law through them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.schedules import PowerFit, PowerLR, TriedRate, best_rates, fit_power, from_spec, recommend

GRID = (0.0025, 0.005, 0.01, 0.02)


def tried(losses, *, batch=8.0, tokens=1e6, seed=0):
    return [TriedRate(batch=batch, tokens=tokens, rate=r, loss=loss, seed=seed) for r, loss in losses.items()]


def bowl(best, *, rates=GRID, depth=0.3):
    """A loss that is a parabola in log(rate)."""
    return {rate: 2 + depth * math.log(rate / best) ** 2 for rate in rates}


@given(best=st.floats(0.0036, 0.0141), depth=st.floats(1e-3, 10), ratio=st.floats(1.2, 4))
def test_the_vertex_of_a_parabola_is_found_whatever_the_grid(best, depth, ratio):
    rates = [best * ratio**power for power in (-1.4, -0.4, 0.5, 1.7)]
    (found,) = best_rates(tried(bowl(best, rates=rates, depth=depth)))
    assert found.rate == pytest.approx(best, rel=1e-6)
    assert (found.best_tried, found.edge, found.seeds) == (rates[1], "", (0,))


def test_the_best_of_a_setting():
    (found,) = best_rates(tried(bowl(0.008)))
    assert found.rate == pytest.approx(0.008, rel=1e-12)
    assert found.best_tried == 0.01
    assert found.loss == found.tried[0.01] == 2 + 0.3 * math.log(0.01 / 0.008) ** 2
    assert list(found.tried) == list(GRID)
    assert found.row == (8.0, 1e6, found.rate)
    (plain,) = best_rates(tried(bowl(0.008)), refine=False)
    assert plain.rate == 0.01


@given(losses=st.lists(st.floats(1, 5), min_size=3, max_size=6))
def test_the_refined_rate_never_leaves_the_midpoints_of_its_neighbours(losses):
    rates = [0.001 * 2**power for power in range(len(losses))]
    (found,) = best_rates(tried(dict(zip(rates, losses, strict=True))))
    assert found.best_tried / math.sqrt(2) * (1 - 1e-12) <= found.rate <= found.best_tried * math.sqrt(2) * (1 + 1e-12)
    assert found.loss == min(losses)


def test_the_ends_of_a_grid_are_bounds_and_said_so():
    (low,) = best_rates(tried({0.01: 1.0, 0.02: 1.1, 0.04: 1.3}))
    assert (low.rate, low.edge) == (0.01, "lowest")
    (high,) = best_rates(tried({0.01: 1.3, 0.02: 1.1, 0.04: 1.0}))
    assert (high.rate, high.edge) == (0.04, "highest")


def test_plateaus_and_ties_keep_the_rate_tried():
    (flat,) = best_rates(tried({0.01: 1.0, 0.02: 1.0, 0.04: 1.0}))
    assert (flat.rate, flat.edge) == (0.01, "lowest")
    (tie,) = best_rates(tried({0.01: 1.2, 0.02: 1.0, 0.04: 1.0, 0.08: 2.0}))
    assert tie.best_tried == 0.02
    assert tie.rate == pytest.approx(0.02 * math.sqrt(2))


@pytest.mark.parametrize("lost", [None, math.nan, math.inf, -math.inf])
def test_a_rate_that_diverged_is_out_and_bends_no_parabola(lost):
    (found,) = best_rates(tried({0.01: 1.2, 0.02: 1.0, 0.04: lost}))
    assert (found.rate, found.edge) == (0.02, "")
    assert found.tried[0.04] == math.inf
    one_seed = tried({0.01: 1.2, 0.02: 1.0, 0.04: 0.5}) + tried({0.01: 1.2, 0.02: 1.0, 0.04: lost}, seed=1)
    assert best_rates(one_seed)[0].best_tried == 0.02


def test_means_are_over_the_seeds_that_all_rates_share():
    runs = tried({0.01: 1.0, 0.02: 2.0, 0.04: 3.0}) + tried({0.01: 3.0, 0.02: 1.0, 0.04: 2.5}, seed=1)
    runs += tried({0.04: 0.0}, seed=2)
    (found,) = best_rates(runs)
    assert found.seeds == (0, 1)
    assert found.tried == {0.01: 2.0, 0.02: 1.5, 0.04: 2.75}
    assert best_rates(reversed(runs)) == [found]


def test_settings_are_apart_and_in_order():
    runs = [run for batch, n in ((32, 1e6), (8, 2e6), (8, 1e6)) for run in tried(bowl(0.01), batch=batch, tokens=n)]
    assert [found.row[:2] for found in best_rates(runs)] == [(8, 1e6), (8, 2e6), (32, 1e6)]


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "^best_rates: runs must hold at least one run, got none.$"),
        (
            tried({0.01: 1.0}),
            r"^best_rates: batch 8, 1e\+06 tokens: must have runs at 2 or more rates, got one \(0.01\)",
        ),
        (tried({0.01: 1.0, 0.02: 1.0}) + tried({0.01: 2.0}), "rate 0.01 has two runs of seed 0; keep one"),
        (tried({0.01: 1.0}) + tried({0.02: 1.0}, seed=1), "its rates share no seed; run all of them on the same ones"),
        (tried({0.01: None, 0.02: math.nan}), r"every rate diverged \(0.01, 0.02\); try lower ones"),
        (tried({0.0: 1.0, 0.02: 1.0}), "^best_rates: rate must be a finite number > 0, got 0.0.$"),
        (tried({0.01: 1.0, 0.02: 1.0}, batch=-1), "^best_rates: batch must be a finite number > 0, got -1.$"),
        (tried({0.01: 1.0, 0.02: 1.0}, tokens=math.inf), "^best_rates: tokens must be a finite number > 0, got inf.$"),
    ],
)
def test_bad_grids(runs, message):
    with pytest.raises(ValueError, match=message):
        best_rates(runs)


def test_from_a_grid_to_the_schedule():
    runs = [
        run
        for examples in (8, 32)
        for n in (1e5, 4e5, 16e5)
        for run in tried(
            bowl(3.0 * examples / 32 * n**-0.4, rates=[2**k * 1e-3 for k in range(9)]), batch=examples / 32, tokens=n
        )
    ]
    fit = fit_power([best.row for best in best_rates(runs)])
    assert (fit.a, fit.b, fit.batch_exponent) == pytest.approx((3.0, -0.4, 1.0), rel=1e-9)
    assert fit.highest == pytest.approx(3.0 * 1e5**-0.4)  # the larger batch, the shorter run
    assert fit.spec() == f"power:a=3,b=-0.4,peak={fit.highest:.6g}"
    spec = fit.spec(peak=0.05)
    schedule = from_spec(f"{spec},decay=0.2", total_steps=2000, tokens_per_step=1024)
    assert isinstance(schedule, PowerLR)
    # An update of 1,024 tokens is a quarter of the paper's sequence, which is what the table's batches counted.
    assert schedule.at_tokens(1e6) == pytest.approx(fit.recommend(0.25, 1e6), rel=1e-5)
    assert schedule.peak == 0.05


def test_no_spec_where_there_is_no_schedule():
    rising = fit_power([(8, n, 8 * n**0.1) for n in (1e5, 1e6, 1e7)])
    with pytest.raises(ValueError, match=r"^PowerFit\.spec: b must be < 0, got 0\.09"):
        rising.spec(peak=0.02)
    with pytest.raises(ValueError, match=r"^recommend: b must be < 0"):
        rising.recommend(8, 1e6)
    falling = fit_power([(8, n, 8 * n**-0.5) for n in (1e5, 1e6, 1e7)])
    with pytest.raises(ValueError, match=r"^PowerFit\.spec: peak must be > 0, got 0\.$"):
        falling.spec(peak=0)
    assert isinstance(falling, PowerFit)


@given(a=st.floats(0.1, 10), b=st.floats(-1.5, -0.1), seed=st.integers(0, 1000))
def test_fit_recovers_the_law(a, b, seed):
    rng = np.random.default_rng(seed)
    table = [(batch, n, a * batch * n**b) for batch in (8, 16, 32) for n in 10 ** rng.uniform(5, 9, size=4)]
    fit = fit_power(table)
    assert (fit.a, fit.b, fit.r2) == pytest.approx((a, b, 1.0), rel=1e-6)
    assert fit.batch_exponent == pytest.approx(1.0, abs=1e-6)
    assert (fit.rows, fit.confidence) == (12, 0.9)
    assert fit.recommend(64, 1e7) == pytest.approx(a * 64 * 1e7**b, rel=1e-6)


def test_fit_against_an_independent_regression():
    rng = np.random.default_rng(7)
    batch = np.repeat([8.0, 32.0], 6)
    tokens = np.tile(np.geomspace(1e5, 1e8, 6), 2)
    rate = 3.0 * batch**0.8 * tokens**-0.4 * np.exp(rng.normal(scale=0.2, size=12))
    fit = fit_power(zip(batch, tokens, rate, strict=True), confidence=0.95)
    x = np.column_stack([np.ones(12), np.log(tokens)])
    y = np.log(rate / batch)
    (intercept, slope), residual, *_ = np.linalg.lstsq(x, y, rcond=None)
    errors = np.sqrt(np.diag(np.linalg.inv(x.T @ x)) * residual[0] / 10)
    reach = 2.2281388519649385  # Student's t, 10 degrees of freedom, 97.5 %
    assert (fit.a, fit.b) == pytest.approx((math.exp(intercept), slope), rel=1e-10)
    assert fit.b_interval == pytest.approx((slope - reach * errors[1], slope + reach * errors[1]), rel=1e-9)
    low, high = math.exp(intercept - reach * errors[0]), math.exp(intercept + reach * errors[0])
    assert fit.a_interval == pytest.approx((low, high), rel=1e-9)
    assert fit.r2 == pytest.approx(1 - residual[0] / ((y - y.mean()) ** 2).sum(), rel=1e-10)
    both = np.column_stack([np.ones(12), np.log(batch), np.log(tokens)])
    coefficients, residual, *_ = np.linalg.lstsq(both, np.log(rate), rcond=None)
    assert fit.batch_exponent == pytest.approx(coefficients[1], rel=1e-9)
    error = math.sqrt(np.linalg.inv(both.T @ both)[1, 1] * residual[0] / 9)
    reach = 2.2621571628540993 * error  # Student's t, 9 degrees of freedom, 97.5 %
    assert fit.batch_interval == pytest.approx((coefficients[1] - reach, coefficients[1] + reach), rel=1e-9)


def test_one_batch_size_has_no_batch_exponent():
    fit = fit_power([(8, n, 8 * n**-0.5) for n in (1e5, 1e6, 1e7)])
    assert fit.batch_exponent is fit.batch_interval is None
    three = fit_power([(8, 1e5, 0.1), (32, 1e5, 0.2), (8, 1e6, 0.05)])
    assert three.batch_exponent == pytest.approx(0.5)
    assert three.batch_interval is None
    assert fit.b == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([(8, 1e6, 0.1)] * 2, r"must be 3 or more rows of \(batch, tokens, best_rate\), got shape \(2, 3\)"),
        ([(8, 1e6)] * 3, r"got shape \(3, 2\)"),
        ([], "3 or more rows"),
        ([(8, 1e6, 0.1)] * 3, "^fit_power: table must hold at least two numbers of tokens"),
        (
            [(8, 1e6, 0.1), (8, 1e7, 0.0), (8, 1e8, 0.1)],
            r"row 1 must hold finite numbers > 0, got \[8.0, 10000000.0, 0.0\]",
        ),
        ([(8, 1e6, 0.1), (8, 1e7, 0.1), (8, math.nan, 0.1)], "row 2 must hold finite numbers"),
    ],
)
def test_bad_tables(table, message):
    with pytest.raises(ValueError, match=message):
        fit_power(table)


def test_bad_confidence_and_recommendation():
    rows = [(8, 1e6, 0.1), (8, 1e7, 0.05), (8, 1e8, 0.02)]
    for confidence in (0.0, 1.0):
        with pytest.raises(ValueError, match=f"fit_power: confidence must be > 0 and < 1, got {confidence}"):
            fit_power(rows, confidence=confidence)
    for arguments, message in (
        ((0, 1e9, {}), "recommend: batch must be > 0, got 0"),
        ((8, 0, {}), "recommend: tokens must be > 0, got 0"),
        ((8, 1e9, {"a": 0}), "recommend: a must be > 0"),
        ((8, 1e9, {"b": 0}), "recommend: b must be < 0, got 0"),
        ((8, 1e9, {"peak": 0}), "recommend: peak must be > 0"),
    ):
        batch, tokens, keywords = arguments
        with pytest.raises(ValueError, match=message):
            recommend(batch, tokens, **keywords)
    assert recommend(2, 16.0, a=3.0, b=-0.5) == 1.5
