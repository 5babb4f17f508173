"""The command that scores the examples of a data set: how hard, how easy or how good is each?"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import (
    Force,
    Json,
    On,
    Quiet,
    app,
    examples,
    interrupted,
    print_json,
    print_text,
    resume_command,
    say,
)
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.signals import ScoreColumn
    from tutelage.signals._rows import Rows

_MEANS = {
    "hard": "high = hard",
    "easy": "high = easy",
    "good": "high = good",
    "none": "high is neither hard nor easy",
}
#: Seconds between lines of progress where there is no terminal to draw on.
_SAY_EVERY = 10.0


@app.command(
    name="score",
    epilog=examples(
        "tutelage score standard-library --signal length:unit=words --out scored.jsonl",
        "tutelage score scored.jsonl --signal rarity:reduction=mean --out scored.parquet --json",
    ),
)
def score(
    data: Annotated[str, typer.Argument(help="A JSONL, CSV, Parquet or text file, a folder, or a named data set.")],
    signal: Annotated[
        str, typer.Option("--signal", "-s", help="Spec such as length:unit=words; all: tutelage parts signals.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="For signals of a model: a local folder, a run, or a hub id.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the rows with their scores: .jsonl, .csv or .parquet.")
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", help="Column the signal reads; its own default if not given.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the new column; the signal's if not given.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Rows a batch; as many as take a second if not given.")
    ] = None,
    num_proc: Annotated[int, typer.Option("--num-proc", help="Processes, or Ray tasks at a time.")] = 1,
    on: On = None,
    seed: Annotated[int | None, typer.Option("--seed", help="For signals that draw.")] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume/--no-resume", help="Use scores kept from before; or score all rows anew."),
    ] = True,
    force: Force = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score every example of a data set: how hard, how easy or how good is it?

    Scores are kept by the content of each row: a command that was interrupted goes on where it was, and added rows cost
    only themselves. Rows without a score are counted as missing.
    """
    from tutelage.signals import score as score_data
    from tutelage.signals._rows import open_rows
    from tutelage.signals.column import check_suffix, save_columns, score_columns

    if out is not None:
        check_suffix(out)
        if out.exists() and not force:
            raise ConfigError(f"{out} exists; --force replaces it.")
    rows = open_rows(data)
    source = Path(data)
    said = score_columns(source) if source.is_file() and source.suffix.lower() in (".parquet", ".jsonl", ".csv") else {}
    _check_name(rows, name or signal.partition(":")[0], force)
    arguments = {} if model is None else {"model": model}
    try:
        with _progress(quiet) as watch, warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            found = score_data(
                rows,
                signal,
                column=column,
                name=name,
                batch_size=batch_size,
                resume=resume,
                num_proc=num_proc,
                on=on or "local",
                seed=seed,
                watch=watch,
                **arguments,
            )
    except KeyboardInterrupt:
        interrupted(f"Scores so far are kept. Go on with: {resume_command()}")
    if out is not None:
        save_columns([found], out, rows, said=said)
    notes = [*found.notes, *(str(warning.message) for warning in warned if warning.category is UserWarning)]
    if not found.per_example:
        notes.append(f"Single values of {found.name} mean little; compare means over many examples.")
    if found.missing == len(found):
        notes.append(f"No row has a score; does {found.name} read the right column?")
    if json_output:
        print_json({**found.describe(), "notes": notes, "out": None if out is None else str(out)})
        return
    print_text(summary(found))
    for note in notes:
        say(f"Note: {note}")
    if out is not None:
        print_text(f"Written: {out}")


def summary(column: ScoreColumn) -> str:
    """Return count, mean, spread, quantiles and a histogram of scores as text."""
    said = column.describe()
    count = f"{said['n']} rows, {said['missing']} missing" if said["missing"] else f"{said['n']} rows"
    lines = [f"{column.name}: {_MEANS[column.direction]}; {count}, {said['scored']} scored now"]
    if said["mean"] is None:
        return lines[0]
    lines.append(f"mean {said['mean']:.4g}  deviation {said['std']:.4g}  from {said['min']:.4g} to {said['max']:.4g}")
    lines.append("  ".join(f"{float(share):.0%} {value:.4g}" for share, value in said["quantiles"].items()))
    cost = f"{said['seconds']:.1f} s"
    if said["forward_passes"] or said["tokens"]:
        cost += f", {said['tokens']} tokens, {said['forward_passes']} forward passes"
    lines.append(f"cost {cost}")
    if said["max"] > said["min"]:
        lines.append(histogram(column))
    return "\n".join(lines)


def histogram(column: ScoreColumn, *, width: int = 60) -> str:
    """Return how many examples have which score, drawn in text."""
    import numpy as np

    from tutelage.text_plot import text_plot

    there = column.values[np.isfinite(column.values)]
    whole = bool((there == np.round(there)).all())
    span = float(there.max() - there.min())
    bins = int(span) + 1 if whole and span < width else width
    # Whole numbers that all have room get a place each; others are counted in equal steps.
    edges = (float(there.min()) - 0.5, float(there.max()) + 0.5) if bins < width else None
    counts, _ = np.histogram(there, bins=bins, range=edges)
    repeat = max(1, width // bins)
    drawn = text_plot(np.repeat(counts, repeat), width=bins * repeat)
    low, high = f"{there.min():.4g}", f"{there.max():.4g}"
    return f"{drawn}\n{'':12}{low}{high:>{max(1, bins * repeat - len(low))}}"


def _check_name(rows: Rows, name: str, force: bool) -> None:
    if name in rows.columns and not force:
        raise ConfigError(f'{rows.label} has a column "{name}" already; give another --name, or replace it: --force.')


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Give what is told how many rows are done: a bar on a terminal, a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    if quiet:
        yield None
        return
    console = Console(stderr=True)
    columns: tuple[Any, ...] = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        told = time.monotonic()

        def watch(done: int, total: int) -> None:
            nonlocal told
            bar.update(task, completed=done, total=total)
            if not console.is_terminal and time.monotonic() - told > _SAY_EVERY and done < total:
                told = time.monotonic()
                say(f"{done} of {total} rows scored, {math.floor(100 * done / total)} %")

        yield watch
