"""The shortest training loop there is, so that workloads are tested without the engine."""

from __future__ import annotations

import numpy as np
import torch

from tutelage.workloads import Workload


def hand_loop(workload: Workload, steps: int, *, seed: int = 0, peak: float | None = None) -> dict[str, float]:
    """Train with Adam at a constant rate and return the validation metrics."""
    torch.manual_seed(seed)
    model = workload.make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=peak or workload.peak)
    order = np.random.default_rng(seed)
    model.train()
    for _ in range(steps):
        batch = workload.train.batch(order.integers(len(workload.train), size=workload.batch_size))
        workload.loss(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    return measure(workload, model)


def measure(workload: Workload, model: torch.nn.Module, batch_size: int = 64) -> dict[str, float]:
    """Return every metric over all validation examples."""
    model.eval()
    sums: dict[str, np.ndarray] = {}
    with torch.no_grad():
        for start in range(0, len(workload.validation), batch_size):
            stop = min(start + batch_size, len(workload.validation))
            found = workload.measure(model, workload.validation.batch(np.arange(start, stop)))
            for name, pair in found.items():
                sums[name] = sums.get(name, np.zeros(2)) + np.array(pair)
    return {name: float(total / count) for name, (total, count) in sums.items()}
