from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.forecast.curves import LAW, made, published

from tutelage.errors import ConfigError, UnknownPart
from tutelage.forecast import (
    Annealing,
    LastValue,
    LossCurve,
    StepsPower,
    back_tests,
    forecast,
    held_out_error,
    relative_noise,
)


def test_a_run_that_the_law_describes_is_forecast_to_its_end():
    curve = made("cosine", noise=0.002)
    found = forecast(curve.until(2400), law="annealing:lam=0.99", steps=[4000])
    truth = float(LAW.predict(curve.rates, [4000])[0])
    assert found.mean[0] == pytest.approx(truth, rel=0.01)
    assert found.low[0] < truth < found.high[0]
    assert found.drift == 0


def test_a_schedule_that_was_not_run():
    curves = [made("cosine"), made("constant")]
    wished = made("wsd")
    found = forecast(curves, law="annealing:lam=0.99", rates=wished.rates, steps=wished.steps)
    np.testing.assert_allclose(found.mean, wished.losses, rtol=1e-5)


def test_an_annealing_nobody_saw_widens_the_interval():
    curve = made("wsd", noise=0.001)
    found = forecast(curve.until(2400), law="annealing", steps=[3000, 4000])
    width = np.log(found.high / found.low)
    plain = forecast(made("constant", noise=0.001).until(2400), law="annealing", steps=[3000, 4000])
    assert found.fit.assumed
    assert width[1] > 1.5 * np.log(plain.high / plain.low)[1]
    assert width[0] == pytest.approx(np.log(plain.high / plain.low)[0], rel=1e-6)


def test_too_few_points_to_test_are_worth_twelve_percent_an_e_fold():
    steps = np.array([100, 200, 300, 400])
    curve = LossCurve.of(steps=steps, losses=2 + 3 * steps**-0.5, rates=np.full(4000, 1e-3))
    at = np.array([1000, 2000, 4000])
    found = forecast(curve, law="power", steps=at)
    assert found.back_tests == ()
    # A law that fits without noise, and that no schedule can surprise: nothing else is in the interval.
    half = np.log(found.high / found.mean)
    np.testing.assert_allclose(half, 1.2815516 * 0.12 * np.log(at / 400), rtol=1e-3)
    assert any("Too few points for a back-test" in note for note in found.notes)


@given(st.floats(0.1, 0.98))
def test_a_higher_level_is_a_wider_interval(level):
    curve = made("cosine", noise=0.003).until(2000)
    narrow, wide = (forecast(curve, law="power", level=one, steps=[4000]) for one in (level, min(0.99, level + 0.01)))
    assert wide.low[0] <= narrow.low[0] <= narrow.mean[0] <= narrow.high[0] <= wide.high[0]


def test_the_drift_that_back_tests_show_is_taken_out():
    # A loss that goes on falling as a logarithm: a power law with a floor, fitted early, always ends too high.
    steps = np.arange(10, 4001, 10)
    curve = LossCurve.of(steps=steps, losses=6 - 0.3 * np.log(steps), rates=np.ones(4000))
    plain = forecast(curve.until(1000), law="power", steps=[4000])
    corrected = forecast(curve.until(1000), law="power", steps=[4000], correct=True)
    truth = curve.losses[-1]
    assert corrected.drift > 0
    assert abs(corrected.mean[0] - truth) < 0.5 * abs(plain.mean[0] - truth)
    assert plain.drift == 0


def test_back_tests_leave_out_starts_that_are_too_short():
    curve = made("constant", total=400, every=20)
    tests = back_tests([curve], Annealing())
    assert [test.cut for test in tests] == [200, 260, 320]
    assert [test.cut for test in back_tests([curve.until(240)], Annealing())] == [192]
    assert back_tests([curve.until(160)], Annealing()) == []
    assert all(test.points.sum() == (curve.steps > test.cut).sum() for test in tests)


def test_auto_takes_the_law_of_rates_where_rates_matter():
    curve = made("cosine", noise=0.002)
    found = forecast(curve.until(2800))
    assert found.fit.name in ("annealing", "multi-power")
    assert found.scores["power"] > found.scores[found.fit.name]


def test_auto_takes_what_few_points_allow():
    curve = made("constant", total=400, every=40)
    found = forecast(curve.until(160), steps=[400])
    assert found.fit.name == "power"
    assert "Too few points for a back-test" in " ".join(found.notes)


