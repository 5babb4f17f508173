"""Watching or stopping a run from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import nn

    from tutelage.training.result import RunResult


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
        notes: What the run had to pass over, such as a damaged checkpoint.
        tokens: Tokens in the updates made; ``None`` where examples have no fixed number.
        folder: The run folder; ``None`` for a run that is kept in memory.
        main: Whether this is the process that writes.
        log: Put numbers here in ``on_update``, and the curve keeps them beside the update's own; emptied after each.
    """

    model: nn.Module
    total_steps: int | None
    step: int = 0
    fraction: float = 0.0
    searching: bool = False
    stop_reason: str | None = None
    notes: list[str] = field(default_factory=list)
    tokens: int | None = None
    folder: Path | None = None
    main: bool = True
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
