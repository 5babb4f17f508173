"""From rows with a text and a label to token sequences with label numbers, split by hash label by label."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.workloads._cache import cached, content_key
from tutelage.workloads._rows import as_text
from tutelage.workloads._tokens import VALIDATION_FRACTION, passage_hash, validation_threshold
from tutelage.workloads.data import DataSource
from tutelage.workloads.stores import RaggedStore

_VERSION = 1
_AT_ONCE = 1_024
#: Above this many texts a bag of words has said what it can; more would only take longer.
_BASELINE_TEXTS = 20_000

#: Turns texts into token sequences, each cut to the context.
Encode = Callable[[Sequence[str]], list[Sequence[int]]]


@dataclass(frozen=True)
class LabelledText:
    """Both parts and what is known about them.

    Args:
        train: Sequences to learn from.
        validation: Sequences to measure on.
        labels: Label names, by number.
        vocabulary_size: Tokens there are.
        facts: Sizes, baselines, and the hash of both parts under ``digest``.
    """

    train: RaggedStore
    validation: RaggedStore
    labels: tuple[str, ...]
    vocabulary_size: int
    facts: Mapping[str, Any]


def encode_labelled(
    source: DataSource,
    text_column: str,
    label_column: str,
    *,
    codec_key: str,
    make_codec: Callable[[Iterator[str]], tuple[Encode, int, int]],
) -> LabelledText:
    """Return the encoded rows of ``source``, from the cache where they are there.

    Args:
        source: The rows.
        text_column: Column of the text.
        label_column: Column of the label.
        codec_key: Hash of everything the encoding depends on besides the rows.
        make_codec: Returns how to encode, the vocabulary's size and the padding token, given the training texts.

    Raises:
        DataError: The rows cannot be used.
    """
    key = content_key(_VERSION, source.digest, text_column, label_column, VALIDATION_FRACTION, codec_key)

    def build(folder: Path) -> None:
        texts, labels, names = _read(source, text_column, label_column)
        held_out = _held_out(texts, labels, source.label)
        encode, vocabulary_size, padding = make_codec(
            text for text, out in zip(texts, held_out, strict=True) if not out
        )
        digest = hashlib.sha256(json.dumps(names).encode())
        arrays: dict[str, NDArray[Any]] = {}
        for part, out in (("train", False), ("validation", True)):
            chosen = np.flatnonzero(held_out == out)
            arrays |= {f"{part}_{name}": value for name, value in _pack(encode, texts, labels, chosen).items()}
        for name in sorted(arrays):
            np.save(folder / f"{name}.npy", arrays[name])
            digest.update(name.encode() + arrays[name].tobytes())
        facts = {
            "labels": names,
            "vocabulary_size": vocabulary_size,
            "padding": padding,
            "digest": digest.hexdigest(),
            **_baselines(texts, labels, held_out),
        }
        (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")

    folder = cached("labelled", key, build)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    stores = [
        RaggedStore(
            *(np.load(folder / f"{part}_{name}.npy") for name in ("tokens", "offsets", "labels")),
            padding=facts["padding"],
        )
        for part in ("train", "validation")
    ]
    return LabelledText(stores[0], stores[1], tuple(facts["labels"]), facts["vocabulary_size"], facts)


def training_column(source: DataSource, text_column: str, label_column: str, column: str) -> list[Any]:
    """Return a column of the rows that are learned from, in their order.

    Raises:
        DataError: There is no such column.
    """
    texts, labels, _ = _read(source, text_column, label_column)
    held_out = _held_out(texts, labels, source.label)
    values = texts if column == text_column else (row[column] for _, row in source.rows([column]))
    return [value for value, out in zip(values, held_out.tolist(), strict=True) if not out]


def _read(source: DataSource, text_column: str, label_column: str) -> tuple[list[str], NDArray[np.int64], list[str]]:
    if text_column == label_column:
        raise DataError(f'The text and the label are both read from column "{text_column}"; name two columns.')
    texts: list[str] = []
    values: list[int | str] = []
    for where, row in source.rows([text_column, label_column]):
        text = as_text(row[text_column], where, text_column)
        if not text.strip():
            raise DataError(f'{where}: column "{text_column}" is empty.')
        texts.append(text)
        values.append(_label(row[label_column], where, label_column))
    if not texts:
        raise DataError(f"{source.label} holds no rows.")
    distinct = set(values)
    if len(distinct) == 1:
        raise DataError(
            f'{source.label}: every row has the label "{values[0]}"; classification needs at least two labels.'
        )
    if len(texts) >= 20 and len(distinct) > len(texts) / 2:
        raise DataError(
            f'{source.label}: column "{label_column}" has {len(distinct)} different values in {len(texts)} rows, so it '
            "is hardly a label; name the right one: label_column=COLUMN."
        )
    numbers = all(re.fullmatch("-?[0-9]+", str(value)) for value in distinct)
    ordered = sorted(distinct, key=(lambda value: (int(value), str(value))) if numbers else str)
    names = list(dict.fromkeys(str(value) for value in ordered))
    number = {name: place for place, name in enumerate(names)}
    return texts, np.array([number[str(value)] for value in values]), names


def _label(value: Any, where: str, column: str) -> int | str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, str) and value.strip()):
        return value.strip() if isinstance(value, str) else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or (isinstance(value, str)):
        raise DataError(f'{where}: column "{column}" has no label.')
    raise DataError(
        f'{where}: column "{column}" is {str(value)[:40]}, which is no label; labels are words or whole numbers.'
    )


def _held_out(texts: Sequence[str], labels: NDArray[np.int64], source: str) -> NDArray[np.bool_]:
    """Return which texts are held out: a tenth of each label by the hash of the text, at least one where it has two."""
    hashes = [passage_hash(text) for text in texts]
    by_label: dict[int, set[int]] = defaultdict(set)
    for label, value in zip(labels.tolist(), hashes, strict=True):
        by_label[label].add(value)
    thresholds = {
        label: validation_threshold(values, source) if len(values) > 1 else 0 for label, values in by_label.items()
    }
    held_out = np.array([value < thresholds[label] for label, value in zip(labels.tolist(), hashes, strict=True)])
    if not held_out.any():
        raise DataError(f"{source}: no label has two different texts, so none can be held out for validation.")
    return held_out


def _pack(
    encode: Encode, texts: Sequence[str], labels: NDArray[np.int64], chosen: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    rows: list[Sequence[int]] = []
    for start in range(0, len(chosen), _AT_ONCE):
        rows += encode([texts[index] for index in chosen[start : start + _AT_ONCE]])
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    tokens = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(offsets[-1]))
    return {"tokens": tokens, "offsets": offsets, "labels": labels[chosen]}


def _baselines(texts: Sequence[str], labels: NDArray[np.int64], held_out: NDArray[np.bool_]) -> dict[str, float | None]:
    """Return the validation accuracies of always saying the commonest label, and of a bag of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    learned = np.flatnonzero(~held_out)
    learned = learned[:: -(-len(learned) // _BASELINE_TEXTS)]  # a stride, because files are often sorted by label
    asked = np.flatnonzero(held_out)
    majority = np.bincount(labels[~held_out]).argmax()
    found: dict[str, float | None] = {
        "majority": round(float((labels[asked] == majority).mean()), 4),
        "bag_of_words": None,
    }
    words = TfidfVectorizer(sublinear_tf=True)
    try:
        features = words.fit_transform(_pick(texts, learned))
    except ValueError:  # not one word of two letters
        return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a baseline that has almost converged is a baseline
        model = LogisticRegression(C=10, max_iter=200).fit(features, labels[learned])
    found["bag_of_words"] = round(float(model.score(words.transform(_pick(texts, asked)), labels[asked])), 4)
    return found


def _pick(texts: Sequence[str], chosen: Iterable[int]) -> list[str]:
    return [texts[index] for index in chosen]
