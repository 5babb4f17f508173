"""Scores from the AlgoPerf benchmark's own log folders, as the leaderboards of mlcommons/submissions_algorithms hold.

A folder of logs holds one folder a submission, and in each
``study_<n>/<workload>_<framework>/trial_<n>/eval_measurements.csv`` with one row an evaluation (``score`` is the time
spent training) beside ``hparams.json``. Logs that have only ``measurements.csv``, which mixes training and evaluation
rows, are read from that.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, DataError, DataNotFound, did_you_mean
from tutelage.evaluation.algoperf import first_reached, workload_time
from tutelage.evaluation.algoperf_scores import Axis, ScoreTable, TimeTable, score_times
from tutelage.evaluation.algoperf_targets import (
    ALGOPERF_V05,
    ALGOPERF_V06,
    Benchmark,
    Ruleset,
    TuningRules,
    WorkloadTarget,
)

__all__ = ["TrialLog", "read_logs", "read_trial", "score_submissions"]

Floats = NDArray[np.float64]
BestBy = Literal["evaluation", "time"]

_COLUMNS: dict[Axis, str] = {"seconds": "score", "steps": "global_step"}
_FILES = ("eval_measurements.csv", "measurements.csv")
_FRAMEWORK = re.compile(r"_(jax|pytorch)$")
_TRIAL = re.compile(r"trial_(\d+)$")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrialLog:
    """The evaluations of one run.

    Attributes:
        submission: Name of the submission's folder.
        study: Name of the study's folder.
        workload: Name of the workload, without the framework.
        trial: Number in the trial folder's name.
        folder: The trial's folder.
        times: Time spent training at each evaluation, shape ``(evaluations,)``.
        values: Validation metric at each evaluation, same shape; NaN where it diverged.
    """

    submission: str
    study: str
    workload: str
    trial: int
    folder: Path
    times: Floats
    values: Floats

    def hyperparameters(self) -> dict[str, Any]:
        """Return what ``hparams.json`` holds, empty where the run has none.

        Raises:
            DataError: The file is not a JSON object.
        """
        file = self.folder / "hparams.json"
        if not file.is_file():
            return {}
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{file} is not JSON: {error}") from error
        if not isinstance(stored, dict):
            raise DataError(f"{file} must hold one JSON object with the run's hyperparameters.")
        return stored


def read_trial(folder: str | Path, metric: str, *, axis: Axis = "seconds") -> tuple[Floats, Floats] | None:
    """Return times and values of a validation metric from one trial folder, ``None`` where it has no evaluations file.

    Args:
        folder: The trial's folder.
        metric: Name without the split, such as ``"wer"``.
        axis: ``"seconds"`` of training, or ``"steps"``; the logs count nothing else.

    Raises:
        DataError: A column is missing, a row is short, holds something that is not a number, or goes back in time;
            file and row are named.
        ValueError: Another axis.
    """
    if axis not in _COLUMNS:
        raise ValueError(f"The benchmark's logs count {' and '.join(_COLUMNS)}, not {axis}.")
    file = next((path for path in (Path(folder) / name for name in _FILES) if path.is_file()), None)
    if file is None:
        return None
    with file.open(newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = next(rows, [])
        wanted = (_COLUMNS[axis], f"validation/{metric}")
        for name in wanted:
            if name not in header:
                raise DataError(f"{file}: no column {name}.{did_you_mean(name, header)} Columns: {', '.join(header)}.")
        clock, series = (header.index(name) for name in wanted)
        times: list[float] = []
        values: list[float] = []
        for number, row in enumerate(rows, start=2):
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{file}, row {number}: {len(row)} of {len(header)} columns; delete the row if the run was stopped "
                    "while writing it."
                )
            # measurements.csv has a row for every logged training step, with the metric's cell left empty.
            if file.name == _FILES[1] and not row[series]:
                continue
            try:
                time, value = float(row[clock]), float(row[series] or "nan")
            except ValueError as error:
                raise DataError(f"{file}, row {number}: {error}.") from error
            if not np.isfinite(time) or time < (times[-1] if times else 0.0):
                raise DataError(f"{file}, row {number}: {wanted[0]} is {time:g} and must be >= 0 and not fall.")
            times.append(time)
            values.append(value)
    return np.array(times, dtype=np.float64), np.array(values, dtype=np.float64)


def read_logs(
    logs: str | Path, benchmark: Benchmark, *, axis: Axis = "seconds", exclude: Iterable[str] = ()
) -> list[TrialLog]:
    """Return every run under a folder of logs on the benchmark's workloads and variants; other workloads are skipped.

    Args:
        logs: Folder with one folder a submission.
        benchmark: Round, which gives the metric of each workload.
        axis: ``"seconds"`` or ``"steps"``.
        exclude: Submissions to leave out.

    Raises:
        DataNotFound: No such folder, or it holds no runs on these workloads.
        DataError: A file that cannot be used, or a workload logged under two frameworks by one submission.
        ConfigError: ``exclude`` names a submission that is not there.
    """
    runs: list[TrialLog] = []
    for submission, folders in _submissions(Path(logs), exclude).items():
        frameworks: dict[str, str] = {}
        for study, workload, folder in folders:
            name = _FRAMEWORK.sub("", workload)
            if name not in benchmark.workloads:
                continue
            if frameworks.setdefault(name, workload) != workload:
                raise DataError(
                    f"{submission} logs {name} as {frameworks[name]} and as {workload}; move one of them elsewhere."
                )
            found = read_trial(folder, benchmark.targets[name].metric, axis=axis)
            if found is not None:
                runs.append(
                    TrialLog(
                        submission=submission,
                        study=study,
                        workload=name,
                        trial=int(folder.name.removeprefix("trial_")),
                        folder=folder,
                        times=found[0],
                        values=found[1],
                    )
                )
    if not runs:
        raise DataNotFound(f"{logs} holds no evaluations on the workloads of AlgoPerf {benchmark.version}.")
    return runs


def score_submissions(
    logs: str | Path,
    *,
    benchmark: Benchmark | None = None,
    ruleset: Ruleset | None = None,
    workloads: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    axis: Axis = "seconds",
    best_by: BestBy = "evaluation",
    r_max: float = 4.0,
    strict: bool = False,
) -> ScoreTable:
    """Return the AlgoPerf scores of all submissions under a folder of the benchmark's logs.

    Reproduces the published scores of rounds 0.5 (both rulesets, 17 submissions) and 0.6 (2 submissions, on the eight
    workloads it then had) to the four decimals they are printed with.

    Args:
        logs: Folder with one folder a submission; at least two.
        benchmark: Round, or one's own from :func:`~tutelage.evaluation.algoperf_targets.read_benchmark`. Left out,
            0.5 where one of its held-out variants was logged, else 0.6; the result says which.
        ruleset: Left out, ``"self"`` where no study holds more than one trial, else ``"external"``.
        workloads: Base workloads to score on; all where left out.
        exclude: Submissions to leave out.
        axis: ``"seconds"`` of training as the benchmark does, or ``"steps"``.
        best_by: Best trial of a study: ``"evaluation"``, the first evaluation at or past the target and the faster of
            those, as the published scores; ``"time"``, the fastest, as the rules say.
        r_max: Slower than this many times the best earns nothing.
        strict: Refuse logs with fewer studies or trials than the rules ask for, instead of saying so in the notes.

    Returns:
        Scores, times, profiles and notes. A workload a submission has no evaluations on counts as missed; the median
        is over the studies that have evaluations, as in the reference. Longest allowed times are not applied again:
        they ended the runs.

    Raises:
        DataNotFound: No such folder, or no runs in it.
        DataError: A log file that cannot be used.
        ConfigError: Unknown workload or submission, or, under ``strict``, every gap in the logs.
        ValueError: Fewer than two submissions, or an argument out of range.

    Source:
        scoring/score_submissions.py and scoring/performance_profile.py in mlcommons/submissions_algorithms, commit
        12c8e4e.
    """
    if best_by not in ("evaluation", "time"):
        raise ValueError(f'score_submissions: best_by must be "evaluation" or "time", got {best_by!r}.')
    left_out = tuple(exclude)
    rounds = benchmark or _recognise(Path(logs), left_out)
    rounds = rounds if workloads is None else rounds.only(workloads)
    runs = read_logs(logs, rounds, axis=axis, exclude=left_out)
    cells: dict[str, dict[str, dict[str, list[TrialLog]]]] = {}
    for run in runs:
        cells.setdefault(run.submission, {}).setdefault(run.workload, {}).setdefault(run.study, []).append(run)
    studies = [trials for by_workload in cells.values() for cell in by_workload.values() for trials in cell.values()]
    named: Ruleset = ruleset or ("external" if any(len(trials) > 1 for trials in studies) else "self")
    if named not in rounds.rules:
        raise ValueError(f'score_submissions: ruleset must be "external" or "self", got {named!r}.')
    gaps = list(_gaps(cells, rounds, rounds.rules[named]))
    if strict and gaps:
        raise ConfigError(f"These logs do not follow the rules of AlgoPerf {rounds.version}. " + " ".join(gaps))
    times = {
        submission: {
            name: _cell_time(list(by_workload.get(name, {}).values()), rounds.targets[name], best_by)
            for name in rounds.workloads
        }
        for submission, by_workload in cells.items()
    }
    return score_times(
        TimeTable.from_rows(times, axis=axis),
        variants={name: base for name in rounds.held_out for base in [rounds.base_of(name)] if base is not None},
        r_max=r_max,
        benchmark=rounds.version,
        ruleset=named,
        notes=gaps,
    )


def _submissions(logs: Path, exclude: Iterable[str]) -> dict[str, list[tuple[str, str, Path]]]:
    """Return for each submission its trial folders with study and workload, in order."""
    if not logs.is_dir():
        raise DataNotFound(f"There is no folder of logs at {logs}.")
    found = {
        entry.name: [
            (trial.parts[-3], trial.parts[-2], trial)
            for trial in sorted(entry.glob("study_*/*/trial_*"))
            if trial.is_dir() and _TRIAL.match(trial.name)
        ]
        for entry in sorted(logs.iterdir())
        if entry.is_dir()
    }
    found = {name: folders for name, folders in found.items() if folders}
    if not found:
        below = sorted({str(path.parents[1].relative_to(logs)) for path in logs.glob("*/*/study_*/*") if path.is_dir()})
        hint = f" Give one of its folders instead: {', '.join(sorted({Path(name).parts[0] for name in below}))}."
        raise DataNotFound(f"{logs} holds no SUBMISSION/study_*/WORKLOAD/trial_*/ folders.{hint if below else ''}")
    for name in exclude:
        if name not in found:
            raise ConfigError(
                f'No submission "{name}" to leave out.{did_you_mean(name, found)} Submissions: {", ".join(found)}.'
            )
        del found[name]
    return found


def _recognise(logs: Path, exclude: Sequence[str]) -> Benchmark:
    folders = (folder for trials in _submissions(logs, exclude).values() for folder in trials)
    seen = {_FRAMEWORK.sub("", workload) for _, workload, _ in folders}
    return ALGOPERF_V05 if seen & set(ALGOPERF_V05.held_out) else ALGOPERF_V06


def _cell_time(studies: Sequence[Sequence[TrialLog]], target: WorkloadTarget, best_by: BestBy) -> float:
    """Return a submission's time on one workload; infinity without any study."""
    if not studies:
        return float("inf")
    shape = (len(studies), max(map(len, studies)))
    times, evaluations = np.full(shape, np.inf), np.full(shape, np.inf)
    for row, trials in enumerate(studies):
        for column, trial in enumerate(trials):
            at = first_reached(trial.values, target.value, lower_is_better=target.lower_is_better)
            if at is not None:
                times[row, column], evaluations[row, column] = trial.times[at], at
    return workload_time(times, evaluations if best_by == "evaluation" else None)


def _gaps(
    cells: dict[str, dict[str, dict[str, list[TrialLog]]]], benchmark: Benchmark, rules: TuningRules
) -> Iterator[str]:
    """Yield a sentence for each workload of a submission that has fewer or more runs than the rules ask for."""
    for submission, by_workload in cells.items():
        for name in benchmark.workloads:
            cell = by_workload.get(name, {})
            counts = [len(trials) for trials in cell.values()]
            if not counts:
                yield f"{submission} has no evaluations on {name}, which counts as missed."
            elif len(counts) != rules.studies or any(count != rules.trials for count in counts):
                yield (
                    f"{submission} on {name}: {sum(counts)} runs in {len(counts)} studies, the rules ask for "
                    f"{rules.studies * rules.trials} in {rules.studies}."
                )
