"""Schedules as PyTorch learning-rate schedulers, and inside a transformers ``Trainer``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

if TYPE_CHECKING:
    from tutelage.schedules._protocol import RateFunction

#: Rates are computed this many updates at a time, so that a step is a look-up and a long run needs no long table.
_BLOCK = 4096


class StepScheduler(LRScheduler):
    """Drives an optimizer by a schedule, one :meth:`step` after each update, like any PyTorch scheduler.

    The rate is absolute: the rate a parameter group was made with only sets its *share*, relative to the optimizer's
    default. With ``AdamW([{"params": a, "lr": 1e-4}, {"params": b}], lr=1e-3)`` group ``a`` always runs at a tenth
    of the schedule. The schedule is evaluated once a step and in blocks, never once a group.

    Args:
        optimizer: Any PyTorch optimizer, with any number of parameter groups.
        schedule: Any ``step -> rate``; one of this library's, or your own callable that takes an integer array.

    Raises:
        TypeError: ``optimizer`` is not a PyTorch optimizer, or has a group without a rate.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: RateFunction) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"to_torch: optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}.")
        # LRScheduler.__init__ is not called on purpose: it patches optimizer.step and makes a first step of its own.
        self.optimizer = optimizer
        self.schedule = schedule
        self.last_epoch = 0
        for index, group in enumerate(optimizer.param_groups):
            if group["lr"] is None:
                raise TypeError(
                    f"to_torch: parameter group {index} has no rate; give {type(optimizer).__name__} an lr."
                )
            group.setdefault("initial_lr", group["lr"])
        default = float(optimizer.defaults.get("lr") or 0.0)
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        # An optimizer made with rate 0 says nothing about shares: all of its groups follow the schedule itself.
        self._shares = [base / default if default else 1.0 for base in self.base_lrs]
        self._first = 0
        self._rates: list[float] = []
        self._apply()

    def step(self, epoch: int | None = None) -> None:
        """Set the rates for the next update.

        Args:
            epoch: Jump to this update instead of the next one; PyTorch's name for it is kept.
        """
        self.last_epoch = step = self.last_epoch + 1 if epoch is None else epoch
        groups = self.optimizer.param_groups
        index = step - self._first
        if len(groups) != self._simple or not 0 <= index < len(self._rates):
            self._apply()
            return
        rate = self._rates[index]
        if self._equal:
            for group in groups:
                group["lr"] = rate
        else:
            for group, share in zip(groups, self._shares, strict=True):
                group["lr"] = rate * share

    def _apply(self) -> None:
        """Set the rates of the current update, and see whether :meth:`step` may take its short way from here on."""
        rate = self._rate_at(self.last_epoch)
        groups = self.optimizer.param_groups
        # Groups added after construction (gradual unfreezing) run at the schedule itself.
        self._shares += [1.0] * (len(groups) - len(self._shares))
        in_tensors = False
        for group, share in zip(groups, self._shares, strict=True):
            if torch.is_tensor(group["lr"]):
                group["lr"].fill_(rate * share)
                in_tensors = True
            else:
                group["lr"] = rate * share
        # The number of groups is compared at each step, as one that joins later may hold its rate in a tensor.
        self._simple = -1 if in_tensors else len(groups)
        self._equal = all(share == 1.0 for share in self._shares)

    def _rate_at(self, step: int) -> float:
        index = step - self._first
        if not 0 <= index < len(self._rates):
            self._rates = np.asarray(self.schedule(np.arange(step, step + _BLOCK)), dtype=np.float64).tolist()
            self._first, index = step, 0
        return self._rates[index]

    def get_last_lr(self) -> list[float | torch.Tensor]:
        """Return the rate of each group for the update about to be made."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def get_lr(self) -> list[float | torch.Tensor]:
        """Return the same as :meth:`get_last_lr`; PyTorch asks by both names."""
        return self.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return the position only; the schedule itself is configuration and is built again from its spec."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go to a saved position and set the rates there, exactly as an uninterrupted run would have."""
        self.last_epoch = int(state_dict["last_epoch"])
        self._apply()


def to_torch(schedule: RateFunction, optimizer: torch.optim.Optimizer) -> StepScheduler:
    """Return a PyTorch scheduler for any ``step -> rate`` callable; see :class:`StepScheduler`."""
    return StepScheduler(optimizer, schedule)


def use_in_trainer(trainer: Any, spec: str) -> None:
    """Make a ``transformers.Trainer`` (or any of TRL's trainers) train with a schedule of this library.

    The trainer itself says how many updates it will make and its ``learning_rate`` is the peak, unless the spec
    gives one. Call it between constructing the trainer and ``train()``; checkpoints and resuming work as always.

    Args:
        trainer: The trainer; its ``create_scheduler`` method is replaced on this object alone.
        spec: A schedule's spec, such as ``"uba:phi=5,warmup=0.05"``.

    Raises:
        TypeError: ``trainer`` has no ``create_scheduler``.
        ConfigError: The spec cannot be used.

    Example:
        >>> use_in_trainer(trainer, "wsd:decay=0.2,warmup=0.01")  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
    """
    from tutelage.schedules import from_spec

    if not hasattr(trainer, "create_scheduler"):
        raise TypeError(f"use_in_trainer: trainer must be a transformers.Trainer, got {type(trainer).__name__}.")
    from_spec(spec, total_steps=1_000_000, peak=trainer.args.learning_rate)  # faults show now, not after loading data

    def create_scheduler(num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> StepScheduler:
        schedule = from_spec(spec, total_steps=num_training_steps, peak=trainer.args.learning_rate)
        scheduler = StepScheduler(trainer.optimizer if optimizer is None else optimizer, schedule)
        trainer.lr_scheduler = scheduler
        trainer._created_lr_scheduler = True
        return scheduler

    trainer.create_scheduler = create_scheduler
