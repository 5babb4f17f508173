"""The command line: parses, calls the library, prints. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import os
import sys

# Each module registers its commands on the application; their order is that of --help.
from tutelage.cli import training as training  # isort: skip
from tutelage.cli import comparing as comparing  # isort: skip
from tutelage.cli import reporting as reporting  # isort: skip
from tutelage.cli import fitting as fitting  # isort: skip
from tutelage.cli import forecast_curve as forecast_curve  # isort: skip
from tutelage.cli import forecast_schedule as forecast_schedule  # isort: skip
from tutelage.cli import forecast_checkpoints as forecast_checkpoints  # isort: skip
from tutelage.cli import forecast_signals as forecast_signals  # isort: skip
from tutelage.cli import forecast_efficiency as forecast_efficiency  # isort: skip
from tutelage.cli import forecast_learning as forecast_learning  # isort: skip
from tutelage.cli import forecast_scaling as forecast_scaling  # isort: skip
from tutelage.cli import catalogue as catalogue  # isort: skip
from tutelage.cli import scoring_data as scoring_data  # isort: skip
from tutelage.cli import fitting_rule as fitting_rule  # isort: skip
from tutelage.cli import selecting as selecting  # isort: skip
from tutelage.cli import merging as merging  # isort: skip
from tutelage.cli import scoring as scoring  # isort: skip
from tutelage.cli import studying as studying  # isort: skip
from tutelage.cli._shared import app, say
from tutelage.errors import (
    ConfigError,
    CorruptRun,
    DataError,
    DataNotFound,
    MissingExtra,
    StorageFull,
    TutelageError,
    UnknownPart,
)

__all__ = ["app", "main"]

_BAD_INPUT = (ConfigError, UnknownPart, DataNotFound, DataError, MissingExtra, ValueError, TypeError)


def main() -> None:
    """Run the command line and turn errors into one line and an exit code."""
    verbose = "--verbose" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--verbose"]
    try:
        app()
    except (TutelageError, ValueError, TypeError, OSError) as error:
        if verbose:
            raise
        raise SystemExit(_explain(error)) from None


def _explain(error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe (head, less) has left; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    say(f"Error: {' '.join(str(error).split())}")
    failed = isinstance(error, (CorruptRun, StorageFull)) or not isinstance(error, _BAD_INPUT)
    return 1 if failed else 2
