from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from tests.reference.multi_power import losses as slow_losses

from tutelage.forecast import LossCurve, lr_areas, mean_absolute_percentage_error
from tutelage.forecast._drops import Plan
from tutelage.forecast._huber import huber
from tutelage.forecast._multi_power_fit import Problem
from tutelage.forecast.law import log_residuals
from tutelage.forecast.logged_rates import logged_rates
from tutelage.forecast.multi_power import MultiPower, MultiPowerLaw
from tutelage.schedules import WSD, Cosine

PEAK = 3e-4
#: The authors' parameters for 100M, with the rise of the warm-up that their code counts as a loss taken out of L0.
LAW = MultiPowerLaw(L0=2.78, A=0.601, alpha=0.453, B=438, C=2.13, beta=0.598, gamma=0.655)
UNIT = MultiPowerLaw(L0=1, A=2, alpha=1, B=3, C=1, beta=1, gamma=1)
TOTAL = 4000
UPDATES = np.arange(TOTAL)


def cycles(total, length=250):
    return PEAK * (0.55 + 0.45 * np.cos(2 * np.pi * np.arange(total) / length))


SCHEDULES = {
    "cosine": Cosine(peak=PEAK, total_steps=TOTAL, final=3e-5)(UPDATES),
    "cosine to 0": Cosine(peak=PEAK, total_steps=TOTAL)(UPDATES),
    "linear to 0": PEAK * (1 - UPDATES / TOTAL),
    "wsd": WSD(peak=PEAK, total_steps=TOTAL, decay=0.2)(UPDATES),
    "steep, then rest": PEAK * np.where(UPDATES < 2000, 1 - UPDATES / 2001, 1e-4),
    "few steps": PEAK * np.where(UPDATES < 1000, 1, np.where(UPDATES < 2500, 0.3, 0.1)),
    "restarts": PEAK * (1 - 0.9 * (UPDATES % 1000) / 1000),
    "rest at 0": np.where(UPDATES < 3000, PEAK * (1 - UPDATES / 3000), 0.0),
    "walk": PEAK * np.exp(np.cumsum(0.003 * np.random.default_rng(0).standard_normal(TOTAL))),
}


def made(rates, law=LAW, *, every=20, start=200, noise=0.0, seed=0, warmup=0):
    steps = np.arange(start, len(rates) + 1, every)
    losses = law.predict(rates, steps, warmup=warmup)
    losses = losses * np.exp(noise * np.random.default_rng(seed).standard_normal(len(steps)))
    return LossCurve.of(steps=steps, losses=losses, rates=rates, warmup=warmup)


def three_runs(**options):
    """Runs that differ in when and how deep they anneal."""
    rates = (np.full(TOTAL, PEAK), SCHEDULES["cosine"], np.where(UPDATES < 1500, PEAK, 0.3 * PEAK))
    return [made(one, **options) for one in rates]


# --- the law --------------------------------------------------------------------------------------------------------


def test_values_by_hand():
    # Two updates at 1: L = 1 + 2 / 2. The third at 0.5: S1 = 2.5, S_3 = 0.5, x = 0.5^-1 0.5 = 1, G = 1 - 1/2.
    assert UNIT.predict([1, 1, 0.5]).tolist() == pytest.approx([1 + 2, 1 + 1, 1 + 0.8 - 3 * 0.5 * 0.5])


def test_values_by_hand_where_the_rate_rises():
    # The rise counts as a fall below 0: S1 = 3, S_2 = 2, x = 2^-1 2 = 1, LD = 3 (1 - 2) / 2.
    assert UNIT.predict([1, 2], [2])[0] == pytest.approx(1 + 2 / 3 + 1.5)


def test_a_warmup_counts_for_the_area_and_is_no_rise():
    # S1 = 0.5 + 1 + 0.5 = 2; the one fall is that of the third update.
    assert UNIT.predict([0.5, 1, 0.5], [3], warmup=1)[0] == pytest.approx(1 + 2 / 2 - 3 * 0.5 * 0.5)


