"""``tutelage forecast`` on curves: the contract of its JSON, and one line for what cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
from tests.forecast.curves import LAW, made


@pytest.fixture
def files(tmp_path):
    """Curves as tables with a row every 20 updates; ``plan.csv`` has rates alone."""
    for kind in ("cosine", "constant", "wsd"):
        curve = made(kind, warmup=100)
        rates = curve.rates[curve.steps - 1]
        rows = zip(curve.steps, rates, curve.losses, strict=True)
        text = "step,lr,loss\n" + "".join(f"{step},{rate:.10g},{loss:.10g}\n" for step, rate, loss in rows)
        (tmp_path / f"{kind}.csv").write_text(text)
        lines = (f"{step},{rate:.10g}\n" for step, rate in zip(curve.steps, rates, strict=True))
        (tmp_path / f"plan-{kind}.csv").write_text("step,lr\n" + "".join(lines))
    return tmp_path


def test_the_contract(run, files):
    found = run("forecast", "cosine.csv", "--law", "annealing:lam=0.99", "--fit-until", "0.5", "--json")
    assert found.code == 0, found.err
    result = found.json
    assert result["law"] == "annealing"
    assert set(result["params"]) == {"L0", "A", "alpha", "C", "lam"}
    assert result["fit_mape"] < 0.05
    assert result["holdout_mape"] < 0.5
    assert result["holdout_final_abs_error"] < 0.02
    steps = list(result["predicted"])
    assert steps[0] == "2020"
    assert steps[-1] == "4000"
    assert set(result["interval"]) == {"level", "low", "high"}
    for step in steps:
        assert result["interval"]["low"][step] <= result["predicted"][step] <= result["interval"]["high"][step]


def test_a_schedule_that_was_not_run(run, files):
    law = ("--law", "annealing:lam=0.99", "--warmup", 100)
    found = run("forecast", "cosine.csv", "constant.csv", *law, "--predict-on", "wsd.csv", "--json")
    assert found.json["predict_mape"] < 0.1
    assert found.json["predict_on"]["wsd.csv"]["mape"] == found.json["predict_mape"]
    planned = run("forecast", "cosine.csv", "constant.csv", *law, "--schedule-from", "plan-wsd.csv", "--json").json
    end = float(made("wsd", warmup=100).losses[-1])
    assert planned["predicted"]["4000"] == pytest.approx(end, rel=2e-3)
    spec = "wsd:decay=0.2,shape=linear,warmup=100steps"
    by_spec = run("forecast", "cosine.csv", "constant.csv", *law, "--plan", spec, "--at", 4000, "--json").json
    assert by_spec["predicted"]["4000"] == pytest.approx(end, rel=2e-3)
    longer = run("forecast", "cosine.csv", *law, "--plan", "wsd", "--plan-steps", 8000, "--json").json
    assert list(longer["predicted"])[-1] == "8000"


def test_rates_from_a_spec(run, files):
    (files / "bare.csv").write_text(
        "step,loss\n" + "".join(f"{s},{v:.8g}\n" for s, v in zip(made().steps, made().losses, strict=True))
    )
    law = ("--law", "annealing:lam=0.99", "--fit-until", "0.6", "--json")
    found = run("forecast", "bare.csv", "--schedule", "cosine:peak=2e-3", *law)
    assert found.code == 0, found.err
    assert found.json["holdout_mape"] < 0.2
    refused = run("forecast", "bare.csv", *law)
    assert refused.code == 2
    assert "needs learning rates" in refused.err
    fallback = run("forecast", "bare.csv", "--json")
    assert fallback.code == 0
    assert fallback.json["law"] == "power"
    assert "knows nothing of an annealing to come" in fallback.err


def test_tables_and_pictures_for_people(run, files):
    found = run("forecast", "cosine.csv", "--fit-until", "2000steps", "--plot", "picture.png")
    assert found.code == 0, found.err
    assert "80% low" in found.out
    assert "Held out of cosine.csv: off by" in found.out
    assert (files / "picture.png").stat().st_size > 10_000


def test_the_best_schedule(run, files):
    command = ("forecast", "best-schedule", "cosine.csv", "constant.csv", "--law", "annealing:lam=0.99")
    found = run(*command, "--steps", 2000, "--repeats", 5, "--out", "rates.csv", "--plot", "rates.png", "--json")
    assert found.code == 0, found.err
    result = found.json
    assert result["loss"] <= result["spec_loss"] <= result["gains"]["cosine"]["loss"]
    assert (files / "rates.csv").read_text().count("\n") == 2001
    again = run("forecast", "cosine.csv", "--law", "annealing:lam=0.99", "--schedule-from", "rates.csv", "--json")
    assert again.code == 0, again.err
    assert run(*command, "--out", "rates.csv").code == 2
    said = run(*command, "--steps", 2000, "--repeats", 0)
    assert "wsd:decay=" in said.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.csv",), "No file or folder none.csv"),
        (("cosine.csv", "--law", "anealing"), 'Did you mean "annealing"'),
        (("cosine.csv", "--fit-until", "1.5"), "--fit-until must be a share between 0 and 1"),
        (("cosine.csv", "--fit-until", "half"), "--fit-until must be a share such as 0.5"),
        (("cosine.csv", "--fit-until", "5steps"), "has points from update 20 to 4000"),
        (("cosine.csv", "--fit-until", "0.015"), "at least 4 points"),
        (("cosine.csv", "--plan-steps", "10"), "give both"),
        (("cosine.csv", "--plan", "wsd", "--schedule-from", "plan-wsd.csv"), "both say what to forecast"),
        (("cosine.csv", "--steps", "100"), "was observed up to update 4000"),
        (("cosine.csv", "--steps", "9000"), "has rates up to update 4000; give --schedule"),
        (("cosine.csv", "--schedule-from", "none.csv"), "No file or folder none.csv"),
        (("cosine.csv", "--at", "9000"), "steps must be 1 to 4000"),
        (("cosine.csv", "--plot", "picture.gif"), "must end in"),
        (("cosine.csv", "--level", "2"), "level must be in"),
        (("best-schedule", "cosine.csv", "--law", "power"), "does not know what the rates do"),
        (("best-schedule", "cosine.csv", "--peak", "-1"), "peak must be > 0"),
    ],
)
def test_bad_input_is_one_line(run, files, arguments, message):
    found = run("forecast", *arguments)
    assert found.code == 2
    assert message in found.err
    assert found.out == ""
    assert sum(line.startswith("Error:") for line in found.err.splitlines()) == 1


def test_the_law_of_these_curves_falls():
    assert np.all(np.diff(LAW.predict(made().rates)[200:]) < 1e-3)
