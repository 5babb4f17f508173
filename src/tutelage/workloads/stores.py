"""Examples by index: windows over a token stream, rows of tensors, and any map-style data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.workloads._protocol import Batch


class WindowStore:
    """Windows of ``context`` tokens and their targets, cut from one stream without gap or overlap.

    Window ``i`` reads tokens ``i * context`` to ``(i + 1) * context - 1`` and predicts each token's successor, so every
    token but the first of the stream is a target exactly once; a tail shorter than a window is left out.

    Args:
        tokens: The stream, shape ``(length,)``, any integer type; may be memory-mapped.
        context: Tokens in a window, >= 1.
        limit: Keep at most this many windows, spread evenly over the stream; all of them where not given.

    Raises:
        ValueError: ``context`` or ``limit`` below 1.

    Example:
        >>> store = WindowStore(np.arange(8), context=3)
        >>> len(store), store.batch(np.array([1]))
        (2, (tensor([[3, 4, 5]]), tensor([[4, 5, 6]])))
    """

    def __init__(self, tokens: NDArray[Any], *, context: int, limit: int | None = None) -> None:
        if context < 1:
            raise ValueError(f"WindowStore: context must be >= 1, got {context}.")
        if limit is not None and limit < 1:
            raise ValueError(f"WindowStore: limit must be >= 1, got {limit}.")
        self.tokens = tokens
        self.context = context
        windows = max(0, (len(tokens) - 1) // context)
        self._kept = np.arange(windows)
        if limit is not None and windows > limit:
            self._kept = np.arange(limit) * windows // limit

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._kept)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return tokens and targets of the windows at ``indices``, each int64 of shape ``(batch, context)``."""
        places = self._kept[indices][:, None] * self.context + np.arange(self.context + 1)
        rows = torch.from_numpy(self.tokens[places].astype(np.int64, copy=False))
        return rows[:, :-1], rows[:, 1:]


class TensorStore:
    """Rows of one or more tensors of equal length, gathered in one call.

    Args:
        *tensors: Tensors whose first dimension counts examples.
        **columns: The same by name; a batch is then a dict.

    Raises:
        ValueError: No tensor, both kinds, or lengths that differ.

    Example:
        >>> store = TensorStore(torch.arange(6).reshape(3, 2), torch.tensor([0, 1, 0]))
        >>> store.batch(np.array([2, 0]))
        (tensor([[4, 5],
                [0, 1]]), tensor([0, 0]))
    """

    def __init__(self, *tensors: torch.Tensor, **columns: torch.Tensor) -> None:
        if bool(tensors) == bool(columns):
            raise ValueError("TensorStore: give tensors either in order or by name.")
        lengths = sorted({len(tensor) for tensor in (*tensors, *columns.values())})
        if len(lengths) > 1:
            raise ValueError(f"TensorStore: all tensors must have the same length, got {lengths}.")
        self.tensors = tensors
        self.columns = columns
        self._length = lengths[0]

    def __len__(self) -> int:
        """Return the number of examples."""
        return self._length

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return the rows at ``indices``: a tuple, or a dict where the tensors have names."""
        rows = torch.from_numpy(np.asarray(indices, dtype=np.int64))
        if self.columns:
            return {name: tensor.index_select(0, rows) for name, tensor in self.columns.items()}
        return tuple(tensor.index_select(0, rows) for tensor in self.tensors)


class RaggedStore:
    """Labelled token sequences of any length, padded to the longest of their batch.

    Args:
        tokens: All sequences end to end, shape ``(total,)``, any integer type.
        offsets: Where each begins, and the end of the last, shape ``(examples + 1,)``.
        labels: Label of each, shape ``(examples,)``.
        padding: Token to fill up with.

    Raises:
        ValueError: Lengths that do not fit together, or an empty sequence.

    Example:
        >>> store = RaggedStore(np.array([5, 6, 7]), np.array([0, 1, 3]), np.array([0, 1]), padding=0)
        >>> tokens, mask, labels = store.batch(np.array([0, 1]))
        >>> tokens.tolist(), mask.tolist(), labels.tolist()
        ([[5, 0], [6, 7]], [[True, False], [True, True]], [0, 1])
    """

    def __init__(self, tokens: NDArray[Any], offsets: NDArray[Any], labels: NDArray[Any], *, padding: int) -> None:
        if len(offsets) != len(labels) + 1 or int(offsets[0]) != 0 or int(offsets[-1]) != len(tokens):
            raise ValueError(
                f"RaggedStore: {len(labels)} labels need {len(labels) + 1} offsets from 0 to {len(tokens)}, "
                f"got {len(offsets)}."
            )
        if len(labels) and int(np.diff(offsets).min()) < 1:
            raise ValueError("RaggedStore: every sequence must hold at least one token.")
        self.tokens = tokens
        self.offsets = offsets
        self.labels = labels
        self.padding = padding

    def __len__(self) -> int:
        """Return the number of sequences."""
        return len(self.labels)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return tokens, mask (true where a token is real) and labels of the sequences at ``indices``.

        Tokens are int64 and the mask boolean, both ``(batch, longest)``; labels are int64 ``(batch,)``.
        """
        starts = self.offsets[indices]
        lengths = self.offsets[np.asarray(indices) + 1] - starts
        columns = np.arange(lengths.max())
        mask = columns < lengths[:, None]
        # Beyond a sequence's end any place will do: what is read there is masked out.
        places = np.minimum(starts[:, None] + columns, len(self.tokens) - 1)
        tokens = np.where(mask, self.tokens[places].astype(np.int64), self.padding)
        return torch.from_numpy(tokens), torch.from_numpy(mask), torch.from_numpy(self.labels[indices].astype(np.int64))


