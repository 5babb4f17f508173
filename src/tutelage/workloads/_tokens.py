"""From documents to token streams: split by hash, tokenizer from the training part only, one array for each part.

Text larger than memory is fine: documents are read one by one, several times over, and the streams are memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.workloads._cache import cached, content_key
from tutelage.workloads.data import DataSource

_VERSION = 1
#: Longest piece of a document that is split off as one; also what keeps a book from being all training or all not.
PASSAGE_CHARACTERS = 4_000
VALIDATION_FRACTION = 0.1
_HASHES = 2**64
TOKENIZER_FILE = "tokenizer.json"
_AT_ONCE = 512


class TextCodec(Protocol):
    """Turns text into tokens."""

    vocabulary_size: int
    separator: int | None

    def encode(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """Return the tokens of each text, without any added ones."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens; bytes that are no text become question marks of Unicode, separators nothing."""

    def token_bytes(self) -> NDArray[np.float64] | None:
        """Return the UTF-8 bytes each token stands for, or ``None`` where a token has no fixed number of them."""

    def save(self, folder: Path) -> None:
        """Store what is needed to decode the tokens."""


@dataclass(frozen=True)
class Passage:
    """A document, or a piece of a long one; the pieces joined are the document to the last character."""

    text: str
    opens_document: bool


@dataclass(frozen=True)
class EncodedText:
    """Both token streams, memory-mapped, and what is known about them.

    Args:
        train: Tokens to learn from.
        validation: Tokens to measure on.
        token_bytes: UTF-8 bytes of each token, shape ``(vocabulary_size,)``.
        facts: Sizes, and the hash of both streams under ``digest``.
        folder: Where they lie.
    """

    train: NDArray[Any]
    validation: NDArray[Any]
    token_bytes: NDArray[np.float64]
    facts: Mapping[str, Any]
    folder: Path


