from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import interpolate, optimize

from tutelage.forecast import clean_spikes, exp_forecast
from tutelage.forecast.exponential import is_usable

STEPS = np.arange(100.0)
CLEAN = 1 + 2 * np.exp(-0.02 * STEPS)
SPIKED = CLEAN.copy()
SPIKED[10] += 5
SPIKED[30] += 3


def noisy(seed: int, points: int, noise: float, decay: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 1 + 2 * np.exp(-decay * np.arange(points)) + rng.normal(scale=noise, size=points)


# --- exact values ---------------------------------------------------------------------------------------------------


def test_noise_free_exponential_without_cleaning():
    forecast = exp_forecast(CLEAN, 1000, clean=False)
    assert forecast.a == pytest.approx(2.0, abs=1e-5)
    assert forecast.b == pytest.approx(-0.02, abs=1e-7)
    assert forecast.c == pytest.approx(0.9999996, abs=1e-7)
    assert forecast.value == pytest.approx(0.9999996, abs=1e-7)
    assert forecast.rmse == pytest.approx(0.0, abs=1e-6)
    assert forecast.n_dropped == 0


def test_reference_pipeline_on_the_noise_free_series_is_off_by_15_percent():
    assert len(clean_spikes(CLEAN, smoothing="reference")) == 80
    assert exp_forecast(CLEAN, 1000, smoothing="reference").value == pytest.approx(0.85136, abs=1e-5)


def test_noise_pipeline_on_the_noise_free_series_is_not():
    assert exp_forecast(CLEAN, 1000).value == pytest.approx(1.0, abs=1e-5)


def test_spiked_series_in_all_three_ways():
    assert exp_forecast(SPIKED, 1000, clean=False).value == pytest.approx(0.87664, abs=1e-5)
    reference = exp_forecast(SPIKED, 1000, smoothing="reference")
    assert reference.value == pytest.approx(0.84672, abs=1e-5)
    assert reference.n_dropped == 22
    repaired = exp_forecast(SPIKED, 1000)
    assert repaired.value == pytest.approx(1.0, abs=1e-5)
    assert not {10, 30} & set(clean_spikes(SPIKED).tolist())


def test_a_constant_series_stays_where_it_is():
    forecast = exp_forecast(np.full(20, 3.25), 500)
    assert (forecast.value, forecast.a, forecast.rmse) == (3.25, 0.0, 0.0)


def test_parameters_and_value_are_one_curve():
    forecast = exp_forecast(noisy(0, 60, 0.05, 0.05), 400)
    assert forecast.value == pytest.approx(forecast.a * math.exp(forecast.b * 400) + forecast.c, abs=1e-9)


# --- agreement ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_unclean_fit_agrees_with_scipy_curve_fit(seed: int):
    series = noisy(seed, 120, 0.02, 0.03)
    forecast = exp_forecast(series, 600, clean=False)
    t = np.arange(120.0)
    (a, rate, c), _ = optimize.curve_fit(lambda t, a, rate, c: a * np.exp(-rate * t) + c, t, series, p0=(2, 0.05, 1))
    # The simplex stops at a tolerance of 1e-5 in log rate.
    assert (forecast.a, forecast.b, forecast.c) == pytest.approx((a, -rate, c), rel=1e-3)


def slow_reference(series: np.ndarray, horizon: float) -> tuple[list[int], float]:
    """The authors' pipeline, one point at a time, by a linear solver instead of the closed form."""
    bound = int((len(series) - 1) * 0.5)
    kept = list(range(len(series)))
    for _ in range(10):
        fitted = interpolate.UnivariateSpline(kept, series[kept], k=2)(kept)
        ranked = sorted(range(len(kept)), key=lambda place: abs(series[kept[place]] - fitted[place]))
        dropped = [place for place in ranked[len(kept) - round(len(kept) * 0.03) :] if place < bound]
        kept = [index for place, index in enumerate(kept) if place not in dropped]
    t = np.arange(len(series), dtype=float)
    smooth = interpolate.UnivariateSpline(kept, series[kept], k=2)(t)

    def solve(beta: float) -> tuple[np.ndarray, float]:
        design = np.stack([np.exp(-np.exp(beta) * t), np.ones_like(t)], axis=1)
        solution = np.linalg.lstsq(design, smooth, rcond=None)[0]
        return solution, float(((design @ solution - smooth) ** 2).sum())

    beta = optimize.minimize(lambda x: solve(x[0])[1], [0.0], method="Nelder-Mead", tol=1e-5).x[0]
    a, c = solve(beta)[0]
    return kept, a * np.exp(-np.exp(beta) * horizon) + c


@pytest.mark.parametrize("points", [17, 40, 100, 150])
def test_reference_mode_agrees_with_a_slow_transcription(points: int):
    series = noisy(points, points, 0.1, 3 / points)
    kept, value = slow_reference(series, 10 * points)
    assert clean_spikes(series, smoothing="reference").tolist() == kept
    assert exp_forecast(series, 10 * points, smoothing="reference").value == pytest.approx(value, rel=1e-6)


# --- properties -----------------------------------------------------------------------------------------------------


@given(
    a=st.floats(0.1, 5),
    c=st.floats(-3, 10),
    decay=st.floats(0.02, 0.5),
    points=st.integers(40, 120),
    mode=st.sampled_from(["noise", None]),
)
def test_a_noise_free_exponential_is_recovered(a: float, c: float, decay: float, points: int, mode: str | None):
    series = a * np.exp(-decay * np.arange(points)) + c
    forecast = exp_forecast(series, 1000, clean=mode is not None)
    assert forecast.value == pytest.approx(c, abs=1e-3)
    assert forecast.b < 0


@given(shift=st.floats(-5, 5), seed=st.integers(0, 100))
def test_a_shift_of_the_losses_shifts_the_forecast(shift: float, seed: int):
    series = noisy(seed, 60, 0.05, 0.05)
    plain, shifted = exp_forecast(series, 300), exp_forecast(series + shift, 300)
    assert shifted.value - shift == pytest.approx(plain.value, abs=1e-4)
    assert shifted.n_dropped == plain.n_dropped


@given(
    place=st.integers(3, 45), noise=st.floats(0.02, 0.2), seed=st.integers(0, 1000), sign=st.sampled_from([-1.0, 1.0])
)
def test_a_spike_in_the_first_half_is_dropped_and_one_in_the_second_is_not(
    place: int, noise: float, seed: int, sign: float
):
    series = noisy(seed, 100, noise, 0.04)
    series[place] += sign * 20 * noise
    series[99 - place] += sign * 20 * noise
    kept = set(clean_spikes(series).tolist())
    assert place not in kept
    assert 99 - place in kept
    assert 99 - place not in set(clean_spikes(series, scope=1.0).tolist())


@given(seed=st.integers(0, 1000), noise=st.floats(0.01, 0.5), points=st.integers(16, 200))
def test_without_a_spike_almost_nothing_is_dropped(seed: int, noise: float, points: int):
    series = noisy(seed, points, noise, 3 / points)
    kept = clean_spikes(series)
    assert np.all(np.diff(kept) > 0)
    assert points - len(kept) <= max(2, 0.05 * points)


@given(seed=st.integers(0, 100))
def test_rounds_and_share_bound_what_is_dropped(seed: int):
    series = np.random.default_rng(seed).standard_cauchy(80)
    assert 80 - len(clean_spikes(series, rounds=2, frac=0.05)) <= 2 * 4
    assert 80 - len(clean_spikes(series, rounds=1, frac=1 / 80)) <= 1
    assert len(clean_spikes(series, rounds=0)) == 80
    # Only the first half may lose points.
    assert set(range(40, 80)) <= set(clean_spikes(series).tolist())


# --- special cases --------------------------------------------------------------------------------------------------


def test_cleaning_improves_the_forecast_of_noisy_spiked_series():
    raw, cleaned = [], []
    for seed in range(30):
        series = noisy(seed, 100, 0.03, 0.03)
        series[np.random.default_rng(seed).choice(45, 3, replace=False) + 2] += 2
        raw.append(abs(exp_forecast(series, 1000, clean=False).value - 1))
        cleaned.append(abs(exp_forecast(series, 1000).value - 1))
    assert np.mean(cleaned) < 0.5 * np.mean(raw)


def test_the_threshold_is_four_deviations_of_the_noise():
    dropped = {5.8: 0, 2.5: 0}
    for seed in range(60):
        for height in dropped:
            series = noisy(seed, 100, 0.1, 0.03)
            series[20] = 1 + 2 * np.exp(-0.03 * 20) + height * 0.1
            dropped[height] += 20 not in clean_spikes(series)
    assert dropped[5.8] >= 45
    assert dropped[2.5] <= 15


def test_validation_rule_drops_the_single_largest():
    assert sorted(set(range(100)) - set(clean_spikes(SPIKED, frac=1 / 100, rounds=1).tolist())) == [10]


def test_points_that_are_not_finite_are_left_out_and_counted():
    series = CLEAN.copy()
    series[[3, 50, 99]] = [math.nan, math.inf, 1e200]
    forecast = exp_forecast(series, 1000, clean=False)
    assert forecast.n_dropped == 3
    assert forecast.value == pytest.approx(1.0, abs=1e-5)
    assert not {3, 50, 99} & set(clean_spikes(series).tolist())


def test_short_series_in_reference_mode_keep_their_first_half():
    assert len(clean_spikes(noisy(0, 16, 0.1, 0.2), smoothing="reference")) == 16


@pytest.mark.parametrize("smoothing", ["noise", "reference"])
def test_the_shortest_series_loses_no_point(smoothing: str):
    series = np.where(np.arange(8) == 2, 9.0, 1.0)
    assert clean_spikes(series, smoothing=smoothing, frac=0.5).tolist() == list(range(8))
    assert exp_forecast(series, 8, smoothing=smoothing).n_dropped == 0


def test_nothing_finite_keeps_nothing():
    assert clean_spikes([math.nan] * 9).tolist() == []


def test_a_straight_fall_is_continued_as_a_line_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecast = exp_forecast(10 - 0.01 * np.arange(50.0), 100)
    assert forecast.value == pytest.approx(9.0, abs=1e-2)


@pytest.mark.parametrize(("loss", "usable"), [(1.5, True), (-1e99, True), (1e101, False), (math.nan, False)])
def test_is_usable(loss: float, usable: bool):
    assert is_usable(loss) is usable
    assert is_usable(-math.inf) is False


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (lambda: exp_forecast(CLEAN[:7], 100), "at least 8 finite points, got 7 of 7"),
        (lambda: exp_forecast([math.nan] * 5 + [1.0] * 7, 100), "got 7 of 12"),
        (lambda: exp_forecast(CLEAN, 99), r"horizon must be >= len\(y\) \(100\), got 99"),
        (lambda: exp_forecast(CLEAN, math.nan), "horizon must be"),
        (lambda: exp_forecast(CLEAN.reshape(10, 10), 200), r"y must have one dimension, got shape \(10, 10\)"),
        (lambda: clean_spikes(CLEAN.reshape(10, 10)), "clean_spikes: y must have one dimension"),
        (lambda: clean_spikes(CLEAN, frac=0.6), r"frac must be in \[0, 0.5\], got 0.6"),
        (lambda: clean_spikes(CLEAN, frac=-0.1), "frac must be"),
        (lambda: clean_spikes(CLEAN, rounds=-1), "rounds must be >= 0, got -1"),
        (lambda: clean_spikes(CLEAN, degree=0), "degree must be 1 to 5, got 0"),
        (lambda: clean_spikes(CLEAN, degree=6), "degree must be 1 to 5, got 6"),
        (lambda: clean_spikes(CLEAN, scope=1.5), r"scope must be in \[0, 1\], got 1.5"),
        (lambda: exp_forecast(CLEAN, 200, smoothing="spline"), 'smoothing must be "noise" or "reference", got spline'),
    ],
)
def test_bad_input(call, fragment: str):
    with pytest.raises(ValueError, match=fragment):
        call()
