"""Loss curves from files: tables, run folders, the Trainer's state, TensorBoard's event files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import DataError, DataNotFound, MissingExtra, did_you_mean
from tutelage.forecast import LossCurve, logged_rates

Column = NDArray[np.float64]

#: What a column may be called, the first that is there being taken.
STEPS = ("step", "_step", "global_step", "train/global_step", "iteration", "iter")
LOSSES = ("loss", "val_loss", "eval_loss", "eval/loss", "validation_loss", "train_loss", "train/loss")
RATES = ("lr", "learning_rate", "train/learning_rate", "train/lr")
#: Fewest losses of a held-out set that are preferred to those of the training batches.
_ENOUGH = 20
#: Rows beyond which a table is thinned: laws have seven parameters at most.
_MOST = 1_000_000


@dataclass(frozen=True)
class CurveFile:
    """A curve as read from a file.

    Args:
        curve: The curve; its rates reach at least to the last step.
        has_rates: Whether the file gives learning rates; if not, those of ``curve`` are all 1.
        notes: What was left out or assumed.
    """

    curve: LossCurve
    has_rates: bool
    notes: tuple[str, ...]


def read_loss_curve(
    path: str | Path,
    *,
    loss: str | None = None,
    split: str | None = None,
    rates: ArrayLike | None = None,
    warmup: int | None = None,
) -> CurveFile:
    r"""Read a loss curve with its learning rates.

    Takes CSV (also gzipped), TSV, Parquet or JSON Lines with columns ``step``, ``lr``, ``loss`` and perhaps ``split``;
    the history that Weights & Biases exports; ``trainer_state.json``; a folder of TensorBoard event files; a run folder
    of this library. Rates logged every n updates are interpolated by :func:`tutelage.forecast.logged_rates`, which
    also tells the warm-up that a log does not show.

    Args:
        path: File or folder.
        loss: Column, or scalar tag, of the loss; else the usual names are tried.
        split: Value of the column ``split`` to read, such as ``val``; else the held-out one if it has 20 rows or more.
        rates: Rate of update 1, 2, ...; then those of the file do not count.
        warmup: Updates of warm-up; else read off the rates, as far as they rise from the first update on.

    Raises:
        DataNotFound: No such file or folder.
        DataError: No curve in it; names the file, and the column or row.
        MissingExtra: TensorBoard is needed and not installed.

    Example:
        >>> import pathlib, tempfile
        >>> table = pathlib.Path(tempfile.mkdtemp()) / "curve.csv"
        >>> _ = table.write_text("step,lr,loss\n10,0.001,4.0\n30,0.0005,3.5\n20,0.001,3.7\n")
        >>> read = read_loss_curve(table)
        >>> read.curve.losses.tolist(), read.curve.rates[[9, 19, 24, 29]].tolist(), read.notes
        ([4.0, 3.7, 3.5], [0.001, 0.001, 0.001, 0.0005], ('Rows were not in order of step; they were sorted.',))
    """
    path = Path(path)
    if not path.exists():
        raise DataNotFound(f"No file or folder {path}.")
    notes: list[str] = []
    planned: Column | None = None
    if path.is_dir() and (path / "run.json").is_file():
        columns, planned = _run_folder(path)
    elif path.is_dir():
        columns = _tensorboard(path)
    elif path.name == "trainer_state.json":
        columns = _trainer_state(path)
    else:
        columns = _table(path, loss, (STEPS, LOSSES if loss is None else (loss,)), notes)
    steps, losses, logged, mine = _pick(path, columns, loss, split, notes)
    given = planned if rates is None else np.asarray(rates, dtype=np.float64)
    usable = np.isfinite(steps) & (steps >= 1)
    missing = 0
    if given is None and logged is not None and np.isfinite(logged[usable]).any():
        known = usable & np.isfinite(logged)
        at, first = np.unique(steps[known].astype(np.int64), return_index=True)
        given, missing = logged_rates(at, logged[known][first])
        # The last losses may come without a rate: it is the last one logged.
        given = np.concatenate([given, np.full(max(0, int(steps[usable].max()) - len(given)), given[-1])])
    kept = usable & np.isfinite(losses) & mine
    # A loss before the first update, at step 0, is no fault: it is on no curve.
    faults = int((mine & ~kept & (steps != 0)).sum())
    if faults:
        notes.append(f"Left out for want of a step and a finite loss: {faults} row{'s' if faults > 1 else ''}.")
    steps, losses = steps[kept].astype(np.int64), losses[kept]
    if not len(steps):
        raise DataError(f"{path}: no row has a step from 1 on and a finite loss.")
    if (np.diff(steps) < 0).any():
        notes.append("Rows were not in order of step; they were sorted.")
    # Of two rows for a step the later counts: a run that was restarted wrote it again.
    at_step, place = np.unique(steps[::-1], return_index=True)
    if len(at_step) < len(steps):
        again = len(steps) - len(at_step)
        notes.append(f"{again} {'rows repeat' if again > 1 else 'row repeats'} a step; the last of each counts.")
    losses = losses[::-1][place]
    has_rates = given is not None
    if given is None:
        given = np.ones(int(at_step[-1]))
        notes.append("No learning rates: laws that need them cannot be fitted.")
    if warmup is None:
        warmup = (missing or _warmup(given)) if has_rates else 0
    try:
        curve = LossCurve.of(steps=at_step, losses=losses, rates=given, warmup=warmup, name=str(path))
    except ValueError as error:
        raise DataError(str(error)) from None
    return CurveFile(curve, has_rates, tuple(notes))


@dataclass(frozen=True)
class RateFile:
    """The learning rates of a file.

    Args:
        steps: Updates at which they are given, shape ``(points,)``.
        rates: Rate of update 1, 2, ..., shape ``(updates,)``.
        warmup: Updates of warm-up.
    """

    steps: NDArray[np.int64]
    rates: Column
    warmup: int


def read_rates(path: str | Path, *, warmup: int | None = None) -> RateFile:
    """Read the learning rates of a file that need not hold losses; see :func:`read_loss_curve`.

    Raises:
        DataNotFound: No such file.
        DataError: No steps or no rates in it.
    """
    path = Path(path)
    if not path.exists():
        raise DataNotFound(f"No file or folder {path}.")
    if path.is_dir() or path.name == "trainer_state.json":
        read = read_loss_curve(path, warmup=warmup)
        if not read.has_rates:
            raise DataError(_no_column(path, RATES, {}))
        return RateFile(read.curve.steps, read.curve.rates, read.curve.warmup)
    columns = _table(path, None, (STEPS, RATES), [])
    steps = columns[next(name for name in STEPS if name in columns)]
    logged = columns[next(name for name in RATES if name in columns)]
    known = np.isfinite(steps) & (steps >= 1) & np.isfinite(logged)
    if not known.any():
        raise DataError(f"{path}: no row has a step from 1 on and a learning rate.")
    at, first = np.unique(steps[known].astype(np.int64), return_index=True)
    rates, missing = logged_rates(at, logged[known][first])
    return RateFile(at, rates, (missing or _warmup(rates)) if warmup is None else warmup)


def _pick(
    path: Path, columns: Mapping[str, NDArray[Any]], loss: str | None, split: str | None, notes: list[str]
) -> tuple[Column, Column, Column | None, NDArray[np.bool_]]:
    """Return steps, losses, rates, and which rows are of the wished split."""
    step = next((name for name in STEPS if name in columns), None)
    if step is None:
        raise DataError(_no_column(path, STEPS, columns))
    found = [name for name in LOSSES if name in columns] if loss is None else [loss]
    if not found or found[0] not in columns:
        raise DataError(_no_column(path, found or LOSSES, columns))
    # A held-out loss has less noise than that of the training batches, if there is enough of it.
    others = [name for name in found if name != "loss" and "train" not in name]
    chosen = next((name for name in others if np.isfinite(columns[name]).sum() >= _ENOUGH), found[0])
    if len(found) > 1:
        notes.append(f"The loss is {chosen}; others there are {', '.join(name for name in found if name != chosen)}.")
    rate = next((name for name in RATES if name in columns), None)
    logged = None if rate is None else columns[rate]
    losses = columns[chosen]
    mine = np.ones(len(losses), dtype=np.bool_)
    if "split" in columns:
        labels = columns["split"].astype(str)
        names = sorted(set(labels.tolist()))
        held_out = [name for name in names if name != "train" and (labels == name).sum() >= _ENOUGH]
        wished = split or (held_out or [name for name in names if name == "train"] or names)[0]
        mine = labels == wished
        if not mine.any():
            raise DataError(f'{path}: no row has split "{wished}"; it has {", ".join(names)}.')
        if len(names) > 1:
            notes.append(f'The losses are those of split "{wished}", of {", ".join(names)}.')
    elif split is not None:
        raise DataError(f'{path}: no column "split" to choose "{split}" from; columns: {", ".join(columns)}.')
    else:
        # Trackers write rows for other things too; a row without any loss is no fault of the curve.
        mine = ~np.isnan(losses) if len(columns) > 3 else mine
    return columns[step], losses, logged, mine


def _no_column(path: Path, wished: Sequence[str], columns: Mapping[str, Any]) -> str:
    near = did_you_mean(wished[0], columns)
    known = f" (or {', '.join(wished[1:])})" if len(wished) > 1 else ""
    return f'{path}: no column "{wished[0]}"{known}.{near} Columns: {", ".join(columns) or "none"}.'


def _warmup(rates: Column) -> int:
    """Return the updates over which the rates rise from the first one on."""
    falls = np.flatnonzero(np.diff(rates) <= 0)
    rising = int(falls[0]) if len(falls) else len(rates) - 1
    return rising if rates[rising] > rates[0] else 0


def _table(path: Path, loss: str | None, needs: Sequence[Sequence[str]], notes: list[str]) -> dict[str, NDArray[Any]]:
    """Read the columns that are needed, by DuckDB, which holds no more than those in memory."""
    import duckdb

    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty.")
    kind = "".join(path.suffixes[-2:]).lower()
    reader = "read_csv_auto(?)"
    if kind.endswith(".parquet"):
        reader = "read_parquet(?)"
    elif kind.endswith((".jsonl", ".ndjson", ".jsonl.gz", ".json")):
        reader = "read_json_auto(?)"
    with duckdb.connect() as connection:
        try:
            names = [row[0] for row in connection.execute(f"describe select * from {reader}", [str(path)]).fetchall()]
            wanted = [name for name in names if name in {*STEPS, *LOSSES, *RATES, "split", loss}]
            for needed in needs:
                if not any(name in names for name in needed):
                    raise DataError(_no_column(path, needed, dict.fromkeys(names)))
            rows = connection.execute(f"select count(*) from {reader}", [str(path)]).fetchall()[0][0]
            every = -(-rows // _MOST)
            if every > 1:
                notes.append(f"Of {rows:,} rows each {every}th was read.")
            listed = ", ".join(
                f'"{name}"' if name == "split" else f'try_cast("{name}" as double) as "{name}"' for name in wanted
            )
            # The place of the row, not of what is left of it, so that the last row of a file is among those read.
            numbered = f"(select *, row_number() over () as place from {reader})"
            query = f"select {listed} from {numbered} where ({rows} - place) % {every} = 0 order by place"
            found = connection.execute(query, [str(path)]).fetchnumpy()
        except duckdb.Error as error:
            raise DataError(f"{path}: not a table of a loss curve ({' '.join(str(error).split())[:200]}).") from None
    columns = {name: np.ma.filled(np.ma.asarray(found[name]), np.nan if name != "split" else "") for name in wanted}
    return columns


def _trainer_state(path: Path) -> dict[str, NDArray[Any]]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        rows = [row for row in state["log_history"] if "step" in row]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a trainer_state.json of transformers ({error}).") from None
    return _columns(rows, ("step", "loss", "eval_loss", "learning_rate"))


def _tensorboard(path: Path) -> dict[str, NDArray[Any]]:
    if not any(path.glob("events.out.tfevents.*")):
        raise DataError(f"{path} is neither a run folder (run.json) nor one of TensorBoard event files.")
    try:
        # An optional library that ships no types.
        from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            EventAccumulator,
        )
    except ImportError:
        raise MissingExtra("Reading TensorBoard event files needs tensorboard: pip install tensorboard.") from None
    events = EventAccumulator(str(path), size_guidance={"scalars": 0})
    events.Reload()
    rows: dict[int, dict[str, float]] = {}
    for tag in events.Tags()["scalars"]:
        for point in events.Scalars(tag):
            rows.setdefault(point.step, {"step": point.step})[tag] = point.value
    if not rows:
        raise DataError(f"{path}: its event files hold no scalars.")
    names = dict.fromkeys(name for row in rows.values() for name in row)
    return _columns(list(rows.values()), tuple(names))


def _columns(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    there = [name for name in names if any(name in row for row in rows)]
    return {name: np.array([row.get(name, np.nan) for row in rows], dtype=np.float64) for name in there}


def _run_folder(path: Path) -> tuple[dict[str, NDArray[Any]], Column | None]:
    """Return a run's columns and the rate of every update of its plan, as far as it is known."""
    from tutelage.schedules import from_spec
    from tutelage.training.curve import read_curve as read_columns
    from tutelage.training.folder import read_run
    from tutelage.training.recipe import Recipe

    columns = {name: values.astype(np.float64) for name, values in read_columns(path).items()}
    known = np.isfinite(columns["lr"]) if "lr" in columns else np.zeros(0, dtype=bool)
    if not known.any():
        return columns, None
    # Rows count updates from 0 on.
    at, first = np.unique(columns["step"][known].astype(np.int64) + 1, return_index=True)
    made = columns["lr"][known][first]
    if len(at) < at[-1]:  # logged now and then
        made = logged_rates(at, made)[0]
    record = read_run(path)
    total = record.phases[-1].total_steps if record.phases else None
    if total is None or len(record.phases) != 1:
        return columns, made
    per_step = columns["tokens"][-1] / len(made) if "tokens" in columns else None
    spec = Recipe.parse(record.recipe).schedule
    schedule = from_spec(spec, total_steps=total, peak=record.peak, tokens_per_step=per_step)
    if not hasattr(schedule, "to_array") or len(made) >= total:
        return columns, made
    return columns, np.concatenate([made, schedule.to_array()[len(made) : total]])
