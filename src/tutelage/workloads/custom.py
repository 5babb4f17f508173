"""Your own model, data and loss as a workload, in ten lines."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from tutelage.workloads._cache import content_key
from tutelage.workloads._columns import columns_of
from tutelage.workloads._protocol import Batch, EvaluationSet, ExampleStore, Workload
from tutelage.workloads.stores import DatasetStore, TensorStore, WindowStore, store_of

#: Above this, hashing the data would take longer than a newcomer likes to wait.
_CHEAP_BYTES = 1 << 30

Metric = Callable[[nn.Module, Batch], torch.Tensor | float]


def from_torch(
    name: str,
    *,
    train: Any,
    validation: Any,
    model: Callable[[], nn.Module],
    loss: Callable[[nn.Module, Batch], torch.Tensor],
    metrics: Mapping[str, Metric] | None = None,
    outcomes: Callable[[nn.Module, Batch], Mapping[str, torch.Tensor]] | None = None,
    metric: str = "loss",
    lower_is_better: bool = True,
    batch_size: int = 32,
    peak: float = 1e-3,
    optimizer: str = "adamw",
    tokens_per_example: float | None = None,
    replay: Any = None,
    also_evaluate: Mapping[str, Any] | None = None,
    collate: Callable[[list[Any]], Batch] | None = None,
    fingerprint: str | None = None,
    version: int = 1,
    notes: Mapping[str, Any] | None = None,
) -> Workload:
    """Make a workload of a PyTorch module, map-style data and a loss.

    Use it to compare recipes on what you really train; everything else in this library then works on it.

    **Formula**: the loss is the mean over a batch; over the validation data it and each metric are means weighted by
    the number of examples in each batch.

    Args:
        name: Short name for tables.
        train: Examples to learn from: a tensor, a tuple or dict of tensors or arrays with one row an example, a
            ``TensorDataset``, a ``datasets.Dataset``, or anything with ``__len__`` and ``__getitem__``, such as a list
            of tuples. The first kinds are gathered without a Python loop. Columns with names (a dict, a
            ``datasets.Dataset``) can be what a curriculum or selection goes by.
        validation: Examples to measure on, of the same kind; all are used at each evaluation.
        model: Returns the module with fresh weights; drawn from PyTorch's generator, which the run's seed sets.
        loss: ``loss(model, batch)``: mean loss over the batch, a scalar tensor. Call the module by ``model(...)``.
        metrics: Further ``metric(model, batch)``: the mean over the batch, by name.
        outcomes: ``outcomes(model, batch)``: by name a tensor with one row an example, ``loss`` among them, such as
            :func:`tutelage.training.label_outcomes`. With it the loss of every example, for curricula that go by it, is
            measured in batches and not one at a time.
        metric: The one that comparisons use, ``"loss"`` or a name in ``metrics``.
        lower_is_better: Whether less of it is better.
        batch_size: Default examples per update, >= 1.
        peak: Default peak learning rate, > 0.
        optimizer: Default optimizer spec.
        tokens_per_example: Tokens one example spends, where budgets in tokens are wanted.
        replay: Examples of earlier training, of the same kind, for curricula such as ``replay:alpha=0.05``.
        also_evaluate: Further examples to measure on, by name: ``val_loss_NAME`` and so on.
        collate: Joins a list of examples into a batch, as in PyTorch's ``DataLoader``.
        fingerprint: Identity of data and model, such as ``"crops-2024-v2"``. Where not given it is hashed from the
            content and the source of ``model`` and ``loss``; for data above 1 GiB, or made on the fly, from their kind
            and size only (``notes["fingerprint_of"]`` says which).
        version: Raise it when numbers change.
        notes: Facts worth showing.

    Returns:
        The workload.

    Raises:
        ValueError: A batch size, peak, metric or number of examples out of range.
        TypeError: Data that have no length or cannot be indexed, or a model that is no function.

    Example:
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> workload = from_torch(
        ...     "line",
        ...     train=(x, 3 * x),
        ...     validation=(x, 3 * x),
        ...     model=lambda: nn.Linear(1, 1),
        ...     loss=lambda model, batch: nn.functional.mse_loss(model(batch[0]), batch[1]),
        ... )
        >>> workload.name, len(workload.train), workload.optimizer
        ('line', 64, 'adamw')

    Use with:
        PyTorch modules, torchvision and ``datasets`` data, Lightning's inner module. To compare with several processes
        define model and loss in an importable file.

    Helps / does not help:
        Data without an end (``IterableDataset``) do not fit: arms must see the same examples in the same order.

    Relations:
        Like :class:`TextLM` and :class:`Digits`, which bring data and model along.

    Source:
        The contract of a workload follows AlgoPerf, 2023, arXiv 2306.07179, section 4.
    """
    if not callable(model) or isinstance(model, nn.Module):
        raise TypeError(
            "from_torch: model must be a function that returns a fresh module, such as lambda: Net(), so that each run "
            f"starts anew; got {type(model).__name__}."
        )
    known = {"loss", *(metrics or {})}
    if metric not in known:
        raise ValueError(f'from_torch: metric must be one of {", ".join(sorted(known))}, got "{metric}".')
    if "loss" in (metrics or {}):
        raise ValueError('from_torch: "loss" is measured already; call the metric something else.')
    stores = {"train": store_of(train, collate), "validation": store_of(validation, collate)}
    earlier = None if replay is None else store_of(replay, collate)
    others = {label: store_of(data, collate) for label, data in (also_evaluate or {}).items()}
    stores |= {} if earlier is None else {"replay": earlier}
    stores |= {f"also_evaluate {label}": store for label, store in others.items()}
    identity, origin = _fingerprint(name, stores, model, loss) if fingerprint is None else (fingerprint, "given")
    return Workload(
        name=name,
        train=stores["train"],
        validation=stores["validation"],
        column=columns_of(name, train),
        replay=earlier,
        also_evaluate={label: EvaluationSet(store) for label, store in others.items()},
        make_model=model,
        loss=loss,
        measure=partial(_measure, loss=loss, metrics=dict(metrics or {})),
        outcomes=outcomes,
        metric=f"val_{metric}",
        lower_is_better=lower_is_better,
        batch_size=batch_size,
        peak=peak,
        optimizer=optimizer,
        tokens_per_example=tokens_per_example,
        fingerprint=identity,
        version=version,
        notes={
            "train_examples": len(stores["train"]),
            "validation_examples": len(stores["validation"]),
            "fingerprint_of": origin,
            **(notes or {}),
        },
    )


def examples_in(batch: Batch) -> int:
    """Return the number of examples in a batch: the first dimension of its first tensor.

    Raises:
        TypeError: It holds no tensor.
    """
    if isinstance(batch, torch.Tensor):
        return len(batch)
    items = list(batch.values()) if isinstance(batch, Mapping) else batch
    if isinstance(items, list | tuple):
        for item in items:
            if isinstance(item, torch.Tensor | Mapping | list | tuple):
                return examples_in(item)
    raise TypeError(f"A batch must be a tensor, or a tuple, list or dict that holds one, got {type(batch).__name__}.")


def _measure(
    model: nn.Module, batch: Batch, *, loss: Callable[..., torch.Tensor], metrics: Mapping[str, Metric]
) -> Mapping[str, tuple[float, float]]:
    count = examples_in(batch)
    means = {"loss": loss(model, batch), **{name: measure(model, batch) for name, measure in metrics.items()}}
    return {name: (float(mean) * count, count) for name, mean in means.items()}


def _fingerprint(
    name: str, stores: Mapping[str, ExampleStore], model: Callable[..., Any], loss: Callable[..., Any]
) -> tuple[str, str]:
    """Return the hash of everything, and from what it was made."""
    contents = [content_of(store) for store in stores.values()]
    sizes = [f"{type(getattr(store, 'dataset', store)).__qualname__} {len(store)}" for store in stores.values()]
    key = content_key("custom", name, *(content or size for content, size in zip(contents, sizes, strict=True)))
    return content_key(key, _code_of(model), _code_of(loss)), "content" if all(contents) else "name and size"


def content_of(store: Any) -> str | None:
    """Return a hash of a store's content, or ``None`` where that is large, made on the fly or of an unknown kind."""
    values: Any
    if isinstance(store, TensorStore):
        values = store.columns or store.tensors
    elif isinstance(store, WindowStore):
        values = (store.context, len(store), store.tokens)
    elif isinstance(store, DatasetStore):
        known = getattr(store.dataset, "_fingerprint", None)
        if isinstance(known, str):
            return known
        values = store.dataset if isinstance(store.dataset, list | tuple) else None
    else:
        values = None
    digest = hashlib.sha256()
    return digest.hexdigest() if values is not None and _feed(digest, values, [_CHEAP_BYTES]) else None


def _feed(digest: Any, value: Any, left: list[int]) -> bool:
    """Add a value to a hash; false where it is of a kind that cannot be hashed by content, or nothing is ``left``."""
    if isinstance(value, torch.Tensor):
        digest.update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
        value = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        left[0] -= value.nbytes
        if left[0] < 0:
            return False
        digest.update(f"array {value.dtype} {value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data if value.size else b"")
        return True
    if isinstance(value, Mapping):
        return all(_feed(digest, item, left) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple):
        digest.update(f"{type(value).__name__} {len(value)}".encode())
        return all(_feed(digest, item, left) for item in value)
    if value is None or isinstance(value, str | bytes | int | float | complex | np.generic):
        text = repr(value).encode()
        left[0] -= len(text)
        digest.update(f"{type(value).__name__} {len(text)} ".encode() + text)
        return left[0] >= 0
    return False


def _code_of(function: Callable[..., Any]) -> str:
    """Return a function's source, so that another model or loss is another workload; its name where there is none."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return getattr(function, "__qualname__", type(function).__qualname__)
