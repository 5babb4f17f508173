"""From a pilot to the comparison worth running: how many seeds a wished effect needs, and what they cost."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from tutelage.comparison._records import ComparisonResult
from tutelage.comparison._seed_plan import (
    MOST,
    Known,
    SeedNeed,
    SeedPlan,
    need_in_words,
    notes_of,
    plan_in_words,
)
from tutelage.comparison.result import summarise
from tutelage.errors import ConfigError
from tutelage.evaluation import detectable_effect, sd_interval, seeds_needed

__all__ = ["SeedNeed", "SeedPlan", "plan_seeds", "read_pilot"]


def plan_seeds(pilot: ComparisonResult, effect: float | str, *, power: float = 0.8) -> SeedPlan:
    """Say how many seeds a wished effect needs, judging by a pilot.

    **Formula**: :func:`tutelage.evaluation.seeds_needed` with the standard deviation of the pilot's paired differences,
    at the level that certainly survives Holm (the level divided by the number of arms). Its 95 % interval, by
    chi-square, gives the range of needed seeds.

    Args:
        pilot: A comparison of the same arms on few seeds, at least 2, better 5.
        effect: Difference worth knowing, in the unit of the metric, or as text with a percent sign (``"1%"``) as a
            share of the baseline's mean in each cell.
        power: Wished chance to show it, between ``1 - confidence`` and 1.

    Returns:
        A :class:`SeedPlan`. Where a pilot is too small to tell, its sentences say so.

    Raises:
        ConfigError: ``effect`` or ``power`` out of range.

    Example:
        >>> from tutelage.comparison import RunOutcome, summarise
        >>> values = {"cosine": (2.40, 2.41, 2.38), "uba": (2.36, 2.35, 2.33)}
        >>> runs = [
        ...     RunOutcome(arm=arm, workload="lm", budget="1k", seed=seed, metric="loss", lower_is_better=True, value=v)
        ...     for arm, row in values.items()
        ...     for seed, v in enumerate(row)
        ... ]
        >>> plan = plan_seeds(summarise(runs, baseline="cosine"), "1%")
        >>> plan.seeds, plan.runs, plan.needs[0].needed_high
        (4, 8, 56)

    Helps / does not help:
        It keeps one from comparing twice as long as needed, or for nothing. A pilot of three seeds knows its spread to
        a factor of twelve, and the range of seeds is as wide: take the upper end, or a larger pilot. What diverged in
        the pilot is in none of these numbers.

    Source:
        Browne, On the use of a pilot sample for sample size determination, Statistics in Medicine 14, 1995 (planning
        with the upper end of the spread's interval).
    """
    share, size = _effect(effect)
    if not 1 - pilot.confidence < power < 1:
        raise ConfigError(f"power must be between {1 - pilot.confidence:.4g} and 1, such as 0.8, got {power}.")
    known = _in_cells(pilot) + (_on_average(pilot) if share else [])
    needs = tuple(_need(one, share, size, power) for one in known)
    wanted = [need.needed for need in needs if need.workload is not None and need.pair == "seed"]
    seeds = max((count or 0 for count in wanted), default=None) if None not in wanted else None
    cells = {(cell.workload, cell.budget) for cell in pilot.cells if cell.pair == "seed"}
    times = [arm.seconds for arm in pilot.arms if (arm.workload, arm.budget) in cells]
    plan = SeedPlan(
        effect=str(effect).strip(),
        power=power,
        confidence=pilot.confidence,
        needs=needs,
        seeds=seeds,
        runs=None if seeds is None else seeds * len(times),
        seconds=None if seeds is None else _times(seeds, times),
        conclusion="",
        notes=notes_of(pilot),
    )
    return dataclasses.replace(plan, conclusion=plan_in_words(plan, len(cells) > 1))


def read_pilot(
    path: str | Path, *, baseline: str | None = None, confidence: float | None = None, **options: Any
) -> ComparisonResult:
    """Read a pilot: the folder or ``report.json`` of a comparison, or whatever ``compare --from`` reads.

    Args:
        path: File or folder.
        baseline: Another baseline than the comparison's.
        confidence: Another confidence.
        options: Of :func:`tutelage.comparison.compare_from`, for results trained elsewhere.

    Raises:
        ConfigError: A comparison without report yet, options that a comparison's own report does not need, or as
            :func:`tutelage.comparison.compare_from`.
        CorruptRun: The report cannot be read.
        DataNotFound: As :func:`tutelage.comparison.compare_from`.
        DataError: Likewise.
    """
    from tutelage.comparison.imports import compare_from
    from tutelage.comparison.report import REPORT_DATA
    from tutelage.comparison.stored import read_report

    given, place = {name: value for name, value in options.items() if value is not None}, Path(path)
    report = place / REPORT_DATA if place.is_dir() else place
    if not (report.name == REPORT_DATA and report.exists()):
        if (place / "comparison.json").exists():
            raise ConfigError(f"{place} holds a comparison without a report yet; finish it with --resume.")
        chosen: dict[str, Any] = {} if confidence is None else {"confidence": confidence}
        return compare_from(place, baseline=baseline, **given, **chosen)
    if given:
        raise ConfigError(f"{report} is a comparison of its own and takes no {', '.join(sorted(given))}.")
    pilot = read_report(report.parent).result
    if (baseline or pilot.baseline, confidence or pilot.confidence) == (pilot.baseline, pilot.confidence):
        return pilot
    return summarise(
        pilot.runs,
        baseline=baseline or pilot.baseline,
        arms=list(dict.fromkeys(arm.name for arm in pilot.arms)),
        margin=pilot.margin,
        confidence=confidence or pilot.confidence,
        notes=pilot.notes,
        declaration=pilot.declaration,
        paired_by={(cell.workload, cell.budget): cell.pair for cell in pilot.cells},
    )


def _effect(effect: float | str) -> tuple[bool, float]:
    """Return whether an effect is a share of the baseline, and its size."""
    found = re.fullmatch(r"([^%]+?)\s*(%?)", str(effect).strip())
    try:
        size = float(found.group(1)) if found else math.nan
    except ValueError:
        size = math.nan
    if found is None or isinstance(effect, bool) or not (math.isfinite(size) and size > 0):
        raise ConfigError(
            f"effect must be a number > 0 in the unit of the metric, such as 0.01, or a share of the baseline, such as "
            f'1%, got "{effect}".'
        )
    share = bool(found.group(2))
    return share, size / 100 if share else size


def _in_cells(pilot: ComparisonResult) -> list[Known]:
    known = []
    for cell in pilot.cells:
        arms = {arm.name: arm for arm in pilot.arms_of(cell)}
        found = [item for arm in arms.values() if (item := pilot.comparison_of(arm)) is not None]
        for item in found:
            known.append(
                Known(
                    arm=item.arm,
                    baseline=item.baseline,
                    workload=cell.workload,
                    budget=cell.budget,
                    metric=cell.metric,
                    pair=cell.pair,
                    pairs=len(item.seeds),
                    sd=item.sd,
                    level=_level(pilot.confidence, [other.p_value for other in found]),
                    seconds=(arms[item.arm].seconds, arms[item.baseline].seconds),
                    baseline_mean=arms[item.baseline].mean,
                )
            )
    return known


def _on_average(pilot: ComparisonResult) -> list[Known]:
    known = []
    for item in pilot.overall:
        if len(item.seeds) < 2:
            continue
        members = [
            arm for arm in pilot.arms if arm.name in (item.arm, item.baseline) and arm.workload in item.workloads
        ]
        known.append(
            Known(
                arm=item.arm,
                baseline=item.baseline,
                workload=None,
                budget=None,
                metric="gain",
                pair="seed",
                pairs=len(item.seeds),
                # Equal up to rounding shows as an interval without width.
                sd=0.0 if item.low == item.high else stdev(item.per_seed),
                level=_level(pilot.confidence, [other.p_value for other in pilot.overall]),
                seconds=tuple(arm.seconds for arm in members),
                baseline_mean=1.0,
            )
        )
    return known


def _level(confidence: float, p_values: Sequence[float | None]) -> float:
    """Return the confidence at which a difference certainly survives Holm."""
    return 1 - (1 - confidence) / max(1, sum(p is not None for p in p_values))


def _need(known: Known, share: bool, size: float, power: float) -> SeedNeed:
    effect = size if not share else size * abs(known.baseline_mean) if known.baseline_mean else None
    shows = detectable_effect(known.pairs, known.sd, confidence=known.level, power=power) if known.sd else None
    low, high = sd_interval(known.sd, known.pairs) if known.sd else (None, None)
    needed, least, most = (
        _pairs(effect, sd, known.level, power) if effect and sd else None for sd in (known.sd, low, high)
    )
    costs_runs = needed is not None and known.pair == "seed"
    need = SeedNeed(
        arm=known.arm,
        baseline=known.baseline,
        workload=known.workload,
        budget=known.budget,
        metric=known.metric,
        pair=known.pair,
        effect=effect,
        pilot=known.pairs,
        shows=shows,
        sd=known.sd,
        sd_low=low,
        sd_high=high,
        needed=needed,
        needed_low=least,
        needed_high=most,
        runs=len(known.seconds) * (needed or 0) if costs_runs else None,
        seconds=_times(needed or 0, known.seconds) if costs_runs else None,
        sentence="",
    )
    return dataclasses.replace(need, sentence=need_in_words(known, need))


def _pairs(effect: float, sd: float, level: float, power: float) -> int | None:
    """Return the pairs an effect needs, or ``None`` for more than anybody runs."""
    if detectable_effect(MOST, sd, confidence=level, power=power) > effect:
        return None
    return seeds_needed(effect, sd, confidence=level, power=power, most=MOST)


def _times(seeds: int, seconds: Sequence[float | None]) -> float | None:
    known = [value for value in seconds if value is not None]
    return seeds * sum(known) if len(known) == len(seconds) else None
