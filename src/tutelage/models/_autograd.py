"""What functions with a backward pass written by hand share: precisions, and the refusal of second derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from tutelage.errors import TutelageError


def for_matmul(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the tensors in the precision a matrix product has here: autocast's where that is on, else their own.

    Differentiable, so gradients come back in each tensor's own precision. Float64 is left alone, as autocast does.
    """
    device = tensors[0].device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return tensors
    precision = torch.get_autocast_dtype(device)
    return tuple(tensor if tensor.dtype is torch.float64 else tensor.to(precision) for tensor in tensors)


def widened(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in float32 if it is held in fewer bits, else the tensor itself."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def first_derivative_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Make a backward pass refuse ``create_graph=True``.

    PyTorch's ``once_differentiable`` does not notice it where the incoming gradient is a constant, and then a gradient
    penalty would be treated as one too, in silence.
    """

    @functools.wraps(backward)
    def checked(ctx: Any, *gradients: torch.Tensor) -> Any:
        if torch.is_grad_enabled():
            raise TutelageError(
                "create_graph=True needs second derivatives, which the fast functions do not have; "
                "build the model with fused=False (the loss alone: torch.nn.functional.cross_entropy)."
            )
        return backward(ctx, *gradients)

    return checked
