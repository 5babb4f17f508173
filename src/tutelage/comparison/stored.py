"""What a folder of a comparison or of one run can be reported from."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.comparison._records import ComparisonResult, RunOutcome
from tutelage.comparison.report import REPORT_DATA
from tutelage.comparison.result import summarise
from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.specs import parse_spec
from tutelage.training.folder import RUN_FILE, RunRecord, read_result, read_run
from tutelage.training.recipe import Recipe

__all__ = ["StoredReport", "commands_of_run", "comparison_of_run", "peak_of", "read_report", "run_facts", "spent"]


@dataclass(frozen=True, kw_only=True)
class StoredReport:
    """A comparison as it was stored, or one run in the same form: a single arm, nothing to compare it with.

    Args:
        folder: Where it was read from; run folders in ``result`` are as seen from here.
        result: The comparison.
        commands: Shell commands that repeat it.
        provenance: Versions, machine and commit it was made with.
        of_run: The folder holds one run.
    """

    folder: Path
    result: ComparisonResult
    commands: tuple[str, ...]
    provenance: Mapping[str, Any]
    of_run: bool


def read_report(folder: str | Path) -> StoredReport:
    """Return what a folder holds, a finished comparison or a finished run.

    Raises:
        DataNotFound: Neither, or one that is unfinished.
        CorruptRun: Its files cannot be read.
        ConfigError: A format that this version does not read.
    """
    root = Path(folder)
    if (root / RUN_FILE).is_file():
        return _run_report(root)
    path = root / REPORT_DATA
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if (root / "comparison.json").exists():
            raise DataNotFound(
                f"The comparison in {root} is not finished; go on with the command that began it and --resume."
            ) from None
        raise DataNotFound(
            f"{root} holds neither a finished comparison ({REPORT_DATA}) nor a run ({RUN_FILE}); name the --out folder "
            "of tutelage compare or tutelage train."
        ) from None
    except (OSError, ValueError) as error:
        raise CorruptRun(f"{path} cannot be read ({error}); run the comparison again with --resume.") from error
    if not isinstance(stored, dict):
        raise CorruptRun(f"{path} holds no report; run the comparison again with --resume.")
    result = ComparisonResult.from_json(stored)
    runs = tuple(dataclasses.replace(run, folder=_seen_from(root, run.folder)) for run in result.runs)
    provenance = stored.get("provenance")
    return StoredReport(
        folder=root,
        result=dataclasses.replace(result, runs=runs),
        commands=tuple(map(str, stored.get("commands") or ())),
        provenance=provenance if isinstance(provenance, dict) else {},
        of_run=False,
    )


def comparison_of_run(folder: str | Path, *, levels: int = 8) -> tuple[StoredReport, RunOutcome] | None:
    """Return the finished comparison that a run folder belongs to, and the run in it; ``None`` where there is none.

    Args:
        folder: The run folder.
        levels: Folders above it that are looked at.
    """
    here = Path(folder).resolve()
    for parent in list(here.parents)[:levels]:
        if not (parent / REPORT_DATA).is_file():
            continue
        try:
            report = read_report(parent)
        except (ConfigError, CorruptRun, DataNotFound):
            continue
        for run in report.result.runs:
            if run.folder is not None and Path(run.folder).resolve() == here:
                return report, run
    return None


def run_facts(record: RunRecord) -> dict[str, Any]:
    """Return the provenance of a run: versions, machine, commit, data."""
    return {
        "versions": record.versions,
        "machine": {**record.machine, "threads": record.threads},
        "commit": record.git_commit,
        "data_fingerprint": record.data_fingerprint,
        "workload_version": record.workload_version,
        "created": record.created,
    }


def commands_of_run(record: RunRecord, out: str, *, recipe: str | None = None) -> list[str]:
    """Return the shell commands that train a run again: one, and one for each time it was extended.

    Args:
        record: What the run folder says.
        out: Folder to name.
        recipe: Recipe file that says all the first command needs; spelt out where not given.
    """
    if recipe is not None:
        words = ["tutelage", "train", "--recipe", recipe]
    elif record.workload_spec is None:
        return []
    else:
        words = ["tutelage", "train", "--workload", record.workload_spec, "--recipe", record.phases[0].recipe]
        words += ["--budget", record.budget, "--seed", str(record.seed), "--threads", str(record.threads)]
        words += ["--mixed-precision", record.mixed_precision] if record.mixed_precision != "no" else []
    lines = [[*words, "--out", out]]
    for phase in record.phases[1:]:
        more = ["tutelage", "train", "--out", out, "--extend", f"{(phase.total_steps or 0) - phase.start}steps"]
        # A phase that counts from its own start brought a recipe; the others stretch the run's.
        more += ["--recipe", phase.recipe] if phase.origin == phase.start else []
        lines.append([*more, "--threads", str(record.threads)])
    return [shlex.join(line) for line in lines]


def spent(record: RunRecord) -> str:
    """Return the budget of a run with what it was extended by: ``300steps + 100steps``."""
    more = [f"{(phase.total_steps or 0) - phase.start}steps" for phase in record.phases[1:]]
    return " + ".join([record.budget, *more])


def peak_of(record: RunRecord) -> float | None:
    """Return the peak rate of a run's last phase, which its schedule may say itself; ``None`` where phases have own."""
    recipe = Recipe.parse(record.phases[-1].recipe)
    if "+" in recipe.schedule or "@" in recipe.schedule.partition(":")[0]:
        return recipe.peak or record.peak if "peak=" not in recipe.schedule else None
    own = parse_spec(recipe.schedule).arguments
    for name in ("peak", "lr_max"):
        if name in own:
            try:
                return float(own[name])
            except ValueError:
                return None
    return recipe.peak or record.peak


def _run_report(root: Path) -> StoredReport:
    record, stored = read_run(root), read_result(root)
    if stored is None:
        raise DataNotFound(f"The run in {root} is not finished; go on with tutelage train --out {root} --resume.")
    recipe = Recipe.parse(record.phases[-1].recipe)
    try:
        run = RunOutcome(
            arm=recipe.schedule,
            workload=record.workload,
            budget=spent(record),
            seed=record.seed,
            metric=stored["metric"],
            lower_is_better=stored["lower_is_better"],
            value=stored["final_loss"],
            diverged=stored["diverged"],
            recipe=str(recipe),
            peak=peak_of(record),
            steps=stored["steps"],
            tokens=stored["tokens"],
            seconds=stored["seconds"],
            cost=stored["cost"],
            hashes=stored["hashes"],
            folder=str(root),
        )
    except KeyError as error:
        raise CorruptRun(
            f"The result in {root} lacks {error}; delete it to finish the run again with --resume."
        ) from None
    result = summarise([run], baseline=run.arm)
    if run.value is None:
        said = f"{run.workload}, {run.budget}: {run.arm} diverged after {run.steps} updates."
    else:
        said = f"{run.workload}, {run.budget}: {run.arm} ends at {run.metric} {run.value:.4g} with seed {run.seed}."
    result = dataclasses.replace(
        result, conclusion=said, cells=tuple(dataclasses.replace(cell, conclusion=said) for cell in result.cells)
    )
    commands = commands_of_run(record, f"{root.resolve().name}-again")
    return StoredReport(folder=root, result=result, commands=tuple(commands), provenance=run_facts(record), of_run=True)


def _seen_from(root: Path, folder: str | None) -> str | None:
    return None if folder is None else str(root / folder)
