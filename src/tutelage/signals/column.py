"""Scores as a stored column: the numbers, what they mean, where they come from, and what they cost.

``ScoreColumn(values, name, direction, ...)`` is what :func:`tutelage.signals.score` returns. ``save(path, rows)``
writes it beside the rows it scored, ``read_scores(path)`` reads it back; ``describe()`` is its summary as plain values.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import ConfigError, DataError, DataNotFound, did_you_mean
from tutelage.signals._protocol import DIRECTIONS, Direction
from tutelage.signals._score_files import METADATA, as_columns, as_csv, as_jsonl, as_parquet, open_columns
from tutelage.storage import write_atomically, write_json

#: What a file of scores may be called.
SCORE_SUFFIXES = (".parquet", ".jsonl", ".csv")
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreColumn:
    """One number for each example, with its provenance.

    Args:
        values: The scores, in the order of the data; NaN where there is none. Shape ``(n,)``, kept as float64.
        name: What the column is called.
        direction: What a high score means: ``"hard"``, ``"easy"``, ``"good"`` or ``"none"``.
        per_example: Whether single scores mean something; ``False`` if only means over many do.
        signal: Spec of the signal.
        data_hash: Hash of the scored content, in its order.
        model_hash: Hash of the model that scored, or of what else the signal says it rests on; empty for none.
        seed: Of signals that draw; ``None`` for the others.
        seconds: Time spent on scoring, on all processes together.
        tokens: Tokens that models read or wrote for it.
        forward_passes: Sequences that models were applied to.
        scored: Rows that were scored for it now; the others were stored, missing, or equal to those.
        notes: What to know about the scores.

    Raises:
        ValueError: Values that are no vector of numbers, or an unknown direction.

    Example:
        >>> column = ScoreColumn(values=[3.0, float("nan"), 1.0], name="length", direction="hard")
        >>> len(column), column.missing, column.hardness().tolist()
        (3, 1, [3.0, nan, 1.0])
    """

    values: NDArray[np.float64]
    name: str
    direction: Direction
    per_example: bool = True
    signal: str = ""
    data_hash: str = ""
    model_hash: str = ""
    seed: int | None = None
    seconds: float = 0.0
    tokens: int = 0
    forward_passes: int = 0
    scored: int = 0
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check the values and make them read-only."""
        try:
            values = np.array(self.values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"ScoreColumn: values must be numbers ({error}).") from None
        if values.ndim != 1:
            raise ValueError(f"ScoreColumn: values must have shape (n,), got {values.shape}.")
        if self.direction not in DIRECTIONS:
            raise ValueError(f'ScoreColumn: direction must be {", ".join(DIRECTIONS)}, got "{self.direction}".')
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "notes", tuple(self.notes))

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Be used where an array is."""
        return np.array(self.values, dtype=dtype) if copy else np.asarray(self.values, dtype=dtype)

    @property
    def missing(self) -> int:
        """How many examples have no score."""
        return int(np.isnan(self.values).sum())

    def hardness(self) -> NDArray[np.float64]:
        """Return the scores with their sign turned where needed, so that high = hard, as curricula expect.

        Raises:
            ConfigError: The scores say ``"good"`` or ``"none"``, which is neither hard nor easy.
        """
        if self.direction not in ("hard", "easy"):
            raise ConfigError(
                f'{self.name}: a high score means "{self.direction}", neither hard nor easy; say what it is to mean '
                "by dataclasses.replace(column, direction=...)."
            )
        return self.values.copy() if self.direction == "hard" else -self.values

    def describe(self) -> dict[str, Any]:
        """Return its summary as plain values: count, missing, moments, quantiles, provenance; ``None`` for none."""
        there = self.values[np.isfinite(self.values)]
        quantiles = np.quantile(there, _QUANTILES).tolist() if len(there) else [None] * len(_QUANTILES)
        return {
            "n": len(self),
            "missing": self.missing,
            "mean": float(there.mean()) if len(there) else None,
            "std": float(there.std()) if len(there) else None,
            "min": float(there.min()) if len(there) else None,
            "max": float(there.max()) if len(there) else None,
            "quantiles": {f"{share:g}": value for share, value in zip(_QUANTILES, quantiles, strict=True)},
            **self.provenance(),
        }

    def provenance(self) -> dict[str, Any]:
        """Return everything but the values, as plain values."""
        kept = (item.name for item in dataclasses.fields(self) if item.name != "values")
        return {name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in kept}

    def save(self, path: str | Path, rows: Any = None) -> None:
        """Write the scores, beside the rows they belong to where these are given; the old file or the new, never half.

        Args:
            path: ``.parquet``, ``.jsonl`` or ``.csv``; where the scores come from is kept inside a Parquet file, and
                beside others in ``NAME.scores.json``.
            rows: What was scored: a list of dicts, a mapping of columns, a ``datasets.Dataset``. A column of the same
                name is replaced; score columns that ``path`` holds already are not carried over unless in ``rows``.

        Raises:
            ConfigError: Another suffix.
            ValueError: Other than one row for each score.
            DataError: Rows that this kind of file cannot hold.
            StorageFull: No space is left; an older file is intact.
        """
        save_columns([self], path, rows)


def save_columns(
    columns: Sequence[ScoreColumn],
    path: str | Path,
    rows: Any = None,
    *,
    said: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write several columns of scores into one file; see :meth:`ScoreColumn.save`.

    Args:
        columns: The columns.
        path: The file.
        rows: What was scored.
        said: What :func:`score_columns` tells of columns that are in ``rows`` already, to be kept with them.
    """
    target = Path(path)
    check_suffix(target)
    table: dict[str, Any] = dict(as_columns(rows))
    for column in columns:
        wrong = next((name for name, values in table.items() if len(values) != len(column)), None)
        if wrong is not None:
            raise ValueError(
                f'{column.name}: {len(column)} scores for {len(table[wrong])} values of column "{wrong}"; '
                "give the rows that were scored."
            )
        table[column.name] = column.values
    known = {name: dict(facts) for name, facts in (said or {}).items() if name in table}
    known |= {column.name: column.provenance() for column in columns}
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix.lower() == ".parquet":
        write_atomically(target, as_parquet(target, table, known))
        return
    write_atomically(target, as_jsonl(target, table) if target.suffix.lower() == ".jsonl" else as_csv(table))
    write_json(_beside(target), {"version": 1, "columns": known})


