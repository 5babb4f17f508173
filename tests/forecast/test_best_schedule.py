from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.forecast.curves import LAW, made

from tutelage.forecast import Annealing, best_schedule, refits
from tutelage.schedules import from_spec

PART = Annealing(lam=0.99)
FIT = PART.fit([made("cosine", noise=0.001), made("constant", noise=0.001, seed=1)])


def test_no_other_plan_ends_lower_under_the_law():
    best = best_schedule(FIT, total_steps=1000, peak=2e-3, repeats=0)
    assert float(FIT.predict(best.rates, [1000])[0]) == pytest.approx(best.loss)
    for shape, decay in itertools.product(("linear", "1-sqrt", "cosine"), (0.01, 0.05, 0.1, 0.2, 0.35, 0.5, 0.8)):
        rates = from_spec(f"wsd:decay={decay},shape={shape}", total_steps=1000, peak=2e-3).to_array()
        assert best.loss <= best.spec_loss <= float(FIT.predict(rates, [1000])[0]) + 1e-9
    rng = np.random.default_rng(0)
    for _ in range(50):
        rates = 2e-3 * np.sort(rng.random(1000))[::-1]
        assert best.loss < float(FIT.predict(rates, [1000])[0])


def test_the_rates_never_rise_and_keep_within_bounds():
    best = best_schedule(FIT, total_steps=1000, peak=2e-3, warmup=100, repeats=0)
    assert (np.diff(best.rates[99:]) <= 1e-15).all()
    assert best.rates.min() >= 0
    assert best.rates.max() == pytest.approx(2e-3)


def test_the_spec_makes_the_schedule_it_speaks_of():
    best = best_schedule(FIT, total_steps=1000, peak=2e-3, warmup=100, repeats=0)
    rates = from_spec(best.spec, total_steps=1000, peak=2e-3).to_array()
    assert float(FIT.predict(rates, [1000], warmup=100)[0]) == pytest.approx(best.spec_loss)
    assert best.gains["spec"].loss == pytest.approx(best.spec_loss)


def test_gains_are_differences_and_their_intervals_hold_them():
    best = best_schedule(FIT, total_steps=1000, peak=2e-3, part=PART, repeats=20)
    for gain in best.gains.values():
        assert gain.gain == pytest.approx(gain.loss - best.loss)
        assert gain.low <= gain.gain <= gain.high
    wide = best_schedule(FIT, total_steps=1000, peak=2e-3, part=PART, repeats=20, level=0.95)
    assert wide.gains["cosine"].high > best.gains["cosine"].high
    assert best_schedule(FIT, total_steps=1000, peak=2e-3, part=PART, repeats=20).gains == best.gains


def test_without_gain_from_annealing_a_constant_rate_is_best():
    fit = Annealing(assumed_gain=0).fit([made("constant")])
    best = best_schedule(fit, total_steps=500, peak=2e-3, repeats=0)
    assert best.gains["cosine"].gain > 0
    assert best.rates[:450].min() > 0.97 * 2e-3


def test_refits_scatter_as_the_noise_does():
    curve = made("constant", noise=0.004, every=10)
    fit = Annealing(lam=0.99).fit([curve])
    ends = [float(one.predict(curve.rates, [4000])[0]) for one in refits(fit, Annealing(lam=0.99), repeats=40)]
    truth = [
        float(
            Annealing(lam=0.99).fit([made("constant", noise=0.004, every=10, seed=s)]).predict(curve.rates, [4000])[0]
        )
        for s in range(40)
    ]
    assert np.std(ends) == pytest.approx(np.std(truth), rel=0.5)
    assert float(LAW.predict(curve.rates, [4000])[0]) == pytest.approx(np.mean(truth), abs=3 * np.std(truth))


def test_peaks_and_rates_beyond_what_was_fitted_are_said():
    notes = " ".join(best_schedule(FIT, total_steps=1000, peak=2e-2, repeats=0).notes)
    assert "it is a guess" in notes
    assert "No refits" in notes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"total_steps": 5}, "total_steps must be >= 10, got 5"),
        ({"peak": 0.0}, "peak must be > 0, got 0.0"),
        ({"warmup": 999}, "warmup must be 0 to 998, got 999"),
        ({"knots": 3}, "knots must be >= 4, got 3"),
        ({"repeats": -1}, "repeats must be >= 0, got -1"),
        ({"level": 0.0}, r"level must be in \(0, 1\), got 0.0"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        best_schedule(FIT, **{"total_steps": 1000, "peak": 1e-3, **arguments})
