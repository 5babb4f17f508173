from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from tests.forecast.curves import made

from tutelage.forecast import LastValue, LossCurve, StepsPower, StepsPowerLaw, from_spec


def curve_of(law, total=1000, every=10, noise=0.0, seed=0):
    steps = np.arange(every, total + 1, every)
    losses = law.predict(np.ones(total), steps) * np.exp(
        noise * np.random.default_rng(seed).standard_normal(len(steps))
    )
    return LossCurve.of(steps=steps, losses=losses, rates=np.ones(total))


@given(st.floats(0.5, 4), st.floats(1, 20), st.floats(0.2, 1.2))
def test_a_curve_that_the_law_made_is_recovered(floor, height, alpha):
    law = StepsPowerLaw(L0=floor, A=height, alpha=alpha)
    curve = curve_of(law)
    fit = StepsPower().fit([curve])
    np.testing.assert_allclose(
        fit.predict(np.ones(4000), [2000, 4000]), law.predict(np.ones(4000), [2000, 4000]), rtol=1e-3
    )


def test_a_pure_power_law_has_no_floor():
    law = StepsPowerLaw(L0=0.0, A=9.0, alpha=0.2)
    fit = StepsPower(floor=False).fit([curve_of(law)])
    assert fit.law.L0 == 0
    assert (fit.law.A, fit.law.alpha) == pytest.approx((9.0, 0.2), rel=1e-4)
    assert set(fit.identified) == {"A", "alpha"}


def test_agrees_with_scipy_on_noisy_curves():
    curve = curve_of(StepsPowerLaw(L0=2.0, A=5.0, alpha=0.5), noise=0.003)
    fit = StepsPower(skip=0, delta=1.0).fit([curve])  # within delta Huber's loss is least squares
    found, _ = optimize.curve_fit(
        lambda s, floor, height, alpha: np.log(floor + height * s**-alpha),
        curve.steps.astype(float),
        np.log(curve.losses),
        p0=(2, 5, 0.5),
    )
    assert (fit.law.L0, fit.law.A, fit.law.alpha) == pytest.approx(tuple(found), rel=1e-4)


def test_last_value_is_the_median_of_the_last_twentieth():
    curve = LossCurve.of(steps=np.arange(1, 101), losses=np.linspace(5, 4, 100), rates=np.ones(200))
    assert pytest.approx(np.median(np.linspace(5, 4, 100)[-5:])) == LastValue().fit([curve]).law.L0
    longest = made("constant", total=200)
    both = LastValue().fit([curve, longest])
    assert pytest.approx(float(longest.losses[-1])) == both.law.L0


def test_specs_and_refusals():
    assert from_spec("power:floor=false") == StepsPower(floor=False)
    assert from_spec("last-value") == LastValue()
    with pytest.raises(ValueError, match="StepsPower: delta must be > 0"):
        StepsPower(delta=-1.0)
    with pytest.raises(ValueError, match="at least 4 points"):
        StepsPower().fit([made("constant", total=60)])
