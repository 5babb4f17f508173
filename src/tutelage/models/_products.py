"""Matrix products of the fused layers: PyTorch has two libraries for them, and which one is faster depends.

``torch.mm`` calls Intel's MKL. On AMD processors with AVX-512 the oneDNN that PyTorch also brings is faster where rows
of activations meet a weight; for gradients of weights, where both operands are long and thin, it is not. What the whole
gains is in ``benchmarks/throughput.py``. The choice hangs on the processor alone, never on a timing: a run that is
resumed must round as it did before.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from tutelage.models._autograd import first_derivative_only, for_matmul


def rows_times(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Return ``rows @ matrix`` for ``(n, k)`` rows of activations and a ``(k, m)`` weight, transposed or not."""
    if rows.dtype is torch.float32 and rows.device.type == "cpu" and len(rows) and _onednn_is_faster():
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, matrix.t(), None, "none", [], "")
        return product
    return torch.mm(rows, matrix)


def linear(x: torch.Tensor, weight: torch.Tensor, *, fused: bool = True) -> torch.Tensor:
    """Return ``x weight^T`` for ``(..., width)`` and ``(out, width)``."""
    if not fused:
        return torch.nn.functional.linear(x, weight)
    result: torch.Tensor = _Linear.apply(*for_matmul(x, weight))  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
    return result


class _Linear(torch.autograd.Function):
    """``dx = dy W``, ``dW = dy^T x``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        ctx.save_for_backward(rows, weight)
        return rows_times(rows, weight.t()).view(*x.shape[:-1], -1)

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        rows, weight = ctx.saved_tensors
        gradient = gradients[0].reshape(len(rows), -1)
        grad_x = rows_times(gradient, weight).view(*gradients[0].shape[:-1], -1) if ctx.needs_input_grad[0] else None
        grad_weight = torch.mm(gradient.t(), rows) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight


def _onednn_is_faster() -> bool:
    # PyTorch's own switch (torch.backends.mkldnn.flags) turns it off here too.
    return _processor_prefers_onednn() and torch._C._get_mkldnn_enabled()


@functools.cache
def _processor_prefers_onednn() -> bool:
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
    if not there or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
