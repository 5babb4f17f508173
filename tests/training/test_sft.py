"""The range test and the recipe made from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.training.toys import make_plain_model, toy

from tutelage.errors import ConfigError, NotReady
from tutelage.training import Recipe, train
from tutelage.training.range_test import RangeTest, range_test
from tutelage.training.sft import SFTRecipe

TEST = RangeTest(rates=(1e-5, 1e-4, 1e-3, 1e-2, 1e-1), losses=(3.0, 2.95, 2.5, 2.0, math.nan))


# --- range test ------------------------------------------------------------------------------------------------------


def test_the_usable_range_by_hand() -> None:
    """A tenth of the fall from 3 to 2 is reached at 1e-3 (2.5 <= 2.9), the lowest loss at 1e-2."""
    assert TEST.usable == (1e-3, 1e-2)
    assert TEST.at(0.0) == 1e-3
    assert TEST.at(1.0) == pytest.approx(1e-2)
    assert TEST.at(1 / 3) == pytest.approx(1e-3 * 10 ** (1 / 3))
    exact = RangeTest(rates=(1.0, 2.0, 3.0, 4.0), losses=(3.0, 2.9, 2.0, 5.0))
    assert exact.usable == (2.0, 3.0)


@pytest.mark.parametrize(("losses", "message"), [
    ((1.0, 2.0, 3.0), r"the loss does not fall from 0\.1 on; begin at a lower rate"),
    ((math.nan, 2.0, 3.0), "the loss does not fall from"),
    ((3.0, 2.0, 1.0), r"the loss still falls at 0\.3; go on to a higher rate"),
    ((math.nan,) * 3, "the loss does not fall"),
])  # fmt: skip
def test_a_test_without_a_range_says_so(losses, message: str) -> None:
    with pytest.raises(NotReady, match=message):
        RangeTest(rates=(0.1, 0.2, 0.3), losses=losses).at(0.5)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"rates": (1.0, 2.0), "losses": (1.0, 1.0)}, "at least 3 stairs, got 2 and 2"),
    ({"rates": (1.0, 2.0, 3.0), "losses": (1.0, 1.0)}, "got 3 and 2"),
    ({"rates": (1.0, 3.0, 2.0), "losses": (1.0,) * 3}, "rates must rise from above 0"),
    ({"rates": (0.0, 1.0, 2.0), "losses": (1.0,) * 3}, "rates must rise from above 0"),
])  # fmt: skip
def test_stairs_that_are_none(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RangeTest(**arguments)
    with pytest.raises(ValueError, match="position must be >= 0 and <= 1, got 2"):
        TEST.at(2)


def test_it_climbs_the_rates_and_brackets_the_best() -> None:
    workload = toy(make_model=make_plain_model)
    found = range_test(workload, low=1e-6, high=10.0, stairs=8, updates=3, recipe="cosine;peak=7;batch_size=16", seed=1)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-6, 10.0, 8), rtol=1e-5)
    spec = "+".join(f"constant@3steps:peak={rate:g}" for rate in found.rates)
    run = train(workload, f"{spec};batch_size=16", budget="24steps", seed=1)
    np.testing.assert_allclose(found.losses, run.curve["loss"].reshape(8, 3).mean(axis=1))
    low, high = found.usable
    assert 1e-6 < low < high <= 10.0
    finals = {
        rate: train(workload, f"constant:peak={rate}", budget="40steps").final_loss for rate in (low / 30, high / 3)
    }
    assert finals[high / 3] < finals[low / 30]


def test_a_test_that_diverges_keeps_what_it_saw() -> None:
    found = range_test(toy(), low=1e-3, high=1e18, stairs=8, updates=2, recipe="constant;sgd;clip=none")
    assert math.isfinite(found.losses[0])
    assert not math.isfinite(found.losses[-1])


def test_it_starts_from_a_run(tmp_path) -> None:
    workload = toy(make_model=make_plain_model)
    train(workload, "constant", budget="200steps", out=tmp_path)
    fresh = range_test(workload, stairs=3, updates=2)
    learned = range_test(workload, stairs=3, updates=2, from_run=tmp_path)
    assert learned.losses[0] < 0.7 * fresh.losses[0]


@pytest.mark.parametrize("arguments", [{"low": 0.0}, {"low": 2.0}, {"high": math.inf}, {"stairs": 2}, {"updates": 0}])
def test_what_the_test_refuses(arguments) -> None:
    with pytest.raises(ConfigError, match="range_test: "):
        range_test(toy(), **arguments)


# --- recipe ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("examples", "epochs", "batch"), [
    (6000, 5, 256),  # 117 updates of 256, 58 of 512
    (6400, 2, 128),  # exactly 100 of 128
    (6399, 2, 64),
    (100, 1, 1),
    (1_000_000, 3, 16384),
    (50, 2.5, 1),
])  # fmt: skip
def test_the_largest_batch_that_leaves_a_hundred_updates(examples: int, epochs: float, batch: int) -> None:
    recipe = SFTRecipe.small_model(examples, epochs=epochs, rate=1e-3)
    assert recipe.batch_size == batch
    assert examples * epochs // batch >= 100 > examples * epochs // (2 * batch)


def test_the_recipe() -> None:
    recipe = SFTRecipe.small_model(6000, epochs=5, rate=TEST, micro_batch=32)
    assert str(recipe) == "constant:warmup=25steps;adamw:weight_decay=0;peak=0.00215;batch_size=256;accumulate=8"
    assert Recipe.parse(str(recipe)) == recipe
    assert recipe.curriculum is None, "stacked is the order of every run"


def test_it_trains() -> None:
    recipe = SFTRecipe.small_model(203, epochs=16, rate=0.003, micro_batch=16)
    result = train(toy(), recipe, budget=f"{203 * 16}examples")
    assert result.steps >= 100
    assert result.curve["lr"][[0, 24, 60]] == pytest.approx([0.003 / 25, 0.003, 0.003])


@pytest.mark.parametrize(("arguments", "message"), [
    ({"examples": 0}, "examples must be >= 1 and epochs > 0, got 0"),
    ({"epochs": 0}, "epochs > 0, got 6000 and 0"),
    ({"epochs": math.inf}, "epochs > 0"),
    ({"examples": 19}, "19 examples in 5 epochs make fewer than 100 updates of even one example"),
    ({"micro_batch": 512}, "micro_batch must be 1 to 256, the batch, got 512"),
    ({"micro_batch": 0}, "micro_batch must be 1 to 256"),
    ({"micro_batch": 48}, "micro_batch must divide the batch of 256, got 48"),
    ({"rate": -1.0}, "rate must be a finite number > 0 or a range test, got -1"),
    ({"rate": math.nan}, "rate must be"),
])  # fmt: skip
def test_what_the_recipe_refuses(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SFTRecipe.small_model(**({"examples": 6000, "epochs": 5, "rate": 1e-3} | arguments))
