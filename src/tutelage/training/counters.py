"""Where a run stands and what it has cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_NO_HISTORY = "00" * 8


@dataclass
class Counters:
    """Where a run stands, and what it has cost; stored in every checkpoint.

    ``step`` counts the updates in the weights and goes back when a search does; ``spent`` counts all ever made.
    ``evaluated`` is the value of ``spent`` at the last evaluation in the ledger, so that one repeated after a kill
    counts once. ``controller`` and ``segment_...`` say where a controller stands: its state, and the updates and losses
    of the segment it is in. ``before`` holds the metrics of weights that came from another run.
    """

    step: int = 0
    spent: int = 0
    search_steps: int = 0
    evaluations: int = 0
    search_evaluations: int = 0
    evaluated: int = -1
    train_seconds: float = 0.0
    search_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    order: str = _NO_HISTORY
    controller: dict[str, Any] | None = None
    segment_steps: int = 0
    segment_losses: list[float] = field(default_factory=list)
    before: dict[str, float | None] | None = None

    def cost(self) -> dict[str, float]:
        """Return the ledger: training, search, evaluation and checkpoints, kept apart."""
        return {
            "train_steps": self.spent - self.search_steps,
            "search_steps": self.search_steps,
            "evaluations": self.evaluations,
            "search_evaluations": self.search_evaluations,
            "train_seconds": self.train_seconds,
            "search_seconds": self.search_seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "checkpoint_seconds": self.checkpoint_seconds,
        }
