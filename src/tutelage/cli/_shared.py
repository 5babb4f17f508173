"""What every command shares: the application, common options, and how results are printed."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from tutelage.workloads import Workload

app = typer.Typer(
    name="tutelage",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the training recipe that learns most from a fixed budget, and prove it.",
)

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Data = Annotated[str | None, typer.Option("--data", help="Your data: a file, a folder or a named data set.")]
Model = Annotated[str | None, typer.Option("--model", help="A transformers model: a local folder, or a hub id.")]
TextColumn = Annotated[str | None, typer.Option("--text-column", help="Column that holds the text.")]
LabelColumn = Annotated[str | None, typer.Option("--label-column", help="Column that holds the label.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what --out holds, or start it.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what --out holds.")]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", help="Runs at a time; one a core if not given.")]
On = Annotated[str | None, typer.Option("--on", help="local, ray, ray:auto, ray:HOST:PORT or ray://HOST:PORT.")]
EvalEvery = Annotated[int | None, typer.Option("--eval-every", help="Updates between evaluations; a tenth of the run.")]
Tracker = Annotated[list[str] | None, typer.Option("--tracker", help="tensorboard, wandb, mlflow, trackio, ...")]


def say(text: str) -> None:
    """Print to standard error, where all goes that is not the result."""
    print(text, file=sys.stderr)  # noqa: T201


def interrupted(text: str) -> NoReturn:
    """Say how to go on after Ctrl-C, and leave; as the message of an exception it would not get past typer."""
    say(f"Interrupted. {text}")
    raise SystemExit(130)


def resume_command() -> str:
    """Return the command as it was typed, with ``--resume``."""
    words = [word for word in sys.argv[1:] if word not in ("--resume", "--force")]
    return f"tutelage {shlex.join(words)} --resume"


def first_process() -> bool:
    """Whether this is the process that speaks, of those that torchrun or accelerate started together."""
    return os.environ.get("RANK", "0") == "0"


def print_text(text: str) -> None:
    """Print a line of the result, once however many processes there are."""
    if first_process():
        print(text)  # noqa: T201


def print_json(value: Any) -> None:
    """Print the result as one JSON object on a line; NaN and infinities become null."""
    from tutelage.training.storage import finite

    print_text(json.dumps(finite(value), ensure_ascii=False, allow_nan=False))


def examples(*lines: str) -> str:
    """Return the end of a command's help: commands to copy."""
    return "Examples:\n\n" + "\n\n".join(f"  $ {line}" for line in lines)


def make_workload(name: str, from_run: Path | None = None, **changes: Any) -> Workload:
    """Return the workload of a spec, with the options that were given, on the model of a run where one is named."""
    from tutelage.workloads import continuing, from_spec

    given = {key: value for key, value in changes.items() if value is not None}
    return (from_spec(name, **given) if from_run is None else continuing(name, from_run, **given)).prepare()


def print_table(names: list[str], rows: list[list[Any]]) -> None:
    """Print a table in columns; numbers with a fraction get four places."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def cell(value: Any) -> Text:
        return Text("" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value))

    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)
