"""Early signals of a run: logged by a callback while it trains, and read back from runs for a report on a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tutelage.errors import ConfigError
from tutelage.forecast.early_signals import SignalRun
from tutelage.training.callbacks import Callback, RunState
from tutelage.training.curve import read_curve
from tutelage.training.folder import read_result, read_run

#: Columns of a curve that are signals, where it has them.
SIGNALS = ("grad_norm", "loss", "update_ratio")
_KEPT = ("step", "lr", "loss", "grad_norm", "tokens", "update_ratio")


class EarlySignals(Callback):
    """Logs what early signals are made of: norm of the gradient, loss, tokens, and how far each update moves.

    The loop logs ``loss``, ``tokens`` and, where it clips, ``grad_norm`` before clipping already; this asks for
    ``grad_norm`` in every run and adds ``update_ratio`` to the curve.

    **Formula**: ``update_ratio = ||w - w'|| / ||w'||`` over all weights that are trained, ``w'`` those at the row
    before: one update ago on a CPU, ``log_every`` of them where not every one is logged. The first row after a start or
    a resume counts from the weights it started with.

    Returns:
        ``rows``: a dict for each logged update of this process, also in runs that are kept in memory.

    Example:
        >>> from tutelage.training import train
        >>> from tutelage.workloads import prepare
        >>> signals = EarlySignals()
        >>> run = train(prepare("digits:net=mlp"), "constant;clip=none", budget="5steps", callbacks=[signals])
        >>> sorted(signals.rows[0])
        ['grad_norm', 'loss', 'lr', 'step', 'tokens', 'update_ratio']
        >>> [round(float(value), 4) for value in run.curve["update_ratio"]] == [
        ...     round(row["update_ratio"], 4) for row in signals.rows
        ... ]
        True

    Use with:
        ``train(..., callbacks=[EarlySignals()])``; then :func:`signal_run` and
        :func:`tutelage.forecast.early_signals.signal_report`.

    Helps / does not help:
        Keeps a copy of the weights and reads all of them at each update: a few percent of the time of a small model,
        nothing for one that is limited by its products.

    Relations:
        ``grad_norm`` in transformers' ``trainer_state.json`` is the same number.

    Source:
        Pareja et al., 2024, arXiv 2412.13337 (gradient norm and loss early in training). ``update_ratio`` is ours.
    """

    wants_grad_norm = True

    def __init__(self) -> None:
        self.rows: list[dict[str, float | None]] = []
        self._before: list[torch.Tensor] = []

    def on_start(self, run: RunState) -> None:
        """Remember the weights."""
        self._before = [weight.detach().clone() for weight in _trained(run)]

    def on_update(self, run: RunState, row: Mapping[str, Any]) -> None:
        """Log how far the weights have moved; the updates of a search are undone and do not count."""
        weights = _trained(run)
        if not run.searching:
            moved = torch.stack([torch.linalg.vector_norm(w - b) for w, b in zip(weights, self._before, strict=True)])
            size = torch.stack([torch.linalg.vector_norm(b) for b in self._before])
            ratio = float(torch.linalg.vector_norm(moved) / torch.linalg.vector_norm(size))
            run.log["update_ratio"] = ratio
            self.rows.append({name: {**row, "update_ratio": ratio}.get(name) for name in _KEPT})
        for before, weight in zip(self._before, weights, strict=True):
            before.copy_(weight)


def _trained(run: RunState) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in run.model.parameters() if parameter.requires_grad]


def signal_run(folder: str | Path, *, name: str | None = None, lower_is_better: bool | None = None) -> SignalRun:
    """Return what a run folder tells about early signals, whether the run has ended or not.

    Args:
        folder: The run folder.
        name: What to call the run; the folder's path where not given.
        lower_is_better: Direction of the result, for a run that has not ended and cannot say; lower where not given.

    Raises:
        DataNotFound: There is no run, or it has no curve.
        CorruptRun: A file cannot be read.
        ConfigError: A budget in seconds, whose number of updates is not known, or no update logged.

    Example:
        >>> import tempfile
        >>> from tutelage.training import train
        >>> from tutelage.workloads import prepare
        >>> folder = tempfile.mkdtemp() + "/run"
        >>> _ = train(prepare("digits:net=mlp"), "constant:peak=0.003", budget="10steps", out=folder)
        >>> run = signal_run(folder)
        >>> sorted(run.signals), run.lr, run.total_steps, run.reached(0.2)
        (['grad_norm', 'loss'], 0.003, 10, True)
    """
    record, result, curve = read_run(folder), read_result(Path(folder)), read_curve(folder)
    planned = record.phases[-1].total_steps
    diverged = result is not None and bool(result["diverged"])
    total = planned if result is None or diverged else int(result["steps"])
    if total is None:
        raise ConfigError(f"The run in {folder} is measured in seconds; signals are read at a share of its updates.")
    logged = ~np.isnan(curve.get("lr", np.full(len(curve["step"]), np.nan)))
    if not logged.any():
        raise ConfigError(f"The run in {folder} has not logged an update yet.")
    final = None if result is None else result["final_loss"]
    lower = lower_is_better is not False if result is None else bool(result["lower_is_better"])
    return SignalRun(
        name=str(folder) if name is None else name,
        steps=curve["step"][logged] + 1,
        signals={signal: curve[signal][logged] for signal in SIGNALS if signal in curve},
        total_steps=total,
        batch=record.batch_size,
        lr=float(curve["lr"][logged].max()),
        lower_is_better=lower,
        final=final,
        diverged=diverged,
        data=f"{record.workload} {record.data_fingerprint}".strip(),
    )
