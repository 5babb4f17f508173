"""Several workloads and budgets in one answer: averages, Holm, what is missing, diverged or cannot be averaged."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from tests.comparison.outcomes import EFFECTS, outcomes

from tutelage.comparison.result import ComparisonResult, OverallComparison, RunOutcome, summarise
from tutelage.evaluation import combine_workloads, detectable_effect, holm, paired_difference

CELLS = (("text-lm", "300steps"), ("digits", "300steps"), ("code", "300steps"))


def varied(**options: Any) -> list[RunOutcome]:
    """Return runs whose luck differs between workloads, as it does where they share nothing but the number."""
    runs = outcomes(cells=CELLS, **options)
    shift = {cell[0]: np.random.default_rng(index) for index, cell in enumerate(CELLS)}
    return [
        dataclasses.replace(run, value=run.value + shift[run.workload].normal(0, 0.003))  # type: ignore[operator]
        for run in runs
    ]


def changed(runs: list[RunOutcome], arm: str, where: dict[str, Any], **changes: Any) -> list[RunOutcome]:
    return [
        dataclasses.replace(run, **changes)
        if run.arm == arm and all(getattr(run, name) == value for name, value in where.items())
        else run
        for run in runs
    ]


def of(result: ComparisonResult, arm: str) -> OverallComparison:
    return next(item for item in result.overall if item.arm == arm)


def gains(runs: list[RunOutcome], arm: str) -> dict[tuple[str, str], dict[int, float]]:
    """Return the relative gains by hand; all metrics here are better lower."""
    value = {(run.arm, run.workload, run.budget, run.seed): run.value for run in runs}
    table: dict[tuple[str, str], dict[int, float]] = {}
    for name, workload, budget, seed in value:
        if name == arm:
            base, own = value["cosine", workload, budget, seed], value[name, workload, budget, seed]
            assert base is not None
            assert own is not None
            table.setdefault((workload, budget), {})[seed] = (base - own) / base
    return table


def test_numbers_by_hand() -> None:
    runs = varied()
    result = summarise(runs, baseline="cosine")
    p_values = []
    for name in ("uba:phi=5", "linear", "constant"):
        item = of(result, name)
        per_seed = np.mean([list(row.values()) for row in gains(runs, name).values()], axis=0)
        peer = paired_difference(per_seed, np.zeros(5))
        assert item.per_seed == pytest.approx(tuple(per_seed))
        assert (item.gain, item.low, item.high) == pytest.approx((peer.estimate, peer.low, peer.high))
        assert item.seeds == (0, 1, 2, 3, 4)
        assert item.workloads == ("text-lm", "digits", "code")
        assert item.detectable == pytest.approx(
            detectable_effect(5, float(np.std(per_seed, ddof=1)), confidence=1 - 0.05 / 3)
        )
        others = combine_workloads(gains(runs, name), over="random")
        assert (item.random_low, item.random_high) == pytest.approx((others.low, others.high))
        assert item.p_value is not None
        p_values.append(item.p_value)
    assert [item.p_holm for item in result.overall] == pytest.approx(holm(p_values).tolist())


def test_verdicts_and_words() -> None:
    result = summarise(varied(), baseline="cosine")
    assert {item.arm: item.verdict for item in result.overall} == {
        "uba:phi=5": "better",
        "linear": "inconclusive",
        "constant": "worse",
    }
    best = of(result, "uba:phi=5")
    assert best.gain is not None
    assert best.gain > 0  # plus is better, although less of the metric is
    assert best.sentence.startswith(
        f"uba:phi=5 is better than cosine on average over 3 workloads: by {100 * best.gain:.2f} % in val_loss (95 % "
    )
    assert "For workloads like these, 95 % interval" in best.sentence
    open_ = of(result, "linear").sentence
    assert open_.startswith("Inconclusive: linear against cosine on average over 3 workloads: it is ")
    assert "5 seeds show" in open_
    assert "four times in five" in open_
    text = str(result)
    assert "average over 3 workloads" in text
    assert "workloads like these" in text
    assert best.sentence[:60] in text
    assert max(map(len, text.splitlines())) <= 120


def test_one_cell_has_no_average() -> None:
    result = summarise(outcomes(), baseline="cosine")
    assert result.overall == ()
    assert "average" not in str(result)


def test_budgets_of_one_workload() -> None:
    cells = (("digits", "300steps"), ("digits", "600steps"))
    item = of(summarise(outcomes(cells=cells), baseline="cosine"), "constant")
    assert item.verdict == "worse"
    assert "on average over 2 budgets" in item.sentence
    assert (item.random_low, item.random_high) == (None, None)
    assert "workloads like these" not in item.sentence


def test_workloads_and_budgets_with_a_hole_weigh_each_workload_once() -> None:
    runs = [*outcomes(cells=(("a", "1k"), ("a", "2k"))), *outcomes(cells=(("b", "1k"),), noise=0.02)]
    table = gains(runs, "constant")
    means = {key: np.mean(list(row.values())) for key, row in table.items()}
    item = of(summarise(runs, baseline="cosine"), "constant")
    assert item.gain == pytest.approx(((means["a", "1k"] + means["a", "2k"]) / 2 + means["b", "1k"]) / 2)
    assert "2 workloads and 2 budgets" in item.sentence


def test_metrics_of_opposite_directions_are_turned_the_same_way() -> None:
    lower = outcomes({"cosine": 0.0, "new": -0.24}, cells=(("lm", "1k"),), noise=0.001)
    higher = outcomes(
        {"cosine": 0.0, "new": 0.24}, cells=(("qa", "1k"),), noise=0.001, lower_is_better=False, metric="accuracy"
    )
    item = of(summarise(lower + higher, baseline="cosine"), "new")
    assert item.verdict == "better"
    assert item.by_workload == pytest.approx({"lm": 0.1, "qa": 0.1}, abs=0.01)
    assert " in " not in item.sentence.partition("(")[0].partition("by ")[2]  # no one metric to name
    # Better on one by as much as worse on the other is nothing, not twice as much.
    against = changed(higher, "new", {}, value=2.4 - 0.24)
    item = of(summarise(lower + against, baseline="cosine"), "new")
    assert item.verdict == "inconclusive"
    assert item.gain == pytest.approx(0.0, abs=0.02)


def test_the_margin_is_averaged_as_a_share_of_the_baseline() -> None:
    runs = outcomes({"cosine": 0.0, "linear": 0.0}, cells=CELLS, noise=0.001)
    item = of(summarise(runs, baseline="cosine", margin=0.05), "linear")
    base = np.mean([run.value for run in runs if run.arm == "cosine" and run.workload == "code"])  # type: ignore[type-var]
    assert item.margin == pytest.approx(0.05 / base)
    assert item.verdict == "no difference"
    assert "no difference that matters on average over 3 workloads: at most" in item.sentence
    assert of(summarise(runs, baseline="cosine"), "linear").margin == 0.0


# --- what is missing, diverged, or cannot be averaged ---


def test_unequal_seeds_are_averaged_on_the_common_ones_and_said() -> None:
    runs = [run for run in varied() if not (run.workload == "digits" and run.seed == 3)]
    result = summarise(runs, baseline="cosine")
    assert of(result, "linear").seeds == (0, 1, 2, 4)
    assert "taken over the 4 seeds that all workloads and budgets have" in of(result, "linear").note
    assert any("Average of linear: taken over the 4 seeds" in note for note in result.notes)


def test_workloads_with_seeds_of_their_own_count_as_independent() -> None:
    runs = outcomes(cells=CELLS[:1], seeds=(0, 1, 2)) + outcomes(cells=CELLS[1:2], seeds=(7, 8, 9, 10))
    item = of(summarise(runs, baseline="cosine"), "constant")
    peer = combine_workloads(gains(runs, "constant"), seeds="independent")
    assert (item.low, item.high) == pytest.approx((peer.low, peer.high))
    assert (item.seeds, item.per_seed) == ((), ())
    assert "seeds count as independent" in item.note
    assert "7 results" in item.sentence
    assert item.verdict == "worse"


def test_one_seed_gives_an_average_and_no_verdict() -> None:
    item = of(summarise(varied(seeds=(0,)), baseline="cosine"), "constant")
    assert (item.low, item.p_value, item.verdict) == (None, None, "inconclusive")
    assert item.gain is not None
    assert "one seed shows no noise" in item.sentence


def test_a_missing_workload_is_said() -> None:
    runs = [run for run in varied() if not (run.workload == "code" and run.arm == "linear")]
    result = summarise(runs, baseline="cosine")
    assert of(result, "linear").workloads == ("text-lm", "digits")
    assert "no common result on code, 300steps, which is left out" in of(result, "linear").note
    assert of(result, "constant").workloads == ("text-lm", "digits", "code")


@pytest.mark.parametrize("how", [{"value": math.nan}, {"value": None, "diverged": True}])
def test_a_diverged_run_takes_the_better_verdict_back(how: dict[str, Any]) -> None:
    result = summarise(changed(varied(), "uba:phi=5", {"workload": "digits", "seed": 1}, **how), baseline="cosine")
    item = of(result, "uba:phi=5")
    assert item.verdict == "inconclusive"
    assert "uba:phi=5 diverged on 1 of 15 runs (digits)" in item.sentence
    assert item.seeds == (0, 2, 3, 4)
    assert of(result, "constant").verdict == "worse"


def test_diverging_on_most_runs_is_worse_and_on_all_has_no_number() -> None:
    runs = changed(varied(), "linear", {"workload": "digits"}, value=None, diverged=True)
    assert of(summarise(runs, baseline="cosine"), "linear").verdict == "inconclusive"
    runs = changed(runs, "linear", {"workload": "code"}, value=None, diverged=True)
    assert of(summarise(runs, baseline="cosine"), "linear").verdict == "worse"
    item = of(summarise(changed(varied(), "linear", {}, diverged=True), baseline="cosine"), "linear")
    assert (item.gain, item.verdict) == (None, "worse")
    assert "linear diverged on all 15 runs" in item.sentence


def test_a_baseline_of_zero_or_of_both_signs_has_no_relative_difference() -> None:
    for values in ((0.0, 0.0), (-1.0, 1.0)):
        runs = varied(seeds=(0, 1))
        for seed, value in enumerate(values):
            runs = changed(runs, "cosine", {"workload": "digits", "seed": seed}, value=value)
        result = summarise(runs, baseline="cosine")
        assert result.overall == ()
        assert any(note.startswith("There is no average over workloads: digits, 300steps: ") for note in result.notes)


def test_items_of_two_tasks_are_averaged_relative_to_the_mean() -> None:
    rng = np.random.default_rng(0)
    runs = [
        RunOutcome(
            arm=arm,
            workload=task,
            budget="x",
            seed=item,
            metric="acc",
            lower_is_better=False,
            value=float(rng.uniform() < share),
        )
        for task, count in (("hard", 300), ("easy", 200))
        for arm, share in (("old", 0.3), ("new", 0.6))
        for item in range(count)
    ]
    paired_by = {("hard", "x"): "item", ("easy", "x"): "item"}
    result = summarise(runs, baseline="old", paired_by=paired_by)
    item = of(result, "new")
    by_task = {
        task: np.mean([r.value for r in runs if (r.arm, r.workload) == ("new", task)])  # type: ignore[type-var]
        / np.mean([r.value for r in runs if (r.arm, r.workload) == ("old", task)])  # type: ignore[type-var]
        - 1
        for task in ("hard", "easy")
    }
    assert item.by_workload == pytest.approx(by_task)
    assert item.verdict == "better"
    assert "500 items" in item.sentence
    assert "seed" not in item.sentence
    assert item.note == ""


# --- storage ---


def test_json_round_trip() -> None:
    runs = changed(varied(), "linear", {"workload": "digits"}, value=math.nan)
    result = summarise(runs, baseline="cosine", margin=0.01)
    stored = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert ComparisonResult.from_json(stored) == result
    assert {"arm", "baseline", "gain", "low", "high", "verdict", "sentence"} <= set(stored["overall"][0])
    del stored["overall"]  # a report of an earlier version
    assert ComparisonResult.from_json(stored).overall == ()


def test_the_order_of_runs_does_not_matter() -> None:
    runs = varied()
    one, other = (summarise(each, baseline="cosine", arms=list(EFFECTS)).overall for each in (runs, runs[::-1]))
    assert [item.arm for item in one] == [item.arm for item in other]
    for left, right in zip(one, other, strict=True):
        assert (left.gain, left.low, left.high, left.p_holm) == pytest.approx(
            (right.gain, right.low, right.high, right.p_holm)
        )
        assert left.sentence == right.sentence
