"""Running a study, deciding about its claims, and storing what it found."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.comparison.run import Progress
from tutelage.errors import ConfigError, TutelageError
from tutelage.evaluation import detectable_effect, paired_difference
from tutelage.studies.study import Claim, ScaleName, Setting, StudyEntry
from tutelage.training import provenance
from tutelage.training.storage import storage, write_json

FORMAT = 1


@dataclass(frozen=True)
class Finding:
    """What was found about one claim.

    Args:
        claim: The claim's sentence.
        verdict: ``holds``, ``does not hold`` or ``inconclusive``.
        effect: Mean effect over seeds; plus supports the claim.
        low: Lower end of its 95 % interval, or ``None`` where so few seeds give none.
        high: Upper end.
        margin: Smallest effect that counts.
        detectable: The smallest effect this many seeds could have shown, where inconclusive.
        per_seed: Effect by seed.
        sentence: The finding in one sentence.
    """

    claim: str
    verdict: str
    effect: float
    low: float | None
    high: float | None
    margin: float
    detectable: float | None
    per_seed: dict[str, float]
    sentence: str


@dataclass(frozen=True)
class StudyResult:
    """What a study found.

    Args:
        paper: Number of the paper.
        scale: ``quick`` or ``full``.
        verdict: The headline's, unless an exact property fails.
        effect: The headline's.
        sentence: The headline's, or which exact property fails.
        findings: By name of the claim.
        exact: Properties checked by calculation.
        details: Where the effects come from.
        notes: Remarks a reader must see.
        seeds: Seeds it was measured on.
        date: Day of the measurement.
        study_hash: Hash of the study file it was made from.
        provenance: Versions, machine and commit.
        comparisons: Arms, differences and costs of the comparisons behind it, by name.
    """

    paper: int
    scale: str
    verdict: str
    effect: float
    sentence: str
    findings: dict[str, Finding]
    exact: list[dict[str, Any]]
    details: dict[str, Any]
    notes: list[str]
    seeds: list[int]
    date: str
    study_hash: str
    provenance: dict[str, Any]
    comparisons: dict[str, Any]
    format: int = FORMAT


def run_study(
    entry: StudyEntry,
    *,
    scale: ScaleName = "quick",
    out: Path,
    first_seed: int = 0,
    resume: bool = False,
    force: bool = False,
    jobs: int | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> StudyResult:
    """Run a study at a scale; nothing is stored but the runs in ``out`` and ``study.json`` beside them.

    Args:
        entry: The study.
        scale: ``quick`` or ``full``.
        out: Folder for runs and reports.
        first_seed: The seeds are this one and those that follow; others than 0 show whether a result reproduces.
        resume: Go on with what ``out`` holds.
        force: Replace what ``out`` holds.
        jobs: Runs at a time; one a core where not given.
        watch: Called with the progress of each comparison.

    Raises:
        ConfigError: The study has no such scale, or ``out`` holds something else.
        TutelageError: A claim is left without a single effect.
    """
    study = entry.load()
    if scale not in study.scales:
        raise ConfigError(f"The study of paper {study.paper} has no scale {scale}; it has {', '.join(study.scales)}.")
    if first_seed < 0:
        raise ConfigError(f"--first-seed must be >= 0, got {first_seed}.")
    seeds = tuple(range(first_seed, first_seed + study.scales[scale].seeds))
    setting = Setting(
        study=study, scale_name=scale, seeds=seeds, out=out, resume=resume, force=force, jobs=jobs, watch=watch
    )
    measured = study.measure(setting)
    missing = [name for name in study.claims if not measured.effects.get(name)]
    if missing:
        raise TutelageError(f"study of paper {study.paper}: no seed gave an effect for {', '.join(missing)}.")
    findings = {name: decide(claim, measured.effects[name]) for name, claim in study.claims.items()}
    headline = next(iter(findings.values()))
    verdict, sentence = headline.verdict, headline.sentence
    exact = [{**asdict(check), "holds": check.holds} for check in (study.exact() if study.exact else ())]
    if not all(check["holds"] for check in exact):
        verdict = "does not hold"
        sentence = "An exact property fails: " + "; ".join(c["name"] for c in exact if not c["holds"]) + "."
    result = StudyResult(
        paper=study.paper,
        scale=scale,
        verdict=verdict,
        effect=headline.effect,
        sentence=sentence,
        findings=findings,
        exact=exact,
        details=dict(measured.details),
        notes=list(measured.notes),
        seeds=list(seeds),
        date=datetime.date.today().isoformat(),
        study_hash=entry.source_hash(),
        provenance={
            "versions": provenance.versions(),
            "machine": provenance.machine(),
            "git_commit": provenance.git_commit(),
        },
        comparisons={
            name: {
                key: value
                for key, value in result.to_json().items()
                if key in ("conclusion", "arms", "comparisons", "cost", "notes", "declaration")
            }
            for name, result in measured.comparisons.items()
        },
    )
    with storage(out):
        out.mkdir(parents=True, exist_ok=True)
    write_json(out / "study.json", asdict(result))
    return result


def decide(claim: Claim, effects: Mapping[int, float]) -> Finding:
    """Apply the rule of a claim to its effects, one a seed."""
    series = [effects[seed] for seed in sorted(effects)]
    found = paired_difference(series, [0.0] * len(series))
    estimate, low, high = found.estimate, found.low, found.high
    if low is None or high is None:
        verdict = "inconclusive"
    elif low > 0 and estimate >= claim.margin:
        verdict = "holds"
    elif high < claim.margin:
        verdict = "does not hold"
    else:
        verdict = "inconclusive"
    detectable = None
    if verdict == "inconclusive" and len(series) > 1:
        detectable = detectable_effect(len(series), float(np.std(series, ddof=1)))
    seeds = f"{len(series)} seed{'' if len(series) == 1 else 's'}"
    spread = seeds
    if low is not None and high is not None:
        spread = f"95 % interval {claim.number(low)} to {claim.number(high)}, {seeds}"
    sentence = f"{verdict}: {claim.number(estimate)} in favour of the claim ({spread}); "
    sentence += f"at least {claim.number(claim.margin, '')} counts"
    if detectable is not None:
        sentence += f"; {seeds} show {claim.number(detectable, '')} four times in five"
    return Finding(
        claim=claim.sentence,
        verdict=verdict,
        effect=estimate,
        low=low,
        high=high,
        margin=claim.margin,
        detectable=detectable,
        per_seed={str(seed): effects[seed] for seed in sorted(effects)},
        sentence=f"{sentence[0].upper()}{sentence[1:]}.",
    )


def stored_result(entry: StudyEntry, scale: ScaleName) -> dict[str, Any] | None:
    """Return the result that is stored with the library, or ``None``."""
    item = files("tutelage.studies").joinpath("results", f"p{entry.paper.number:02d}-{scale}.json")
    if not item.is_file():
        return None
    stored: dict[str, Any] = json.loads(item.read_text(encoding="utf-8"))
    return stored
