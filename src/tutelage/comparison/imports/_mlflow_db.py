"""The database that MLflow keeps runs in where it is told nothing else: ``mlflow.db``, read without the library."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tutelage.errors import DataError

#: How such files are usually named.
DATABASES = (".db", ".sqlite", ".sqlite3")
_MAGIC = b"SQLite format 3\0"
_TABLES = {"experiments", "runs", "latest_metrics", "params", "tags"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run as a store of MLflow holds it.

    Args:
        source: Where it stands.
        experiment: Name of its experiment.
        name: Its name.
        status: ``"FINISHED"``, or the number that the file store writes for it.
        start: Start in milliseconds.
        end: End in milliseconds.
        said: Tags and parameters, these before those.
        last: Step and value of each metric's last point.
    """

    source: str
    experiment: str
    name: str
    status: str
    start: int | None
    end: int | None
    said: Mapping[str, str]
    last: Mapping[str, tuple[int, float | None]]


def is_database(path: Path) -> bool:
    """Return whether a file is a database with the tables of MLflow."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return False
        with _opened(path) as base:
            return {name for (name,) in base.execute("select name from sqlite_master where type = 'table'")} >= _TABLES
    except (OSError, sqlite3.Error):
        return False


def runs_of(path: Path) -> Iterator[Run]:
    """Yield the runs of a database that are not deleted, in the order in which they were started.

    Raises:
        DataError: The database is broken, or of a version that keeps other columns.
    """
    try:
        with _opened(path) as base:
            said: dict[str, dict[str, str]] = {}
            for table in ("tags", "params"):
                for run, name, text in base.execute(f"select run_uuid, key, value from {table}"):
                    said.setdefault(run, {})[name] = text
            last: dict[str, dict[str, tuple[int, float | None]]] = {}
            for run, name, step, value, nan in base.execute(
                "select run_uuid, key, step, value, is_nan from latest_metrics order by key"
            ):
                last.setdefault(run, {})[name] = int(step), math.nan if nan else unclipped(value)
            found = base.execute(
                "select r.run_uuid, e.name, r.name, r.status, r.start_time, r.end_time from runs r "
                "join experiments e on e.experiment_id = r.experiment_id "
                "where r.lifecycle_stage = 'active' and e.lifecycle_stage = 'active' order by r.start_time, r.rowid"
            ).fetchall()
    except sqlite3.Error as error:
        raise DataError(f"{path}: not a database that MLflow writes ({error}).") from None
    for run, experiment, name, status, start, end in found:
        own = said.get(run, {})
        yield Run(
            source=f"{path}: run {run}",
            experiment=experiment or "",
            name=name or own.get("mlflow.runName", ""),
            status=status or "",
            start=start,
            end=end,
            said=own,
            last=last.get(run, {}),
        )


def unclipped(value: float | None) -> float | None:
    """Return a value of MLflow's database, or of a table made from it; infinity stands there as the largest number."""
    if value is not None and abs(value) >= sys.float_info.max:
        return math.copysign(math.inf, value)
    return value


def _opened(path: Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True))
