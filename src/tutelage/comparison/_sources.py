"""Where each number of a report comes from: seeds, how many, by which method, which run folders, which commit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage.comparison._records import (
    ArmComparison,
    ArmSummary,
    Cell,
    ComparisonResult,
    OverallComparison,
    RunOutcome,
)
from tutelage.comparison._words import METHODS, list_of, methods_of, percent_of, percent_range, shared_folder
from tutelage.comparison.table import duration, p_text, signed
from tutelage.evaluation.verdicts import counted

Place = tuple[str, str]


class Sources:
    """Says of each number, in a few short lines, what it was computed from.

    Args:
        result: The comparison.
        provenance: Versions, machine and commit.
        root: Folder that run folders are shown from.
    """

    def __init__(self, result: ComparisonResult, provenance: Mapping[str, Any], root: Path | None = None) -> None:
        self.result = result
        self.commit = str(provenance.get("commit") or "")
        self.root = None if root is None else os.path.abspath(root)
        self.pairs: dict[Place, str] = {(cell.workload, cell.budget): cell.pair for cell in result.cells}
        self.runs: dict[tuple[str, str, str], dict[int, RunOutcome]] = {}
        for run in result.runs:
            self.runs.setdefault((run.arm, run.workload, run.budget), {})[run.seed] = run
        self.compared: dict[tuple[str, str, str], ArmComparison] = {
            (item.arm, item.workload, item.budget): item for item in result.comparisons
        }
        methods = methods_of(result)
        self.method = f" by {METHODS.get(methods[0], methods[0])}" if len(methods) == 1 else ""

    def comparison(self, arm: ArmSummary) -> ArmComparison | None:
        """Return an arm's comparison in its cell; the baseline has none."""
        return self.compared.get((arm.name, arm.workload, arm.budget))

    def folder(self, folder: str | None) -> str:
        """Return a run folder as it is seen from the report's, if it lies there."""
        if folder is None:
            return ""
        whole = os.path.abspath(folder)
        if self.root is not None and whole.startswith(self.root + os.sep):
            return whole[len(self.root) + 1 :]
        return folder

    def of_run(self, arm: ArmSummary, seed: int) -> list[str]:
        """Say where a single value comes from."""
        run = self.runs.get((arm.name, arm.workload, arm.budget), {}).get(seed)
        lines = [f"{arm.name}, {self._pair(arm)} {seed}"]
        if run is None:
            return [*lines, "There is no such run."]
        none = run.pruned or "no result"
        value = "diverged" if run.failed else none if run.value is None else f"{run.metric} {run.value:.8g}"
        spent = [] if run.steps is None else [counted(run.steps, "update")]
        spent += [duration(run.seconds)] if run.seconds is not None else []
        return [*lines, value, ", ".join(spent), f"run {self.folder(run.folder)}" if run.folder else ""]

    def of_arm(self, arm: ArmSummary) -> list[str]:
        """Say where a mean and its interval come from."""
        found = [seed for seed, value in zip(arm.seeds, arm.per_seed, strict=True) if value is not None]
        lines = [f"Mean of {list_of(found, self._pair(arm))}"]
        if arm.low is not None:
            lines.append(f"{percent_of(self.result)} interval{self.method}, standard deviation {arm.sd or 0:.3g}")
        return [*lines, self._folders(arm.name, (arm.workload, arm.budget))]

    def of_difference(self, item: ArmComparison) -> list[str]:
        """Say where a difference, its interval and its p value come from."""
        pair = self._pair(item)
        lines = [f"{item.arm} minus {item.baseline}, mean over {list_of(item.seeds, pair)}, each paired"]
        if item.low is not None:
            method = METHODS.get(item.method, item.method)
            lines.append(f"{percent_of(self.result)} interval by {method}, standard deviation {item.sd or 0:.3g}")
        if item.p_value is not None and item.p_holm is not None:
            flips = "" if item.p_permutation is None else f"; {p_text(item.p_permutation)} by flipping signs"
            lines.append(f"p = {p_text(item.p_value)}, {p_text(item.p_holm)} after Holm{flips}")
        where = (item.workload, item.budget)
        lines += [self._folders(item.arm, where), self._folders(item.baseline, where)]
        return [*lines, item.note]

    def of_overall(self, item: OverallComparison) -> list[str]:
        """Say where an average over workloads and budgets comes from."""
        lines = [f"Mean over {counted(len(item.workloads), 'workload')} ({', '.join(item.workloads)})"]
        lines += [f"and {len(item.budgets)} budgets ({', '.join(item.budgets)})"] if len(item.budgets) > 1 else []
        lines += [f"{name}: {signed(100 * gain)} %" for name, gain in item.by_workload.items()]
        if item.random_low is not None and item.random_high is not None:
            ends = percent_range(item.random_low, item.random_high)
            lines.append(f"{percent_of(self.result)} interval about workloads like these: {ends}")
        lines.append(list_of(item.seeds, "seed") if item.seeds else "seeds of different workloads count as independent")
        return [*lines, item.note]

    def of_time(self, arm: str, label: str, unit: str, said: str) -> list[str]:
        """Say where a time to the target comes from.

        Args:
            arm: Name of the arm.
            label: The workload, or workload and budget.
            unit: What is counted.
            said: How it compares.
        """
        cell = next(cell for cell in self.result.cells if label in (cell.workload, f"{cell.workload}, {cell.budget}"))
        lines = [f"{arm} on {label}: {unit} to the target, median over {list_of(cell.seeds, cell.pair)}", said]
        return [*lines, self._folders(arm, (cell.workload, cell.budget))]

    def of_cell(self, cell: Cell) -> str:
        """Return how many pairs a cell has: ``5 seeds (0, 1, 2, 3, 4)``."""
        return list_of(cell.seeds, cell.pair)

    def _pair(self, item: ArmSummary | ArmComparison) -> str:
        return self.pairs.get((item.workload, item.budget), "seed")

    def _folders(self, arm: str, where: Place) -> str:
        runs = self.runs.get((arm, *where), {}).values()
        shared = shared_folder(self.folder(run.folder) for run in runs)
        return f"runs of {arm} in {shared}" if shared else ""
