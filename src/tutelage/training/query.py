"""Asking questions of many runs at once, with SQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError, DataNotFound
from tutelage.training.folder import RESULT_FILE, RUN_FILE
from tutelage.training.storage import storage

if TYPE_CHECKING:
    import pyarrow

#: Columns of the table ``runs``, in the order they are shown.
COLUMNS = (
    "folder", "workload", "recipe", "budget", "seed", "status", "final_loss", "metric", "steps", "tokens", "seconds",
    "peak", "batch_size", "search_steps", "init", "order", "created", "git_commit", "processor",
)  # fmt: skip


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
        A pyarrow table.

    Raises:
        DataNotFound: The folder does not exist.
        ConfigError: The SQL cannot be run.
    """
    import duckdb
    import pyarrow

    root = Path(root)
    if not root.is_dir():
        raise DataNotFound(f"No folder {root}; name one that holds runs.")
    rows = list(_rows(root))
    runs = pyarrow.table({name: _column([row.get(name) for row in rows]) for name in COLUMNS})
    if sql is None:
        sql = "select * from runs" + (f" where {where}" if where else "") + f" order by {order or 'folder'}"
    # An in-memory database that may not touch files: the condition can only read the table given to it.
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.register("runs", runs)
        try:
            return connection.execute(sql).to_arrow_table()
        except duckdb.Error as error:
            text = str(error).splitlines()[0]
            raise ConfigError(f"{sql}: {text} Columns of runs: {', '.join(COLUMNS)}.") from None


def export(table: pyarrow.Table, path: Path) -> None:
    """Write a table as CSV or Parquet, by the file's ending.

    Raises:
        ConfigError: Another ending, or a file that exists.
        StorageFull: No space is left.
    """
    import pyarrow.csv
    import pyarrow.parquet

    writers = {".csv": pyarrow.csv.write_csv, ".parquet": pyarrow.parquet.write_table}
    if path.suffix not in writers:
        raise ConfigError(f"--export {path}: the name must end in .csv or .parquet.")
    if path.exists():
        raise ConfigError(f"--export {path} exists; name a new file.")
    with storage(path):
        writers[path.suffix](table, path)


def _column(values: list[Any]) -> pyarrow.Array:
    import pyarrow

    # A column without any value would have no type of its own, and SQL could not compare it.
    return pyarrow.array(values, type=pyarrow.float64() if all(value is None for value in values) else None)


def _rows(root: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(root.rglob(RUN_FILE)):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            yield {"folder": str(path.parent), "status": "damaged"}
            continue
        row = {
            name: run.get(name)
            for name in ("workload", "recipe", "budget", "seed", "peak", "batch_size", "created", "git_commit")
        }
        row |= {
            "folder": str(path.parent),
            "status": "unfinished",
            "processor": run.get("machine", {}).get("processor"),
        }
        try:
            result = json.loads((path.parent / RESULT_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            yield row
            continue
        except (OSError, ValueError):
            yield row | {"status": "damaged"}
            continue
        names = ("final_loss", "metric", "steps", "tokens", "seconds")
        row |= {name: result.get(name) for name in names}
        row |= {name: result.get("hashes", {}).get(name) for name in ("init", "order")}
        row["search_steps"] = result.get("cost", {}).get("search_steps")
        row["status"] = "diverged" if result.get("diverged") else "finished"
        yield row
