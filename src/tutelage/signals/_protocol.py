"""What a signal is: a frozen value that turns a batch of rows into one number a row.

A signal is a frozen dataclass whose fields are the arguments of its spec (``length:unit=words``). It needs::

    spec_name: ClassVar[str]                 # its name in specs
    direction                                # what a HIGH score means: "hard", "easy", "good" or "none"
    per_example                              # False: valid only as a mean over many examples
    columns() -> tuple[str, ...]             # the columns it reads, by their names in the data
    score(batch) -> float64 (n,)             # batch: column -> values; NaN = missing

``direction`` and ``per_example`` are class variables, or properties where they depend on an argument. It may have::

    column: str                              # a field: the main column; score(..., column=...) and --column set it
    prepare(batches) -> a signal             # one pass over all data, such as word counts; returns the signal to use
    fingerprint() -> str                     # hash of what decides scores beside the fields: weights, prepared counts
    scored(batch) -> Scored                  # as score, with what it cost; asked instead of score where it is there
    neutral: ClassVar[tuple[str, ...]]       # fields that change no score, such as batch_tokens
    cached: ClassVar[bool] = False           # where scoring costs no more than looking a score up
    seed: int                                # a field, where it draws; score(..., seed=...) and --seed set it

Rules the engine (:func:`tutelage.signals.score`) relies on, and what it does in return:

* A row's score depends on that row, the fields and the fingerprint alone: not on its neighbours, the batch size, the
  order or the process. Then scores are kept by the content of a row, and equal rows are scored once.
* A row with a null in one of ``columns()`` is missing: the signal is not asked for it. Empty text is the signal's to
  judge. NaN is never kept: what was missing is tried again by the next call.
* A value that cannot be scored at all raises :class:`BadRow` with its place in the batch; the engine says which row of
  the data it is. What fails for a while, such as an endpoint, gives NaN.
* Signals go to other processes by pickle; what is heavy (a model) is named in a field and opened there.
* Before the first batch, ``prepare`` is called where it exists, with the columns of ``columns()``, without null rows.
* The key of stored scores is a hash of the class (outside this library with its source), the fields that are not
  neutral, and the fingerprint. A field of the name ``model`` is left out where there is a fingerprint, so that a model
  may move.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.specs import field_types, spell

#: What a high score means: hard to learn, easy to learn, good to train on, or neither.
Direction: TypeAlias = Literal["hard", "easy", "good", "none"]
DIRECTIONS: tuple[Direction, ...] = ("hard", "easy", "good", "none")
#: Rows by column.
Batch: TypeAlias = Mapping[str, Sequence[Any]]


class Scored(NamedTuple):
    """Scores with what they cost.

    Args:
        values: One a row, NaN where missing; float64 ``(n,)``.
        tokens: Tokens a model read or wrote for them.
        forward_passes: Sequences a model was applied to.
    """

    values: NDArray[np.float64]
    tokens: int = 0
    forward_passes: int = 0


class BadRow(DataError):
    """A row whose value no score can be made of; ``row`` is its place in the batch."""

    def __init__(self, row: int, message: str) -> None:
        """Keep the place and the message; the engine adds which row of the data it is."""
        super().__init__(message)
        self.row, self.message = row, message

    def __reduce__(self) -> tuple[type[BadRow], tuple[int, str]]:
        """Travel between processes: exceptions are rebuilt from their arguments."""
        return type(self), (self.row, self.message)


@runtime_checkable
class Signal(Protocol):
    """A score per example; see the module for what it may have besides."""

    spec_name: ClassVar[str]

    @property
    def direction(self) -> Direction:
        """What a high score means."""

    @property
    def per_example(self) -> bool:
        """Whether the score of one example means anything; else only means over many do."""

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return a score for each row, NaN where there is none; float64 ``(n,)``."""


class PreparedSignal(Signal, Protocol):
    """A signal that looks at all data once before it scores."""

    def prepare(self, batches: Iterable[Batch]) -> Signal:
        """Return the signal that scores, with what it learned from ``batches``; itself stays as it is."""


def spec_of(signal: Any) -> str:
    """Return the spec that builds a signal again; fields that no spec can hold are shown as ``<name>``.

    Example:
        >>> from tutelage.signals import Length
        >>> spec_of(Length(unit="words"))
        'length:unit=words'
    """
    kinds = field_types(cast(Any, type(signal)))
    shown = []
    for item in dataclasses.fields(signal):
        value = getattr(signal, item.name)
        if not item.init or (item.default is not dataclasses.MISSING and value == item.default):
            continue
        plain = value is None or isinstance(value, (str, bool, int, float, tuple))
        word = spell(kinds[item.name], value) if plain else f"<{getattr(value, 'name', _name_of(value))}>"
        shown.append(f"{item.name}={word}")
    return f"{signal.spec_name}:{','.join(shown)}" if shown else str(signal.spec_name)


def fingerprint_of(*values: Any) -> str:
    """Return a hash of plain values, arrays and functions, in order; the same in every process.

    A function counts by its name and its source, or by its own ``fingerprint`` where it has one: what it reads from
    elsewhere is not seen.
    """
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        content = _content(value)
        digest.update(f"{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def key_of(signal: Any, seed: int | None = None) -> str:
    """Return the key under which a signal's scores are kept."""
    own = own_fingerprint(signal)
    neutral = {*getattr(signal, "neutral", ()), *(("model",) if own else ())}
    kind = type(signal)
    fields: list[Any] = [
        part
        for item in dataclasses.fields(signal)
        if item.init and item.name not in neutral
        for part in (item.name, getattr(signal, item.name))
    ]
    # What this library computes changes by its own rules; somebody's own class is what its source says.
    source = "" if kind.__module__.startswith("tutelage.") else _source(kind)
    return fingerprint_of(f"{kind.__module__}.{kind.__qualname__}", source, own, seed, *fields)


def own_fingerprint(signal: Any) -> str:
    """Return what a signal says decides its scores beside its fields, empty where it says nothing."""
    found = getattr(signal, "fingerprint", None)
    return str(found()) if callable(found) else ""


def _content(value: Any) -> bytes:
    if isinstance(value, str):
        return b"t" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, np.generic):
        return _content(value.item())
    if isinstance(value, np.ndarray):
        return f"a{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
    if value is None or isinstance(value, (bool, int, float)):
        return f"n{value!r}".encode()
    if isinstance(value, Mapping):
        items = sorted((str(key), _content(item)) for key, item in value.items())
        return b"m" + fingerprint_of(*(part for item in items for part in item)).encode()
    if isinstance(value, (tuple, list)):
        return b"l" + fingerprint_of(*value).encode()
    said = getattr(value, "fingerprint", None)
    if said is not None:
        return b"f" + str(said() if callable(said) else said).encode()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (getattr(value, item.name) for item in dataclasses.fields(value))
        return b"d" + fingerprint_of(_name_of(type(value)), *fields).encode()
    return f"c{_name_of(value)}\n{_source(value)}".encode()


def _source(value: Any) -> str:
    try:
        return inspect.getsource(value)
    except (TypeError, OSError):
        return repr(getattr(getattr(value, "__code__", None), "co_code", ""))


def _name_of(value: Any) -> str:
    return str(getattr(value, "__qualname__", type(value).__qualname__))
