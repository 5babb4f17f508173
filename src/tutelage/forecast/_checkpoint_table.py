"""A table of scores over checkpoints: read, checked, normalised by chance, smoothed and brought to common tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from tutelage.errors import DataError, did_you_mean

Floats = NDArray[np.float64]
Smooth = Literal["mean", "isotonic", "none"]

#: Domain of rows that hold a loss: no ability, no chance level, lower is better.
LOSS_DOMAIN = "loss"
FEWEST = 5
#: Where a record stands, such as "scores.csv:7", where its reader knows that.
PLACE = ""
COLUMNS = ("run", "step", "tokens", "task", "score", "chance", "domain")


class ArrowTable(Protocol):
    """What a ``pyarrow.Table`` is here; polars calls the same ``to_dicts``."""

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return the rows."""


#: Records, columns, or an Arrow table.
Table = Sequence[Mapping[str, Any]] | Mapping[str, Any] | ArrowTable


@dataclass(frozen=True, eq=False)
class Series:
    """One task in one run, in order of tokens: each of shape ``(checkpoints,)``; ``ci`` is NaN where none is known."""

    steps: Floats
    tokens: Floats
    scores: Floats
    ci: Floats


@dataclass(frozen=True, eq=False)
class Checkpoints:
    """A table that was read: series by run and task, chance and domain by task, losses by run."""

    series: Mapping[str, Mapping[str, Series]]
    chance: Mapping[str, float]
    domains: Mapping[str, str]
    losses: Mapping[str, Mapping[str, Series]]

    @property
    def runs(self) -> list[str]:
        """Names of the runs, in order of appearance."""
        return list(self.series)

    def task(self, name: str) -> str:
        """Return a task's name.

        Raises:
            ValueError: There is none of that name; names the nearest.
        """
        if name not in self.chance:
            raise ValueError(f'No task "{name}".{did_you_mean(name, self.chance)} All: {", ".join(self.chance)}.')
        return name

    def run(self, name: str | None) -> str:
        """Return a run's name, or that of the only run.

        Raises:
            ValueError: There is none of that name, or there are several and none was named.
        """
        if name is None and len(self.series) == 1:
            return self.runs[0]
        if name is None:
            raise ValueError(f"The table holds {len(self.series)} runs; name one: {', '.join(self.series)}.")
        if name not in self.series:
            raise ValueError(f'No run "{name}".{did_you_mean(name, self.series)} All: {", ".join(self.series)}.')
        return name


@dataclass(frozen=True, eq=False)
class Curves:
    """Normalised scores of one run on common tokens.

    Args:
        run: Its name.
        tasks: Columns of ``z``.
        tokens: Shape ``(checkpoints,)``, rising.
        z: ``(score - chance) / (1 - chance)``, shape ``(checkpoints, tasks)``.
        ci: Half the width of the 95 % interval of ``z``, same shape, NaN where none is known.
    """

    run: str
    tasks: tuple[str, ...]
    tokens: Floats
    z: Floats
    ci: Floats

    def column(self, task: str) -> Floats:
        """Return the curve of one task."""
        found: Floats = self.z[:, self.tasks.index(task)]
        return found

    def at(self, tokens: Floats) -> Curves:
        """Return the curves at other tokens, by straight lines between checkpoints."""
        return Curves(self.run, self.tasks, tokens, *(_lines(tokens, self.tokens, x) for x in (self.z, self.ci)))


