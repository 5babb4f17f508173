"""Asking questions of many runs at once, with SQL."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError, DataNotFound
from tutelage.training.folder import PRUNED_FILE, RESULT_FILE, RUN_FILE
from tutelage.training.storage import write_atomically

if TYPE_CHECKING:
    import pyarrow

#: Columns of the table ``runs`` with the Python type of their values, in the order they are shown.
COLUMNS: dict[str, type] = {
    "folder": str,
    "workload": str,
    "recipe": str,
    "budget": str,
    "seed": int,
    "status": str,
    "final_loss": float,
    "metric": str,
    "steps": int,
    "tokens": int,
    "seconds": float,
    "peak": float,
    "batch_size": int,
    "search_steps": int,
    "init": str,
    "order": str,
    "created": str,
    "git_commit": str,
    "processor": str,
}
_FROM_RUN = ("workload", "recipe", "budget", "seed", "peak", "batch_size", "created", "git_commit")
_FROM_RESULT = ("final_loss", "metric", "steps", "tokens", "seconds")


def query_runs(
    root: str | Path, *, where: str | None = None, order: str | None = None, sql: str | None = None
) -> pyarrow.Table:
    """Return the runs below a folder as a table, filtered by SQL.

    Args:
        root: Folder to search, at any depth.
        where: Condition on the columns of :data:`COLUMNS`, such as ``"final_loss < 4 and seed = 0"``.
        order: Column or expression to sort by, such as ``"final_loss desc"``.
        sql: A whole query over the table ``runs``, instead of the two.

    Returns:
        A pyarrow table. ``status`` is ``finished``, ``diverged``, ``unfinished``, ``pruned`` (stopped by a comparison
        that forecast it not to win), or ``damaged`` for a run whose files cannot be read.

    Raises:
        DataNotFound: The folder does not exist.
        ConfigError: The SQL cannot be run.
    """
    import duckdb

    root = Path(root)
    if not root.is_dir():
        raise DataNotFound(f"No folder {root}; name one that holds runs.")
    if sql is not None and (where or order):
        raise ConfigError("Give either a whole query (sql) or a condition and an order (where, order), not both.")
    if sql is None:
        sql = "select * from runs" + (f" where {where}" if where else "") + f" order by {order or 'folder'}"
    # An in-memory database that may touch no file and no variable of this process: a query sees the runs alone.
    limits: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "python_enable_replacements": "false",
        "lock_configuration": "true",
    }
    with duckdb.connect(config=limits) as connection:
        connection.register("runs", _table(root))
        try:
            return connection.sql(sql).to_arrow_table()
        except (duckdb.Error, AttributeError) as error:  # a statement that returns nothing has no table
            text = str(error).splitlines()[0] if isinstance(error, duckdb.Error) else "it returns no rows."
            raise ConfigError(f"{sql}: {text} Columns of runs: {', '.join(COLUMNS)}.") from None


def export(table: pyarrow.Table, path: Path) -> None:
    """Write a table as CSV or Parquet, by the file's ending.

    Raises:
        ConfigError: Another ending, or a file that exists.
        StorageFull: No space is left.
    """
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    writers = {".csv": pyarrow.csv.write_csv, ".parquet": pyarrow.parquet.write_table}
    if path.suffix not in writers:
        raise ConfigError(f"--export {path}: the name must end in .csv or .parquet.")
    if path.exists():
        raise ConfigError(f"--export {path} exists; name a new file.")
    if not path.parent.is_dir():
        raise ConfigError(f"--export {path}: the folder {path.parent} does not exist.")
    buffer = pyarrow.BufferOutputStream()
    writers[path.suffix](table, buffer)
    write_atomically(path, buffer.getvalue().to_pybytes())


def _table(root: Path) -> pyarrow.Table:
    import pyarrow

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    rows = list(_rows(root))
    # Named types, as a column without any value has none of its own and SQL could not compare it.
    return pyarrow.table(
        {name: pyarrow.array([row.get(name) for row in rows], type=kinds[kind]) for name, kind in COLUMNS.items()}
    )


def _rows(root: Path) -> Iterator[dict[str, Any]]:
    # os.walk, and what it saw of each folder: ten thousand runs are found in a fraction of a second.
    found = sorted(
        (place, RESULT_FILE in files, PRUNED_FILE in files) for place, _, files in os.walk(root) if RUN_FILE in files
    )
    for place, ended, pruned in found:
        row: dict[str, Any] = {"folder": str(Path(place)), "status": "damaged"}
        try:
            run = _read(place, RUN_FILE)
            row |= {name: _typed(name, run[name]) for name in _FROM_RUN}
            row["processor"] = _typed("processor", run["machine"].get("processor"))
            row |= _outcome(_read(place, RESULT_FILE)) if ended else {"status": "pruned" if pruned else "unfinished"}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            pass  # it is listed as damaged, with what could be read
        yield row


def _read(place: str, name: str) -> Any:
    with open(os.path.join(place, name), "rb") as file:
        return json.loads(file.read())


def _outcome(result: Any) -> dict[str, Any]:
    row = {name: _typed(name, result[name]) for name in _FROM_RESULT}
    row |= {name: _typed(name, result["hashes"][name]) for name in ("init", "order")}
    row["search_steps"] = _typed("search_steps", result["cost"]["search_steps"])
    return {**row, "status": "diverged" if result["diverged"] else "finished"}


def _typed(name: str, value: Any) -> Any:
    kind = COLUMNS[name]
    if kind is float and isinstance(value, int):
        return float(value)
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} is {value!r}")
    return value
