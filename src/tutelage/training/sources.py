"""Several sources of examples as one: what a curriculum that mixes them draws its batches from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.curricula import from_spec
from tutelage.errors import ConfigError
from tutelage.training.order import EpochOrder, ExampleOrder

if TYPE_CHECKING:
    from tutelage.training.recipe import Recipe
    from tutelage.workloads._protocol import Batch, ExampleStore, Workload


class JoinedStore:
    """Stores one after another, their examples numbered on from one to the next.

    Args:
        stores: At least one, all with batches of the same kind.
    """

    def __init__(self, *stores: ExampleStore) -> None:
        self.stores = stores
        self._starts = np.cumsum([0, *(len(store) for store in stores)])

    def __len__(self) -> int:
        """Return the number of examples in all stores."""
        return int(self._starts[-1])

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return the examples at ``indices`` as one batch, in their order.

        Raises:
            ConfigError: Batches of two stores cannot be joined.
        """
        which = np.searchsorted(self._starts, indices, side="right") - 1
        pieces, places = [], []
        for number, store in enumerate(self.stores):
            there = np.flatnonzero(which == number)
            if there.size:
                pieces.append(store.batch(np.asarray(indices)[there] - self._starts[number]))
                places.append(there)
        if len(pieces) == 1:
            return pieces[0]
        back = torch.from_numpy(np.argsort(np.concatenate(places)))
        try:
            return _join(pieces, back)
        except (RuntimeError, TypeError, KeyError) as error:
            text = str(error).splitlines()[0]
            raise ConfigError(f"New and replayed examples do not go into one batch: {text}") from error

    def weights(self, indices: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return what each example counts in a mean loss, where every store says so."""
        found = np.zeros(len(indices))
        which = np.searchsorted(self._starts, indices, side="right") - 1
        for number, store in enumerate(self.stores):
            mine = weights_of(store, np.asarray(indices)[which == number] - self._starts[number])
            if mine is None:
                return None
            found[which == number] = mine
        return found


def weights_of(store: ExampleStore, indices: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return what each example counts in the mean loss of a batch, or ``None`` where all count alike.

    A store says so by a method ``weights(indices)``, shape ``(len(indices),)``, such as the tokens its loss is a mean
    over.
    """
    weigh = getattr(store, "weights", None)
    return None if weigh is None else weigh(indices)


def _join(pieces: Sequence[Any], back: torch.Tensor) -> Any:
    first = pieces[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(pieces)).index_select(0, back)
    if isinstance(first, Mapping):
        return {key: _join([piece[key] for piece in pieces], back) for key in first}
    joined = [_join(parts, back) for parts in zip(*pieces, strict=True)]
    return tuple(joined) if isinstance(first, tuple) else joined


def order_of(
    workload: Workload, choice: Recipe, *, batch_size: int, total_steps: int | None, seed: int
) -> tuple[ExampleStore, ExampleOrder]:
    """Return the examples of a run and the order in which its updates see them.

    Raises:
        ConfigError: The workload does not hold what the recipe's curriculum needs.
    """
    if choice.curriculum is None:
        return workload.train, EpochOrder(len(workload.train), batch_size, seed)
    stores = [workload.train] if workload.replay is None else [workload.train, workload.replay]
    order: ExampleOrder = from_spec(choice.curriculum).batches(
        [len(store) for store in stores], batch_size=batch_size, total_steps=total_steps, seed=seed
    )
    return JoinedStore(*stores), order
