"""``fit-power`` on folders of runs: what it finds, what it says, what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

CONTEXT = 128
RATES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)


def write_run(folder: Path, *, recipe, loss, batch=32, steps=100, seed=0, peak=0.01, workload="text-lm", lower=True):
    """A run folder as training leaves it; ``loss`` None for one that diverged after a third of its updates."""
    folder.mkdir(parents=True)
    run = {
        "workload": workload, "recipe": recipe, "budget": f"{steps}steps", "seed": seed, "peak": peak,
        "batch_size": batch, "created": "2026-01-01T00:00:00+00:00", "git_commit": None, "machine": {"processor": "P"},
    }  # fmt: skip
    done = steps if loss is not None else steps // 3
    result = {
        "final_loss": loss, "metric": "val_loss", "lower_is_better": lower, "steps": done,
        "tokens": done * batch * CONTEXT, "seconds": 1.0, "diverged": loss is None,
        "hashes": {"init": "i", "order": "o"}, "cost": {"search_steps": 0},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "result.json").write_text(json.dumps(result))


def write_grid(root: Path, *, a=3.0, b=-0.4, batches=(8, 32), lengths=(100, 200, 400), seeds=(0, 1), **changes):
    """Runs whose losses are parabolas around the law, at rates a factor of 2 apart; the highest diverges."""
    for batch in batches:
        for steps in lengths:
            best = a * (batch * CONTEXT / 4096) * (steps * batch * CONTEXT) ** b
            for rate in RATES:
                for seed in seeds:
                    loss = 2 + 0.1 * seed + 0.2 * math.log(rate / best) ** 2
                    write_run(
                        root / f"{batch}-{steps}-{rate}-{seed}",
                        recipe=f"wsd:decay=0.2;peak={rate};batch_size={batch}",
                        loss=None if rate == RATES[-1] else loss,
                        batch=batch,
                        steps=steps,
                        seed=seed,
                        peak=rate,
                        **changes,
                    )


def test_finds_the_law_and_a_schedule_that_follows_it(run, tmp_path):
    write_grid(tmp_path / "runs")
    outcome = run("fit-power", "runs", "--batch", 64, "--tokens", "2Mtokens", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert (found["a"], found["b"], found["batch_exponent"]) == pytest.approx((3.0, -0.4, 1.0), rel=1e-6)
    assert found["a_interval"] == pytest.approx([3.0, 3.0], rel=1e-3)
    assert (found["rows"], found["confidence"], found["notes"]) == (6, 0.9, [])
    cap = 3.0 * (100 * 32 * CONTEXT) ** -0.4  # the highest best rate
    assert found["highest"] == pytest.approx(cap)
    assert found["spec"] == f"power:a=3,b=-0.4,peak={cap:.6g}"
    assert found["recommended"] == pytest.approx(3.0 * 64 * CONTEXT / 4096 * 2e6**-0.4, rel=1e-6)
    first = found["settings"][0]
    assert (first["examples"], first["tokens"], first["seeds"]) == (8, 100 * 8 * CONTEXT, [0, 1])
    assert first["tried"]["0.064"] is None
    shown = run("schedule", found["spec"], "--steps", 400, "--tokens-per-step", 32 * CONTEXT, "--json")
    rate = shown.json[found["spec"]]["lr"][300]
    assert rate == pytest.approx(3.0 * (300 * 32 * CONTEXT) ** -0.4, rel=1e-5)


def test_prints_settings_constants_and_the_schedule_to_use(run, tmp_path):
    write_grid(tmp_path / "runs")
    outcome = run("fit-power", "runs", "--batch", 64, "--tokens", "2Mtokens", "--confidence", 0.95)
    assert outcome.code == 0
    for line in ("best tried", "a  3  (3 to 3, 95% interval)", "b  -0.4", "exponent of the batch", "R2 1.000",
                 "Rate for 64 examples and 2Mtokens: 0.0181", "Schedule: power:a=3,b=-0.4,peak=0.0170"):  # fmt: skip
        assert line in outcome.out, line
    assert outcome.err == ""
    tried = run("fit-power", "runs", "--as-tried", "--json").json
    assert {setting["rate"] for setting in tried["settings"]} <= set(RATES)


def test_says_what_the_runs_do_not_show(run, tmp_path):
    write_grid(tmp_path / "up", a=2e-5, b=0.4, batches=(32,))
    rising = run("fit-power", "up", "--json")
    assert rising.code == 0, rising.err
    assert rising.json["spec"] is None
    assert rising.json["recommended"] is None
    assert "b is 0.4, not below 0" in rising.json["notes"][0]
    text = run("fit-power", "up")
    assert "Note: b is 0.4, not below 0" in text.err
    assert "Schedule" not in text.out
    write_grid(tmp_path / "edge", a=0.01)
    edge = run("fit-power", "edge", "--json").json
    assert edge["notes"][0] == (
        "The best rate of 8 examples and 102400 tokens is the lowest tried, 0.001: a bound, not an estimate; "
        "try further ones."
    )
    assert {setting["edge"] for setting in edge["settings"]} == {"lowest"}


def test_another_exponent_of_the_batch_is_said(run, tmp_path):
    # Losses whose best rate grows as the square root of the batch.
    write_grid(tmp_path / "runs", batches=(32,))
    write_grid(tmp_path / "runs", a=6.0, batches=(8,))
    notes = run("fit-power", "runs", "--json").json["notes"]
    assert any("grows as the batch to the power 0.5, not 1" in note for note in notes)


def test_peaks_inside_the_schedule_and_unfinished_runs(run, tmp_path):
    for steps in (100, 200, 400):
        for rate in RATES[:-1]:
            best = 3.0 * (steps * 32 * CONTEXT) ** -0.4
            loss = 2 + math.log(rate / best) ** 2
            write_run(tmp_path / f"runs/{steps}-{rate}", recipe=f"wsd:peak={rate},decay=0.2", loss=loss, steps=steps)
    (tmp_path / "runs/100-0.001/result.json").unlink()
    found = run("fit-power", "runs", "--json").json
    assert (found["a"], found["b"]) == pytest.approx((3.0, -0.4), rel=1e-6)
    assert found["batch_exponent"] is None
    assert found["notes"] == ["1 unfinished or damaged runs were left out."]


def test_a_metric_where_more_is_better(run, tmp_path):
    for steps in (100, 200, 400):
        for rate in RATES[:-1]:
            best = 3.0 * (steps * 32 * CONTEXT) ** -0.4
            score = 0.9 - 0.1 * math.log(rate / best) ** 2
            facts = {"loss": score, "steps": steps, "peak": rate, "lower": False}
            write_run(tmp_path / f"runs/{steps}-{rate}", recipe=f"wsd;peak={rate}", **facts)
    assert run("fit-power", "runs", "--json").json["b"] == pytest.approx(-0.4, rel=1e-6)


def test_a_comparison_with_tuning_is_a_grid_to_fit(run, tmp_path):
    from tests.training.toys import toy

    from tutelage import compare

    arms = {f"b{batch}": f"wsd:decay=0.5;batch_size={batch}" for batch in (8, 16)}
    budgets = [f"{192 * updates}tokens" for updates in (2, 4, 8)]
    compare(toy(), arms, budget=budgets, seeds=1, tune=3, jobs=1, out=tmp_path / "grid")
    outcome = run("fit-power", "grid", "--json")
    assert outcome.code == 0, outcome.err
    settings = outcome.json["settings"]
    assert [(one["examples"], one["tokens"]) for one in settings] == [
        (batch, 192 * updates) for batch in (8, 16) for updates in (2, 4, 8)
    ]
    assert all(len(one["tried"]) == 3 and one["seeds"] == [1_000_000] for one in settings)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("nowhere",), "No folder nowhere"),
        (("runs", "--where", "seed = 7"), "runs holds no finished run where seed = 7"),
        (("runs", "--where", "no_such = 1"), "Columns of runs"),
        (("runs", "--where", "batch_size = 8 and steps = 100"), "a fit needs 3 or more settings"),
        (("runs", "--batch", "64"), "--batch and --tokens belong together"),
        (("runs", "--batch", "0", "--tokens", "1Mtokens"), "--batch must be >= 1, got 0"),
        (("runs", "--batch", "8", "--tokens", "300steps"), "--tokens must be a number of tokens > 0, such as 2Mtokens"),
        (("runs", "--confidence", "1"), "fit_power: confidence must be > 0 and < 1"),
        (("mixed",), "holds runs of 2 recipes (cosine, wsd:decay=0.2); choose one with --where"),
        (("two",), "holds runs of 2 workloads (digits, text-lm)"),
        (("search",), '"auto-lrs" chooses its rates while it runs'),
    ],
)
def test_refuses(run, tmp_path, arguments, fragment):
    write_grid(tmp_path / "runs", lengths=(100, 200), seeds=(0,))
    for recipe in ("cosine", "wsd:decay=0.2"):
        write_run(tmp_path / "mixed" / recipe[:3], recipe=recipe, loss=1.0)
    for workload in ("digits", "text-lm"):
        write_run(tmp_path / "two" / workload, recipe="cosine", loss=1.0, workload=workload)
    write_run(tmp_path / "search/one", recipe="auto-lrs", loss=1.0, steps=1000)
    outcome = run("fit-power", *arguments)
    assert outcome.code == 2, (outcome.out, outcome.err)
    assert fragment in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert outcome.out == ""
