"""text-lm on where a run stopped: its tokenizer and model, old text to replay, further text to measure on."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tutelage.errors import ConfigError, DataError, DataNotFound
from tutelage.evaluation import ForgettingReport
from tutelage.training import train
from tutelage.workloads import TextLM, Workload, continuing, from_torch, prepare

ENGLISH = ["the", "red", "green", "blue", "fox", "dog", "hen", "runs", "over", "a", "lazy", "wall"]
GERMAN = ["der", "rote", "gruene", "blaue", "fuchs", "hund", "huhn", "rennt", "ueber", "eine", "faule", "wand"]


def write(path: Path, words: list[str], seed: int) -> Path:
    rng = random.Random(seed)
    rows = (json.dumps({"text": " ".join(rng.choice(words) for _ in range(40))}) for _ in range(250))
    path.write_text("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("languages")
    write(root / "english.jsonl", ENGLISH, 0)
    write(root / "my german.v2.jsonl", GERMAN, 1)
    return root


@pytest.fixture(scope="module")
def first(folder: Path) -> Path:
    spec = f"text-lm:data={folder}/english.jsonl,context=16,vocabulary=290,validation_windows=32"
    train(prepare(spec), "infinite", budget="40steps", out=folder / "first")
    return folder / "first"


def second(folder: Path, **changes) -> dict:
    return {"data": folder / "my german.v2.jsonl", "context": 16, "validation_windows": 32} | changes


def test_the_whole_way_from_one_language_to_the_next(folder: Path, first: Path) -> None:
    spec = f"text-lm:replay={folder}/english.jsonl,also_evaluate={folder}/english.jsonl,validation_windows=32"
    workload = continuing(spec, first, data=folder / "my german.v2.jsonl").prepare()
    runs = {
        alpha: train(workload, f"rewarm;replay:alpha={alpha}", budget="30steps", from_run=first)
        for alpha in (0.0, 0.25)
    }
    reports = {alpha: ForgettingReport.of(run, new="german") for alpha, run in runs.items()}
    before = json.loads((first / "result.json").read_text())["metrics"]
    for report in reports.values():
        assert report.before["english"] == pytest.approx(before["val_loss"], rel=1e-6)
        assert report.adaptation < report.before["german"] / 2
    assert reports[0.25].forgetting["english"] < reports[0.0].forgetting["english"]


def test_the_model_and_the_tokenizer_are_the_runs(folder: Path, first: Path) -> None:
    old = prepare(f"text-lm:data={folder}/english.jsonl,context=16,vocabulary=290,validation_windows=32")
    workload = continuing("text-lm", first, data=folder / "my german.v2.jsonl").prepare()
    assert workload.files == old.files
    assert list(workload.files) == ["tokenizer.json"]
    assert workload.notes["vocabulary_size"] == old.notes["vocabulary_size"]
    learned = TextLM(**second(folder, vocabulary=290)).prepare()
    assert learned.files != old.files
    with pytest.raises(ConfigError, match=r"learned with another tokenizer\.json .* as in text-lm:tokenizer="):
        train(learned, budget="2steps", from_run=first)
    by_file = TextLM(**second(folder, tokenizer=first / "files/tokenizer.json")).prepare()
    by_run = TextLM(**second(folder, tokenizer=first)).prepare()
    assert by_file.fingerprint == by_run.fingerprint
    # The same text by the same tokenizer is the same data, whether that was learned or read.
    again = TextLM(data=folder / "english.jsonl", context=16, tokenizer=first, validation_windows=32).prepare()
    assert again.fingerprint == old.fingerprint
    assert np.array_equal(again.train.tokens, old.train.tokens)  # type: ignore[attr-defined]


def test_what_the_spec_says_itself_stays(folder: Path, first: Path) -> None:
    taken = continuing("text-lm:context=8,size=micro", first, data=folder / "english.jsonl")
    assert (taken.context, taken.size, taken.tokenizer) == (8, "micro", str(first))  # type: ignore[attr-defined]
    own = continuing("text-lm:vocabulary=300", first)
    assert (own.tokenizer, own.vocabulary, own.context) == ("bpe", 300, 16)  # type: ignore[attr-defined]
    model = continuing("text-lm:model=somewhere", first)
    assert (model.tokenizer, model.context) == ("bpe", 128)  # type: ignore[attr-defined]
    assert continuing("digits", first) == continuing("digits:net=cnn", first)
    with pytest.raises(DataNotFound, match="No run in"):
        continuing("text-lm", folder / "nowhere")


def test_a_run_on_bytes_needs_no_tokenizer_of_its_own(folder: Path, tmp_path: Path) -> None:
    old = TextLM(data=folder / "english.jsonl", context=16, tokenizer="bytes", validation_windows=4).prepare()
    train(old, budget="2steps", out=tmp_path / "first")
    assert not (tmp_path / "first/files").exists()
    taken = continuing("text-lm", tmp_path / "first", data=folder / "my german.v2.jsonl")
    assert taken.tokenizer == "bytes"  # type: ignore[attr-defined]
    named = TextLM(**second(folder, tokenizer=tmp_path / "first")).prepare()
    assert named.fingerprint == TextLM(**second(folder, tokenizer="bytes")).prepare().fingerprint
    train(named, budget="2steps", out=tmp_path / "second", from_run=tmp_path / "first")
    assert TextLM(**second(folder, tokenizer=tmp_path / "second")).prepare().fingerprint == named.fingerprint


def test_a_second_step_takes_the_tokenizer_on(folder: Path, first: Path, tmp_path: Path) -> None:
    workload = continuing("text-lm:validation_windows=4", first, data=folder / "my german.v2.jsonl").prepare()
    train(workload, budget="2steps", out=tmp_path / "second", from_run=first)
    third = continuing("text-lm:validation_windows=4", tmp_path / "second", data=folder / "english.jsonl").prepare()
    assert third.files == workload.files
    train(third, budget="2steps", from_run=tmp_path / "second", keep_optimizer=True)


def test_other_texts_are_held_out_as_they_are_on_their_own(folder: Path, first: Path) -> None:
    english, german = folder / "english.jsonl", folder / "my german.v2.jsonl"
    both = f"{english}+{german}"
    workload = TextLM(**second(folder, tokenizer=first, replay=english, also_evaluate=both)).prepare()
    old = TextLM(data=english, context=16, tokenizer=first, validation_windows=32).prepare()
    assert workload.replay is not None
    assert list(workload.also_evaluate) == ["english", "my_german"]
    everything = np.arange(32)
    for found, expected in (
        (workload.also_evaluate["english"].examples, old.validation),
        (workload.also_evaluate["my_german"].examples, workload.validation),
        (workload.replay, old.train),
    ):
        assert len(found) == len(expected)
        for left, right in zip(found.batch(everything), expected.batch(everything), strict=True):
            assert torch.equal(left, right)
    assert workload.notes["replay_tokens"] == old.notes["train_tokens"]
    result = train(workload, "linear;replay:alpha=0.5", budget="3steps")
    assert result.metrics["val_loss_my_german"] == result.metrics["val_loss"]
    assert result.metrics["val_bits_per_byte_my_german"] == result.metrics["val_bits_per_byte"]
    assert result.metrics["val_loss_english"] != result.metrics["val_loss"]


def test_the_fingerprint_follows_the_other_texts(folder: Path) -> None:
    english = str(folder / "english.jsonl")
    prints = {
        TextLM(**second(folder, tokenizer="bytes", **changes)).prepare().fingerprint
        for changes in (
            {},
            {"replay": english},
            {"also_evaluate": english},
            {"replay": english, "also_evaluate": english},
        )
    }
    assert len(prints) == 4


def test_bad_texts_and_tokenizers(folder: Path, tmp_path: Path) -> None:
    def refused(error: type[Exception], message: str, **changes) -> None:
        with pytest.raises(error, match=message):
            TextLM(**second(folder, **changes)).prepare()

    english = str(folder / "english.jsonl")
    refused(DataNotFound, "No file, folder or data set .*nothing.jsonl", replay=tmp_path / "nothing.jsonl")
    refused(DataNotFound, "No file, folder or data set", also_evaluate=f"{english}+{tmp_path}/nothing.jsonl")
    refused(ConfigError, "names two texts alike; rename a file", also_evaluate=f"{english}+{english}")
    (tmp_path / "short.jsonl").write_text('{"text": "a b"}\n{"text": "c d"}\n')
    refused(DataError, "its validation part has .* less than a window", also_evaluate=str(tmp_path / "short.jsonl"))
    refused(DataError, "its training part has .* less than a window", replay=str(tmp_path / "short.jsonl"))
    (tmp_path / "empty").mkdir()
    refused(DataNotFound, "No run in", tokenizer=tmp_path / "empty")
    (tmp_path / "tokenizer.json").write_text("{}")
    refused(DataError, "is no tokenizer that can be read", tokenizer=tmp_path / "tokenizer.json")
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    refused(DataError, "is no tokenizer|no byte-level byte-pair tokenizer", tokenizer=tmp_path / "tokenizer.json")


def test_ones_own_data_replay_too() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 1, generator=generator)

    def line(slope: float, **more) -> Workload:
        return from_torch(
            "line",
            train=(x, slope * x),
            validation=(x[:8], slope * x[:8]),
            model=lambda: torch.nn.Linear(1, 1),
            loss=lambda model, batch: torch.nn.functional.mse_loss(model(batch[0]), batch[1]),
            **more,
        )

    old = (x, 3 * x)
    workload = line(-1.0, replay=old, also_evaluate={"old": (x[:8], 3 * x[:8])})
    assert workload.fingerprint != line(-1.0).fingerprint
    recipe = "constant:peak=0.05;replay:repeat=true,alpha={};batch_size=16"
    runs = [train(workload, recipe.format(alpha), budget="200steps") for alpha in (0.0, 0.2, 0.4)]
    losses = [run.metrics["val_loss_old"] for run in runs]
    # The best slope for a mixture is its mean: -1 + 4 alpha, whose loss on the old is 16 (1 - alpha)^2.
    scale = float((x[:8] ** 2).mean())
    assert losses == pytest.approx([16 * scale, 16 * scale * 0.64, 16 * scale * 0.36], rel=0.15)
