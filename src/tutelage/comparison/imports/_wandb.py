"""Weights & Biases: run summaries, histories, and the tables its pages offer for download."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.comparison.imports._reading import Naming, Reading, json_lines, json_of, number, numeric, scalars, text_of
from tutelage.comparison.imports._table import rows_of
from tutelage.errors import DataError

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
    """Yield what W&B files say: ``wandb-summary.json``, ``history`` as JSON Lines, and both kinds of CSV.

    Raises:
        DataError: A file is none of these.
    """
    for path in files:
        kind = path.suffix.lower()
        if kind == ".json" and isinstance(stored := json_of(path), dict):
            yield _summary(path, stored, naming)
        elif kind in (".jsonl", ".ndjson"):
            yield _history(path, naming)
        else:
            rows = rows_of(path)
            names = list(dict.fromkeys(name for _, row in rows for name in row))
            yield from _runs(rows, naming) if "Name" in names or "name" in names else _chart(path, rows, names, naming)


def _summary(path: Path, summary: Mapping[str, Any], naming: Naming) -> Reading:
    config = _config(path.parent / "config.yaml")
    flat: dict[str, Any] = {}
    for name, value in summary.items():
        # define_metric(summary="min") stores {"min": ...} in the place of the last value.
        if isinstance(value, dict) and not name.startswith("_"):
            flat |= {f"{name}.{kind}": inner for kind, inner in value.items()}
        else:
            flat[name] = value
    who = naming.identify(path, source=str(path), arm=config.get("arm"), seed=config.get("seed"))
    return _reading(str(path), who.arm, who.seed, flat, who.workload, who.budget)


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
    who = naming.identify(path, source=str(path))
    return _reading(str(path), who.arm, who.seed, last, who.workload, who.budget)


def _reading(source: str, arm: str, seed: int | None, flat: Mapping[str, Any], workload: str, budget: str) -> Reading:
    values = {name: value for name, value in scalars(flat).items() if not name.startswith("_")}
    if not values:
        raise DataError(f"{source}: holds no metrics.")
    step, runtime = flat.get("_step"), flat.get("_runtime")
    return Reading(
        source=source,
        arm=arm,
        seed=seed,
        workload=workload,
        budget=budget,
        values=values,
        steps=int(step) if isinstance(step, int | float) else None,
        seconds=float(runtime) if isinstance(runtime, int | float) else None,
    )


def _runs(rows: Sequence[tuple[str, Mapping[str, Any]]], naming: Naming) -> Iterator[Reading]:
    for where, row in rows:
        who = naming.identify(
            str(row.get("Name") or row.get("name") or ""), source=where, arm=row.get("arm"), seed=row.get("seed")
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
