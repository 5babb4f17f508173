"""Arms that cannot win are stopped: the rule, what it leaves of a comparison, and what the report says of it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.comparison.test_on_ray import environment, needs_ray
from tests.e2e.cli import CommandLine
from tests.training.toys import final_bytes, toy

from tutelage.comparison._arm_forecast import ArmForecast, forecast_of, least_gap
from tutelage.comparison._pruned_runs import mean_curve
from tutelage.comparison.latex import to_latex
from tutelage.comparison.markdown import to_markdown
from tutelage.comparison.pruning import ForecastPruning, PrunedArm
from tutelage.comparison.result import ComparisonResult
from tutelage.comparison.run import compare
from tutelage.errors import ConfigError
from tutelage.forecast import BackTest, LossCurve
from tutelage.training import query_runs, read_curve
from tutelage.training.loop import resume_run

# --- the rule --------------------------------------------------------------------------------------------------------

CUTS = (0.5, 0.65, 0.8)


def view(end, *, errors=(0.0, 0.0, 0.0), gain=0.0, step=300, total=600) -> ArmForecast:
    """A forecast made by hand, of one group of points a back-test."""
    tests = [
        (cut, BackTest(round(cut * step), np.array([0.3]), np.array([error]), np.array([5.0])))
        for cut, error in zip(CUTS, errors, strict=True)
    ]
    return ArmForecast(step, total, math.log(end), gain, tests)


def test_the_gap_is_that_of_the_formula() -> None:
    arm, rival = view(3.0, errors=(0.02, 0.05, -0.03), gain=0.02), view(2.0, errors=(0.01, -0.01, 0.0), gain=0.03)
    # Back-tests of the difference are off by 0.01, 0.06 and -0.03. Where the arm did better it may catch up further.
    squared = 2 * (0.01**2 + 0.06**2) / (3 * 0.3**2)
    # All are 0.3 e-folds ahead, so the line through 0 has their mean there, 0.04 / 3.
    swing = 2 * sum((error - 0.04 / 3) ** 2 for error in (0.01, 0.06, -0.03)) / 3
    sd = math.sqrt((3 * squared + 2 * 0.03**2) / 5 * math.log(2) ** 2 + swing + 0.02**2 + 0.03**2)
    expected = math.log(3 / 2) - 0.02 + 0.03 - stats.t.ppf(0.99, 5) * sd
    found = least_gap(arm, rival, 0.99)
    assert found == pytest.approx(expected, rel=1e-9)


def test_without_a_back_test_in_common_nothing_is_said() -> None:
    lone = ArmForecast(300, 600, 0.0, 0.0, [])
    assert least_gap(view(9.0), lone, 0.9) is None
    assert least_gap(lone, view(2.0), 0.9) is None


def test_the_risk_is_shared_among_arms_and_looks() -> None:
    (found,) = ForecastPruning(risk=0.12).judge({"a": view(2.0), "b": view(4.0), "c": view(2.0)})
    assert (found.arm, found.rival) == ("b", "a")
    assert found.certainty == pytest.approx(1 - 0.12 / (2 * 3))
    assert (found.forecast, found.rival_forecast) == (pytest.approx(4.0), pytest.approx(2.0))
    assert found.low == pytest.approx(math.expm1(least_gap(view(4.0), view(2.0), 0.98)))
    (later,) = ForecastPruning(risk=0.12, at=(0.5,)).judge({"a": view(2.0), "b": view(4.0)}, arms=7)
    assert later.certainty == pytest.approx(1 - 0.12 / 6)


def test_what_is_kept_is_not_stopped_and_without_a_forecast_nobody_is() -> None:
    rule, views = ForecastPruning(), {"a": view(2.0), "b": view(4.0)}
    assert rule.judge(views, keep=["b"]) == []
    assert rule.judge({**views, "a": None}) == []
    assert rule.judge({}) == []


@st.composite
def several(draw):
    """Curves of some arms: power laws of any size with noise, under one plan."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps, rates = np.arange(1, 121), np.full(300, 1e-3)
    if draw(st.booleans()):
        rates = rates * np.cos(np.linspace(0, np.pi / 2, 300))
    curves = {}
    for place in range(draw(st.integers(2, 4))):
        floor, height, power, noise = rng.uniform(0.5, 3), rng.uniform(0.1, 4), rng.uniform(0.1, 1), rng.uniform(0, 0.1)
        losses = (floor + height * steps**-power) * np.exp(noise * rng.standard_normal(120))
        curves[f"arm {place}"] = LossCurve.of(steps=steps, losses=losses, rates=rates)
    return curves


