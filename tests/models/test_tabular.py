"""The perceptron over tables: size, the printed formula, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from tutelage.models import TabularMLP


def test_it_agrees_with_the_printed_formula():
    model, rows = TabularMLP(columns=7, labels=3, width=5).double(), torch.randn(4, 7, dtype=torch.float64)
    assert sum(weights.numel() for weights in model.parameters()) == 7 * 5 + 5 + 25 + 5 + 15 + 3
    x = rows
    for layer in (model.first, model.second):
        x = torch.clamp(x @ layer.weight.T + layer.bias, min=0)
    torch.testing.assert_close(model(rows), x @ model.head.weight.T + model.head.bias)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"columns": 0}, "columns must be >= 1, got 0"),
        ({"labels": 1}, "labels must be >= 2, got 1"),
        ({"width": 0}, "width must be >= 1, got 0"),
    ],
)
def test_bad_sizes(sizes, message):
    with pytest.raises(ValueError, match=f"TabularMLP: {message}"):
        TabularMLP(**{"columns": 3, "labels": 2, **sizes})


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 1)])
def test_bad_rows(shape):
    with pytest.raises(ValueError, match=r"TabularMLP: rows must be \(batch, 3\), got \("):
        TabularMLP(columns=3, labels=2)(torch.zeros(shape))
