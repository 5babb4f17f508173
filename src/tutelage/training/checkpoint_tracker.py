"""Following abilities while a model trains: a callback that scores it now and then and keeps a tidy table."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import DataNotFound
from tutelage.training.callbacks import Callback, RunState
from tutelage.training.curve import CurveLog
from tutelage.training.folder import SCORES_LOG

if TYPE_CHECKING:
    from tutelage.training.result import RunResult

__all__ = ["LOSS_DOMAIN", "CheckpointTracker", "read_checkpoints"]

#: Domain of rows that hold a loss, which has no chance level and is better where it is lower.
LOSS_DOMAIN = "loss"
_LOSS = "val_loss"


class CheckpointTracker(Callback):
    """Scores the model on tasks of your choice while it trains, and keeps every score in the run folder.

    Use it to see which abilities come when, and to tell from early checkpoints how a run will end.

    **Formula**: one row a task and checkpoint, ``(run, step, tokens, task, score, chance, domain[, ci])``: ``step`` and
    ``tokens`` are those in the weights. At each evaluation of the run its ``val_loss`` is kept too, as a task of domain
    ``loss`` without a chance level.

    Args:
        evaluators: For each task by name: a function that takes the model (in evaluation mode, without gradients) and
            returns its score, at most 1, or the score and half the width of its 95 % interval; the score of guessing,
            >= 0 and < 1; and the domain it belongs to.
        every: Updates between scores, >= 1; each time at the first logged update from there on, and at the end. Where
            not given: at each evaluation of the run.
        name: What the run is called in the table; the name of its folder where not given.

    Returns:
        ``table``: the rows as dicts, in order of step. They also stand in the run folder, in ``scores.jsonl``, which is
        only ever appended to; a run that is resumed takes back what was written after its checkpoint.

    Raises:
        ValueError: No evaluator, a chance or ``every`` out of range, a name or domain that is taken or empty.
        TypeError: An evaluator that is not a function, a number and a name.
        StorageFull: While training: no space is left; the rows before are intact.

    Example:
        >>> from tutelage.training import train
        >>> from tutelage.workloads import prepare
        >>> digits = prepare("digits:net=mlp")
        >>> inputs, labels = digits.validation.batch(range(100))
        >>> accuracy = lambda model: float((model(inputs).argmax(1) == labels).float().mean())
        >>> tracker = CheckpointTracker({"digits": (accuracy, 0.1, "vision")}, every=10)
        >>> _ = train(digits, budget="20steps", eval_every=20, callbacks=[tracker])
        >>> [(row["step"], row["task"]) for row in tracker.table]
        [(10, 'digits'), (20, 'digits'), (20, 'val_loss')]

    Use with:
        ``train(..., callbacks=[CheckpointTracker(probe_evaluators(), every=100)])``; then
        ``tutelage.forecast.checkpoints`` or ``tutelage forecast checkpoints RUN_FOLDERS``. In a loop of your own call
        ``tracker.record(model, step=..., tokens=...)``.

    Helps / does not help:
        Scores are not counted in the run's cost. With several processes the first one scores, the others wait. An
        evaluator's score that is not a finite number is left out, and the run's notes say so.

    Relations:
        A workload's own metrics, and ``also_evaluate``, are sums over examples; this takes any function of the model.

    Source:
        Tracking downstream tasks over checkpoints: The Fine Line, 2024, arXiv 2404.01204.
    """

    def __init__(
        self,
        evaluators: Mapping[str, tuple[Callable[[Any], Any], float, str]],
        *,
        every: int | None = None,
        name: str | None = None,
    ) -> None:
        if not evaluators:
            raise ValueError("CheckpointTracker: evaluators must name at least one task, got none.")
        if every is not None and every < 1:
            raise ValueError(f"CheckpointTracker: every must be >= 1 update, got {every}.")
        for task, entry in evaluators.items():
            if not (isinstance(entry, tuple | list) and len(entry) == 3 and callable(entry[0])):
                raise TypeError(
                    f'CheckpointTracker: evaluator "{task}" must be (function of the model, chance, domain), got '
                    f"{entry!r}."
                )
            _, chance, domain = entry
            if not 0 <= chance < 1:
                raise ValueError(f'CheckpointTracker: chance of "{task}" must be >= 0 and < 1, got {chance}.')
            if not domain or domain == LOSS_DOMAIN or task == _LOSS:
                raise ValueError(
                    f'CheckpointTracker: task "{task}" of domain "{domain}": the domain must not be empty, and '
                    f'"{LOSS_DOMAIN}" and "{_LOSS}" are taken; choose others.'
                )
        self.evaluators = dict(evaluators)
        self.every, self.name = every, name
        self._folder: Path | None = None
        self._rows: list[dict[str, Any]] = []
        self._seen, self._scored = 0, -1

    @property
    def table(self) -> list[dict[str, Any]]:
        """The rows so far, in order of step."""
        if self._folder is None:
            return _merged(self._rows)
        return read_checkpoints(self._folder) if (self._folder / SCORES_LOG).exists() else []

    def on_start(self, run: RunState) -> None:
        """Begin a table, or go on with the run's own and take back what its weights do not know."""
        self._folder, self._rows = run.folder, []
        self._seen, self._scored = run.step, -1
        if self._folder is None or not run.main:
            return
        log = self._folder / SCORES_LOG
        if log.exists() and any(row["step"] > run.step for row in _read(log)):
            with CurveLog(log) as file:
                file.rewind(run.step + 1)

    def on_update(self, run: RunState, row: Mapping[str, Any]) -> None:
        """Score the model, where that is due."""
        if run.searching:
            return
        due = self.every is not None and run.step // self.every > self._seen // self.every
        self._seen = run.step
        if due:
            self._score(run)

    def on_evaluation(self, run: RunState, metrics: Mapping[str, float]) -> None:
        """Keep the loss, and score the model where it is scored at evaluations, or at its end."""
        if run.main and math.isfinite(metrics.get(_LOSS, math.nan)):
            self._write([self._row(run.step, run.tokens, _LOSS, metrics[_LOSS], None, LOSS_DOMAIN)])
        if self.every is None or run.fraction >= 1 or run.stop_reason is not None:
            self._score(run)

    def on_end(self, run: RunState, result: RunResult) -> None:
        """Score the last weights, if that has not been done."""
        if not result.diverged:
            self._score(run)

    def record(self, model: Any, *, step: int, tokens: int | None = None) -> list[dict[str, Any]]:
        """Score a model now, from a loop of your own; returns the new rows.

        Args:
            model: What the evaluators take; a PyTorch module is put in evaluation mode for the while.
            step: Updates in its weights.
            tokens: Tokens in them; the steps stand in for them where not given.
        """
        import torch

        training = bool(getattr(model, "training", False))
        rows = []
        if training:
            model.eval()
        try:
            with torch.no_grad():
                for task, (score_of, chance, domain) in self.evaluators.items():
                    found = score_of(model)
                    score, ci = found if isinstance(found, Sequence) else (found, None)
                    row = self._row(step, tokens, task, float(score), chance, domain)
                    rows.append(row if ci is None else {**row, "ci": float(ci)})
        finally:
            if training:
                model.train()
        self._write([row for row in rows if math.isfinite(row["score"])])
        return rows

    def _score(self, run: RunState) -> None:
        if run.main and self._scored != run.step:
            self._scored = run.step
            for row in self.record(run.model, step=run.step, tokens=run.tokens):
                if not math.isfinite(row["score"]):
                    run.notes.append(f"The score of {row['task']} at update {run.step} is no number; it is left out.")

    def _row(self, step: int, tokens: int | None, task: str, score: float, chance: float | None, domain: str) -> Any:
        name = self.name or (self._folder.name if self._folder else "run")
        return {
            "run": name,
            "step": step,
            "tokens": step if tokens is None else tokens,
            "task": task,
            "score": score,
            "chance": chance,
            "domain": domain,
        }

    def _write(self, rows: Sequence[dict[str, Any]]) -> None:
        if self._folder is None:
            self._rows += rows
            return
        # Opened for each checkpoint: nothing is left open when a run breaks.
        with CurveLog(self._folder / SCORES_LOG) as log:
            for row in rows:
                log.append(row)


