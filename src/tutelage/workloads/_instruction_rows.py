"""Rows of instruction data: read or generated, chosen by task, and put into parts by the hash of their input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError, did_you_mean
from tutelage.forecast.nested import nested_subsets
from tutelage.workloads._cache import content_key, file_digest
from tutelage.workloads._rows import as_text, missing_column, read_rows
from tutelage.workloads._tasks import VERSION, Row, chosen_tasks, generated_rows
from tutelage.workloads._tokens import VALIDATION_FRACTION, passage_hash
from tutelage.workloads.data import find_named, open_data

#: The named data set of two files: what the tasks are, and their instances.
SNI = "instr-sni"
_SNI_FILES = ("tasks.jsonl", "instances.jsonl.gz")
#: What the column of the instruction may be called.
_INSTRUCTION = ("instruction", "definition")
#: The task of rows that name none.
ONE_TASK = "all"
_HASHES = 2.0**64
TRAIN, VALIDATION, TEST = 0, 1, 2


class RowSource:
    """Where rows come from: ``digest`` stands for all that decides them, :meth:`rows` reads them.

    Args:
        data: Data as :func:`tutelage.workloads.open_data` takes, a folder or name in the layout of
            Super-NaturalInstructions (``tasks.jsonl`` and ``instances.jsonl.gz``), or ``None`` for generated tasks.
        tasks: Names of tasks or groups; all of them where ``None``.

    Raises:
        DataNotFound: The data are not there.
        ConfigError: A generated task that does not exist.
    """

    def __init__(self, data: str | None, tasks: Sequence[str] | None) -> None:
        self.label = data or "the generated tasks"
        self.tasks = tasks
        self._data = data
        if data is None:
            self._names = chosen_tasks(tasks)
            self.digest = content_key("generated", VERSION, *self._names)
            return
        self._folder = find_named(SNI) if data == SNI else _two_files(data)
        if self._folder is not None:
            content = [file_digest(self._folder / name) for name in _SNI_FILES]
        else:
            self._source = open_data(data)
            content = [self._source.digest]
        self.digest = content_key("rows", *content, *(["all"] if tasks is None else tasks))

    def rows(self) -> list[Row]:
        """Return the rows of the chosen tasks.

        Raises:
            DataError: A row cannot be used, or a task is not among them; names file and line or row.
        """
        if self._data is None:
            return list(generated_rows(self._names))
        found = list(_two_file_rows(self._folder) if self._folder is not None else _table_rows(self._source))
        if not found:
            raise DataError(f"{self.label} holds no rows.")
        if self.tasks is None:
            return found
        known = {row.task for row in found} | {row.group for row in found if row.group}
        for name in self.tasks:
            if name not in known:
                raise DataError(f'{self.label}: no task or group "{name}".{did_you_mean(name, known)}')
        return [row for row in found if row.task in self.tasks or row.group in self.tasks]


def parts_of(rows: Sequence[Row], label: str, *, test: bool) -> NDArray[np.int64]:
    """Return the part of each row, ``TRAIN``, ``VALIDATION`` or ``TEST``, by the hash of its input, task by task.

    A tenth is held out for validation, the next tenth for testing where that is wanted; at least one input each where a
    task has enough. An input that several tasks share is in the same part in all of them, tiny tasks aside.

    Raises:
        DataError: No task has enough different inputs to hold one out.
    """
    hashes = np.array([passage_hash(row.input or row.definition) / _HASHES for row in rows])
    parts = np.full(len(rows), TRAIN)
    for chosen in by_task(rows).values():
        distinct = np.unique(hashes[chosen])
        if len(distinct) < (3 if test else 2):
            continue
        spare = 1 if test else 0
        first = int(np.clip(np.searchsorted(distinct, VALIDATION_FRACTION), 1, len(distinct) - 1 - spare))
        parts[chosen[hashes[chosen] < distinct[first]]] = VALIDATION
        if test:
            after = np.searchsorted(distinct, 2 * VALIDATION_FRACTION)
            second = int(np.clip(after, first + 1, len(distinct) - 1))
            parts[chosen[(hashes[chosen] >= distinct[first]) & (hashes[chosen] < distinct[second])]] = TEST
    if not (parts == VALIDATION).any():
        raise DataError(
            f"{label}: no task has {'three' if test else 'two'} different inputs, so none can be held out; give more "
            "rows a task, or leave the column task out."
        )
    return parts


def by_task(rows: Sequence[Row]) -> dict[str, NDArray[np.int64]]:
    """Return the places of each task's rows."""
    places: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        places.setdefault(row.task, []).append(number)
    return {task: np.array(found) for task, found in places.items()}


