"""Forgetting events, EL2N, courses of losses and gradient norms; and the callback that collects what they need."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import nn
from torch.nn import functional

from tutelage.errors import CorruptRun, DataNotFound
from tutelage.signals import (
    EL2N,
    BadRow,
    Forgetting,
    LossTrajectory,
    el2n,
    forgetting_events,
    gradient_norms,
    last_layer_gradient_norms,
)
from tutelage.training import RunPaused, train
from tutelage.training.callbacks import Callback
from tutelage.training.example_log import ExampleLog, label_outcomes, read_example_log, token_outcomes
from tutelage.workloads import prepare

NAN = float("nan")


def test_forgetting_of_a_small_table() -> None:
    correct = np.array([[1, 0, 0, 1, NAN], [0, 1, 0, 1, NAN], [1, 1, 0, 1, NAN], [0, 1, 0, 1, NAN]])
    found = forgetting_events(correct)
    assert found.events.tolist()[:4] == [2, 0, 4, 0]
    assert math.isnan(found.events[4])
    assert found.first_learned.tolist()[:2] == [0, 1]
    assert np.isnan(found.first_learned[[2, 4]]).all()
    assert found.learned.tolist() == [True, True, False, True, False]
    assert found.unforgettable.tolist() == [False, True, False, True, False]
    assert forgetting_events(correct, never_learned="inf").events[2] == math.inf
    assert forgetting_events(correct, never_learned="count").events[2] == 0


def by_transitions(row: np.ndarray) -> float:
    """As the authors' code counts: differences of -1; the number of presentations where it was never right."""
    return float((np.diff(row) == -1).sum()) if row.any() else float(len(row))


@given(npst.arrays(np.int64, st.tuples(st.integers(1, 8), st.integers(1, 6)), elements=st.integers(0, 1)))
def test_forgetting_agrees_with_transitions(correct: np.ndarray) -> None:
    want = [by_transitions(column) for column in correct.T]
    assert forgetting_events(correct).events.tolist() == want
    assert Forgetting().score({"correct": correct.T.tolist()}).tolist() == want
    twice = [[column, column] for column in correct.T.tolist()]
    assert Forgetting().score({"correct": twice}).tolist() == [2 * count for count in want]


def test_what_was_not_looked_at_is_passed_over() -> None:
    assert Forgetting().score({"correct": [[1, None, 0], [1, None, 1], [None, None, None]]}).tolist()[:2] == [1, 0]


def test_el2n_is_the_length_of_the_error() -> None:
    first = el2n([[0.5, 0.5], [0.2, 0.8]], [0, 1])
    assert first == pytest.approx([math.sqrt(0.5), math.sqrt(0.08)])
    both = el2n([[[0.5, 0.5], [0.2, 0.8]], [[1.0, 0.0], [1.0, 0.0]]], [0, 1])
    assert both == pytest.approx((first + np.array([0, math.sqrt(2)])) / 2)
    rows = {"probabilities": [[[0.5, 0.5], [1.0, 0.0]], [[0.2, 0.8], [1.0, 0.0]]], "label": [0, 1]}
    assert EL2N().score(rows) == pytest.approx(both)


