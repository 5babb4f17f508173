"""The command that asks of a sweep whether early signals tell which run ends best, and stops runs by them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Json, examples, print_json, print_text, say
from tutelage.cli.forecasting import forecast_app
from tutelage.errors import ConfigError, DataError, DataNotFound, TutelageError, did_you_mean

if TYPE_CHECKING:
    from tutelage.forecast.early_signals import SignalReport, SignalRun
    from tutelage.forecast.pruning import Pruning

_NEEDED = ("run", "step", "lr", "batch")
_SIGNALS = ("grad_norm", "loss", "update_ratio")


@forecast_app.command(
    name="signals",
    epilog=examples(
        "tutelage forecast signals runs --where \"recipe like 'constant%'\" --at 0.2",
        "tutelage forecast signals sweep.csv --signal loss --keep 0.25 --json",
    ),
)
def signals(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS...",
            help="Folders that hold runs, at any depth; or tables with run, step, grad_norm, loss, lr, batch, final.",
        ),
    ],
    at: Annotated[float, typer.Option("--at", help="Share of each run to look at.")] = 0.2,
    signal: Annotated[str, typer.Option("--signal", help="grad_norm, loss or update_ratio: which one stops.")] = (
        "grad_norm"
    ),
    keep: Annotated[float, typer.Option("--keep", help="Share of the runs that goes on.")] = 0.5,
    prefer: Annotated[
        str | None, typer.Option("--prefer", help="low or high: what goes on; low grad_norm, high loss if not given.")
    ] = None,
    where: Annotated[str | None, typer.Option("--where", help="SQL condition on the runs of folders.")] = None,
    higher_is_better: Annotated[
        bool, typer.Option("--higher-is-better", help="For tables: the column final is a score, not a loss.")
    ] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw it: .png, .svg or .pdf.")] = None,
    json_output: Json = False,
) -> None:
    """Say whether gradient norm and loss early in a run tell which run of a sweep ends best, and stop runs by them.

    On a finished sweep: rank correlations by batch size, plain and with the learning rate held constant, and what
    stopping half of the runs would have cost and saved. On a sweep under way: which runs to stop.
    """
    from tutelage.forecast.early_signals import signal_report
    from tutelage.forecast.pruning import prune_runs

    if prefer not in (None, "low", "high"):
        raise ConfigError(f'--prefer must be low or high, got "{prefer}".')
    sweep = read_sweep(sources, where=where, higher_is_better=higher_is_better)
    late = [run.name for run in sweep.runs if not run.ended and 0 < at <= 1 and not run.reached(at)]
    if late:
        sweep.notes.append(f"Not at {at:g} of the run yet, and left out: {', '.join(late)}.")
    runs = [run for run in sweep.runs if run.name not in late]
    pruning = prune_runs(runs, signal=signal, keep=keep, at=at, prefer=prefer)  # type: ignore[arg-type]  # checked above
    ended = [run for run in runs if run.ended]
    report = None
    if len(ended) >= 4:
        shared = [name for name in dict.fromkeys((signal, *_SIGNALS)) if all(name in run.signals for run in ended)]
        report = signal_report(ended, at=at, signals=shared)
    else:
        sweep.notes.append(f"{len(ended)} runs have ended; correlations need 4.")
    notes = [*sweep.notes, *(report.notes if report else ()), *_doubts(report, signal)]
    if plot is not None:
        from tutelage.forecast.signal_plot import plot_signals

        drawn = list(dict.fromkeys(row.signal for row in report.rows)) if report else [signal]
        plot_signals(runs, plot, signals=drawn, at=at, stopped=pruning.dropped)
        say(f"Drawn: {plot}")
    if json_output:
        print_json(_as_json(runs, report, pruning, notes))
        return
    _print(runs, report, pruning)
    for note in notes:
        say(f"Note: {note}")


@dataclass
class Sweep:
    """Runs as read, and remarks on what was left out or assumed."""

    runs: list[SignalRun]
    notes: list[str] = field(default_factory=list)


def read_sweep(sources: Sequence[Path], *, where: str | None = None, higher_is_better: bool = False) -> Sweep:
    """Read runs from folders and tables.

    Raises:
        DataNotFound: A folder or file that is not there.
        ConfigError: No run in it.
        DataError: A table without a column that is needed, or a cell without sense; names file and line.
    """
    sweep = Sweep([])
    for source in sources:
        if not source.exists():
            raise DataNotFound(f"No file or folder {source}.")
        if source.is_dir():
            _add_folder(sweep, source, where)
        else:
            _add_table(sweep, source, higher_is_better)
    return sweep


def _add_folder(sweep: Sweep, root: Path, where: str | None) -> None:
    from tutelage.training.early_signals import signal_run
    from tutelage.training.query import query_runs

    rows = query_runs(root, where=where).to_pylist()
    if not rows:
        raise ConfigError(f"{root} holds no run{'' if where is None else f' where {where}'}.")
    # Runs that have ended know which way is better, and tell it to those that have not.
    lower: bool | None = None
    for row in sorted(rows, key=lambda row: row["status"] == "unfinished"):
        place = Path(row["folder"])
        try:
            run = signal_run(place, name=str(place.relative_to(root)), lower_is_better=lower)
        except TutelageError as error:
            sweep.notes.append(f"Left out: {error}")
            continue
        lower = run.lower_is_better if lower is None else lower
        sweep.runs.append(run)


def _add_table(sweep: Sweep, path: Path, higher_is_better: bool) -> None:
    from tutelage.comparison.imports._table import rows_of

    rows = rows_of(path)
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    for name in _NEEDED:
        if name not in columns:
            raise DataError(f'{path}: no column "{name}".{did_you_mean(name, columns)} Columns: {", ".join(columns)}.')
    if not set(_SIGNALS) & set(columns):
        raise DataError(f"{path}: no signal: it needs a column grad_norm or loss. Columns: {', '.join(columns)}.")
    if "final" not in columns:
        sweep.notes.append(f"{path.name} has no column final: its runs count as under way.")
    elif not higher_is_better:
        sweep.notes.append(f"{path.name}: final counts as a loss, lower is better; --higher-is-better for a score.")
    by_run: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for at, row in rows:
        name = "" if row["run"] is None else str(row["run"]).strip()
        if not name:
            raise DataError(f"{at}: run is empty.")
        by_run.setdefault(name, []).append((at, row))
    from_zero = any(_whole(row, "step", at) == 0 for at, row in rows)
    sweep.runs += [_run(name, found, int(from_zero), higher_is_better) for name, found in by_run.items()]


def _run(name: str, rows: list[tuple[str, dict[str, Any]]], shift: int, higher_is_better: bool) -> SignalRun:
    from tutelage.comparison.imports._reading import flag, number
    from tutelage.forecast.early_signals import SignalRun

    rows = sorted(rows, key=lambda one: _whole(one[1], "step", one[0]))
    steps = [_whole(row, "step", at) + shift for at, row in rows]
    rates = [number(row.get("lr"), f"{at}: lr") for at, row in rows]
    peak = max((rate for rate in rates if rate is not None), default=None)
    if peak is None:
        raise DataError(f"{rows[0][0]}: run {name} has no lr.")
    finals = {number(row.get("final"), f"{at}: final") for at, row in rows} - {None}
    # NaN is unequal to itself; a column full of it still says one thing.
    final = next(iter(finals), None)
    if len(finals) > 1 and not all(value is not None and math.isnan(value) for value in finals):
        raise DataError(f"{rows[0][0]}: run {name} has several values of final ({_listed(finals)}); give one a run.")
    said = any(flag(row.get("diverged"), f"{at}: diverged") for at, row in rows)
    diverged = said or (final is not None and not math.isfinite(final))
    planned = [_whole(row, "total_steps", at) for at, row in rows if row.get("total_steps") not in (None, "")]
    signals = {}
    for column in _SIGNALS:
        cells = [number(row.get(column), f"{at}: {column}") for at, row in rows]
        if any(cell is not None for cell in cells):
            signals[column] = [math.nan if cell is None else cell for cell in cells]
    try:
        return SignalRun(
            name=name,
            steps=steps,
            signals=signals,
            total_steps=max(planned, default=steps[-1]),
            batch=_whole(rows[0][1], "batch", rows[0][0]),
            lr=peak,
            lower_is_better=not higher_is_better,
            final=None if diverged else final,
            diverged=diverged,
            data=str(rows[0][1].get("data") or ""),
            loss_reduction=str(rows[0][1].get("loss_reduction") or ""),
        )
    except ValueError as error:
        raise DataError(f"{rows[0][0]}: {error}") from None


def _whole(row: dict[str, Any], column: str, where: str) -> int:
    from tutelage.comparison.imports._reading import whole

    found = whole(row.get(column), f"{where}: {column}")
    if found is None:
        raise DataError(f"{where}: {column} is empty.")
    return found


def _listed(values: set[float | None]) -> str:
    return ", ".join(f"{value:g}" for value in values if value is not None)


def _doubts(report: SignalReport | None, signal: str) -> list[str]:
    """Say where stopping runs by this signal rests on nothing."""
    if report is None or signal not in {row.signal for row in report.rows}:
        return []
    row = report.of(signal)
    if row.rho is None:
        return [f"{signal}: {row.note}"]
    doubts = [f"{signal}: {row.note}"] if row.note else []
    if row.low is not None and row.high is not None and row.low <= 0 <= row.high:
        doubts.append(f"The interval of {signal} reaches 0: these runs do not show that it predicts the result.")
    return doubts


def _as_json(
    runs: Sequence[SignalRun], report: SignalReport | None, pruning: Pruning, notes: Sequence[str]
) -> dict[str, Any]:
    rows = [] if report is None else report.rows
    looked_at = dict.fromkeys((pruning.signal, *(row.signal for row in rows)))
    shown = {
        run.name: {
            "batch": run.batch,
            "lr": run.lr,
            "early": {name: run.early(name, pruning.at) for name in looked_at},
            "final": run.final,
            "diverged": run.diverged,
            "kept": run.name in pruning.kept,
        }
        for run in runs
    }
    return {
        "at": pruning.at,
        "lower_is_better": runs[0].lower_is_better,
        "runs": shown,
        "confidence": None if report is None else report.confidence,
        "correlations": [] if report is None else report.to_json()["rows"],
        "pruning": pruning.to_json(),
        "notes": list(notes),
    }


def _print(runs: Sequence[SignalRun], report: SignalReport | None, pruning: Pruning) -> None:
    if report is not None:
        print_text(f"Signals at {report.at:g} of {len(runs)} runs against the final result, more = better:\n")
        print_text(f"{report}\n")
    side = "lowest" if pruning.prefer == "low" else "highest"
    print_text(f"Stopped at {pruning.at:g} by {pruning.signal}, the {side} of each batch size go on:")
    print_text(f"  go on    {', '.join(pruning.kept)}")
    print_text(f"  stopped  {', '.join(pruning.dropped) or 'none'}")
    print_text(f"  saves {100 * pruning.saved:.1f} % of the examples")
    if pruning.regret is not None and pruning.random_regret is not None:
        print_text(
            f"  best run {pruning.best}, best that goes on {pruning.best_kept}: worse by {pruning.regret:.4g}; "
            f"{pruning.random_regret:.4g} expected of stopping at random"
        )