def check_suffix(path: Path) -> None:
    """Refuse a file name that scores cannot be written to.

    Raises:
        ConfigError: Its suffix is none of :data:`SCORE_SUFFIXES`.
    """
    if path.suffix.lower() not in SCORE_SUFFIXES:
        raise ConfigError(f"{path}: scores are written to {', '.join(SCORE_SUFFIXES)}; give such a name.")


def read_scores(path: str | Path, name: str | None = None) -> ScoreColumn:
    """Return a column of scores that :meth:`ScoreColumn.save` wrote, or a column of numbers of any table.

    Args:
        path: A ``.parquet``, ``.jsonl`` or ``.csv`` file.
        name: Name of the column; may be left out where the file says of one column only that it holds scores.

    Returns:
        The scores; of a column without provenance the direction is ``"none"``.

    Raises:
        DataNotFound: There is no such file.
        ConfigError: No such column, several and no name, or another suffix.
        DataError: A value that is no number; names the row.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "scored.jsonl"
        >>> ScoreColumn(values=[2.0, 1.0], name="length", direction="hard").save(path, [{"text": "ab"}, {"text": "a"}])
        >>> path.read_text().splitlines()[0]
        '{"text": "ab", "length": 2.0}'
        >>> read_scores(path).direction
        'hard'
    """
    source = Path(path)
    check_suffix(source)
    if not source.is_file():
        raise DataNotFound(f"No file {source}.")
    said = score_columns(source)
    names, values_of = open_columns(source)
    known = [one for one in said if one in names]
    if name is None:
        if len(known) != 1:
            what = f"says of {len(known)} columns that they are scores" if known else "does not say which column it is"
            raise ConfigError(f"{source} {what}; name one. Columns: {', '.join(known or names)}.")
        name = known[0]
    if name not in names:
        raise ConfigError(f'{source}: no column "{name}".{did_you_mean(name, names)} Columns: {", ".join(names)}.')
    facts = {item.name: said[name][item.name] for item in _stored_fields() if item.name in said.get(name, {})}
    facts |= {"name": name, "direction": facts.get("direction", "none")}
    try:
        return ScoreColumn(values=numbers(values_of(name), source, name), **facts)
    except (TypeError, ValueError) as error:
        raise DataError(f"{source}: {error}") from None


def score_columns(path: str | Path) -> dict[str, dict[str, Any]]:
    """Return what a file says of its columns of scores, by name; empty where it says nothing."""
    source = Path(path)
    try:
        if source.suffix.lower() == ".parquet":
            import pyarrow.parquet

            metadata = pyarrow.parquet.read_schema(source).metadata or {}
            stored = json.loads(metadata.get(METADATA, b"{}"))
        else:
            stored = json.loads(_beside(source).read_text(encoding="utf-8"))
        return dict(stored.get("columns", {}))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{source}: what it says of its scores cannot be read ({error}).") from None


def numbers(values: Sequence[Any], where: str | Path, name: str) -> NDArray[np.float64]:
    """Return a column as numbers: empty, null and "nan" are missing.

    Raises:
        DataError: Something else that is no number; names the row.
    """
    found = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            found[row] = math.nan if value is None or value == "" else float(value)
        except (TypeError, ValueError):
            raise DataError(f'{where} row {row + 1}: column "{name}" must be a number, got {value!r:.60}.') from None
    return found


def _stored_fields() -> list[dataclasses.Field[Any]]:
    return [item for item in dataclasses.fields(ScoreColumn) if item.name not in ("values", "name")]


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".scores.json")


def as_scores(values: ScoreColumn | ArrayLike, *, what: str, length: int | None = None) -> NDArray[np.float64]:
    """Return scores as an array: those of a column, or numbers given as they are.

    Args:
        values: The scores.
        what: What they are called in errors.
        length: How many there must be.

    Raises:
        ValueError: No vector of numbers, or another length.
    """
    found = values.values if isinstance(values, ScoreColumn) else np.asarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise ValueError(f"{what}: must have shape (n,), got {found.shape}.")
    if length is not None and len(found) != length:
        raise ValueError(f"{what}: {len(found)} scores for {length} examples; score the data they belong to.")
    return found
