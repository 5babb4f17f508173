"""Several sources of examples as one: what a curriculum that mixes them draws its batches from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.curricula import from_spec
from tutelage.errors import ConfigError
from tutelage.selection import from_spec as selection_from_spec
from tutelage.training.example_losses import PLAIN_UPDATES
from tutelage.training.example_scores import column_of, needs_plain_run, scores_of
from tutelage.training.order import EpochOrder, ExampleOrder
from tutelage.training.recipe import split_by

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


class KeptStore:
    """Some examples of a store, numbered from 0: what a selection keeps.

    Args:
        store: All examples.
        kept: Those that are kept, int64 ``(kept,)``.
    """

    def __init__(self, store: ExampleStore, kept: NDArray[np.int64]) -> None:
        self.store, self.kept = store, kept

    def __len__(self) -> int:
        """Return the number of examples kept."""
        return len(self.kept)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return the examples at ``indices`` of those kept as one batch."""
        return self.store.batch(self.kept[indices])

    def weights(self, indices: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return what each example counts in a mean loss, where the store says so."""
        return weights_of(self.store, self.kept[indices])


def order_of(
    workload: Workload, choice: Recipe, *, batch_size: int, total_steps: int | None, seed: int
) -> tuple[ExampleStore, ExampleOrder]:
    """Return the examples of a run and the order in which its updates see them.

    Raises:
        ConfigError: The workload does not hold what the recipe's curriculum or selection needs.
    """
    kept = None if choice.selection is None else kept_by(workload, choice.selection, seed)
    train = workload.train if kept is None else KeptStore(workload.train, kept)
    if choice.curriculum is None:
        return train, EpochOrder(len(train), batch_size, seed)
    stores = [train] if workload.replay is None else [train, workload.replay]

    def scores(name: str) -> NDArray[np.float64]:
        found = scores_of(workload, name)
        return found if kept is None else found[kept]

    curriculum = from_spec(choice.curriculum)
    told: dict[str, Any] = {"scores": scores} if hasattr(curriculum, "columns") else {}
    sizes = [len(store) for store in stores]
    order = curriculum.batches(sizes, batch_size=batch_size, total_steps=total_steps, seed=seed, **told)
    return JoinedStore(*stores), order


def notes_of(choice: Recipe, workload: Workload) -> list[str]:
    """Return what a reader of a recipe's results on a workload must know of the scores it goes by."""
    went_by: set[str | None] = set()
    if choice.curriculum is not None:
        curriculum = from_spec(choice.curriculum)
        went_by.update(curriculum.columns() if hasattr(curriculum, "columns") else ())
    if choice.selection is not None:
        went_by.add(split_by(choice.selection)[1])
    if not any(needs_plain_run(workload, name) for name in went_by):
        return []
    return [
        f"{choice}: goes by the losses of a plain pass over the data (at most {PLAIN_UPDATES} updates), which is not "
        "part of the budget; by=run:FOLDER names a run of your own."
    ]


def kept_by(workload: Workload, spec: str, seed: int) -> NDArray[np.int64]:
    """Return the training examples that a selection keeps, ascending.

    Args:
        workload: What is trained on.
        spec: Spec of the selection, with ``by=`` for what it goes by: ``top:share=0.3,side=low,by=rarity``.
        seed: Of whatever is drawn.

    Raises:
        ConfigError: It keeps nothing, does not say what it goes by, or the workload does not have that.
    """
    own, by = split_by(spec)
    part = selection_from_spec(own)
    takes = getattr(part, "takes", None)
    if takes not in ("scores", "texts", "attempts"):
        raise ConfigError(f'"{own}" does not select from one data set and cannot stand in a recipe; see tutelage mix.')
    if by is None and takes != "texts":
        raise ConfigError(
            f'"{own}" needs to know what it goes by; add by= with a signal or a column, such as {own}'
            f"{',' if ':' in own else ':'}by=length."
        )
    values = scores_of(workload, by) if takes == "scores" and by else column_of(workload, by or "text")
    try:
        kept = part.select(values, seed=seed)
    except ValueError as error:
        raise ConfigError(f"{spec}: {error}") from error
    if not len(kept):
        raise ConfigError(f"{spec} keeps none of the {len(workload.train)} training examples of {workload.name}.")
    found: NDArray[np.int64] = kept
    return found
