"""Time to a target from the curves of a finished comparison."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutelage.comparison import RunOutcome, compare, summarise
from tutelage.comparison.to_target import curve_targets, evaluations, score_comparison, time_of_curve
from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.evaluation.algoperf_targets import WorkloadTarget

MISS = math.inf
LOSS = WorkloadTarget(metric="loss", value=0.5, lower_is_better=True)


def curve(values, *, every=10, tokens=True):
    """Curve of updates with an evaluation after each ``every``."""
    count = every * len(values)
    steps = np.arange(count)
    evaluated = np.full(count, np.nan)
    evaluated[every - 1 :: every] = values
    columns = {"step": steps, "loss": np.ones(count), "val_loss": evaluated, "seconds": (steps + 1) * 0.5}
    return columns | ({"tokens": (steps + 1) * 100.0} if tokens else {})


def made(curves, *, lower=True, metric="val_loss", budget="40steps", **facts):
    """Return a comparison with such runs, and their curves."""
    runs = [
        RunOutcome(
            arm=arm,
            workload=workload,
            budget=budget,
            seed=seed,
            metric=metric,
            lower_is_better=lower,
            value=1.0,
            **facts,
        )
        for arm, workload, seed in curves
    ]
    result = summarise(runs, baseline=runs[0].arm)
    return result, {(arm, workload, budget, seed): found for (arm, workload, seed), found in curves.items()}


def test_each_axis_is_read_at_the_evaluation():
    run = curve([0.9, np.nan, 0.5, 0.4])
    assert time_of_curve(run, LOSS) == 30
    assert time_of_curve(run, LOSS, axis="seconds") == 15.0
    assert time_of_curve(run, LOSS, axis="tokens") == 3000
    assert [part.tolist() for part in evaluations(run, "loss")] == [[10, 30, 40], [0.9, 0.5, 0.4]]


def test_a_miss_and_a_run_that_was_never_evaluated_are_infinite():
    assert time_of_curve(curve([0.9, 0.8]), LOSS) == MISS
    assert time_of_curve({"step": np.arange(3), "loss": np.ones(3)}, LOSS) == MISS
    assert time_of_curve(curve([0.4, 0.9]), WorkloadTarget(metric="loss", value=0.8, lower_is_better=False)) == 20


def test_the_median_over_seeds_counts_misses():
    curves = {
        ("a", "w", 0): curve([0.5, 0.4]),
        ("a", "w", 1): curve([0.9, 0.5]),
        ("a", "w", 2): curve([0.9, 0.9]),
        ("b", "w", 0): curve([0.9, 0.9]),
        ("b", "w", 1): curve([0.4, 0.9]),
        ("b", "w", 2): curve([0.9, 0.9]),
    }
    result, known = made(curves)
    table = score_comparison(result, targets={"w": 0.5}, curves=known)
    assert {row.submission: row.times for row in table.rows} == {"a": {"w": 20.0}, "b": {"w": MISS}}
    assert [(row.submission, row.rank, row.exact_score) for row in table.rows] == [("a", 1, 1.0), ("b", 2, 0.0)]
    assert any("0.5" in note for note in table.notes)


def test_the_baseline_sets_the_median_of_its_best_values():
    bests = {0: [0.9, 0.3, 0.5], 1: [0.6, 0.7, 0.8], 2: [0.9, 0.8, 0.4]}
    curves = {("a", "w", seed): curve(values) for seed, values in bests.items()}
    curves |= {("b", "w", seed): curve([0.9, 0.9, 0.35]) for seed in range(3)}
    result, known = made(curves)
    assert curve_targets(result, known)["w"] == WorkloadTarget(metric="loss", value=0.4, lower_is_better=True)
    assert curve_targets(result, known, "b")["w"].value == 0.35
    table = score_comparison(result, curves=known)
    assert table.times().rows() == {"a": {"w": 30.0}, "b": {"w": 30.0}}
    assert any("come from runs that are scored here" in note for note in table.notes)
    assert not any("even number" in note for note in table.notes)


def test_what_the_times_leave_out_is_said():
    curves = {(arm, "w", seed): curve([0.5]) for arm in "ab" for seed in range(2)}
    result, known = made(curves, cost={"search_steps": 3, "tuning_steps": 7}, diverged=True)
    notes = " ".join(score_comparison(result, curves=known).notes)
    for said in ("even number of seeds", "on search while training", "on tuning the peak", "a, b diverged"):
        assert said in notes


def test_several_budgets_are_workloads_of_their_own():
    runs, known = [], {}
    for budget, value in (("10steps", 0.5), ("20steps", 0.4)):
        for arm in "ab":
            runs.append(
                RunOutcome(
                    arm=arm, workload="w", budget=budget, seed=0, metric="val_loss", lower_is_better=True, value=value
                )
            )
            known[arm, "w", budget, 0] = curve([value])
    table = score_comparison(
        summarise(runs, baseline="a"), targets={"w, 10steps": 0.5, "w, 20steps": 0.1}, curves=known
    )
    assert table.workloads == ("w, 10steps", "w, 20steps")
    assert table.times().rows()["a"] == {"w, 10steps": 10.0, "w, 20steps": MISS}


def test_a_folder_gives_what_the_result_gave(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = compare(
        "digits:net=mlp", ["constant", "cosine"], budget="20steps", seeds=3, jobs=1, out="c", settings={"eval_every": 4}
    )
    table = score_comparison("c", targets={"digits": 1.0})
    assert table == score_comparison(result, targets={"digits": 1.0})
    times = table.times().rows()
    assert all(time % 4 == 0 or time == MISS for row in times.values() for time in row.values())
    (tmp_path / "moved").mkdir()
    (tmp_path / "c").rename(tmp_path / "moved/c")
    assert score_comparison(tmp_path / "moved/c", targets={"digits": 1.0}) == table
    (tmp_path / "moved/c/report.json").write_text("{")
    with pytest.raises(CorruptRun, match="cannot be read"):
        score_comparison(tmp_path / "moved/c")
    with pytest.raises(ConfigError, match="holds one run, and a score needs several arms"):
        score_comparison(next((tmp_path / "moved/c/runs").rglob("run.json")).parent)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": {"v": 0.5}}, 'no workload "v".*without target: w'),
        ({"targets": {}}, "without target: w"),
        ({"baseline": "c"}, 'No arm "c" to set targets'),
        ({"axis": "flops"}, "Curves count steps, tokens, seconds, not flops"),
        ({"axis": "tokens"}, "does not count tokens at every evaluation; score by steps, seconds"),
        ({}, "a sets no target on w: .*at least 2 repeats"),
    ],
)
def test_bad_questions(arguments, message):
    result, known = made({("a", "w", 0): curve([0.5], tokens=False), ("b", "w", 0): curve([0.5], tokens=False)})
    if "axis" in arguments:
        arguments = {"targets": {"w": 0.5}, **arguments}
    with pytest.raises(ConfigError, match=message):
        score_comparison(result, curves=known, **arguments)


def test_curves_that_are_gone():
    result, _ = made({("a", "w", 0): curve([0.5]), ("b", "w", 0): curve([0.5])})
    with pytest.raises(DataNotFound, match="curve of a on w, seed 0, is not there"):
        score_comparison(result, targets={"w": 0.5})
    with pytest.raises(DataNotFound, match=r"holds neither a finished comparison .report.json."):
        score_comparison("nowhere")
    with pytest.raises(ConfigError, match=r'no metric "accuracy".*It has: loss'):
        evaluations(curve([0.5]), "accuracy")
