"""Columns of scores as files: Parquet, JSON Lines and CSV, beside the rows they belong to."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from tutelage.errors import DataError
from tutelage.storage import finite

#: Where a Parquet file says where its scores come from.
METADATA = b"tutelage.scores"


def as_columns(rows: Any) -> Mapping[str, Sequence[Any]]:
    """Return rows of any kind as columns."""
    if rows is None:
        return {}
    from tutelage.signals._rows import open_rows

    opened = open_rows(rows)
    return {name: opened.take(range(len(opened)), (name,))[name] for name in opened.columns}


def _rows(table: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for values in zip(*table.values(), strict=True):
        yield dict(zip(table, values, strict=True))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def as_jsonl(path: Path, table: Mapping[str, Sequence[Any]]) -> str:
    """Return a table as JSON Lines; NaN becomes null."""
    lines = []
    for number, row in enumerate(_rows(table), 1):
        try:
            shown = {name: finite(_plain(value)) for name, value in row.items()}
            lines.append(json.dumps(shown, ensure_ascii=False, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise DataError(f"{path} row {number}: cannot be written as JSON ({error}); write .parquet.") from None
    return "".join(f"{line}\n" for line in lines)


def as_csv(table: Mapping[str, Sequence[Any]]) -> str:
    """Return a table as CSV; NaN becomes an empty cell."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(table)
    for row in _rows(table):
        writer.writerow([_cell(_plain(value)) for value in row.values()])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return json.dumps(finite(value), ensure_ascii=False) if isinstance(value, (list, dict)) else value


def as_parquet(path: Path, table: Mapping[str, Sequence[Any]], said: Mapping[str, Any]) -> bytes:
    """Return a table as Parquet, with what is said of its columns."""
    import pyarrow
    import pyarrow.parquet

    try:
        arrow = pyarrow.table({name: _arrow(values) for name, values in table.items()})
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: a column holds values of several kinds ({reason}); write .jsonl.") from None
    stored = json.dumps({"version": 1, "columns": finite(said)}).encode()
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), METADATA: stored})
    out = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(arrow, out)
    return cast("bytes", out.getvalue().to_pybytes())


def _arrow(values: Sequence[Any]) -> Any:
    import pyarrow

    if isinstance(values, np.ndarray):
        # NaN says that there is no score, which readers of Parquet know as null.
        return pyarrow.array(values, mask=np.isnan(values)) if values.dtype.kind == "f" else pyarrow.array(values)
    return pyarrow.array(list(values))


def open_columns(path: Path) -> tuple[list[str], Any]:
    """Return the names of a file's columns and what gives the values of one."""
    if path.suffix.lower() == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            names = list(pyarrow.parquet.read_schema(path).names)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]}).") from None
        return names, lambda name: pyarrow.parquet.read_table(path, columns=[name]).column(0).to_pylist()
    from tutelage.signals._rows import open_rows

    rows = open_rows(path)
    return list(rows.columns), lambda name: rows.take(range(len(rows)), (name,))[name]
