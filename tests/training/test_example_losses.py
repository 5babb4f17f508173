"""Losses of training examples that a curriculum goes by."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.toys import toy

from tutelage.errors import ConfigError, DataNotFound, UnknownPart
from tutelage.training import train
from tutelage.training.example_log import label_outcomes
from tutelage.training.example_losses import losses_under, plain_losses, run_losses
from tutelage.training.example_scores import scores_of
from tutelage.training.recipe import Recipe
from tutelage.training.sources import notes_of
from tutelage.workloads import from_torch, prepare


class Part:
    """The first examples of a store."""

    def __init__(self, store: Any, count: int) -> None:
        self.store, self.count = store, count

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Any) -> Any:
        return self.store.batch(indices)


def test_losses_are_those_of_the_workload_one_example_at_a_time() -> None:
    workload = toy()
    model = workload.make_model()
    found = losses_under(workload, model)
    model.eval()
    whole, count = workload.measure(model, workload.train.batch(np.arange(len(workload.train))))["loss"]
    assert found.shape == (len(workload.train),)
    assert found.sum() == pytest.approx(whole, rel=1e-5)
    assert count == len(found)


@pytest.mark.parametrize(
    "spec",
    [
        "digits:net=mlp",
        "breast-cancer",
        "sequence-copy",
        "text-lm:context=16,tokenizer=bytes",
        "instructions:tokenizer=bytes",
        "text-classification:vocabulary=300,context=16",
    ],
)
def test_losses_of_a_batch_are_those_of_each_example(spec: str) -> None:
    workload = prepare(spec)
    assert workload.outcomes is not None
    small = dataclasses.replace(workload, train=Part(workload.train, 40))
    torch.manual_seed(0)
    model = workload.make_model()
    with torch.no_grad():
        for weight in model.parameters():  # a last layer may start at zero, which makes all examples alike
            weight += 0.05 * torch.randn_like(weight)
    model.train()
    found = losses_under(small, model)
    assert model.training
    np.testing.assert_allclose(found, losses_under(dataclasses.replace(small, outcomes=None), model), rtol=2e-5)
    assert len(set(found.tolist())) > 20


def test_a_workload_of_ones_own_can_bring_outcomes() -> None:
    numbers = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    data = (numbers, (numbers[:, 0] > 0).long())
    calls: list[int] = []

    def outcomes(model: torch.nn.Module, batch: Any) -> Any:
        calls.append(len(batch[1]))
        return label_outcomes(model, batch)

    workload = from_torch(
        "mine",
        train=data,
        validation=data,
        model=lambda: torch.nn.Linear(3, 2),
        loss=lambda model, batch: torch.nn.functional.cross_entropy(model(batch[0]), batch[1]),
        outcomes=outcomes,
    )
    model = workload.make_model()
    found = losses_under(workload, model)
    assert calls == [32, 18]
    np.testing.assert_allclose(found, losses_under(dataclasses.replace(workload, outcomes=None), model), rtol=1e-5)


def test_losses_under_a_run_are_those_of_its_last_weights(tmp_path: Any) -> None:
    workload = toy()
    train(workload, recipe="constant", budget="30steps", out=tmp_path / "run")
    found = run_losses(workload, str(tmp_path / "run"))
    again = scores_of(workload, f"run:{tmp_path / 'run'}")
    np.testing.assert_array_equal(found, again)
    assert found.mean() < losses_under(workload, workload.make_model()).mean()


def test_a_plain_run_gives_the_same_losses_each_time_and_leaves_the_generator_alone() -> None:
    workload = toy()
    before = torch.random.get_rng_state()
    first, second = plain_losses(workload), plain_losses(workload)
    np.testing.assert_array_equal(first, second)
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.mean() < losses_under(workload, workload.make_model()).mean()


def test_a_recipe_says_that_its_losses_cost_more(tmp_path: Any) -> None:
    from tutelage.training.callbacks import Callback, RunState

    class Notes(Callback):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def on_start(self, run: RunState) -> None:
            self.notes = list(run.notes)

    plain, charged = Notes(), Notes()
    train(toy(), recipe="constant+cyclical:alpha=0.5", budget="10steps", callbacks=[charged])
    train(toy(), recipe="constant", budget="10steps", callbacks=[plain])
    assert plain.notes == []
    assert len(charged.notes) == 1
    assert "not part of the budget" in charged.notes[0]


def test_what_no_losses_come_from_is_refused(tmp_path: Any) -> None:
    with pytest.raises(DataNotFound, match="no run and no checkpoint is there"):
        run_losses(toy(), str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="goes by what is observed while training"):
        train(toy(), recipe="constant+self-paced", budget="10steps")


def test_a_column_of_the_data_goes_before_a_signal_of_that_name() -> None:
    column = np.arange(6.0)[::-1].copy()
    data = {"x": torch.arange(6.0)[:, None], "length": column, "loss": column + 1}
    workload = from_torch(
        "mine",
        train=data,
        validation=data,
        model=lambda: torch.nn.Linear(1, 1),
        loss=lambda model, batch: model(batch["x"]).mean(),
    )
    assert scores_of(workload, "length").tolist() == [5, 4, 3, 2, 1, 0]
    assert scores_of(workload, "loss").tolist() == [6, 5, 4, 3, 2, 1]
    assert notes_of(Recipe.parse("cosine+cyclical"), workload) == []
    with pytest.raises(UnknownPart, match="neither a signal"):
        scores_of(workload, "lenght")