@given(
    rates=st.lists(st.floats(0.01, 1), min_size=2, max_size=25),
    alpha=st.floats(0.1, 1.5),
    beta=st.floats(0.05, 3),
    gamma=st.floats(0, 1.5),
    share=st.floats(0, 0.9),
)
def test_any_short_schedule_agrees_with_the_two_loops(rates, alpha, beta, gamma, share):
    law = MultiPowerLaw(L0=2, A=0.5, alpha=alpha, B=0.3, C=5, beta=beta, gamma=gamma)
    warmup = int(share * len(rates))
    steps = range(1, len(rates) + 1)
    expected = slow_losses(rates, law, steps, warmup)
    np.testing.assert_allclose(law.predict(rates, warmup=warmup), expected, rtol=1e-12)


def test_a_rate_of_0_counts_as_a_very_small_one():
    rates = [1.0, 0.5, 0.0, 0.0, 0.25]
    np.testing.assert_allclose(UNIT.predict(rates), slow_losses(rates, UNIT, range(1, 6)), rtol=1e-12)
    assert UNIT.predict([0.0, 1.0], warmup=1)[0] == pytest.approx(1 + 2)  # the area of the first update is not 0


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    "law", [LAW, replace(LAW, beta=0.1, C=1e-3, gamma=1.4), replace(LAW, beta=2.5, C=0.03, gamma=0.3)]
)
def test_blocks_agree_with_every_update_by_itself(name, law):
    steps = np.unique(np.concatenate([[1, 2, 3], np.arange(50, TOTAL + 1, 50), 1000 + np.arange(20)]))
    rates = SCHEDULES[name]
    error = law.predict(rates, steps, warmup=40) - law.predict(rates, steps, warmup=40, exact=True)
    assert np.abs(error).max() < 1e-5 * law.gain(PEAK)


def test_every_update_by_itself_agrees_with_the_two_loops_on_a_longer_run():
    rates, steps = SCHEDULES["cosine to 0"][::10], [1, 2, 77, 250, 399, 400]
    expected = slow_losses(rates, LAW, steps, 30)
    for exact in (True, False):
        np.testing.assert_allclose(LAW.predict(rates, steps, warmup=30, exact=exact), expected, rtol=1e-6)


def test_a_rate_that_swings_for_long_is_close():
    rates, steps = cycles(20_000), np.arange(100, 20_001, 313)
    assert len(Plan(rates, 0, PEAK).drops(steps).falls) < 800 * len(steps)
    error = LAW.predict(rates, steps) - LAW.predict(rates, steps, exact=True)
    assert np.abs(error).max() < 2e-3 * LAW.gain(PEAK)


@pytest.mark.parametrize("name", ["cosine", "wsd", "few steps", "restarts"])
def test_a_whole_curve_is_interpolated_closely(name):
    rates = np.repeat(SCHEDULES[name], 5)
    every = LAW.predict(rates)
    some = np.unique(np.concatenate([np.arange(1, 20_001, 997), 5000 + np.arange(30), 16_000 + np.arange(30)]))
    np.testing.assert_allclose(every[some - 1], LAW.predict(rates, some, exact=True), rtol=0, atol=1e-5)


def test_steps_may_come_in_any_order_and_twice():
    rates = SCHEDULES["wsd"]
    steps = np.array([4000, 10, 3500, 10])
    expected = [LAW.predict(rates, [step])[0] for step in steps]
    np.testing.assert_allclose(LAW.predict(rates, steps), expected, rtol=1e-12)
    assert LAW.predict(rates, []).shape == (0,)


@given(factor=st.floats(1e-3, 1e3))
def test_the_unit_of_the_rate_does_not_matter(factor):
    other = replace(LAW, A=LAW.A * factor**LAW.alpha, B=LAW.B / factor, C=LAW.C * factor ** (LAW.gamma - 1))
    rates = SCHEDULES["wsd"]
    steps = [100, 3300, 4000]
    np.testing.assert_allclose(other.predict(rates * factor, steps), LAW.predict(rates, steps), rtol=1e-9)


@given(share=st.floats(0, 1), at=st.integers(500, 3500))
def test_a_fall_gains_something_and_no_more_than_its_share(share, at):
    rates = PEAK * (1 - 0.9 * share * (at <= UPDATES))
    area = float(rates.sum())
    gain = LAW.L0 + LAW.A * area**-LAW.alpha - LAW.predict(rates, [TOTAL])[0]
    assert -1e-12 <= gain <= LAW.gain(PEAK) * 0.9 * share + 1e-12


# --- the fit --------------------------------------------------------------------------------------------------------


