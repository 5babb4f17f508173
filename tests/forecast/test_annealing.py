from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from tests.forecast.curves import LAW, made, published
from tests.reference.annealing_areas import areas as slow_areas

from tutelage.forecast import (
    Annealing,
    AnnealingLaw,
    LossCurve,
    from_spec,
    lr_areas,
    mean_absolute_percentage_error,
    scaled_decay,
)
from tutelage.forecast.annealing import _Problem

# The authors' example: validation losses every 1000 updates of a cosine and a constant run.
COSINE = [3.6696358, 3.3254106, 3.1908393, 3.1158533, 3.0604768, 3.020384, 2.9880967, 2.9612265, 2.9395165, 2.9195616]
COSINE += [2.9030452, 2.8881907, 2.8767889, 2.8654318, 2.8565135, 2.8489892, 2.843639, 2.8398669, 2.8380618, 2.8376071]
CONSTANT = [3.6714418, 3.325626, 3.1884103, 3.111947, 3.058354, 3.0211415, 2.9874816, 2.96082, 2.9406552, 2.9241402]
CONSTANT += [2.9054413, 2.8942103, 2.8807929, 2.8702695, 2.862175, 2.8530996, 2.8448784, 2.8383856, 2.8326995]
CONSTANT += [2.8294308]


def authors_example():
    # Their schedule counts from step 0 and warms up over 500 updates that are counted at the peak.
    place = np.arange(20_001)
    share = np.clip((place - 500) / 19_500, 0, 1)
    cosine = 2e-4 * 0.5 * (1 + np.cos(np.pi * share))
    steps = np.arange(1000, 20_001, 1000)
    for losses, rates in ((COSINE, cosine), (CONSTANT, np.full(20_001, 2e-4))):
        # One more rate at the front: index 0 of theirs is a step of its own.
        yield LossCurve.of(steps=steps + 1, losses=losses, rates=rates)


# --- areas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lam", "expected"),
    [(0, [0, 0, 0.2, 0.4, 0.6, 0.8]), (0.5, [0, 0, 0.2, 0.5, 0.85, 1.225]), (1, [0, 0, 0.2, 0.6, 1.2, 2])],
)
def test_areas_of_the_card(lam, expected):
    forward, annealed = lr_areas([1, 1, 0.8, 0.6, 0.4, 0.2], lam)
    np.testing.assert_allclose(forward, [1, 2, 2.8, 3.4, 3.8, 4], rtol=1e-14)
    np.testing.assert_allclose(annealed, expected, atol=1e-14)


def test_areas_of_a_rate_that_rises_are_negative():
    _, annealed = lr_areas([0, 0.5, 1, 1, 0.5, 0.5, 1], 0.9)
    np.testing.assert_allclose(annealed, [0, -0.5, -1.45, -2.305, -2.5745, -2.81705, -3.535345], rtol=1e-12)


def test_areas_of_the_authors_schedules():
    cosine, constant = (curve.rates for curve in authors_example())
    forward, annealed = lr_areas(cosine, 0.999)
    assert forward[-1] == pytest.approx(2.05010, abs=5e-6)
    assert annealed[-1] == pytest.approx(0.197474, abs=5e-7)
    forward, annealed = lr_areas(constant, 0.999)
    assert forward[-1] == pytest.approx(4.00020, abs=1e-9)
    assert annealed[-1] == 0


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30).filter(any), st.floats(0, 0.999))
def test_areas_equal_the_double_sums(rates, lam):
    forward, annealed = lr_areas(rates, lam)
    expected = slow_areas(rates, lam)
    np.testing.assert_allclose(forward, expected[0], atol=1e-12)
    np.testing.assert_allclose(annealed, expected[1], atol=1e-10)


@given(st.integers(1, 60), st.integers(61, 200))
def test_a_warmup_counts_at_the_rate_that_follows_it(warmup, total):
    rates = np.concatenate([np.linspace(0.1, 1, warmup), np.linspace(1, 0, total - warmup)])
    held = np.concatenate([np.ones(warmup), rates[warmup:]])
    at_peak = lr_areas(rates, 0.9, warmup=warmup, at_peak=True)
    for one, other in zip(at_peak, lr_areas(held, 0.9), strict=True):
        np.testing.assert_array_equal(one, other)
    as_run = lr_areas(rates, 0.9, warmup=warmup)
    np.testing.assert_array_equal(as_run[0], np.cumsum(rates))
    np.testing.assert_array_equal(as_run[1], at_peak[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, -1.0],), "rates must be finite and >= 0"),
        (([1.0], 1.5), r"lam must be in \[0, 1\], got 1.5"),
        (([1.0, 1.0], 0.9, 2), "warmup must be 0 to 1, got 2"),
    ],
)
def test_areas_refuse(arguments, message):
    rates, lam, warmup = (*arguments, *(0.999, 0)[len(arguments) - 1 :])
    with pytest.raises(ValueError, match=message):
        lr_areas(rates, lam, warmup=warmup)


