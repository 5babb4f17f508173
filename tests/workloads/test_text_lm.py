"""text-lm with our decoder: from the user's file to a model that has learned something."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.workloads.loops import hand_loop, measure

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.workloads import TextLM, prepare

TEXTS = [
    f"{n}. " + " ".join(f"{a} {b}" for a in ("red", "green", "blue") for b in ("fox", "dog", "hen")) for n in range(300)
]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stories") / "stories.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


def test_the_embedded_text_is_ready_without_a_network() -> None:
    workload = prepare("text-lm:validation_windows=8")
    assert len(workload.train) > 5_000
    assert len(workload.validation) == 8
    assert workload.tokens_per_example == 128
    assert workload.notes["vocabulary_size"] == 1024
    assert 2 < workload.notes["bytes_per_token"] < 4
    assert workload.notes["data"].startswith("standard library of Python 3.")
    assert workload.spec == "text-lm:validation_windows=8"
    inputs, targets = workload.train.batch(np.array([3, 0]))
    assert inputs.shape == targets.shape == (2, 128)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    # A model that knows nothing yet says every token is as likely as any other.
    torch.manual_seed(0)
    assert measure(workload, workload.make_model())["loss"] == pytest.approx(math.log(1024), rel=0.15)


def test_the_default_learns_more_than_how_often_tokens_occur() -> None:
    workload = prepare("text-lm:validation_windows=16")
    counts = Counter(np.asarray(workload.train.tokens).tolist())
    total = sum(counts.values())
    entropy = -sum(count / total * math.log(count / total) for count in counts.values())
    assert hand_loop(workload, 60)["loss"] < entropy


@pytest.mark.parametrize("tokenizer", ["bpe", "bytes"])
def test_a_users_file_is_learned(stories: Path, tokenizer: str) -> None:
    workload = TextLM(data=stories, context=32, tokenizer=tokenizer, vocabulary=300).prepare()
    torch.manual_seed(0)
    before = measure(workload, workload.make_model())
    after = hand_loop(workload, 40)
    assert after["loss"] < before["loss"] / 2
    if tokenizer == "bytes":
        # One token is one byte, so bits per byte are the loss in bits, separators aside.
        separators = sum(
            int((workload.validation.batch(np.array([i]))[1] == 256).sum()) for i in range(len(workload.validation))
        )
        tokens = len(workload.validation) * 32
        expected = after["loss"] / math.log(2) * tokens / (tokens - separators)
        assert after["bits_per_byte"] == pytest.approx(expected, rel=1e-6)


def test_metrics_are_sums_over_tokens_and_bytes(stories: Path) -> None:
    workload = TextLM(data=stories, context=16, vocabulary=300).prepare()
    torch.manual_seed(0)
    model = workload.make_model().eval()
    batch = workload.validation.batch(np.arange(5))
    with torch.no_grad():
        found = workload.measure(model, batch)
        mean = workload.loss(model, batch).item()
    assert found["loss"] == (pytest.approx(mean * 80), 80)
    bits, size = found["bits_per_byte"]
    assert bits == pytest.approx(mean * 80 / math.log(2))
    text = TextLM(data=stories, context=16, vocabulary=300)._texts().own
    assert size == text.token_bytes[batch[1].numpy()].sum()
    whole = measure(workload, model, 3)
    assert whole == pytest.approx(measure(workload, model, 50), rel=1e-5)


def test_equal_seeds_give_equal_weights_and_others_do_not(stories: Path) -> None:
    workload = TextLM(data=stories, context=16, vocabulary=300).prepare()

    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return [parameter.detach() for parameter in workload.make_model().parameters()]

    assert all(torch.equal(a, b) for a, b in zip(weights(1), weights(1), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(1), weights(2), strict=True))


def test_the_fingerprint_follows_data_tokens_and_model(stories: Path, tmp_path: Path) -> None:
    base = {"data": stories, "context": 16, "vocabulary": 300}
    other = tmp_path / "other.jsonl"
    other.write_text(stories.read_text().replace("299.", "Z99."))
    same = tmp_path / "same.jsonl"
    same.write_text(stories.read_text())
    changes: list[dict] = [
        {},
        {"data": other},
        {"context": 17},
        {"vocabulary": 270},
        {"tokenizer": "bytes"},
        {"validation_windows": 3},
        {"size": "tiny"},
    ]
    prints = [TextLM(**{**base, **change}).prepare().fingerprint for change in changes]
    assert len(set(prints)) == len(changes)
    assert TextLM(**{**base, "data": same}).prepare().fingerprint == prints[0]


def test_it_travels_to_another_process(stories: Path) -> None:
    workload = TextLM(data=stories, context=16, vocabulary=300).prepare()
    copy = pickle.loads(pickle.dumps(workload))
    assert copy.fingerprint == workload.fingerprint
    assert hand_loop(copy, 2) == hand_loop(workload, 2)
    again = prepare(workload.spec)
    assert again.fingerprint == workload.fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": 1}, "TextLM: context must be >= 2, got 1"),
        ({"tokenizer": "words"}, 'tokenizer must be "bpe", "bytes", a run folder or .*, and there is no "words"'),
        ({"vocabulary": 256}, r"vocabulary must be >= 257 \(all bytes and a separator\), got 256"),
        ({"init": "zeros"}, 'init must be "pretrained" or "random", got "zeros"'),
        ({"validation_windows": 0}, "validation_windows must be >= 1 or none, got 0"),
    ],
)
def test_bad_settings(settings, message: str) -> None:
    with pytest.raises((ValueError, DataNotFound), match=message):
        TextLM(**settings)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("text-lm:contxt=9", r'no argument "contxt"\. Did you mean "context"\?'),
        ("text-lm:context=many", 'context must be a whole number, got "many"'),
        ("text-lm:tokenizer=bpee", r'there is no "bpee"\. Did you mean "bpe"'),
        ("text-lm:context=1", "context must be >= 2"),
        ("text-lm:size=gigantic", "gigantic"),
    ],
)
def test_bad_specs(spec: str, message: str) -> None:
    with pytest.raises((ConfigError, DataNotFound), match=message):
        prepare(spec)


def test_too_little_text(tmp_path: Path) -> None:
    path = tmp_path / "little.jsonl"
    path.write_text('{"text": "A few words."}\n{"text": "A few more."}\n')
    with pytest.raises(
        DataError, match=r"little.jsonl: its training part has \d+ tokens, less than a window of 128 and its"
    ):
        TextLM(data=path).prepare()
    path.write_text('{"text": "A few words."}\n')
    with pytest.raises(DataError, match=r"little.jsonl holds a single passage of text; .* at least two documents"):
        TextLM(data=path).prepare()
    path.write_text('{"text": " "}\n')
    with pytest.raises(DataError, match=r"little.jsonl holds no text"):
        TextLM(data=path).prepare()


@pytest.mark.data
@pytest.mark.parametrize(("name", "folder"), [("shakespeare", "text_shakespeare"), ("law-de", "text_law_de")])
def test_named_text_is_learned(shared_data, name: str, folder: str) -> None:
    shared_data(folder)
    workload = prepare(f"text-lm:data={name},context=32,vocabulary=512,validation_windows=16")
    torch.manual_seed(0)
    before = measure(workload, workload.make_model())["loss"]
    assert hand_loop(workload, 20)["loss"] < before - 0.5
