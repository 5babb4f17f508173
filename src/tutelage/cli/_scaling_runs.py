"""Runs for a scaling law: from run folders, from tables of curves, and from tables of final losses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tutelage.errors import ConfigError, DataError, DataNotFound, did_you_mean

if TYPE_CHECKING:
    from tutelage.forecast.kaplan_fit import ScalingRun
    from tutelage.training.folder import RunRecord

#: Columns of tables; those of the second kind may be left out.
NEEDED, OPTIONAL = ("size", "loss"), ("batch_tokens", "step", "tokens", "run", "embeddings", "lr")
#: Parameters of these names belong to embeddings and output layers.
_EMBEDDINGS = ("embed", "wte", "wpe", "lm_head")
#: A curve whose rate ends below this share of its peak is one of a decaying rate.
_DECAYED = 0.5


class End(NamedTuple):
    """Where one run ended."""

    size: float
    tokens: float
    loss: float


@dataclasses.dataclass(frozen=True)
class ScalingData:
    """What was read.

    Args:
        curves: Runs with their losses by update.
        ends: Every run's final loss.
        decayed: Curves whose learning rate fell to less than half of its peak.
        notes: What was left out or looks odd.
    """

    curves: tuple[ScalingRun, ...]
    ends: tuple[End, ...]
    decayed: int
    notes: tuple[str, ...]


def read_scaling(
    paths: Sequence[Path],
    *,
    loss: str = "val_loss",
    where: str | None = None,
    columns: Mapping[str, str] | None = None,
    warmup: int | None = None,
) -> ScalingData:
    """Read runs below folders, and tables (CSV, TSV, Parquet, JSON Lines).

    Args:
        paths: Folders that hold runs at any depth, and files.
        loss: Column of a run's curve; a table has it as ``loss``, or as ``columns`` says.
        where: SQL condition on run folders.
        columns: What a table calls the columns of :data:`NEEDED` and :data:`OPTIONAL`.
        warmup: Updates of warm-up; else read off the learning rates, 0 where there are none.

    Raises:
        DataNotFound: No such file or folder.
        DataError: A column or number is missing; names file and line.
        ConfigError: A folder without finished runs, or of several workloads; a run whose size cannot be told.
    """
    curves: list[ScalingRun] = []
    ends: list[End] = []
    notes: list[str] = []
    decayed = 0
    for path in paths:
        if not path.exists():
            raise DataNotFound(f"No file or folder {path}.")
        if path.is_dir():
            found, fallen = _of_folders(path, loss=loss, where=where, warmup=warmup, notes=notes)
            decayed += fallen
            curves += found
            ends += [_end(run) for run in found]
            continue
        rows = _rows(path, columns or {})
        if "step" in rows[0][1]:
            found, fallen = _of_curves(path, rows, warmup=warmup)
            decayed += fallen
            curves += found
            ends += [_end(run) for run in found]
        else:
            ends += [_final(place, row) for place, row in rows]
    return ScalingData(tuple(curves), tuple(ends), decayed, tuple(dict.fromkeys(notes)))


def _end(run: ScalingRun) -> End:
    return End(run.size, run.tokens, float(run.losses[-1]))


def _of_folders(
    root: Path, *, loss: str, where: str | None, warmup: int | None, notes: list[str]
) -> tuple[list[ScalingRun], int]:
    from tutelage.training.folder import read_run
    from tutelage.training.query import query_runs
    from tutelage.training.recipe import Recipe

    rows = query_runs(root, where=where).to_pylist()
    ended = [row for row in rows if row["status"] == "finished"]
    if not ended:
        raise ConfigError(f"{root} holds no finished run{'' if where is None else f' where {where}'}.")
    if len(ended) < len(rows):
        notes.append(f"{len(rows) - len(ended)} runs in {root} did not finish or are damaged; they were left out.")
    kinds = sorted({row["workload"] for row in ended})
    if len(kinds) > 1:
        raise ConfigError(
            f'{root} holds runs of {len(kinds)} workloads ({", ".join(kinds)}); choose one with --where "workload = '
            f"'{kinds[0]}'\"."
        )
    recipes = {
        str(dataclasses.replace(Recipe.parse(row["recipe"]).with_peak(1.0), peak=None, batch_size=None))
        for row in ended
    }
    if len(recipes) > 1:
        notes.append(f"The runs in {root} are of {len(recipes)} recipes; a law is about one. Choose with --where.")
    found, decayed = [], 0
    for row in ended:
        folder = Path(row["folder"])
        run, fell = _run(folder, read_run(folder), row, loss=loss, warmup=warmup)
        found.append(run)
        decayed += fell
    return found, decayed


def _run(
    folder: Path, record: RunRecord, row: Mapping[str, Any], *, loss: str, warmup: int | None
) -> tuple[ScalingRun, bool]:
    import numpy as np

    from tutelage.forecast.kaplan_fit import ScalingRun
    from tutelage.training.curve import read_curve

    if not row["tokens"] or not row["steps"]:
        raise ConfigError(f"The run in {folder} counts no tokens; scaling laws are about tokens.")
    curve = read_curve(folder)
    if loss not in curve:
        known = [name for name in curve if "loss" in name]
        raise ConfigError(f'{folder}: its curve has no "{loss}"; --metric can be {", ".join(known)}.')
    there = np.isfinite(curve[loss])
    rates = curve["lr"][np.isfinite(curve["lr"])]
    run = ScalingRun(
        N=parameters_without_embeddings(record, folder),
        B=row["tokens"] / row["steps"],
        # A row is named after the update, counted from 0, whose end it tells of.
        steps=curve["step"][there] + 1,
        losses=curve[loss][there],
        warmup=_rising(rates) if warmup is None else warmup,
        name=str(folder),
    )
    return run, _has_decayed(rates)


def parameters_without_embeddings(record: RunRecord, folder: Path) -> float:
    """Return the parameters of a run's model without those of embeddings and output layer.

    Said by the workload (its note ``non_embedding_parameters``), else by the size of our decoder, else by the names of
    the weights that the run kept.

    Raises:
        ConfigError: None of them tells it.
    """
    from tutelage.specs import parse_spec
    from tutelage.training.folder import CHECKPOINTS

    said = record.notes.get("non_embedding_parameters")
    if isinstance(said, (int, float)) and said > 0:
        return float(said)
    arguments = parse_spec(record.workload_spec).arguments if record.workload_spec else {}
    if record.workload == "text-lm" and "model" not in arguments:
        from tutelage.models.decoder import DecoderConfig
        from tutelage.workloads import TextLM

        size = arguments.get("size", TextLM.size)
        return float(DecoderConfig.preset(size, vocabulary_size=1).non_embedding_parameters)
    kept = sorted((folder / CHECKPOINTS).glob("step-*/model.safetensors"))
    if not kept:
        raise ConfigError(
            f"{folder}: the size of its model is not known. Keep the weights of runs (--keep-weights), give the "
            "workload the note non_embedding_parameters, or put the runs in a table with a column size."
        )
    from safetensors import safe_open

    with safe_open(kept[-1], framework="numpy") as weights:
        shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118 -- no mapping
    counts = {name: math.prod(shape) for name, shape in shapes.items()}
    return float(sum(count for name, count in counts.items() if not any(part in name for part in _EMBEDDINGS)))


def _rising(rates: Any) -> int:
    """Return the updates over which rates rise from the first one on."""
    import numpy as np

    falls = np.flatnonzero(np.diff(rates) <= 0)
    rising = int(falls[0]) if len(falls) else max(len(rates) - 1, 0)
    return rising if len(rates) and rates[rising] > rates[0] else 0


def _has_decayed(rates: Any) -> bool:
    return bool(len(rates) and rates[-1] < _DECAYED * rates.max())


def _rows(path: Path, columns: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """Return a table's rows under the names of :data:`NEEDED` and :data:`OPTIONAL`."""
    from tutelage.comparison.imports._table import rows_of

    rows = rows_of(path)
    there = list(dict.fromkeys(name for _, row in rows for name in row))
    wished = {name: columns.get(name, name) for name in (*NEEDED, *OPTIONAL)}
    for name, theirs in wished.items():
        if (name in NEEDED or name in columns) and theirs not in there:
            raise DataError(f'{path}: no column "{theirs}".{did_you_mean(theirs, there)} Columns: {", ".join(there)}.')
    if wished["step"] not in there and wished["tokens"] not in there:
        raise DataError(
            f'{path}: needs a column "tokens" beside size and loss, or "step" and "batch_tokens" for curves; columns: '
            f"{', '.join(there)}."
        )
    if wished["step"] in there and wished["batch_tokens"] not in there:
        raise DataError(f'{path}: a table of curves needs "batch_tokens", the tokens of one update, beside "step".')
    kept = {name: theirs for name, theirs in wished.items() if theirs in there}
    return [(place, {name: row.get(theirs) for name, theirs in kept.items()}) for place, row in rows]


