"""Length in characters, words and tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.signals import BadRow, Length, from_spec, score
from tutelage.signals._protocol import key_of
from tutelage.signals._words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \n", []),
        ("The cat sat.", ["The", "cat", "sat"]),
        ("It's o\u2019clock - a well-known 3-day x_1", ["It's", "o\u2019clock", "a", "well-known", "3-day", "x_1"]),
        ("Straße, déjà vu; Москва", ["Straße", "déjà", "vu", "Москва"]),
        ("'quoted' -dash- 3.5", ["quoted", "dash", "3", "5"]),
    ],
)
def test_words(text, expected) -> None:
    assert words(text) == expected
    assert Length(unit="words").score({"text": [text]})[0] == len(expected)


@given(texts=st.lists(st.text(max_size=20), max_size=8))
def test_characters_are_code_points(texts) -> None:
    np.testing.assert_array_equal(Length().score({"text": texts}), [float(len(text)) for text in texts])


def test_tokens_of_a_tokenizer_file(tmp_path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for place in (tmp_path, tmp_path / "tokenizer.json"):
        signal = from_spec(f"length:unit=tokens,tokenizer={place}")
        assert signal.score({"text": ["a b c.", ""]}).tolist() == [4.0, 0.0]
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "tokenizer.json").rename(moved / "tokenizer.json")
    assert signal.fingerprint() == Length(unit="tokens", tokenizer=str(moved)).fingerprint()


def test_another_tokenizer_is_another_key() -> None:
    assert key_of(Length(unit="tokens", tokenizer=str.split)) != key_of(Length(unit="tokens", tokenizer=list))
    assert score([{"text": "a b"}], Length(unit="tokens", tokenizer=str.split), cache=False).values.tolist() == [2.0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda folder: Length(unit="lines"), ValueError, "unit must be characters, words or tokens"),
        (lambda folder: Length(unit="tokens"), ValueError, "belong together"),
        (lambda folder: Length(tokenizer="x"), ValueError, "belong together"),
        (lambda folder: Length(unit="tokens", tokenizer=5), ConfigError, "tokenizer must be a file"),
        (lambda folder: Length().score({"text": [None]}), BadRow, "must hold text, got NoneType"),
        (lambda folder: Length(unit="tokens", tokenizer=str(folder)).fingerprint(), DataNotFound, "no tokenizer.json"),
        (
            lambda folder: Length(unit="tokens", tokenizer=str(folder / "a.json")).fingerprint(),
            DataError,
            "no tokenizer",
        ),
    ],
)
def test_bad_input(call, error, message, tmp_path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(error, match=message):
        call(tmp_path)
