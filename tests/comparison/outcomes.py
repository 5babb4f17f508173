"""Runs made up for tests: values that differ by seed and arm as told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.comparison.result import RunOutcome

EFFECTS = {"cosine": 0.0, "uba:phi=5": -0.035, "linear": 0.001, "constant": 0.06}
Curve = dict[str, NDArray[Any]]


def outcomes(
    effects: Mapping[str, float] = EFFECTS,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    cells: Sequence[tuple[str, str]] = (("text-lm", "300steps"),),
    noise: float = 0.004,
    **fixed: Any,
) -> list[RunOutcome]:
    """Return one run for each arm, cell and seed; arms of a seed share its luck."""
    runs = []
    for workload, budget in cells:
        for seed in seeds:
            luck = np.random.default_rng([7, seed]).normal(0, 0.05)
            for index, (arm, effect) in enumerate(effects.items()):
                own = np.random.default_rng([9, seed, index]).normal(0, noise)
                known: dict[str, Any] = {
                    "metric": "val_loss",
                    "lower_is_better": True,
                    "value": 2.4 + effect + luck + own,
                    "recipe": f"{arm};adamw",
                    "peak": 3e-3,
                    "steps": 300,
                    "tokens": 614_400,
                    "seconds": 11.2,
                    "cost": {"train_steps": 300, "search_steps": 0, "tuning_steps": 90, "evaluations": 7},
                    "hashes": {"init": f"a1{seed}", "data": "0f0f", "order": f"9e{seed}"},
                }
                runs.append(RunOutcome(arm=arm, workload=workload, budget=budget, seed=seed, **{**known, **fixed}))
    return runs


def curves(runs: Sequence[RunOutcome], *, steps: int = 300) -> dict[tuple[str, str, str, int], Curve]:
    """Return curves that end at the runs' values."""
    made: dict[tuple[str, str, str, int], Curve] = {}
    step = np.arange(steps)
    for run in runs:
        fall = (run.value if run.value is not None else np.nan) + 3 * np.exp(-step / 20)
        val = np.where((step + 1) % 30 == 0, fall, np.nan)
        made[run.arm, run.workload, run.budget, run.seed] = {
            "step": step,
            "tokens": (step + 1) * 2048.0,
            "seconds": (step + 1) * 0.04,
            "lr": 3e-3 * (1 - step / steps),
            "loss": fall + np.random.default_rng(run.seed).normal(0, 0.05, steps),
            "val_loss": val,
        }
    return made
