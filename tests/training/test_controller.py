"""A schedule that finds its rates while it runs: probes, going back, the ledger, and the budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tests.training.toys import Rows, final_bytes, make_model, toy
from torch.nn import functional

from tutelage.errors import ConfigError
from tutelage.schedules._controller import Segment
from tutelage.schedules.auto_lrs import AutoLRS
from tutelage.training import Callback, RunResult, read_curve, train
from tutelage.training.curve import read_log

SEARCH = "auto-lrs:candidates=3,tau=16steps,probe_ratio=1.0,tau_max=32steps,warmup=5steps"


class Script:
    """A controller that proposes a list of segments and keeps what it is told."""

    def __init__(self, segments: list[Segment]) -> None:
        self.segments, self.told = segments, []

    def propose(self):
        return self.segments[len(self.told)] if len(self.told) < len(self.segments) else None

    def observe(self, losses) -> None:
        self.told.append(losses)

    def state_dict(self):
        return {"told": list(self.told)}

    def load_state_dict(self, state) -> None:
        self.told = state["told"]

    def schedule(self):
        raise ValueError("nothing was searched")


def scripted(monkeypatch, *segments: Segment, budget="20steps", workload=None, **settings):
    """Train by a script; return what its controller was told, and the result."""
    script = Script(list(segments))

    @dataclass(frozen=True)
    class Settings:
        def controller(self, seed: int):
            return script

    with monkeypatch.context() as patched:
        patched.setattr("tutelage.training.execute.schedule_of", lambda *_: Settings())
        return script.told, train(workload or toy(), "cosine", budget=budget, eval_every=100, **settings)


def probe(rate: float, steps: int, **more) -> Segment:
    return Segment(kind="probe", rate=rate, steps=steps, **{"restore": True} | more)


def training(rate, steps: int, **more) -> Segment:
    return Segment(kind="train", rate=rate, steps=steps, **{"restore": True} | more)


def test_a_probe_leaves_no_trace_in_the_training(monkeypatch) -> None:
    straight = train(toy(), "constant:peak=0.02", budget="12steps", eval_every=100)
    told, result = scripted(
        monkeypatch, training(0.02, 5), probe(0.5, 3), probe(1e-3, 4), training((0.02,) * 7, 7), budget="19steps"
    )
    assert result.metrics == straight.metrics
    assert result.hashes == straight.hashes
    np.testing.assert_array_equal(result.curve["loss"], straight.curve["loss"])
    np.testing.assert_array_equal(result.curve["step"], np.arange(12))
    assert [len(losses) for losses in told] == [5, 3, 4, 7]
    assert told[0] + told[3] == straight.curve["loss"].tolist()
    assert told[1][0] == told[2][0], "both probes start from the same weights, examples and dropout"
    assert told[1][1:] != told[2][1:3]
    assert (result.cost["train_steps"], result.cost["search_steps"]) == (12, 7)
    assert (result.steps, result.examples) == (12, 96)
    assert result.cost["search_seconds"] > 0
    assert result.search == {"schedule": None, "state": {"told": told}}


def test_without_restore_a_segment_goes_on(monkeypatch) -> None:
    told, _ = scripted(monkeypatch, training(0.02, 3), training(0.02, 4, restore=False), budget="7steps")
    straight = train(toy(), "constant:peak=0.02", budget="7steps")
    assert told[0] + told[1] == straight.curve["loss"].tolist()


def test_validation_losses_of_a_fixed_part_of_the_data(monkeypatch) -> None:
    segments = probe(0.02, 7, validate_every=3), training(0.02, 6, validate_every=2)
    told, result = scripted(monkeypatch, *segments, budget="13steps", workload=toy(validation=Rows(157, 1)))
    assert [len(losses) for losses in told] == [2, 3]
    assert result.cost["search_evaluations"] == 5
    assert result.cost["evaluations"] == 1
    # The same ten batches' worth, spread evenly, measured by hand after 3 updates.
    kept = {}

    class Keep(Callback):
        def on_update(self, run, row) -> None:
            if run.step == 3:
                kept.update({name: tensor.clone() for name, tensor in run.model.state_dict().items()})

    train(toy(), "constant:peak=0.02", budget="3steps", callbacks=[Keep()])
    model = make_model().eval()
    model.load_state_dict(kept)
    inputs, labels = Rows(157, 1).batch(np.arange(80) * 157 // 80)
    with torch.no_grad():
        expected = functional.cross_entropy(model(inputs), labels).item()
    assert told[0][0] == pytest.approx(expected, rel=1e-6)


def test_more_than_the_budget_is_refused(monkeypatch) -> None:
    with pytest.raises(
        ConfigError, match="Settings: its controller asked for 8 updates where 7 are left of the budget"
    ):
        scripted(monkeypatch, training(0.02, 5), training(0.02, 8), budget="12steps")


@pytest.mark.parametrize("moment", [2, 5, 6, 8, 9, 10])
def test_stopped_in_the_middle_it_keeps_the_trained_weights(monkeypatch, moment: int) -> None:
    class Stop(Callback):
        left = moment

        def on_update(self, run, row) -> None:
            self.left -= 1
            if not self.left:
                run.stop_reason = "enough"

    _, result = scripted(
        monkeypatch, training(0.02, 5), probe(0.5, 4), training(0.02, 6), budget="15steps", callbacks=[Stop()]
    )
    expected = {2: 2, 5: 5, 6: 5, 8: 5, 9: 5, 10: 6}[moment]
    assert result.stopped == "enough"
    assert result.steps == expected
    straight = train(toy(), "constant:peak=0.02", budget=f"{expected}steps")
    assert result.metrics == straight.metrics
    assert result.cost["search_steps"] == max(0, min(moment, 9) - 5)


def test_stopped_before_any_training_it_has_its_first_weights(monkeypatch) -> None:
    class Stop(Callback):
        def on_update(self, run, row) -> None:
            assert run.searching
            run.stop_reason = "enough"

    _, result = scripted(monkeypatch, probe(0.5, 4), training(0.02, 6), callbacks=[Stop()])
    assert result.steps == 0
    assert np.isfinite(result.final_loss)


def test_callbacks_see_the_search(monkeypatch) -> None:
    seen = []

    class See(Callback):
        def on_update(self, run, row) -> None:
            seen.append((run.searching, run.step, run.fraction))

    scripted(monkeypatch, training(0.02, 2), probe(0.5, 1), training(0.02, 1), budget="4steps", callbacks=[See()])
    assert seen == [(False, 1, 0.25), (False, 2, 0.5), (True, 3, 0.75), (False, 3, 1.0)]


# --- AutoLRS itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SEARCH, SEARCH.replace("32", "16") + ",loss=val"])
def test_auto_lrs_spends_its_budget_exactly(tmp_path, spec: str) -> None:
    result = train(toy(), spec, budget="200steps", seed=1, out=tmp_path)
    given = {"candidates": 3, "tau": 16, "probe_ratio": 1.0, "warmup": 5, "peak": 0.01, "total_steps": 200}
    given |= {"loss": "val", "tau_max": 16} if spec.endswith("val") else {"loss": "train", "tau_max": 32}
    stages = AutoLRS(**given).stages()
    assert result.cost["search_steps"] == sum(3 * stage.probe_steps for stage in stages)
    assert result.cost["train_steps"] == result.steps == 5 + sum(stage.train_steps for stage in stages)
    assert result.cost["search_steps"] + result.cost["train_steps"] == 200
    expected = sum(3 * (stage.probe_steps // stage.validate_every) for stage in stages if stage.validate_every)
    assert result.cost["search_evaluations"] == expected
    assert (expected > 0) == spec.endswith("val")
    curve = read_curve(tmp_path)
    np.testing.assert_array_equal(curve["step"], np.arange(result.steps))
    np.testing.assert_allclose(curve["lr"][:5], 0.01 * np.arange(1, 6) / 5, rtol=1e-12)
    found = read_log(tmp_path / "search.jsonl")
    assert [row["step"] for row in found] == list(range(result.cost["search_steps"]))
    assert {row["position"] for row in found} <= set(range(result.steps))
    start = 5
    for stage in stages:
        rates = set(curve["lr"][start : start + stage.train_steps].tolist())
        tried = {row["lr"] for row in found if start <= row["position"] < start + stage.probe_steps}
        assert len(rates) == 1
        assert rates <= tried, "a stage trains at a rate it has tried"
        start += stage.train_steps


def test_what_a_search_found_trains_the_same_weights_again(tmp_path) -> None:
    result = train(toy(), SEARCH, budget="200steps", seed=1, out=tmp_path / "search")
    again = train(toy(), result.search["schedule"], budget=f"{result.steps}steps", seed=1, out=tmp_path / "again")
    assert final_bytes(again.folder)["model.safetensors"] == final_bytes(result.folder)["model.safetensors"]
    assert (again.metrics, again.hashes, again.search) == (result.metrics, result.hashes, None)
    assert again.cost["train_steps"] == result.cost["train_steps"] < 200
    assert RunResult.read(tmp_path / "search") == result
    controller = AutoLRS(
        **{"peak": 0.01, "total_steps": 200, "candidates": 3, "tau": 16, "probe_ratio": 1.0, "tau_max": 32, "warmup": 5}
    ).controller(seed=1)
    controller.load_state_dict(result.search["state"])
    rates = read_curve(tmp_path / "search")["lr"]
    assert [rate for stage in controller.history for rate in [stage.rate] * stage.stage.train_steps] == list(rates[5:])


def test_a_search_that_only_diverges_is_an_outcome(tmp_path) -> None:
    recipe = "auto-lrs:candidates=3,tau=16steps,probe_ratio=1.0,lr_min=1e18,lr_max=1e20;sgd;clip=none"
    result = train(toy(), recipe, budget="100steps", out=tmp_path)
    assert result.diverged
    assert result.final_loss is None
    assert "made the loss infinite or not a number; lower lr_max" in result.stopped
    assert result.search["schedule"] is None
    assert (result.steps, result.cost["train_steps"], result.cost["search_steps"]) == (0, 0, 75)
    assert train(toy(), recipe, budget="100steps", out=tmp_path, resume=True) == result
