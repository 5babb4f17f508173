"""Scores of a workload's training examples, for the curricula and selections of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, DataError, UnknownPart
from tutelage.registry import entries
from tutelage.training.example_losses import plain_losses, run_losses

if TYPE_CHECKING:
    from tutelage.workloads._protocol import Workload

#: Scores by fingerprint of the workload and name: the arms of a comparison ask for the same ones.
_KNOWN: dict[tuple[str, int, str], NDArray[np.float64]] = {}
_KEPT = 32
#: Losses of no model that was named; a column of the data may be called so too.
PLAIN_LOSS = "loss"


def scores_of(workload: Workload, name: str) -> NDArray[np.float64]:
    """Return a number for each training example, high = hard where the score says what is hard.

    Args:
        workload: What is trained on.
        name: Spec of a signal, such as ``length`` or ``rarity:reduction=mean``; a column of numbers that the workload's
            examples have; ``run:FOLDER``, the loss of each example under the weights of a run; or ``loss`` with no
            model named, the same after a short plain run that is made for it, outside of any budget.

    Returns:
        Float64 ``(len(workload.train),)``; NaN where an example has no score.

    Raises:
        ConfigError: The workload has no columns, or the column holds no numbers.
        DataError: It has no such column.
        UnknownPart: Neither a signal nor a column.
    """
    key = (workload.fingerprint, len(workload.train), name)
    if key not in _KNOWN:
        found = _scored(workload, name)
        if len(found) != len(workload.train):
            raise ConfigError(
                f"{workload.name}: {len(found)} values of {name} for {len(workload.train)} training examples."
            )
        found.setflags(write=False)
        if len(_KNOWN) >= _KEPT:
            _KNOWN.pop(next(iter(_KNOWN)))
        _KNOWN[key] = found
    return _KNOWN[key]


def column_of(workload: Workload, name: str) -> Sequence[Any]:
    """Return what is known of each training example under a name.

    Raises:
        ConfigError: The workload's examples have no columns.
        DataError: They have no such column.
    """
    if workload.column is None:
        raise ConfigError(
            f'{workload.name}: its examples have no columns, so nothing can go by "{name}"; what goes here is by=loss '
            "(the losses of a short plain run) or by=run:FOLDER (those of a run of yours)."
        )
    return workload.column(name)


def needs_plain_run(workload: Workload, name: str | None) -> bool:
    """Return whether scores of that name come from a run that is made for them."""
    return name == PLAIN_LOSS and _own(workload, name) is None


def _own(workload: Workload, name: str) -> Sequence[Any] | None:
    """Return the workload's column of that name, which goes before a signal; ``None`` where it has none."""
    try:
        return None if workload.column is None else workload.column(name)
    except DataError:
        return None


def _scored(workload: Workload, name: str) -> NDArray[np.float64]:
    if name.startswith("run:"):
        return run_losses(workload, name.removeprefix("run:"))
    if needs_plain_run(workload, name):
        return plain_losses(workload)
    values = _own(workload, name)
    if values is None and name.partition(":")[0] in entries("signals"):
        from tutelage import signals

        signal = signals.from_spec(name)
        columns = {column: column_of(workload, column) for column in signal.columns()}
        scored = signals.score(columns, signal)
        return scored.hardness() if scored.direction in ("hard", "easy") else scored.values.copy()
    if values is None:
        try:
            values = column_of(workload, name)
        except DataError as error:
            known = ", ".join(entries("signals"))
            raise UnknownPart(f'"{name}" is neither a signal ({known}) nor a column: {error}') from None
    try:
        found = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f'{workload.name}: column "{name}" holds no numbers to go by.') from None
    if found.ndim != 1:
        raise ConfigError(f'{workload.name}: column "{name}" must hold one number an example, got shape {found.shape}.')
    return found
