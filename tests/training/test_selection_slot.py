"""A recipe's selection: which examples are trained on at all, and by what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tutelage import train
from tutelage.errors import ConfigError, DataError, UnknownPart
from tutelage.training import Recipe
from tutelage.training.example_scores import scores_of
from tutelage.training.recipe import split_by
from tutelage.training.sources import kept_by, order_of
from tutelage.workloads import from_torch, prepare


def numbered(count: int = 20, **columns):
    """A workload whose examples know their numbers."""
    values = torch.arange(count, dtype=torch.float32)
    return from_torch(
        "numbered",
        train={"x": values[:, None], "y": 2 * values[:, None], "number": values, **columns},
        validation={"x": values[:, None], "y": 2 * values[:, None], "number": values},
        model=lambda: nn.Linear(1, 1),
        loss=lambda model, batch: nn.functional.mse_loss(model(batch["x"]), batch["y"]),
        batch_size=4,
    )


def seen(workload, recipe: str, steps: int = 10, seed: int = 0) -> list[int]:
    store, order = order_of(workload, Recipe.parse(recipe), batch_size=4, total_steps=steps, seed=seed)
    return [int(x) for step in range(steps) for x in store.batch(order.indices(step))["number"]]


def test_only_what_is_kept_is_trained_on() -> None:
    assert set(seen(numbered(), "constant;top:share=0.3,side=low,by=number")) == set(range(6))
    assert set(seen(numbered(), "constant+threshold:min=15,by=number")) == set(range(15, 20))


def test_what_is_drawn_follows_the_seed() -> None:
    recipe = "constant;gumbel:count=8,temperature=5,by=number"
    assert set(seen(numbered(), recipe)) == set(seen(numbered(), recipe))
    assert any(set(seen(numbered(), recipe)) != set(seen(numbered(), recipe, seed=seed)) for seed in range(1, 4))


def test_a_replay_mixes_with_what_is_kept() -> None:
    workload = from_torch(
        "two",
        train={"number": torch.arange(10.0)},
        validation={"number": torch.arange(3.0)},
        replay={"number": torch.arange(100.0, 110.0)},
        model=lambda: nn.Linear(1, 1),
        loss=lambda model, batch: model(batch["number"][:, None]).mean(),
    )
    found = seen(workload, "constant+top:count=5,by=number+replay:alpha=0.25,repeat=true")
    assert set(found) <= {5, 6, 7, 8, 9} | set(range(100, 110))
    assert sum(number >= 100 for number in found) == len(found) // 4


def test_signals_score_the_texts_of_a_workload() -> None:
    workload = prepare("text-classification")
    scores = scores_of(workload, "length")
    texts = workload.column("text")
    assert len(scores) == len(workload.train)
    assert np.corrcoef(scores, [len(text) for text in texts])[0, 1] > 0.95
    kept = kept_by(workload, "top:share=0.1,side=low,by=length", 0)
    assert scores[kept].max() <= np.delete(scores, kept).min()
    assert not scores.flags.writeable


def test_a_run_says_its_selection(tmp_path: Path) -> None:
    result = train(numbered(), "constant+top:count=4,by=number;peak=0.001", budget="3steps", out=tmp_path / "run")
    assert "top:count=4,by=number" in (tmp_path / "run" / "run.json").read_text()
    assert np.isfinite(result.metrics["val_loss"])


def test_round_trip() -> None:
    recipe = Recipe.parse("wsd@50%+cosine + top:share=0.3,by=length:unit=words + adamw; peak=0.1")
    assert (recipe.schedule, recipe.selection, recipe.optimizer) == (
        "wsd@50%+cosine",
        "top:share=0.3,by=length:unit=words",
        "adamw",
    )
    assert Recipe.parse(str(recipe)) == recipe
    assert Recipe.from_table(recipe.to_table(), "file") == recipe


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("top:share=0.3", ("top:share=0.3", None)),
        ("top:by=length", ("top", "length")),
        ("top:share=0.3, by=length:unit=words", ("top:share=0.3", "length:unit=words")),
    ],
)
def test_what_it_goes_by_is_told_apart(spec: str, expected: tuple[str, str | None]) -> None:
    assert split_by(spec) == expected


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("top:share=0.3", ConfigError, "needs to know what it goes by; add by= with a signal or a column, such as"),
        ("top:count=40,by=number", ConfigError, "40"),
        ("threshold:min=99,by=number", ConfigError, "keeps none of 20 examples"),
        ("top:share=0.3,by=numbr", UnknownPart, 'neither a signal .* nor a column: .*Did you mean "number"'),
        ("top:share=0.3,by=length", DataError, 'no column "text"'),
        ("top:share=0.3,by=x,by=y", ConfigError, 'argument "by" is given twice'),
        ("top:share=0.3,by=x", ConfigError, "must hold one number an example"),
    ],
)
def test_what_cannot_be_selected_is_said(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        kept_by(numbered(), spec, 0)


def test_data_without_names_are_refused() -> None:
    x = torch.ones(8, 1)
    workload = from_torch(
        "plain",
        train=(x,),
        validation=(x,),
        model=lambda: nn.Linear(1, 1),
        loss=lambda model, batch: model(batch[0]).mean(),
    )
    with pytest.raises(ConfigError, match='its examples have no columns, so nothing can go by "number"'):
        kept_by(workload, "top:count=2,by=number", 0)
