"""NAdamW: AdamW that looks one update ahead along its momentum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutelage.optimizers._groups import decay_groups

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class NAdamW:
    """AdamW with Nesterov's look-ahead; the baseline that is hardest to beat in the AlgoPerf benchmark.

    **Formula**, for gradient ``g``, rate ``r`` and update ``t = 1, 2, ...``: ``m = beta1 m + (1 - beta1) g``,
    ``v = beta2 v + (1 - beta2) g^2``, ``v' = v / (1 - beta2^t)``,
    ``n = beta1 m / (1 - beta1^(t+1)) + (1 - beta1) g / (1 - beta1^t)``,
    ``w = w - r (n / (sqrt(v') + epsilon) + weight_decay w)``. With ``momentum_decay = d`` the ``beta1`` in ``n`` (not
    the one in ``m``) is ``mu_t = beta1 (1 - 0.96^(d t) / 2)``, and the powers of it are products of ``mu``.

    Args:
        beta1: Memory of the mean, in [0, 1).
        beta2: Memory of the square, in [0, 1). 0.95 as in :class:`AdamW`; PyTorch's default is 0.999.
        epsilon: Added to the root, > 0.
        weight_decay: Share of the weights taken away an update, times the rate, >= 0; matrices only.
        momentum_decay: How fast ``mu`` grows from half of ``beta1`` to ``beta1``, > 0. ``none``: it is ``beta1`` from
            the start, as in AlgoPerf. PyTorch's default of 0.004 is still at 0.58 ``beta1`` after 1,000 updates.

    Returns:
        ``to_torch(model, peak)`` returns a ``torch.optim.NAdam`` with decoupled weight decay.

    Raises:
        ValueError: A value outside its range, or a model without trainable parameters.

    Example:
        >>> NAdamW(weight_decay=0.01)
        NAdamW(beta1=0.9, beta2=0.95, epsilon=1e-08, weight_decay=0.01, momentum_decay=None)

    Use with:
        ``tutelage train --recipe "cosine;nadamw:weight_decay=0.01"``; any PyTorch module.

    Helps / does not help:
        AlgoPerf's authors found it the strongest of their tuned baselines. Beside AdamW it costs nothing but care: its
        updates are up to 1.5 times as long at the start, so it may need more warm-up or a lower peak.

    Relations:
        Like :class:`AdamW`, with the gradient in hand counted once more. AlgoPerf's own code divides both terms of
        ``n`` by ``1 - beta1^t``; its first update is therefore 1.9 instead of 1.47 times AdamW's (``beta1 = 0.9``), and
        within ``10 / (1 - beta1)`` updates the two are the same.

    Source:
        Incorporating Nesterov momentum into Adam, Dozat, 2016, section 3; decoupled decay: arXiv 1711.05101; PyTorch's
        implementation. AlgoPerf's variant: mlcommons/algorithmic-efficiency,
        algorithms/baselines/external_tuning/pytorch_nadamw_full_budget.py, after arXiv 1910.05446, table 1.
    """

    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    momentum_decay: float | None = None

    def __post_init__(self) -> None:
        """Check every argument."""
        for name, beta in (("beta1", self.beta1), ("beta2", self.beta2)):
            if not 0 <= beta < 1:
                raise ValueError(f"NAdamW: {name} must be in [0, 1), got {beta}.")
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError(f"NAdamW: epsilon must be > 0, got {self.epsilon}.")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"NAdamW: weight_decay must be >= 0, got {self.weight_decay}.")
        decay = self.momentum_decay
        if decay is not None and not (math.isfinite(decay) and decay > 0):
            raise ValueError(f"NAdamW: momentum_decay must be > 0, or none for constant momentum, got {decay}.")

    def to_torch(self, model: nn.Module, peak: float) -> torch.optim.Optimizer:
        """Return ``torch.optim.NAdam`` over the trainable weights of ``model``."""
        import torch

        return torch.optim.NAdam(
            decay_groups(model, self.weight_decay),
            lr=peak,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            # 0.96 to the power of infinity is 0: PyTorch's own way to say that the momentum does not change.
            momentum_decay=math.inf if self.momentum_decay is None else self.momentum_decay,
            decoupled_weight_decay=True,
        )
