"""The command merge."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file


@pytest.fixture
def models(tmp_path):
    for name, row in (("base", [1.0, 2, 3]), ("one", [2.0, 2, 3]), ("two", [1.0, 0, 5])):
        (tmp_path / name).mkdir()
        save_file({"w": torch.tensor(row)}, tmp_path / name / "model.safetensors")
    return tmp_path


def read(folder):
    return load_file(folder / "model.safetensors")["w"].tolist()


def test_task_arithmetic_prints_what_it_made(run, models):
    ask = ("merge", "task-arithmetic", "--base", "base", "--model", "one", "--model", "two", "--lam")
    outcome = run(*ask, 0.2, "--out", "out", "--json")
    assert outcome.code == 0, outcome.err
    assert read(models / "out") == pytest.approx([1.2, 1.6, 3.4])
    assert outcome.json == json.loads((models / "out/merge.json").read_text())
    assert {"out", "method", "scales", "models", "fingerprint", "distances", "notes"} <= set(outcome.json)
    assert "exists; replace it with --force" in run(*ask, 0, "--out", "out").err
    assert run(*ask, "0/1", "--out", "out", "--force", "-q").code == 0
    assert read(models / "out") == [1, 0, 5]


def test_residual_and_average(run, models):
    outcome = run("merge", "residual", "--base", "base", "--instruct", "one", "--target", "two", "--out", "r")
    assert outcome.code == 0, outcome.err
    assert read(models / "r") == [2, 0, 5]
    assert "1 of 1 tensors combined" in outcome.out
    assert run("merge", "average", "one", "two", "--weights", "3/1", "--out", "a", "--dtype", "bfloat16").code == 0
    assert read(models / "a") == [1.75, 1.5, 3.5]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["average", "one", "none"], 2, "model 2: no file or folder none"),
        (["average", "one", "two", "--weights", "1/x"], 2, "--weights must be numbers with slashes"),
        (["average", "one", "two", "--weights", "1"], 2, "weights must be one a model, 2, got 1"),
        (["average", "one", "two", "--tokenizer-of", "three"], 2, "--tokenizer-of must be one of model-1, model-2"),
        (["average", "one", "bad"], 2, 'tensor "w" has shape 2 in model 2 (bad) and 3 in model 1 (one)'),
    ],
)
def test_bad_merges(run, models, words, code, message):
    (models / "bad").mkdir()
    save_file({"w": torch.ones(2)}, models / "bad/model.safetensors")
    outcome = run("merge", *words, "--out", "out")
    assert outcome.code == code
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (models / "out").exists()
