"""SGD with momentum: the default for small image networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutelage.optimizers._groups import decay_groups

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent with momentum; few settings, little memory, strong on convolutional networks.

    **Formula**, for gradient ``g`` and rate ``r``: ``b = momentum b + g + weight_decay w``, ``w = w - r b``, or
    ``w = w - r (g + weight_decay w + momentum b)`` with ``nesterov``.

    Args:
        momentum: Memory of past gradients, in [0, 1).
        weight_decay: Added gradient per weight, >= 0; matrices only.
        nesterov: Look ahead along the momentum.

    Returns:
        ``to_torch(model, peak)`` returns a ``torch.optim.SGD``.

    Raises:
        ValueError: A value outside its range, ``nesterov`` without momentum, or a model without trainable parameters.

    Example:
        >>> SGD(momentum=0.8)
        SGD(momentum=0.8, weight_decay=0.0, nesterov=False)

    Use with:
        ``tutelage train --workload digits --recipe "cosine;sgd:momentum=0.9"``; any PyTorch module.

    Helps / does not help:
        Cheap, and good where gradients are of one scale; transformers usually need :class:`AdamW`.

    Relations:
        Like AdamW with one rate for all weights.

    Source:
        On the importance of initialization and momentum in deep learning, 2013, section 2; PyTorch's implementation.
    """

    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        """Check every argument."""
        if not 0 <= self.momentum < 1:
            raise ValueError(f"SGD: momentum must be in [0, 1), got {self.momentum}.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"SGD: weight_decay must be >= 0, got {self.weight_decay}.")
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov must be false where momentum is 0, got true.")

    def to_torch(self, model: nn.Module, peak: float) -> torch.optim.Optimizer:
        """Return ``torch.optim.SGD`` over the trainable weights of ``model``."""
        import torch

        groups = decay_groups(model, self.weight_decay)
        return torch.optim.SGD(groups, lr=peak, momentum=self.momentum, nesterov=self.nesterov)
