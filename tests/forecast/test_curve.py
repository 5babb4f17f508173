from __future__ import annotations

import numpy as np
import pytest
from tests.forecast.curves import made

from tutelage.forecast import LossCurve
from tutelage.forecast.curve import at_peak_in_warmup


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": [1, 2]}, r"steps and losses must be two series of one length, got shapes \(2,\) and \(3,\)"),
        ({"steps": [], "losses": []}, "a curve must have at least one point"),
        ({"steps": [1, 3, 3]}, "steps must rise from 1 on, got 3 at place 2"),
        ({"steps": [0, 1, 2]}, "steps must rise from 1 on, got 0 at place 0"),
        ({"losses": [1.0, np.nan, 1.0]}, "losses must be finite and > 0, got nan at step 2"),
        ({"losses": [1.0, 1.0, -0.5]}, "losses must be finite and > 0, got -0.5 at step 3"),
        ({"rates": [1.0, 1.0]}, "rates must reach the last step, 3, got 2"),
        ({"rates": [1.0, -1.0, 1.0]}, "rates must be finite and >= 0, got -1.0 for update 2"),
        ({"rates": [0.0, 0.0, 0.0]}, "all rates are 0"),
        ({"rates": []}, "rates must be a series"),
        ({"warmup": 3}, "warmup must be 0 to 2"),
    ],
)
def test_what_no_law_can_be_fitted_to_is_refused(change, message):
    given = {"steps": [1, 2, 3], "losses": [3.0, 2.0, 1.5], "rates": [1.0, 1.0, 1.0], "name": "mine"} | change
    with pytest.raises(ValueError, match=f"mine: {message}"):
        LossCurve.of(**given)


def test_parts_of_a_curve_keep_the_whole_plan():
    curve = made(total=400, every=10, warmup=50)
    early = curve.until(200)
    assert early.steps.tolist() == list(range(10, 201, 10))
    assert early.total_steps == 400
    assert early.after_warmup().steps[0] == 50
    with pytest.raises(ValueError, match="at least one point"):
        curve.until(5)


def test_warmup_is_held_at_the_rate_that_follows():
    rates = np.array([0.25, 0.5, 0.75, 1.0, 0.9])
    assert at_peak_in_warmup(rates, 3).tolist() == [1, 1, 1, 1, 0.9]
    assert at_peak_in_warmup(rates, 0) is rates
