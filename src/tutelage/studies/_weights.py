"""What studies of merging share: weights of finished runs, and weights measured as a run would have measured them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tutelage.workloads import Workload

_AT_ONCE = 32


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """Return the newest weights that a run keeps.

    Raises:
        DataNotFound: It keeps none.
    """
    from tutelage.training import checkpoint
    from tutelage.training.start import checkpoint_of

    weights: dict[str, torch.Tensor] = checkpoint.load(checkpoint_of(run))[0]
    return weights


def model_with(workload: Workload, weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """Return the workload's model with these weights, ready to be measured; PyTorch's generator stays as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        model = workload.make_model()
    model.load_state_dict(weights)
    return model.eval()


def measured(workload: Workload, weights: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Return every metric of the validation examples, and of the others under their own names, as a run's result has.

    Args:
        workload: The workload.
        weights: Weights of its model.
    """
    import torch

    model = model_with(workload, weights)
    parts = {"": (workload.validation, workload.measure)}
    parts |= {
        f"_{name}": (one.examples, one.measure or workload.measure) for name, one in workload.also_evaluate.items()
    }
    found: dict[str, float] = {}
    for label, (store, measure) in parts.items():
        sums: dict[str, list[float]] = {}
        with torch.no_grad():
            for start in range(0, len(store), _AT_ONCE):
                batch = store.batch(np.arange(start, min(start + _AT_ONCE, len(store))))
                for name, pair in measure(model, batch).items():
                    sums.setdefault(name, [0.0, 0.0])
                    sums[name] = [sums[name][0] + float(pair[0]), sums[name][1] + float(pair[1])]
        found |= {f"val_{name}{label}": total / count for name, (total, count) in sums.items()}
    return found
