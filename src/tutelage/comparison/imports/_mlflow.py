"""MLflow: its database, the file store ``mlruns`` (both read without the library), and tables of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.comparison.imports._mlflow_db import Run, is_database, runs_of, unclipped
from tutelage.comparison.imports._reading import Naming, Reading, number, numeric, text_of
from tutelage.comparison.imports._table import rows_of
from tutelage.errors import DataError

_FINISHED = ("3", "FINISHED", "")
#: Columns of a table downloaded from the page of an experiment that are neither parameters nor metrics.
UI_COLUMNS = frozenset(
    ("Start Time", "Duration", "Run ID", "Name", "Source Type", "Source Name", "User", "Status", "arm", "seed")
)


def read(files: Sequence[Path], naming: Naming) -> Iterator[Reading]:
    """Yield one reading a run: from a database, from ``meta.yaml`` and the files beside it, or a row of a table.

    Arm and seed come from parameters or tags named so, else from ``experiment/run name`` by the pattern. Runs that
    were deleted are passed over; of a metric the value at the last step counts.

    Raises:
        DataError: A file is broken.
    """
    for path in files:
        if path.suffix.lower() == ".csv":
            yield from _rows(path, naming)
            continue
        if is_database(path):
            yield from (_reading(run, naming) for run in runs_of(path))
            continue
        meta = _yaml(path)
        if meta.get("lifecycle_stage") == "deleted" or not (meta.get("run_id") or meta.get("run_uuid")):
            continue
        yield _reading(_run(path, meta), naming)


def _run(path: Path, meta: Mapping[str, Any]) -> Run:
    folder = path.parent
    parent = folder.parent / "meta.yaml"
    tags = _texts(folder / "tags")
    root = folder / "metrics"
    files = (file for file in sorted(root.rglob("*")) if file.is_file()) if root.is_dir() else ()
    return Run(
        source=str(folder),
        experiment=str(_yaml(parent).get("name") or "") if parent.exists() else "",
        name=str(meta.get("run_name") or tags.get("mlflow.runName") or ""),
        status=str(meta.get("status", "")),
        start=meta.get("start_time"),
        end=meta.get("end_time"),
        said={**tags, **_texts(folder / "params")},
        last={file.relative_to(root).as_posix(): _last(file) for file in files},
    )


def _reading(run: Run, naming: Naming) -> Reading:
    who = naming.identify(
        f"{run.experiment}/{run.name}",
        source=f"{run.source} ({run.name or 'no name'})",
        arm=run.said.get("arm"),
        seed=run.said.get("seed"),
        workload=run.said.get("workload", ""),
        budget=run.said.get("budget", ""),
    )
    return Reading(
        source=run.source,
        arm=who.arm,
        seed=who.seed,
        workload=who.workload,
        budget=who.budget,
        values={name: value for name, (_, value) in run.last.items()},
        finished=run.status in _FINISHED,
        steps=max((step for step, _ in run.last.values()), default=0) or None,
        seconds=(run.end - run.start) / 1000 if isinstance(run.start, int) and isinstance(run.end, int) else None,
    )


def _last(path: Path) -> tuple[int, float | None]:
    """Return step and value of the last point; a line is ``milliseconds value step``, newer ones may say more."""
    points: list[tuple[int, int, float | None]] = []
    for line, text in enumerate(text_of(path).splitlines(), 1):
        pieces = text.split()
        try:
            points.append((int(pieces[2]) if len(pieces) > 2 else 0, int(pieces[0]), number(pieces[1], "")))
        except (IndexError, ValueError):
            raise DataError(
                f"{path}:{line}: not a metric of MLflow (time, value and step), got {text[:60]!r}."
            ) from None
    step, _, value = max(points, key=lambda point: point[:2])
    return step, value


def _texts(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        return {}
    return {file.name: file.read_text(encoding="utf-8").strip() for file in sorted(folder.iterdir()) if file.is_file()}


def _yaml(path: Path) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]  # it ships no types

    try:
        stored = yaml.safe_load(text_of(path))
    except yaml.YAMLError:
        raise DataError(f"{path}: not YAML.") from None
    if not isinstance(stored, dict):
        raise DataError(f"{path}: not the meta.yaml of an MLflow run.")
    return stored


def _rows(path: Path, naming: Naming) -> Iterator[Reading]:
    """Read ``mlflow.search_runs().to_csv()``, ``mlflow experiments csv`` or the page's own download."""
    for where, row in rows_of(path):
        prefixed = "run_id" in row

        def said(name: str, row: Mapping[str, Any] = row) -> Any:
            return next((row[key] for key in (f"params.{name}", f"tags.{name}", name) if row.get(key)), None)

        name = row.get("tags.mlflow.runName") or row.get("run_name") or row.get("Name") or ""
        who = naming.identify(
            str(name),
            source=where,
            arm=said("arm"),
            seed=said("seed"),
            workload=str(said("workload") or ""),
            budget=str(said("budget") or ""),
        )
        if prefixed:
            cells = {key.removeprefix("metrics."): value for key, value in row.items() if key.startswith("metrics.")}
        else:
            cells = {key: value for key, value in row.items() if key not in UI_COLUMNS}
        yield Reading(
            source=where,
            arm=who.arm,
            seed=who.seed,
            workload=who.workload,
            budget=who.budget,
            values={
                key: unclipped(number(value, where))
                for key, value in cells.items()
                if value in (None, "") or numeric(value)
            },
            finished=str(row.get("status") or row.get("Status") or "").upper() in _FINISHED,
        )