def first_of_each(rows: Sequence[Row], chosen: NDArray[np.int64], limit: int | None, seed: int) -> NDArray[np.int64]:
    """Return at most ``limit`` of the ``chosen`` rows of each task; a smaller limit gives a part of a larger one's.

    Args:
        rows: All rows.
        chosen: Places of those to choose from.
        limit: Rows of a task at most; all where ``None``.
        seed: Which ones.
    """
    if limit is None:
        return chosen
    kept = []
    for places in by_task([rows[place] for place in chosen]).values():
        size = min(limit, len(places))
        kept.append(places[nested_subsets(len(places), sizes=[size], seed=seed)[0]] if size else places[:0])
    return chosen[np.sort(np.concatenate(kept))] if kept else chosen


def _table_rows(source: Any) -> Iterator[Row]:
    for where, row in source.rows([]):
        yield _row(row, where)


def _row(row: Mapping[str, Any], where: str) -> Row:
    for column in ("input", "output"):
        if column not in row:
            raise missing_column(where, column, row)
    named = next((name for name in _INSTRUCTION if row.get(name) is not None), None)
    definition = "" if named is None else as_text(row[named], where, named)
    given = "" if row["input"] is None else as_text(row["input"], where, "input")
    if not given.strip() and not definition.strip():
        raise DataError(f"{where}: instruction and input are both empty.")
    return Row(
        task=_name(row.get("task"), where, "task") or ONE_TASK,
        group=_name(row.get("group"), where, "group"),
        definition=definition.strip(),
        input=given.strip(),
        outputs=_outputs(row["output"], where),
    )


def _name(value: Any, where: str, column: str) -> str:
    return "" if value is None or value == "" else as_text(value, where, column).strip()


def _outputs(value: Any, where: str) -> tuple[str, ...]:
    """Return the right answers: a text, or a list of them."""
    given = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    texts = tuple(as_text(text, where, "output").strip() for text in given)
    if not texts or not all(texts):
        raise DataError(f"{where}: no answer: output is empty, and an example without an answer teaches nothing.")
    return texts


def _two_files(data: str) -> Path | None:
    folder = Path(data).expanduser()
    return folder if all((folder / name).is_file() for name in _SNI_FILES) else None


def _two_file_rows(folder: Path) -> Iterator[Row]:
    tasks: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {}
    for where, task in read_rows(folder / _SNI_FILES[0], ["task", "definition"]):
        kinds = task.get("categories") or [""]
        positives = tuple((str(one["input"]), str(one["output"])) for one in task.get("positive_examples") or ())
        tasks[task["task"]] = (as_text(task["definition"], where, "definition").strip(), str(kinds[0]), positives)
    for where, row in read_rows(folder / _SNI_FILES[1], ["task", "input", "output"]):
        if row["task"] not in tasks:
            raise DataError(f'{where}: task "{row["task"]}" is not in {_SNI_FILES[0]}.')
        definition, kind, positives = tasks[row["task"]]
        given = as_text(row["input"], where, "input").strip()
        yield Row(row["task"], kind, definition, given, _outputs(row["output"], where), positives)
