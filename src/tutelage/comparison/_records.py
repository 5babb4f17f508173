"""The records of a comparison: runs, arms, paired differences, cells, and all of them together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tutelage.errors import ConfigError
from tutelage.evaluation import Verdict
from tutelage.training.storage import finite


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """How one run ended; all that a comparison needs to know of it.

    Args:
        arm: Name of the recipe.
        workload: Name of the workload.
        budget: What the run could spend, such as ``"300steps"``.
        seed: Seed; runs with the same one are paired.
        metric: Name of the metric.
        lower_is_better: Whether less of it is better.
        value: The metric at the end. ``None`` for a run without result; NaN or infinite counts as diverged.
        diverged: The loss stopped being a finite number.
        recipe: Spec of the recipe as it was run.
        peak: Highest learning rate, or ``None`` where unknown.
        steps: Updates done.
        tokens: Tokens seen, or ``None`` where they have no fixed number.
        seconds: Seconds of training.
        cost: Steps and evaluations by purpose: ``train_steps``, ``search_steps``, ``tuning_steps``, ``evaluations``...
        hashes: ``init`` (first weights), ``data``, ``order`` (batches); equal hashes show that arms met the same.
        folder: Run folder, or ``None``.
        pruned: Why the run was stopped before its budget, in words; empty for one that was not.
    """

    arm: str
    workload: str
    budget: str
    seed: int
    metric: str
    lower_is_better: bool
    value: float | None
    diverged: bool = False
    recipe: str = ""
    peak: float | None = None
    steps: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None
    pruned: str = ""

    @property
    def failed(self) -> bool:
        """Whether it diverged, by flag or by value."""
        return self.diverged or (self.value is not None and not math.isfinite(self.value))

    @property
    def usable(self) -> float | None:
        """The value, or ``None`` for a run that diverged or has no result."""
        return None if self.failed else self.value


@dataclass(frozen=True, kw_only=True)
class ArmSummary:
    """One arm in one cell (workload and budget).

    ``per_seed`` stands in the order of ``seeds``, ``None`` where the run diverged or is missing; ``mean``, ``low`` and
    ``high`` are over the others. ``rank`` is 1 for the best mean; arms that diverged on any seed come last. Runs on
    ``pruned_seeds`` were stopped because the arm was forecast not to win; they are not missing.
    """

    name: str
    workload: str
    budget: str
    metric: str
    lower_is_better: bool
    rank: int
    mean: float | None
    low: float | None
    high: float | None
    sd: float | None
    seeds: tuple[int, ...]
    per_seed: tuple[float | None, ...]
    diverged_seeds: tuple[int, ...]
    missing_seeds: tuple[int, ...]
    recipe: str
    peak: float | None
    steps: float | None
    tokens: float | None
    seconds: float | None
    cost: Mapping[str, float]
    note: str
    pruned_seeds: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """One arm against the baseline in one cell; ``difference`` is arm minus baseline in the unit of the metric."""

    arm: str
    baseline: str
    workload: str
    budget: str
    metric: str
    lower_is_better: bool
    difference: float | None
    low: float | None
    high: float | None
    sd: float | None
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    verdict: Verdict
    sentence: str
    detectable: float | None
    p_value: float | None
    p_holm: float | None
    p_permutation: float | None
    method: str
    note: str


@dataclass(frozen=True, kw_only=True)
class OverallComparison:
    """One arm against the baseline, averaged over the workloads and budgets of a comparison.

    Differences are fractions of the baseline, signed so that plus says that the arm is better, whatever the direction
    of each metric: 0.01 is better by one percent. See :func:`tutelage.evaluation.combine_workloads`.

    Attributes:
        arm: Name of the arm.
        baseline: Name of the baseline.
        workloads: Those averaged over, each of the same weight.
        budgets: Those averaged over within a workload.
        gain: The average, or ``None`` where nothing is shared.
        low: Lower end of its interval: on these workloads, with other seeds.
        high: Upper end.
        random_low: Lower end of the wider interval about workloads like these, of which they are a sample; ``None``
            for one workload.
        random_high: Its upper end.
        margin: Gains up to this size do not matter: the comparison's margin as an average fraction of the baseline.
        by_workload: Gain on each workload.
        seeds: Seeds that all cells share; empty where seeds or items count as independent between workloads.
        per_seed: Average gain of each of them.
        verdict: As for a single cell.
        sentence: It in words.
        detectable: Smallest true average gain that such data show four times in five.
        p_value: Two-sided, of no gain.
        p_holm: Adjusted for the number of arms.
        note: What was left out, or how it was averaged.
    """

    arm: str
    baseline: str
    workloads: tuple[str, ...]
    budgets: tuple[str, ...]
    gain: float | None
    low: float | None
    high: float | None
    random_low: float | None
    random_high: float | None
    margin: float
    by_workload: Mapping[str, float]
    seeds: tuple[int, ...]
    per_seed: tuple[float, ...]
    verdict: Verdict
    sentence: str
    detectable: float | None
    p_value: float | None
    p_holm: float | None
    note: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A workload under a budget: what all its arms share.

    ``same`` says for ``init``, ``data`` and ``order`` whether all arms had equal hashes on every seed, ``None`` where
    no hashes are known; ``hashes`` holds them by seed where they are equal. ``pair`` says what the arms are paired by:
    ``"seed"``, or ``"item"`` for results of single items, whose places then stand for seeds.
    """

    workload: str
    budget: str
    metric: str
    lower_is_better: bool
    seeds: tuple[int, ...]
    same: Mapping[str, bool | None]
    hashes: Mapping[str, Mapping[str, str]]
    conclusion: str
    pair: str = "seed"


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """A whole comparison; prints itself as a table and goes to JSON and back without loss.

    ``overall`` averages each arm over workloads and budgets; it is empty where there is one of both. ``pruning`` says
    which arms were stopped early by which ``rule``, and of ``planned_steps`` how many were saved (``saved_steps``);
    empty where nothing was to be stopped.
    """

    conclusion: str
    baseline: str
    margin: float
    confidence: float
    arms: tuple[ArmSummary, ...]
    comparisons: tuple[ArmComparison, ...]
    cells: tuple[Cell, ...]
    cost: Mapping[str, float]
    notes: tuple[str, ...]
    runs: tuple[RunOutcome, ...]
    declaration: Mapping[str, Any] = field(default_factory=dict)
    overall: tuple[OverallComparison, ...] = ()
    pruning: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``report.json`` and ``--json``; numbers that are not finite become ``None``."""
        plain: dict[str, Any] = finite({"format": 1, **dataclasses.asdict(self)})
        return plain

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ComparisonResult:
        """Return the result that :meth:`to_json` wrote; keys it does not know are passed over.

        Raises:
            ConfigError: A newer format, or a key is missing.
        """
        if stored.get("format") != 1:
            raise ConfigError(
                f"This report has format {stored.get('format')}; this version reads format 1. Run the comparison again "
                "with --resume to write it anew."
            )
        try:
            result: ComparisonResult = _read(
                cls,
                {
                    **stored,
                    "arms": tuple(_read(ArmSummary, item) for item in stored["arms"]),
                    "comparisons": tuple(_read(ArmComparison, item) for item in stored["comparisons"]),
                    "overall": tuple(_read(OverallComparison, item) for item in stored.get("overall", ())),
                    "cells": tuple(_read(Cell, item) for item in stored["cells"]),
                    "runs": tuple(_read(RunOutcome, item) for item in stored["runs"]),
                },
            )
            return result
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"This report is incomplete ({error}); run the comparison again with --resume."
            ) from error

    def arms_of(self, cell: Cell) -> list[ArmSummary]:
        """Return the arms of a cell, best first."""
        arms = [arm for arm in self.arms if (arm.workload, arm.budget) == (cell.workload, cell.budget)]
        return sorted(arms, key=lambda arm: arm.rank)

    def comparison_of(self, arm: ArmSummary) -> ArmComparison | None:
        """Return an arm's comparison in its cell; the baseline has none."""
        key = (arm.name, arm.workload, arm.budget)
        return next((item for item in self.comparisons if (item.arm, item.workload, item.budget) == key), None)

    def __str__(self) -> str:
        """Return the table and the conclusion as plain text."""
        from tutelage.comparison.table import to_text

        return to_text(self)

    def __rich__(self) -> Any:
        """Return the table and the conclusion for a rich console."""
        from tutelage.comparison.table import render

        return render(self)


def _read(cls: type[Any], stored: Mapping[str, Any]) -> Any:
    names = {item.name for item in dataclasses.fields(cls)}
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in stored.items() if k in names})
