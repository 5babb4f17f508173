"""Following single examples while a model learns them: a callback that keeps what it makes of each, now and then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import CorruptRun, DataNotFound
from tutelage.storage import write_atomically
from tutelage.training.callbacks import Callback, RunState

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tutelage.training.result import RunResult
    from tutelage.workloads import ExampleStore

__all__ = ["ExampleLog", "label_outcomes", "read_example_log", "token_outcomes"]

#: Folder in a run folder with one file an evaluation.
EXAMPLES = "examples"
#: Says of each example of a batch what the model makes of it, by name: numbers ``(n,)``, or ``(n, classes)``.
Outcomes = Callable[["nn.Module", Any], Mapping[str, "torch.Tensor"]]


class ExampleLog(Callback):
    """Keeps what a model makes of every example while it learns: loss, right or wrong, probabilities.

    Use it to score examples by how they fare over a run: forgetting events, EL2N, the course of the loss.

    **Formula**: at each evaluation ``t`` and for each example ``i`` what ``outcomes`` returns, such as
    ``l_(t,i) = -log p_t(y_i | x_i)``; the model in evaluation mode, without gradients.

    Args:
        examples: The examples to follow, most often ``workload.train``.
        outcomes: ``outcomes(model, batch)``: for each name a tensor whose first dimension is the batch's examples.
            :func:`label_outcomes` for batches of inputs and class labels, :func:`token_outcomes` for language models.
        every: Updates between evaluations, >= 1: each time at the first logged update from there on; at the run's own
            evaluations where not given.
        batch_size: Examples of a pass, >= 1.

    Returns:
        ``steps``: updates made at each evaluation. ``table()``: for each name a list with one row an example.

    Raises:
        ValueError: ``every`` or ``batch_size`` below 1.
        StorageFull: While training: no space is left; what was kept before is intact.

    Example:
        >>> from tutelage.signals import Forgetting
        >>> from tutelage.training import train
        >>> from tutelage.workloads import prepare
        >>> digits = prepare("digits:net=mlp")
        >>> log = ExampleLog(digits.train, label_outcomes, every=10)
        >>> _ = train(digits, budget="30steps", callbacks=[log])
        >>> log.steps, len(log.table()["losses"]), len(log.table()["losses"][0])
        ([10, 20, 30], 1437, 3)
        >>> Forgetting().score(log.table()).shape
        (1437,)

    Use with:
        ``train(..., callbacks=[ExampleLog(workload.train, label_outcomes)])``; then ``Forgetting``, ``EL2N`` and
        ``LossTrajectory`` of :mod:`tutelage.signals` on the table, or on :func:`read_example_log` of the folder.

    Helps / does not help:
        Each evaluation costs a forward pass over all examples, which is not counted in the run's cost. With several
        processes the first one evaluates, the others wait.

    Relations:
        :class:`CheckpointTracker` keeps one score a task; this one a number for every example.

    Source:
        Outcomes over a run: Toneva et al., 2019, arXiv 1812.05159, who look at each example when it is trained on; here
        all are looked at with the same weights.
    """

    def __init__(
        self, examples: ExampleStore, outcomes: Outcomes, *, every: int | None = None, batch_size: int = 256
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"ExampleLog: every must be >= 1 update, got {every}.")
        if batch_size < 1:
            raise ValueError(f"ExampleLog: batch_size must be >= 1, got {batch_size}.")
        self.examples, self.outcomes, self.every, self.batch_size = examples, outcomes, every, batch_size
        self._folder: Path | None = None
        self._kept: dict[int, dict[str, NDArray[np.float32]]] = {}
        self._seen = 0

    @property
    def steps(self) -> list[int]:
        """Updates in the weights at each evaluation, in order."""
        return sorted(self._kept)

    def table(self) -> dict[str, Any]:
        """Return the outcomes, one row an example.

        Those of shape ``(n,)`` are lists over the evaluations, ``loss`` under the name ``losses``; of those with more
        dimensions the last evaluation stands; ``label`` is one number.
        """
        return _table(self._kept)

    def on_start(self, run: RunState) -> None:
        """Begin, or go on with what the run kept up to its weights."""
        self._folder = None if run.folder is None else run.folder / EXAMPLES
        self._kept, self._seen = {}, run.step
        if self._folder is not None and self._folder.exists():
            for path in self._folder.glob("step-*.safetensors"):
                if _step(path) > run.step:
                    if run.main:
                        path.unlink()  # it is made again
                else:
                    self._kept[_step(path)] = _read(path)

    def on_update(self, run: RunState, row: Mapping[str, Any]) -> None:
        """Evaluate, where that is due."""
        if run.searching:
            return
        due = self.every is not None and run.step // self.every > self._seen // self.every
        self._seen = run.step
        if due:
            self._keep(run)

    def on_evaluation(self, run: RunState, metrics: Mapping[str, float]) -> None:
        """Evaluate with the run, where no steps of one's own were given."""
        if self.every is None:
            self._keep(run)

    def _keep(self, run: RunState) -> None:
        if not run.main or run.step in self._kept:
            return
        found = self.record(run.model)
        self._kept[run.step] = found
        if self._folder is not None:
            from safetensors.numpy import save

            self._folder.mkdir(exist_ok=True)
            write_atomically(self._folder / f"step-{run.step:08d}.safetensors", save(dict(found)))

    def record(self, model: nn.Module) -> dict[str, NDArray[np.float32]]:
        """Return the outcomes of every example now, for a loop of your own.

        Args:
            model: Put into evaluation mode for the while.
        """
        import torch

        training, found = model.training, dict[str, list[NDArray[np.float32]]]()
        device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
        model.eval()
        try:
            with torch.no_grad():
                for start in range(0, len(self.examples), self.batch_size):
                    places = np.arange(start, min(len(self.examples), start + self.batch_size))
                    outcomes = self.outcomes(model, _moved(self.examples.batch(places), device))
                    for name, values in outcomes.items():
                        if len(values) != len(places):
                            raise ValueError(
                                f'ExampleLog: outcomes must give {len(places)} rows of "{name}" for as many examples, '
                                f"got {len(values)}."
                            )
                        found.setdefault(name, []).append(values.float().cpu().numpy())
        finally:
            model.train(training)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def on_end(self, run: RunState, result: RunResult) -> None:
        """Evaluate the last weights, if that has not been done."""
        if not result.diverged and self.every is not None:
            self._keep(run)


