"""What a run has logged early on and how it ended: the rows that early signals are judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import did_you_mean

Floats = NDArray[np.float64]

#: A rank correlation of fewer runs says nothing: of three, one order in six agrees by chance.
FEWEST = 4
#: Budgets of one sweep may differ by what rounding to whole batches makes of them.
_BUDGETS_ALIKE = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class SignalRun:
    """One run of a sweep: its signals by update, its setting, and its final result where it has one.

    Args:
        name: What to call it.
        steps: Updates made when each value was logged, shape ``(points,)``, rising, >= 1.
        signals: Series by name, each of shape ``(points,)``, such as ``grad_norm`` (norm of the gradient before
            clipping) and ``loss`` (training loss); NaN where a point has none.
        total_steps: Updates in the whole run, planned or made.
        batch: Examples an update.
        lr: Peak learning rate.
        lower_is_better: Whether less of ``final`` is better.
        final: Result at the end; ``None`` for a run that is unfinished or diverged.
        diverged: Its loss stopped being finite; it counts as worse than any other.
        data: What it was trained on. Signals on different data are not compared.
        loss_reduction: What its loss is a mean over, such as ``"token"`` or ``"sample"``; likewise.

    Raises:
        ValueError: Names the run and the argument that is out of range.

    Example:
        >>> run = SignalRun(
        ...     name="a", steps=[1, 2, 3, 4], signals={"loss": [4, 3, 2, 1]}, total_steps=4, batch=8, lr=1e-3,
        ...     lower_is_better=True,
        ... )
        >>> run.early("loss", at=0.5), run.examples
        (3.0, 32)
    """

    name: str
    steps: ArrayLike
    signals: Mapping[str, ArrayLike]
    total_steps: int
    batch: int
    lr: float
    lower_is_better: bool
    final: float | None = None
    diverged: bool = False
    data: str = ""
    loss_reduction: str = ""
    _steps: NDArray[np.int64] = field(init=False, repr=False)
    _signals: Mapping[str, Floats] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check every argument, and keep copies nobody else can change."""
        steps = np.array(self.steps, dtype=np.float64)
        signals = {name: np.array(values, dtype=np.float64) for name, values in self.signals.items()}
        if steps.ndim != 1 or not steps.size or steps[0] < 1 or (np.diff(steps) <= 0).any():
            raise ValueError(f"run {self.name}: steps must rise from 1 on, updates made, got {steps.tolist()[:5]}.")
        for name, values in signals.items():
            if values.shape != steps.shape:
                raise ValueError(
                    f"run {self.name}: {name} must have one value a step, got shape {values.shape} for {len(steps)}."
                )
        for name, value, lowest in (("total_steps", self.total_steps, steps[-1]), ("batch", self.batch, 1)):
            if value < lowest:
                raise ValueError(f"run {self.name}: {name} must be >= {lowest:g}, got {value}.")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"run {self.name}: lr must be a finite number > 0, got {self.lr}.")
        if self.final is not None and not math.isfinite(self.final):
            raise ValueError(
                f"run {self.name}: final must be finite, got {self.final}; a run that diverged has final=None, "
                "diverged=True."
            )
        if self.final is not None and self.diverged:
            raise ValueError(f"run {self.name}: a run that diverged has no final result, got {self.final}.")
        object.__setattr__(self, "_steps", steps.astype(np.int64))
        object.__setattr__(self, "_signals", MappingProxyType(signals))

    @property
    def ended(self) -> bool:
        """Whether how it ended is known."""
        return self.diverged or self.final is not None

    @property
    def examples(self) -> int:
        """Examples in the whole run."""
        return self.total_steps * self.batch

    @property
    def last_step(self) -> int:
        """Updates made when the last value was logged."""
        return int(self._steps[-1])

    @property
    def quality(self) -> float:
        """Final result, turned so that more is better; minus infinity where it diverged."""
        if self.final is None:
            return -math.inf
        return -self.final if self.lower_is_better else self.final

    def updates(self, at: float) -> int:
        """Return the updates in the share ``at`` of the run, at least one."""
        return max(1, math.floor(at * self.total_steps + 1e-9))

    def reached(self, at: float) -> bool:
        """Return whether it has come that far."""
        return self.last_step >= self.updates(at)

    def early(self, signal: str, at: float) -> float:
        """Return the mean of a signal over the second half of the first ``at`` of the run.

        Infinite for a run that had diverged by then.

        Raises:
            ValueError: No such signal, the run is not there yet, or nothing was logged in that part.
        """
        if signal not in self._signals:
            raise ValueError(
                f'run {self.name}: no signal "{signal}".{did_you_mean(signal, self._signals)} '
                f"It has {', '.join(self._signals) or 'none'}."
            )
        last = self.updates(at)
        if not self.ended and not self.reached(at):
            raise ValueError(
                f"run {self.name}: it is at update {self.last_step}, before {at:g} of its {self.total_steps}; wait, "
                "or look at a smaller share."
            )
        values = self._signals[signal]
        known = np.isfinite(values)
        if self.diverged and (not known.any() or self._steps[known][-1] < last):
            return math.inf
        inside = values[known & (self._steps > last // 2) & (self._steps <= last)]
        if not inside.size:
            raise ValueError(
                f"run {self.name}: no {signal} was logged in updates {last // 2 + 1} to {last}; look at a larger share "
                f"than {at:g}, or log more often."
            )
        return float(inside.mean())


def check_sweep(runs: Sequence[SignalRun], caller: str, at: float) -> None:
    """Refuse runs whose signals must not be compared.

    Raises:
        ValueError: ``at`` out of range, fewer than 4 runs, two of one name, or runs that differ in data, reduction of
            the loss, direction of the metric, or (within a batch size) budget.
    """
    if not 0 < at <= 1:
        raise ValueError(f"{caller}: at must be > 0 and <= 1, a share of the run, got {at}.")
    if len(runs) < FEWEST:
        raise ValueError(f"{caller}: runs must be at least {FEWEST}, got {len(runs)}; add runs of the same sweep.")
    names = [run.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'{caller}: two runs are named "{twice}"; name each differently.')
    for what, meaning in (
        ("data", "were trained on different data"),
        ("loss_reduction", "reduce their loss differently"),
        ("lower_is_better", "disagree on whether less is better"),
    ):
        first = runs[0]
        other = next((run for run in runs if getattr(run, what) != getattr(first, what)), None)
        if other is not None:
            raise ValueError(
                f'{caller}: {first.name} and {other.name} {meaning} ("{getattr(first, what)}" and '
                f'"{getattr(other, what)}"); their signals cannot be compared, so give one kind at a time.'
            )
    for places in by_batch(runs).values():
        if uneven := _uneven([runs[place] for place in places]):
            least, most = uneven
            raise ValueError(
                f"{caller}: {least.name} makes {least.total_steps} updates and {most.name} {most.total_steps} of the "
                "same batch size; compare runs of one budget."
            )


def uneven_budgets(runs: Sequence[SignalRun]) -> str:
    """Return a remark on batch sizes that see different numbers of examples, or nothing."""
    uneven = _uneven(runs)
    if uneven is None:
        return ""
    least, most = uneven
    return (
        f"Batch sizes differ in budget: {least.name} sees {least.examples} examples and {most.name} {most.examples}; "
        "ranks within one batch size are sound, the best of all sizes is not a fair one."
    )


def _uneven(runs: Sequence[SignalRun]) -> tuple[SignalRun, SignalRun] | None:
    least, most = min(runs, key=lambda run: run.examples), max(runs, key=lambda run: run.examples)
    gap = most.examples - least.examples
    return (least, most) if gap > max(_BUDGETS_ALIKE * most.examples, least.batch, most.batch) else None


def by_batch(runs: Sequence[SignalRun]) -> dict[int, list[int]]:
    """Return the places of the runs of each batch size, smallest first: gradient noise falls with the batch."""
    sizes = sorted({run.batch for run in runs})
    return {size: [place for place, run in enumerate(runs) if run.batch == size] for size in sizes}
