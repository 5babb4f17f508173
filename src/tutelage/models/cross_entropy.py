"""linear_cross_entropy: the loss of a linear classifier over many classes, without ever holding all logits."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch.nn import functional

from tutelage.models._autograd import first_derivative_only, for_matmul, widened
from tutelage.models._products import rows_times

Reduction = Literal["mean", "sum"]

# Logits held at once. On a CPU a chunk should stay in its cache (2^21 float32 are 8 MiB); an accelerator wants fewer,
# larger products.
_CPU_ELEMENTS, _ACCELERATOR_ELEMENTS, _LEAST_ROWS = 2**21, 2**26, 128


def linear_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    *,
    reduction: Reduction,
    ignore_index: int = -100,
    chunk_rows: int | None = None,
) -> torch.Tensor:
    """Cross-entropy of ``softmax(hidden @ weight.T)``, computed in chunks of rows together with its gradients.

    Exact, not an approximation. Pays where the logits (rows times classes) are larger than the processor's cache: they
    are made, used for the loss and for both gradients, and overwritten by the next chunk's.

    **Formula**: with logits ``z_r = weight hidden_r`` and kept rows ``R = {r: target_r != ignore_index}``::

        loss_r = log sum_c exp(z_rc) - z_r,target_r
        d loss_r / d hidden_r = weight^T (softmax(z_r) - e_target_r)
        d loss_r / d weight   = (softmax(z_r) - e_target_r) hidden_r^T

    ``sum`` adds ``loss_r`` over ``R``; ``mean`` divides that by ``|R|``.

    Args:
        hidden: Any float type, ``(..., width)``.
        weight: One row a class, ``(classes, width)``.
        targets: Integer classes in ``[0, classes)`` or ``ignore_index``, ``(...)``.
        reduction: ``"mean"`` over the rows that are kept, or their ``"sum"``.
        ignore_index: Target whose row has neither loss nor gradient. -100 as in PyTorch.
        chunk_rows: Rows of logits held at once, >= 1; by default some 8 MiB of them on a CPU, 256 MiB elsewhere.

    Returns:
        A scalar, float32 (float64 for float64 input), in nats; the mean of no rows is nan, as in PyTorch.

    Raises:
        ValueError: Shapes that do not fit, an unknown reduction, ``chunk_rows`` below 1, or, on a CPU, a target that is
            no class (an accelerator reports it by itself).
        TypeError: Targets that are not integers.

    Example:
        >>> hidden, weight = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.eye(2)
        >>> linear_cross_entropy(hidden, weight, torch.tensor([0, 1]), reduction="mean")
        tensor(0.2201)

    Use with:
        Any PyTorch model: give it the last hidden states and the output layer's weight instead of logits. Autocast,
        gradient scaling and accumulation, and DDP work as with ``torch.nn.functional.cross_entropy``.

    Helps / does not help:
        Helps on a CPU as soon as the logits exceed its cache, on an accelerator where they exceed its memory. Logits
        that fit the cache gain nothing. Only first derivatives; per-row losses are not returned.

    Relations:
        Like ``functional.cross_entropy(functional.linear(hidden, weight), targets)``, in less memory and time.

    Source:
        Gradients made in the forward pass, chunk by chunk: Liger Kernel, 2024, arXiv 2410.10989, section 3.2
        (FusedLinearCrossEntropy). Here the factor 1 / ``|R|`` waits for the backward pass, so that float16 gradients do
        not vanish before a gradient scaler has seen them.
    """
    rows = _check(hidden, weight, targets, reduction, ignore_index)
    if chunk_rows is None:
        elements = _CPU_ELEMENTS if hidden.device.type == "cpu" else _ACCELERATOR_ELEMENTS
        chunk_rows = max(_LEAST_ROWS, elements // weight.shape[0])
    elif chunk_rows < 1:
        raise ValueError(f"linear_cross_entropy: chunk_rows must be >= 1, got {chunk_rows}.")
    operands = for_matmul(hidden.reshape(rows, -1), weight)
    flat = targets.reshape(rows)
    with_gradients = torch.is_grad_enabled() and any(operand.requires_grad for operand in operands)
    loss: torch.Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]  # PyTorch leaves it untyped
        *operands, flat, ignore_index, chunk_rows, with_gradients
    )
    return loss if reduction == "sum" else loss / (flat != ignore_index).sum()


def _check(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, reduction: str, ignore_index: int) -> int:
    """Refuse what cannot be computed; return the number of rows."""
    name = "linear_cross_entropy"
    if reduction not in ("mean", "sum"):
        raise ValueError(f'{name}: reduction must be "mean" or "sum", got "{reduction}".')
    if weight.ndim != 2 or hidden.ndim < 1 or hidden.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{name}: hidden must be (..., width) and weight (classes, width), "
            f"got {tuple(hidden.shape)} and {tuple(weight.shape)}."
        )
    if targets.shape != hidden.shape[:-1]:
        raise ValueError(
            f"{name}: targets must have hidden's shape without the last dimension, {tuple(hidden.shape[:-1])}, "
            f"got {tuple(targets.shape)}."
        )
    if targets.is_floating_point() or targets.is_complex() or targets.dtype is torch.bool:
        raise TypeError(f"{name}: targets must be integers, got {targets.dtype}.")
    if targets.device.type == "cpu" and targets.numel():
        # Looking at the values would make an accelerator wait.
        wrong = (targets < 0) | (targets >= weight.shape[0])
        wrong &= targets != ignore_index
        if wrong.any():
            raise ValueError(
                f"{name}: targets must be in [0, {weight.shape[0]}) or {ignore_index} (ignored), "
                f"got {targets[wrong][0].item()}."
            )
    return targets.numel()


class _LinearCrossEntropy(torch.autograd.Function):
    """The sum over kept rows; both gradients are ready when the forward pass ends."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        ignore_index: int,
        chunk_rows: int,
        with_gradients: bool,
    ) -> torch.Tensor:
        """Return the sum of the losses.

        Args:
            ctx: Autograd's context.
            hidden: ``(rows, width)``.
            weight: ``(classes, width)``, same precision.
            targets: ``(rows,)``.
            ignore_index: Target without loss.
            chunk_rows: Rows of logits held at once.
            with_gradients: Whether a backward pass will follow.
        """
        kept = (targets != ignore_index).unsqueeze(1)
        columns = targets.long().unsqueeze(1).masked_fill(~kept, 0)
        precision = widened(hidden.new_empty(0)).dtype
        total = hidden.new_zeros((), dtype=precision)
        for_hidden, for_weight = (with_gradients and needed for needed in ctx.needs_input_grad[:2])
        grad_hidden = torch.empty_like(hidden) if for_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=precision) if for_weight else None
        for start in range(0, len(hidden), chunk_rows):
            rows = slice(start, start + chunk_rows)
            keep, column = kept[rows], columns[rows]
            # Ignored rows as zeros: they add nothing to the weight's gradient, whatever was in them.
            part = hidden[rows].masked_fill(~keep, 0)
            scores = widened(rows_times(part, weight.t()))
            highest, chosen = scores.amax(1, keepdim=True), scores.gather(1, column)
            # A second buffer would push the first out of a CPU's cache; row by row, in place is safe there.
            probabilities = torch.softmax(scores, 1, out=scores if scores.device.type == "cpu" else None)
            # The likeliest class has probability 1 / sum exp(score - highest) >= 1 / classes: its logarithm is
            # accurate where the target's own would underflow.
            losses = (highest - chosen) - probabilities.amax(1, keepdim=True).log()
            total += torch.where(keep, losses, 0).sum()
            probabilities.scatter_add_(1, column, probabilities.new_full(column.shape, -1))
            slopes = probabilities.to(hidden.dtype)
            if grad_hidden is not None:
                torch.mul(rows_times(slopes, weight), keep, out=grad_hidden[rows])
            if grad_weight is not None and grad_weight.dtype is slopes.dtype:
                grad_weight.addmm_(slopes.t(), part)
            elif grad_weight is not None:
                grad_weight += slopes.t() @ part
        ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.weight_precision = weight.dtype
        return total

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        """Return the stored gradients times the incoming one; they stay as they are for another call."""
        grad_hidden, grad_weight = ctx.saved_tensors
        (scale,) = gradients
        hidden = None if grad_hidden is None else grad_hidden * scale
        weight = None if grad_weight is None else (grad_weight * scale).to(ctx.weight_precision)
        return hidden, weight, None, None, None, None


def plain_linear_cross_entropy(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, *, reduction: Reduction
) -> torch.Tensor:
    """Return the same loss from plain operations, for transforms that need every step (see ``fused``)."""
    rows = _check(hidden, weight, targets, reduction, -100)
    logits = widened(functional.linear(hidden, weight).reshape(rows, -1))
    return functional.cross_entropy(logits, targets.reshape(rows), reduction=reduction)
