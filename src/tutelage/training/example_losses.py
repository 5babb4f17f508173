"""The loss of every training example: under a run's weights, or under those of a short plain run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.optimizers import from_spec
from tutelage.randomness import derive_seed
from tutelage.training import checkpoint
from tutelage.training.example_log import ExampleLog
from tutelage.training.order import EpochOrder
from tutelage.training.start import checkpoint_of

if TYPE_CHECKING:
    from torch import nn

    from tutelage.workloads._protocol import Workload

#: Updates of the plain run, at most; one pass over the data where that is less.
PLAIN_UPDATES = 100


def losses_under(workload: Workload, model: nn.Module) -> NDArray[np.float64]:
    """Return the loss of each training example, as the workload measures it.

    Args:
        workload: What is trained on.
        model: Any model of the workload.

    Returns:
        Float64 ``(len(workload.train),)``.
    """
    if workload.outcomes is not None:
        log = ExampleLog(workload.train, workload.outcomes, batch_size=workload.batch_size)
        return log.record(model)["loss"].astype(np.float64)
    was = model.training
    model.eval()
    found = np.empty(len(workload.train))
    with torch.inference_mode():
        for index in range(len(found)):
            total, count = workload.measure(model, workload.train.batch(np.array([index])))["loss"]
            found[index] = total / count if count else np.nan
    model.train(was)
    return found


def run_losses(workload: Workload, run: str) -> NDArray[np.float64]:
    """Return the loss of each training example under the newest weights of a run, or those of one checkpoint.

    Raises:
        DataNotFound: There is no run, or it keeps no weights.
        ConfigError: Its weights are those of another model.
        CorruptRun: The checkpoint cannot be read.
    """
    weights = checkpoint.load(checkpoint_of(Path(run).expanduser()))[0]
    with torch.random.fork_rng(devices=[]):
        model = workload.make_model()
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        told = " ".join(str(error).split())[:200]
        raise ConfigError(f"run:{run} holds the weights of another model than {workload.name} has: {told}") from None
    return losses_under(workload, model)


def plain_losses(workload: Workload) -> NDArray[np.float64]:
    """Return the loss of each training example after one pass over the data in random order (100 updates at most).

    The workload's own optimizer at its default peak, held constant, seed 0. The pass is not part of any run's budget.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(0, "losses"))
        model = workload.make_model()
        optimizer = from_spec(workload.optimizer).to_torch(model, workload.peak)
        order = EpochOrder(len(workload.train), workload.batch_size, 0)
        model.train()
        for step in range(min(PLAIN_UPDATES, max(1, len(workload.train) // workload.batch_size))):
            optimizer.zero_grad()
            workload.loss(model, workload.train.batch(order.indices(step))).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return losses_under(workload, model)
