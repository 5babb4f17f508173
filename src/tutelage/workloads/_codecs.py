"""Which tokenizer a text is cut by: learned, none, that of another run, or that of a transformers model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tutelage.errors import DataNotFound, did_you_mean
from tutelage.training.folder import FILES, read_run, run_folder
from tutelage.workloads._cache import content_key
from tutelage.workloads._tokens import TOKENIZER_FILE, BytesCodec, PairCodec, TextCodec

if TYPE_CHECKING:
    from tutelage.workloads._transformers import HubModel

#: What a tokenizer is called that comes from no other run.
TOKENIZERS = ("bpe", "bytes")


def check_model_and_tokenizer(settings: Any, mark: str) -> None:
    """Check what a workload of text says of its model and tokenizer.

    Args:
        settings: The workload's, with ``model``, ``init``, ``size``, ``tokenizer`` and ``vocabulary``.
        mark: What its tokenizer needs beside all bytes.

    Raises:
        DataNotFound: No tokenizer of that name.
        ValueError: Settings out of range, or that exclude each other.
    """
    owner = type(settings).__name__
    if settings.tokenizer not in TOKENIZERS and not Path(settings.tokenizer).expanduser().exists():
        raise DataNotFound(
            f'{owner}: tokenizer must be "bpe", "bytes", a run folder or a tokenizer.json, and there is no '
            f'"{settings.tokenizer}".{did_you_mean(settings.tokenizer, TOKENIZERS)}'
        )
    if settings.tokenizer == "bpe" and settings.vocabulary < 257:
        raise ValueError(f"{owner}: vocabulary must be >= 257 (all bytes and {mark}), got {settings.vocabulary}.")
    if settings.init not in ("pretrained", "random"):
        raise ValueError(f'{owner}: init must be "pretrained" or "random", got "{settings.init}".')
    sizes = ("size", "tokenizer", "vocabulary")
    own = [name for name in sizes if getattr(settings, name) != getattr(type(settings), name)]
    if settings.model is not None and own:
        raise ValueError(f"{owner}: model brings its own size and tokenizer; leave out {', '.join(own)}.")


class Codec(NamedTuple):
    """How text becomes tokens: the hash of all that decides it, and what makes it, given the training part."""

    key: str
    make: Callable[[Iterator[str]], TextCodec]


def _given(codec: TextCodec, texts: Iterator[str]) -> TextCodec:
    """Return a codec that needs no text to learn from."""
    return codec


def codec_of(tokenizer: str, vocabulary: int) -> Codec:
    """Return the codec that ``bpe``, ``bytes``, a run folder or a stored tokenizer names.

    Raises:
        DataNotFound: A folder that holds no run, or a run without a tokenizer of its own.
        DataError: A file that is no tokenizer of this library.
    """
    import tokenizers

    if tokenizer == "bpe":
        key = content_key("bpe", vocabulary, tokenizers.__version__)
        return Codec(key, partial(PairCodec, vocabulary=vocabulary))
    found = None if tokenizer == "bytes" else _stored_tokenizer(Path(tokenizer).expanduser())
    return Codec("bytes", partial(_given, BytesCodec())) if found is None else stored_pairs(found)


def codec_of_model(hub: HubModel) -> Codec:
    """Return the codec of a transformers model."""
    from tutelage.workloads._transformers import HubCodec

    codec = HubCodec(hub)
    return Codec(hub.tokenizer_digest(), partial(_given, cast("TextCodec", codec)))


def stored_pairs(path: Path) -> Codec:
    """Return the codec of a stored tokenizer.

    Raises:
        DataError: It is no tokenizer of this library.
    """
    import tokenizers

    content = path.read_bytes()
    codec = PairCodec.read(content, str(path))
    key = content_key("stored", hashlib.sha256(content).hexdigest(), tokenizers.__version__)
    return Codec(key, partial(_given, codec))


def _stored_tokenizer(path: Path) -> Path | None:
    """Return the stored tokenizer of a run, or the file itself; ``None`` for a run on plain bytes."""
    if path.is_file():
        return path
    folder = run_folder(path)
    stored = folder / FILES / TOKENIZER_FILE
    if stored.exists():
        return stored
    if read_run(folder).notes.get("tokenizer") == "bytes":
        return None
    raise DataNotFound(
        f"The run in {folder} keeps no {TOKENIZER_FILE}; if it trained a model of transformers, give its model=."
    )


def metric_name(data: str) -> str:
    """Return what a text is called in the names of metrics: a data set's name, or a file's without its endings.

    Example:
        >>> metric_name("novels-en"), metric_name("texts/my notes.jsonl.gz")
        ('novels_en', 'my_notes')
    """
    return re.sub(r"\W+", "_", Path(data).name.partition(".")[0] or data).strip("_") or "text"