def read_table(table: Table | Checkpoints) -> Checkpoints:
    """Read and check a table of checkpoints.

    Raises:
        DataError: Naming the row: a column or chance level that is missing, a value out of range, one row twice.
    """
    if isinstance(table, Checkpoints):
        return table
    cells: dict[str, dict[str, list[tuple[float, float, float, float]]]] = {}
    losses: dict[str, dict[str, list[tuple[float, float, float, float]]]] = {}
    chance: dict[str, float] = {}
    domains: dict[str, str] = {}
    seen: set[tuple[str, float, str]] = set()
    for where, row in _rows(table):
        run, task, domain = str(row.get("run", "run")), str(row["task"]), str(row["domain"])
        step, tokens, score = (_number(row, name, where) for name in ("step", "tokens", "score"))
        if (run, step, task) in seen:
            raise DataError(f"{where}: run {run}, step {step:g}, task {task} is there twice; keep one of the two.")
        seen.add((run, step, task))
        if domains.setdefault(task, domain) != domain:
            raise DataError(f"{where}: task {task} is of domain {domain} here and of {domains[task]} before.")
        if domain == LOSS_DOMAIN:
            losses.setdefault(run, {}).setdefault(task, []).append((tokens, step, score, math.nan))
            continue
        if _missing(row.get("chance")):
            raise DataError(
                f"{where}: task {task} has no chance level; give the score of guessing, 1 / choices, or 0 for free "
                f'answers (a loss has none: domain "{LOSS_DOMAIN}").'
            )
        guess = _number(row, "chance", where)
        if not 0 <= guess < 1:
            raise DataError(f"{where}: chance must be >= 0 and < 1, got {guess:g}.")
        if chance.setdefault(task, guess) != guess:
            raise DataError(f"{where}: chance of {task} is {guess:g} here and {chance[task]:g} before.")
        if score > 1 + 1e-9:  # a mean may miss 1 by a rounding error
            raise DataError(f"{where}: score must be a share, at most 1, got {score:g}; divide percentages by 100.")
        ci = math.nan if _missing(row.get("ci")) else _number(row, "ci", where)
        if ci < 0:
            raise DataError(f"{where}: ci must be >= 0, half the width of the 95 % interval, got {ci:g}.")
        cells.setdefault(run, {}).setdefault(task, []).append((tokens, step, score, ci))
    if not cells:
        raise DataError("The table of checkpoints has no rows with scores of tasks.")
    return Checkpoints(
        {run: {task: _series(rows, run, task) for task, rows in tasks.items()} for run, tasks in cells.items()},
        chance,
        domains,
        {run: {task: _series(rows, run, task) for task, rows in tasks.items()} for run, tasks in losses.items()},
    )


def curves_of(table: Checkpoints, run: str, *, interpolate: bool = False, tasks: Sequence[str] | None = None) -> Curves:
    """Return the normalised curves of a run, all tasks at the same tokens.

    Args:
        table: The table.
        run: Name of a run.
        interpolate: Bring tasks measured at different tokens to those of the one with the fewest, by straight lines.
        tasks: Which tasks; all of the run where not given.

    Raises:
        DataError: A task that the run lacks, tasks at different tokens without ``interpolate``, or fewer than five
            checkpoints.
    """
    mine = table.series[run]
    names = tuple(mine) if tasks is None else tuple(tasks)
    lacking = [name for name in names if name not in mine]
    if lacking:
        raise DataError(f"Run {run} has no scores of {', '.join(lacking)}.")
    series = [mine[name] for name in names]
    grid = series[0].tokens
    unlike = next((n for n, one in zip(names, series, strict=True) if not np.array_equal(one.tokens, grid)), None)
    if unlike is not None:
        if not interpolate:
            raise DataError(
                f"Run {run}: tasks {names[0]} and {unlike} were measured at different tokens; allow straight lines "
                "between checkpoints with interpolate=True (--interpolate)."
            )
        grid = overlap([one.tokens for one in series])
    if len(grid) < FEWEST:
        raise DataError(f"Run {run}: at least {FEWEST} checkpoints are needed, got {len(grid)}; score it more often.")
    levels = np.array([table.chance[name] for name in names])
    scores, ci = (
        np.column_stack([_lines(grid, one.tokens, getattr(one, part)) for one in series]) for part in ("scores", "ci")
    )
    return Curves(run, names, grid, (scores - levels) / (1 - levels), ci / (1 - levels))


