"""The rows a signal scores: a data set, a list of dicts, columns, or a file; read in stretches, never all at once."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.errors import ConfigError, DataError, did_you_mean

#: The readers of files stand above the signals, beside the workloads, and are found on first use by name, as the parts
#: of other packages are.
_READERS = "tutelage.workloads.data"


@dataclass(frozen=True)
class Rows:
    """Rows by number.

    Args:
        label: What to call them in errors.
        columns: Names of their columns.
        length: How many there are.
        get: ``get(numbers, columns)`` returns the columns of some rows.
        where: ``where(number)`` says where a row stands, such as ``data.jsonl line 3``.
    """

    label: str
    columns: tuple[str, ...]
    length: int
    get: Callable[[Sequence[int], Sequence[str]], dict[str, list[Any]]]
    where: Callable[[int], str]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.length

    def take(self, numbers: Sequence[int], columns: Sequence[str]) -> dict[str, list[Any]]:
        """Return some columns of some rows, in the order of ``numbers``."""
        return self.get(numbers, columns)

    def stretches(self, columns: Sequence[str], size: int) -> Iterator[tuple[range, dict[str, list[Any]]]]:
        """Return all rows, ``size`` at a time, with their numbers."""
        for start in range(0, self.length, size):
            numbers = range(start, min(start + size, self.length))
            yield numbers, self.get(numbers, columns)

    def check(self, columns: Sequence[str], signal: str) -> None:
        """Refuse columns that are not there.

        Raises:
            ConfigError: Names the missing column and the nearest one.
        """
        for name in columns:
            if name not in self.columns:
                known = ", ".join(self.columns[:20]) + (", ..." if len(self.columns) > 20 else "")
                raise ConfigError(
                    f'{signal} reads column "{name}", and {self.label} has none.{did_you_mean(name, self.columns)} '
                    f"It has: {known or 'none'}."
                )


def open_rows(data: Any) -> Rows:
    """Return the rows of a ``datasets.Dataset``, a list of dicts, a mapping of columns, a data frame, or a file.

    Args:
        data: One of those; a path, a folder, a name or ``hub:NAME`` is found as everywhere else
            (:func:`tutelage.workloads.open_data`). Text files have one column, ``text``, a document a row.

    Raises:
        ConfigError: Something else, no rows, or columns of different lengths.
        DataNotFound: There is no such file.
        DataError: A file that cannot be read; names the line.
    """
    if isinstance(data, Rows):
        return data
    if isinstance(data, (str, os.PathLike)):
        return _from_files(os.fspath(data))
    if hasattr(data, "column_names") and hasattr(data, "select_columns"):
        return _from_dataset(data)
    if isinstance(data, Mapping) and hasattr(data, "num_rows"):
        raise ConfigError(f"A {type(data).__name__} holds several data sets ({', '.join(data)}); score one of them.")
    if hasattr(data, "to_dict") and hasattr(data, "columns") and hasattr(data, "iloc"):
        return _from_columns("the data frame", {str(name): data[name].tolist() for name in data.columns})
    if isinstance(data, Mapping):
        return _from_columns("the data", data)
    if isinstance(data, Sequence):
        return _from_list("the data", data)
    raise ConfigError(
        f"A {type(data).__name__} cannot be scored; give a datasets.Dataset, a list of dicts, a mapping of columns, or "
        "the path of a file."
    )


def _from_dataset(data: Any, label: str = "the data set") -> Rows:
    names = tuple(data.column_names)
    plain = data.with_format(None)
    views: dict[tuple[str, ...], Any] = {}

    def get(numbers: Sequence[int], columns: Sequence[str]) -> dict[str, list[Any]]:
        chosen = tuple(columns)
        view = views.setdefault(chosen, plain.select_columns(list(chosen)))
        if isinstance(numbers, range) and numbers.step == 1:
            found = view[numbers.start : numbers.stop]
        else:
            found = view[list(numbers)]
        return {name: list(found[name]) for name in chosen}

    return Rows(label, names, len(data), get, lambda number: f"row {number + 1}")


def _from_columns(label: str, data: Mapping[str, Sequence[Any]]) -> Rows:
    columns = {str(name): values for name, values in data.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ConfigError(f"{label}: columns differ in length ({told}).")

    def get(numbers: Sequence[int], names: Sequence[str]) -> dict[str, list[Any]]:
        return {name: [columns[name][number] for number in numbers] for name in names}

    return Rows(label, tuple(columns), next(iter(lengths.values()), 0), get, lambda number: f"row {number + 1}")


def _from_list(label: str, data: Sequence[Any], places: Sequence[str] | None = None) -> Rows:
    names: dict[str, None] = {}
    for number, row in enumerate(data):
        if not isinstance(row, Mapping):
            hint = ' as {"text": ...}' if isinstance(row, str) else ""
            raise ConfigError(f"{label} row {number + 1}: must be a dict{hint}, got {type(row).__name__}.")
        names.update(dict.fromkeys(row))

    def get(numbers: Sequence[int], columns: Sequence[str]) -> dict[str, list[Any]]:
        return {name: [data[number].get(name) for number in numbers] for name in columns}

    def where(number: int) -> str:
        return places[number] if places is not None else f"row {number + 1}"

    return Rows(label, tuple(names), len(data), get, where)


def _from_files(path: str) -> Rows:
    source = importlib.import_module(_READERS).open_data(path)
    if source.dataset is not None:
        return _from_dataset(source.dataset, source.label)
    if source.plain:
        return _from_columns(source.label, {"text": list(source.texts("text"))})
    rows: list[Mapping[str, Any]] = []
    places: list[str] = []
    for where, row in source.rows(()):
        rows.append(row)
        places.append(where)
    if not rows:
        raise DataError(f"{source.label} holds no rows.")
    return _from_list(source.label, rows, places)
