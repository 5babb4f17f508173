"""What is known of each training example by name, for curricula and selections; read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from tutelage.workloads._answers import AnswerStore
    from tutelage.workloads._codecs import Codec
    from tutelage.workloads._tokens import TextCodec
    from tutelage.workloads.stores import WindowStore


@dataclass(frozen=True)
class Columns:
    """Columns of the training examples by name; called with one, it returns the values in the examples' order.

    Args:
        workload: Name of the workload, for messages.
        readers: What reads each column that is known.
        others: Reads any other one.
    """

    workload: str
    readers: Mapping[str, Callable[[], Sequence[Any]]]
    others: Callable[[str], Sequence[Any]] | None = None

    def __call__(self, name: str) -> Sequence[Any]:
        """Return the values of a column.

        Raises:
            DataError: There is no such column.
        """
        if name in self.readers:
            return self.readers[name]()
        if self.others is not None:
            return self.others(name)
        raise DataError(
            f'{self.workload}: its examples have no column "{name}".{did_you_mean(name, self.readers)} They have: '
            f"{', '.join(self.readers)}."
        )


@dataclass(frozen=True)
class WindowTexts:
    """The windows of a text, decoded: what a model reads of each."""

    windows: WindowStore
    codec: Codec

    def __call__(self) -> Sequence[str]:
        """Return a text for each window."""
        codec = self.codec.make(iter(()))
        tokens, _ = self.windows.batch(np.arange(len(self.windows)))
        return [codec.decode(row) for row in tokens.tolist()]


@dataclass(frozen=True)
class AnswerTexts:
    """The prompts of instructions, their answers, or both, decoded.

    Args:
        store: The examples.
        codec: What turns tokens into text again.
        part: ``"prompt"``, ``"answer"`` or ``"text"``, which is both.
    """

    store: AnswerStore
    codec: TextCodec
    part: str

    def __call__(self) -> Sequence[str]:
        """Return a text for each example, without the tokens that open and end it."""
        starts, ends = self.store.offsets[:-1] + 1, self.store.offsets[1:] - 1
        middles = self.store.offsets[:-1] + self.store.prompts
        starts, ends = (middles if self.part == "answer" else starts), (middles if self.part == "prompt" else ends)
        return [
            self.codec.decode(self.store.tokens[start:end].tolist()).strip()
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        ]


def columns_of(workload: str, data: Any) -> Columns | None:
    """Return the columns of data that have names: a dict of arrays, a ``datasets.Dataset``; ``None`` for others."""
    if isinstance(data, Mapping):
        return Columns(workload, {str(name): partial(_values, values) for name, values in data.items()})
    if hasattr(data, "column_names") and hasattr(data, "select_columns"):
        plain = data.with_format(None)
        return Columns(workload, {name: partial(_column_of, plain, name) for name in plain.column_names})
    return None


def _values(values: Any) -> Sequence[Any]:
    listed: Sequence[Any] = values.tolist() if hasattr(values, "tolist") else values
    return listed


def _column_of(data: Any, name: str) -> Sequence[Any]:
    return list(data[name])
