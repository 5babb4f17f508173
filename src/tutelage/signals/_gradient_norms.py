"""The gradient each single example would make, by its norm alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Method = Literal["vmap", "backward"]


def gradient_norms(
    model: nn.Module,
    loss: Callable[[nn.Module, Any], torch.Tensor],
    batch: Any,
    *,
    method: Method = "vmap",
    chunk: int = 64,
    parameters: Callable[[str], bool] | None = None,
) -> NDArray[np.float64]:
    """Return the norm of the gradient of each example's loss with respect to the weights, exactly: GraNd.

    **Formula**: ``score_i = || d loss(model, example_i) / d w ||_2`` over all weights ``w`` that are trained.

    The model is used in the mode it is in; call ``model.eval()`` unless its dropout is meant to be felt. Batch
    normalisation in training mode has no gradient of a single example.

    Args:
        model: The model; its gradients are left as they are.
        loss: ``loss(model, batch)``, the mean (or sum) over a batch, a scalar; called with batches of one example.
        batch: A tensor, or a tuple, list or dict of tensors, first dimension the examples.
        method: ``"vmap"``: many examples at once by ``torch.func``, which needs operations that have second
            derivatives and no look at values (our decoder with ``fused=False``, its loss from logits); ``"backward"``:
            one backward pass an example, which any model allows and whose memory is that of one example.
        chunk: Examples whose gradients are held at once by ``"vmap"``, >= 1.
        parameters: Takes a weight's name and says whether it counts; all that require gradients where ``None``.

    Returns:
        float64 ``(n,)``, >= 0.

    Raises:
        ValueError: An unknown method, a chunk below 1, or no weight that counts.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> _ = model.weight.data.copy_(torch.tensor([[1.0, 1.0]]))
        >>> def loss(model, batch):
        ...     return (model(batch[0])[:, 0] - batch[1]).square().mean()
        >>> gradient_norms(model, loss, (torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([6.0, 1.0])))
        array([10.,  0.])

    Source:
        Paul, Ganguli and Dziugaite, Deep learning on a data diet, 2021, arXiv 2107.07075, definition 2.1; their code
        (mansheej/data_diet, ``get_grad_norm_fn``) takes the norm over all weights alike.
    """
    if method not in ("vmap", "backward"):
        raise ValueError(f'gradient_norms: method must be "vmap" or "backward", got "{method}".')
    if chunk < 1:
        raise ValueError(f"gradient_norms: chunk must be >= 1, got {chunk}.")
    names = [
        name
        for name, weight in model.named_parameters()
        if weight.requires_grad and (parameters is None or parameters(name))
    ]
    if not names:
        raise ValueError("gradient_norms: no weight of the model requires a gradient and counts.")
    count = _length(batch)
    if method == "backward":
        return np.array([_one(model, loss, _slice(batch, place, place + 1), names) for place in range(count)])
    found = [
        _many(model, loss, _slice(batch, start, min(count, start + chunk)), names) for start in range(0, count, chunk)
    ]
    return np.concatenate(found) if found else np.empty(0)


def _one(model: nn.Module, loss: Callable[[nn.Module, Any], torch.Tensor], example: Any, names: Sequence[str]) -> float:
    weights = dict(model.named_parameters())
    with torch.enable_grad():
        grads = torch.autograd.grad(loss(model, example), [weights[name] for name in names], allow_unused=True)
    squares = [grad.double().square().sum() for grad in grads if grad is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


class _Bound(nn.Module):
    """A loss as a module, so that ``functional_call`` can put weights into the model it holds."""

    def __init__(self, model: nn.Module, loss: Callable[[nn.Module, Any], torch.Tensor]) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, batch: Any) -> torch.Tensor:
        return self.loss(self.model, batch)


def _many(
    model: nn.Module, loss: Callable[[nn.Module, Any], torch.Tensor], batch: Any, names: Sequence[str]
) -> NDArray[np.float64]:
    bound = _Bound(model, loss)
    # The model is in the same mode as before: the holder's own mode is never passed on.
    weights = {f"model.{name}": weight.detach() for name, weight in model.named_parameters()}
    moving = {f"model.{name}": weights.pop(f"model.{name}") for name in names}
    still = weights | {f"model.{name}": value.detach() for name, value in model.named_buffers()}

    def of_one(values: Mapping[str, torch.Tensor], example: Any) -> torch.Tensor:
        found: torch.Tensor = torch.func.functional_call(bound, {**still, **values}, (_map(example, _unsqueeze),))
        return found

    # Attention in plain operations: those that are written for speed alone have no rule for many examples at once.
    with sdpa_kernel(SDPBackend.MATH):
        grads = torch.func.vmap(torch.func.grad(of_one), in_dims=(None, 0), randomness="different")(moving, batch)
    squares = torch.stack([grad.double().flatten(1).square().sum(1) for grad in grads.values()])
    return squares.sum(0).sqrt().cpu().numpy()


def last_layer_gradient_norms(
    hidden: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, *, bias: bool = True
) -> NDArray[np.float64]:
    """Return the norm of each example's gradient with respect to the weights of a last linear layer alone.

    A closed form for a softmax classifier, from one forward pass. It is not GraNd, which takes all weights, but the
    part of it that the last layer makes; it is never larger.

    **Formula**: with logits ``z = W h + b`` and ``p = softmax(z)``, ``d loss / d W = (p - e_y) h^T``, so::

        score = ||p - e_y||_2 * sqrt(||h||_2^2 + 1)       (without the 1 where there is no bias)

    Args:
        hidden: What the last layer reads, ``(n, width)``.
        logits: What it returns, ``(n, classes)``.
        labels: Right classes, int64 ``(n,)``.
        bias: Whether the layer has a bias.

    Returns:
        float64 ``(n,)``.

    Raises:
        ValueError: Shapes that do not fit.

    Example:
        >>> hidden, logits = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
        >>> [round(float(value), 4) for value in last_layer_gradient_norms(hidden, logits, torch.tensor([0]))]
        [3.6056]

    Source:
        Algebra; ``||p - e_y||`` is EL2N (arXiv 2107.07075, section 2.3).
    """
    if hidden.ndim != 2 or logits.ndim != 2 or labels.shape != hidden.shape[:1] or len(logits) != len(hidden):
        raise ValueError(
            "last_layer_gradient_norms: hidden must be (n, width), logits (n, classes) and labels (n,), got "
            f"{tuple(hidden.shape)}, {tuple(logits.shape)} and {tuple(labels.shape)}."
        )
    errors = torch.softmax(logits.double(), dim=-1)
    errors[torch.arange(len(labels)), labels] -= 1
    size = hidden.double().square().sum(-1) + (1 if bias else 0)
    return (errors.square().sum(-1) * size).sqrt().cpu().numpy()


def _unsqueeze(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.unsqueeze(0)


def _slice(batch: Any, start: int, stop: int) -> Any:
    return _map(batch, lambda tensor: tensor[start:stop])


def _map(batch: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(batch, torch.Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {name: _map(part, change) for name, part in batch.items()}
    return type(batch)(_map(part, change) for part in batch)


def _length(batch: Any) -> int:
    if isinstance(batch, torch.Tensor):
        return len(batch)
    return _length(next(iter(batch.values() if isinstance(batch, Mapping) else batch)))