@settings(max_examples=6, deadline=None)
@given(curves=several(), scale=st.floats(1e-3, 1e3))
def test_whom_it_stops(curves, scale) -> None:
    rule = ForecastPruning(risk=0.1)
    stopped = [item.arm for item in rule.dropped(curves)]
    forecasts = {name: forecast_of(curve) for name, curve in curves.items()}
    assert min(forecasts, key=lambda name: forecasts[name].end) not in stopped
    # Who is more careful stops no more; the order of arms says nothing, nor the unit of the loss.
    assert {item.arm for item in ForecastPruning(risk=0.01).dropped(curves)} <= set(stopped)
    assert {item.arm for item in rule.dropped(dict(reversed(curves.items())))} == set(stopped)
    assert set(stopped).isdisjoint(item.arm for item in rule.dropped(curves, keep=stopped))
    larger = {
        name: LossCurve.of(steps=curve.steps, losses=scale * curve.losses, rates=curve.rates)
        for name, curve in curves.items()
    }
    kept = {item.arm: item for item in rule.dropped(curves)}
    for item in rule.dropped(larger):
        if item.arm in kept:
            assert item.forecast == pytest.approx(scale * kept[item.arm].forecast, rel=0.02)


def test_short_curves_and_finished_ones_are_not_forecast() -> None:
    def curve(points, total):
        steps = np.arange(1, points + 1)
        return LossCurve.of(steps=steps, losses=1 + steps**-0.5, rates=np.full(total, 1e-3))

    assert forecast_of(curve(19, 100)) is None
    assert forecast_of(curve(100, 100)) is None
    found = forecast_of(curve(60, 100))
    assert found is not None
    assert found.end == pytest.approx(1 + 60**-0.5, rel=0.02)
    assert (found.step, found.total, found.gain) == (60, 100, 0)


def test_what_annealing_will_gain_is_expected_as_far_as_the_rate_has_to_fall() -> None:
    steps = np.arange(1, 151)

    def gain(rates):
        found = forecast_of(LossCurve.of(steps=steps, losses=1 + steps**-0.5, rates=rates))
        assert found is not None
        return found.gain

    whole, flat = np.full(300, 1e-3), np.full(300, 1e-3)
    whole[150:] = np.linspace(1e-3, 0, 150)
    half = np.maximum(whole, 5e-4)
    assert gain(flat) == 0
    assert 0.03 < gain(whole) < 0.06
    assert gain(half) == pytest.approx(gain(whole) / 2, rel=1e-6)


def test_seeds_are_averaged_where_all_of_them_were_measured() -> None:
    one = LossCurve.of(steps=[1, 2, 3], losses=[4.0, 2.0, 1.0], rates=np.ones(5))
    two = LossCurve.of(steps=[2, 3, 4], losses=[8.0, 4.0, 1.0], rates=np.ones(5))
    found = mean_curve([one, two])
    assert found is not None
    assert found.steps.tolist() == [2, 3]
    np.testing.assert_allclose(found.losses, [4.0, 2.0])
    assert mean_curve([one.until(1), two]) is None


def test_in_words() -> None:
    item = PrunedArm(
        arm="slow",
        rival="cosine",
        step=1200,
        total_steps=4000,
        forecast=3.14159,
        rival_forecast=2.5,
        low=0.0517,
        certainty=0.99375,
    )
    assert item.sentence("val_loss") == (
        "pruned at update 1,200 of 4,000: forecast to end at val_loss 3.142, at least 5.2 % above cosine (2.5; "
        "99.38 % certain)"
    )


