"""Columns of training examples by name."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
from torch import nn

from tutelage.errors import DataError
from tutelage.workloads import from_torch, prepare


def custom(train):
    return from_torch(
        "mine", train=train, validation=train, model=lambda: nn.Linear(1, 1), loss=lambda model, batch: batch["x"].sum()
    )


def test_windows_are_the_text_in_order(tmp_path) -> None:
    text = "".join(f"Line {number} says {number * number}.\n\n" for number in range(400))
    path = tmp_path / "text.txt"
    path.write_text(text)
    workload = prepare(f"text-lm:data={path},tokenizer=bytes,context=32,size=16x1")
    found = workload.column("text")
    assert len(found) == len(workload.train)
    assert {len(window) for window in found[:20]} <= {31, 32, 33}
    tokens, _ = workload.train.batch(np.array([3]))
    assert found[3] == bytes(token for token in tokens[0].tolist() if token < 256).decode()


def test_rows_of_a_table_keep_their_columns(tmp_path) -> None:
    rows = [f"words of row {number},{'ab'[number % 2]},{number}" for number in range(60)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["text,label,difficulty", *rows]) + "\n")
    workload = prepare(f"text-classification:data={path}")
    texts, numbers = workload.column("text"), workload.column("difficulty")
    assert len(texts) == len(numbers) == len(workload.train) < 60
    assert [f"words of row {number}" for number in numbers] == list(texts)
    labels = workload.train.batch(np.arange(len(workload.train)))[2].tolist()
    assert labels == [int(number) % 2 for number in numbers]
    with pytest.raises(DataError, match="dificulty"):
        workload.column("dificulty")


def test_prompt_and_answer_of_instructions() -> None:
    workload = prepare("instructions")
    texts, prompts, answers = (workload.column(name) for name in ("text", "prompt", "answer"))
    assert len(texts) == len(prompts) == len(answers) == len(workload.train)
    for text, prompt, answer in list(zip(texts, prompts, answers, strict=True))[:50]:
        assert text == f"{prompt} {answer}"


def test_own_data_with_names() -> None:
    assert list(custom({"x": torch.tensor([1.0, 2.0]), "tag": np.array([3, 4])}).column("tag")) == [3, 4]
    data = datasets.Dataset.from_dict({"x": [1.0, 2.0], "text": ["a", "b"]})
    assert list(custom(data).column("text")) == ["a", "b"]
    assert custom((torch.ones(2, 1),)).column is None


def test_a_name_that_is_not_there_is_said() -> None:
    with pytest.raises(DataError, match='no column "txt"'):
        prepare("instructions").column("txt")
