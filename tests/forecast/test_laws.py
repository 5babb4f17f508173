"""What every law that is listed must do; a law without a case fails."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.forecast.curves import made

from tutelage.forecast import PARTS, from_spec, names

#: For each law: options of another spec, and the largest error in percent on a curve that the annealing law made.
CASES = {
    "annealing": ("annealing:lam=0.995", 1.0),
    "last-value": ("last-value:delta=0.01", 30.0),
    "multi-power": ("multi-power:weight=0.1", 1.0),
    "power": ("power:floor=false", 3.0),
}
CURVES = [made("cosine", every=50, noise=0.002), made("constant", every=50, noise=0.002, seed=1)]


def test_every_law_has_a_case():
    assert set(CASES) == set(PARTS) <= set(names())


@pytest.mark.parametrize("name", PARTS)
def test_a_law(name):
    part = from_spec(name)
    assert dataclasses.is_dataclass(part)
    assert hash(part) == hash(from_spec(name))
    fit = part.fit(CURVES)
    assert fit.name == name
    assert fit.mape < CASES[name][1]
    assert fit.r2 <= 1
    assert all(np.isfinite(value) for value in fit.law.params().values())
    assert set(fit.identified) <= set(fit.law.params())
    rates = CURVES[0].rates
    every = fit.predict(rates)
    assert every.shape == rates.shape
    assert every.dtype == np.float64
    np.testing.assert_array_equal(fit.predict(rates, [7, 4000, 100]), every[[6, 3999, 99]])
    # The same curves give the same law, whatever was fitted in between.
    from_spec(CASES[name][0]).fit(CURVES)
    assert part.fit(CURVES).law == fit.law


@pytest.mark.parametrize("name", PARTS)
def test_a_law_refuses_what_it_cannot_use(name):
    part = from_spec(name)
    with pytest.raises(ValueError, match="at least one curve"):
        part.fit([])
    with pytest.raises(ValueError, match="at least"):
        part.fit([made(total=400, warmup=390).until(380)])
    fit = part.fit(CURVES)
    with pytest.raises(ValueError, match="steps must be 1 to 4000"):
        fit.predict(CURVES[0].rates, [0])
    with pytest.raises(ValueError, match="steps must be 1 to 4000"):
        fit.predict(CURVES[0].rates, [4001])