def read_checkpoints(*folders: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the tables that trackers left in run folders, as one table.

    Args:
        *folders: Run folders.

    Returns:
        Rows ``(run, step, tokens, task, score, chance, domain[, ci])``, one a task and step, run by run in the order
        given and by step. One run keeps its name; several are called by what tells their folders apart.

    Raises:
        ValueError: No folder, or one twice.
        DataNotFound: A folder in which no tracker has written.

    Example:
        >>> import tempfile
        >>> from tutelage.training import train
        >>> from tutelage.workloads import prepare
        >>> tracker = CheckpointTracker({"bias": (lambda model: 0.5, 0.1, "none")}, every=5)
        >>> folder = Path(tempfile.mkdtemp()) / "first"
        >>> _ = train(prepare("digits:net=mlp"), budget="10steps", out=folder, callbacks=[tracker])
        >>> [(row["run"], row["step"]) for row in read_checkpoints(folder) if row["task"] == "bias"]
        [('first', 5), ('first', 10)]
    """
    if not folders:
        raise ValueError("read_checkpoints: name at least one run folder, got none.")
    paths = [Path(folder).absolute() for folder in folders]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ValueError(f"read_checkpoints: {twice} is named twice.")
    rows = []
    for path, name in zip(paths, _names(paths), strict=True):
        if not (path / SCORES_LOG).is_file():
            raise DataNotFound(
                f"No scores in {path}: it has no {SCORES_LOG}. Train with callbacks=[CheckpointTracker(...)]."
            )
        found = _merged(_read(path / SCORES_LOG))
        rows += found if name is None else [{**row, "run": name} for row in found]
    return rows


def _names(paths: Sequence[Path]) -> list[str | None]:
    """Return what tells paths apart: what is left without the parts that all have at their start or end."""
    if len(paths) == 1:
        return [None]
    parts = [list(path.parts) for path in paths]
    for end in (0, -1):
        while all(len(part) > 1 for part in parts) and len({part[end] for part in parts}) == 1:
            for part in parts:
                part.pop(end)
    return ["/".join(part) for part in parts]


def _read(log: Path) -> list[dict[str, Any]]:
    """Return the rows of a log that count; lines torn by a kill are passed over, for they were written again."""
    rows: list[dict[str, Any]] = []
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
                step = int(row["step"])
            except (ValueError, KeyError, TypeError):
                continue
            if row.get("rewind"):
                rows = [kept for kept in rows if kept["step"] < step]
            elif "task" in row:
                rows.append(row)
    return rows


def _merged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a step and task, in order of step; of two the later counts."""
    last = {(row["step"], row["task"]): row for row in rows}
    return [last[key] for key in sorted(last, key=lambda key: key[0])]
