"""Keeping an order under trainers that make their own: transformers, TRL, sentence-transformers, accelerate."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, TypeVar

from torch.utils.data import Sampler

from tutelage.curricula.sampler import CurriculumSampler

TrainerT = TypeVar("TrainerT")


def use_with_trainer(trainer: TrainerT, sampler: CurriculumSampler, *, passes: bool = False) -> TrainerT:
    """Let a trainer serve its training data in a sampler's order, and return it.

    Trainers shuffle whatever order the data set has. This replaces, on this one trainer, the method that makes the
    sampler: ``_get_train_sampler`` of transformers and TRL, ``get_batch_sampler`` of sentence-transformers. Trainers
    that repeat prompts (TRL's GRPO and RLOO) keep their repetition. Call it before ``trainer.train()``.

    Args:
        trainer: A ``transformers.Trainer`` or one built on it, with its ``train_dataset``.
        sampler: With ``rank`` 0 and ``world_size`` 1: accelerate shares the batches out over processes.
        passes: Allow more than one epoch; each is then a whole run of the sampler, progress from 0 again.

    Returns:
        The trainer.

    Raises:
        TypeError: Not a trainer this knows how to tell.
        ValueError: A sampler that is sharded already, data of another length than the scores (packing changes it), or
            more than one epoch without ``passes``.

    Example:
        >>> class Told:
        ...     train_dataset, args = [10, 20, 30], None
        ...     def _get_train_sampler(self, dataset=None):
        ...         return None
        >>> sampler = CurriculumSampler("rank-order", [0.3, 0.1, 0.2], num_samples=3, seed=0)
        >>> list(use_with_trainer(Told(), sampler)._get_train_sampler())
        [1, 2, 0]

    Use with:
        ``use_with_trainer(Trainer(model, args, train_dataset=data), sampler).train()``. Stopping and resuming is the
        trainer's own: it skips the batches it has had.
    """
    if sampler.world_size > 1:
        raise ValueError(
            f"use_with_trainer: the sampler is sharded over {sampler.world_size} ranks, and the trainer would share it "
            "out again; leave rank and world_size out."
        )
    data = getattr(trainer, "train_dataset", None)
    if data is None or not hasattr(data, "__len__"):
        raise TypeError("use_with_trainer: the trainer needs a train_dataset with a length.")
    if isinstance(data, dict):
        raise TypeError("use_with_trainer: several data sets by name have no one order; give one data set.")
    if len(data) != sampler.num_examples:
        raise ValueError(
            f"use_with_trainer: the trainer's data have {len(data)} examples and the scores {sampler.num_examples}; "
            "packing and filtering change the number: score the data the trainer has made of yours."
        )
    _check_epochs(getattr(trainer, "args", None), passes)
    if hasattr(trainer, "get_batch_sampler"):
        _replace_batches(trainer, sampler)
    elif hasattr(trainer, "_get_train_sampler"):
        _replace_sampler(trainer, sampler)
    else:
        raise TypeError(f"use_with_trainer: {type(trainer).__name__} makes no sampler that could be replaced.")
    return trainer


def _check_epochs(args: Any, passes: bool) -> None:
    epochs, steps = getattr(args, "num_train_epochs", 1), getattr(args, "max_steps", -1)
    if not passes and steps <= 0 and epochs > 1:
        raise ValueError(
            f"use_with_trainer: num_train_epochs={epochs:g} goes through the sampler that often, and its num_samples "
            "is the whole run; set num_train_epochs=1, or passes=True for a run of the curriculum each epoch."
        )


def _replace_sampler(trainer: Any, sampler: CurriculumSampler) -> None:
    own = trainer._get_train_sampler

    def get_train_sampler(dataset: Any = None) -> Sampler[int]:
        made = own() if dataset is None else own(dataset)
        if hasattr(made, "mini_repeat_count"):
            return RepeatedPrompts(sampler, made.mini_repeat_count, made.batch_size, made.repeat_count)
        return sampler

    trainer._get_train_sampler = get_train_sampler


def _replace_batches(trainer: Any, sampler: CurriculumSampler) -> None:
    own, data = trainer.get_batch_sampler, trainer.train_dataset

    def get_batch_sampler(dataset: Any, batch_size: int, drop_last: bool, **others: Any) -> Any:
        if dataset is data or dataset is trainer.train_dataset:
            return sampler.batches(batch_size, drop_last=drop_last)
        return own(dataset, batch_size=batch_size, drop_last=drop_last, **others)

    trainer.get_batch_sampler = get_batch_sampler


class RepeatedPrompts(Sampler[int]):
    """A curriculum's prompts as trainers with groups of generations want them: each several times, batch by batch.

    Args:
        sampler: Gives the prompts.
        mini_repeat_count: Times each prompt comes in a row: generations of one group.
        batch_size: Different prompts in a batch; a last batch that is shorter is left out.
        repeat_count: Times each batch comes: updates on one generation.
    """

    def __init__(self, sampler: CurriculumSampler, mini_repeat_count: int, batch_size: int, repeat_count: int) -> None:
        self.sampler, self.batch_size = sampler, batch_size
        self.mini_repeat_count, self.repeat_count = mini_repeat_count, repeat_count

    def __len__(self) -> int:
        """Return the indices of a whole run, repetitions counted."""
        whole = len(self.sampler) // self.batch_size * self.batch_size
        return whole * self.mini_repeat_count * self.repeat_count

    def __iter__(self) -> Iterator[int]:
        """Yield prompts, drawn no sooner than they are needed, so that feedback reaches the next batch."""
        for batch in self.sampler.batches(self.batch_size, drop_last=True):
            for prompt in itertools.chain.from_iterable(itertools.repeat(batch, self.repeat_count)):
                yield from itertools.repeat(prompt, self.mini_repeat_count)

    def set_epoch(self, epoch: int) -> None:
        """Order the run anew; see :meth:`CurriculumSampler.set_epoch`."""
        self.sampler.set_epoch(epoch)


def check_sharding(loader: Any) -> None:
    """Refuse a loader whose order is shared out over processes twice: by the sampler and by accelerate.

    The second time is silent: each process would train on a share of its share.

    Args:
        loader: What ``accelerator.prepare`` returned, or any ``DataLoader``.

    Raises:
        ValueError: The sampler has a ``world_size`` above 1, and accelerate shares its batches out as well.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> check_sharding(DataLoader([1, 2], sampler=CurriculumSampler("paced", [1.0, 2.0], num_samples=2, seed=0)))
    """
    shares, seen = 1, getattr(loader, "batch_sampler", None)
    for _ in range(10):  # wrappers hold what they wrap as batch_sampler or sampler
        if seen is None or isinstance(seen, CurriculumSampler):
            break
        shares = max(shares, int(getattr(seen, "num_processes", 1)))
        seen = getattr(seen, "batch_sampler", None) or getattr(seen, "sampler", None)
    if isinstance(seen, CurriculumSampler) and seen.world_size > 1 and shares > 1:
        raise ValueError(
            f"check_sharding: the sampler shares its order out over {seen.world_size} ranks, and accelerate over "
            f"{shares} processes again; make the sampler without rank and world_size."
        )
