"""From runs to a verdict: pairing, Holm, divergence, what is missing, the contract's JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.comparison.outcomes import EFFECTS, outcomes

from tutelage.comparison.result import ArmComparison, ComparisonResult, RunOutcome, summarise
from tutelage.comparison.table import cost_line, duration, p_text, signed, with_spread
from tutelage.errors import ConfigError
from tutelage.evaluation import detectable_effect, holm


def changed(runs: list[RunOutcome], arm: str, seeds: tuple[int, ...], **changes: Any) -> list[RunOutcome]:
    return [dataclasses.replace(run, **changes) if run.arm == arm and run.seed in seeds else run for run in runs]


def of(result: ComparisonResult, arm: str) -> ArmComparison:
    return next(item for item in result.comparisons if item.arm == arm)


def test_numbers_are_those_of_scipy() -> None:
    runs = outcomes()
    result = summarise(runs, baseline="cosine")
    table = {arm: [run.value for run in runs if run.arm == arm] for arm in EFFECTS}
    p_values = []
    for name in ("uba:phi=5", "linear", "constant"):
        d = np.array(table[name], dtype=float) - np.array(table["cosine"], dtype=float)
        item = of(result, name)
        ends = stats.ttest_1samp(d, 0).confidence_interval(0.95)
        assert item.difference == pytest.approx(d.mean())
        assert item.per_seed == pytest.approx(tuple(d))
        # The default is Student's interval or wider.
        assert item.low is not None
        assert item.high is not None
        assert item.low <= ends.low + 1e-12
        assert item.high >= ends.high - 1e-12
        assert item.p_value is not None
        p_values.append(item.p_value)
        # Three arms share the 5 %: what certainly survives Holm must reach a third of it.
        assert item.detectable == pytest.approx(detectable_effect(5, d.std(ddof=1), confidence=1 - 0.05 / 3))
    assert [of(result, n).p_holm for n in ("uba:phi=5", "linear", "constant")] == pytest.approx(holm(p_values).tolist())
    arm = next(arm for arm in result.arms if arm.name == "linear")
    assert arm.mean == pytest.approx(np.mean(table["linear"]))  # type: ignore[arg-type]
    assert arm.per_seed == tuple(table["linear"])


def test_verdicts_ranks_and_conclusion() -> None:
    result = summarise(outcomes(), baseline="cosine")
    assert {item.arm: item.verdict for item in result.comparisons} == {
        "uba:phi=5": "better",
        "linear": "inconclusive",
        "constant": "worse",
    }
    ranked = [arm.name for arm in result.arms_of(result.cells[0])]
    assert ranked[0] == "uba:phi=5"
    assert ranked[-1] == "constant"
    assert result.conclusion.startswith("text-lm, 300steps: uba:phi=5 is better than cosine: its val_loss is 0.03")
    assert "Worse than cosine: constant." in result.conclusion
    assert "Inconclusive: linear." in result.conclusion


def test_the_order_of_runs_does_not_matter() -> None:
    runs = outcomes()
    mixed = list(runs)
    random.Random(3).shuffle(mixed)
    arms = list(EFFECTS)
    one, other = (summarise(each, baseline="cosine", arms=arms) for each in (runs, mixed))
    assert one.comparisons == other.comparisons
    assert [arm.per_seed for arm in one.arms] == [arm.per_seed for arm in other.arms]


def test_a_metric_to_be_raised_is_judged_the_other_way() -> None:
    result = summarise(outcomes(lower_is_better=False, metric="accuracy"), baseline="cosine")
    assert of(result, "uba:phi=5").verdict == "worse"
    assert of(result, "constant").verdict == "better"
    assert of(result, "constant").difference > 0  # type: ignore[operator]  # arm minus baseline, whatever is better
    assert result.arms_of(result.cells[0])[0].name == "constant"


def test_inconclusive_is_said_first() -> None:
    result = summarise(outcomes({"cosine": 0.0, "linear": -0.001}, seeds=(0, 1, 2)), baseline="cosine")
    assert result.conclusion.startswith("text-lm, 300steps: inconclusive. ")
    result = summarise(outcomes(seeds=(0,)), baseline="cosine")
    assert {item.verdict for item in result.comparisons} == {"inconclusive"}
    assert all(item.low is None and item.high is None and item.p_value is None for item in result.comparisons)
    assert all("one seed shows no noise" in item.sentence for item in result.comparisons)
    assert "inconclusive" in result.conclusion


def test_within_the_margin_is_no_difference() -> None:
    result = summarise(outcomes({"cosine": 0.0, "linear": 0.0}, noise=0.002), baseline="cosine", margin=0.05)
    assert of(result, "linear").verdict == "no difference"
    assert "no difference that matters" in result.conclusion


def test_the_same_arm_twice_is_equal() -> None:
    runs = outcomes({"cosine": 0.0, "again": 0.0}, noise=0.0)
    result = summarise(runs, baseline="cosine")
    assert of(result, "again").verdict == "no difference"
    assert of(result, "again").p_value == 1.0


# --- what is missing or diverged ---


def test_unequal_seeds_are_paired_on_the_common_ones_and_said() -> None:
    runs = [run for run in outcomes() if not (run.arm == "linear" and run.seed == 2)]
    item = of(summarise(runs, baseline="cosine"), "linear")
    assert item.seeds == (0, 1, 3, 4)
    assert "4 common seeds" in item.note
    assert "seed 2" in item.note
    note = next(note for note in summarise(runs, baseline="cosine").notes if "linear" in note)
    assert "no result for seed 2" in note


def test_a_run_without_result_counts_as_missing_not_as_diverged() -> None:
    result = summarise(changed(outcomes(), "linear", (1,), value=None), baseline="cosine")
    arm = next(arm for arm in result.arms if arm.name == "linear")
    assert (arm.missing_seeds, arm.diverged_seeds, arm.per_seed[1]) == ((1,), (), None)
    assert of(result, "linear").seeds == (0, 2, 3, 4)


@pytest.mark.parametrize(
    "how", [{"value": math.nan}, {"value": math.inf}, {"value": None, "diverged": True}, {"diverged": True}]
)
def test_a_diverged_run_ranks_its_arm_last_and_is_said(how: dict[str, Any]) -> None:
    result = summarise(changed(outcomes(), "uba:phi=5", (1,), **how), baseline="cosine")
    ranked = result.arms_of(result.cells[0])
    assert ranked[-1].name == "uba:phi=5"
    assert ranked[-1].diverged_seeds == (1,)
    assert ranked[-1].per_seed[1] is None
    item = of(result, "uba:phi=5")
    assert item.verdict == "inconclusive"  # on the seeds that survived it would be the better one
    assert "diverged on 1 of 5 seeds (seed 1)" in item.sentence
    assert "is better than cosine" in item.sentence
    assert "Diverged, hence ranked last: uba:phi=5 (1 of 5 seeds)." in result.conclusion
    assert any("uba:phi=5 diverged" in note for note in result.notes)


@pytest.mark.parametrize("seeds", [(0, 1, 2, 3, 4), (0, 1, 3)])
def test_diverging_on_most_seeds_is_worse(seeds: tuple[int, ...]) -> None:
    result = summarise(changed(outcomes(), "linear", seeds, value=None, diverged=True), baseline="cosine")
    assert of(result, "linear").verdict == "worse"
    assert "diverged on" in of(result, "linear").sentence
    assert of(result, "constant").verdict == "worse"


def test_a_baseline_that_diverged_loses() -> None:
    runs = changed(outcomes(), "cosine", (0, 1, 2, 3, 4), value=None, diverged=True)
    result = summarise(runs, baseline="cosine")
    assert of(result, "linear").verdict == "better"
    assert result.arms_of(result.cells[0])[-1].name == "cosine"
    assert "cosine diverged on all 5 seeds" in of(result, "linear").sentence
    assert "linear is better than cosine" in of(result, "linear").sentence
    one = summarise(changed(outcomes(), "cosine", (0,), diverged=True), baseline="cosine")
    assert of(one, "constant").verdict == "inconclusive"
    assert of(one, "uba:phi=5").verdict == "better"


def test_one_diverged_run_of_one_is_no_verdict() -> None:
    runs = changed(outcomes(seeds=(0,)), "linear", (0,), value=None, diverged=True)
    assert of(summarise(runs, baseline="cosine"), "linear").verdict == "inconclusive"


def test_both_diverged_everywhere_is_no_verdict() -> None:
    result = summarise(outcomes(value=math.nan), baseline="cosine")
    assert {item.verdict for item in result.comparisons} == {"inconclusive"}
    assert all(arm.mean is None for arm in result.arms)
    assert str(result)


def test_pairs_that_are_items_are_called_items() -> None:
    by_item = {("text-lm", "300steps"): "item"}
    for noise in (0.004, 0.5):
        result = summarise(outcomes(noise=noise), baseline="cosine", paired_by=by_item)
        assert result.cells[0].pair == "item"
        said = " ".join([str(result), result.conclusion, *(item.sentence for item in result.comparisons)])
        assert "5 items" in said
        assert "seed" not in said
    lost = changed(outcomes(), "linear", (1,), diverged=True)
    lost = [run for run in lost if (run.arm, run.seed) != ("constant", 3)]
    result = summarise(lost, baseline="cosine", paired_by=by_item)
    assert "paired on 4 common items; only one of the two has item 3" in of(result, "constant").note
    assert "Diverged, hence ranked last: linear (1 of 5 items)." in result.conclusion
    assert any("linear diverged on 1 of 5 items (1)" in note for note in result.notes)
    alone = summarise(outcomes(seeds=(0,)), baseline="cosine", paired_by=by_item)
    assert "one item shows no noise" in of(alone, "linear").sentence


# --- cells, costs, hashes ---


def test_every_cell_is_judged_by_itself() -> None:
    cells = (("text-lm", "300steps"), ("digits", "300steps"), ("digits", "600steps"))
    result = summarise(outcomes(cells=cells), baseline="cosine")
    assert [(cell.workload, cell.budget) for cell in result.cells] == list(cells)
    assert len(result.arms) == 12
    assert len(result.comparisons) == 9
    alone = summarise(outcomes(cells=cells[1:2]), baseline="cosine")
    assert [item for item in result.comparisons if (item.workload, item.budget) == cells[1]] == list(alone.comparisons)


def test_cost_keeps_training_and_tuning_apart() -> None:
    result = summarise(outcomes(), baseline="cosine")
    assert result.cost == {"train_steps": 6000, "search_steps": 0, "tuning_steps": 1800, "evaluations": 140}
    assert result.arms[0].cost["train_steps"] == 1500
    assert cost_line(result) == "updates: 6,000 of training, 1,800 of tuning; 3 min 44 s of training"


def test_equal_hashes_are_shown_and_unequal_ones_said() -> None:
    cell = summarise(outcomes(), baseline="cosine").cells[0]
    assert cell.same == {"init": True, "data": True, "order": True}
    assert cell.hashes["3"] == {"init": "a13", "data": "0f0f", "order": "9e3"}
    result = summarise(changed(outcomes(), "linear", (3,), hashes={"init": "other", "data": "0f0f"}), baseline="cosine")
    assert result.cells[0].same == {"init": False, "data": True, "order": True}
    assert "init" not in result.cells[0].hashes["3"]
    assert any("did not all meet the same first weights (seed 3)" in note for note in result.notes)
    assert summarise(outcomes(hashes={}), baseline="cosine").cells[0].same["init"] is None


# --- JSON and text ---


def test_the_contract() -> None:
    stored = json.loads(json.dumps(summarise(outcomes(), baseline="cosine").to_json(), allow_nan=False))
    arm = stored["arms"][0]
    assert {"name", "metric", "mean", "low", "high", "per_seed", "seeds", "workload", "budget"} <= set(arm)
    assert len(arm["per_seed"]) == 5
    item = stored["comparisons"][0]
    assert {"arm", "baseline", "difference", "low", "high", "verdict", "sentence", "detectable"} <= set(item)
    assert {"p_value", "p_holm", "p_permutation"} <= set(item)
    assert item["baseline"] == "cosine"
    assert stored["conclusion"]


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_json_round_trip(seeds: tuple[int, ...]) -> None:
    runs = changed(outcomes(seeds=seeds), "linear", (0,), value=math.nan)
    result = summarise(runs, baseline="cosine", margin=0.01, declaration={"seeds": list(seeds)})
    assert ComparisonResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_the_table_says_it_all() -> None:
    runs = changed(outcomes({**EFFECTS, "[red]odd[/red]": 0.1}), "constant", (0, 1, 2, 3, 4), diverged=True)
    text = str(summarise(runs, baseline="cosine", notes=["A remark."]))
    assert text.isprintable() or "\x1b" not in text
    for fragment in (
        "uba:phi=5",
        "[red]odd[/red]",
        "better",
        "worse",
        "baseline",
        "diverged",
        "Note: A remark.",
        "Cost:",
    ):
        assert fragment in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_baseline_that_looks_like_markup_is_shown_as_it_is() -> None:
    assert "vs [b]odd[/b]" in str(summarise(outcomes({"[b]odd[/b]": 0.0, "linear": 0.1}), baseline="[b]odd[/b]"))


def test_numbers_in_words() -> None:
    assert [duration(s) for s in (3.21, 75, 7380)] == ["3.21 s", "1 min 15 s", "2 h 3 min"]
    assert [signed(x) for x in (0.01234, -5.0, 0.0)] == ["+0.0123", "-5.00", "0"]
    assert [p_text(p) for p in (0.0001, 0.0123, 0.5)] == ["<0.001", "0.012", "0.50"]
    assert [with_spread(2.34567, s) for s in (0.5, 0.003, 0.0, None)] == ["2.346", "2.3457", "2.346", "2.346"]
    assert with_spread(None, None) == "diverged"


# --- bad input ---


@pytest.mark.parametrize(
    ("runs", "options", "fragment"),
    [
        ([], {}, "no finished runs"),
        (outcomes(), {"baseline": "cosin"}, 'no arm "cosin" to serve as baseline. Did you mean "cosine"?'),
        (outcomes(), {"margin": -1.0}, "margin must be a finite number >= 0"),
        (outcomes(), {"confidence": 95.0}, "confidence must be between 0 and 1"),
        (outcomes() + outcomes()[:1], {}, "arm cosine has two results for seed 0"),
        (changed(outcomes(), "linear", (2,), metric="accuracy"), {}, "give all arms the same metric"),
        (changed(outcomes(), "linear", (2,), lower_is_better=False), {}, "val_loss (higher is better)"),
    ],
)
def test_bad_input(runs: list[RunOutcome], options: dict[str, Any], fragment: str) -> None:
    with pytest.raises(ConfigError) as caught:
        summarise(runs, **{"baseline": "cosine", **options})
    assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("stored", "fragment"), [({"format": 99}, "format 99"), ({"format": 1, "arms": []}, "incomplete")]
)
def test_a_report_that_cannot_be_read(stored: dict[str, Any], fragment: str) -> None:
    with pytest.raises(ConfigError, match=fragment):
        ComparisonResult.from_json(stored)
