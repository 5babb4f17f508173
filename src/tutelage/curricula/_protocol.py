"""What a curriculum is: four things papers mean by the word, and what the loop asks of a listed one.

Progress is the share of a run's examples drawn so far, in [0, 1): never an epoch. Scores are plain arrays with one
number an example; a curriculum that needs several columns takes a mapping of them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

#: One column, or several by name.
Scores: TypeAlias = "NDArray[Any] | Mapping[str, NDArray[Any]]"
#: What a training loop gives to find the column a curriculum names.
FindScores: TypeAlias = Callable[[str], "NDArray[Any]"]


@runtime_checkable
class WeightCurriculum(Protocol):
    """Sampling weights: how likely each example is to be drawn at a point of the run."""

    def weights(self, progress: float, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Return a weight >= 0 for each example, shape ``(n,)``; they need not sum to 1."""

    def boundaries(self, num_samples: int, num_examples: int) -> NDArray[np.int64]:
        """Return the positions at which the examples are weighted anew, ascending from 0, all below ``num_samples``."""


@runtime_checkable
class OnePassOrder(Protocol):
    """An order in which each example comes once; shuffling it or a second pass would destroy it."""

    def order(self, scores: Any, *, seed: int) -> NDArray[np.int64]:
        """Return a permutation of all examples, shape ``(n,)``."""


@runtime_checkable
class LossWeights(Protocol):
    """How much each example counts in the loss at a point of the run; which examples are drawn is left alone."""

    def loss_weights(self, progress: float, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Return a factor >= 0 of each example's loss, the shape of ``scores``."""


@runtime_checkable
class ScalarCurriculum(Protocol):
    """A number over progress that modulates the data or the objective, such as a share of the vocabulary."""

    def value(self, progress: float) -> float:
        """Return the number at ``progress``."""


class ExampleStream(Protocol):
    """The examples of a run in order, any stretch of them at once: what a curriculum becomes when scores are known."""

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the examples at places ``start`` to ``stop`` of the run, shape ``(stop - start,)``."""


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


class ScoredCurriculum(Protocol):
    """An :class:`OrderCurriculum` that needs scores of the training data."""

    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns or signals it needs; ``scores`` is asked for each."""

    def batches(
        self,
        sources: Sequence[int],
        *,
        batch_size: int,
        total_steps: int | None,
        seed: int,
        scores: FindScores | None = None,
    ) -> BatchOrder:
        """Return the order of a run; see :class:`OrderCurriculum`.

        Args:
            sources: Examples in each source, the training data first.
            batch_size: Examples an update, over all processes.
            total_steps: Updates in the run, or ``None`` for a budget in seconds.
            seed: The run's seed.
            scores: Returns the column of a name, one number for each example of the training data.

        Raises:
            ConfigError: No scores, or sources this curriculum cannot use.
        """
