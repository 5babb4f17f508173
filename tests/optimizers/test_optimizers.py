"""Optimizer settings: the formula in the card, beside PyTorch's numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tutelage.errors import ConfigError, UnknownPart
from tutelage.optimizers import SGD, AdamW, NAdamW, from_spec, names


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


def nadam(gradients, *, beta1, beta2, epsilon, decay, rate, momentum_decay=None):
    """Weight and bias by the formula of the card, one number at a time."""
    weights, m, v, product = {"weight": 2.0, "bias": 1.0}, 0.0, 0.0, 1.0

    def mu(step):
        return beta1 if momentum_decay is None else beta1 * (1 - 0.5 * 0.96 ** (step * momentum_decay))

    for step, gradient in enumerate(gradients, start=1):
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        product *= mu(step)
        ahead = mu(step + 1) * m / (1 - product * mu(step + 1)) + (1 - mu(step)) * gradient / (1 - product)
        update = ahead / ((v / (1 - beta2**step)) ** 0.5 + epsilon)
        weights["weight"] -= rate * (update + decay * weights["weight"])
        weights["bias"] -= rate * update
    return weights["weight"], weights["bias"]


@pytest.mark.parametrize("momentum_decay", [None, 0.004, 2.0])
def test_nadamw_follows_its_formula(momentum_decay) -> None:
    settings = {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3}
    part = NAdamW(**settings, weight_decay=0.2, momentum_decay=momentum_decay)
    expected = nadam([1.0, -2.0, 3.0], **settings, decay=0.2, rate=0.1, momentum_decay=momentum_decay)
    # PyTorch keeps the product of mu in single precision.
    assert stepped(part, [1.0, -2.0, 3.0]) == pytest.approx(expected, rel=1e-6)


def test_nadamw_becomes_algoperfs_after_its_start() -> None:
    def reference(gradients, beta1=0.9, beta2=0.95, rate=0.1):
        """AlgoPerf's variant: both terms are corrected for the start at 0 by the same divisor."""
        m, v, updates = 0.0, 0.0, []
        for step, gradient in enumerate(gradients, start=1):
            m = beta1 * m + (1 - beta1) * gradient
            v = beta2 * v + (1 - beta2) * gradient**2
            ahead = (beta1 * m + (1 - beta1) * gradient) / (1 - beta1**step)
            updates.append(rate * ahead / (v / (1 - beta2**step)) ** 0.5)
        return updates

    gradients = [1.0, 0.5, -0.25, 2.0] * 30
    model = model_of(2.0)
    optimizer = NAdamW(epsilon=1e-300).to_torch(model, 0.1)
    ours = []
    for gradient in gradients:
        before = model.bias.item()
        model.weight.grad = torch.zeros_like(model.weight)
        model.bias.grad = torch.full_like(model.bias, gradient)
        optimizer.step()
        ours.append(before - model.bias.item())
    theirs = reference(gradients)
    assert ours[0] == pytest.approx(0.1 * (1 + 0.9 / 1.9))
    assert theirs[0] == pytest.approx(0.1 * 1.9)
    assert ours[-20:] == pytest.approx(theirs[-20:], rel=1e-4)


@pytest.mark.parametrize("part", [SGD(weight_decay=0.3), AdamW(weight_decay=0.3), NAdamW(weight_decay=0.3)])
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
    assert names() == ["adamw", "nadamw", "sgd"]
    assert from_spec("adamw:weight_decay=0.01,beta2=0.999") == AdamW(weight_decay=0.01, beta2=0.999)
    assert from_spec("nadamw:momentum_decay=0.004") == NAdamW(momentum_decay=0.004)
    assert from_spec("nadamw:momentum_decay=none") == NAdamW()
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
    ("nadamw:beta1=1", ConfigError, "NAdamW: beta1 must be in [0, 1), got 1.0."),
    ("nadamw:epsilon=-1", ConfigError, "NAdamW: epsilon must be > 0, got -1.0."),
    ("nadamw:weight_decay=nan", ConfigError, "NAdamW: weight_decay must be >= 0, got nan."),
    ("nadamw:momentum_decay=0", ConfigError, "NAdamW: momentum_decay must be > 0, or none for constant momentum"),
    ("nadamw:momentum_decay=inf", ConfigError, "got inf."),
])  # fmt: skip
def test_bad_specs(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        from_spec(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize("part", [SGD(), AdamW(), NAdamW()])
def test_a_frozen_model_is_refused(part) -> None:
    with pytest.raises(ValueError, match=r"Linear has no trainable parameter; is every requires_grad False\?"):
        part.to_torch(nn.Linear(2, 2).requires_grad_(False), 0.1)
