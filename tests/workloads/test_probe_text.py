"""Natural text and sentences of probes in one file: shares, noise, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.errors import ConfigError, DataError, UnknownPart
from tutelage.evaluation.probes import probe_evaluators, probe_panel
from tutelage.forecast.checkpoints import health_report
from tutelage.training import CheckpointTracker, read_checkpoints, train
from tutelage.workloads import TextLM, write_probe_text

WORDS = " ".join(f"word{number}" for number in range(3000))


@pytest.fixture
def natural(tmp_path: Path) -> Path:
    path = tmp_path / "natural.jsonl"
    path.write_text(json.dumps({"text": WORDS}) + "\n" + json.dumps({"text": "The end\nof it."}) + "\n")
    return path


def documents(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def test_shares_order_and_length(natural: Path, tmp_path: Path) -> None:
    path = write_probe_text(tmp_path / "new" / "mix.jsonl", data=natural, characters=50_000, share=0.3)
    found = documents(path)
    assert 50_000 <= sum(map(len, found)) < 53_000
    lines = [line for document in found for line in document.split("\n")]
    own = [line for line in lines if "word" in line or line in ("The end", "of it.")]
    assert sum(map(len, own)) / sum(map(len, lines)) == pytest.approx(0.7, abs=0.03)
    text = " ".join("".join(own[:30]).split())
    assert WORDS.startswith(text), "the natural text keeps its order, cut between words"
    assert [line for line in lines if line == "of it."], "it goes on with the next document"
    assert max(map(len, found)) < 1_050


def test_sentences_are_those_of_the_probes_in_equal_numbers(natural: Path, tmp_path: Path) -> None:
    path = write_probe_text(tmp_path / "mix.jsonl", data=natural, characters=60_000, share=1.0, probes=["sum", "copy"])
    lines = [line for document in documents(path) for line in document.split("\n") if line]
    sums = [line for line in lines if "+" in line]
    assert set(sums) <= set(probe_panel(["sum"])[0].sentences(3000))
    assert all(line.startswith("copy ") for line in lines if "+" not in line)
    assert len(sums) / len(lines) == pytest.approx(0.5, abs=0.03)


def test_noise_spoils_that_share_of_the_lines_and_nothing_else(natural: Path, tmp_path: Path) -> None:
    arguments = {"data": natural, "characters": 60_000, "share": 0.5}
    clean, noisy = (
        [
            document.split("\n")
            for document in documents(write_probe_text(tmp_path / f"{noise}", noise=noise, **arguments))
        ]
        for noise in (0.0, 0.3)
    )
    assert [len(lines) for lines in clean][:40] == [len(lines) for lines in noisy][:40]
    pairs = [pair for one, other in zip(clean, noisy, strict=False) for pair in zip(one, other, strict=False)]
    taught = [(a, b) for a, b in pairs if "word" not in a and a not in ("The end", "of it.")]
    changed = [a != b for a, b in taught]
    assert sum(changed) / len(changed) == pytest.approx(0.3, abs=0.04)
    shuffled = [(a, b) for a, b in pairs if "word" in a and a != b]
    assert shuffled
    assert all(sorted(a.split(" ")) == sorted(b.split(" ")) for a, b in shuffled)


def test_the_same_arguments_give_the_same_file_and_another_is_not_overwritten(natural: Path, tmp_path: Path) -> None:
    path = tmp_path / "mix.jsonl"
    first = write_probe_text(path, data=natural, characters=20_000).read_bytes()
    assert write_probe_text(path, data=natural, characters=20_000).read_bytes() == first
    assert write_probe_text(tmp_path / "b", data=natural, characters=20_000, seed=1).read_bytes() != first
    with pytest.raises(ConfigError, match=r"mix.jsonl holds something else; name a new file"):
        write_probe_text(path, data=natural, characters=20_000, noise=0.1)
    assert path.read_bytes() == first


def test_text_lm_trains_on_it(natural: Path, tmp_path: Path) -> None:
    path = write_probe_text(tmp_path / "mix.jsonl", data=natural, characters=40_000)
    workload = TextLM(data=str(path), tokenizer="bytes", context=64).prepare()
    assert 30_000 < workload.notes["train_tokens"] < 40_000
    assert workload.notes["vocabulary_size"] == 257


def test_probes_followed_in_a_training_of_ones_own(natural: Path, tmp_path: Path) -> None:
    """What a user writes to attach tracker and probes, and what the analysis then says."""
    text = write_probe_text(tmp_path / "mix.jsonl", data=natural, characters=40_000, probes=["repeat", "compare"])
    workload = TextLM(data=str(text), tokenizer="bytes", context=32, validation_windows=8).prepare()
    tracker = CheckpointTracker(probe_evaluators(["repeat", "compare"], count=20), every=2)
    train(workload, "constant", budget="10steps", out=tmp_path / "run", eval_every=10, callbacks=[tracker])
    report = health_report(read_checkpoints(tmp_path / "run"))

    assert [entry.task for entry in report.tasks] == ["repeat", "compare"]
    assert {row["task"] for row in tracker.table} == {"repeat", "compare", "val_loss"}
    assert [row["tokens"] for row in tracker.table if row["task"] == "compare"] == [2048 * k for k in range(1, 6)]
    assert all(0 <= row["score"] <= 1 for row in tracker.table if row["task"] != "val_loss")


def test_the_text_that_comes_with_python(tmp_path: Path) -> None:
    found = documents(write_probe_text(tmp_path / "mix.jsonl", characters=20_000))
    assert len(found) >= 19


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"characters": 19_999}, ValueError, "characters must be >= 20,000, got 19999"),
        ({"share": 1.5}, ValueError, "share must be from 0 to 1, got 1.5"),
        ({"noise": -0.1}, ValueError, "noise must be from 0 to 1, got -0.1"),
        ({"probes": []}, ValueError, "probes must name at least one probe"),
        ({"probes": ["sun"]}, UnknownPart, 'No probe "sun". Did you mean "sum"'),
    ],
)
def test_what_is_refused(natural: Path, tmp_path: Path, arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        write_probe_text(tmp_path / "mix.jsonl", data=natural, **arguments)
    assert not (tmp_path / "mix.jsonl").exists()


def test_a_text_without_text(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(DataError, match=r"empty\.txt holds no text"):
        write_probe_text(tmp_path / "mix.jsonl", data=tmp_path / "empty.txt")
