"""The pieces of a transformer block with backward passes written by hand, each beside its plain form.

On a CPU a small model spends what matrix products leave on passes over memory; writing the backward pass saves about
half of those. ``fused=False`` is the same function in plain operations: for second derivatives, ``torch.func`` and
``torch.compile``, and the reference the tests compare with.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.nn import functional

from tutelage.models._autograd import first_derivative_only, for_matmul, widened
from tutelage.models._products import rows_times

_EPSILON = 1e-6
Triple = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def rms_norm(x: torch.Tensor, *, fused: bool = True) -> torch.Tensor:
    """Return ``x / sqrt(mean(x^2) + 1e-6)`` over the last dimension, without a gain.

    The matrix that follows can hold a gain, so leaving it out takes nothing from what the model can express.

    Source: Root mean square layer normalization, Zhang and Sennrich, 2019, arXiv 1910.07467, equation 4, gain 1.
    """
    if fused:
        result: torch.Tensor = _RMSNorm.apply(x)  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        return result
    wide = widened(x)
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + _EPSILON)).to(x.dtype)


class _RMSNorm(torch.autograd.Function):
    """With ``r`` the factor and ``y = r x``: ``dx = r (dy - y mean(y dy))``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        wide = widened(x)
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        factor = length.square_().div_(x.shape[-1]).add_(_EPSILON).rsqrt_()
        y = wide * factor
        ctx.save_for_backward(y, factor)
        result: torch.Tensor = y.to(x.dtype)
        return result

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        y, factor = ctx.saved_tensors
        gradient = widened(gradients[0])
        along = torch.mul(gradient, y).sum(-1, keepdim=True).div_(-y.shape[-1])
        grad_x: torch.Tensor = torch.addcmul(gradient, y, along).mul_(factor).to(gradients[0].dtype)
        return grad_x


def squared_relu_mlp(
    x: torch.Tensor, expand: torch.Tensor, contract: torch.Tensor, *, fused: bool = True
) -> torch.Tensor:
    """Return ``relu(x expand^T)^2 contract^T``.

    Args:
        x: ``(..., width)``.
        expand: ``(inner, width)``.
        contract: ``(width, inner)``.
        fused: Use the backward pass written by hand.

    Source: Primer, So et al., 2021, arXiv 2109.08668, section 4 (squared ReLU).
    """
    if not fused:
        return functional.linear(functional.relu(functional.linear(x, expand)).square(), contract)
    result: torch.Tensor = _SquaredReLUMLP.apply(*for_matmul(x, expand, contract))  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
    return result


class _SquaredReLUMLP(torch.autograd.Function):
    """With ``a = relu(x E^T)``: ``da^2 = dy C``, ``du = 2 a da^2``, ``dx = du E``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, expand: torch.Tensor, contract: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        active = rows_times(rows, expand.t()).relu_()
        squared = active.square()
        ctx.save_for_backward(rows, expand, contract, active, squared)
        return rows_times(squared, contract.t()).view(*x.shape[:-1], -1)

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        rows, expand, contract, active, squared = ctx.saved_tensors
        gradient = gradients[0].reshape(len(rows), -1)
        grad_contract = torch.mm(gradient.t(), squared) if ctx.needs_input_grad[2] else None
        # The factor 2 goes into the small matrix, not into another pass over the large one.
        inner = rows_times(gradient, contract * 2).mul_(active)
        grad_expand = torch.mm(inner.t(), rows) if ctx.needs_input_grad[1] else None
        grad_x = rows_times(inner, expand).view(*gradients[0].shape[:-1], -1) if ctx.needs_input_grad[0] else None
        return grad_x, grad_expand, grad_contract


@functools.lru_cache(maxsize=64)
def rotations(length: int, head_width: int, device: torch.device, precision: torch.dtype) -> torch.Tensor:
    """Return ``exp(i position 10000^(-2 pair / head_width))``, complex, ``(length, 1, 1, head_width / 2)``.

    Kept outside the model: a buffer would lose its imaginary part or its accuracy when a model changes its precision.

    Source: RoFormer, Su et al., 2021, arXiv 2104.09864, equations 14 and 15.
    """
    with torch.inference_mode(False):
        pairs = torch.arange(0, head_width, 2, dtype=torch.float64) / head_width
        angles = torch.outer(torch.arange(length, dtype=torch.float64), 10000.0**-pairs)
        exact = torch.polar(torch.ones_like(angles), angles).view(length, 1, 1, -1)
        return exact.to(device, torch.complex128 if precision is torch.float64 else torch.complex64)


def rotated_projection(x: torch.Tensor, weight: torch.Tensor, heads: int, *, fused: bool = True) -> Triple:
    """Return queries, keys and values of ``x``, the first two turned by their position.

    Neighbouring entries ``(2 j, 2 j + 1)`` of a head form the pair that turns by
    ``position 10000^(-2 j / head_width)``, so the product of a query and a key depends on the distance of their
    positions only.

    Args:
        x: ``(batch, length, width)``.
        weight: Queries, keys and values stacked, ``(3 width, width)``.
        heads: Heads; ``width / heads`` is even.
        fused: Use the backward pass written by hand.

    Returns:
        Three tensors of shape ``(batch, heads, length, width / heads)``.
    """
    x, weight = for_matmul(x, weight)
    rotation = rotations(x.shape[1], x.shape[2] // heads, x.device, x.dtype)
    if fused:
        result: Triple = _RotatedProjection.apply(x, weight, rotation, heads)  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        return result
    packed = functional.linear(x, weight).view(*x.shape[:2], 3, heads, -1)
    query_key, value = packed[:, :, :2], packed[:, :, 2]
    wide = widened(query_key)
    pairs = torch.view_as_complex(wide.view(*wide.shape[:-1], -1, 2))
    turned = torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)
    query, key = turned.unbind(2)
    return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


class _RotatedProjection(torch.autograd.Function):
    """One product for all three, turned where it lies; the gradient is turned back where it lies."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, rotation: torch.Tensor, heads: int) -> Triple:
        rows = x.reshape(-1, x.shape[-1])
        packed = rows_times(rows, weight.t()).view(*x.shape[:2], 3, heads, -1)
        _turn(packed, rotation)
        ctx.save_for_backward(rows, weight, rotation)
        query, key, value = packed.transpose(1, 3).unbind(2)
        return query, key, value

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        rows, weight, rotation = ctx.saved_tensors
        packed = torch.stack([gradient.transpose(1, 2) for gradient in gradients], dim=2)
        _turn(packed, rotation.conj())
        flat = packed.view(len(rows), -1)
        grad_x = rows_times(flat, weight).view(*packed.shape[:2], -1) if ctx.needs_input_grad[0] else None
        grad_weight = torch.mm(flat.t(), rows) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, None, None


def _turn(packed: torch.Tensor, rotation: torch.Tensor) -> None:
    """Turn queries and keys of ``(batch, length, 3, heads, head_width)`` in place."""
    query_key = packed[:, :, :2]
    wide = widened(query_key)
    torch.view_as_complex(wide.view(*wide.shape[:-1], -1, 2)).mul_(rotation)
    if wide is not query_key:
        query_key.copy_(wide)
