"""What a curriculum is to the loop: it says which examples each update sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class BatchOrder(Protocol):
    """The global batch of each update, by position, so that a resumed run asks for any of them at once."""

    def indices(self, position: int) -> NDArray[np.int64]:
        """Return the examples of update ``position``, shape ``(batch_size,)``."""


class OrderCurriculum(Protocol):
    """A listed curriculum that decides the order of examples before training: a frozen value, pure.

    A workload may bring several sources: its training data, and data of earlier training to replay. Their examples are
    numbered on from one source to the next.
    """

    def batches(self, sources: Sequence[int], *, batch_size: int, total_steps: int | None, seed: int) -> BatchOrder:
        """Return the order of a run.

        Args:
            sources: Examples in each source, the training data first.
            batch_size: Examples an update, over all processes.
            total_steps: Updates in the run, or ``None`` for a budget in seconds.
            seed: The run's seed.

        Raises:
            ConfigError: The sources do not hold what this curriculum needs.
        """
