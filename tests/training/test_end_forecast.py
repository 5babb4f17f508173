"""The forecast end beside the progress bar: what it says, when it is silent, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from tests.training.toys import toy

from tutelage.errors import CorruptRun, NotReady
from tutelage.forecast import LossCurve, forecast
from tutelage.training import Callback, RunState, end_forecast, train
from tutelage.training.curve import CurveLog
from tutelage.training.end_forecast import EndForecast, end_in_words
from tutelage.training.folder import Phase, RunRecord, write_record


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(end_forecast.time, "monotonic", lambda: self.now)


def run_in(folder, *, step=300, total=600, metric=None, noise=0.01):
    """A run under way whose loss falls by a known law, 2 + s^-0.5."""
    rng = np.random.default_rng(0)
    with CurveLog(folder / "curve.jsonl") as log:
        for place in range(step):
            row = {"step": place, "lr": 1e-3, "loss": 2 + (place + 1) ** -0.5 + noise * rng.standard_normal()}
            if metric and (place + 1) % 60 == 0:
                row["val_loss"] = metric * row["loss"]
            log.append(row)
    record = RunRecord(
        workload="toy",
        workload_spec=None,
        workload_version=1,
        data_fingerprint="x",
        recipe="constant",
        budget=f"{total}steps",
        seed=0,
        batch_size=8,
        peak=1e-3,
        mixed_precision="no",
        phases=(Phase("constant", total_steps=total),),
    )
    write_record(folder, record)
    return RunState(None, total, step=step, fraction=step / total, folder=folder, rates=lambda: np.full(total, 1e-3))


def numbers(text):
    words = text.replace("(", " ").replace(")", "").split()
    mean, (low, high) = float(words[-2]), map(float, words[-1].split("-"))
    return mean, low, high


def test_it_says_where_the_loss_will_end_and_how_sure_that_is(tmp_path) -> None:
    text = end_in_words(run_in(tmp_path))
    assert text.startswith("forecast end loss 2.0")
    mean, low, high = numbers(text)
    assert low < mean < high
    assert low < 2 + 600**-0.5 < high
    assert high - low < 0.1


def test_the_validation_loss_is_preferred_once_it_is_known(tmp_path) -> None:
    text = end_in_words(run_in(tmp_path, metric=1.5))
    assert text.startswith("forecast end val_loss ")
    mean, low, high = numbers(text)
    assert mean == pytest.approx(1.5 * (2 + 600**-0.5), rel=0.03)
    assert low < 1.5 * (2 + 600**-0.5) < high


@pytest.mark.parametrize(
    ("low", "mean", "high", "words"),
    [
        (2.28, 2.3149, 2.35, "2.31 (2.28-2.35)"),
        (12.0, 15.44, 13.3, "15.4 (12.0-13.3)"),
        (120.0, 154.4, 190.0, "154 (120-190)"),
        (0.00231, 0.00243, 0.0026, "0.0024 (0.0023-0.0026)"),
        (2.0, 2.0, 2.0, "2.0000 (2.0000-2.0000)"),
    ],
)
def test_digits_follow_the_width_of_the_interval(low, mean, high, words) -> None:
    ends = {name: np.array([value]) for name, value in (("low", low), ("mean", mean), ("high", high))}
    assert end_forecast._interval(type("Found", (), ends)()) == words


def test_it_takes_one_percent_of_the_time_at_most(tmp_path, monkeypatch) -> None:
    clock, made = Clock(monkeypatch), []

    def costly(run) -> str:
        made.append(clock.now)
        clock.now += 3.0
        return f"forecast end loss {len(made)}"

    monkeypatch.setattr(end_forecast, "end_in_words", costly)
    end, run = EndForecast(), run_in(tmp_path)
    for _ in range(20_000):
        clock.now += 0.1
        end.update(run)
        assert 3.0 * len(made) <= 0.01 * clock.now + 3.0  # the cost of the first was not known
    # From 150 s on, as the first one is taken to cost 1.5 s; then when there is time for another of 4.5 s.
    assert made[0] == pytest.approx(150, abs=0.2)
    assert made[1] == pytest.approx(750, abs=0.2)
    assert len(made) == 6
    assert 3.0 * (len(made) - 1) < 0.01 * clock.now
    assert end.text == "forecast end loss 6"


@pytest.mark.parametrize("error", [NotReady("not yet"), CorruptRun("torn"), ValueError("few points"), OSError("gone")])
def test_what_cannot_be_forecast_is_passed_over_in_silence(tmp_path, monkeypatch, error) -> None:
    clock = Clock(monkeypatch)

    def fails(run) -> str:
        raise error

    end = EndForecast()
    end.text, clock.now = "forecast end loss 2", 1e4
    monkeypatch.setattr(end_forecast, "end_in_words", fails)
    end.update(run_in(tmp_path))
    assert end.text == ""


@pytest.mark.parametrize(
    ("name", "value"), [("folder", None), ("rates", None), ("searching", True), ("fraction", 0.05)]
)
def test_it_is_not_tried_where_nothing_can_be_said(tmp_path, monkeypatch, name, value) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(end_forecast, "end_in_words", lambda run: "too early")
    end, run = EndForecast(), run_in(tmp_path)
    setattr(run, name, value)
    clock.now = 1e4
    end.update(run)
    assert end.text == ""


def test_in_a_run_of_ours(tmp_path, monkeypatch) -> None:
    class Watch(Callback):
        def __init__(self) -> None:
            self.found: dict[int, str] = {}

        def on_update(self, run, row) -> None:
            if run.step in (10, 60):
                try:
                    self.found[run.step] = end_in_words(run)
                except ValueError as error:
                    self.found[run.step] = f"{type(error).__name__}"

    watch = Watch()
    result = train(toy(), "cosine", budget="120steps", out=tmp_path, callbacks=(watch,))
    assert watch.found[60].startswith("forecast end val_loss ")
    mean, low, high = numbers(watch.found[60])
    assert low <= mean <= high
    assert low <= result.final_loss <= high


@pytest.mark.parametrize(
    ("recipe", "budget", "known"),
    [
        ("cosine", "12steps", True),
        ("auto-lrs:candidates=3,tau=16steps,probe_ratio=1.0,tau_max=32steps,warmup=5steps", "100steps", False),
        ("cosine", "0.2s", False),
    ],
)
def test_rates_are_known_where_the_plan_is(recipe, budget, known) -> None:
    seen = []

    class Look(Callback):
        def on_start(self, run) -> None:
            seen.append(run.rates)

        def on_update(self, run, row) -> None:
            if run.rates is not None:
                assert run.rates()[row["step"]] == row["lr"]
            if run.step == 12:
                run.stop_reason = "enough"

    train(toy(), recipe, budget=budget, callbacks=(Look(),))
    assert (seen[0] is not None) == known


def test_it_imports_nothing_heavy_until_it_forecasts() -> None:
    code = (
        "import sys, tutelage.training.end_forecast as e; e.EndForecast(); "
        "print([name for name in ('torch', 'scipy', 'numpy', 'tutelage.forecast') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_sixty_blocks_are_enough_for_a_forecast() -> None:
    curve = LossCurve.of(steps=np.arange(1, 61), losses=2 + np.arange(1, 61) ** -0.5, rates=np.full(120, 1e-3))
    assert forecast(curve, steps=[120]).mean[0] == pytest.approx(2 + 120**-0.5, rel=0.01)