def label_outcomes(model: Callable[[Any], torch.Tensor], batch: Any) -> dict[str, torch.Tensor]:
    """Return ``loss``, ``correct``, ``probabilities`` and ``label`` of a classifier on inputs and class labels."""
    import torch
    from torch.nn import functional

    inputs, labels = batch
    logits = model(inputs)
    return {
        "loss": functional.cross_entropy(logits, labels, reduction="none"),
        "correct": logits.argmax(-1) == labels,
        "probabilities": torch.softmax(logits, -1),
        "label": labels,
    }


def token_outcomes(model: nn.Module, batch: Any) -> dict[str, torch.Tensor]:
    """Return ``loss``, the mean over a sequence's targets, and ``correct``, whether every target was the likeliest.

    Batches start with tokens and targets (-100 where there is none), as those of ``text-lm`` and ``instructions``.
    """
    from torch.nn import functional

    tokens, targets = batch[:2]
    found = model(tokens)
    logits = getattr(found, "logits", found)
    losses = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none")
    counted = targets != -100
    right = (logits.argmax(-1) == targets) | ~counted
    mean = losses.view_as(targets).sum(-1) / counted.sum(-1).clamp(min=1)
    return {"loss": mean, "correct": right.all(-1)}


def read_example_log(folder: str | Path) -> dict[str, Any]:
    """Return the table that an :class:`ExampleLog` left in a run folder; as its ``table()``, with ``steps``.

    Raises:
        DataNotFound: The folder holds none.
        CorruptRun: A file cannot be read.
    """
    paths = sorted((Path(folder) / EXAMPLES).glob("step-*.safetensors"))
    if not paths:
        raise DataNotFound(f"No outcomes of examples in {folder}: train with callbacks=[ExampleLog(...)].")
    kept = {_step(path): _read(path) for path in paths}
    return {"steps": sorted(kept), **_table(kept)}


def _table(kept: Mapping[int, Mapping[str, NDArray[np.float32]]]) -> dict[str, Any]:
    if not kept:
        return {}
    rows = [kept[step] for step in sorted(kept)]
    found: dict[str, Any] = {}
    for name, last in rows[-1].items():
        if name == "label":
            found[name] = last.astype(np.int64)
        elif last.ndim > 1:
            found[name] = last.astype(np.float64)
        else:
            over_time = np.stack([row[name] for row in rows], axis=1).astype(np.float64)
            found["losses" if name == "loss" else name] = over_time
    return found


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise CorruptRun(f"{path} cannot be read ({error}); delete it.") from error


def _moved(batch: Any, device: torch.device) -> Any:
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {name: _moved(part, device) for name, part in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(_moved(part, device) for part in batch)
    return batch