def test_a_spec_and_back() -> None:
    assert ForecastPruning.parse("forecast") == ForecastPruning()
    rule = ForecastPruning.parse("forecast:risk=0.01,at=0.25/0.6")
    assert rule == ForecastPruning(risk=0.01, at=(0.25, 0.6))
    assert ForecastPruning.parse(str(rule)) == rule
    assert ForecastPruning.parse(rule) is rule


@pytest.mark.parametrize(
    ("spec", "fragment"),
    [
        ("forcast", 'no rule "forcast". Did you mean "forecast"?'),
        ("halving", 'no rule "halving"'),
        ("forecast:risk=0", "risk must be > 0 and < 0.5, got 0"),
        ("forecast:risk=0.5", "risk must be > 0 and < 0.5, got 0.5"),
        ("forecast:at=0.5/0.3", "rising shares of the budget in (0, 1)"),
        ("forecast:at=0.5/1.0", "rising shares of the budget in (0, 1)"),
        ("forecast:rsk=0.1", "risk"),
        ("", '"" is not a spec'),
    ],
)
def test_a_spec_that_cannot_be_used(spec, fragment, tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        compare(toy(), ARMS, budget=BUDGET, prune=spec, out=tmp_path / "c")
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "c").exists()


def test_fewer_arms_than_there_were_are_refused() -> None:
    with pytest.raises(ValueError, match="arms must be at least 2, those given, got 1"):
        ForecastPruning().judge({"a": view(2.0), "b": view(4.0)}, arms=1)


# --- comparisons -----------------------------------------------------------------------------------------------------

ARMS = {"cosine": "cosine", "constant": "constant", "slow": "cosine;peak=1e-6", "slower": "cosine;peak=1e-7"}
BUDGET = "120steps"
#: One look, half way, at which the two slow arms are clearly behind.
RULE = "forecast:risk=0.2,at=0.5"


