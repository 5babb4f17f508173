"""What a budget buys, whatever it is counted in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.training.toys import toy

from tutelage import schedules
from tutelage.errors import ConfigError
from tutelage.training import train


@pytest.mark.parametrize("budget", ["30steps", "240examples", "247examples", "2880tokens", "2.9ktokens"])
def test_equal_budgets_buy_the_same_run(budget: str) -> None:
    result = train(toy(), "uba:phi=5,warmup=0.1", budget=budget)
    assert (result.steps, result.examples, result.tokens) == (30, 240, 2880)
    np.testing.assert_array_equal(result.curve["step"], np.arange(30))
    np.testing.assert_array_equal(result.curve["tokens"], 96 * np.arange(1, 31))
    np.testing.assert_array_equal(result.curve["examples"], 8 * np.arange(1, 31))
    rates = schedules.UBA(phi=5, peak=0.01, total_steps=30, warmup=3).to_array()
    np.testing.assert_array_equal(result.curve["lr"], rates)
    assert result.cost["train_steps"] == 30
    assert result.cost["search_steps"] == 0


def test_another_batch_size_buys_fewer_updates_of_the_same_examples() -> None:
    result = train(toy(), "cosine;batch_size=24", budget="240examples")
    assert (result.steps, result.examples) == (10, 240)


@pytest.mark.parametrize(("budget", "message"), [
    ("7examples", "budget 7examples does not pay for one update, which takes 8 examples"),
    ("95tokens", "budget 95tokens does not pay for one update, which takes 96 tokens"),
    ("0steps", "budget must be above zero"),
    ("300", "budget=300 says no unit: write 300steps"),
    ("0.5", "budget=0.5 says no unit"),
    ("1.5steps", "budget must be a whole number of steps"),
])  # fmt: skip
def test_budgets_that_buy_nothing(budget: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(toy(), budget=budget)


def test_evaluation_cadence_by_default_and_as_asked() -> None:
    def measured(**settings) -> list[int]:
        curve = train(toy(), budget="25steps", **settings).curve
        return curve["step"][~np.isnan(curve["val_loss"])].tolist()

    assert measured() == [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 24]
    assert measured(eval_every=10) == [9, 19, 24]
    assert measured(eval_every=5) == [4, 9, 14, 19, 24]
    assert measured(eval_every=99) == [24]
    assert train(toy(), budget="25steps", eval_every=5).cost["evaluations"] == 5


def test_rows_as_seldom_as_asked() -> None:
    curve = train(toy(), budget="25steps", log_every=10, eval_every=8).curve
    logged = curve["step"][~np.isnan(curve["loss"])]
    assert logged.tolist() == [0, 7, 10, 15, 20, 23, 24]


class Clock:
    """Time that passes a hundredth of a second at each look."""

    def __init__(self) -> None:
        self.ticks = itertools.count()

    def __call__(self) -> float:
        return next(self.ticks) / 100


def test_seconds_end_the_schedule_at_its_end(monkeypatch) -> None:
    monkeypatch.setattr("time.perf_counter", Clock())
    result = train(toy(), "linear:warmup=0.1", budget="2s")
    rates = result.curve["lr"]
    # An update looks at the clock at its start and its end, so it takes 0.01 s: 200 updates in 2 s.
    assert result.steps == len(rates) == pytest.approx(200, abs=1)
    assert result.seconds == pytest.approx(2.0, abs=0.011)
    assert rates[0] == pytest.approx(0.0, abs=1e-6)
    assert rates.max() == pytest.approx(0.01, rel=0.02)
    assert abs(np.argmax(rates) - 20) <= 1
    assert rates[-1] == pytest.approx(0.01 * 1 / 180, abs=1e-4)
    assert (~np.isnan(result.curve["val_loss"])).sum() == 10
    assert result.tokens == 96 * result.steps


def test_a_run_in_seconds_goes_on_where_its_clock_stood(tmp_path, monkeypatch) -> None:
    from tutelage.training import Callback

    class Break(Callback):
        def on_update(self, run, row) -> None:
            if run.step == 120:
                raise RuntimeError("power cut")

    monkeypatch.setattr("time.perf_counter", Clock())
    arguments = {"recipe": "linear", "budget": "2s", "out": tmp_path, "checkpoint_every": 50}
    with pytest.raises(RuntimeError, match="power cut"):
        train(toy(), callbacks=[Break()], **arguments)
    result = train(toy(), resume=True, **arguments)
    assert result.steps == pytest.approx(200, abs=1)
    assert (np.diff(result.curve["lr"]) < 0).all(), "the rate falls on without a jump"
    assert result.cost["evaluations"] == 10


@pytest.mark.parametrize(("recipe", "message"), [
    ("uba:phi=5,warmup=10steps", "10steps has no fixed place in a run measured in seconds; write a fraction"),
    ("auto-lrs", "plans its search in updates; give the budget in steps, examples or tokens"),
    ("power", "counts tokens and cannot follow a budget in seconds; give it in tokens or steps"),
])  # fmt: skip
def test_recipes_that_cannot_follow_seconds(tmp_path, recipe: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(toy(), recipe, budget="5s", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
