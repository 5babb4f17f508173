"""What a comparison found: arms with means and intervals, paired differences with verdicts, one plain sentence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from tutelage.comparison._conclusion import conclude, diverged_judgement, listed
from tutelage.comparison._records import ArmComparison, ArmSummary, Cell, ComparisonResult, RunOutcome
from tutelage.errors import ConfigError, did_you_mean
from tutelage.evaluation import (
    Judgement,
    PairedDifference,
    detectable_effect,
    holm,
    mean_interval,
    paired_difference,
    verdict,
)

__all__ = ["ArmComparison", "ArmSummary", "Cell", "ComparisonResult", "RunOutcome", "summarise"]

Table = dict[str, dict[int, RunOutcome]]


def summarise(
    runs: Iterable[RunOutcome],
    *,
    baseline: str,
    arms: Sequence[str] | None = None,
    margin: float = 0.0,
    confidence: float = 0.95,
    notes: Sequence[str] = (),
    declaration: Mapping[str, Any] | None = None,
) -> ComparisonResult:
    """Return what a set of finished runs shows, wherever they were trained.

    In each cell (workload and budget) arms are paired with the baseline on the seeds that both finished; p values are
    adjusted over the arms of the cell by Holm's method. Seeds that are missing or diverged are named in a note.

    Args:
        runs: One record a run, any order.
        baseline: The arm the others are compared to; it must be in every cell.
        arms: Order in which arms are listed; the order of the runs where not given.
        margin: Differences up to this size do not matter, in the unit of the metric.
        confidence: Of the intervals.
        notes: Remarks to carry along.
        declaration: What was asked for, to be shown and stored.

    Raises:
        ConfigError: No runs, no such baseline in a cell, a run given twice, metrics that differ within a cell, or a
            margin or confidence out of range.
    """
    runs = tuple(dataclasses.replace(run, value=run.usable, diverged=run.failed) for run in runs)
    if not runs:
        raise ConfigError("There are no finished runs to compare; run the comparison first.")
    if not (math.isfinite(margin) and margin >= 0):
        raise ConfigError(f"margin must be a finite number >= 0, got {margin}.")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence must be between 0 and 1, such as 0.95, got {confidence}.")
    order = list(dict.fromkeys([*(arms or ()), *(run.arm for run in runs)]))
    grouped: dict[tuple[str, str], list[RunOutcome]] = {}
    for run in runs:
        grouped.setdefault((run.workload, run.budget), []).append(run)
    all_arms: list[ArmSummary] = []
    comparisons: list[ArmComparison] = []
    cells: list[Cell] = []
    found = list(notes)
    for (workload, budget), members in grouped.items():
        where = f"{workload}, {budget}"
        table = _table(members, where, baseline)
        present = [name for name in order if name in table]
        seeds = tuple(sorted({run.seed for run in members}))
        summaries = _rank([_summary(name, table[name], seeds, confidence) for name in present])
        judged = _compare([name for name in present if name != baseline], baseline, table, margin, confidence)
        same, hashes, remarks = _shared_hashes(members, seeds)
        prefix = f"{where}: " if len(grouped) > 1 else ""
        found += [prefix + note for arm in summaries for note in [arm.note] if note]
        found += [prefix + remark for remark in remarks]
        conclusion = conclude(summaries, judged, baseline, where)
        all_arms += summaries
        comparisons += judged
        cells.append(
            Cell(
                workload=workload,
                budget=budget,
                metric=members[0].metric,
                lower_is_better=members[0].lower_is_better,
                seeds=seeds,
                same=same,
                hashes=hashes,
                conclusion=conclusion,
            )
        )
    return ComparisonResult(
        conclusion=" ".join(cell.conclusion for cell in cells),
        baseline=baseline,
        margin=margin,
        confidence=confidence,
        arms=tuple(all_arms),
        comparisons=tuple(comparisons),
        cells=tuple(cells),
        cost=_total(run.cost for run in runs),
        notes=tuple(dict.fromkeys(found)),
        runs=runs,
        declaration=dict(declaration or {}),
    )


def _table(members: Sequence[RunOutcome], where: str, baseline: str) -> Table:
    table: Table = {}
    for run in members:
        if run.seed in table.setdefault(run.arm, {}):
            raise ConfigError(f"{where}: arm {run.arm} has two results for seed {run.seed}; keep one of them.")
        table[run.arm][run.seed] = run
        if (run.metric, run.lower_is_better) != (members[0].metric, members[0].lower_is_better):
            raise ConfigError(
                f"{where}: {members[0].arm} is measured by {_direction(members[0])} and {run.arm} by "
                f"{_direction(run)}; give all arms the same metric."
            )
    if baseline not in table:
        raise ConfigError(
            f'{where}: no arm "{baseline}" to serve as baseline.{did_you_mean(baseline, table)} '
            f"Arms: {', '.join(table)}."
        )
    return table


def _direction(run: RunOutcome) -> str:
    return f"{run.metric} ({'lower' if run.lower_is_better else 'higher'} is better)"


def _summary(name: str, runs: Mapping[int, RunOutcome], seeds: tuple[int, ...], confidence: float) -> ArmSummary:
    first = next(iter(runs.values()))
    per_seed = tuple(runs[seed].usable if seed in runs else None for seed in seeds)
    values = [value for value in per_seed if value is not None]
    diverged = tuple(seed for seed in seeds if seed in runs and runs[seed].failed)
    missing = tuple(seed for seed in seeds if seed not in runs or (runs[seed].value is None and not runs[seed].failed))
    found = mean_interval(values, confidence=confidence) if values else None
    notes = []
    if diverged:
        notes.append(f"{name} diverged on {len(diverged)} of {len(runs)} seeds ({listed(diverged)}) and is ranked last")
    if missing:
        notes.append(f"{name} has no result for seed {listed(missing)}; it is compared on the seeds it shares")
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
        cost=_total(run.cost for run in runs.values()),
        note="; ".join(notes) + ("." if notes else ""),
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _total(costs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for cost in costs:
        for name, value in cost.items():
            total[name] = total.get(name, 0) + value
    return total


def _rank(arms: Sequence[ArmSummary]) -> list[ArmSummary]:
    """Number the arms from best to worst; diverged ones after all others, then those without any value."""

    def key(arm: ArmSummary) -> tuple[float, bool, float]:
        sign = 1.0 if arm.lower_is_better else -1.0
        return len(arm.diverged_seeds), arm.mean is None, sign * (arm.mean or 0.0)

    place = {arm.name: rank for rank, arm in enumerate(sorted(arms, key=key), start=1)}
    return [dataclasses.replace(arm, rank=place[arm.name]) for arm in arms]


def _compare(
    names: Sequence[str], baseline: str, table: Table, margin: float, confidence: float
) -> list[ArmComparison]:
    pairs = {name: _pairs(table[name], table[baseline]) for name in names}
    found: dict[str, PairedDifference] = {
        name: paired_difference([a for _, a, _ in rows], [b for _, _, b in rows], confidence=confidence)
        for name, rows in pairs.items()
        if rows
    }
    tested = [name for name, difference in found.items() if difference.p_value is not None]
    # The verdict asks for a p value that survives Holm; at worst that is the level divided by the number of arms.
    level = 1 - (1 - confidence) / max(1, len(tested))
    for name in tested:
        n, sd = found[name].n, found[name].sd
        shown = detectable_effect(n, sd, confidence=level) if sd else None
        found[name] = dataclasses.replace(found[name], detectable=shown)
    adjusted = dict(zip(tested, holm([found[name].p_value or 0.0 for name in tested]).tolist(), strict=True))
    comparisons = []
    for name in names:
        arm, base = table[name], table[baseline]
        first, difference = next(iter(arm.values())), found.get(name)
        if difference is None:
            judgement = Judgement("inconclusive", f"Inconclusive: {name} and {baseline} share no finished seed.")
        else:
            judgement = verdict(
                difference,
                lower_is_better=first.lower_is_better,
                margin=margin,
                p_holm=adjusted.get(name),
                arm=name,
                baseline=baseline,
                metric=first.metric,
            )
        judgement = diverged_judgement(name, arm, baseline, base, judgement)
        rows, unpaired = pairs[name], sorted(set(arm) ^ set(base))
        notes = [difference.note] if difference and difference.note else []
        if unpaired:
            notes.append(f"paired on {len(rows)} common seeds; only one of the two has seed {listed(unpaired)}")
        comparisons.append(
            ArmComparison(
                arm=name,
                baseline=baseline,
                workload=first.workload,
                budget=first.budget,
                metric=first.metric,
                lower_is_better=first.lower_is_better,
                difference=difference.estimate if difference else None,
                low=difference.low if difference else None,
                high=difference.high if difference else None,
                sd=difference.sd if difference else None,
                seeds=tuple(seed for seed, _, _ in rows),
                per_seed=tuple(a - b for _, a, b in rows),
                verdict=judgement.verdict,
                sentence=judgement.sentence,
                detectable=difference.detectable if difference else None,
                p_value=difference.p_value if difference else None,
                p_holm=adjusted.get(name),
                p_permutation=difference.p_permutation if difference else None,
                method=difference.method if difference else "",
                note="; ".join(notes),
            )
        )
    return comparisons


def _pairs(arm: Mapping[int, RunOutcome], base: Mapping[int, RunOutcome]) -> list[tuple[int, float, float]]:
    pairs = []
    for seed in sorted(set(arm) & set(base)):
        a, b = arm[seed].usable, base[seed].usable
        if a is not None and b is not None:
            pairs.append((seed, a, b))
    return pairs


def _shared_hashes(
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
