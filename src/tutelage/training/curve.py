"""The curve of a run: an append-only log of one JSON object an update, read back as columns."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import CorruptRun, DataNotFound
from tutelage.training.storage import finite, storage, sync_folder, write_atomically

CURVE_LOG = "curve.jsonl"
CURVE_TABLE = "curve.parquet"
_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class CurveLog:
    """Appends rows to a log; each is handed to the system in one call, so all of them survive a killed process.

    Args:
        path: The log; an existing one is continued, a last line torn by a kill is closed off first.
        durable: Flush every row to the disk as well, so that rows survive a power cut, at about a millisecond each.

    Raises:
        StorageFull: No space is left.
    """

    def __init__(self, path: Path, *, durable: bool = False) -> None:
        self.path = path
        self.durable = durable
        torn = path.exists() and path.stat().st_size > 0 and not _ends_with_newline(path)
        with storage(path):
            self._descriptor = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)
        if torn:
            self._write(b"\n")

    def __enter__(self) -> CurveLog:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def append(self, row: Mapping[str, Any]) -> None:
        """Append one row; NaN and infinities are stored as null.

        Raises:
            StorageFull: No space is left; the rows before are intact.
        """
        try:
            line = _encode(row)
        except ValueError:
            line = _encode(finite(dict(row)))
        self._write(line.encode() + b"\n")

    def rewind(self, step: int) -> None:
        """Say that the run goes on at ``step``, so that rows a killed run wrote from there on do not count."""
        if os.fstat(self._descriptor).st_size:
            self.append({"step": step, "rewind": True})

    def _write(self, data: bytes) -> None:
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):  # a nearly full disk takes a part; the rest then raises what is wrong
                written += os.write(self._descriptor, data[written:])
            if self.durable:
                os.fsync(self._descriptor)
        except OSError:
            with storage(self.path):
                raise

    def close(self) -> None:
        """Release the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a log, one a step in order of step.

    A run that was killed and resumed writes the updates after its checkpoint again: it says so by a line with
    ``rewind``, and rows written before it count only up to that step. Of two values for one step the later wins; a line
    torn by the kill is passed over, because the resumed run wrote that update again.
    """
    rows: list[dict[str, Any]] = []
    with open(path, "rb") as file:
        for line in file:
            try:
                row = json.loads(line)
                row["step"] = int(row["step"])
            except (ValueError, KeyError, TypeError):
                continue
            if row.get("rewind"):
                rows = [kept for kept in rows if kept["step"] < row["step"]]
            else:
                rows.append(row)
    return merge_rows(rows)


def merge_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row a step, in order of step; of two values for the same name the later wins."""
    merged: dict[int, dict[str, Any]] = {}
    for row in rows:
        merged.setdefault(row["step"], {}).update(row)
    return [merged[step] for step in sorted(merged)]


def to_columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Return rows as columns of equal length, missing values as NaN; ``step`` is an integer column."""
    rows = list(rows)
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    columns: dict[str, NDArray[Any]] = {
        name: np.array([row.get(name) for row in rows], dtype=np.float64) for name in names
    }
    if "step" in columns:
        columns["step"] = columns["step"].astype(np.int64)
    return columns


def read_curve(folder: str | Path) -> dict[str, NDArray[Any]]:
    """Return a run's curve as columns.

    Args:
        folder: A run folder.

    Returns:
        ``step`` (int64) and float64 columns of the same length, such as ``tokens``, ``examples``, ``seconds``, ``lr``,
        ``loss``, ``grad_norm`` and ``val_loss``; NaN where an update has no such value.

    Raises:
        DataNotFound: The folder holds no curve.
        CorruptRun: The compacted table is damaged and no log is left beside it.
    """
    folder = Path(folder)
    table, log = folder / CURVE_TABLE, folder / CURVE_LOG
    if log.exists():
        return to_columns(read_log(log))
    if not table.exists():
        raise DataNotFound(f"No curve in {folder}: it has neither {CURVE_TABLE} nor {CURVE_LOG}. Is it a run folder?")
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(table) as file:
            read = file.read(
                use_threads=False
            )  # a curve is small: read_table's data set and threads cost twice as much
    except (pyarrow.ArrowException, OSError) as error:
        raise CorruptRun(f"{table} cannot be read ({error}); run it again.") from error
    return {name: read.column(name).to_numpy() for name in read.column_names}


def compact(folder: Path) -> None:
    """Replace a finished run's log by a Parquet table of the same rows, which is smaller and faster to read."""
    import pyarrow
    import pyarrow.parquet

    log, table = folder / CURVE_LOG, folder / CURVE_TABLE
    columns = to_columns(read_log(log))
    temporary = folder / f".{CURVE_TABLE}.tmp"
    with storage(table):
        try:
            pyarrow.parquet.write_table(pyarrow.table(columns), temporary, compression="zstd")
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())  # the log goes next: only one of the two would survive a power cut
            os.replace(temporary, table)
            sync_folder(folder)
        finally:
            temporary.unlink(missing_ok=True)
    log.unlink()


def expand(folder: Path) -> None:
    """Turn a compacted curve back into a log, so that a run that goes on can append to it."""
    table, log = folder / CURVE_TABLE, folder / CURVE_LOG
    if log.exists() or not table.exists():
        return
    columns = read_curve(folder)
    names = list(columns)
    rows = [
        {
            name: (int(value) if name == "step" else value)
            for name, value in zip(names, values, strict=True)
            if value == value
        }
        for values in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]
    write_atomically(log, "".join(_encode(row) + "\n" for row in rows))
    table.unlink()
