"""From a pilot to a number of seeds: against the power functions, by simulation, from files, on bad input."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.comparison.outcomes import EFFECTS, outcomes
from tests.e2e.cli import CommandLine

from tutelage.comparison import plan_seeds, read_pilot, summarise
from tutelage.comparison.report import write_report
from tutelage.comparison.result import ComparisonResult, RunOutcome
from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.evaluation import detectable_effect, sd_interval, seeds_needed

LEVEL = 1 - 0.05 / 3  # three arms besides the baseline


def pilot(**options: Any) -> ComparisonResult:
    return summarise(outcomes(**options), baseline="cosine")


def test_needs_are_those_of_the_power_functions() -> None:
    result = pilot()
    plan = plan_seeds(result, 0.006)
    assert [need.arm for need in plan.needs] == [arm.name for arm in result.arms_of(result.cells[0]) if arm.rank != 2]
    for need in plan.needs:
        item = next(item for item in result.comparisons if item.arm == need.arm)
        assert item.sd is not None
        low, high = sd_interval(item.sd, 5)
        wanted = [seeds_needed(0.006, sd, confidence=LEVEL) for sd in (item.sd, low, high)]
        assert [need.needed, need.needed_low, need.needed_high] == wanted
        assert (need.sd, need.sd_low, need.sd_high, need.pilot) == (item.sd, low, high, 5)
        assert need.shows == pytest.approx(detectable_effect(5, item.sd, confidence=LEVEL))
        assert need.runs == 2 * wanted[0]
        assert need.seconds == pytest.approx(2 * wanted[0] * 11.2)
        assert f"needs {wanted[0]} seeds (from {wanted[1]} to {wanted[2]}" in need.sentence
    most = max(need.needed or 0 for need in plan.needs)
    assert (plan.seeds, plan.runs) == (most, 4 * most)  # four arms, the baseline among them
    assert plan.seconds == pytest.approx(4 * most * 11.2)
    assert f"--seeds {most} shows an effect of 0.006 with 80 % power for every arm: {4 * most} runs" in plan.conclusion
    highest = max(need.needed_high or 0 for need in plan.needs)
    assert f"{highest:,} seeds are on the safe side" in plan.conclusion


def test_a_share_of_the_baseline_is_the_same_as_its_amount() -> None:
    result = pilot()
    mean = next(arm.mean for arm in result.arms if arm.name == "cosine")
    assert mean is not None
    share, amount = plan_seeds(result, "0.25 %"), plan_seeds(result, 0.0025 * mean)
    assert [need.needed for need in share.needs] == [need.needed for need in amount.needs]
    assert share.needs[0].effect == pytest.approx(0.0025 * mean)


def test_more_power_and_smaller_effects_need_more_seeds() -> None:
    result = pilot()
    counts = [
        plan_seeds(result, effect, power=power).seeds for effect, power in ((0.01, 0.8), (0.01, 0.95), (0.005, 0.95))
    ]
    assert counts == sorted(set(counts))  # type: ignore[type-var]


def test_a_plan_keeps_its_promise() -> None:
    # The true effect shows in four of five comparisons with so many seeds: 3,000 of them, standard error 0.7 points.
    noise, effect = 0.01, 0.012
    runs = [
        dataclasses.replace(run, value=2.4 + shift * noise if run.arm == "new" else 2.4)
        for run, shift in zip(
            outcomes({"cosine": 0.0, "new": 0.0}, seeds=range(4)),
            np.repeat([1.0, -1.0, 1.0, -1.0], 2),
            strict=True,
        )
    ]
    plan = plan_seeds(summarise(runs, baseline="cosine"), effect)
    sd = noise * math.sqrt(4 / 3)
    assert plan.needs[0].sd == pytest.approx(sd)
    assert plan.seeds is not None
    d = np.random.default_rng(0).normal(effect, sd, (3000, plan.seeds))
    from scipy import stats

    shown = np.mean(stats.ttest_1samp(d, 0, axis=1).pvalue < 0.05)
    assert 0.77 < shown < 0.9


def test_several_workloads_add_the_average() -> None:
    cells = (("text-lm", "300steps"), ("digits", "300steps"))
    result = pilot(cells=cells)
    plan = plan_seeds(result, "0.5%")
    average = [need for need in plan.needs if need.workload is None]
    assert [need.arm for need in average] == [item.arm for item in result.overall]
    sd = np.std(result.overall[0].per_seed, ddof=1)
    assert average[0].needed == seeds_needed(0.005, float(sd), confidence=LEVEL)
    assert average[0].runs == 4 * (average[0].needed or 0)
    assert "on average: a difference of 0.500 % needs" in average[0].sentence
    assert "in every workload and budget" in plan.conclusion
    assert plan.runs == 8 * (plan.seeds or 0)
    # An amount has a unit, which an average over workloads has not.
    assert all(need.workload is not None for need in plan_seeds(result, 0.01).needs)


# --- what a pilot cannot tell ---


@pytest.mark.parametrize(
    ("runs", "effect", "fragment"),
    [
        (outcomes(seeds=(0,)), "1%", "1 seed of the pilot shows no spread to plan from; use at least 3"),
        (outcomes(noise=0.0), "1%", "show equal differences, so their spread is not known"),
        (outcomes(), 1e-6, "needs more than 10,000 seeds; the pilot's 5 seeds could have shown 0.01"),
        (outcomes(value=0.0), "1%", "the mean of cosine is 0 or unknown, so there is no share of it"),
    ],
)
def test_what_cannot_be_planned_is_said(runs: list[RunOutcome], effect: Any, fragment: str) -> None:
    plan = plan_seeds(summarise(runs, baseline="cosine"), effect)
    assert fragment in plan.needs[0].sentence
    assert (plan.seeds, plan.runs, plan.needs[0].needed) == (None, None, None)
    assert "cannot be told, or is beyond reach" in plan.conclusion
    json.dumps(plan.to_json(), allow_nan=False)


def test_diverged_runs_of_the_pilot_are_said() -> None:
    runs = [
        dataclasses.replace(run, diverged=True) if (run.arm, run.seed) == ("linear", 1) else run for run in outcomes()
    ]
    plan = plan_seeds(summarise(runs, baseline="cosine"), "1%")
    assert any("linear diverged on 1 of 5 seeds of the pilot" in note for note in plan.notes)
    assert next(need for need in plan.needs if need.arm == "linear").pilot == 4


def test_time_that_is_not_known_is_left_out() -> None:
    plan = plan_seeds(pilot(seconds=None), "1%")
    assert (plan.seconds, plan.needs[0].seconds) == (None, None)
    assert "of training" not in str(plan)


def test_items_are_counted_as_items_and_cost_no_run() -> None:
    runs = outcomes({"cosine": 0.0, "new": 0.1}, seeds=range(40), noise=0.2)
    result = summarise(runs, baseline="cosine", paired_by={("text-lm", "300steps"): "item"})
    plan = plan_seeds(result, "2%")
    assert (plan.seeds, plan.needs[0].runs, plan.needs[0].pair) == (None, None, "item")
    assert "items (from" in plan.needs[0].sentence
    assert "seed" not in plan.needs[0].sentence
    assert "costs no run" in plan.conclusion


# --- reading a pilot ---


def test_a_folder_its_report_and_an_export_say_the_same(tmp_path: Path) -> None:
    result = pilot()
    write_report(result, tmp_path / "c", {})
    lines = [f"{run.arm},{run.seed},{run.value!r},text-lm,300steps,{run.seconds}" for run in result.runs]
    table = "arm,seed,val_loss,workload,budget,seconds\n"
    (tmp_path / "runs.csv").write_text(table + "\n".join(lines) + "\n")
    plans = [plan_seeds(read_pilot(tmp_path / name), "1%").to_json() for name in ("c", "c/report.json", "runs.csv")]
    assert plans[0] == plans[1] == plans[2]
    assert plans[0] == plan_seeds(result, "1%").to_json()


def test_another_baseline_or_confidence_is_worked_out_anew(tmp_path: Path) -> None:
    write_report(pilot(), tmp_path, {})
    other = read_pilot(tmp_path, baseline="linear", confidence=0.9)
    assert other.comparisons == summarise(outcomes(), baseline="linear", arms=list(EFFECTS), confidence=0.9).comparisons


@pytest.mark.parametrize(
    ("prepare", "options", "error", "fragment"),
    [
        (lambda root: None, {}, DataNotFound, "nowhere"),
        (lambda root: (root / "nowhere").mkdir(), {}, DataNotFound, "nowhere"),
        (lambda root: write_report(pilot(), root / "nowhere", {}), {"metric": "acc"}, ConfigError, "takes no metric"),
        (lambda root: write_report(pilot(), root / "nowhere", {}), {"baseline": "no"}, ConfigError, 'no arm "no"'),
    ],
)
def test_a_pilot_that_cannot_be_read(tmp_path: Path, prepare: Any, options: Any, error: Any, fragment: str) -> None:
    prepare(tmp_path)
    with pytest.raises(error, match=fragment):
        read_pilot(tmp_path / "nowhere", **options)


@pytest.mark.parametrize(
    ("text", "error", "fragment"),
    [
        ("{broken", CorruptRun, "cannot be read"),
        ("[1]", CorruptRun, "holds no report"),
        ('{"format": 99}', ConfigError, "format 99"),  # of a later version
        ('{"format": 1}', ConfigError, "incomplete"),
    ],
)
def test_a_report_that_cannot_be_read(tmp_path: Path, text: str, error: Any, fragment: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(error, match=fragment):
        read_pilot(tmp_path)


def test_a_comparison_without_report_is_to_be_finished(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"without a report yet; finish it with --resume"):
        read_pilot(tmp_path)


@pytest.mark.parametrize("effect", [0, -1, math.nan, math.inf, "", "%", "1%%", "one", "1 % of it", True])
def test_effects_that_are_refused(effect: Any) -> None:
    with pytest.raises(ConfigError, match="effect must be a number > 0"):
        plan_seeds(pilot(), effect)


@pytest.mark.parametrize("power", [0.0, 0.05, 1.0, 80.0, math.nan])
def test_powers_that_are_refused(power: float) -> None:
    with pytest.raises(ConfigError, match=r"power must be between 0.05 and 1"):
        plan_seeds(pilot(), 0.01, power=power)


# --- the command ---


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    write_report(pilot(), tmp_path / "pilot", {})
    return CommandLine(monkeypatch, capsys)


def test_the_command_prints_the_plan(run: CommandLine) -> None:
    shown = run("compare", "--plan", "pilot", "--effect", "1%")
    assert shown.code == 0, shown.err
    assert shown.out.strip() == str(plan_seeds(pilot(), "1%"))
    stored = run("compare", "--plan", "pilot", "--effect", "0.005", "--power", 0.9, "--json").json
    assert stored == {**plan_seeds(pilot(), "0.005", power=0.9).to_json(), "pilot": "pilot"}


def test_the_command_reads_what_from_reads(run: CommandLine) -> None:
    Path("runs.csv").write_text("arm,seed,a,b\nold,0,1,5\nold,1,2,5.1\nnew,0,1.5,5\nnew,1,2.6,5.2\n")
    words = ("compare", "--plan", "runs.csv", "--effect", "10%", "--baseline", "old")
    assert "several metrics" in run(*words).err
    plan = run(*words, "--metric", "a", "--lower-is-better", "--json").json
    assert [need["metric"] for need in plan["needs"]] == ["a"]


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (("--plan", "pilot"), "--effect 0.01"),
        (("--effect", "1%"), "add --plan FOLDER"),
        (("--power", "0.9", "--from", "pilot"), "add --plan FOLDER"),
        (("--plan", "pilot", "--effect", "x"), "effect must be a number > 0"),
        (("--plan", "pilot", "--effect", "1%", "--power", "9"), "power must be between"),
        (("--plan", "pilot", "--effect", "1%", "--arm", "cosine", "--seeds", "3"), "takes no --arm, --seeds"),
        (("--plan", "pilot", "--effect", "1%", "--from", "pilot"), "takes no --from"),
        (("--plan", "pilot", "--effect", "1%", "--pairs", "twins"), "--pairs must be auto, seed or item"),
    ],
)
def test_the_command_refuses_in_one_line(run: CommandLine, words: tuple[str, ...], fragment: str) -> None:
    found = run("compare", *words)
    assert (found.code, found.out) == (2, "")
    assert len(found.err.strip().splitlines()) == 1
    assert fragment in found.err
