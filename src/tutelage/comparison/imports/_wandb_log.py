"""The log of a Weights & Biases run, ``run-<id>.wandb``: all that an offline run leaves.

The file is a LevelDB log, blocks of 32 KiB that hold records whole or in pieces; a record is a Protocol Buffers message
that the wandb package itself describes.
"""

from __future__ import annotations

import importlib
import json
import struct
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.errors import DataError, DataNotFound, MissingExtra

_HEADER = b":W&B\xe1\xbe\x00"
_BLOCK = 32 * 1024
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass
class Log:
    """What the log of one run says.

    Args:
        name: The run's name.
        group: Group of runs it belongs to.
        config: Configuration.
        history: Of every logged value the last one.
        summary: Values that the run's page shows: the last logged, those set by hand, or minima and the like.
        finished: The run came to its end without an error.
    """

    name: str = ""
    group: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    finished: bool = False


def read_log(path: Path) -> Log:
    """Return what the log of a run says; of a run that was killed, all up to its last whole record.

    Raises:
        MissingExtra: The wandb package is not installed.
        DataError: The file is no such log, or broken.
        DataNotFound: It cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies, on import
            messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
            faults = (ValueError, importlib.import_module("google.protobuf.message").DecodeError)
    except ImportError:
        raise MissingExtra(
            f"{path}: what an offline run of W&B leaves is read with its own package: pip install wandb. Or send it "
            f'with "wandb sync {path.parent}" and give the table of runs downloaded from its page.'
        ) from None
    log = Log()
    for place, content in enumerate(_records(path), 1):
        record = messages.Record()
        try:
            record.ParseFromString(content)
            _note(log, record)
        except faults as error:
            said = " ".join(str(error).split())
            raise DataError(f"{path}: record {place} is broken ({said}); write the run again, or sync it.") from None
    return log


def _records(path: Path) -> Iterator[bytes]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataNotFound(f"{path} cannot be read: {error.strerror}.") from None
    if not data.startswith(_HEADER):
        raise DataError(f"{path}: not the log of a W&B run, or one of a later format; sync it, or update tutelage.")
    place, pieces = len(_HEADER), b""
    while True:
        if _BLOCK - place % _BLOCK < 7:  # too little for another record in this block
            place += _BLOCK - place % _BLOCK
        if place + 7 > len(data):
            return
        _, size, kind = struct.unpack_from("<IHB", data, place)  # the first is a checksum
        place += 7
        if kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST) or place + size > len(data):  # cut off when the run was killed
            return
        pieces = (b"" if kind in (_WHOLE, _FIRST) else pieces) + data[place : place + size]
        place += size
        if kind in (_WHOLE, _LAST):
            yield pieces


def _note(log: Log, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        log.name, log.group = record.run.display_name or log.name, record.run.run_group or log.group
        _update(log.config, record.run.config.update)
    elif kind == "config":
        _update(log.config, record.config.update)
    elif kind == "history":
        _update(log.history, record.history.item)
    elif kind == "summary":
        _update(log.summary, record.summary.update)
    elif kind == "exit":
        log.finished = record.exit.exit_code == 0


def _update(values: dict[str, Any], items: Iterable[Any]) -> None:
    for item in items:
        *parents, name = item.nested_key or [item.key]
        inner = values
        for parent in parents:
            below = inner.get(parent)
            inner[parent] = inner = below if isinstance(below, dict) else {}
        inner[name] = json.loads(item.value_json)
