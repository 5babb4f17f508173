from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from tutelage.forecast._huber import huber, minimise_huber


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.floats(1e-3, 2))
def test_huber_is_scipys(values, delta):
    assert huber(np.array(values), delta) == pytest.approx(float(special.huber(delta, np.array(values)).sum()))


def line(seed, noise, delta, points=200):
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, points)
    y = 1 + 2 * x + noise * rng.standard_t(2, size=points)

    def residuals(values):
        return values[0] + values[1] * x - y, np.stack([np.ones(points), x])

    return residuals, x, y


@pytest.mark.parametrize("delta", [1e-3, 0.05, 10.0])
@pytest.mark.parametrize("seed", range(4))
def test_reaches_scipys_minimum(seed, delta):
    residuals, _, _ = line(seed, 0.1, delta)
    wide = np.full(2, np.inf)
    found = minimise_huber(residuals, np.zeros(2), lower=-wide, upper=wide, delta=delta)
    other = optimize.least_squares(
        lambda v: residuals(v)[0], [1, 2], loss="huber", f_scale=delta, xtol=1e-15, ftol=1e-15
    )
    assert found.converged
    assert found.objective <= huber(residuals(other.x)[0], delta) * (1 + 1e-6)


def test_a_bound_holds_and_the_rest_is_free():
    residuals, x, y = line(0, 0.01, 1.0)
    found = minimise_huber(residuals, np.zeros(2), lower=np.zeros(2), upper=np.array([np.inf, 1.5]), delta=1.0)
    assert found.values[1] == 1.5
    assert found.values[0] == pytest.approx(float(np.mean(y - 1.5 * x)))


def test_all_parameters_at_bounds_is_an_end():
    residuals, _, _ = line(0, 0.01, 1.0)
    found = minimise_huber(residuals, np.zeros(2), lower=np.zeros(2), upper=np.zeros(2), delta=1.0)
    assert found.converged
    assert found.values.tolist() == [0, 0]