def values(result):
    return {arm.name: arm.per_seed for arm in result.arms}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The comparison without pruning, and its folder."""
    out = tmp_path_factory.mktemp("plain") / "c"
    return compare(toy(), ARMS, budget=BUDGET, seeds=2, jobs=1, out=out, keep_weights=True), out


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    out = tmp_path_factory.mktemp("pruned") / "c"
    seen = []
    result = compare(
        toy(),
        ARMS,
        budget=BUDGET,
        seeds=2,
        jobs=1,
        out=out,
        prune=RULE,
        keep_weights=True,
        watch=lambda progress: seen.append((progress.done, progress.total)),
    )
    assert seen[-1] == (4, 4)
    return result, out


def test_hopeless_arms_are_stopped_and_the_others_end_as_they_would_have(plain, pruned) -> None:
    (whole, there), (result, here) = plain, pruned
    found = values(result)
    assert found["slow"] == found["slower"] == (None, None)
    assert {name: found[name] for name in ("cosine", "constant")} == {
        name: values(whole)[name] for name in ("cosine", "constant")
    }
    for name in ("cosine", "constant"):
        for seed in (0, 1):
            (mine,), (theirs,) = (
                [run.folder for run in of.runs if (run.arm, run.seed) == (name, seed)] for of in (result, whole)
            )
            assert final_bytes(Path(mine)) == final_bytes(Path(theirs))
            one, other = read_curve(mine), read_curve(theirs)
            assert all(one[column].tobytes() == other[column].tobytes() for column in set(one) - {"seconds"})
    assert here != there


def test_the_result_says_who_was_stopped_when_why_and_what_it_saved(pruned) -> None:
    result, out = pruned
    facts = result.pruning
    assert [item["arm"] for item in facts["arms"]] == ["slow", "slower"]
    for item in facts["arms"]:
        assert (item["step"], item["total_steps"]) == (60, 120)
        assert item["forecast"] > item["rival_forecast"] * (1 + item["low"]) > item["rival_forecast"]
        assert (item["workload"], item["budget"]) == ("toy", BUDGET)
    assert (facts["planned_steps"], facts["saved_steps"]) == (8 * 120, 4 * 60)
    assert (facts["rule"], facts["risk"]) == (RULE, 0.2)
    assert result.cost["train_steps"] == 8 * 120 - 4 * 60
    stopped = {arm.name: arm for arm in result.arms if arm.pruned_seeds}
    shown = {name: (arm.pruned_seeds, arm.missing_seeds, arm.steps) for name, arm in stopped.items()}
    assert shown == dict.fromkeys(("slow", "slower"), ((0, 1), (), 60))
    assert min(arm.rank for arm in stopped.values()) == 3
    assert {found.arm for found in result.comparisons} == {"constant"}
    assert ComparisonResult.from_json(json.loads((out / "report.json").read_text())).pruning == facts
    status = {row["recipe"]: row["status"] for row in query_runs(out).to_pylist()}
    assert status == {
        "cosine": "finished",
        "constant": "finished",
        "cosine;peak=1e-06": "pruned",
        "cosine;peak=1e-07": "pruned",
    }


def test_no_output_leaves_a_pruned_arm_out(pruned) -> None:
    result, out = pruned
    texts = {
        "terminal": " ".join(str(result).split()),
        "html": " ".join((out / "report.html").read_text().split()),
        "markdown": to_markdown(result),
        "latex": to_latex(result),
        "json": (out / "report.json").read_text(),
    }
    for form, text in texts.items():
        for words in ("slow", "slower", "pruned"):
            assert words in text, (form, words)
    for form in ("terminal", "html", "markdown", "json"):
        assert "saved 240 of 960 updates (25 %)" in texts[form], form
        assert "slow was pruned at update 60 of 120: forecast to end at val_loss" in texts[form], form
        assert "Pruned, as their forecasts could not win: slow" in texts[form], form
    assert any("--prune" in command for command in json.loads(texts["json"])["commands"])


def test_p_values_still_count_the_arms_that_were_stopped(plain, pruned) -> None:
    (mine,) = pruned[0].comparisons
    (alone,) = compare(
        toy(), {name: ARMS[name] for name in ("cosine", "constant")}, budget=BUDGET, seeds=2, jobs=1
    ).comparisons
    assert mine.difference == alone.difference
    assert mine.p_holm == pytest.approx(min(1.0, 3 * alone.p_holm))


def test_without_the_rule_it_goes_on_and_finishes_what_was_pruned(plain, tmp_path) -> None:
    out = tmp_path / "c"
    given = {"budget": BUDGET, "seeds": 2, "jobs": 1, "out": out}
    first = compare(toy(), ARMS, **given, prune=RULE)
    again = compare(toy(), ARMS, **given, prune=RULE, resume=True)
    assert (values(again), again.pruning, again.conclusion) == (values(first), first.pruning, first.conclusion)
    with pytest.raises(ConfigError, match="it differs in prune"):
        compare(toy(), ARMS, **given, prune="forecast:risk=0.01", resume=True)
    # One that was finished by hand counts.
    folder = next(run.folder for run in first.runs if (run.arm, run.seed) == ("slow", 0))
    by_hand = resume_run(toy(), folder)
    partly = compare(toy(), ARMS, **given, prune=RULE, resume=True)
    assert values(partly)["slow"] == (by_hand.final_loss, None)
    assert partly.pruning["saved_steps"] == 3 * 60
    whole = compare(toy(), ARMS, **given, resume=True)
    assert values(whole) == values(plain[0])
    assert whole.pruning == {}
    assert {row["status"] for row in query_runs(out).to_pylist()} == {"finished"}


@pytest.mark.parametrize("beats", [1, 4, 9])
def test_interrupted_anywhere_it_decides_the_same_again(pruned, tmp_path, beats) -> None:
    seen = []

    def stop(progress) -> None:
        seen.append(progress)
        if len(seen) == beats:
            raise KeyboardInterrupt

    given = {"budget": BUDGET, "seeds": 2, "jobs": 1, "out": tmp_path / "c", "prune": RULE}
    with pytest.raises(KeyboardInterrupt):
        compare(toy(), ARMS, **given, watch=stop)
    result = compare(toy(), ARMS, **given, resume=True)
    assert values(result) == values(pruned[0])
    assert result.pruning == pruned[0].pruning


def test_worker_processes_decide_the_same(pruned, tmp_path) -> None:
    result = compare(toy(), ARMS, budget=BUDGET, seeds=2, jobs=2, out=tmp_path / "c", prune=RULE)
    assert values(result) == values(pruned[0])
    assert result.pruning == pruned[0].pruning


DRIVER = """
    import sys
    sys.path.insert(0, {root!r})
    from tests.comparison.test_pruning import ARMS, BUDGET
    from tests.training.toys import toy
    from tutelage.comparison.run import compare
    compare(toy(), ARMS, budget=BUDGET, seeds=2, out={out!r}, prune="{rule}", on="ray")
