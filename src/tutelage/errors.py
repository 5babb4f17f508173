"""The errors a user can meet; every message is one line that names the remedy.

Arguments out of range raise ``ValueError`` or ``TypeError``; everything else that is the user's to mend is a
:class:`TutelageError`. The command line prints the message and exits with 2 (bad input) or 1 (failed while working).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TutelageError(Exception):
    """Base of all errors this library raises besides ``ValueError`` and ``TypeError``."""


class ConfigError(TutelageError, ValueError):
    """A spec, a configuration file or a set of options that cannot be used; lists every fault found."""


class UnknownPart(TutelageError, LookupError):
    """A name that no family lists."""


class DataNotFound(TutelageError, FileNotFoundError):
    """A data set, file or model folder that is not where it was said to be."""


class DataError(TutelageError, ValueError):
    """A data file whose content cannot be used; names the file and the line or row."""


class CorruptRun(TutelageError):
    """A run folder or checkpoint that is damaged or does not belong to the run asked for."""


class NotReady(TutelageError, RuntimeError):
    """A forecast that was asked for before the data allow one; says what is missing."""


class MissingExtra(TutelageError, ImportError):
    """An optional dependency that is not installed; names the extra that brings it."""


class StorageFull(TutelageError, OSError):
    """The disk took no more; what had been written before is intact."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``' Did you mean "x"?'`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f' Did you mean "{near[0]}"?' if near else ""


def missing_extra(module: str, extra: str, purpose: str) -> MissingExtra:
    """Return the error for an optional ``module`` that ``purpose`` needs and extra ``extra`` brings."""
    return MissingExtra(f'{purpose} needs {module}: pip install "tutelage[{extra}]".')
