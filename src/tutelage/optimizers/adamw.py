"""AdamW: the default for language models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutelage.optimizers._groups import decay_groups

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with weight decay apart from the gradient; the usual choice for transformers.

    **Formula**, for gradient ``g`` and rate ``r``: ``m = beta1 m + (1 - beta1) g``, ``v = beta2 v + (1 - beta2) g^2``,
    ``w = w - r (m' / (sqrt(v') + epsilon) + weight_decay w)`` with ``m'``, ``v'`` corrected for their start at 0.

    Args:
        beta1: Memory of the mean, in [0, 1).
        beta2: Memory of the square, in [0, 1). 0.95, the common value for language models trained from scratch;
            PyTorch's default is 0.999.
        epsilon: Added to the root, > 0.
        weight_decay: Share of the weights taken away an update, times the rate, >= 0; matrices only.

    Returns:
        ``to_torch(model, peak)`` returns a ``torch.optim.AdamW``.

    Raises:
        ValueError: A value outside its range, or a model without trainable parameters.

    Example:
        >>> AdamW(weight_decay=0.01)
        AdamW(beta1=0.9, beta2=0.95, epsilon=1e-08, weight_decay=0.01)

    Use with:
        ``tutelage train --recipe "cosine;adamw:weight_decay=0.01"``; any PyTorch module.

    Helps / does not help:
        Robust to the scale of gradients; small image networks often generalise as well with :class:`SGD`.

    Relations:
        Like SGD with a rate of its own for each weight.

    Source:
        Decoupled weight decay regularization, 2019, arXiv 1711.05101, algorithm 2; PyTorch's implementation.
    """

    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        """Check every argument."""
        for name, beta in (("beta1", self.beta1), ("beta2", self.beta2)):
            if not 0 <= beta < 1:
                raise ValueError(f"AdamW: {name} must be in [0, 1), got {beta}.")
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError(f"AdamW: epsilon must be > 0, got {self.epsilon}.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"AdamW: weight_decay must be >= 0, got {self.weight_decay}.")

    def to_torch(self, model: nn.Module, peak: float) -> torch.optim.Optimizer:
        """Return ``torch.optim.AdamW`` over the trainable weights of ``model``."""
        import torch

        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(decay_groups(model, self.weight_decay), lr=peak, betas=betas, eps=self.epsilon)