"""


@pytest.mark.slow
@needs_ray
def test_a_ray_cluster_decides_the_same(pruned, tmp_path) -> None:
    out = tmp_path / "c"
    code = textwrap.dedent(DRIVER.format(root=str(Path(__file__).parents[2]), out=str(out), rule=RULE))
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    stored = ComparisonResult.from_json(json.loads((out / "report.json").read_text()))
    assert values(stored) == values(pruned[0])
    assert stored.pruning == pruned[0].pruning


def test_the_baseline_is_never_stopped() -> None:
    arms = {"cosine": "cosine", "slow": "cosine;peak=1e-6"}
    result = compare(toy(), arms, budget=BUDGET, seeds=1, jobs=1, prune=RULE, baseline="slow")
    assert result.pruning["arms"] == []
    assert "stopped no arm" in " ".join(result.notes)
    assert None not in values(result)["slow"]


def test_where_only_the_baseline_is_left_that_is_said() -> None:
    arms = {"cosine": "cosine", "slow": "cosine;peak=1e-6"}
    result = compare(toy(), arms, budget=BUDGET, seeds=1, jobs=1, prune=RULE)
    assert (
        result.conclusion == "toy, 120steps: every other arm was pruned, as its forecast could not win; cosine is left."
    )
    assert "pruned" in str(result)


def test_too_short_a_run_is_said_and_nobody_is_stopped() -> None:
    result = compare(
        toy(), {"cosine": "cosine", "slow": "cosine;peak=1e-6"}, budget="20steps", seeds=1, jobs=1, prune=RULE
    )
    assert None not in [value for arm in result.arms for value in arm.per_seed]
    assert "Nothing could be forecast on toy, 20steps" in " ".join(result.notes)


def test_a_diverged_arm_and_a_search_go_their_own_ways() -> None:
    search = "auto-lrs:candidates=3,tau=16steps,probe_ratio=1.0,tau_max=32steps,warmup=5steps"
    arms = {"cosine": "cosine", "search": search, "bad": "constant:peak=1e35;sgd;clip=none", "slow": "cosine;peak=1e-6"}
    result = compare(toy(), arms, budget=BUDGET, seeds=1, jobs=1, prune=RULE)
    assert [item["arm"] for item in result.pruning["arms"]] == ["slow"]
    by_name = {arm.name: arm for arm in result.arms}
    assert by_name["bad"].diverged_seeds == (0,)
    assert (
        by_name["search"].per_seed
        == values(compare(toy(), {"search": search, "cosine": "cosine"}, budget=BUDGET, seeds=1, jobs=1))["search"]
    )
    assert by_name["slow"].rank < by_name["bad"].rank


def test_an_arm_pruned_in_one_cell_is_left_out_of_the_average() -> None:
    result = compare(
        toy(),
        {name: ARMS[name] for name in ("cosine", "constant", "slow")},
        budget=["20steps", BUDGET],
        seeds=2,
        jobs=1,
        prune=RULE,
    )
    assert {item["budget"] for item in result.pruning["arms"]} == {BUDGET}
    assert [item.arm for item in result.overall] == ["constant"]
    assert "Pruned somewhere, and hence left out of the average: slow." in result.notes
    assert "slow" in {found.arm for found in result.comparisons}  # in the cell where it ran to the end


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"arms": ["cosine"]}, "a comparison needs at least two arms, got 1"),
        ({"budget": "1s"}, "give the budget 1s in steps, examples or tokens"),
        ({"workload": toy(metric="val_accuracy", lower_is_better=False)}, "val_accuracy of toy is better when higher"),
    ],
)
def test_comparisons_it_cannot_speak_about(tmp_path, changes, fragment) -> None:
    given = {"workload": toy(), "arms": ARMS, "budget": BUDGET} | changes
    with pytest.raises(ConfigError) as caught:
        compare(given["workload"], given["arms"], budget=given["budget"], prune=RULE, out=tmp_path / "c")
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "c").exists()


# --- command line ----------------------------------------------------------------------------------------------------

WORDS = ("--workload", "digits:net=mlp", "--arm", "cosine", "--arm", "slow=cosine;peak=1e-5", "--budget", "100steps")


def test_on_the_command_line(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    run = CommandLine(monkeypatch, capsys)
    outcome = run("compare", *WORDS, "--seeds", 1, "--jobs", 1, "--prune", "forecast", "--out", "c", "--json")
    assert outcome.code == 0, outcome.err
    assert [arm["arm"] for arm in outcome.json["pruning"]["arms"]] == ["slow"]
    (item,) = outcome.json["pruning"]["arms"]
    saved = 100 - item["step"]
    assert item["step"] in (30, 50, 70)
    assert outcome.json["pruning"]["saved_steps"] == saved
    # The stored declaration is the same comparison, and without the rule it is finished.
    again = run("compare", "c/comparison.toml", "--out", "c", "--resume", "--jobs", 1)
    assert again.code == 0, again.err
    assert f"saved {saved} of 200 updates ({saved / 2:.0f} %)" in " ".join(again.out.split())
    whole = run("compare", *WORDS, "--seeds", 1, "--jobs", 1, "--out", "c", "--resume", "--json")
    assert whole.code == 0, whole.err
    assert all(value is not None for arm in whole.json["arms"] for value in arm["per_seed"])


def test_on_the_command_line_bad_input_is_one_line(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    run = CommandLine(monkeypatch, capsys)
    for words, fragment in (
        ((*WORDS, "--prune", "forcast"), 'no rule "forcast"'),
        ((*WORDS[:4], "--budget", "100steps", "--prune", "forecast"), "a comparison needs at least two arms, got 1"),
        (("--from", "results.csv", "--prune", "forecast"), "takes no --prune"),
        (("--plan", "pilot", "--effect", "1%", "--prune", "forecast"), "takes no --prune"),
    ):
        outcome = run("compare", *words)
        assert outcome.code == 2
        assert fragment in outcome.err
        assert len(outcome.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# --- back-tests ------------------------------------------------------------------------------------------------------


def test_in_the_stored_back_tests_the_winner_is_stopped_no_more_often_than_the_risk_says() -> None:
    stored = json.loads((Path(__file__).parents[2] / "benchmarks/results/prune_backtest.json").read_text())
    rows = [row for row in stored["rows"] if row["rule"].startswith("forecast")]
    assert {row["source"] for row in rows} >= {"all", "never met before"}
    for row in rows:
        risk = float(row["rule"].rpartition(" ")[2])
        if row["source"] in ("all", "never met before"):
            assert row["winner_stopped"] <= risk, row
            assert row["all_arms"]["winner_stopped"] <= risk * row["groups"], row
