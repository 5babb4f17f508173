"""Writing files so that a crash, a kill or a full disk leaves the old file or the new one, never half of either."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage.errors import StorageFull

# A list without texts, lists or tables in it, as json.dumps lays it out: no text can hold a real line break.
_PLAIN_LIST = re.compile(r"\[\n\s*([^\[\]{}\"]*?)\n\s*\]")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def storage(path: Path, then: str = "go on with --resume") -> Iterator[None]:
    """Turn the system's refusal to store more into one clear error.

    Args:
        path: What is being written.
        then: What to do once there is space.

    Raises:
        StorageFull: No space, quota or file size is left; what was written before is intact.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(
                f"No room left to write {path} ({os.strerror(error.errno or 0)}). What was saved before is intact: "
                f"free some space, then {then}."
            ) from error
        raise


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file by way of a temporary one beside it, flushed to the disk and renamed.

    Args:
        path: The file.
        content: Its new content; text is stored as UTF-8.

    Raises:
        StorageFull: No space is left; an older file at ``path`` is intact.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; NaN and infinities become null, a list of numbers one line."""
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, _PLAIN_LIST.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n")


def finite(value: Any) -> Any:
    """Return ``value`` with every NaN and infinity replaced by ``None``, which is what JSON can say."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