def aligned(first: Curves, second: Curves, *, interpolate: bool) -> tuple[Curves, Curves]:
    """Return the curves of two runs on the same tasks and tokens.

    Raises:
        DataError: Their tokens differ without ``interpolate``, or fewer than five are common.
    """
    tasks = tuple(name for name in first.tasks if name in second.tasks)
    grid = np.intersect1d(first.tokens, second.tokens)
    if not interpolate and not np.array_equal(first.tokens, second.tokens):
        raise DataError(
            f"Runs {first.run} and {second.run} were measured at different tokens ({len(grid)} are common); allow "
            "straight lines between checkpoints with interpolate=True (--interpolate)."
        )
    if interpolate:
        grid = overlap([first.tokens, second.tokens])
    if len(grid) < FEWEST:
        raise DataError(
            f"Runs {first.run} and {second.run}: at least {FEWEST} checkpoints are needed where both were measured, "
            f"got {len(grid)}."
        )
    kept = [
        Curves(one.run, tasks, one.tokens, *(x[:, [one.tasks.index(name) for name in tasks]] for x in (one.z, one.ci)))
        for one in (first, second)
    ]
    return kept[0].at(grid), kept[1].at(grid)


def overlap(grids: Sequence[Floats]) -> Floats:
    """Return the tokens of the series with the fewest, as far as all series reach."""
    low, high = max(grid[0] for grid in grids), min(grid[-1] for grid in grids)
    kept: list[Floats] = [grid[(grid >= low) & (grid <= high)] for grid in grids]
    return min(kept, key=len)


def smoothed(z: Floats, how: Smooth) -> Floats:
    """Return curves, ``(checkpoints, ...)``, smoothed along the first axis.

    ``mean`` is over a checkpoint and its two neighbours (at the ends: over the two that there are), ``isotonic`` the
    closest curve that never falls.

    Raises:
        ValueError: Another name.
    """
    if how not in ("mean", "isotonic", "none"):
        raise ValueError(f'smooth must be "mean", "isotonic" or "none", got "{how}".')
    if how == "none" or len(z) < 2:
        return z
    if how == "isotonic":
        columns = z.reshape(len(z), -1)
        rising = [isotonic_regression(columns[:, place]).x for place in range(columns.shape[1])]
        return np.column_stack(rising).reshape(z.shape)
    padded = np.concatenate([z[:1] * 0, z, z[:1] * 0])
    weights = np.full(len(z), 3.0)
    weights[[0, -1]] = 2.0
    mean: Floats = (padded[:-2] + padded[1:-1] + padded[2:]) / weights.reshape(-1, *[1] * (z.ndim - 1))
    return mean


def _rows(table: Table) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the rows of a table, each with where it stands."""
    records: Any = table
    if isinstance(table, Mapping):
        columns = {str(name): list(values) for name, values in table.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"Columns of checkpoints must have one length, got {lengths}.")
        records = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    elif hasattr(table, "to_pylist"):
        records = table.to_pylist()
    for number, row in enumerate(records, 1):
        where = f"row {number}"
        if not isinstance(row, Mapping):
            raise DataError(f"{where}: a table of checkpoints holds records, not a {type(row).__name__}.")
        where = str(row.get(PLACE, where))
        lacking = [name for name in COLUMNS if name not in row and name not in ("run", "chance")]
        if lacking:
            near = did_you_mean(lacking[0], [str(name) for name in row if name not in COLUMNS])
            raise DataError(f"{where}: no column {', '.join(lacking)}.{near} Columns: {', '.join(COLUMNS)}[, ci].")
        yield where, row


def _missing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _number(row: Mapping[str, Any], name: str, where: str) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {name} must be a finite number, got {row[name]!r}.")
    return value


def _series(rows: Sequence[tuple[float, float, float, float]], run: str, task: str) -> Series:
    ordered = sorted(rows)
    tokens, steps, scores, ci = (np.array(column, dtype=np.float64) for column in zip(*ordered, strict=True))
    place = next(iter(np.flatnonzero((np.diff(tokens) <= 0) | (np.diff(steps) <= 0))), None)
    if place is not None:
        raise DataError(
            f"Run {run}, task {task}: steps and tokens must rise together, got {tokens[place + 1]:g} tokens at step "
            f"{steps[place + 1]:g} after {tokens[place]:g} at step {steps[place]:g}."
        )
    return Series(steps, tokens, scores, ci)


def _lines(wished: Floats, tokens: Floats, values: Floats) -> Floats:
    if np.array_equal(wished, tokens):
        return values
    columns = values.reshape(len(values), -1)
    found = [np.interp(wished, tokens, columns[:, place]) for place in range(columns.shape[1])]
    return np.column_stack(found).reshape(len(wished), *values.shape[1:])
