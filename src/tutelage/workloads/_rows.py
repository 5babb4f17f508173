"""Rows of JSONL, JSON, CSV, TSV and Parquet files, one at a time; every fault names the file and the line or row."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tutelage.errors import DataError, did_you_mean

#: What a plain text file may be called.
TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".py")
#: What a file of rows may be called.
ROW_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
_LONGEST_FIELD = 2**31 - 1
_MAGIC = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK\x03\x04": "a zip archive", b"%PDF": "a PDF file"}


def kind_of(path: Path) -> str:
    """Return a file's suffix without ``.gz``, in lower case."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def read_lines(path: Path) -> Iterator[str]:
    """Return the lines of a UTF-8 text file, compressed or not, with their line ends.

    Raises:
        DataError: The file is empty, is not UTF-8, or its compressed data are damaged or cut short.
    """
    compressed = path.name.lower().endswith(".gz")
    number = 0
    with gzip.open(path, "rb") if compressed else open(path, "rb") as file:
        while True:
            try:
                line = file.readline()
            except EOFError:
                raise DataError(
                    f"{path}: the compressed data stop in the middle, after line {number}; "
                    "copy or download the file again."
                ) from None
            except (gzip.BadGzipFile, zlib.error) as error:
                raise DataError(
                    f"{path}: not readable as gzip after line {number} ({error}); copy or download the file again."
                ) from None
            if not line:
                break
            number += 1
            if number == 1:
                _refuse_other_formats(path, line)
                line = line.removeprefix(b"\xef\xbb\xbf")
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path} line {number}: not UTF-8 (byte 0x{line[error.start]:02x} at column {error.start + 1}); "
                    f"convert it, for instance: iconv -f latin1 -t utf-8 {path.name} > new{kind_of(path)}"
                ) from None
    if not number:
        raise DataError(f"{path} is empty.")


def read_rows(path: Path, columns: Iterable[str] | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the rows of a file, each with where it stands, such as ``data.jsonl line 3``.

    Args:
        path: A ``.jsonl``, ``.ndjson``, ``.json``, ``.csv``, ``.tsv`` (each also ``.gz``) or ``.parquet`` file.
        columns: Columns every row must have; others may be left out of the rows.

    Raises:
        DataError: The file cannot be read, or a column is missing.
    """
    wanted = list(columns or ())
    kind = kind_of(path)
    if kind in (".csv", ".tsv"):
        return _read_csv(path, wanted)
    if kind == ".parquet":
        return _read_parquet(path, wanted)
    if kind in (".jsonl", ".ndjson"):
        return _read_jsonl(path, wanted)
    if kind == ".json":
        return _read_json(path, wanted)
    raise DataError(
        f'{path}: cannot read "{kind or path.name}" files; give '
        f"{', '.join((*ROW_SUFFIXES, *TEXT_SUFFIXES))} (or .gz of those)."
    )


def missing_column(where: str, column: str, present: Iterable[str]) -> DataError:
    """Return the error for a column that is not there."""
    names = [str(name) for name in present]
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return DataError(f'{where}: no column "{column}".{did_you_mean(column, names)} It has: {shown or "none"}.')


def as_text(value: Any, where: str, column: str) -> str:
    """Return ``value`` if it is text.

    Raises:
        DataError: It is missing or something else.
    """
    if isinstance(value, str):
        return value
    what = "is missing (null)" if value is None else f"is {type(value).__name__} {str(value)[:40]!r}, not text"
    raise DataError(f'{where}: column "{column}" {what}.')


def _refuse_other_formats(path: Path, start: bytes) -> None:
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise DataError(f"{path} is {what}, not UTF-8 text; convert it first.")
    if b"\x00" in start:
        raise DataError(f"{path} line 1: holds zero bytes, so it is not UTF-8 text; convert it first.")


def _check_object(value: Any, where: str, columns: list[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f'{where}: expected an object such as {{"text": "..."}}, got {str(value)[:40]!r}.')
    for column in columns:
        if column not in value:
            raise missing_column(where, column, value)
    return value


def _read_jsonl(path: Path, columns: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON: {error.msg} at column {error.colno}.") from None
        yield where, _check_object(value, where, columns)


def _read_json(path: Path, columns: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    lines = list(read_lines(path))
    text = "".join(lines)
    if not text.lstrip().startswith("["):
        yield from _read_jsonl(path, columns)
        return
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno}: not JSON: {error.msg} at column {error.colno}.") from None
    for number, value in enumerate(rows, 1):
        where = f"{path} row {number}"
        yield where, _check_object(value, where, columns)


def _read_csv(path: Path, columns: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    # The reader's own limit of 128 KiB a field is shorter than many documents.
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    lines = read_lines(path)
    first = next(lines)
    # Spreadsheets of many countries write semicolons; the header tells.
    delimiter = max(",", ";", "\t", key=lambda sign: len(next(csv.reader([first], delimiter=sign), [])))
    reader = csv.reader(_chain(first, lines), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        for column in columns:
            if column not in header:
                raise missing_column(f"{path} line 1", column, header)
        start = reader.line_num + 1
        for values in reader:
            where, start = f"{path} line {start}", reader.line_num + 1
            if not values:
                continue
            if len(values) != len(header):
                raise DataError(
                    f"{where}: {len(values)} fields, but the header has {len(header)}; "
                    f'a text that holds "{delimiter}" needs double quotes.'
                )
            yield where, dict(zip(header, values, strict=True))
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: not CSV: {error}.") from None


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _read_parquet(path: Path, columns: list[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    if not path.stat().st_size:
        raise DataError(f"{path} is empty.")
    number = 0
    try:
        file = pyarrow.parquet.ParquetFile(path)
        for column in columns:
            if column not in file.schema_arrow.names:
                raise missing_column(str(path), column, file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=1024, columns=columns or None):
            for row in batch.to_pylist():
                number += 1
                yield f"{path} row {number}", row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = re.sub(r"\s+", " ", str(error)).strip().rstrip(".")
        raise DataError(f"{path}: not a readable Parquet file (after row {number}): {reason}.") from None