def problem(curves, **options):
    return Problem(curves, **({"delta": 1e-3, "weight": 1.0, "usual_gain": 0.11} | options))


@pytest.mark.parametrize("form", ["residuals", "rooted"])
def test_derivatives_agree_with_differences(form):
    given_curves = three_runs(noise=2e-3, seed=1)
    of = getattr(problem(given_curves), form)
    values = np.array([2.7, 0.4, 0.5, 0.12, -3.0, -0.5, 0.6])
    slopes = of(values)[1] if form == "residuals" else of(values)[1].T
    for place in range(7):
        step = np.zeros(7)
        step[place] = 1e-6
        difference = (of(values + step)[0] - of(values - step)[0]) / 2e-6
        np.testing.assert_allclose(slopes[place], difference, atol=1e-5 * np.abs(difference).max())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_no_other_solver_finds_a_smaller_objective(seed, weight):
    posed = problem(three_runs(noise=1.5e-3, seed=seed, every=60), weight=weight)

    def objective(values):
        rooted, slopes = posed.rooted(values)
        return 0.5 * float(rooted @ rooted), slopes.T @ rooted

    ours = objective(posed.minimum()[0])[0]
    bounds = [(0, None)] * 3 + [(0, None), (-12, 5), (-4.6, 2.3), (0, 2)]
    for shape in ([-4, -0.7, 0.5], [-2.1, -0.5, 0.65], [-6, 0.5, 1.0]):
        start = np.array([2.7, 0.4, 0.5, 0.12, *shape])
        theirs = optimize.minimize(
            objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}
        )
        assert ours <= theirs.fun * (1 + 1e-6)


def test_the_objective_is_that_of_the_formula():
    curves = three_runs(noise=2e-3)
    last = float(np.median(curves[0].losses[-9:]))
    fit = MultiPower(skip=0.0, assumed_gain=0.11 / last).fit(curves)
    expected = huber(log_residuals(fit.law, curves), 1e-3)
    assert fit.objective == pytest.approx(expected, rel=1e-6)
    values, _ = problem(curves).minimum()
    rooted, _ = problem(curves).rooted(values)
    law = fit.law
    points, pace = sum(len(curve.steps) for curve in curves), law.C * PEAK ** (1 - law.gamma)
    pull = (
        np.log(pace / (3e-4**0.5)) ** 2
        + (np.log(law.beta / 0.5) / 0.5) ** 2
        + ((law.gamma - 0.5) / 0.25) ** 2
        + ((law.gain(PEAK) - 0.11) / 0.055) ** 2
    )
    assert 0.5e-6 * rooted @ rooted == pytest.approx(expected + 1e-6 * points / (20 * 3) * pull, rel=1e-6)


def test_three_exact_runs_give_the_law_back():
    fit = MultiPower(weight=0.0).fit(three_runs())
    assert fit.mape < 1e-4
    assert fit.notes == () or "do not determine" in fit.notes[0]
    for name, value in LAW.params().items():
        assert fit.law.params()[name] == pytest.approx(value, rel=2e-2), name
    unseen = SCHEDULES["wsd"]
    np.testing.assert_allclose(fit.predict(unseen, [3500, 4000]), LAW.predict(unseen, [3500, 4000]), rtol=1e-5)


def test_blocks_and_single_updates_give_one_fit():
    curves = three_runs(every=100, noise=1e-3)
    blocks, single = MultiPower().fit(curves), MultiPower(exact=True).fit(curves)
    assert single.objective == pytest.approx(blocks.objective, rel=1e-4)
    np.testing.assert_allclose(blocks.predict(SCHEDULES["wsd"]), single.predict(SCHEDULES["wsd"]), rtol=1e-5)


def test_spikes_hardly_matter():
    clean, spiked = three_runs(noise=1e-3), three_runs(noise=1e-3)
    for curve in spiked:
        curve.losses[::17] *= 1.3
    rates = SCHEDULES["wsd"]
    np.testing.assert_allclose(
        MultiPower().fit(spiked).predict(rates, [4000]), MultiPower().fit(clean).predict(rates, [4000]), rtol=2e-3
    )


