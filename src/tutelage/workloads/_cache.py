"""What is costly to prepare is prepared once: entries by content hash in the user's cache folder.

An entry is a folder that appears by one rename, so a kill or a full disk leaves none or all of it. Its ``entry.json``
holds size and hash of each file; an entry that does not match is made anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tutelage.errors import ConfigError
from tutelage.training.storage import storage, sync_folder, write_json

_RECORD = "entry.json"
_ABANDONED_SECONDS = 86_400
_LOG = logging.getLogger("tutelage.workloads")


def cache_folder() -> Path:
    """Return the cache folder: ``$TUTELAGE_CACHE``, else ``~/.cache/tutelage`` (``$XDG_CACHE_HOME`` is respected)."""
    chosen = os.environ.get("TUTELAGE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tutelage"


def content_key(*parts: object) -> str:
    """Return a hash of ``parts`` (strings, numbers, or anything else with a stable ``str``), in order."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:32]


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Return the folder of entry ``kind/key``; ``build(folder)`` fills it where it is missing or damaged.

    Args:
        kind: What it is, such as ``"text"``.
        key: Hash of everything the content depends on (:func:`content_key`).
        build: Writes the entry's files, in no subfolders, into the empty folder it is given.

    Raises:
        ConfigError: The cache folder cannot be written.
        StorageFull: No space is left.
    """
    place = cache_folder() / kind / key
    if _is_whole(place):
        return place
    with storage(place):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _sweep(place.parent)
            work = place.parent / f".{key}.{os.getpid()}.{secrets.token_hex(4)}"
            work.mkdir()
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise ConfigError(
                f"Cannot write to the cache folder {cache_folder()} ({error.strerror}); "
                "set TUTELAGE_CACHE to a folder you can write to."
            ) from error
        try:
            build(work)
            record = {}
            for path in sorted(work.iterdir()):
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
                record[path.name] = {"size": path.stat().st_size, "sha256": file_digest(path)}
            write_json(work / _RECORD, record)
            _put_in_place(work, place)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return place


def _sweep(folder: Path) -> None:
    """Remove what builds that were killed left behind, once nobody can be working on it any more."""
    for left in folder.glob(".*"):
        try:
            if time.time() - left.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue


def _put_in_place(work: Path, place: Path) -> None:
    if place.exists() and not _is_whole(place):
        _LOG.warning("The cache entry %s is damaged and is made anew.", place)
        place.unlink() if place.is_file() else shutil.rmtree(place, ignore_errors=True)
    try:
        os.rename(work, place)
    except OSError:
        # Another process put the same content there first.
        if not _is_whole(place):
            raise
    sync_folder(place.parent)


def _is_whole(place: Path) -> bool:
    try:
        record = json.loads((place / _RECORD).read_text(encoding="utf-8"))
        return bool(record) and all(
            (place / name).stat().st_size == facts["size"] and file_digest(place / name) == facts["sha256"]
            for name, facts in record.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
