"""When a batch should come: slopes by hand and by NumPy, and on a problem whose answer is known."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.forecast import OrderForecaster, SGDSpec
from tutelage.signals import OrderInfluence, score
from tutelage.signals._protocol import BadRow

numbers = st.floats(-10, 10, allow_nan=False)


@given(st.lists(numbers, min_size=2, max_size=30))
def test_late_is_the_slope_of_a_straight_line(changes: list[float]) -> None:
    places = (np.arange(len(changes)) + 0.5) / len(changes)
    found = OrderInfluence().score({"influence": [changes]})
    assert found[0] == pytest.approx(-np.polyfit(places, changes, 1)[0], abs=1e-9)
    assert OrderInfluence(reduction="mean").score({"influence": [changes]})[0] == pytest.approx(-np.mean(changes))


def test_batches_of_a_fitted_forecaster_are_told_apart() -> None:
    """Far from the optimum any step towards it helps; near it only the centres that lie there still do."""
    batches = [torch.tensor([far, 0.0]) for far in (1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0)]

    def loss(params: dict[str, torch.Tensor], centre: torch.Tensor) -> torch.Tensor:
        return ((params["x"] - centre) ** 2).sum()

    start = {"x": torch.zeros(2)}
    forecaster = OrderForecaster(loss, start, batches, optimizer=SGDSpec(lr=0.2), curvature="full").fit()
    table = {"influence": forecaster.influence([torch.tensor([1.0, 0.0])]).T.tolist()}
    found = score(table, "order-influence", cache=False)
    assert found.direction == "hard"
    # Steps to the far centre overshoot more and more: it is not one to come late.
    assert (found.values[4:] < found.values[:4]).all()
    assert score(table, "order-influence:reduction=mean", cache=False).direction == "good"


@pytest.mark.parametrize("row", [[1.0], [], 3.0, [[1.0, 2.0]], [1.0, float("nan")], "text", None])
def test_rows_that_are_no_changes(row: Any) -> None:
    with pytest.raises(BadRow, match="must be a list of two or more finite numbers"):
        OrderInfluence().score({"influence": [[1.0, 2.0], row]})


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=re.escape('OrderInfluence: reduction must be late or mean, got "early".')):
        OrderInfluence(reduction="early")  # type: ignore[arg-type]
