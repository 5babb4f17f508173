"""Every backward pass written by hand: derivatives, the plain form, the printed formula, and the rotary property."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import transformer as reference

from tutelage.errors import TutelageError
from tutelage.models._fused import rms_norm, rotated_projection, rotations, squared_relu_mlp


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


X = (2, 5, 8)
CASES = {
    "rms_norm": (rms_norm, reference.norm, [X]),
    "squared_relu_mlp": (squared_relu_mlp, reference.mlp, [X, (12, 8), (8, 12)]),
    "rotated_projection": (
        lambda x, weight, **settings: rotated_projection(x, weight, 2, **settings),
        lambda x, weight: reference.projection(x, weight, 2),
        [X, (24, 8)],
    ),
}
PARTS = pytest.mark.parametrize("part", CASES)


def build(part: str, seed: int = 0):
    function, formula, shapes = CASES[part]
    return function, formula, [randn(*shape, seed=seed + index) for index, shape in enumerate(shapes)]


@PARTS
def test_gradcheck(part):
    function, _, tensors = build(part)
    assert torch.autograd.gradcheck(function, tensors)


@PARTS
@pytest.mark.parametrize("fused", [True, False])
def test_agrees_with_the_printed_formula(part, fused):
    function, formula, tensors = build(part)
    ours, expected = function(*tensors, fused=fused), formula(*tensors)
    torch.testing.assert_close(ours, expected, rtol=1e-13, atol=1e-13)
    gradients = torch.autograd.grad(total(ours), tensors)
    for one, other in zip(gradients, torch.autograd.grad(total(expected), tensors), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def total(outputs) -> torch.Tensor:
    """A scalar in which every entry of every output has a weight of its own."""
    listed = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum((one * torch.linspace(-1, 2, one.numel()).to(one).view_as(one)).sum() for one in listed)


@PARTS
def test_gradient_only_where_asked_for(part):
    function, _, tensors = build(part)
    expected = torch.autograd.grad(total(function(*tensors)), tensors)
    for index, tensor in enumerate(tensors):
        alone = [one.detach() for one in tensors]
        alone[index].requires_grad_()
        total(function(*alone)).backward()
        torch.testing.assert_close(alone[index].grad, expected[index], rtol=0, atol=0)
        assert all(other.grad is None for other in alone if other is not alone[index])
        assert tensor.grad is None


@PARTS
def test_backward_twice_gives_the_same(part):
    function, _, tensors = build(part)
    loss = total(function(*tensors))
    first = torch.autograd.grad(loss, tensors, retain_graph=True)
    again = torch.autograd.grad(loss, tensors)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@PARTS
def test_inputs_are_left_alone(part):
    function, _, tensors = build(part)
    before = [tensor.detach().clone() for tensor in tensors]
    total(function(*tensors)).backward()
    assert all(torch.equal(one, other) for one, other in zip(tensors, before, strict=True))


@PARTS
def test_gradients_of_any_layout(part):
    function, formula, tensors = build(part)
    # An expanded scalar as incoming gradient: neither contiguous nor writable.
    ours = function(*tensors)
    expected = formula(*tensors)
    pick = (lambda outputs: outputs[1]) if isinstance(ours, tuple) else (lambda outputs: outputs)
    gradients = torch.autograd.grad(pick(ours).sum(), tensors)
    for one, other in zip(gradients, torch.autograd.grad(pick(expected).sum(), tensors), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@PARTS
def test_second_derivatives_are_refused_and_plain_has_them(part):
    function, _, tensors = build(part)
    with pytest.raises(TutelageError, match="fused=False"):
        torch.autograd.grad(total(function(*tensors)), tensors, create_graph=True)
    assert torch.autograd.gradgradcheck(lambda *parts: function(*parts, fused=False), tensors)


@PARTS
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_autocast_and_low_precision_as_the_plain_form(part, precision):
    function, _, tensors = build(part)
    for cast, context in ((torch.float32, torch.autocast("cpu", dtype=precision)), (precision, torch.no_grad())):
        parts = [tensor.detach().to(cast).requires_grad_() for tensor in tensors]
        with context:
            ours, expected = function(*parts), function(*parts, fused=False)
        for one, other in zip(listed(ours), listed(expected), strict=True):
            assert one.dtype is other.dtype
            # Operands are rounded to 8 (11) bits in both; the plain form rounds once more in between.
            torch.testing.assert_close(one, other, rtol=0.02, atol=0.02 * other.abs().max().item())
    parts = [tensor.detach().float().requires_grad_() for tensor in tensors]
    with torch.autocast("cpu", dtype=precision):
        ours, expected = total(function(*parts)), total(function(*parts, fused=False))
    for one, other in zip(torch.autograd.grad(ours, parts), torch.autograd.grad(expected, parts), strict=True):
        assert one.dtype is torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.03 * other.abs().max().item())


def listed(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


def test_norm_has_root_mean_square_one_and_forgets_the_scale():
    x = randn(3, 7, 64) * 100
    y = rms_norm(x)
    torch.testing.assert_close(y.square().mean(-1), torch.ones(3, 7, dtype=torch.float64), rtol=1e-9, atol=0)
    torch.testing.assert_close(rms_norm(1e3 * x), y, rtol=1e-9, atol=1e-9)
    assert not rms_norm(torch.zeros(2, 4)).any()


@given(
    distance=st.integers(0, 20), start=st.integers(0, 20), heads=st.sampled_from([1, 2, 4]), seed=st.integers(0, 999)
)
def test_a_query_and_a_key_see_only_how_far_apart_they_are(distance, start, heads, seed):
    weight = randn(48, 16, seed=seed).detach()
    token = randn(1, 1, 16, seed=seed + 1).detach()
    query, key, value = rotated_projection(token.expand(1, 64, 16), weight, heads)
    product = (query[:, :, start + distance] * key[:, :, start]).sum(-1)
    shifted = (query[:, :, start + distance + 23] * key[:, :, start + 23]).sum(-1)
    torch.testing.assert_close(product, shifted, rtol=1e-10, atol=1e-10)
    # Values do not turn, turning changes no length, and position 0 turns nothing.
    assert torch.equal(value, value[:, :, :1].expand_as(value))
    torch.testing.assert_close(query.norm(dim=-1), query[:, :, :1].norm(dim=-1).expand(1, heads, 64))
    torch.testing.assert_close(query[:, :, 0].flatten(), (weight[:16] @ token.flatten()))


def test_a_query_and_a_key_do_see_how_far_apart_they_are():
    token, weight = randn(1, 1, 16).detach().expand(1, 64, 16), randn(48, 16).detach()
    query, key, _ = rotated_projection(token, weight, 2)
    products = (query[:, :, 20:21] * key[:, :, :21]).sum(-1)
    assert products.unique().numel() == products.numel()


def test_rotations_made_without_gradients_serve_training():
    rotations.cache_clear()
    x, weight = randn(1, 13, 8), randn(24, 8)
    with torch.inference_mode():
        rotated_projection(x, weight, 2)
    total(rotated_projection(x, weight, 2)).backward()
    assert x.grad.isfinite().all()


def test_rotations_known_values():
    turned = rotations(3, 4, torch.device("cpu"), torch.float64)[:, 0, 0]
    assert turned[0].tolist() == [1, 1]
    torch.testing.assert_close(turned[2].angle(), torch.tensor([2.0, 0.02], dtype=torch.float64))
