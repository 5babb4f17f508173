"""Which peak rate each arm gets, from the runs that tried them, and what choosing it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.comparison.plan import Job, Plan
from tutelage.errors import TutelageError
from tutelage.training.recipe import Recipe


def choose_peaks(
    plan: Plan, tried: Sequence[tuple[Job, Mapping[str, Any]]]
) -> tuple[dict[tuple[str, int, str], float], list[str], list[dict[str, Any]]]:
    """Return each tuned arm's best peak by (arm, workload index, budget), remarks worth showing, and all scores.

    A peak is judged by its mean over the tuning seeds; one that diverged on any seed is out. A score is that mean at
    the best peak, signed so that less is better.

    Raises:
        TutelageError: An arm diverged at every peak.
    """
    table: dict[tuple[str, int, str], dict[float, list[float]]] = {}
    for job, stored in tried:
        peak = Recipe.parse(job.recipe).peak or 0.0
        value = stored["final_loss"]
        sign = 1.0 if stored["lower_is_better"] else -1.0
        scores = table.setdefault((job.arm, job.workload, job.budget), {}).setdefault(peak, [])
        scores.append(float("inf") if value is None else sign * value)
    peaks: dict[tuple[str, int, str], float] = {}
    notes: list[str] = []
    rows: list[dict[str, Any]] = []
    for key, candidates in table.items():
        means = {peak: sum(scores) / len(scores) for peak, scores in candidates.items()}
        best = min(means, key=lambda peak: (means[peak], peak))
        arm, index, budget = key
        if means[best] == float("inf"):
            tried_peaks = ", ".join(f"{peak:g}" for peak in means)
            raise TutelageError(f"Arm {arm} diverged at every peak tried ({tried_peaks}); give --tune lower ones.")
        if best in (min(means), max(means)):
            side = "lowest" if best == min(means) else "highest"
            where = f" on {plan.label(index)}, {budget}" if len(table) > len(plan.arms) else ""
            notes.append(
                f"The best peak of {arm}{where} is the {side} tried, {best:g}: a wider grid might find a better one."
            )
        peaks[key] = best
        cell = {"arm": arm, "workload": plan.label(index), "budget": budget}
        rows.append({**cell, "peak": best, "score": means[best], "tried": {f"{p:g}": m for p, m in means.items()}})
    fixed = [arm.name for arm in plan.arms if plan.tuning is not None and not plan.tuned(arm)]
    if fixed:
        notes.append(f"Not tuned, because the recipe says its own peak: {', '.join(fixed)}.")
    return peaks, notes, rows


def tuning_costs(plan: Plan, tried: Sequence[tuple[Job, Mapping[str, Any]]]) -> dict[tuple[str, int, str], int]:
    """Return the updates spent on choosing a peak by (arm, workload index, budget), as the share of each seed."""
    spent: dict[tuple[str, int, str], int] = {}
    for job, stored in tried:
        key = job.arm, job.workload, job.budget
        spent[key] = spent.get(key, 0) + int(stored["cost"]["train_steps"] + stored["cost"]["search_steps"])
    return {key: round(steps / len(plan.seeds)) for key, steps in spent.items()}
