"""Weights & Biases: run folders with summary or log, histories, and the tables its pages offer for download."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.comparison.imports._reading import (
    Identity,
    Naming,
    Reading,
    json_lines,
    json_of,
    number,
    numeric,
    scalars,
    text_of,
)
from tutelage.comparison.imports._table import rows_of
from tutelage.comparison.imports._wandb_log import read_log
from tutelage.errors import DataError

SUMMARY = "wandb-summary.json"
#: Columns of the table of runs that are no metrics.
RUN_COLUMNS = frozenset(
    (
        "Name",
        "ID",
        "State",
        "Notes",
        "User",
        "Tags",
        "Created",
        "Updated",
        "Runtime",
        "Sweep",
        "Group",
        "Host",
        "Commit",
        "GitHub",
        "Description",
        "EndTime",
        "arm",
        "seed",
        "Job Type",
        "End Time",
        "GPU Type",
        "GPU Count",
        "Number of Comments",
    )
)
_UNFINISHED = ("crashed", "failed", "killed", "running", "preempted", "preempting", "pending")
_BOUNDS = ("__MIN", "__MAX")


def read(files: Sequence[Path], naming: Naming) -> Iterator[Reading]:
    """Yield what W&B files say: ``wandb-summary.json``, a run's log, ``history`` as JSON Lines, and both kinds of CSV.

    A run whose summary holds its metrics is read from there, any other one from its log: an offline run has no summary,
    or an empty one.

    Raises:
        DataError: A file is none of these.
        MissingExtra: A log is to be read, and wandb is not installed.
    """
    for path in files:
        kind = path.suffix.lower()
        if kind == ".wandb":
            if not _values(_summary_of(path.parent / "files" / SUMMARY)):
                yield _log(path, naming)
        elif kind == ".json" and isinstance(stored := json_of(path), dict):
            # An offline run has a summary without any metric in it, or none; its log is in the list too.
            if _values(stored) or not any(log in files for log in path.parent.parent.glob("*.wandb")):
                yield _summary(path, stored, naming)
        elif kind in (".jsonl", ".ndjson"):
            yield _history(path, naming)
        else:
            rows = rows_of(path)
            names = list(dict.fromkeys(name for _, row in rows for name in row))
            yield from _runs(rows, naming) if "Name" in names or "name" in names else _chart(path, rows, names, naming)


def _summary_of(path: Path) -> dict[str, Any]:
    stored = json_of(path) if path.exists() else {}
    return stored if isinstance(stored, dict) else {}


def _summary(path: Path, summary: Mapping[str, Any], naming: Naming) -> Reading:
    log = next(path.parent.parent.glob("*.wandb"), None)
    if log is not None and not _values(summary):
        raise DataError(f"{path}: holds no metrics, as of an offline run; give its folder, or {log.name} in it.")
    config = _config(path.parent / "config.yaml")
    who = naming.identify(path, source=str(path), arm=config.get("arm"), seed=config.get("seed"))
    return _reading(str(path), who, summary)


def _log(path: Path, naming: Naming) -> Reading:
    log = read_log(path)
    who = naming.identify(
        f"{path.parent.resolve().as_posix()}/{log.name}",
        source=f"{path} ({log.name or 'no name'})",
        arm=log.config.get("arm"),
        seed=log.config.get("seed"),
        otherwise=log.group,
    )
    # What was logged and is not summarised: the run was killed, or the page shows its minimum.
    return _reading(str(path), who, {**_flat(log.history), **_flat(log.summary)}, finished=log.finished)


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested values under names like ``"eval.loss"``; pictures and tables, which say their type, are left out.

    ``define_metric(summary="min")`` stores ``{"min": ...}`` in the place of the last value.
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, dict):
            flat[before + name] = value
        elif "_type" not in value and not name.startswith("_"):
            flat |= _flat(value, f"{before}{name}.")
    return flat


def _values(summary: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: value for name, value in scalars(_flat(summary)).items() if not name.startswith("_")}


def _config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    import yaml  # type: ignore[import-untyped]  # it ships no types

    try:
        stored = yaml.safe_load(text_of(path))
    except yaml.YAMLError:
        raise DataError(f"{path}: not YAML.") from None
    entries = stored.items() if isinstance(stored, dict) else ()
    return {name: entry["value"] for name, entry in entries if isinstance(entry, dict) and "value" in entry}


def _history(path: Path, naming: Naming) -> Reading:
    last: dict[str, Any] = {}
    for _, row in json_lines(path):
        last |= {name: value for name, value in row.items() if value is not None}
    return _reading(str(path), naming.identify(path, source=str(path)), last)


def _reading(source: str, who: Identity, summary: Mapping[str, Any], *, finished: bool = True) -> Reading:
    values = _values(summary)
    if finished and not values:
        raise DataError(f"{source}: holds no metrics.")
    step, runtime = summary.get("_step"), summary.get("_runtime")
    return Reading(
        source=source,
        arm=who.arm,
        seed=who.seed,
        workload=who.workload,
        budget=who.budget,
        values=values,
        finished=finished,
        steps=int(step) if isinstance(step, int | float) else None,
        seconds=float(runtime) if isinstance(runtime, int | float) else None,
    )


def _runs(rows: Sequence[tuple[str, Mapping[str, Any]]], naming: Naming) -> Iterator[Reading]:
    for where, row in rows:
        who = naming.identify(
            str(row.get("Name") or row.get("name") or ""),
            source=where,
            arm=row.get("arm"),
            seed=row.get("seed"),
            otherwise=str(row.get("Group") or ""),
        )
        cells = {name: value for name, value in row.items() if name not in RUN_COLUMNS and not name.startswith("_")}
        runtime = row.get("Runtime")
        yield Reading(
            source=where,
            arm=who.arm,
            seed=who.seed,
            workload=who.workload,
            budget=who.budget,
            values={name: number(v, where) for name, v in cells.items() if v in (None, "") or numeric(v)},
            finished=str(row.get("State") or row.get("state") or "").lower() not in _UNFINISHED,
            seconds=number(runtime, where) if numeric(runtime) else None,
        )


def is_chart(names: Sequence[str]) -> bool:
    """Return whether columns are those of a downloaded chart: a clock, then ``run - metric`` with its bounds."""
    return any(f"{name}{bound}" in names for name in names if " - " in name for bound in _BOUNDS)


def _chart(
    path: Path, rows: Sequence[tuple[str, Mapping[str, Any]]], names: Sequence[str], naming: Naming
) -> Iterator[Reading]:
    clock, found = names[0], False
    for name in names[1:]:
        run, separator, metric = name.rpartition(" - ")
        if not separator or name.endswith(_BOUNDS) or metric.startswith("_"):
            continue
        filled = [(where, row) for where, row in rows if row.get(name) not in (None, "")]
        if not filled:
            continue
        found = True
        where, row = filled[-1]
        who = naming.identify(run, source=f"{path}: column {name}")
        step = number(row.get(clock), f"{where}: {clock}") if clock in ("Step", "_step") else None
        yield Reading(
            source=where,
            arm=who.arm,
            seed=who.seed,
            workload=who.workload,
            budget=who.budget,
            values={metric: number(row[name], f"{where}: {name}")},
            steps=None if step is None else int(step),
        )
    if not found:
        raise DataError(f'{path}: no column is named "run - metric", as in a chart downloaded from W&B.')
