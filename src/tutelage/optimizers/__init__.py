"""How are the weights moved? Settings that build a PyTorch optimizer; the rate itself belongs to the schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tutelage.optimizers._parts import PARTS
from tutelage.optimizers.adamw import AdamW
from tutelage.optimizers.nadamw import NAdamW
from tutelage.optimizers.sgd import SGD
from tutelage.registry import build_named, entries

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["PARTS", "SGD", "AdamW", "NAdamW", "OptimizerPart", "from_spec", "names"]


class OptimizerPart(Protocol):
    """Settings of an optimizer."""

    def to_torch(self, model: nn.Module, peak: float) -> torch.optim.Optimizer:
        """Return the optimizer over the trainable weights of ``model``, made with rate ``peak``."""


def names() -> list[str]:
    """Return the spec names of all optimizers, plug-ins included."""
    return list(entries("optimizers"))


def from_spec(spec: str) -> OptimizerPart:
    """Return the optimizer settings a spec such as ``adamw:weight_decay=0.01`` names.

    Raises:
        UnknownPart: No such optimizer; names the nearest.
        ConfigError: Every fault of the spec in one message.
    """
    optimizer: OptimizerPart = build_named("optimizers", spec)
    return optimizer