@given(npst.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 5)), elements=st.floats(-20, 20)))
def test_el2n_is_bounded_and_agrees_with_the_last_layer(logits: np.ndarray) -> None:
    labels = np.arange(len(logits)) % logits.shape[1]
    scores = el2n(torch.softmax(torch.from_numpy(logits), -1).numpy(), labels)
    assert ((scores >= 0) & (scores <= math.sqrt(2) + 1e-12)).all()
    hidden = torch.randn(len(logits), 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layer = last_layer_gradient_norms(hidden, torch.from_numpy(logits), torch.from_numpy(labels), bias=False)
    assert layer == pytest.approx(scores * hidden.norm(dim=1).numpy(), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("statistic", "want"),
    [("mean", 2.0), ("last", 1.0), ("slope", -2 / 3), ("variability", np.exp([-3.0, -2.0, -1.0]).std())],
)
def test_courses_of_losses(statistic: Any, want: float) -> None:
    """Losses 3, 2, 1 at evaluations 0, 1 and 3; the line through them falls by 9/14 ... an evaluation."""
    rows = {"losses": [[3.0, 2.0, None, 1.0], [None, None, None, 4.0]]}
    found = LossTrajectory(statistic=statistic).score(rows)
    if statistic == "slope":
        want = float(np.polyfit([0, 1, 3], [3, 2, 1], 1)[0])
        assert math.isnan(found[1])
    assert found[0] == pytest.approx(want)


def small(seed: int = 0) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
    return net.eval(), torch.randn(11, 5), torch.randint(0, 3, (11,))


def class_loss(net: nn.Module, batch: Any) -> torch.Tensor:
    return functional.cross_entropy(net(batch[0]), batch[1])


def test_gradient_norms_are_those_of_single_examples() -> None:
    net, inputs, labels = small()
    want = []
    for row in range(len(inputs)):
        net.zero_grad()
        class_loss(net, (inputs[row : row + 1], labels[row : row + 1])).backward()
        grads = [weight.grad.flatten() for weight in net.parameters() if weight.grad is not None]
        want.append(float(torch.cat(grads).norm()))
    net.zero_grad()
    for chunk in (1, 4, 64):
        assert gradient_norms(net, class_loss, (inputs, labels), chunk=chunk) == pytest.approx(want, rel=1e-5)
    assert gradient_norms(net, class_loss, (inputs, labels), method="backward") == pytest.approx(want, rel=1e-5)
    assert all(weight.grad is None for weight in net.parameters())  # left as they were
    assert not net.training


def test_last_layer_in_closed_form() -> None:
    net, inputs, labels = small()
    with torch.no_grad():
        hidden = net[:3](inputs)  # type: ignore[index]
        logits = net(inputs)
    for bias in (True, False):
        names = ("3.weight", "3.bias") if bias else ("3.weight",)
        want = gradient_norms(net, class_loss, (inputs, labels), parameters=lambda name: name in names)  # noqa: B023
        assert last_layer_gradient_norms(hidden, logits, labels, bias=bias) == pytest.approx(want, rel=1e-5)


def test_examples_are_followed_over_a_run(tmp_path: Path) -> None:
    digits = prepare("digits:net=mlp")
    log = ExampleLog(digits.train, label_outcomes, every=5)
    train(digits, budget="12steps", out=tmp_path / "run", callbacks=[log])
    assert log.steps == [5, 10, 12]
    table = log.table()
    assert table["losses"].shape == table["correct"].shape == (1437, 3)
    assert table["probabilities"].shape == (1437, 10)
    last = -np.log(table["probabilities"][np.arange(1437), table["label"]])
    assert last == pytest.approx(table["losses"][:, -1], abs=1e-4)
    assert (table["probabilities"].argmax(1) == table["label"]) == pytest.approx(table["correct"][:, -1] == 1)
    assert EL2N().score(table) == pytest.approx(el2n(table["probabilities"], table["label"]))
    stored = read_example_log(tmp_path / "run")
    assert stored["steps"] == log.steps
    assert stored["losses"].tolist() == table["losses"].tolist()


class PauseAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_update(self, run: Any, row: Any) -> None:
        run.pause = run.step == self.step


def test_a_paused_run_keeps_what_an_uninterrupted_one_does(tmp_path: Path) -> None:
    digits = prepare("digits:net=mlp")
    whole = ExampleLog(digits.train, label_outcomes, every=2)
    train(digits, budget="6steps", out=tmp_path / "whole", callbacks=[whole])
    with pytest.raises(RunPaused):
        train(
            digits,
            budget="6steps",
            out=tmp_path / "parts",
            callbacks=[ExampleLog(digits.train, label_outcomes, every=2), PauseAt(3)],
        )
    again = ExampleLog(digits.train, label_outcomes, every=2)
    train(digits, budget="6steps", out=tmp_path / "parts", callbacks=[again], resume=True)
    assert again.steps == whole.steps == [2, 4, 6]
    assert again.table()["losses"].tolist() == whole.table()["losses"].tolist()


def test_outcomes_of_language_models() -> None:
    tokens, targets = torch.tensor([[1, 2, 3], [1, 1, 1]]), torch.tensor([[2, 3, -100], [-100, 0, 0]])

    class Next(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return 50.0 * functional.one_hot((tokens + 1) % 4, 4)

    found = token_outcomes(Next(), (tokens, targets))
    assert found["correct"].tolist() == [True, False]
    assert found["loss"].tolist() == pytest.approx([0, 50], abs=1e-4)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: forgetting_events([1, 0]), r"correct must be \(presentations, n\), got shape \(2,\)"),
        (lambda: forgetting_events([[2.0]]), r"must hold 0, 1 or NaN"),
        (lambda: forgetting_events([[1.0]], never_learned="most"), r'never_learned must be .* got "most"'),  # type: ignore[arg-type]
        (lambda: Forgetting(never_learned="most"), r'never_learned must be .* got "most"'),  # type: ignore[arg-type]
        (lambda: el2n([[0.5, 0.5]], [2]), r"labels must be integers in \[0, 2\)"),
        (lambda: el2n([[0.5, 0.5]], [0.0]), r"labels must be integers"),
        (lambda: el2n([[3.0, -1.0]], [0]), r"those of example 0 \(model 0\) add to 2. Apply softmax"),
        (lambda: el2n([[0.5, 0.5]], [0, 1]), r"labels \(n,\), got \(1, 2\) and \(2,\)"),
        (lambda: LossTrajectory(statistic="area"), r'statistic must be .* got "area"'),  # type: ignore[arg-type]
        (lambda: gradient_norms(*small()[:1], class_loss, small()[1:], method="sum"), r'got "sum"'),  # type: ignore[arg-type]
        (lambda: gradient_norms(*small()[:1], class_loss, small()[1:], chunk=0), r"chunk must be >= 1, got 0"),
        (lambda: last_layer_gradient_norms(torch.ones(2), torch.ones(2, 2), torch.ones(2)), r"hidden must be"),
        (lambda: ExampleLog([], label_outcomes, every=0), r"every must be >= 1 update, got 0"),  # type: ignore[arg-type]
        (lambda: ExampleLog([], label_outcomes, batch_size=0), r"batch_size must be >= 1, got 0"),  # type: ignore[arg-type]
    ],
)
def test_bad_input(call: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        call()


@pytest.mark.parametrize(
    ("signal", "rows", "told"),
    [
        (Forgetting(), {"correct": [[1, 0], "yes"]}, r'"correct" must be a list of 0, 1 and null'),
        (EL2N(), {"probabilities": [[1.0, 0.0], [5.0, 1.0]], "label": [0, 0]}, r"Apply softmax"),
        (LossTrajectory(), {"losses": [[1.0], ["a"]]}, r'"losses" must be a list of numbers'),
    ],
)
def test_bad_rows_are_named(signal: Any, rows: Any, told: str) -> None:
    with pytest.raises(BadRow, match=told) as caught:
        signal.score(rows)
    assert caught.value.row == 1


def test_example_log_that_is_not_there_or_torn(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match=r"train with callbacks=\[ExampleLog"):
        read_example_log(tmp_path)
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "step-00000001.safetensors").write_bytes(b"torn")
    with pytest.raises(CorruptRun, match=r"cannot be read"):
        read_example_log(tmp_path)
