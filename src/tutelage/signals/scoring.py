"""One call scores a data set: in batches, kept by content, resumable, in several processes or on Ray."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, DataError
from tutelage.signals._cache import Hashes, ScoreStore, row_hashes, score_folder
from tutelage.signals._processes import Outcome, Task, apply, outcomes
from tutelage.signals._protocol import DIRECTIONS, Signal, key_of, own_fingerprint, spec_of
from tutelage.signals._rows import Rows, open_rows
from tutelage.signals.column import ScoreColumn

#: Rows read and hashed at once.
_STRETCH = 4096
#: Most rows in a batch whose size was not given.
_LARGEST = 8192
#: Scores are written once this many seconds have passed, so a kill costs little more.
_KEEP_EVERY = 1.0

__all__ = ["score"]


def score(
    data: Any,
    signal: str | Signal,
    *,
    column: str | None = None,
    name: str | None = None,
    batch_size: int | None = None,
    cache: bool | str | Path = True,
    resume: bool = True,
    num_proc: int = 1,
    on: str = "local",
    seed: int | None = None,
    watch: Callable[[int, int], None] | None = None,
    **arguments: Any,
) -> ScoreColumn:
    """Score every example of a data set by a signal.

    Scores are kept by the content of a row and the settings of the signal: a call that was interrupted goes on where it
    was, added rows cost only themselves, and rows that are equal are scored once.

    Args:
        data: A ``datasets.Dataset``, a list of dicts, a mapping of columns, a data frame, or what
            :func:`tutelage.workloads.open_data` finds: a JSONL, CSV or Parquet file, a folder, the name of a data set.
        signal: A spec such as ``"rarity:alpha=1"``, or a signal.
        column: Sets the signal's argument ``column``, the column it reads.
        name: Name of the result; the signal's spec name if not given.
        batch_size: Rows a batch, >= 1; if not given, as many as take about a second. Scores do not depend on it.
        cache: Whether scores are kept, or the folder to keep them in.
        resume: Use scores that are kept already; ``False`` scores all rows anew and replaces them.
        num_proc: Processes, >= 1.
        on: ``"local"``, or where Ray is: ``"ray"``, ``"ray:auto"``, ``"ray:HOST:PORT"``, ``"ray://HOST:PORT"``; there
            ``num_proc`` tasks run at a time.
        seed: Sets the signal's argument ``seed``; refused for one that draws nothing.
        watch: Called with the rows done and all rows, after each batch.
        **arguments: Arguments of the signal as Python values, beside those of its spec.

    Returns:
        The scores with their provenance.

    Raises:
        UnknownPart: No such signal; names the nearest.
        ConfigError: A spec that cannot be used, a column that is not there, no rows.
        DataNotFound: The data are not where they were said to be.
        DataError: A row that cannot be scored; names it.
        MissingExtra: The signal or Ray needs a package that is not installed.

    Example:
        >>> rows = [{"text": "A cat."}, {"text": None}, {"text": "A cat and a dog."}]
        >>> found = score(rows, "length:unit=words", cache=False)
        >>> found.values.tolist(), found.direction, found.missing
        ([2.0, nan, 5.0], 'hard', 1)
    """
    for what, value in (("batch_size", batch_size), ("num_proc", num_proc)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"score: {what} must be a whole number >= 1, got {value}.")
    part = _part(signal, column, seed, arguments)
    rows = open_rows(data)
    if not len(rows):
        raise ConfigError(f"{rows.label} holds no rows to score.")
    columns = columns_of(part, rows)
    rows.check(columns, part.spec_name)
    spec, began = spec_of(part), time.perf_counter()
    content = _look(rows, columns)
    there = np.flatnonzero(~content.missing)
    if hasattr(part, "prepare"):
        part = _prepared(part, rows, columns, there)
    spent = time.perf_counter() - began
    own = own_fingerprint(part)
    store = _store(part, cache, resume, seed)
    known = store.find(content.hashes) if store is not None else np.full(len(rows), np.nan)
    known[content.missing] = np.nan
    todo, same = _distinct(content.hashes, there[np.isnan(known[there])])
    work = _Work(part, rows, columns, content.hashes, store)
    if watch is not None:
        watch(len(rows) - len(same), len(rows))
    cost = work.carry_out(todo, known, batch_size, num_proc, on, _Progress(watch, len(rows), len(same), len(todo)))
    if len(todo):
        # Rows that are equal to one that was scored take its score.
        known[there[np.isin(there, same[:, 0])]] = known[same[:, 1]]
    return ScoreColumn(
        values=known,
        name=name or part.spec_name,
        direction=part.direction,
        per_example=part.per_example,
        signal=spec,
        data_hash=content.digest,
        model_hash=own,
        seed=getattr(part, "seed", None),
        seconds=cost.seconds + spent,
        tokens=cost.tokens,
        forward_passes=cost.forward_passes,
        scored=len(todo),
        notes=tuple(store.notes) if store is not None else (),
    )


def columns_of(signal: Any, rows: Rows) -> tuple[str, ...]:
    """Return the columns a signal reads; all there are for one that does not say."""
    said = getattr(signal, "columns", None)
    return tuple(dict.fromkeys(said())) if callable(said) else rows.columns


def _part(signal: Any, column: str | None, seed: int | None, arguments: Mapping[str, Any]) -> Any:
    from tutelage.signals import from_spec

    given = {key: value for key, value in {"column": column, "seed": seed, **arguments}.items() if value is not None}
    part = signal
    if isinstance(signal, str):
        part = from_spec(signal, **given)
    elif not (
        dataclasses.is_dataclass(signal)
        and not isinstance(signal, type)
        and hasattr(signal, "score")
        and hasattr(signal, "spec_name")
    ):
        raise ConfigError(
            f"score: a {type(signal).__name__} is no signal; give a spec such as length:unit=words, or a frozen "
            "dataclass with spec_name, direction, per_example, columns() and score(batch)."
        )
    known = [item.name for item in dataclasses.fields(part) if item.init]
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ConfigError(
            f"score: {part.spec_name} takes no argument {', '.join(unknown)}; it takes {', '.join(known) or 'none'}."
        )
    if given and not isinstance(signal, str):
        part = dataclasses.replace(part, **given)
    if part.direction not in DIRECTIONS:
        raise ConfigError(f'{part.spec_name}: direction must be {", ".join(DIRECTIONS)}, got "{part.direction}".')
    return part


class _Content(NamedTuple):
    """What the rows hold: a hash of each, which have a null, and a hash of all."""

    hashes: Hashes
    missing: NDArray[np.bool_]
    digest: str


def _look(rows: Rows, columns: Sequence[str]) -> _Content:
    hashes = np.empty((len(rows), 2), dtype=np.uint64)
    missing = np.zeros(len(rows), dtype=np.bool_)
    for numbers, batch in rows.stretches(columns, _STRETCH):
        place = slice(numbers.start, numbers.stop)
        hashes[place] = row_hashes(batch, columns)
        for name in columns:
            missing[place] |= [value is None for value in batch[name]]
    return _Content(hashes, missing, hashlib.blake2b(hashes.tobytes(), digest_size=16).hexdigest())


def _prepared(part: Any, rows: Rows, columns: Sequence[str], there: NDArray[np.int64]) -> Any:
    """Return the signal after its look at all rows without nulls."""
    at = 0

    def batches() -> Iterator[dict[str, list[Any]]]:
        nonlocal at
        for start in range(0, len(there), _STRETCH):
            at = start
            yield rows.take(there[start : start + _STRETCH].tolist(), columns)

    try:
        return part.prepare(batches())
    except Exception as error:
        row = getattr(error, "row", None)
        if row is None:
            raise
        raise DataError(f"{rows.where(int(there[at + row]))}: {error}") from None


def _store(part: Any, cache: bool | str | Path, resume: bool, seed: int | None) -> ScoreStore | None:
    if cache is False or not getattr(part, "cached", True):
        return None
    folder = score_folder() if cache is True else Path(cache).expanduser()
    path = folder / part.spec_name / f"{key_of(part, seed)}.scores"
    if not resume:
        path.unlink(missing_ok=True)
    return ScoreStore(path)


def _distinct(hashes: Hashes, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first row of each content, in order, and pairs of each row with that one, ``(len(rows), 2)``."""
    if not len(rows):
        return rows, np.empty((0, 2), dtype=np.int64)
    chosen = hashes[rows]
    order = np.lexsort((np.arange(len(rows)), chosen[:, 1], chosen[:, 0]))
    begins = np.ones(len(rows), dtype=np.bool_)
    begins[1:] = (chosen[order[1:]] != chosen[order[:-1]]).any(axis=1)
    first = np.empty(len(rows), dtype=np.int64)
    first[order] = order[begins][np.cumsum(begins) - 1]
    return rows[np.sort(order[begins])], np.column_stack([rows, rows[first]])


