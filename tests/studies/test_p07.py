"""The study of AutoLRS: its declaration, and its whole measurement at the smallest scale."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.forecast import exp_forecast
from tutelage.studies import p07_autolrs, stage_ends
from tutelage.studies.p07_autolrs import STUDY, measure
from tutelage.studies.stage_ends import SearchedRun, rank_correlation
from tutelage.studies.study import Scale, Setting
from tutelage.training import read_curve, read_run, train
from tutelage.training.curve import read_log
from tutelage.training.folder import read_result
from tutelage.workloads import prepare

WORKLOAD = "digits:net=mlp"
TINY = dataclasses.replace(
    STUDY,
    arms={
        "cosine": "cosine:warmup=4steps",
        "step": "step:warmup=4steps",
        "constant": "constant:warmup=4steps",
        # Up to rates that break the run: a candidate that diverges belongs to the picture.
        "auto-lrs": "auto-lrs:tau=16steps,tau_max=16steps,probe_ratio=1.0,candidates=3,lr_min=1%,lr_max=1e10,"
        "warmup=4steps;clip=none",
    },
    scales={"quick": Scale(workloads=(WORKLOAD,), budgets=("132steps",), seeds=2)},
)


def setting(out: Path, **changes) -> Setting:
    return Setting(**{"study": TINY, "scale_name": "quick", "seeds": (3, 4), "out": out, "jobs": 1} | changes)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(p07_autolrs, "_PEAKS", (0.25, 1.0))
        seen = []
        out = tmp_path_factory.mktemp("study")
        found = measure(setting(out, watch=lambda progress: seen.append((progress.phase, progress.done))))
        yield SimpleNamespace(out=out, found=found, seen=seen, resumed=lambda: measure(setting(out, resume=True)))


def finals(measured, pattern: str) -> dict[int, float]:
    """Return final losses by seed from the stored runs themselves."""
    folders = measured.out.glob(pattern)
    return {int(folder.name.removeprefix("seed-")): read_result(folder)["final_loss"] for folder in folders}


# --- declaration -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "training", "stages"),
    [("quick", 620, [(40, 200), (80, 400)]), ("full", 1020, [(40, 200), (80, 400), (80, 400)])],
)
def test_the_plan_of_each_scale(scale: str, training: int, stages: list[tuple[int, int]]) -> None:
    (total,) = STUDY.scales[scale].budgets
    for spec in STUDY.scales[scale].workloads:
        workload = SimpleNamespace(batch_size=32, tokens_per_example=None, peak=0.1, spec=spec)
        plan = p07_autolrs._planned(workload, STUDY.arms["auto-lrs"], total)
        assert [(stage.probe_steps, stage.train_steps) for stage in plan.stages()] == stages
        assert p07_autolrs._updates_of_training(plan) == training
        assert plan.interval == (0.001, 0.1 * 2), (
            "the search may go as high as the schedules, whose highest peak is twice the default"
        )
        assert plan.candidates == 6


def test_what_is_checked_by_calculation_holds() -> None:
    forecast, cost = STUDY.exact()
    assert forecast.holds
    assert (cost.value, cost.holds) == (1.0, True)


# --- rank correlation ------------------------------------------------------------------------------------------------


def test_rank_correlation_by_hand() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    # 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)
    assert rank_correlation([1, 2, None], [5, 6, None]) == pytest.approx(1.0), "not finite is the worst"
    assert rank_correlation([1, None, None], [1, 2, 3]) == pytest.approx(np.sqrt(0.75)), "equal ones share a rank"
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1, 2], [None, None]) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_rank_correlation_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    left, right = zip(*pairs, strict=True)
    found = rank_correlation(left, right)
    if found is None:
        assert len(set(left)) == 1 or len(set(right)) == 1
    else:
        assert found == pytest.approx(stats.spearmanr(left, right).statistic, abs=1e-12)


def test_stages_then_workloads_count_equally() -> None:
    rows = [
        {"workload": "a", "seed": 0, "rank correlation": 1.0},
        {"workload": "a", "seed": 0, "rank correlation": 0.0},
        {"workload": "a", "seed": 0, "rank correlation": None},
        {"workload": "b", "seed": 0, "rank correlation": 0.8},
        {"workload": "b", "seed": 1, "rank correlation": 0.9},
    ]
    assert p07_autolrs._rank_effects(rows) == pytest.approx({0: (0.5 + 0.8) / 2 - 0.5})
    assert p07_autolrs._rank_effects([]) == {}


# --- the measurement -------------------------------------------------------------------------------------------------


def test_effects_are_those_of_the_stored_runs(measured) -> None:
    found = measured.found
    assert set(found.effects) == set(STUDY.claims)
    (cell,) = found.details["by training updates"]
    assert cell["claimed"] == "auto-lrs"
    ours = finals(measured, "all-updates/digits/runs/digits/132steps/auto-lrs/*")
    best = finals(measured, f"training-updates/runs/digits/36steps/{cell['rival']}/*")
    cosine = finals(measured, "all-updates/digits/runs/digits/132steps/cosine/*")
    assert set(ours) == set(best) == set(cosine) == {3, 4}
    assert found.effects["headline"] == pytest.approx({s: 0.02 + (best[s] - ours[s]) / best[s] for s in (3, 4)})
    assert found.effects["all updates"] == pytest.approx({s: (cosine[s] - ours[s]) / cosine[s] for s in (3, 4)})


def test_both_totals_are_told(measured) -> None:
    (cost,) = measured.found.details["updates"]
    assert cost["arms"]["auto-lrs"] == {"training": 36, "search": 96, "tuning": 0}
    for name in ("cosine", "step", "constant"):
        assert cost["arms"][name] == {"training": 36, "search": 0, "tuning": 2 * 36}
    assert "36 updates of training and 96 of search, 132 in all" in measured.found.notes[0]
    # Two stages of three candidates, 16 updates each, on two seeds.
    assert "took 192 updates more" in measured.found.notes[1]
    result = measured.found.comparisons["by training updates"]
    assert result.cost["search_steps"] == 2 * 96
    assert result.cost["train_steps"] == 2 * 4 * 36
    assert result.cost["tuning_steps"] == 3 * 2 * 36
    assert measured.found.comparisons["by all updates"].cost["train_steps"] == 2 * (36 + 132)


def test_the_cosine_of_equal_cost_keeps_its_tuned_peak(measured) -> None:
    by_training, by_all = (measured.found.comparisons[name] for name in ("by training updates", "by all updates"))
    peaks = {result.cells[0].budget: {arm.name: arm.peak for arm in result.arms} for result in (by_training, by_all)}
    assert peaks["36steps"]["cosine"] == peaks["132steps"]["cosine"]


def test_true_ends_are_those_of_runs_from_scratch(measured) -> None:
    """A branch from the start of a stage is the same as a run that follows the found rates up to there."""
    rows = measured.found.details["stage ends"]
    assert [(row["seed"], row["stage"]) for row in rows] == [(3, 1), (3, 2), (4, 1), (4, 2)]
    assert all(row["repeats the run"] for row in rows)
    threads = read_run(next(measured.out.glob("all-updates/digits/runs/*/*/auto-lrs/seed-3"))).threads
    chosen = {
        (row["seed"], row["stage"]): min(
            (c for c in row["candidates"] if c["predicted"] is not None), key=lambda c: c["predicted"]
        )["rate"]
        for row in rows
    }
    for row in rows:
        before = f"warmup@4steps:peak=0.1+constant@16steps:peak={chosen[row['seed'], 1]!r}" * (row["stage"] - 1)
        for candidate in row["candidates"]:
            last = f"{before or 'warmup@4steps:peak=0.1'}+constant:peak={candidate['rate']!r};clip=none"
            alone = train(
                prepare(WORKLOAD),
                last,
                budget=f"{4 + 16 * row['stage']}steps",
                seed=row["seed"],
                threads=threads,
                log_every=1,
            )
            assert alone.final_loss == candidate["validation"]
            # A tenth of 16 updates is one.
            assert candidate["true"] == (None if alone.diverged else alone.curve["loss"][-1])


def test_predictions_are_forecasts_of_the_logged_probes(measured) -> None:
    for row in measured.found.details["stage ends"]:
        log = read_log(
            measured.out / f"all-updates/digits/runs/digits/132steps/auto-lrs/seed-{row['seed']}/search.jsonl"
        )
        for candidate in row["candidates"]:
            start = 4 + 16 * (row["stage"] - 1)
            losses = [r["loss"] for r in log if r["lr"] == candidate["rate"] and start <= r["position"] < start + 16]
            expected = None if None in losses else exp_forecast(losses, 16).value
            assert candidate["predicted"] == expected
        assert row["rank correlation"] == rank_correlation(
            *([c[name] for c in row["candidates"]] for name in ("predicted", "true"))
        )


def test_a_candidate_that_diverges_is_the_worst(measured) -> None:
    candidates = [c for row in measured.found.details["stage ends"] for c in row["candidates"]]
    broken = [c for c in candidates if c["predicted"] is None]
    assert broken
    assert all(c["true"] is None for c in broken)
    assert min(c["rate"] for c in broken) > max(c["rate"] for c in candidates if c["true"] is not None)


def test_speed_up_counts_training_updates(measured) -> None:
    (row,) = measured.found.details["speed-up"]
    best = finals(measured, f"training-updates/runs/digits/36steps/{row['of']}/*")
    for seed, value in row["per seed"].items():
        curve = read_curve(measured.out / f"all-updates/digits/runs/digits/132steps/auto-lrs/seed-{seed}")
        reached = [s + 1 for s, v in zip(curve["step"], curve["val_loss"], strict=True) if v <= best[int(seed)]]
        assert value == (36 / reached[0] if reached else None)


def test_progress_is_reported(measured) -> None:
    phases = list(dict.fromkeys(phase for phase, _ in measured.seen))
    assert phases == ["tuning", "runs", "warm-up", "stage 1 of 2", "stage 2 of 2"]
    assert ("stage 2 of 2", 6) in measured.seen


def test_resumed_it_reads_what_is_there(measured, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in measured.out.rglob("result.json")}
    again = measured.resumed()
    assert (again.effects, again.details) == (measured.found.effects, measured.found.details)
    assert {path: path.stat().st_mtime_ns for path in measured.out.rglob("result.json")} == before
    # An interrupted branch is made again, from the same checkpoint to the same end.
    branch = next((measured.out / "stage-ends").glob("digits/seed-3/stage-2/rate-*"))
    (branch / "result.json").unlink()
    assert measured.resumed().details == measured.found.details


def test_a_run_without_a_search_is_named(tmp_path: Path) -> None:
    train(prepare(WORKLOAD), "constant", budget="2steps", out=tmp_path / "run")
    plan = p07_autolrs._planned(prepare(WORKLOAD), TINY.arms["auto-lrs"], "132steps")
    run = SearchedRun(workload=WORKLOAD, name="digits", seed=0, folder=tmp_path / "run", settings=plan)
    with pytest.raises(stage_ends.TutelageError, match=r"holds nothing that a search has found"):
        run.history()
