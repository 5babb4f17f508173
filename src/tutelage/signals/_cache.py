"""Scores that are kept: a file for each signal and setting, to which scores are added by the content of their row.

The file is append-only: a magic word, then blocks of ``count`` and a checksum, followed by the hashes of ``count`` rows
and their scores. A kill loses what was not written yet and at worst cuts the last block, which is then left out. A
block whose checksum is wrong is left out too, with a note; the others stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError
from tutelage.storage import storage, write_atomically

#: Two halves of the hash of each row, ``(n, 2)``.
Hashes = NDArray[np.uint64]

_MAGIC = b"tutelage scores 1\n"
_MARK = b"bloc"
_HEAD = struct.Struct("<4sII")
_BYTES = 24  # 16 of the hash, 8 of the score
_LOG = logging.getLogger("tutelage.signals")
#: What knows the user's cache folder stands above the signals and is found on first use by name.
_FOLDER = ("tutelage.workloads._cache", "cache_folder")


def score_folder() -> Path:
    """Return where scores are kept if not told otherwise: ``signals`` in the cache folder (``$TUTELAGE_CACHE``)."""
    module, name = _FOLDER
    return Path(getattr(importlib.import_module(module), name)()) / "signals"


def row_hashes(batch: Mapping[str, Sequence[Any]], columns: Sequence[str]) -> Hashes:
    """Return a hash of each row's content in some columns, ``(n, 2)``; equal for equal content on every machine."""
    taken = [batch[name] for name in columns]
    found = bytearray()
    for row in zip(*taken, strict=True):
        digest = hashlib.blake2b(digest_size=16)
        for value in row:
            content = _content(value)
            digest.update(b"%d:" % len(content))
            digest.update(content)
        found += digest.digest()
    return np.frombuffer(bytes(found), dtype="<u8").reshape(-1, 2)


def _content(value: Any) -> bytes:
    """Return bytes that differ for values that differ, by type and content."""
    if isinstance(value, str):
        return b"t" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float)):
        return b"n" + repr(value).encode()
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        value, kind = [part for item in value.items() for part in item], b"m"
    elif isinstance(value, (list, tuple)):
        kind = b"l"
    else:
        import cloudpickle

        return b"o" + bytes(cloudpickle.dumps(value))
    parts = [_content(item) for item in value]
    return kind + b"".join(b"%d:" % len(part) + part for part in parts)


class ScoreStore:
    """Scores of one signal by the hash of their row.

    Args:
        path: The file; it appears with the first score.

    Attributes:
        notes: What had to be left out.

    Raises:
        ConfigError: The folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                blocks = self._read()
        except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise ConfigError(
                f"Cannot keep scores in {path.parent} ({error.strerror}); set TUTELAGE_CACHE to a folder you can write "
                "to, or do without: cache=False."
            ) from error
        hashes = np.concatenate([block[0] for block in blocks]) if blocks else np.empty((0, 2), dtype=np.uint64)
        values = np.concatenate([block[1] for block in blocks]) if blocks else np.empty(0)
        # The newest score of a row wins: of equal hashes the stable sort keeps it last.
        order = np.argsort(hashes[:, 0], kind="stable")
        self._hashes, self._values = hashes[order], values[order]

    def __len__(self) -> int:
        """Return how many scores were kept when it was opened."""
        return len(self._values)

    def find(self, hashes: Hashes) -> NDArray[np.float64]:
        """Return the score of each hash, NaN where none is kept, shape ``(n,)``."""
        found = np.full(len(hashes), np.nan)
        if len(self._values):
            place = np.searchsorted(self._hashes[:, 0], hashes[:, 0], side="right") - 1
            there = (place >= 0) & (self._hashes[place] == hashes).all(axis=1)
            found[there] = self._values[place[there]]
        return found

    def add(self, hashes: Hashes, values: NDArray[np.float64]) -> None:
        """Keep scores; those that are NaN are left out, so that they are tried again.

        Raises:
            StorageFull: No space is left; what was kept before is intact.
        """
        good = ~np.isnan(values)
        if not good.any():
            return
        payload = hashes[good].astype("<u8").tobytes() + values[good].astype("<f8").tobytes()
        block = _HEAD.pack(_MARK, int(good.sum()), zlib.crc32(payload)) + payload
        with storage(self.path, then="give the same command again"), self._locked():
            end = self.path.stat().st_size if self.path.exists() else 0
            with open(self.path, "ab") as file:
                try:
                    file.write(block if end else _MAGIC + block)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    # Half a block is found out when it is read, but would hide those written after it.
                    with contextlib.suppress(OSError):
                        file.truncate(end)
                    raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes that score with the same settings from writing at the same time."""
        import fcntl

        with open(self.path.with_name(f".{self.path.name}.lock"), "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> list[tuple[Hashes, NDArray[np.float64]]]:
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        blocks, kept, left = _blocks(content)
        if left:
            note = (
                f"{left} of {len(content)} bytes of kept scores were damaged or cut off and are left out; their rows "
                f"are scored again ({self.path})."
            )
            self.notes.append(note)
            _LOG.warning("%s", note)
            write_atomically(self.path, b"".join([_MAGIC, *kept]) if kept else b"")
            if not kept:
                self.path.unlink()
        return blocks


def _blocks(content: bytes) -> tuple[list[tuple[Hashes, NDArray[np.float64]]], list[bytes], int]:
    """Return the whole blocks, their bytes, and how many bytes belong to none."""
    found: list[tuple[Hashes, NDArray[np.float64]]] = []
    kept: list[bytes] = []
    left = 0
    place = len(_MAGIC) if content.startswith(_MAGIC) else 0
    while place < len(content):
        block = _block_at(content, place)
        if block is None:
            # Blocks after a damaged one are found by their mark; what only looks like one fails its checksum.
            following = content.find(_MARK, place + 1)
            following = len(content) if following < 0 else following
            left += following - place
            place = following
            continue
        end, hashes, values = block
        found.append((hashes, values))
        kept.append(content[place:end])
        place = end
    return found, kept, left


def _block_at(content: bytes, place: int) -> tuple[int, Hashes, NDArray[np.float64]] | None:
    if len(content) - place < _HEAD.size:
        return None
    mark, count, checksum = _HEAD.unpack_from(content, place)
    start, end = place + _HEAD.size, place + _HEAD.size + count * _BYTES
    if mark != _MARK or end > len(content) or zlib.crc32(content[start:end]) != checksum:
        return None
    hashes = np.frombuffer(content, dtype="<u8", count=2 * count, offset=start).reshape(-1, 2)
    values = np.frombuffer(content, dtype="<f8", count=count, offset=start + 16 * count)
    return end, hashes, values
