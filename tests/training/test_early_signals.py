"""Signals that a run logs, and reads back: norms without clipping, how far updates move, runs of every state."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.toys import toy

from tutelage.errors import ConfigError, DataNotFound
from tutelage.forecast.early_signals import signal_report
from tutelage.training import Callback, read_curve, train
from tutelage.training.early_signals import EarlySignals, signal_run


def flat(model) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


class Weights(Callback):
    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_start(self, run) -> None:
        self.seen.append(flat(run.model))

    def on_update(self, run, row) -> None:
        self.seen.append(flat(run.model))


def test_the_ratio_is_how_far_each_update_moves() -> None:
    signals, weights = EarlySignals(), Weights()
    result = train(toy(), "cosine", budget="6steps", callbacks=[signals, weights])
    expected = [
        float((after - before).norm() / before.norm())
        for before, after in zip(weights.seen, weights.seen[1:], strict=False)
    ]
    np.testing.assert_allclose(result.curve["update_ratio"], expected, rtol=1e-5)
    assert [row["step"] for row in signals.rows] == list(range(6))
    for name in ("loss", "grad_norm", "lr", "tokens", "update_ratio"):
        assert [row[name] for row in signals.rows] == result.curve[name].tolist()


def test_the_norm_is_logged_without_clipping_and_changes_nothing() -> None:
    plain = train(toy(), "cosine;clip=none", budget="8steps", seed=2)
    watched = train(toy(), "cosine;clip=none", budget="8steps", seed=2, callbacks=[EarlySignals()])
    loose = train(toy(), "cosine;clip=1000000", budget="8steps", seed=2)
    assert "grad_norm" not in plain.curve
    assert watched.final_loss == plain.final_loss
    np.testing.assert_allclose(watched.curve["grad_norm"], loose.curve["grad_norm"], rtol=1e-6)


def test_the_norm_is_that_before_clipping() -> None:
    free = train(toy(), "constant:peak=1e-12;sgd;clip=none", budget="5steps", callbacks=[EarlySignals()])
    tight = train(toy(), "constant:peak=1e-12;sgd;clip=0.001", budget="5steps", callbacks=[EarlySignals()])
    assert (tight.curve["grad_norm"] > 0.01).all()
    np.testing.assert_allclose(tight.curve["grad_norm"], free.curve["grad_norm"], rtol=1e-4)


def test_signals_survive_a_kill(tmp_path: Path) -> None:
    class Break(Callback):
        def on_update(self, run, row) -> None:
            if run.step == 7:
                raise RuntimeError("power cut")

    arguments = {"budget": "10steps", "seed": 3, "out": tmp_path / "run", "checkpoint_every": 3}
    with pytest.raises(RuntimeError, match="power cut"):
        train(toy(), callbacks=[EarlySignals(), Break()], **arguments)
    train(toy(), callbacks=[EarlySignals()], resume=True, **arguments)
    whole = train(toy(), budget="10steps", seed=3, callbacks=[EarlySignals()])
    np.testing.assert_array_equal(read_curve(tmp_path / "run")["update_ratio"], whole.curve["update_ratio"])


def test_the_updates_of_a_search_do_not_count() -> None:
    signals = EarlySignals()
    recipe = "auto-lrs:candidates=2,tau=16steps,probe_ratio=1.0,tau_max=16steps"
    result = train(toy(), recipe, budget="60steps", callbacks=[signals])
    assert [row["step"] for row in signals.rows] == list(range(result.steps))
    np.testing.assert_array_equal(result.curve["update_ratio"], [row["update_ratio"] for row in signals.rows])
    assert result.curve["update_ratio"].max() < 1


def test_a_callback_of_ones_own_logs_to_the_curve_and_only_for_its_update() -> None:
    class Odd(Callback):
        def on_update(self, run, row) -> None:
            if run.step % 2:
                run.log["odd"] = float(run.step)
                run.log["wild"] = math.inf

    result = train(toy(), budget="4steps", callbacks=[Odd()])
    np.testing.assert_array_equal(result.curve["odd"], [1, np.nan, 3, np.nan])
    assert result.curve["wild"][0] == math.inf


# --- read back -------------------------------------------------------------------------------------------------------


def test_a_finished_run(tmp_path: Path) -> None:
    recipe = "constant:warmup=2steps;peak=0.02;batch_size=16"
    result = train(toy(), recipe, budget="10steps", out=tmp_path, eval_every=3, callbacks=[EarlySignals()])
    found = signal_run(tmp_path, name="mine")
    assert (found.name, found.batch, found.lr, found.total_steps, found.final) == (
        "mine",
        16,
        0.02,
        10,
        result.final_loss,
    )
    assert found.lower_is_better
    assert found.data == "toy toy-1"
    assert sorted(found.signals) == ["grad_norm", "loss", "update_ratio"]
    assert found.early("grad_norm", 0.4) == pytest.approx(result.curve["grad_norm"][2:4].mean())


def test_a_run_under_way_and_one_that_diverged(tmp_path: Path) -> None:
    class Break(Callback):
        def on_update(self, run, row) -> None:
            if run.step == 4:
                raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(toy(), budget="10steps", out=tmp_path / "busy", callbacks=[Break()])
    busy = signal_run(tmp_path / "busy", lower_is_better=False)
    assert (busy.final, busy.diverged, busy.total_steps, busy.last_step) == (None, False, 10, 4)
    assert not busy.lower_is_better
    assert busy.reached(0.4)
    assert not busy.reached(0.5)
    train(toy(), "constant:peak=1e18;sgd;clip=none", budget="50steps", out=tmp_path / "wild")
    wild = signal_run(tmp_path / "wild")
    assert (wild.final, wild.diverged, wild.total_steps) == (None, True, 50)
    assert wild.early("loss", 0.9) == math.inf


def test_a_sweep_from_folder_to_report(tmp_path: Path) -> None:
    for place, peak in enumerate((1e-4, 1e-3, 1e-2, 1e-1)):
        train(toy(), f"constant:peak={peak}", budget="20steps", out=tmp_path / str(place))
    runs = [signal_run(tmp_path / str(place)) for place in range(4)]
    assert {row.signal for row in signal_report(runs, at=0.2).rows} == {"grad_norm", "loss"}


@pytest.mark.parametrize("case", ["nothing", "seconds", "not begun"])
def test_what_it_refuses(tmp_path: Path, case: str) -> None:
    if case == "nothing":
        with pytest.raises(DataNotFound, match="No run in"):
            signal_run(tmp_path)
        return
    train(toy(), budget="0.05s" if case == "seconds" else "3steps", out=tmp_path)
    if case == "seconds":
        (tmp_path / "result.json").unlink()
        with pytest.raises(ConfigError, match="is measured in seconds; signals are read at a share of its updates"):
            signal_run(tmp_path)
        return
    (tmp_path / "curve.parquet").unlink()
    (tmp_path / "curve.jsonl").write_text('{"step":0,"val_loss":1.0}\n')
    with pytest.raises(ConfigError, match="has not logged an update yet"):
        signal_run(tmp_path)