def test_a_constant_run_leans_on_the_usual_gain_and_says_so():
    curve = made(np.full(TOTAL, PEAK))
    fit = MultiPower(assumed_gain=0.05).fit([curve])
    assert fit.law.gain(PEAK) == pytest.approx(0.05 * float(np.median(curve.losses[-9:])))
    assert fit.assumed
    assert fit.identified == {
        "L0": True, "A": True, "alpha": True, "B": False, "C": False, "beta": False, "gamma": False
    }  # fmt: skip
    assert fit.notes[0].startswith("No curve anneals enough to show what annealing gains (B): 0% of a full annealing")
    assert f"{fit.law.gain(PEAK):.2g} nats were assumed" in fit.notes[0]
    assert "do not determine C, beta, gamma; they lean on usual values." in fit.notes[1]


def test_a_constant_run_without_a_usual_gain_has_none():
    for weight in (0.0, 1.0):
        fit = MultiPower(assumed_gain=0.0, weight=weight).fit([made(np.full(TOTAL, PEAK))])
        assert fit.law.B == 0
        assert "B was set to 0." in fit.notes[0]


def test_the_heavier_the_usual_values_the_nearer_the_fit_is_to_them():
    curves = three_runs(noise=1e-3)
    far = [abs(MultiPower(weight=weight).fit(curves).law.gamma - 0.5) for weight in (0.01, 1.0, 100.0, 1e4)]
    assert far == sorted(far, reverse=True)
    assert far[-1] < 1e-3


def test_noise_undoes_what_curves_determine():
    quiet, loud = (MultiPower().fit(three_runs(noise=noise)).identified for noise in (1e-4, 0.2))
    assert (quiet["L0"], quiet["alpha"], quiet["B"]) == (True, True, True)
    assert (loud["alpha"], loud["B"]) == (False, False)


def test_points_of_the_warmup_and_the_start_are_left_out():
    curve = made(SCHEDULES["cosine"], start=20, warmup=400)
    curve.losses[curve.steps < 400] = 50.0
    assert MultiPower(skip=0.0).fit([curve]).mape < 0.02
    late = made(SCHEDULES["cosine"], start=20)
    late.losses[late.steps < 1000] = 50.0
    assert MultiPower(skip=0.25).fit([late]).mape < 0.02
    assert MultiPower(skip=0.2).fit([late]).mape > 1


def test_a_long_curve_is_summed_up_by_medians():
    steps = np.arange(1, 10_002)
    curve = LossCurve.of(steps=steps, losses=1 + 1 / steps, rates=np.full(len(steps), PEAK))
    posed = problem([curve])
    # 10,001 points make 2,000 groups of five, whose medians are those of their middles; the last point is left over.
    assert len(posed.residuals(posed.start())[0]) == 2000
    np.testing.assert_allclose(np.exp(posed._observed), curve.losses[2:10_000:5], rtol=1e-14)


def test_a_run_of_a_million_updates_takes_seconds_and_little_memory():
    rates = Cosine(peak=PEAK, total_steps=1_000_000, final=3e-5)(np.arange(1_000_000))
    steps = np.arange(5, 1_000_001, 5)
    losses = LAW.predict(rates, steps) * np.exp(0.02 * np.random.default_rng(0).standard_normal(len(steps)))
    curve = LossCurve.of(steps=steps, losses=losses, rates=rates)
    started = time.process_time()
    fit = MultiPower().fit([curve])
    predicted = fit.predict(rates)
    assert time.process_time() - started < 10  # about 1.5 s
    np.testing.assert_allclose(predicted[100_000:], LAW.predict(rates)[100_000:], rtol=1e-3)
    tracemalloc.start()
    try:
        LAW.predict(rates)
        assert tracemalloc.get_traced_memory()[1] < 500e6
    finally:
        tracemalloc.stop()


# --- published curves -----------------------------------------------------------------------------------------------

SEEN = ("cosine_24000", "constant_24000")
UNSEEN = ("wsdcon_9", "wsdcon_3", "wsdcon_18", "wsd_20000_24000", "wsdld_20000_24000", "cosine_72000", "constant_72000")
#: The parameters that the authors report, fitted to ``SEEN`` and wsdcon_9, and their objective there.
REPORTED = {
    "25M": (MultiPowerLaw(L0=3.040, A=0.525, alpha=0.508, B=363.788, C=2.066, beta=0.583, gamma=0.641), 2.786e-4),
    "100M": (MultiPowerLaw(L0=2.651, A=0.601, alpha=0.453, B=437.946, C=2.132, beta=0.598, gamma=0.655), 2.751e-4),
}


