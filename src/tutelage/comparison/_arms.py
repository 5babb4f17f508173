"""The arms of a cell: means, ranks, costs, and whether they met the same weights, data and order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from tutelage.comparison._conclusion import listed
from tutelage.comparison._records import ArmSummary, RunOutcome
from tutelage.evaluation import mean_interval
from tutelage.evaluation.verdicts import counted


def arm_summary(
    name: str, runs: Mapping[int, RunOutcome], seeds: tuple[int, ...], confidence: float, pair: str
) -> ArmSummary:
    """Return one arm of a cell, its rank still open.

    Args:
        name: Name of the arm.
        runs: Its runs by seed.
        seeds: Seeds of the cell.
        confidence: Of the interval.
        pair: What a pair is: ``"seed"`` or ``"item"``.
    """
    first = next(iter(runs.values()))
    per_seed = tuple(runs[seed].usable if seed in runs else None for seed in seeds)
    values = [value for value in per_seed if value is not None]
    diverged = tuple(seed for seed in seeds if seed in runs and runs[seed].failed)
    pruned = tuple(seed for seed in seeds if seed in runs and runs[seed].pruned and runs[seed].value is None)
    absent = (seed for seed in seeds if seed not in runs or (runs[seed].value is None and not runs[seed].failed))
    missing = tuple(seed for seed in absent if seed not in pruned)
    found = mean_interval(values, confidence=confidence) if values else None
    notes = []
    if diverged:
        of = f"{len(diverged)} of {counted(len(runs), pair)} ({listed(diverged)})"
        notes.append(f"{name} diverged on {of} and is ranked last")
    if missing:
        notes.append(f"{name} has no result for {pair} {listed(missing)}; it is compared on the {pair}s it shares")
    if pruned:
        notes.append(f"{name} was {runs[pruned[0]].pruned}; it is left out of the statistics")
    return ArmSummary(
        name=name,
        workload=first.workload,
        budget=first.budget,
        metric=first.metric,
        lower_is_better=first.lower_is_better,
        rank=0,
        mean=found.mean if found else None,
        low=found.low if found else None,
        high=found.high if found else None,
        sd=found.sd if found else None,
        seeds=seeds,
        per_seed=per_seed,
        diverged_seeds=diverged,
        missing_seeds=missing,
        recipe=" | ".join(dict.fromkeys(run.recipe for run in runs.values())),
        peak=first.peak if len({run.peak for run in runs.values()}) == 1 else None,
        steps=_mean(run.steps for run in runs.values()),
        tokens=_mean(run.tokens for run in runs.values()),
        seconds=_mean(run.seconds for run in runs.values()),
        cost=total(run.cost for run in runs.values()),
        note="; ".join(notes) + ("." if notes else ""),
        pruned_seeds=pruned,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def total(costs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the sum of costs by purpose."""
    summed: dict[str, float] = {}
    for cost in costs:
        for name, value in cost.items():
            summed[name] = summed.get(name, 0) + value
    return summed


def ranked(arms: Sequence[ArmSummary]) -> list[ArmSummary]:
    """Number the arms from best to worst; pruned and diverged ones after all others, then those without any value."""

    def key(arm: ArmSummary) -> tuple[float, bool, bool, float]:
        sign = 1.0 if arm.lower_is_better else -1.0
        return len(arm.diverged_seeds), bool(arm.pruned_seeds), arm.mean is None, sign * (arm.mean or 0.0)

    place = {arm.name: rank for rank, arm in enumerate(sorted(arms, key=key), start=1)}
    return [dataclasses.replace(arm, rank=place[arm.name]) for arm in arms]


def shared_hashes(
    members: Sequence[RunOutcome], seeds: Sequence[int]
) -> tuple[dict[str, bool | None], dict[str, dict[str, str]], list[str]]:
    """Return whether the arms met the same weights, data and order, the hashes they share, and remarks."""
    same: dict[str, bool | None] = {}
    shared: dict[str, dict[str, str]] = {str(seed): {} for seed in seeds}
    remarks: list[str] = []
    words = {"init": "first weights", "data": "data", "order": "order of batches"}
    for kind, word in words.items():
        differing, known = [], False
        for seed in seeds:
            hashes = {run.hashes.get(kind) for run in members if run.seed == seed} - {None}
            known = known or bool(hashes)
            if len(hashes) == 1:
                shared[str(seed)][kind] = str(next(iter(hashes)))
            elif hashes:
                differing.append(seed)
        same[kind] = not differing if known else None
        if differing:
            remarks.append(f"The arms did not all meet the same {word} (seed {listed(differing)}): pairs are looser.")
    return same, shared, remarks


def common_results(arm: Mapping[int, RunOutcome], base: Mapping[int, RunOutcome]) -> list[tuple[int, float, float]]:
    """Return (seed, value of the arm, value of the baseline) for each seed that both finished."""
    pairs = []
    for seed in sorted(set(arm) & set(base)):
        a, b = arm[seed].usable, base[seed].usable
        if a is not None and b is not None:
            pairs.append((seed, a, b))
    return pairs
