"""What a workload is: data + model + loss + metrics, apart from how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import nn

#: What a model's loss takes: a tensor, or a tuple, list or dict of tensors, first dimension = examples.
Batch = Any


class ExampleStore(Protocol):
    """Examples by index; a batch is read in one call, so a store can gather without a Python loop."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return the examples at ``indices`` (any order, repeats allowed) as one batch of CPU tensors."""


@dataclass(frozen=True)
class EvaluationSet:
    """Further examples to measure on, apart from those a workload is judged by.

    Args:
        examples: The examples.
        measure: As a workload's; the workload's own where ``None``.
    """

    examples: ExampleStore
    measure: Callable[[nn.Module, Batch], Mapping[str, tuple[float, float]]] | None = None


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is to be learned, and how learning is measured. Everything a recipe may change is left out.

    Args:
        name: Short name for tables.
        train: Examples to learn from.
        validation: Examples to measure on; all of them are used at each evaluation.
        make_model: Returns the model with fresh weights; called with PyTorch's generator seeded for stream ``init``.
        loss: ``loss(model, batch)``: the mean loss over the batch, a scalar that ``backward`` can start from. Call the
            model by ``model(...)`` only, so that it may be wrapped.
        measure: ``measure(model, batch)``: for each metric its sum over the batch and the count it is a mean over.
            Called without gradients, model in evaluation mode. Must contain ``loss``.
        outcomes: ``outcomes(model, batch)``: by name a tensor with one row an example, ``loss`` among them, such as
            :func:`tutelage.training.token_outcomes`; called as ``measure`` is. What goes by the loss of each example
            measures one at a time where there is none.
        metric: Name of the metric that comparisons use; ``val_`` + a name that ``measure`` returns.
        lower_is_better: Whether less of ``metric`` is better.
        batch_size: Default examples per update.
        peak: Default peak learning rate for ``optimizer``.
        optimizer: Default optimizer spec.
        tokens_per_example: Tokens one example spends, where that is one number; budgets in tokens need it.
        fingerprint: Hash of data and model settings; results under different ones are never mixed.
        version: Raised when numbers change.
        spec: The spec that builds it again in another process, or ``None`` for one made in Python.
        notes: Facts about data and model worth showing (sizes, source, licence).
        replay: Examples of earlier training, for curricula that mix them in (``replay:alpha=0.05``); batches of the
            same kind as those of ``train``. Without such a curriculum they are not used.
        also_evaluate: Further data sets to measure on at each evaluation, by name: ``val_loss_NAME`` and so on.
        column: ``column(name)``: what is known of each training example under a name, such as its ``text``, in their
            order; for curricula and selections that score examples. Raises ``DataError`` for a name it does not have.
        files: Contents of files that belong to the model, such as its tokenizer, by name; a run folder keeps them, and
            weights are only ever carried over to a workload with the same ones.
    """

    name: str
    train: ExampleStore
    validation: ExampleStore
    make_model: Callable[[], nn.Module]
    loss: Callable[[nn.Module, Batch], torch.Tensor]
    measure: Callable[[nn.Module, Batch], Mapping[str, tuple[float, float]]]
    outcomes: Callable[[nn.Module, Batch], Mapping[str, torch.Tensor]] | None = None
    metric: str = "val_loss"
    lower_is_better: bool = True
    batch_size: int = 32
    peak: float = 1e-3
    optimizer: str = "adamw"
    tokens_per_example: float | None = None
    fingerprint: str = ""
    version: int = 1
    spec: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    replay: ExampleStore | None = None
    also_evaluate: Mapping[str, EvaluationSet] = field(default_factory=dict)
    column: Callable[[str], Sequence[Any]] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no run could use.

        Raises:
            ValueError: No examples, or a batch size or peak out of range.
        """
        parts = {"train": self.train, "validation": self.validation, "replay": self.replay}
        parts |= {f"also_evaluate {name}": item.examples for name, item in self.also_evaluate.items()}
        for part, store in parts.items():
            if store is not None and len(store) < 1:
                raise ValueError(f"Workload {self.name}: {part} must hold at least one example, got none.")
        if self.batch_size < 1:
            raise ValueError(f"Workload {self.name}: batch_size must be >= 1, got {self.batch_size}.")
        if not self.peak > 0:
            raise ValueError(f"Workload {self.name}: peak must be > 0, got {self.peak}.")
        if not self.metric.startswith("val_"):
            raise ValueError(f'Workload {self.name}: metric must be "val_" + a measured name, got "{self.metric}".')


class WorkloadPart(Protocol):
    """A listed workload: a frozen dataclass of settings that builds the :class:`Workload`."""

    def prepare(self) -> Workload:
        """Read the data, build what is needed, and return the workload."""