def published(folder, size, name):
    step, rate, loss = np.genfromtxt(folder / size / f"{name}.csv", delimiter=",", skip_header=1).T
    steps = step.astype(np.int64)
    rates, warmup = logged_rates(steps, rate)
    return LossCurve.of(steps=steps, losses=loss, rates=rates, warmup=warmup, name=name)


@pytest.mark.parametrize("size", REPORTED)
def test_two_published_runs_foretell_seven(shared_data, size):
    folder = shared_data("curves_mpl")
    fit = MultiPower().fit([published(folder, size, name) for name in SEEN])
    errors = [mean_absolute_percentage_error(fit.law, published(folder, size, name)) for name in UNSEEN]
    assert np.mean(errors) <= 0.14  # the target is 0.15 %
    assert max(errors) <= 0.5
    assert [name for name, known in fit.identified.items() if known] == ["L0", "A", "alpha"]


@pytest.mark.parametrize("size", REPORTED)
@pytest.mark.parametrize("weight", [0.1, 10.0])
def test_the_weight_of_the_usual_values_is_not_critical(shared_data, size, weight):
    folder = shared_data("curves_mpl")
    fit = MultiPower(weight=weight).fit([published(folder, size, name) for name in SEEN])
    errors = [mean_absolute_percentage_error(fit.law, published(folder, size, name)) for name in UNSEEN]
    assert np.mean(errors) <= 0.16


@pytest.mark.parametrize("size", REPORTED)
def test_the_authors_three_runs_are_fitted_better_than_by_the_authors(shared_data, size):
    folder = shared_data("curves_mpl")
    theirs, objective = REPORTED[size]
    fit = MultiPower().fit([published(folder, size, name) for name in (*SEEN, "wsdcon_9")])
    assert fit.objective < 0.6 * objective
    assert abs(fit.law.A / theirs.A - 1) < 0.02
    assert fit.law.alpha == pytest.approx(theirs.alpha, rel=0.02)
    # Their code counts the rise of the warm-up as a loss of nearly B peak, which its L0 makes up for.
    assert abs(fit.law.L0 / (theirs.L0 + theirs.gain(PEAK)) - 1) < 0.01
    errors = [mean_absolute_percentage_error(fit.law, published(folder, size, name)) for name in UNSEEN[1:]]
    assert np.mean(errors) <= 0.145


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (lambda: MultiPower(delta=0.0), "MultiPower: delta must be > 0, got 0.0"),
        (lambda: MultiPower(skip=1.0), r"MultiPower: skip must be in \[0, 1\), got 1.0"),
        (lambda: MultiPower(weight=-1.0), "MultiPower: weight must be >= 0, got -1.0"),
        (lambda: MultiPower(weight=np.inf), "weight must be >= 0, got inf"),
        (lambda: MultiPower(assumed_gain=-0.1), "assumed_gain must be >= 0, got -0.1"),
        (lambda: MultiPower(assumed_gain=np.nan), "assumed_gain must be >= 0, got nan"),
        (lambda: MultiPower().fit([]), "curves must hold at least one curve"),
        (lambda: MultiPower().fit([made(np.full(300, PEAK))]), "at least 8 points after the warm-up .* got 6 of 6"),
        (lambda: LAW.predict([1.0, -1.0]), "rates must be finite and >= 0, got -1.0 for update 2"),
        (lambda: LAW.predict([0.0, 0.0]), "all rates are 0"),
        (lambda: LAW.predict([1.0, 1.0], warmup=2), "warmup must be 0 to 1, got 2"),
        (lambda: LAW.predict([1.0, 1.0], [3]), "steps must be 1 to 2"),
        (lambda: LAW.predict([1.0, 1.0], [0]), "steps must be 1 to 2"),
    ],
)
def test_bad_input(call, fragment):
    with pytest.raises(ValueError, match=fragment):
        call()


def test_areas_after_a_warmup_at_the_peak_are_those_of_the_annealing_law():
    rates = SCHEDULES["wsd"]
    np.testing.assert_allclose(Plan(rates, 0, 1.0).base(UPDATES + 1), lr_areas(rates)[0], rtol=1e-12)
