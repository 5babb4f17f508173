"""Words and numbers that every form of the report shares: page, Markdown, LaTeX, recipe card."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from tutelage.comparison._records import ArmSummary, ComparisonResult, OverallComparison
from tutelage.comparison.table import signed, with_spread
from tutelage.evaluation.verdicts import counted

#: The ways an interval is computed, in words.
METHODS = {
    "t": "Student's t",
    "hybrid": "Student's t and the bootstrap, whichever reaches further",
    "bootstrap": "the bootstrap (percentile)",
    "bootstrap-expanded": "the bootstrap (expanded percentile)",
    "bca": "the bootstrap (bias-corrected and accelerated)",
    "bootstrap-t": "the studentised bootstrap",
    "permutation": "flipping signs",
    "calibrated": "the method that covers best at this number of pairs",
}


def unique(items: Iterable[str]) -> list[str]:
    """Return the items once each, in order."""
    return list(dict.fromkeys(items))


def names_of(result: ComparisonResult) -> list[str]:
    """Return the names of all arms, in order."""
    return unique(arm.name for arm in result.arms)


def heading(result: ComparisonResult) -> str:
    """Return what is compared, as a title."""
    names = names_of(result)
    workloads = ", ".join(unique(cell.workload for cell in result.cells))
    return f"{names[0]} on {workloads}" if len(names) == 1 else f"{len(names)} recipes compared on {workloads}"


def percent_of(result: ComparisonResult) -> str:
    """Return the confidence of the intervals: ``95 %``."""
    return f"{100 * result.confidence:.4g} %"


def methods_of(result: ComparisonResult) -> list[str]:
    """Return the names of the methods by which the intervals of differences were computed."""
    return unique(item.method for item in result.comparisons if item.method and item.low is not None)


def arm_value(arm: ArmSummary) -> str:
    """Return an arm's mean, with the number of diverged runs where there are any."""
    if arm.mean is None:
        return "diverged" if arm.diverged_seeds else "pruned" if arm.pruned_seeds else "no result"
    lost = f" ({len(arm.diverged_seeds)} diverged)" if arm.diverged_seeds else ""
    return with_spread(arm.mean, arm.sd) + lost


def interval_text(arm: ArmSummary) -> str:
    """Return an arm's interval, empty where there is none."""
    if arm.low is None or arm.high is None:
        return ""
    return f"{with_spread(arm.low, arm.sd)} to {with_spread(arm.high, arm.sd)}"


def percent_range(low: float | None, high: float | None) -> str:
    """Return two fractions as a range in percent, empty where there is none."""
    return "" if low is None or high is None else f"{signed(100 * low)} to {signed(100 * high)} %"


def best_gain_first(items: Iterable[OverallComparison]) -> list[OverallComparison]:
    """Return averages over workloads in the order of their gain, those without one last."""
    return sorted(items, key=lambda item: (item.gain is None, -(item.gain or 0.0)))


def facts_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return versions, machine and commit as one line each."""
    facts: dict[str, str] = {}
    for key, value in provenance.items():
        name = str(key).replace("_", " ")
        if isinstance(value, Mapping):
            facts[name] = ", ".join(f"{part} {item}" for part, item in value.items() if item is not None)
        elif value is not None:
            facts[name] = str(value)
    return {key: value for key, value in facts.items() if value}


def list_of(numbers: Iterable[int], noun: str, *, most: int = 12) -> str:
    """Return ``5 seeds (0, 1, 2, 3, 4)``, a long list cut in its middle."""
    known = list(numbers)
    shown = [f"{number}" for number in known]
    if len(shown) > most:
        shown = [*shown[: most - 3], "...", *shown[-2:]]
    return f"{counted(len(known), noun)} ({', '.join(shown)})" if known else f"0 {noun}s"


def shared_folder(folders: Iterable[str | None]) -> str | None:
    """Return one name for the folders of several runs: the folder that holds them all.

    Example:
        >>> shared_folder(["runs/uba/seed-0", "runs/uba/seed-1"])
        'runs/uba'
    """
    known = [os.path.normpath(folder) for folder in folders if folder]
    if not known:
        return None
    try:
        return os.path.commonpath(known) or None
    except ValueError:  # some absolute, some not
        return None
