"""What a word is, for every signal that counts words; and tokens by a tokenizer instead."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.signals._protocol import BadRow, Batch

#: A run of letters, digits and underscores, with apostrophes and hyphens inside it.
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
#: Cuts a text into pieces: words, or tokens.
Cut = Callable[[str], Sequence[Any]]


def words(text: str) -> list[str]:
    """Return the words of a text: runs of letters and digits, with apostrophes and hyphens inside them.

    Example:
        >>> words("Don't stop - it's a well-known 1980s song.")
        ["Don't", 'stop', "it's", 'a', 'well-known', '1980s', 'song']
    """
    return _WORD.findall(text)


def texts_of(batch: Batch, name: str) -> list[str]:
    """Return a column of texts.

    Raises:
        BadRow: A value that is no text.
    """
    values = list(batch[name])
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise BadRow(row, f'column "{name}" must hold text, got {type(value).__name__} {value!r:.40}.')
    return values


def cutter(tokenizer: str | Cut | None) -> Cut:
    """Return what cuts a text: :func:`words`, a function as given, or the tokenizer of a file, a folder or the hub."""
    if tokenizer is None:
        return words
    if callable(tokenizer):
        return tokenizer
    return _opened(tokenizer)[0]


def cutter_fingerprint(tokenizer: str | Cut | None) -> str:
    """Return a hash of a tokenizer that is named, empty for a function or none."""
    return _opened(tokenizer)[1] if isinstance(tokenizer, str) else ""


@functools.lru_cache(maxsize=4)
def _opened(name: str) -> tuple[Cut, str]:
    """Open a tokenizer.

    Raises:
        DataNotFound: There is none of that name.
        DataError: The file cannot be read.
    """
    from tokenizers import Tokenizer

    path = Path(name).expanduser()
    file = path / "tokenizer.json" if path.is_dir() else path
    if file.is_file():
        try:
            found = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing more precise
            raise DataError(f"{file} is no tokenizer ({' '.join(str(error).split())}).") from None
    elif path.is_dir():
        raise DataNotFound(f"{path} holds no tokenizer.json; save it: tokenizer.save_pretrained({path}).")
    else:
        try:
            found = Tokenizer.from_pretrained(name)
        except Exception as error:  # what goes wrong between here and the hub has no common base class
            raise DataNotFound(
                f"No tokenizer {name}: there is no such file or folder here ({path.absolute()}), and the hub gave none "
                f"({' '.join(str(error).split())[:120]})."
            ) from None

    def cut(text: str) -> Sequence[int]:
        ids: Sequence[int] = found.encode(text, add_special_tokens=False).ids
        return ids

    return cut, hashlib.blake2b(found.to_str().encode(), digest_size=16).hexdigest()


def check_tokenizer(part: str, tokenizer: object) -> None:
    """Refuse a tokenizer that is neither a name nor a function."""
    if not (tokenizer is None or isinstance(tokenizer, str) or callable(tokenizer)):
        raise ConfigError(
            f"{part}: tokenizer must be a file, a folder, a hub id or a function, got {type(tokenizer).__name__}."
        )