# --- fit ------------------------------------------------------------------------------------------------------------


def test_the_authors_example():
    fit = Annealing(lam=0.999, skip=0).fit(list(authors_example()))
    law = fit.law
    # L0, A and alpha trade off, so the objective is flat: 2 parts in a thousand are the same fit.
    assert (law.L0, law.A, law.C, law.alpha) == pytest.approx((2.6278, 0.42967, 0.41077, 0.54985), rel=2e-3)
    assert fit.r2 == pytest.approx(0.99963, abs=2e-5)
    assert fit.mape == pytest.approx(0.0736, abs=5e-4)


@pytest.mark.parametrize("lam", [0.99, "free"])
def test_a_curve_that_the_law_made_is_recovered(lam):
    fit = Annealing(lam=lam).fit([made("cosine"), made("wsd")])
    for name, value in LAW.params().items():
        assert fit.law.params()[name] == pytest.approx(value, rel=1e-3), name
    assert all(fit.identified.values())
    assert fit.notes == ()


def test_no_start_of_a_grid_search_ends_lower():
    # The reference procedure: L-BFGS-B from 54 starts. Ours must reach at least as low an objective.
    curves = [made("cosine", every=100, noise=0.003), made("constant", every=100, noise=0.003, seed=1)]
    fit = Annealing(lam=0.99, skip=0).fit(curves)
    problem = _Problem(curves)
    residuals = problem.residuals(0.99)

    def objective(values):
        found = np.abs(residuals(values)[0])
        return float(np.sum(np.where(found < 1e-3, found**2 / 2, 1e-3 * found - 5e-7)))

    best = math.inf
    for floor in (0.1, 2.1):
        for height in (1.0, 11.5):
            for alpha in (0.0, 0.4, 0.8):
                start = [floor, height, alpha, 0.1]
                bounds = [(0, None)] * 4
                found = optimize.minimize(lambda v: 1e4 * objective(v), start, method="L-BFGS-B", bounds=bounds)
                best = min(best, objective(found.x))
    assert fit.objective <= best * (1 + 1e-6)


@given(st.floats(1e-5, 1e2))
def test_the_unit_of_the_rate_changes_no_forecast(unit):
    curve = made("cosine", noise=0.003)
    scaled = LossCurve(curve.steps, curve.losses, curve.rates * unit, 0, "scaled")
    one, other = Annealing(lam=0.99).fit([curve]), Annealing(lam=0.99).fit([scaled])
    np.testing.assert_allclose(one.predict(curve.rates), other.predict(scaled.rates), rtol=1e-5)


def test_curves_without_annealing_have_an_assumed_gain_and_say_so():
    curve = made("constant")
    fit = Annealing().fit([curve])
    assert fit.assumed
    assert fit.identified["C"] is False
    assert fit.law.gain(2e-3) == pytest.approx(0.036 * float(np.median(curve.losses[-9:])), rel=1e-3)
    assert "0.099 nats were assumed" in fit.notes[0]
    without = Annealing(assumed_gain=0).fit([curve])
    assert without.law.C == 0
    assert "C was set to 0" in without.notes[0]


def test_spikes_hardly_move_a_fit():
    clean = made("cosine", noise=0.002)
    losses = clean.losses.copy()
    losses[[30, 70, 150]] *= 1.5
    spiked = LossCurve(clean.steps, losses, clean.rates, 0, "spiked")
    one, other = (Annealing(lam=0.99).fit([curve]).predict(clean.rates, [4000]) for curve in (clean, spiked))
    assert other == pytest.approx(one, rel=1e-3)


def test_what_curves_do_not_determine_is_said():
    # Eight noisy points late in a run: the power law is as good as a straight line.
    curve = made("constant", noise=0.01)
    late = curve.where(curve.steps > 3850)
    fit = Annealing(skip=0).fit([late])
    assert not all(fit.identified[name] for name in ("L0", "A", "alpha"))
    assert any("do not determine" in note for note in fit.notes)


