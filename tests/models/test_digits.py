"""The digits networks: sizes, the printed formulas, learning real digits, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional

from tutelage.models import DigitsCNN, DigitsMLP

BOTH = pytest.mark.parametrize("network", [DigitsCNN, DigitsMLP])


@pytest.mark.parametrize(("network", "parameters"), [(DigitsCNN, 29_914), (DigitsMLP, 26_122)])
def test_parameters(network, parameters):
    assert sum(weights.numel() for weights in network().parameters()) == parameters


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (DigitsCNN, 32 * 10 + 64 * (32 * 9 + 1) + 96 * (64 * 16 + 1) + 10 * 97),
        (DigitsMLP, 256 * 65 + 256 * 257 + 10 * 257),
    ],
)
def test_wider(network, parameters):
    model = network(widen=2)
    assert sum(weights.numel() for weights in model.parameters()) == parameters
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    with pytest.raises(ValueError, match=f"{network.__name__}: widen must be >= 1, got 0"):
        network(widen=0)


def test_mlp_agrees_with_the_printed_formula():
    model, images = DigitsMLP().double(), torch.rand(5, 1, 8, 8, dtype=torch.float64)
    x = images.reshape(5, 64)
    for layer in (model.first, model.second):
        x = torch.clamp(x @ layer.weight.T + layer.bias, min=0)
    torch.testing.assert_close(model(images), x @ model.head.weight.T + model.head.bias)


def test_cnn_agrees_with_the_printed_formula():
    model, images = DigitsCNN().double(), torch.rand(2, 1, 8, 8, dtype=torch.float64)

    def convolve(x, layer):
        padded = torch.zeros(2, x.shape[1], 10, 10, dtype=x.dtype)
        padded[:, :, 1:9, 1:9] = x
        result = torch.empty(2, len(layer.bias), 8, 8, dtype=x.dtype)
        for row in range(8):
            for column in range(8):
                patch = padded[:, :, row : row + 3, column : column + 3]
                result[:, :, row, column] = torch.einsum("bcij,ocij->bo", patch, layer.weight) + layer.bias
        return torch.clamp(result, min=0)

    x = convolve(convolve(images, model.first), model.second)
    x = x.reshape(2, 32, 4, 2, 4, 2).amax(dim=(3, 5)).reshape(2, -1)
    x = torch.clamp(x @ model.inner.weight.T + model.inner.bias, min=0)
    torch.testing.assert_close(model(images), x @ model.head.weight.T + model.head.bias)


@BOTH
def test_learns_digits(network):
    torch.manual_seed(0)
    found = load_digits()
    images, labels = torch.from_numpy(found.images / 16).float().unsqueeze(1), torch.from_numpy(found.target).long()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    order = torch.randperm(1437)
    for start in list(range(0, 1437, 64)) * 3:
        rows = order[start : start + 64]
        optimizer.zero_grad()
        functional.cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()
    accuracy = (model(images[1437:]).argmax(1) == labels[1437:]).float().mean().item()
    assert accuracy > 0.85


@BOTH
def test_the_seed_fixes_the_weights(network):
    def first(seed):
        torch.manual_seed(seed)
        return network().first.weight

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


@BOTH
@pytest.mark.parametrize("shape", [(2, 64), (2, 8, 8), (2, 1, 8, 7), (2, 3, 8, 8), (64,)])
def test_bad_images(network, shape):
    with pytest.raises(ValueError, match=rf"{network.__name__}: images must be \(batch, 1, 8, 8\), got \(") as caught:
        network()(torch.zeros(shape))
    assert str(shape) in str(caught.value)
