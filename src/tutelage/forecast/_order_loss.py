"""A model's loss as a function of one vector of all its weights: values, gradients and curvature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap

#: Directions that one batched product takes at a time.
_AT_ONCE = 256


class _Bound(nn.Module):
    """A model and its loss as one module, so that weights can be swapped below both."""

    def __init__(self, model: nn.Module, loss_fn: Callable[[Any, Any], torch.Tensor]) -> None:
        super().__init__()
        self.model, self.loss_fn = model, loss_fn

    def forward(self, batch: Any) -> torch.Tensor:
        return self.loss_fn(self.model, batch)


class FlatLoss:
    """``loss_fn`` as a function of a flat vector.

    Args:
        loss_fn: ``loss_fn(params, batch)`` for a mapping of tensors, ``loss_fn(model, batch)`` for a module; a scalar.
        params: Weights to start from; of a module those that require gradients.

    Raises:
        TypeError: ``params`` is neither a mapping of tensors nor a module.
        ValueError: No weights, or weights that are not all float32 or all float64 on one device.
    """

    def __init__(self, loss_fn: Callable[[Any, Any], torch.Tensor], params: Mapping[str, torch.Tensor] | nn.Module):
        self._call: Callable[[Any, Any], Any]
        if isinstance(params, nn.Module):
            bound = _Bound(params, loss_fn)
            self._model: nn.Module | None = params
            named: dict[str, torch.Tensor] = {name: one for name, one in params.named_parameters() if one.requires_grad}
            self._call = lambda weights, batch: functional_call(
                bound, {f"model.{name}": one for name, one in weights.items()}, (batch,)
            )
        elif isinstance(params, Mapping) and all(isinstance(one, torch.Tensor) for one in params.values()):
            self._model, self._call = None, loss_fn
            named = dict(params)
        else:
            raise TypeError(f"params must be a mapping of names to tensors or a torch module, got {type(params)}.")
        if not named:
            raise ValueError("params must hold at least one weight that requires gradients, got none.")
        kinds = {(one.dtype, one.device) for one in named.values()}
        if len(kinds) > 1 or next(iter(kinds))[0] not in (torch.float32, torch.float64):
            found = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise ValueError(f"params must all be float32 or all float64, on one device, got {found}. Convert them.")
        self._shapes = {name: one.shape for name, one in named.items()}
        self._sizes = [one.numel() for one in named.values()]
        self.start = torch.cat([one.detach().reshape(-1) for one in named.values()]).clone()

    @property
    def size(self) -> int:
        """Number of weights."""
        return len(self.start)

    def named(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the weights by name, as views of ``vector``."""
        pieces = torch.split(vector, self._sizes)
        return {name: one.view(shape) for (name, shape), one in zip(self._shapes.items(), pieces, strict=True)}

    def __call__(self, vector: torch.Tensor, batch: Any) -> torch.Tensor:
        """Return the loss, a scalar that can be differentiated."""
        loss = self._call(self.named(vector), batch)
        if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else type(loss).__name__
            raise ValueError(f"loss_fn must return a scalar tensor, got {shape}. Return the mean over the batch.")
        return loss.reshape(())

    def value(self, vector: torch.Tensor, batch: Any) -> float:
        """Return the loss as a number."""
        with torch.no_grad():
            return float(self(vector, batch))

    def gradient(self, vector: torch.Tensor, batch: Any) -> torch.Tensor:
        """Return the gradient, shape ``(d,)``."""
        at = vector.detach().requires_grad_()
        return torch.autograd.grad(self(at, batch), at)[0]

    def check_repeatable(self, batch: Any) -> None:
        """Refuse a loss that is not a function of weights and batch.

        Raises:
            ValueError: Two calls differ, or the call changed a buffer of the model.
        """
        before = {name: one.clone() for name, one in (self._model.named_buffers() if self._model else ())}
        first, second = (self.value(self.start, batch) for _ in range(2))
        if not math.isclose(first, second, rel_tol=1e-4, abs_tol=1e-12):
            raise ValueError(
                f"loss_fn must give one value for the same weights and batch, got {first:g} and then {second:g}. "
                "Turn dropout off (model.eval()) or fix its draws for each batch."
            )
        for name, one in before.items():
            if self._model and not torch.equal(dict(self._model.named_buffers())[name], one):
                raise ValueError(
                    f"loss_fn must not change the model, and it changed the buffer {name}. "
                    "Call model.eval(), or use a normalisation without running statistics."
                )

    # --- curvature ---------------------------------------------------------------------------------------------------

    def hessian(self, vector: torch.Tensor, batch: Any) -> torch.Tensor:
        """Return all second derivatives, shape ``(d, d)``."""

        # Reverse passes only: forward ones compile code with a call that torch itself warns about.
        def value(x: torch.Tensor) -> torch.Tensor:
            return self(x, batch)

        found: torch.Tensor = jacrev(grad(value), chunk_size=_AT_ONCE)(vector.detach())
        return found.detach()

    def diagonals(self, vector: torch.Tensor, batch: Any, *, third: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the second derivative by each weight alone, and the third where asked, each of shape ``(d,)``."""
        at = vector.detach()

        def value(x: torch.Tensor) -> torch.Tensor:
            return self(x, batch)

        def one(place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            direction = (torch.arange(len(at), device=at.device) == place).to(at.dtype)

            def first(x: torch.Tensor) -> torch.Tensor:
                slope: torch.Tensor = grad(value)(x)
                return slope @ direction

            def second(x: torch.Tensor) -> torch.Tensor:
                slope: torch.Tensor = grad(first)(x)
                return slope @ direction

            found = second(at)
            if not third:
                return found, found
            along: torch.Tensor = grad(second)(at)
            return found, along @ direction

        places = torch.arange(len(at), device=at.device)
        h, k = vmap(one, chunk_size=_AT_ONCE)(places)
        return h.detach(), k.detach() if third else None

    def drawn_diagonals(
        self, vector: torch.Tensor, batch: Any, draws: int, generator: torch.Generator, *, third: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return unbiased estimates of :meth:`diagonals` from products with random directions.

        Every element of a direction is one of the three cube roots of 1: ``E conj(z) z' = 0`` for two elements leaves
        the diagonal in ``conj(z) H z``, and ``E z = E z^2 = 0``, ``z^3 = 1`` leaves it in ``z D^3 L[z, z]``. Only
        reverse passes are used, which more models allow than forward ones.
        """
        at = vector.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self(at, batch), at, create_graph=True)
        h = torch.zeros_like(vector)
        k = torch.zeros_like(vector) if third else None
        angles = torch.tensor([0.0, 2 * math.pi / 3, 4 * math.pi / 3], dtype=vector.dtype)
        for _ in range(draws):
            angle = angles[torch.randint(3, (len(vector),), generator=generator)].to(vector.device)
            a, b = angle.cos(), angle.sin()
            (ha,) = torch.autograd.grad(slope @ a, at, create_graph=third, retain_graph=True)
            (hb,) = torch.autograd.grad(slope @ b, at, create_graph=third, retain_graph=True)
            h += (a * ha + b * hb).detach() / draws
            if k is not None:
                aa, bb, ab = (_slope_of(one, at) for one in (ha @ a, hb @ b, ha @ b))
                k += (a * (aa - bb) - 2 * b * ab) / draws
        return h, k


def _slope_of(value: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a value, 0 where it does not depend on the weights at all."""
    if not value.requires_grad:
        return torch.zeros_like(at)
    (found,) = torch.autograd.grad(value, at, retain_graph=True, allow_unused=True)
    return torch.zeros_like(at) if found is None else found.detach()