def test_far_forecasts_say_so():
    found = forecast(made("constant").until(600), law="power", steps=[4000])
    assert "6.7 times as far" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("losses", "said"), [(np.full(100, 3.0), "does not fall"), (np.linspace(3, 3.4, 100), "does not fall")]
)
def test_a_loss_that_does_not_fall_stays_where_it_is(losses, said):
    curve = LossCurve.of(steps=np.arange(1, 101), losses=losses, rates=np.ones(200))
    found = forecast(curve, steps=[200])
    assert found.fit.name == "last-value"
    assert found.mean[0] == pytest.approx(float(np.median(losses[-5:])))
    assert said in " ".join(found.notes)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"law": "anealing"}, UnknownPart, 'Did you mean "annealing"'),
        ({"law": "annealing:lamda=1"}, ConfigError, "lamda"),
        ({"level": 1.0}, ValueError, r"level must be in \(0, 1\), got 1.0"),
        ({"steps": [0]}, ValueError, "steps must be 1 to 4000"),
        ({"steps": [5000]}, ValueError, "steps must be 1 to 4000"),
        ({"rates": [1.0, -1.0]}, ValueError, "rates must be finite"),
        ({"rates": [1.0, 1.0], "warmup": 2}, ValueError, "warmup must be 0 to 1, got 2"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        forecast(made("cosine"), **arguments)


def test_no_curves():
    with pytest.raises(ValueError, match="at least one curve"):
        forecast([])


# --- errors on what was held out ------------------------------------------------------------------------------------


def test_a_smooth_curve_is_compared_point_by_point():
    curve = made("cosine")
    error = held_out_error(curve.losses * 1.01, curve)
    assert error.window == 1
    assert error.mape == pytest.approx(1.0)
    assert error.raw_mape == pytest.approx(1.0)
    assert error.final_abs_error == pytest.approx(0.01 * curve.losses[-1])


@given(st.floats(0.003, 0.03), st.integers(0, 5))
def test_noise_is_averaged_out(noise, seed):
    truth = made("constant", every=1)
    noisy = made("constant", every=1, noise=noise, seed=seed)
    assert relative_noise(noisy) == pytest.approx(noise, rel=0.15)
    error = held_out_error(truth.losses, noisy)
    assert error.raw_mape == pytest.approx(100 * noise * np.sqrt(2 / np.pi), rel=0.1)
    assert error.mape < 0.35 * error.raw_mape
    assert held_out_error(truth.losses * 1.02, noisy).mape == pytest.approx(2.0, abs=0.3)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="must have the curve's 200 points"):
        held_out_error(np.ones(3), made("cosine"))


# --- published curves -----------------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("name", ["gpt2_124m_llmc_adamw_cosine", "gpt2_124m_adam_wsd", "gpt2_124m_muon_wsd"])
def test_the_second_half_of_noisy_curves(shared_data, name):
    from tutelage.training.curve_files import read_loss_curve

    curve = read_loss_curve(shared_data("curves_gpt2") / f"{name}.csv.gz").curve
    cut = curve.steps[-1] // 2
    rest = curve.where(curve.steps > cut)
    found = forecast(curve.until(cut), steps=rest.steps)
    error = held_out_error(found.mean, rest)
    assert error.mape <= 0.8
    assert error.final_abs_error <= 0.02
    for baseline in (LastValue(), StepsPower()):
        other = baseline.fit([curve.until(cut)]).predict(rest.rates, rest.steps, warmup=rest.warmup)
        assert error.mape < held_out_error(other, rest).mape


@pytest.mark.data
def test_four_of_five_published_losses_lie_in_the_interval(shared_data):
    inside = []
    for size in ("25M", "100M"):
        folder = shared_data("curves_mpl") / size
        for path in sorted(folder.glob("*.csv")):
            curve = published(folder, path.stem)
            for share in (0.25, 0.5):
                cut = int(share * curve.steps[-1])
                rest = curve.where(curve.steps > cut)
                found = forecast(curve.until(cut), steps=rest.steps)
                inside.append(float(np.mean((found.low <= rest.losses) & (rest.losses <= found.high))))
    # Wider than need be, but not so wide that all of them lie in it.
    assert 0.8 <= np.mean(inside) <= 0.95