def test_scaled_decay():
    assert scaled_decay(24_000) == scaled_decay(10**6) == 0.999
    assert scaled_decay(2400) == pytest.approx(0.99)
    assert scaled_decay(10) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lam": 1.0}, r"lam must be \"scaled\", \"free\" or in \[0, 1\), got 1.0"),
        ({"lam": "best"}, "lam must be"),
        ({"delta": 0.0}, "delta must be > 0, got 0.0"),
        ({"skip": 1.0}, r"skip must be in \[0, 1\), got 1.0"),
        ({"assumed_gain": -1.0}, "assumed_gain must be a share >= 0, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Annealing(**options)


def test_too_few_points_are_refused():
    curve = made(total=200, every=20)
    with pytest.raises(
        ValueError, match=r"at least 8 points after the warm-up and the first 10% of a curve, got 7 of 7"
    ):
        Annealing().fit([curve.until(140).where(curve.until(140).steps > 0)])
    with pytest.raises(ValueError, match="at least one curve"):
        Annealing().fit([])


def test_steps_beyond_the_rates_are_refused():
    with pytest.raises(ValueError, match="steps must be 1 to 3, the number of rates, got 4 to 4"):
        LAW.predict([1.0, 1.0, 1.0], [4])


def test_specs():
    assert from_spec("annealing:lam=free,skip=0.2") == Annealing(lam="free", skip=0.2)
    assert from_spec("annealing:lam=0.995") == Annealing(lam=0.995)


# --- published curves ---------------------------------------------------------------------------------------------


def at_peak(curve):
    rates = np.concatenate([np.full(curve.steps[0], curve.rates.max()), curve.rates[curve.steps[0] :]])
    return LossCurve(curve.steps, curve.losses, rates, 0, curve.name)


@pytest.mark.data
def test_published_curves_of_100m_parameters(shared_data):
    folder = shared_data("curves_mpl") / "100M"
    # The authors count the warm-up, which the files leave out, at the peak.
    cosine, constant = (at_peak(published(folder, name)) for name in ("cosine_24000", "constant_24000"))
    fit = Annealing(lam=0.999, skip=0, warmup_at_peak=True).fit([cosine, constant])
    law = fit.law
    assert (law.L0, law.A, law.C, law.alpha) == pytest.approx((2.9071, 0.5929, 0.4687, 0.7586), rel=1e-3)
    # What the authors' procedure gives, in percent.
    expected = {"cosine_72000": 0.101, "wsd_20000_24000": 0.130, "wsdld_20000_24000": 0.124, "wsdcon_9": 0.155}
    expected |= {"wsdcon_18": 0.179, "wsdcon_3": 0.241, "constant_72000": 0.374}
    for name, error in expected.items():
        found = mean_absolute_percentage_error(law, at_peak(published(folder, name)))
        assert found == pytest.approx(error, abs=0.012), name


@pytest.mark.data
@pytest.mark.parametrize("size", ["25M", "100M"])
def test_seven_schedules_that_were_not_fitted(shared_data, size):
    folder = shared_data("curves_mpl") / size
    fitted = ("cosine_24000", "constant_24000")
    fit = Annealing().fit([published(folder, name) for name in fitted])
    others = sorted(path.stem for path in folder.glob("*.csv") if path.stem not in fitted)
    assert len(others) == 7
    errors = [mean_absolute_percentage_error(fit.law, published(folder, name)) for name in others]
    assert np.mean(errors) <= 0.15
    papers = Annealing(warmup_at_peak=True).fit([published(folder, name) for name in fitted])
    assert np.mean([mean_absolute_percentage_error(papers.law, published(folder, name)) for name in others]) <= 0.25


def test_the_law_of_the_docstring_is_that_of_the_formula():
    law = AnnealingLaw(L0=2.0, A=0.3, alpha=0.5, C=0.1, lam=0.5)
    rates = [1, 1, 0.8, 0.6, 0.4, 0.2]
    forward = np.array([1, 2, 2.8, 3.4, 3.8, 4])
    annealed = np.array([0, 0, 0.2, 0.5, 0.85, 1.225])
    np.testing.assert_allclose(law.predict(rates), 2 + 0.3 * forward**-0.5 - 0.1 * annealed, rtol=1e-12)
