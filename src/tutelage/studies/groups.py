"""The usual measurement of a study: the best of the claimed arms against the best of their rivals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.comparison.result import Cell, ComparisonResult
from tutelage.errors import ConfigError, TutelageError
from tutelage.studies.study import Measured, Setting


@dataclass(frozen=True, kw_only=True)
class BestOfGroups:
    """Of each group the best arm on the tuning seeds is taken in each cell, and the two are compared on fresh seeds.

    A cell is a workload and a budget. The effect of a seed is the mean over cells of ``(rival - claimed) / |rival|``,
    signed so that plus supports the claim.

    Args:
        claimed: Arms the claim speaks for.
        rivals: The best common practice, and the cheap rival; the first is the comparison's baseline.
        claim: Name of the claim it decides.

    Raises:
        ConfigError: No arm, the same arm in both groups, or an arm the study does not declare.
        TutelageError: No seed is left on which both chosen arms finished.
    """

    claimed: tuple[str, ...]
    rivals: tuple[str, ...]
    claim: str = "headline"

    def __post_init__(self) -> None:
        """Refuse groups that cannot be compared."""
        if not self.claimed or not self.rivals or set(self.claimed) & set(self.rivals):
            raise ConfigError("BestOfGroups: claimed and rivals must be two groups of different arms.")

    def __call__(self, setting: Setting) -> Measured:
        """Compare all arms, then the best of each group."""
        study = setting.study
        unknown = [name for name in (*self.claimed, *self.rivals) if name not in study.arms]
        if unknown:
            raise ConfigError(f"study of paper {study.paper}: no arm {', '.join(unknown)}.")
        result = setting.compare(baseline=self.rivals[0])
        return self.measured(result, read_tuning(setting.out))

    def measured(self, result: ComparisonResult, tuning: Sequence[Mapping[str, Any]]) -> Measured:
        """Return the effects of a finished comparison of all arms.

        Args:
            result: The comparison.
            tuning: Score of each arm's best peak on the tuning seeds, less being better, with its workload and budget;
                empty where nothing was tuned, in which case each group must have one arm.
        """
        chosen, effects = [], []
        for cell in result.cells:
            claimed, rival = (_best(group, cell, tuning) for group in (self.claimed, self.rivals))
            effects.append(relative_effects(result, cell, claimed, rival))
            facts = {"workload": cell.workload, "budget": cell.budget, "claimed": claimed, "rival": rival}
            chosen.append({**facts, "effect": float(np.mean(list(effects[-1].values())))})
        return Measured(
            effects={self.claim: mean_over_cells(effects)}, details={"cells": chosen}, comparisons={"all arms": result}
        )


def read_tuning(folder: Path) -> list[dict[str, Any]]:
    """Return the scores of every arm's best peak on the tuning seeds, as a comparison stored them in its folder."""
    stored: list[dict[str, Any]] = json.loads((folder / "tuning.json").read_text(encoding="utf-8"))
    return stored


def relative_effects(result: ComparisonResult, cell: Cell, claimed: str, rival: str) -> dict[int, float]:
    """Return ``(rival - claimed) / |rival|`` by seed, signed so that plus says that the claimed arm is better.

    Seeds on which either diverged are left out.

    Raises:
        TutelageError: No seed is left.
    """
    arms = {arm.name: arm for arm in result.arms_of(cell)}
    sign = 1.0 if cell.lower_is_better else -1.0
    theirs = dict(zip(arms[rival].seeds, arms[rival].per_seed, strict=True))
    pairs = (
        (seed, value, theirs.get(seed)) for seed, value in zip(arms[claimed].seeds, arms[claimed].per_seed, strict=True)
    )
    found = {s: sign * (r - c) / abs(r) for s, c, r in pairs if c is not None and r is not None}
    if not found:
        raise TutelageError(f"No seed is left on which both {claimed} and {rival} finished ({cell.workload}).")
    return found


def mean_over_cells(effects: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return each seed's mean effect over cells; only seeds that every cell has count."""
    common = sorted(set.intersection(*(set(cell) for cell in effects)))
    return {seed: float(np.mean([cell[seed] for cell in effects])) for seed in common}


def _best(group: Sequence[str], cell: Cell, tuning: Sequence[Mapping[str, Any]]) -> str:
    if len(group) == 1:
        return group[0]
    scores: dict[str, float] = {
        row["arm"]: row["score"]
        for row in tuning
        if row["arm"] in group and (row["workload"], row["budget"]) == (cell.workload, cell.budget)
    }
    if set(scores) != set(group):
        raise ConfigError(f"The best of {', '.join(group)} is chosen on tuning seeds; the study must tune all of them.")
    return min(scores, key=lambda name: (scores[name], name))
