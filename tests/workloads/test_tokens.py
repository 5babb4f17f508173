"""From documents to streams: nothing lost, nothing leaked, nothing that depends on what else there is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tutelage.errors import DataError
from tutelage.workloads import _tokens
from tutelage.workloads._tokens import (
    PASSAGE_CHARACTERS,
    BytesCodec,
    PairCodec,
    cut_into_passages,
    encode_text,
    passage_hash,
    validation_threshold,
)
from tutelage.workloads.data import DataSource, open_data

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "while", "seven", "wizards", "brew", "tea"]


def documents(count: int, words: int = 60, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [f"Document {number}: " + " ".join(rng.choice(WORDS, words)) + "." for number in range(count)]


def source(folder: Path, texts: list[str], name: str = "texts.jsonl") -> DataSource:
    (folder / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return open_data(folder / name)


def split(texts: list[str]) -> tuple[set[str], set[str]]:
    threshold = validation_threshold(map(passage_hash, texts), "test")
    return {t for t in texts if passage_hash(t) >= threshold}, {t for t in texts if passage_hash(t) < threshold}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


@given(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.integers(0, 700),
    st.sampled_from(["", " ", "\n", "\n\n", ". "]),
)
def test_passages_join_to_the_document_and_are_short(piece: str, times: int, sign: str) -> None:
    text = (piece + sign) * times
    passages = list(cut_into_passages(text))
    assert "".join(passages) == text
    assert all(len(passage) <= PASSAGE_CHARACTERS for passage in passages)
    assert all(passages) or not text


def test_passages_end_where_a_paragraph_does() -> None:
    text = ("a sentence. " * 30 + "\n\n") * 40
    *passages, _ = cut_into_passages(text)
    assert passages
    assert all(passage.endswith("\n\n") for passage in passages)


def test_hashes_never_change() -> None:
    # Written down once: another hash would silently move texts to the other part.
    assert passage_hash("tutelage") == 0x914B68CF1BF7EA23
    assert passage_hash("\ud800") == passage_hash("\ud800") != passage_hash("\ud801")


def test_a_tenth_is_held_out_and_the_parts_are_apart() -> None:
    train, validation = split(documents(5_000, 5))
    assert not train & validation
    # Binomial with 5,000 draws: four standard deviations are 0.017.
    assert abs(len(validation) / 5_000 - 0.1) < 0.017


@given(st.integers(1, 40), st.integers(0, 40))
def test_more_documents_move_none(count: int, more: int) -> None:
    texts = documents(60 + count + more, 4)
    some_train, some_validation = split(texts[: 60 + count])
    all_train, all_validation = split(texts)
    assert some_train <= all_train
    assert some_validation <= all_validation


@given(st.sets(st.integers(0, 2**64 - 1), min_size=2, max_size=6))
def test_neither_part_is_ever_empty(hashes: set[int]) -> None:
    threshold = validation_threshold(hashes, "test")
    assert any(value < threshold for value in hashes)
    assert any(value >= threshold for value in hashes)


@pytest.mark.parametrize(
    ("hashes", "message"), [([], "holds no text"), ([5], "single passage"), ([5, 5], "single passage")]
)
def test_too_little_to_split(hashes: list[int], message: str) -> None:
    with pytest.raises(DataError, match=f"notes.txt holds (a )?{message.removeprefix('holds ')}"):
        validation_threshold(hashes, "notes.txt")


def decode(stream: np.ndarray, separator: int, decoder) -> list[str]:
    cuts = np.flatnonzero(stream == separator)
    return [decoder(stream[a + 1 : b].tolist()) for a, b in zip(cuts, [*cuts[1:], len(stream)], strict=True)]


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_streams_hold_every_document_to_the_last_character(tmp_path: Path, kind: str) -> None:
    texts = [*documents(120), "Grün 日本 🦊\n\ttabs  and  spaces ", "<|endoftext|> is text here", "long. " * 3_000]
    found = encode_text(
        source(tmp_path, texts),
        "text",
        codec_key=kind,
        make_codec=lambda train: BytesCodec() if kind == "bytes" else PairCodec(train, 400),
    )
    if kind == "bytes":
        separator, decoder = 256, lambda tokens: bytes(tokens).decode()
    else:
        tokenizer = Tokenizer.from_file(str(found.folder / "tokenizer.json"))
        separator, decoder = (
            tokenizer.get_vocab_size(),
            lambda tokens: tokenizer.decode(tokens, skip_special_tokens=False),
        )
    train, validation = (decode(np.asarray(stream), separator, decoder) for stream in (found.train, found.validation))
    whole = [text for text in texts if len(text) <= PASSAGE_CHARACTERS]
    expected_train, expected_validation = split([p for text in texts for p in cut_into_passages(text)])
    assert sorted(text for text in train if text in whole) == sorted(text for text in whole if text in expected_train)
    assert sorted(text for text in validation if text in whole) == sorted(t for t in whole if t in expected_validation)
    assert len("".join(train + validation)) == len("".join(texts))
    assert found.token_bytes[separator] == 0
    sizes = found.token_bytes[np.asarray(found.train)].sum(), found.token_bytes[np.asarray(found.validation)].sum()
    assert sizes == (found.facts["train_bytes"], found.facts["validation_bytes"])
    assert sum(sizes) == sum(len(text.encode()) for text in texts)


def test_pieces_of_a_book_read_on_without_a_break(tmp_path: Path) -> None:
    book = "".join(f"Sentence {number} of the book. " for number in range(2_000))
    pieces = list(cut_into_passages(book))
    found = encode_text(source(tmp_path, [book]), "text", codec_key="bytes", make_codec=lambda train: BytesCodec())
    train, validation = split(pieces)
    for stream, part in ((found.train, train), (found.validation, validation)):
        runs: list[str] = []
        previous = -2
        for number, piece in enumerate(pieces):
            if piece in part:
                if number == previous + 1:
                    runs[-1] += piece
                else:
                    runs.append(piece)
                previous = number
        assert decode(np.asarray(stream), 256, lambda tokens: bytes(tokens).decode()) == runs


def test_the_tokenizer_learns_from_the_training_part_only(tmp_path: Path) -> None:
    # A word that only held-out documents have, often enough to become a token if it were looked at.
    marked = [text.replace("Document", "Zyxwvut") for text in documents(800)]
    plain = documents(400, seed=1)
    tenth = 2**64 // 10
    texts = [t for t in plain if passage_hash(t) >= tenth] + [t for t in marked if passage_hash(t) < tenth]
    assert len([text for text in texts if "Zyxwvut" in text]) > 40
    assert "Zyxwvut" in PairCodec(iter(texts), 700).tokenizer.get_vocab()
    found = encode_text(source(tmp_path, texts), "text", codec_key="a", make_codec=lambda train: PairCodec(train, 700))
    vocabulary = Tokenizer.from_file(str(found.folder / "tokenizer.json")).get_vocab()
    assert "Document" in vocabulary
    assert not [token for token in vocabulary if "Zy" in token]


def test_token_lengths_are_those_of_the_bytes_they_decode_to() -> None:
    codec = PairCodec(iter(documents(100)), 600)
    sizes = codec.token_bytes()
    for text in ("the quick brown fox", "naïve 日本", "a\n\n\tb", "".join(map(chr, range(32, 400)))):
        [tokens] = codec.encode([text])
        assert sizes[list(tokens)].sum() == len(text.encode())
    assert sizes[codec.separator] == 0
    assert len(sizes) == codec.vocabulary_size <= 600


def test_a_lone_surrogate_stops_nothing(tmp_path: Path) -> None:
    for kind in (lambda train: BytesCodec(), lambda train: PairCodec(train, 300)):
        texts = [*documents(40), "bad \ud800 half"]
        found = encode_text(source(tmp_path, texts), "text", codec_key=str(kind), make_codec=kind)
        assert len(found.train)


def test_sixteen_bits_are_used_as_long_as_they_suffice(tmp_path: Path) -> None:
    class Wide(BytesCodec):
        vocabulary_size = 70_000
        separator = 69_999

        def token_bytes(self):
            return None

    for codec, dtype in ((BytesCodec(), np.uint16), (Wide(), np.int32)):
        found = encode_text(
            source(tmp_path, documents(50)), "text", codec_key=str(dtype), make_codec=lambda t, c=codec: c
        )
        assert found.train.dtype == dtype
        assert isinstance(found.train, np.memmap)
    assert found.train.max() == 69_999
    assert found.token_bytes[found.validation].sum() == pytest.approx(found.facts["validation_bytes"])


def test_the_same_text_is_encoded_once_and_other_text_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    real = _tokens._build

    def counting(folder: Path, source: DataSource, *rest) -> None:
        built.append(source.label)
        real(folder, source, *rest)

    monkeypatch.setattr(_tokens, "_build", counting)

    def encode(texts: list[str], name: str, key: str = "bytes") -> str:
        found = encode_text(source(tmp_path, texts, name), "text", codec_key=key, make_codec=lambda train: BytesCodec())
        return found.facts["digest"]

    first = encode(documents(50), "a.jsonl")
    assert encode(documents(50), "b.jsonl") == first
    assert len(built) == 1
    assert encode(documents(51), "a.jsonl") != first
    assert encode(documents(50), "a.jsonl", "other") == first
    assert len(built) == 3


LEARN = """
import json, sys
from tutelage.workloads._tokens import PairCodec
texts = json.load(open(sys.argv[1]))
print(json.dumps(sorted(PairCodec(iter(texts), 900).tokenizer.get_vocab().items())))
"""


def test_another_process_learns_the_same_tokens(tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text(json.dumps(documents(300, 40)))
    outputs = {
        subprocess.run(
            [sys.executable, "-c", LEARN, str(tmp_path / "texts.json")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
