"""A small workload on synthetic data: fast, with dropout, so that every random stream matters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from tutelage.workloads import Workload


class Rows:
    """Examples of a fixed random classification problem."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(count, 12, generator=generator)
        self.labels = (self.inputs[:, :3].sum(1) > 0).long() + (self.inputs[:, 3] > 0.5).long()

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, indices):
        index = torch.as_tensor(indices)
        return self.inputs[index], self.labels[index]


def make_model() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 24), nn.Dropout(0.2), nn.GELU(), nn.Linear(24, 3))


def loss(model, batch):
    return functional.cross_entropy(model(batch[0]), batch[1])


def measure(model, batch):
    logits = model(batch[0])
    count = len(batch[1])
    return {
        "loss": (functional.cross_entropy(logits, batch[1], reduction="sum").item(), count),
        "accuracy": ((logits.argmax(1) == batch[1]).sum().item(), count),
    }


def toy(**changes) -> Workload:
    settings = {
        "name": "toy",
        "train": Rows(203, 0),
        "validation": Rows(57, 1),
        "make_model": make_model,
        "loss": loss,
        "measure": measure,
        "batch_size": 8,
        "peak": 0.01,
        "tokens_per_example": 12,
        "fingerprint": "toy-1",
    }
    return Workload(**(settings | changes))
