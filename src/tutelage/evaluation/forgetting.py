"""What training on new data cost on the old: forgetting, adaptation, and the distance to training on everything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import did_you_mean


class ContinuedRun(Protocol):
    """What a run that started from another one's weights has measured; :class:`tutelage.training.RunResult` is one."""

    @property
    def before(self) -> Mapping[str, float | None] | None:
        """Every validation metric before the first update."""

    @property
    def curve(self) -> Mapping[str, NDArray[Any]]:
        """Columns of equal length, NaN where an update has no value."""


@dataclass(frozen=True, kw_only=True)
class ForgettingReport:
    """Losses on several domains over a phase of further training, and what they say about it.

    **Formula**, for domain ``d`` with losses ``L_d(0), ..., L_d(T)``, the first before the phase began::

        forgetting(d) = L_d(T) - L_d(0)           for each old domain d; below 0 where it was learned better
        rise(d) = max over t of L_d(t) - L_d(0)   >= 0, the spike at its highest
        adaptation = L_new(T)
        average = mean over domains of L_d(T)
        excess = average / mean over domains of U_d - 1,   U_d the loss of training on the union of all data

    Args:
        losses: Curve of each domain, shape ``(evaluations,)``, at least two values, the first from before the phase.
        new: Name of the domain that is learned.
        union: Final loss of training on everything from scratch, by domain; ``None`` where that was not done.

    Raises:
        ValueError: No old domain, an unknown name, a curve with fewer than two values or one that is not finite, or
            union losses of other domains.

    Example:
        >>> report = ForgettingReport(
        ...     losses={"english": [2.0, 2.6, 2.3], "german": [3.5, 2.6, 2.1]},
        ...     new="german",
        ...     union={"english": 2.1, "german": 2.0},
        ... )
        >>> print(report)
        domain   before  after   change   highest rise
        english  2.0000  2.3000  +0.3000  0.6000
        german   3.5000  2.1000  -1.4000  0.0000
        average 2.2000, 7.32 % above the union of all data

    Use with:
        ``ForgettingReport.of(train(..., from_run=folder), new="loss")``; plain lists of losses from anywhere.

    Helps / does not help:
        The average hides forgetting where domains differ in entropy, so each domain is shown.

    Relations:
        :func:`tutelage.evaluation.paired_difference` says what differences over seeds are worth.

    Source:
        Ibrahim et al., Simple and scalable strategies to continually pre-train large language models, 2024, arXiv
        2403.08763, section 4 (losses on both validation sets, their average, and training on the union).
    """

    losses: Mapping[str, ArrayLike]
    new: str
    union: Mapping[str, float] | None = field(default=None)

    def __post_init__(self) -> None:
        """Check every curve, and keep copies nobody else can change."""
        curves = {name: np.array(curve, dtype=np.float64) for name, curve in self.losses.items()}
        if self.new not in curves:
            raise ValueError(
                f'ForgettingReport: new must be one of {", ".join(curves) or "none"}, got "{self.new}".'
                f"{did_you_mean(self.new, curves)}"
            )
        if len(curves) < 2:
            raise ValueError(f"ForgettingReport: losses must hold an old domain beside {self.new}, got none.")
        for name, curve in curves.items():
            if curve.ndim != 1 or len(curve) < 2:
                raise ValueError(
                    f"ForgettingReport: losses of {name} must be at least two numbers, before and after, got shape "
                    f"{curve.shape}."
                )
            if not np.all(np.isfinite(curve)):
                raise ValueError(f"ForgettingReport: losses of {name} must be finite, got {curve.tolist()}.")
            curve.setflags(write=False)
        if self.union is not None and set(self.union) != set(curves):
            raise ValueError(
                f"ForgettingReport: union must give a loss for {', '.join(curves)}, got {', '.join(self.union)}."
            )
        object.__setattr__(self, "losses", MappingProxyType(curves))

    @classmethod
    def of(
        cls,
        run: ContinuedRun,
        *,
        new: str = "new",
        metric: str = "loss",
        union: Mapping[str, float] | None = None,
    ) -> ForgettingReport:
        """Return the report of a run that started from another one's weights and also evaluated other data.

        Args:
            run: The run's result: ``train(..., from_run=folder)`` on a workload with ``also_evaluate``.
            new: What to call the workload's own data; the others are called as in the metrics' names.
            metric: Metric to report on, without its ``val_``.
            union: See above, by the same names.

        Raises:
            ValueError: The run did not start from another one, or measured no other data.
        """
        if run.before is None:
            raise ValueError("ForgettingReport: this run did not start from another one's weights; there is no before.")
        own = f"val_{metric}"
        if own not in run.before:
            known = [name.removeprefix("val_") for name in run.before]
            raise ValueError(
                f'ForgettingReport: no metric "{metric}".{did_you_mean(metric, known)} All: {", ".join(known)}.'
            )
        losses = {}
        for column, before in run.before.items():
            if column == own or column.startswith(f"{own}_"):
                values = np.asarray(run.curve[column], dtype=np.float64)
                start = math.nan if before is None else before
                losses[new if column == own else column.removeprefix(f"{own}_")] = [start, *values[~np.isnan(values)]]
        return cls(losses=losses, new=new, union=union)

    @property
    def before(self) -> dict[str, float]:
        """Loss of each domain before the phase."""
        return {name: float(curve[0]) for name, curve in self._curves.items()}

    @property
    def after(self) -> dict[str, float]:
        """Loss of each domain after it."""
        return {name: float(curve[-1]) for name, curve in self._curves.items()}

    @property
    def forgetting(self) -> dict[str, float]:
        """Rise of the loss of each old domain from before to after; below 0 where it fell."""
        return {name: float(curve[-1] - curve[0]) for name, curve in self._curves.items() if name != self.new}

    @property
    def adaptation(self) -> float:
        """Loss of the new domain after the phase."""
        return self.after[self.new]

    @property
    def average(self) -> float:
        """Mean over domains of the loss after the phase."""
        return float(np.mean(list(self.after.values())))

    @property
    def excess(self) -> float | None:
        """Share by which the average lies above that of training on the union; ``None`` where that is not known."""
        return None if self.union is None else self.average / float(np.mean(list(self.union.values()))) - 1

    def rise(self, domain: str, evaluations: int | None = None) -> float:
        """Return how far the loss of a domain rose above its start at the highest, >= 0.

        Args:
            domain: Its name.
            evaluations: Look at so many evaluations after the start; at all of them where not given.

        Raises:
            ValueError: There is no such domain, or nothing to look at.
        """
        if domain not in self._curves:
            raise ValueError(f'ForgettingReport: no domain "{domain}".{did_you_mean(domain, self._curves)}')
        if evaluations is not None and evaluations < 1:
            raise ValueError(f"ForgettingReport: evaluations must be >= 1, got {evaluations}.")
        curve = self._curves[domain]
        return float(curve[: None if evaluations is None else evaluations + 1].max() - curve[0])

    def to_json(self) -> dict[str, Any]:
        """Return all numbers by name."""
        return {
            "before": self.before,
            "after": self.after,
            "forgetting": self.forgetting,
            "rise": {name: self.rise(name) for name in self.forgetting},
            "adaptation": self.adaptation,
            "average": self.average,
            "excess": self.excess,
        }

    def __str__(self) -> str:
        """Return a table of all domains and the average."""
        rows: list[Sequence[str]] = [("domain", "before", "after", "change", "highest rise")]
        for name, curve in self._curves.items():
            change = curve[-1] - curve[0]
            rows.append((name, f"{curve[0]:.4f}", f"{curve[-1]:.4f}", f"{change:+.4f}", f"{self.rise(name):.4f}"))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        excess = "" if self.excess is None else f", {abs(self.excess):.2%} "
        side = "" if self.excess is None else f"{'above' if self.excess >= 0 else 'below'} the union of all data"
        return "\n".join([*lines, f"average {self.average:.4f}{excess.replace('%', ' %')}{side}"])

    @property
    def _curves(self) -> dict[str, NDArray[np.float64]]:
        return {name: np.asarray(curve) for name, curve in self.losses.items()}
