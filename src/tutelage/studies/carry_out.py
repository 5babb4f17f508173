"""Running a study and storing what it found."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.comparison.plan import Tuning
from tutelage.comparison.result import ComparisonResult
from tutelage.comparison.run import Progress, compare
from tutelage.errors import ConfigError, TutelageError
from tutelage.evaluation import detectable_effect, paired_difference
from tutelage.studies.study import ScaleName, Study, StudyEntry
from tutelage.training import provenance
from tutelage.training.storage import write_json

FORMAT = 1


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Args:
        paper: Number of the paper.
        scale: ``quick`` or ``full``.
        verdict: ``holds``, ``does not hold`` or ``inconclusive``.
        effect: Relative effect, plus supports the claim.
        low: Lower end of its 95 % interval.
        high: Upper end.
        margin: Smallest effect that counts.
        detectable: The smallest effect this many seeds could have shown, where inconclusive.
        chosen: By cell, the arm of each group that was best on the tuning seeds, and its effect.
        exact: Properties checked by calculation.
        sentence: The finding in one sentence.
        date: Day of the measurement.
        study_hash: Hash of the study file it was made from.
        provenance: Versions, machine and commit.
        comparison: The comparison's arms, differences and costs.
    """

    paper: int
    scale: str
    verdict: str
    effect: float | None
    low: float | None
    high: float | None
    margin: float
    detectable: float | None
    chosen: list[dict[str, Any]]
    exact: list[dict[str, Any]]
    sentence: str
    date: str
    study_hash: str
    provenance: dict[str, Any]
    comparison: dict[str, Any]
    format: int = FORMAT


def run_study(
    entry: StudyEntry,
    *,
    scale: ScaleName = "quick",
    out: Path,
    resume: bool = False,
    force: bool = False,
    jobs: int | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> StudyResult:
    """Run a study at a scale; nothing is stored but the runs in ``out`` and the result beside them.

    Raises:
        ConfigError: The study has no such scale, or ``out`` holds something else.
        TutelageError: An arm of both groups is needed in every cell, and one diverged on every seed.
    """
    study = entry.load()
    if scale not in study.scales:
        raise ConfigError(f"The study of paper {study.paper} has no scale {scale}; it has {', '.join(study.scales)}.")
    wanted = study.scales[scale]
    result = compare(
        list(wanted.workloads),
        study.arms,
        budget=list(wanted.budgets),
        seeds=wanted.seeds,
        baseline=study.rivals[0],
        tune=Tuning.parse(wanted.tune, seeds=wanted.tune_seeds),
        out=out,
        resume=resume,
        force=force,
        jobs=jobs,
        watch=watch,
    )
    exact = [{**asdict(check), "holds": check.holds} for check in (study.exact() if study.exact else ())]
    found = judge(study, result, json.loads((out / "tuning.json").read_text(encoding="utf-8")))
    if not all(check["holds"] for check in exact):
        found["verdict"] = "does not hold"
        found["sentence"] = "An exact property fails: " + "; ".join(c["name"] for c in exact if not c["holds"]) + "."
    kept = result.to_json()
    outcome = StudyResult(
        paper=study.paper,
        scale=scale,
        margin=study.margin,
        exact=exact,
        date=datetime.date.today().isoformat(),
        study_hash=entry.source_hash(),
        provenance={
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "git_commit": provenance.git_commit(),
        },
        comparison={name: kept[name] for name in ("conclusion", "arms", "comparisons", "cost", "notes", "declaration")},
        **found,
    )
    write_json(out / "study.json", asdict(outcome))
    return outcome


def judge(study: Study, result: ComparisonResult, tuning: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Apply a study's rule to a finished comparison.

    Args:
        study: The declaration.
        result: The comparison of all its arms.
        tuning: Mean of each arm's best peak over the tuning seeds, by workload index and budget, lower first being
            better; empty where nothing was tuned, in which case each group must have one arm.

    Returns:
        ``verdict``, ``effect``, ``low``, ``high``, ``detectable``, ``chosen`` and ``sentence``.

    Raises:
        ConfigError: A group of several arms without tuning to choose from.
        TutelageError: No seed is left on which both chosen arms finished.
    """
    chosen: list[dict[str, Any]] = []
    effects: list[dict[int, float]] = []
    for cell in result.cells:
        arms = {arm.name: arm for arm in result.arms_of(cell)}
        claimed, rival = (_best(group, cell.workload, cell.budget, tuning) for group in (study.claimed, study.rivals))
        sign = 1.0 if cell.lower_is_better else -1.0
        pairs = zip(arms[claimed].seeds, arms[claimed].per_seed, arms[rival].per_seed, strict=True)
        per_seed = {s: sign * (r - c) / abs(r) for s, c, r in pairs if c is not None and r is not None}
        if not per_seed:
            raise TutelageError(f"No seed is left on which both {claimed} and {rival} finished ({cell.workload}).")
        effects.append(per_seed)
        chosen.append(
            {
                "workload": cell.workload,
                "budget": cell.budget,
                "claimed": claimed,
                "rival": rival,
                "effect": float(np.mean(list(per_seed.values()))),
            }
        )
    common = sorted(set.intersection(*(set(cell) for cell in effects)))
    series = [float(np.mean([cell[seed] for cell in effects])) for seed in common]
    found = paired_difference(series, [0.0] * len(series))
    estimate, low, high = found.estimate, found.low, found.high
    if low is None or high is None:
        verdict = "inconclusive"
    elif low > 0 and estimate >= study.margin:
        verdict = "holds"
    elif high < study.margin:
        verdict = "does not hold"
    else:
        verdict = "inconclusive"
    detectable = None
    if verdict == "inconclusive" and len(series) > 1:
        detectable = detectable_effect(len(series), float(np.std(series, ddof=1)))
    interval = "" if low is None or high is None else f" (95 % interval {low:+.2%} to {high:+.2%}, {len(series)} seeds)"
    sentence = f"{verdict}: {estimate:+.2%} in favour of the claim{interval}; at least {study.margin:.2%} counts."
    return {
        "verdict": verdict,
        "effect": estimate,
        "low": low,
        "high": high,
        "detectable": detectable,
        "chosen": chosen,
        "sentence": sentence[0].upper() + sentence[1:],
    }


def _best(group: Sequence[str], workload: str, budget: str, tuning: Sequence[Mapping[str, Any]]) -> str:
    if len(group) == 1:
        return group[0]
    scores: dict[str, float] = {
        row["arm"]: row["score"]
        for row in tuning
        if row["arm"] in group and (row["workload"], row["budget"]) == (workload, budget)
    }
    if set(scores) != set(group):
        raise ConfigError(f"The best of {', '.join(group)} is chosen on tuning seeds; the study must tune all of them.")
    return min(scores, key=lambda name: (scores[name], name))
