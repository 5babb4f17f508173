"""Watching or stopping a run from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from tutelage.training.result import RunResult


class RunPaused(Exception):
    """A callback paused the run: it has saved itself after update ``step``, and goes on when it is resumed."""

    def __init__(self, step: int) -> None:
        super().__init__(f"The run was paused after update {step}; resume it to go on.")
        self.step = step

    def __reduce__(self) -> tuple[type[RunPaused], tuple[int]]:
        """Say how a worker process hands it over."""
        return type(self), (self.step,)


@dataclass
class RunState:
    """What a callback sees of a run, and how it stops one.

    Args:
        model: The model, unwrapped.
        total_steps: Updates in the run; ``None`` for a budget in seconds.
        step: Updates in the weights.
        fraction: Share of the budget spent, 0 to 1.
        searching: The update just made belongs to a search and will be undone.
        stop_reason: Set it to a sentence and the run ends after this update, evaluated and stored as usual. With
            several processes all of them must set it at the same update.
        pause: Set it and the run saves itself after this update and leaves with :class:`RunPaused`, unfinished;
            resumed, it goes on as if nothing had happened. For runs with a folder; several processes must agree on it.
        notes: What the run had to pass over, such as a damaged checkpoint.
        tokens: Tokens in the updates made; ``None`` where examples have no fixed number.
        folder: The run folder; ``None`` for a run that is kept in memory.
        main: Whether this is the process that writes.
        rates: Gives the learning rate of every update of the run, shape ``(total_steps,)``; ``None`` where they are not
            planned: in a search, a budget in seconds, an extended run.
        log: Put numbers here in ``on_update``, and the curve keeps them beside the update's own; emptied after each.
    """

    model: nn.Module
    total_steps: int | None
    step: int = 0
    fraction: float = 0.0
    searching: bool = False
    stop_reason: str | None = None
    pause: bool = False
    notes: list[str] = field(default_factory=list)
    tokens: int | None = None
    folder: Path | None = None
    main: bool = True
    rates: Callable[[], NDArray[np.float64]] | None = None
    log: dict[str, float] = field(default_factory=dict)


class Callback:
    """Override what you need; every method does nothing by default.

    Set ``wants_grad_norm = True`` in a class to find ``grad_norm`` in every row, also in runs that do not clip.
    """

    wants_grad_norm: ClassVar[bool] = False

    def on_start(self, run: RunState) -> None:
        """Run before the first update, also after a resume."""

    def on_update(self, run: RunState, row: Mapping[str, Any]) -> None:
        """Run after each logged update, with its row of the curve, or of the search while ``run.searching``."""

    def on_evaluation(self, run: RunState, metrics: Mapping[str, float]) -> None:
        """Run after each evaluation, with every ``val_`` metric."""

    def on_checkpoint(self, run: RunState, path: Path) -> None:
        """Run after a checkpoint was stored."""

    def on_end(self, run: RunState, result: RunResult) -> None:
        """Run once, with the outcome."""
