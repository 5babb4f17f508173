"""An estimate adds up, and touches nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from tests.training.toys import toy

from tutelage import schedules
from tutelage.errors import ConfigError
from tutelage.training import estimate as estimates
from tutelage.training import train
from tutelage.training.estimate import estimate

WEIGHTS = 12 * 24 + 24 + 24 * 3 + 3


def test_its_numbers_fit_together() -> None:
    before = torch.get_rng_state()
    found = estimate(toy(), "uba:phi=5,warmup=0.1;batch_size=16", "2000examples")
    assert torch.equal(torch.get_rng_state(), before)
    assert (found.steps, found.examples, found.tokens, found.warmup_end) == (125, 2000, 24_000, 12)
    assert found.epochs == pytest.approx(2000 / 203)
    assert found.parameters == WEIGHTS
    assert found.memory_mib >= round(WEIGHTS * 16 / 2**20, 1)
    assert found.step_seconds > 0
    assert found.seconds > found.steps * found.step_seconds
    np.testing.assert_array_equal(found.rates, schedules.UBA(phi=5, peak=0.01, total_steps=125, warmup=12).to_array())
    facts = json.loads(json.dumps(found.to_json()))
    assert facts["lr"] == {"first": found.rates[0], "highest": 0.01, "last": found.rates[-1]}
    assert facts["steps"] == 125
    assert "rates" not in facts
    text = found.to_text()
    assert "toy by uba:phi=5,warmup=0.1;batch_size=16, 2000examples" in text
    assert "updates   125 (2,000 examples, 9.85 epochs, 24,000 tokens)" in text
    assert "warm-up   ends at update 12" in text
    assert f"{WEIGHTS} parameters" in text


def test_seconds_buy_as_many_updates_as_the_probe_says() -> None:
    found = estimate(toy(tokens_per_example=None), "linear:warmup=0.25", "2min")
    assert found.steps == max(1, round(120 / found.step_seconds))
    assert found.warmup_end == round(0.25 * found.steps)
    assert found.tokens is None
    assert found.seconds > 120
    assert len(found.rates) == found.steps
    assert found.rates.max() == pytest.approx(0.01, rel=0.01)
    assert found.rates[-1] < 0.01 * 0.01
    assert "tokens" not in found.to_text()
    assert "2.0 min on this machine" in found.to_text()


def test_rates_found_while_it_runs() -> None:
    found = estimate(toy(), "auto-lrs:candidates=2,tau=16steps,probe_ratio=1.0", "100steps")
    assert found.rates is None
    assert found.steps == 100
    assert found.warmup_end is None
    assert "lr" not in found.to_json()
    assert "found while it runs" in found.to_text()
    assert "warm-up   none" in found.to_text()


@pytest.mark.parametrize(("recipe", "budget"), [("uba:phi=0", "9steps"), ("cosine", "9"), ("cosine", "1tokens")])
def test_what_cannot_run_is_refused_before_the_probe(recipe: str, budget: str) -> None:
    def never():
        raise RuntimeError("probed")

    with pytest.raises(ConfigError):
        estimate(toy(make_model=never), recipe, budget)


def test_recipes_that_differ_in_their_schedule_share_a_probe(monkeypatch) -> None:
    measured = []

    def counted(workload, recipe, **settings):
        measured.append(str(recipe))
        return train(workload, recipe, **settings)

    monkeypatch.setattr(estimates, "train", counted)
    probes: dict = {}
    found = [
        estimate(toy(), recipe, budget, probes=probes)
        for recipe in ("cosine", "uba:phi=5;peak=0.1", "linear:peak=0.3;sgd")
        for budget in ("20steps", "40steps")
    ]
    assert measured == ["constant", "constant;sgd"]
    assert [item.steps for item in found] == [20, 40] * 3
    assert len({item.step_seconds for item in found}) == 2
    estimate(toy(), "cosine", "20steps")
    assert len(measured) == 3