def cut_into_passages(text: str) -> Iterator[str]:
    """Cut a long document at the ends of paragraphs, lines, sentences or words, whichever comes first in that order."""
    start = 0
    while len(text) - start > PASSAGE_CHARACTERS:
        end = start + PASSAGE_CHARACTERS
        for sign in ("\n\n", "\n", ". ", " "):
            place = text.rfind(sign, start + PASSAGE_CHARACTERS // 2, end)
            if place >= 0:
                end = place + len(sign)
                break
        yield text[start:end]
        start = end
    yield text[start:]


def passage_hash(text: str) -> int:
    """Return a 64-bit hash of a text, equal on every machine; its place in ``[0, 2**64)`` decides the part."""
    # Lone surrogates occur in JSON; a hash must not fail on them.
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def validation_threshold(hashes: Iterable[int], label: str) -> int:
    """Return the hash below which a text is held out: a tenth of all hashes, moved only where a part would be empty.

    A text's part depends on its own content alone, so more data move nothing and copies of a text stay together.

    Raises:
        DataError: There are not two different texts.
    """
    lowest, highest, share = _HASHES, -1, round(VALIDATION_FRACTION * _HASHES)
    for value in hashes:
        lowest, highest = min(lowest, value), max(highest, value)
    if highest < 0:
        raise DataError(f"{label} holds no text.")
    if lowest == highest:
        raise DataError(
            f"{label} holds a single passage of text; a tenth is held out for validation, so give at least two "
            f"documents, or one of more than {PASSAGE_CHARACTERS} characters."
        )
    return min(max(share, lowest + 1), highest)


def encode_text(
    source: DataSource, text_column: str, *, codec_key: str, make_codec: Callable[[Iterator[str]], TextCodec]
) -> EncodedText:
    """Return the token streams of ``source``, from the cache where they are there.

    Args:
        source: The text.
        text_column: Column that holds it.
        codec_key: Hash of everything the codec depends on besides the text.
        make_codec: Returns the codec, given the passages of the training part.

    Raises:
        DataError: The text cannot be read, or there is too little of it.
    """
    key = content_key(_VERSION, source.digest, text_column, PASSAGE_CHARACTERS, VALIDATION_FRACTION, codec_key)

    def build(folder: Path) -> None:
        _build(folder, source, text_column, make_codec)

    folder = cached("text", key, build)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    streams = [np.memmap(folder / f"{part}.bin", dtype=facts["dtype"], mode="r") for part in ("train", "validation")]
    return EncodedText(streams[0], streams[1], np.load(folder / "token_bytes.npy"), facts, folder)


def passages_of(source: DataSource, text_column: str) -> Iterator[Passage]:
    """Return the passages of all documents in order."""
    for document in source.texts(text_column):
        for number, text in enumerate(cut_into_passages(document)):
            yield Passage(text, number == 0)


def _build(
    folder: Path, source: DataSource, text_column: str, make_codec: Callable[[Iterator[str]], TextCodec]
) -> None:
    threshold = validation_threshold(
        (passage_hash(passage.text) for passage in passages_of(source, text_column)), source.label
    )
    codec = make_codec(
        passage.text for passage in passages_of(source, text_column) if passage_hash(passage.text) >= threshold
    )
    dtype = "<u2" if codec.vocabulary_size <= 2**16 else "<i4"
    counts = {"documents": 0, "train_tokens": 0, "validation_tokens": 0, "train_bytes": 0, "validation_bytes": 0}
    digest = hashlib.sha256()
    parts = ("train", "validation")
    last: dict[str, int] = {}
    passages = enumerate(passages_of(source, text_column))
    with open(folder / "train.bin", "wb") as train, open(folder / "validation.bin", "wb") as validation:
        files = dict(zip(parts, (train, validation), strict=True))
        while chunk := list(islice(passages, _AT_ONCE)):
            encoded = codec.encode([passage.text for _, passage in chunk])
            for (number, passage), tokens in zip(chunk, encoded, strict=True):
                part = parts[passage_hash(passage.text) < threshold]
                # Pieces of one document that meet again in the same part read on without a break.
                joined = not passage.opens_document and last.get(part) == number - 1
                opening = [] if joined or codec.separator is None else [codec.separator]
                row = np.array([*opening, *tokens], dtype=dtype).tobytes()
                files[part].write(row)
                digest.update(part.encode() + row)
                last[part] = number
                counts["documents"] += passage.opens_document
                counts[f"{part}_tokens"] += len(row) // np.dtype(dtype).itemsize
                counts[f"{part}_bytes"] += len(passage.text.encode("utf-8", "surrogatepass"))
    for part in parts:
        if not counts[f"{part}_tokens"]:
            raise DataError(f"{source.label}: the tokenizer made no tokens of the {part} part.")
    sizes = codec.token_bytes()
    if sizes is None:
        # Exact over the whole part; over a few windows of it, the mean stands in for each token.
        sizes = np.full(codec.vocabulary_size, counts["validation_bytes"] / counts["validation_tokens"])
    np.save(folder / "token_bytes.npy", sizes)
    codec.save(folder)
    facts = {**counts, "dtype": dtype, "vocabulary_size": codec.vocabulary_size, "digest": digest.hexdigest()}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


class BytesCodec:
    """Tokens are the bytes of the text; 256 separates documents."""

    vocabulary_size = 257
    separator: int | None = 256

    def encode(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """Return the UTF-8 bytes of each text."""
        return [text.encode("utf-8", "replace") for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of bytes."""
        return bytes(token for token in tokens if token < 256).decode("utf-8", "replace")

    def token_bytes(self) -> NDArray[np.float64]:
        """Return 1 for each byte, 0 for the separator."""
        return np.append(np.ones(256), 0.0)

    def save(self, folder: Path) -> None:
        """Store nothing: bytes need no tokenizer."""


class PairCodec:
    """Byte-level byte-pair encoding; any text is encoded without loss, and no text can be taken for the separator.

    Args:
        texts: Text to learn the pairs from.
        vocabulary: Tokens at most, the 256 bytes and the separator included.
    """

    def __init__(self, texts: Iterator[str], vocabulary: int) -> None:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary - 1,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(map(_sayable, texts), trainer)
        self._use(tokenizer)

    def _use(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        # The separator is no token of the tokenizer: what users write must never become one.
        self.separator: int | None = tokenizer.get_vocab_size()
        self.vocabulary_size: int = tokenizer.get_vocab_size() + 1

    @classmethod
    def read(cls, content: bytes, where: str) -> PairCodec:
        """Read a tokenizer that :meth:`save` wrote.

        Args:
            content: The file's content.
            where: What to call it in an error.

        Raises:
            DataError: It is no tokenizer, or one of another kind, whose tokens stand for no fixed number of bytes.
        """
        from tokenizers import Tokenizer

        try:
            kind = json.loads(content)
            known = kind["model"]["type"] == "BPE" and kind["pre_tokenizer"]["type"] == "ByteLevel"
            tokenizer = Tokenizer.from_str(content.decode())
        except Exception as error:  # the library raises its own faults as plain Exception
            raise DataError(f"{where} is no tokenizer that can be read ({error}).") from None
        if not known:
            raise DataError(
                f"{where} is no byte-level byte-pair tokenizer of this library; for one of transformers give model=."
            )
        codec = cls.__new__(cls)
        codec._use(tokenizer)
        return codec

    def encode(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """Return the tokens of each text."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(list(map(_sayable, texts)))]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        text: str = self.tokenizer.decode([token for token in tokens if token != self.separator])
        return text

    def token_bytes(self) -> NDArray[np.float64]:
        """Return the bytes of each token: its length in the byte-level alphabet, which has one character a byte."""
        sizes = np.zeros(self.vocabulary_size)
        for token, number in self.tokenizer.get_vocab().items():
            sizes[number] = len(token)
        return sizes

    def save(self, folder: Path) -> None:
        """Store the tokenizer as ``tokenizer.json``."""
        self.tokenizer.save(str(folder / TOKENIZER_FILE))


def _sayable(text: str) -> str:
    """Return ``text`` with lone surrogates, which UTF-8 has no bytes for, as question marks."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