class DatasetStore:
    """Any data set with ``__len__`` and ``__getitem__``; examples are joined by ``collate``.

    Data sets that gather a whole batch themselves (``__getitems__``: ``datasets.Dataset``, ``torch``'s ``Subset``) are
    asked once a batch.

    Args:
        dataset: The data set.
        collate: Joins a list of examples into a batch of tensors; PyTorch's default where not given.

    Raises:
        TypeError: The data set has no length or cannot be indexed.

    Example:
        >>> DatasetStore([(1.0, 0), (2.0, 1), (3.0, 0)]).batch(np.array([1, 2]))
        [tensor([2., 3.], dtype=torch.float64), tensor([1, 0])]
    """

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Batch] | None = None) -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"DatasetStore: a data set needs a length and an index, and {type(dataset).__name__} lacks one; turn "
                "an iterable one into a list or a map-style data set."
            )
        self.dataset = dataset
        self.collate = collate

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.dataset)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return the examples at ``indices`` as ``collate`` joins them."""
        wanted = [int(index) for index in indices]
        gather = getattr(self.dataset, "__getitems__", None)
        examples = list(gather(wanted)) if gather is not None else [self.dataset[index] for index in wanted]
        if self.collate is not None:
            return self.collate(examples)
        return torch.utils.data.default_collate(examples)


def store_of(data: Any, collate: Callable[[list[Any]], Batch] | None = None) -> Any:
    """Return the fastest store for ``data``.

    Args:
        data: A store already, a tensor, a tuple or dict of tensors or arrays, a ``TensorDataset``, a
            ``datasets.Dataset``, or anything with a length and an index.
        collate: Joins examples into a batch; forbids the shortcuts, because it wants single examples.

    Raises:
        TypeError: Nothing of that kind.
    """
    if callable(getattr(data, "batch", None)) and hasattr(data, "__len__") and not hasattr(data, "column_names"):
        return data
    if collate is None:
        if isinstance(data, torch.Tensor):
            return TensorStore(data)
        if isinstance(data, torch.utils.data.TensorDataset):
            return TensorStore(*data.tensors)
        if isinstance(data, tuple) and data and all(isinstance(item, torch.Tensor | np.ndarray) for item in data):
            return TensorStore(*(torch.as_tensor(item) for item in data))
        if isinstance(data, Mapping):
            return TensorStore(**_as_tensors(data))
    if hasattr(data, "with_format") and hasattr(data, "column_names"):
        data = data.with_format("torch")
    return DatasetStore(data, collate)


def _as_tensors(columns: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, values in columns.items():
        if not isinstance(values, torch.Tensor | np.ndarray | Sequence) or isinstance(values, str):
            raise TypeError(
                f'A dict of columns must hold tensors, arrays or lists; "{name}" is {type(values).__name__}.'
            )
        tensors[name] = torch.as_tensor(values)
    return tensors
