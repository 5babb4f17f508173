"""What a run gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tutelage.errors import CorruptRun, DataNotFound
from tutelage.training.curve import CURVE_LOG, CURVE_TABLE, read_curve
from tutelage.training.folder import RESULT_FILE, read_result


@dataclass(frozen=True)
class RunResult:
    """The outcome of one run.

    Args:
        final_loss: Value of ``metric`` at the end; ``None`` for a diverged run.
        metric: Name of the workload's metric, such as ``val_loss``.
        lower_is_better: Whether less of it is better.
        metrics: Every validation metric at the end.
        steps: Updates the model was trained for; the search of a controller is apart, in ``cost``.
        examples: Examples in those updates.
        tokens: Tokens in those updates, or ``None`` where examples have no fixed number.
        seconds: Seconds of training, evaluation and checkpoints left out.
        diverged: The loss stopped being a finite number.
        stopped: Why the run ended before its budget, or ``None``.
        hashes: ``init`` (first weights), ``data`` (workload), ``order`` (every batch of the run).
        cost: Training, search, evaluation and checkpoint steps and seconds, kept apart.
        curve: The curve as columns; see :func:`tutelage.training.read_curve`.
        folder: The run folder, or ``None`` for a run kept in memory.
        before: Every validation metric before the first update of a run that started from another one's weights, else
            ``None``.
        search: What a controller found, ``None`` for other schedules: ``schedule`` is the spec that trains the same
            again without a search (``None`` where none was found), ``state`` what its ``load_state_dict`` takes.
    """

    final_loss: float | None
    metric: str
    lower_is_better: bool
    metrics: dict[str, float | None]
    steps: int
    examples: int
    tokens: int | None
    seconds: float
    diverged: bool
    stopped: str | None
    hashes: dict[str, str]
    cost: dict[str, float]
    curve: dict[str, NDArray[Any]] = field(repr=False, compare=False)
    folder: Path | None = None
    search: dict[str, Any] | None = None
    before: dict[str, float | None] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all but the curve, for ``result.json`` and ``--json``."""
        names = (
            "final_loss",
            "metric",
            "lower_is_better",
            "metrics",
            "steps",
            "examples",
            "tokens",
            "seconds",
            "diverged",
            "stopped",
            "hashes",
            "cost",
            "search",
            "before",
        )
        return {name: getattr(self, name) for name in names}

    @property
    def curve_path(self) -> Path | None:
        """The file that holds the curve: the compacted table of a finished run, else its log."""
        if self.folder is None:
            return None
        table = self.folder / CURVE_TABLE
        return table if table.exists() else self.folder / CURVE_LOG

    @classmethod
    def read(cls, folder: str | Path) -> RunResult:
        """Return the stored outcome of a finished run.

        Raises:
            DataNotFound: The run is unfinished, or there is none.
            CorruptRun: A file cannot be read.
        """
        folder = Path(folder)
        stored = read_result(folder)
        if stored is None:
            raise DataNotFound(
                f"The run in {folder} is not finished; go on with tutelage train --out {folder} --resume."
            )
        try:
            return cls(**stored, curve=read_curve(folder), folder=folder)
        except TypeError as error:
            raise CorruptRun(
                f"{folder / RESULT_FILE} is not a result this version reads ({error}); delete it to finish the run "
                "again with --resume."
            ) from error