def _number(row: Mapping[str, Any], name: str, place: str) -> float:
    from tutelage.comparison.imports._reading import number

    value = number(row.get(name), f"{place}: {name}")
    if value is None:
        raise DataError(f"{place}: {name} is empty.")
    return value


def _final(place: str, row: Mapping[str, Any]) -> End:
    size = _number(row, "size", place) - (_number(row, "embeddings", place) if "embeddings" in row else 0.0)
    tokens, loss = (_number(row, name, place) for name in ("tokens", "loss"))
    for name, value in (("size", size), ("tokens", tokens), ("loss", loss)):
        if not value > 0:
            raise DataError(f"{place}: {name} must be > 0, got {value:g}.")
    return End(size, tokens, loss)


def _of_curves(
    path: Path, rows: Sequence[tuple[str, Mapping[str, Any]]], *, warmup: int | None
) -> tuple[list[ScalingRun], int]:
    from tutelage.forecast.kaplan_fit import ScalingRun

    groups: dict[tuple[Any, ...], dict[int, tuple[float, float]]] = {}
    embeddings: dict[tuple[Any, ...], float] = {}
    for place, row in rows:
        size, batch, step, loss = (_number(row, name, place) for name in ("size", "batch_tokens", "step", "loss"))
        key = (str(row.get("run", "")), size, batch)
        points = groups.setdefault(key, {})
        if step != int(step) or step < 1:
            raise DataError(f"{place}: step must be a whole number >= 1, got {step:g}.")
        if int(step) in points:
            raise DataError(f'{place}: step {step:g} of this run is there twice; tell runs apart by a column "run".')
        points[int(step)] = loss, _number(row, "lr", place) if "lr" in row else 1.0
        embeddings[key] = _number(row, "embeddings", place) if "embeddings" in row else 0.0
    import numpy as np

    found, decayed = [], 0
    for (name, size, batch), points in groups.items():
        steps = sorted(points)
        losses, rates = (np.array([points[step][place] for step in steps]) for place in (0, 1))
        label = f"{path}: {name or 'the run'} of size {size:g} at batch {batch:g}"
        try:
            held = (steps[_rising(rates)] if _rising(rates) else 0) if warmup is None else warmup
            run = ScalingRun(
                N=size,
                B=batch,
                steps=np.array(steps),
                losses=losses,
                warmup=held,
                embeddings=embeddings[name, size, batch],
                name=label,
            )
        except ValueError as error:
            raise DataError(str(error)) from None
        found.append(run)
        decayed += _has_decayed(rates)
    return found, decayed
