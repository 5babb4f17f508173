"""Tables: CSV, TSV, Parquet and JSON Lines with one run, or one item of one run, a row."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.comparison.imports._reading import (
    Naming,
    Reading,
    flag,
    json_lines,
    json_of,
    number,
    numeric,
    text_of,
    whole,
)
from tutelage.errors import DataError, did_you_mean

Row = Mapping[str, Any]

#: Columns that say what a row is; every other column of numbers is a metric.
_IDENTITY = ("arm", "seed", "item", "workload", "budget", "recipe", "metric", "lower_is_better", "diverged")
_EFFORT = ("steps", "tokens", "seconds")
#: An index column, as tables written by pandas have it.
_INDEX = ("", "Unnamed: 0", "__index_level_0__")


def read(files: Sequence[Path], naming: Naming, metric: str | None) -> Iterator[Reading]:
    """Yield what the rows of tables say.

    Args:
        files: ``.csv``, ``.tsv``, ``.parquet``, ``.jsonl``, or ``.json`` with a list of objects.
        naming: Tells arm and seed from the path where no column does.
        metric: Column wished for; then it alone must hold numbers.

    Raises:
        DataError: A column is missing, a cell has no sense; names the file and the line.
    """
    for path in files:
        yield from _readings(path, rows_of(path), naming, metric)


def rows_of(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows of a table, each with its file and line.

    Raises:
        DataError: The file is empty or broken.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        rows = _parquet(path)
    elif kind == ".json":
        stored = json_of(path)
        if not (isinstance(stored, list) and all(isinstance(row, dict) for row in stored)):
            raise DataError(f"{path}: a table in JSON must be a list of objects.")
        rows = [(f"{path}: row {place}", row) for place, row in enumerate(stored, 1)]
    elif kind in (".jsonl", ".ndjson"):
        rows = list(json_lines(path))
    else:
        rows = list(_separated(path, "\t" if kind == ".tsv" else ","))
    if not rows:
        raise DataError(f"{path} has no rows.")
    return rows


def header_of(path: Path) -> list[str]:
    """Return the column names of a CSV or TSV file, empty where it has none."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        return next(csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ","), [])


def _separated(path: Path, delimiter: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text_of(path), newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(reader)]
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise DataError(f'{path}:1: two columns are named "{twice}"; rename one.')
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path}:{reader.line_num}: {len(row)} values for {len(header)} columns ({', '.join(header)})."
                )
            yield f"{path}:{reader.line_num}", dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not a table: {error}.") from None


def _parquet(path: Path) -> list[tuple[str, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty.")
    try:
        stored = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file ({str(error).splitlines()[0]}).") from None
    return [(f"{path}: row {place}", row) for place, row in enumerate(stored, 1)]


def _readings(
    path: Path, rows: list[tuple[str, dict[str, Any]]], naming: Naming, metric: str | None
) -> Iterator[Reading]:
    columns = list(dict.fromkeys(name for _, row in rows for name in row if name not in _INDEX))
    _check_columns(path, columns, naming)
    # A misspelt column would change the result without a word; similar words for other things, such as time, would not.
    unsaid = [known for known in _IDENTITY if known not in columns]
    for name in columns:
        near = difflib.get_close_matches(name, unsaid, n=1, cutoff=0.8) if name != metric else []
        if near and name not in (*_IDENTITY, *_EFFORT):
            raise DataError(f'{path}: unknown column "{name}". Did you mean "{near[0]}"? Rename it, or leave it out.')
    long = "metric" in columns
    value = next((name for name in ("value", "score") if name in columns), None)
    if long and value is None:
        raise DataError(
            f'{path}: has a column "metric" and no column "value" beside it; columns: {", ".join(columns)}.'
        )
    metrics = [] if long else metric_columns([row for _, row in rows], columns, metric)
    if not (long or metrics):
        raise DataError(
            f"{path}: no column holds the numbers to compare; besides arm and seed there must be one named after the "
            f"metric, such as val_loss. Columns: {', '.join(columns)}."
        )
    unused = [name for name in columns if name not in (*_IDENTITY, *_EFFORT, *metrics, value if long else "")]
    remarks = (f"Columns passed over in {path.name}: {', '.join(unused)}.",) if unused else ()
    for where, row in rows:
        who = naming.identify(
            path,
            source=where,
            arm=row.get("arm"),
            seed=row.get("seed"),
            workload=_text(row, "workload"),
            budget=_text(row, "budget"),
        )
        names = {_text(row, "metric"): row.get(value or "")} if long else {name: row.get(name) for name in metrics}
        lower = flag(row.get("lower_is_better"), f"{where}: lower_is_better")
        yield Reading(
            source=where,
            arm=who.arm,
            seed=who.seed,
            item=_text(row, "item") or None,
            workload=who.workload,
            budget=who.budget,
            values={name: number(cell, f"{where}: {name}") for name, cell in names.items()},
            lower={} if lower is None else dict.fromkeys(names, lower),
            diverged=bool(flag(row.get("diverged"), f"{where}: diverged")),
            recipe=_text(row, "recipe"),
            steps=whole(row.get("steps"), f"{where}: steps"),
            tokens=whole(row.get("tokens"), f"{where}: tokens"),
            seconds=number(row.get("seconds"), f"{where}: seconds"),
            remarks=remarks,
        )


def metric_columns(rows: Sequence[Row], columns: Sequence[str], metric: str | None) -> list[str]:
    """Return the columns that hold metrics: those in which most cells that are filled in are numbers.

    A single cell that is none does not make the column a comment: it is reported when it is read.
    """
    if metric is not None:
        return [metric] if metric in columns else _mostly_numbers(rows, columns)
    return _mostly_numbers(rows, columns)


def _mostly_numbers(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    found = []
    for name in columns:
        if name in (*_IDENTITY, *_EFFORT):
            continue
        filled = [row[name] for row in rows if row.get(name) not in (None, "")]
        if 2 * sum(map(numeric, filled)) > len(filled):
            found.append(name)
    return found


def _check_columns(path: Path, columns: Sequence[str], naming: Naming) -> None:
    if "arm" in columns or naming.pattern is not None:
        return
    raise DataError(f'{path}: no column "arm".{did_you_mean("arm", columns)} Columns: {", ".join(columns)}.')


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value).strip()
