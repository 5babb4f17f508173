"""Optimizer settings: the formula in the card, beside PyTorch's numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tutelage.errors import ConfigError, UnknownPart
from tutelage.optimizers import SGD, AdamW, from_spec, names


def model_of(*values: float) -> nn.Module:
    model = nn.Linear(len(values), 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([values]))
        model.bias.fill_(1.0)
    return model.double()


def stepped(part, gradients: list[float], rate: float = 0.1) -> tuple[float, float]:
    """Return weight and bias of a model that starts at 2 and 1 after updates with the same gradient for both."""
    model = model_of(2.0)
    optimizer = part.to_torch(model, rate)
    for gradient in gradients:
        model.weight.grad = torch.full_like(model.weight, gradient)
        model.bias.grad = torch.full_like(model.bias, gradient)
        optimizer.step()
    return model.weight.item(), model.bias.item()


def test_sgd_follows_its_formula() -> None:
    momentum, decay, rate = 0.5, 0.1, 0.1
    weight, bias, wb, bb = 2.0, 1.0, 0.0, 0.0
    for gradient in (1.0, -2.0, 3.0):
        wb = momentum * wb + gradient + decay * weight
        bb = momentum * bb + gradient
        weight, bias = weight - rate * wb, bias - rate * bb
    found = stepped(SGD(momentum=momentum, weight_decay=decay), [1.0, -2.0, 3.0])
    assert found == pytest.approx((weight, bias), rel=1e-12)


def test_nesterov_looks_ahead() -> None:
    weight, velocity = 1.0, 0.0
    for gradient in (1.0, -2.0):
        velocity = 0.5 * velocity + gradient
        weight -= 0.1 * (gradient + 0.5 * velocity)
    assert stepped(SGD(momentum=0.5, nesterov=True), [1.0, -2.0])[1] == pytest.approx(weight, rel=1e-12)


def test_adamw_follows_its_formula() -> None:
    beta1, beta2, epsilon, decay, rate = 0.8, 0.9, 1e-3, 0.2, 0.1
    weights, m, v = {"weight": 2.0, "bias": 1.0}, 0.0, 0.0
    for step, gradient in enumerate((1.0, -2.0, 3.0), start=1):
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        update = m / (1 - beta1**step) / ((v / (1 - beta2**step)) ** 0.5 + epsilon)
        weights["weight"] -= rate * (update + decay * weights["weight"])
        weights["bias"] -= rate * update
    found = stepped(AdamW(beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=decay), [1.0, -2.0, 3.0])
    assert found == pytest.approx((weights["weight"], weights["bias"]), rel=1e-9)


@pytest.mark.parametrize("part", [SGD(weight_decay=0.3), AdamW(weight_decay=0.3)])
def test_matrices_decay_and_vectors_do_not(part) -> None:
    model = nn.Sequential(nn.Embedding(3, 4), nn.LayerNorm(4), nn.Linear(4, 2), nn.Linear(2, 4))
    model[3].requires_grad_(False)
    tied = model[2].weight
    model.tied = tied
    groups = part.to_torch(model, 0.1).param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert [len(group["params"]) for group in groups] == [2, 3]
    assert sum(parameter is tied for parameter in groups[0]["params"]) == 1, "a shared weight is taken once"
    assert all(group["lr"] == 0.1 for group in groups)


def test_groups_without_members_are_left_out() -> None:
    assert len(AdamW().to_torch(nn.Linear(3, 1, bias=False), 0.1).param_groups) == 1


def test_specs() -> None:
    assert names() == ["adamw", "sgd"]
    assert from_spec("adamw:weight_decay=0.01,beta2=0.999") == AdamW(weight_decay=0.01, beta2=0.999)
    assert from_spec("sgd:momentum=0.5,nesterov=true") == SGD(momentum=0.5, nesterov=True)


@pytest.mark.parametrize(("spec", "error", "message"), [
    ("adam", UnknownPart, 'No optimizer "adam". Did you mean "adamw"?'),
    ("sgd:momentun=1", ConfigError, 'no argument "momentun". Did you mean "momentum"?'),
    ("sgd:momentum=1", ConfigError, "SGD: momentum must be in [0, 1), got 1.0."),
    ("sgd:momentum=nan", ConfigError, "SGD: momentum must be in [0, 1), got nan."),
    ("sgd:weight_decay=-1", ConfigError, "SGD: weight_decay must be >= 0, got -1.0."),
    ("sgd:momentum=0,nesterov=true", ConfigError, "SGD: nesterov must be false where momentum is 0"),
    ("adamw:beta1=1", ConfigError, "AdamW: beta1 must be in [0, 1), got 1.0."),
    ("adamw:beta2=-0.1", ConfigError, "AdamW: beta2 must be in [0, 1), got -0.1."),
    ("adamw:epsilon=0", ConfigError, "AdamW: epsilon must be > 0, got 0.0."),
    ("adamw:weight_decay=inf", ConfigError, "AdamW: weight_decay must be >= 0, got inf."),
])  # fmt: skip
def test_bad_specs(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        from_spec(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize("part", [SGD(), AdamW()])
def test_a_frozen_model_is_refused(part) -> None:
    with pytest.raises(ValueError, match=r"Linear has no trainable parameter; is every requires_grad False\?"):
        part.to_torch(nn.Linear(2, 2).requires_grad_(False), 0.1)