@dataclasses.dataclass
class _Cost:
    seconds: float = 0.0
    tokens: int = 0
    forward_passes: int = 0


@dataclasses.dataclass
class _Progress:
    """Rows that are done, those that take the score of another row counted with it."""

    watch: Callable[[int, int], None] | None
    total: int
    waiting: int
    distinct: int
    done: int = 0

    def add(self, rows: int) -> None:
        self.done += rows
        if self.watch is not None:
            self.watch(self.total - self.waiting + self.done * self.waiting // self.distinct, self.total)


class _Pace:
    """Rows a batch where the size was not given: as many as take about a second."""

    def __init__(self, fixed: int | None) -> None:
        self.fixed, self.size = fixed is not None, fixed or 16

    def learn(self, rows: int, seconds: float) -> None:
        if self.fixed or rows < self.size:
            return
        if seconds < 0.5:
            self.size = min(_LARGEST, 2 * self.size)
        elif seconds > 2.0:
            self.size = max(1, self.size // 2)


@dataclasses.dataclass
class _Work:
    """What it takes to score some rows and keep their scores."""

    part: Any
    rows: Rows
    columns: Sequence[str]
    hashes: Hashes
    store: ScoreStore | None

    def carry_out(
        self,
        todo: NDArray[np.int64],
        values: NDArray[np.float64],
        batch_size: int | None,
        num_proc: int,
        on: str,
        progress: _Progress,
    ) -> _Cost:
        """Score the rows ``todo`` into ``values``; what was scored is kept even where this ends early."""
        cost, pace = _Cost(), _Pace(batch_size)
        waiting: list[NDArray[np.int64]] = []
        kept = time.perf_counter()
        try:
            for task, outcome in outcomes(self.part, self._tasks(todo, pace), num_proc, on, apply):
                numbers = task.numbers
                values[numbers] = self._checked(task, outcome)
                waiting.append(numbers)
                cost.seconds += outcome.seconds
                cost.tokens += outcome.tokens
                cost.forward_passes += outcome.forward_passes
                pace.learn(len(numbers), outcome.seconds)
                progress.add(len(numbers))
                if time.perf_counter() - kept > _KEEP_EVERY:
                    self._keep(waiting, values)
                    waiting, kept = [], time.perf_counter()
        finally:
            self._keep(waiting, values)
        return cost

    def _tasks(self, todo: NDArray[np.int64], pace: _Pace) -> Iterator[Task]:
        start = 0
        while start < len(todo):
            numbers = todo[start : start + pace.size]
            start += len(numbers)
            yield Task(numbers, self.rows.take(numbers.tolist(), self.columns))

    def _keep(self, waiting: list[NDArray[np.int64]], values: NDArray[np.float64]) -> None:
        if self.store is not None and waiting:
            numbers = np.concatenate(waiting)
            self.store.add(self.hashes[numbers], values[numbers])

    def _checked(self, task: Task, outcome: Outcome) -> NDArray[np.float64]:
        if outcome.bad is not None:
            row, message = outcome.bad
            raise DataError(f"{self.rows.where(int(task.numbers[row]))}: {message}")
        if outcome.values.shape != task.numbers.shape:
            raise ConfigError(
                f"{self.part.spec_name}: score(batch) must return one number a row, shape {task.numbers.shape}, got "
                f"{outcome.values.shape}."
            )
        return outcome.values
