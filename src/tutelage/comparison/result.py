"""What a comparison found: arms with means and intervals, paired differences with verdicts, one plain sentence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tutelage.comparison._arms import arm_summary, common_results, ranked, shared_hashes, total
from tutelage.comparison._conclusion import conclude, diverged_judgement, listed
from tutelage.comparison._overall import CellRuns, compare_overall
from tutelage.comparison._records import (
    ArmComparison,
    ArmSummary,
    Cell,
    ComparisonResult,
    OverallComparison,
    RunOutcome,
)
from tutelage.errors import ConfigError, did_you_mean
from tutelage.evaluation import (
    Judgement,
    PairedDifference,
    detectable_effect,
    holm,
    paired_difference,
    verdict,
)

__all__ = [
    "ArmComparison",
    "ArmSummary",
    "Cell",
    "ComparisonResult",
    "OverallComparison",
    "RunOutcome",
    "summarise",
]

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
    paired_by: Mapping[tuple[str, str], str] | None = None,
) -> ComparisonResult:
    """Return what a set of finished runs shows, wherever they were trained.

    In each cell (workload and budget) arms are paired with the baseline on the seeds that both finished; p values are
    adjusted over the arms of the cell by Holm's method. Several cells are averaged as well, which is ``overall`` of the
    result. Seeds that are missing or diverged are named in a note. Arms that were pruned are named too, and not
    compared, nor averaged; they still count as arms in the adjustment, as what was left was chosen by what was seen.

    Args:
        runs: One record a run, any order.
        baseline: The arm the others are compared to; it must be in every cell.
        arms: Order in which arms are listed; the order of the runs where not given.
        margin: Differences up to this size do not matter, in the unit of the metric.
        confidence: Of the intervals.
        notes: Remarks to carry along.
        declaration: What was asked for, to be shown and stored.
        paired_by: By workload and budget what a pair is, ``"seed"`` or ``"item"`` (``seed`` of a run is then the place
            of the item); seeds where not given.

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
    tables: dict[tuple[str, str], CellRuns] = {}
    for (workload, budget), members in grouped.items():
        where = f"{workload}, {budget}"
        table = _table(members, where, baseline)
        pair = (paired_by or {}).get((workload, budget), "seed")
        metric, lower_is_better = members[0].metric, members[0].lower_is_better
        tables[workload, budget] = CellRuns(table, metric, lower_is_better, pair)
        present = [name for name in order if name in table]
        seeds = tuple(sorted({run.seed for run in members}))
        summaries = ranked([arm_summary(name, table[name], seeds, confidence, pair) for name in present])
        gone = [arm.name for arm in summaries if arm.pruned_seeds]
        others = [name for name in present if name != baseline and name not in gone]
        judged = _compare(others, baseline, table, margin, confidence, pair, pruned=len(gone))
        same, hashes, remarks = shared_hashes(members, seeds)
        prefix = f"{where}: " if len(grouped) > 1 else ""
        found += [prefix + note for arm in summaries for note in [arm.note] if note]
        found += [prefix + remark for remark in remarks]
        conclusion = conclude(summaries, judged, baseline, where, pair)
        all_arms += summaries
        comparisons += judged
        cells.append(
            Cell(
                workload=workload,
                budget=budget,
                metric=metric,
                lower_is_better=lower_is_better,
                seeds=seeds,
                same=same,
                hashes=hashes,
                conclusion=conclusion,
                pair=pair,
            )
        )
    # Averaged over what it was left to finish, an arm would look better than it is.
    pruned = [name for name in order if any(arm.name == name and arm.pruned_seeds for arm in all_arms)]
    others = [name for name in order if name != baseline and name not in pruned]
    overall, remarks = compare_overall(
        others, baseline, tables, margin=margin, confidence=confidence, pruned=len(pruned)
    )
    if pruned and len(tables) > 1:
        remarks = [*remarks, f"Pruned somewhere, and hence left out of the average: {listed(pruned)}."]
    return ComparisonResult(
        conclusion=" ".join(cell.conclusion for cell in cells),
        baseline=baseline,
        margin=margin,
        confidence=confidence,
        arms=tuple(all_arms),
        comparisons=tuple(comparisons),
        cells=tuple(cells),
        cost=total(run.cost for run in runs),
        notes=tuple(dict.fromkeys([*found, *remarks])),
        runs=runs,
        declaration=dict(declaration or {}),
        overall=overall,
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


def _compare(
    names: Sequence[str], baseline: str, table: Table, margin: float, confidence: float, pair: str, *, pruned: int = 0
) -> list[ArmComparison]:
    pairs = {name: common_results(table[name], table[baseline]) for name in names}
    found: dict[str, PairedDifference] = {
        name: paired_difference([a for _, a, _ in rows], [b for _, _, b in rows], confidence=confidence, pair=pair)
        for name, rows in pairs.items()
        if rows
    }
    tested = [name for name, difference in found.items() if difference.p_value is not None]
    # The verdict asks for a p value that survives Holm; at worst that is the level divided by the number of arms.
    level = 1 - (1 - confidence) / max(1, len(tested) + pruned)
    for name in tested:
        n, sd = found[name].n, found[name].sd
        shown = detectable_effect(n, sd, confidence=level) if sd else None
        found[name] = dataclasses.replace(found[name], detectable=shown)
    p_values = [*(found[name].p_value or 0.0 for name in tested), *[1.0] * pruned]
    adjusted = dict(zip(tested, holm(p_values).tolist(), strict=False))
    comparisons = []
    for name in names:
        arm, base = table[name], table[baseline]
        first, difference = next(iter(arm.values())), found.get(name)
        if difference is None:
            judgement = Judgement("inconclusive", f"Inconclusive: {name} and {baseline} share no finished {pair}.")
        else:
            judgement = verdict(
                difference,
                lower_is_better=first.lower_is_better,
                margin=margin,
                p_holm=adjusted.get(name),
                arm=name,
                baseline=baseline,
                metric=first.metric,
                pair=pair,
            )
        judgement = diverged_judgement(name, arm, baseline, base, judgement)
        rows, unpaired = pairs[name], sorted(set(arm) ^ set(base))
        notes = [difference.note] if difference and difference.note else []
        if unpaired:
            notes.append(f"paired on {len(rows)} common {pair}s; only one of the two has {pair} {listed(unpaired)}")
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
