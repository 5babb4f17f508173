"""text-classification with our encoder: labels, split, baselines, and every table that cannot be used."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.workloads.loops import hand_loop, measure

from tutelage.errors import ConfigError, DataError
from tutelage.workloads import TextClassification, prepare
from tutelage.workloads._labelled import _held_out, _read
from tutelage.workloads.data import open_data

COLOURS = ("red", "green", "blue")


def rows(count: int, seed: int = 0) -> list[dict[str, str]]:
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        colour = COLOURS[rng.integers(3)]
        words = " ".join(rng.choice(["fox", "dog", "hen", "cat"], 3 + rng.integers(10)))
        made.append({"id": str(number), "text": f"{words} {colour} {words} {number}", "label": colour})
    return made


def write(path: Path, table: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    return path


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("colours") / "colours.jsonl", rows(600))


def test_the_embedded_passages_are_neither_trivial_nor_hopeless() -> None:
    workload = prepare("text-classification")
    assert len(workload.train) > 5_000
    assert len(workload.validation) > 500
    assert len(workload.notes["labels"]) == 7
    assert workload.notes["majority_accuracy"] < 0.4
    assert 0.7 < workload.notes["bag_of_words_accuracy"] < 0.97
    after = hand_loop(workload, 60)
    assert after["accuracy"] > workload.notes["majority_accuracy"] + 0.05


def test_a_users_table_is_learned(colours: Path) -> None:
    workload = TextClassification(data=colours, vocabulary=400, context=48).prepare()
    torch.manual_seed(0)
    before = measure(workload, workload.make_model())
    after = hand_loop(workload, 120)
    assert before["accuracy"] < 0.6
    assert after["accuracy"] > 0.9
    assert after["loss"] < before["loss"]
    assert workload.notes["labels"] == ["blue", "green", "red"]
    assert workload.notes["bag_of_words_accuracy"] > 0.95


def test_labels_stand_beside_their_texts(colours: Path) -> None:
    workload = TextClassification(data=colours, vocabulary=400, context=64).prepare()
    text = TextClassification(data=colours, vocabulary=400, context=64)._encode(None)
    texts, labels, names = _read(open_data(colours), "text", "label")
    held_out = _held_out(texts, labels, "test")
    assert [names[label] for label in labels] == [row["label"] for row in rows(600)]
    for store, part in ((workload.train, ~held_out), (workload.validation, held_out)):
        assert store.batch(np.arange(len(store)))[2].tolist() == labels[part].tolist()
    tokens, mask, _ = workload.train.batch(np.arange(20))
    assert (tokens[:, 0] == text.vocabulary_size - 1).all()
    assert mask[:, 0].all()


def test_what_stands_in_the_padding_does_not_matter(colours: Path) -> None:
    workload = TextClassification(data=colours, vocabulary=400, context=64).prepare()
    torch.manual_seed(0)
    model = workload.make_model().eval()
    tokens, mask, labels = workload.train.batch(np.arange(6))
    assert not mask.all()
    other = torch.where(mask, tokens, 5)
    with torch.no_grad():
        together = [workload.measure(model, (kind, mask, labels))["loss"][0] for kind in (tokens, other)]
        alone = [workload.measure(model, workload.train.batch(np.array([i])))["loss"][0] for i in range(6)]
    assert together[0] == together[1]
    assert sum(alone) == pytest.approx(together[0], rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_split_is_by_content_and_keeps_every_label_on_both_sides(seed: int) -> None:
    table = rows(200 + 37 * seed, seed)
    texts = [row["text"] for row in table]
    labels = np.array([COLOURS.index(row["label"]) for row in table])
    held_out = _held_out(texts, labels, "test")
    order = np.random.default_rng(seed).permutation(len(texts))
    shuffled = _held_out([texts[i] for i in order], labels[order], "test")
    assert (shuffled == held_out[order]).all()
    half = slice(0, len(texts) // 2)
    assert (_held_out(texts[half], labels[half], "test") == held_out[half]).all()
    for label in range(3):
        assert 0 < held_out[labels == label].mean() < 0.3
    twins = _held_out(texts + texts[:20], np.append(labels, labels[:20]), "test")
    assert (twins[-20:] == twins[:20]).all()


def test_a_label_with_one_text_is_learned_from(tmp_path: Path) -> None:
    table = [*rows(60), {"text": "the only one", "label": "rare"}]
    texts, labels, names = _read(open_data(write(tmp_path / "a.jsonl", table)), "text", "label")
    assert names == ["blue", "green", "rare", "red"]
    assert not _held_out(texts, labels, "test")[-1]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([10, 9, 2], ["2", "9", "10"]),
        (["10", "9", "2"], ["2", "9", "10"]),
        ([1.0, 0.0, -1.0], ["-1", "0", "1"]),
        ([True, False, True], ["false", "true"]),
        ([" yes", "no ", "yes"], ["no", "yes"]),
        (["b", 2, "a"], ["2", "a", "b"]),
    ],
)
def test_labels_are_words_or_whole_numbers_in_order(tmp_path: Path, values: list, names: list[str]) -> None:
    table = [{"text": f"text {n}", "label": value} for n, value in enumerate(values)]
    texts, labels, found = _read(open_data(write(tmp_path / "a.jsonl", table)), "text", "label")
    assert found == names
    spelled = [str(int(v) if isinstance(v, float) else v).strip().lower() for v in values]
    assert [found[label] for label in labels] == spelled
    assert len(texts) == 3


def test_the_fingerprint_follows_rows_and_model(colours: Path, tmp_path: Path) -> None:
    base = {"data": colours, "vocabulary": 400, "context": 32}
    relabelled = rows(600)
    relabelled[3]["label"] = next(colour for colour in COLOURS if colour != relabelled[3]["label"])
    changes: list[dict] = [
        {},
        {"data": write(tmp_path / "b.jsonl", relabelled)},
        {"context": 33},
        {"vocabulary": 270},
        {"size": "tiny"},
    ]
    prints = [TextClassification(**{**base, **change}).prepare().fingerprint for change in changes]
    assert len(set(prints)) == len(changes)
    copy = TextClassification(**{**base, "data": write(tmp_path / "c.jsonl", rows(600))})
    assert copy.prepare().fingerprint == prints[0]


def test_it_travels_to_another_process(colours: Path) -> None:
    workload = TextClassification(data=colours, vocabulary=400, context=32).prepare()
    copy = pickle.loads(pickle.dumps(workload))
    assert hand_loop(copy, 2) == hand_loop(workload, 2)
    assert prepare(workload.spec).fingerprint == workload.fingerprint


ONE = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}]
TABLES = [
    (
        [{"text": "a", "lable": "x"}],
        r'a.jsonl line 1: no column "label"\. Did you mean "lable"\? It has: text, lable\.',
    ),
    ([{"txt": "a", "label": "x"}], r'line 1: no column "text"\. Did you mean "txt"'),
    ([*ONE, {"text": "c", "label": None}], r'a.jsonl line 3: column "label" has no label\.'),
    ([*ONE, {"text": "c", "label": " "}], r'a.jsonl line 3: column "label" has no label\.'),
    (
        [*ONE, {"text": "c", "label": 0.5}],
        r'line 3: column "label" is 0\.5, which is no label; labels are words or whole',
    ),
    ([*ONE, {"text": "c", "label": ["x"]}], r"line 3: column \"label\" is \['x'\], which is no label"),
    ([*ONE, {"text": "  ", "label": "x"}], r'a.jsonl line 3: column "text" is empty\.'),
    ([*ONE, {"text": None, "label": "x"}], r'a.jsonl line 3: column "text" is missing \(null\)'),
    (
        [{"text": str(n), "label": "x"} for n in range(9)],
        'every row has the label "x"; classification needs at least two',
    ),
    (
        [{"text": str(n), "label": n} for n in range(30)],
        r'"label" has 30 different values in 30 rows, .* label_column=COLUMN',
    ),
    (ONE, "no label has two different texts, so none can be held out"),
]


@pytest.mark.parametrize(("table", "message"), TABLES, ids=range(len(TABLES)))
def test_tables_that_cannot_be_used(tmp_path: Path, table: list[dict], message: str) -> None:
    path = write(tmp_path / "a.jsonl", table)
    with pytest.raises(DataError, match=message):
        TextClassification(data=path).prepare()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": 1}, "context must be >= 2, got 1"),
        ({"vocabulary": 100}, "vocabulary must be >= 257"),
        ({"init": "zeros"}, 'init must be "pretrained" or "random", got "zeros"'),
    ],
)
def test_bad_settings(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextClassification(**settings)


def test_text_and_label_in_one_column(colours: Path) -> None:
    with pytest.raises(DataError, match='both read from column "text"; name two columns'):
        TextClassification(data=colours, label_column="text").prepare()
    with pytest.raises(ConfigError, match='no argument "labels"'):
        prepare("text-classification:labels=x")


def test_texts_without_a_word_have_no_bag_of_words(tmp_path: Path) -> None:
    table = [{"text": "!" * (n + 1), "label": str(n % 2)} for n in range(40)]
    workload = TextClassification(data=write(tmp_path / "a.jsonl", table)).prepare()
    assert workload.notes["bag_of_words_accuracy"] is None
    assert 0 <= workload.notes["majority_accuracy"] <= 1
