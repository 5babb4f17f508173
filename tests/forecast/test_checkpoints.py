"""Scores over checkpoints: the analysis of similarity, onsets, domains and sizes, and what tables are refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.errors import DataError
from tutelage.forecast._checkpoint_table import curves_of, read_table, smoothed
from tutelage.forecast.checkpoints import dynamics, early_indicator, health_report, onset, predict_task
from tutelage.training.storage import finite

A, B, C = [0, 1, 2, 3, 3], [0, 2, 4, 6, 6], [3, 3, 2, 1, 0]


def rows(curves, *, run="a", chance=0.0, domains=None, tokens=None, ci=None):
    """Records of one run: its curves by task, at 100, 200, ... tokens."""
    found = []
    for task, curve in curves.items():
        for place, score in enumerate(curve):
            at = 100 * (place + 1) if tokens is None else tokens[place]
            row = {"run": run, "step": at, "tokens": at, "task": task, "score": float(score), "chance": chance}
            found.append({**row, "domain": (domains or {}).get(task, "d"), **({} if ci is None else {"ci": ci})})
    return found


def over_ten(*curves):
    return {name: [value / 10 for value in curve] for name, curve in zip("ABC", curves, strict=False)}


# --- check values ----------------------------------------------------------------------------------------------------


def test_a_score_is_normalised_by_chance_and_kept_below_it() -> None:
    table = read_table(rows({"t": [0.4, 0.25, 0.1, 1.0, 0.25]}, chance=0.25))
    assert curves_of(table, "a").z[:, 0] == pytest.approx([0.2, 0.0, -0.2, 1.0, 0.0], abs=1e-15)


def test_similarity_of_the_three_curves() -> None:
    # With an offset all leave chance at once; and differences that are equal but for rounding errors must tie.
    curves = {name: [0.1 + value for value in curve] for name, curve in over_ten(A, B, C).items()}
    found = dynamics(rows(curves, domains={"A": "x", "B": "x", "C": "y"}), smooth="none", upto=0.7).similarity["a"]
    assert found.curves["A"]["B"] == pytest.approx(1.0, abs=1e-12)
    assert found.differences["A"]["B"] == pytest.approx(1.0, abs=1e-12)
    assert found.curves["C"]["A"] == pytest.approx(-0.947368, abs=1e-6)
    assert found.within == {"curves": pytest.approx(1.0), "differences": pytest.approx(1.0), "pairs": 1}
    assert found.across["pairs"] == 2
    assert found.across["curves"] == pytest.approx(-0.947368, abs=1e-6)


def test_onset_of_the_card() -> None:
    assert onset([0, 0.06, 0.02, 0.06, 0.07, 0.08], threshold=0.05, length=3) == 3
    assert onset([0, 0.06, 0.06], threshold=0.05, length=3) is None, "two are not three"
    assert onset([0.05, 0.05, 0.05]) is None, "the threshold itself is not above it"
    assert onset([0.06, 0.06]) is None


def test_smoothing_is_over_neighbours_that_there_are() -> None:
    assert smoothed(np.array([0.0, 3.0, 6.0, 0.0]), "mean").tolist() == [1.5, 3.0, 3.0, 3.0]
    assert smoothed(np.array([0.0, 3.0, 1.0, 4.0]), "isotonic").tolist() == [0.0, 2.0, 2.0, 4.0]
    with pytest.raises(ValueError, match='smooth must be "mean", "isotonic" or "none", got "median"'):
        smoothed(np.zeros(3), "median")


# --- dynamics --------------------------------------------------------------------------------------------------------


def test_similarity_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    curves = {f"t{k}": 0.3 + 0.5 * np.sort(rng.random(12)) + 0.05 * rng.random(12) for k in range(5)}
    found = dynamics(rows(curves, domains={"t0": "x", "t1": "x"}), smooth="none").similarity["a"]
    for a in curves:
        for b in curves:
            if a != b:
                assert found.curves[a][b] == pytest.approx(stats.spearmanr(curves[a], curves[b]).statistic)
                changes = stats.spearmanr(np.diff(curves[a]), np.diff(curves[b])).statistic
                assert found.differences[a][b] == pytest.approx(changes)
    same = [found.differences["t0"]["t1"]] + [
        found.differences[a][b] for a, b in (("t2", "t3"), ("t2", "t4"), ("t3", "t4"))
    ]
    assert found.within["differences"] == pytest.approx(np.mean(same))
    assert (found.within["pairs"], found.across["pairs"]) == (4, 6)


def test_a_common_trend_is_in_the_curves_and_not_in_the_changes() -> None:
    rng = np.random.default_rng(1)
    curves = {f"t{k}": np.linspace(0.2, 0.8, 40) + 0.02 * rng.standard_normal(40) for k in range(6)}
    found = dynamics(rows(curves), smooth="none").similarity["a"].within
    assert found["curves"] > 0.9
    assert abs(found["differences"]) < 0.25


def test_tasks_at_chance_are_in_no_statistic_and_are_named() -> None:
    rising, flat = np.linspace(0.3, 0.9, 10), np.full(10, 0.25)
    table = rows({"up": rising, "more": rising**2, "flat": flat}, chance=0.25)
    found = dynamics(table)
    assert found.similarity["a"].at_chance == ("flat",)
    assert "flat" not in found.similarity["a"].curves
    assert found.onsets["a"]["flat"] is None
    assert list(found.onsets["a"])[-1] == "flat"
    assert set(found.domain_r2["a"]) == {"up", "more"}


def test_a_task_that_does_not_move_has_no_correlation() -> None:
    found = dynamics(rows({"still": [0.5] * 8, "up": np.linspace(0.2, 0.9, 8)})).similarity["a"]
    assert found.curves["still"]["up"] is None
    assert found.undefined == 1
    assert found.within == {"curves": None, "differences": None, "pairs": 0}


def test_onsets_come_in_order_and_tau_compares_two_runs() -> None:
    def late(start):
        return [0.0 if k < start else 0.5 for k in range(10)]

    first = rows({"one": late(2), "two": late(4), "three": late(6)}, run="small")
    second = rows({"one": late(1), "two": late(5), "three": late(3)}, run="large")
    found = dynamics(first + second, smooth="none")
    assert list(found.onsets["small"].items()) == [("one", 300.0), ("two", 500.0), ("three", 700.0)]
    assert list(found.onsets["large"]) == ["one", "three", "two"]
    assert found.kendall == {"small": {"large": pytest.approx(stats.kendalltau([2, 4, 6], [1, 5, 3]).statistic)}}


def test_similar_sizes() -> None:
    x = np.linspace(0, 1, 10)
    small = rows({"p": 0.6 * x, "q": 0.5 * x, "r": 0.3 * x, "s": 0.0 * x}, run="small")
    large = rows({"p": 0.9 * x, "q": 0.5 + 0.1 * np.cos(9 * x), "r": 0.8 * x, "s": x}, run="large")
    (pair,) = dynamics(small + large, smooth="none").size_similarity
    assert (pair.first, pair.second) == ("small", "large")
    assert pair.at_chance == ("s",), "at chance in the small one"
    assert pair.pearson["p"] == pytest.approx(1.0)
    assert pair.pearson["q"] == pytest.approx(stats.pearsonr(x, np.cos(9 * x)).statistic)
    assert pair.share == pytest.approx(2 / 3)
    # Ranks of p, q, r are 3, 2, 1 in the small one and 3, 1, 2 in the large one.
    assert pair.final_ranks == pytest.approx(0.5)
    assert pair.rank_error == pytest.approx(2 / 3)


def test_runs_are_aligned_by_tokens_not_by_steps() -> None:
    x = np.linspace(0.1, 0.9, 9)
    first = rows({"t": x}, run="a", tokens=[100 * k for k in range(1, 10)])
    second = rows({"t": x}, run="b", tokens=[50 * k for k in range(1, 10)])
    with pytest.raises(
        DataError, match=r"Runs a and b were measured at different tokens \(4 are common\).*interpolate"
    ):
        dynamics(first + second)
    table = first + rows({"t": np.linspace(0.1, 0.9, 17)}, run="b", tokens=[50 * k for k in range(2, 19)])
    (pair,) = dynamics(table, interpolate=True, smooth="none").size_similarity
    assert pair.pearson["t"] == pytest.approx(1.0), "both are one straight line over tokens"
    assert pair.rank_error == 0


def test_domains_predict_their_own() -> None:
    rng = np.random.default_rng(2)
    first, second = np.cumsum(rng.random(30)) / 20, np.cumsum(rng.random(30) ** 3) / 20
    curves = {"a1": first, "a2": 0.7 * first, "a3": 0.5 * first + 0.1, "b1": second}
    found = dynamics(rows(curves, domains={"a1": "a", "a2": "a", "a3": "a", "b1": "b"})).domain_r2["a"]
    assert set(found) == {"a1", "a2", "a3"}, "a task alone in its domain has no mates"
    assert found["a1"].from_tasks == ("a2", "a3")
    assert found["a1"].mae < 1e-3 < found["a1"].last_value_mae
    assert found["a1"].r2 > 0.999


def test_random_domains_and_other_domains_are_what_real_ones_must_beat() -> None:
    rng = np.random.default_rng(6)
    steps = {domain: np.cumsum(rng.random(40) ** 4) for domain in "xyz"}
    domains = {f"{domain}{k}": domain for domain in "xyz" for k in range(3)}
    curves = {task: 0.1 + 0.7 * (steps[d] + 0.1 * rng.random(40)) / steps[d][-1] / 1.1 for task, d in domains.items()}
    found = dynamics(rows(curves, domains=domains), smooth="none")
    # Of the 280 ways to part nine tasks into threes one is the right one, and none else shows its gap.
    assert found.similarity["a"].p_value == pytest.approx(1 / 280, abs=0.006)
    for task, one in found.domain_r2["a"].items():
        assert one.mae < found.elsewhere["a"][task]
        others = [[name for name in curves if domains[name] == d] for d in "xyz" if d != domains[task]]
        expected = np.mean([predict_task(rows(curves, domains=domains), task, names).mae for names in others])
        assert found.elsewhere["a"][task] == pytest.approx(expected)
    swapped = dict(zip(domains, "xyzxyzxyz", strict=True))
    assert dynamics(rows(curves, domains=swapped), smooth="none").similarity["a"].p_value > 0.5
    assert dynamics(rows(curves), smooth="none").similarity["a"].p_value is None, "one domain has nothing beside it"


def test_unlike_tasks_of_two_runs_show_what_rising_alone_does() -> None:
    x = np.linspace(0, 1, 12)
    small = rows({"early": np.minimum(1, 3 * x) * 0.8, "late": 0.8 * x**6}, run="small")
    large = rows({"early": np.minimum(1, 4 * x) * 0.9, "late": 0.9 * x**6}, run="large")
    (pair,) = dynamics(small + large, smooth="none").size_similarity
    assert (pair.share, pair.unlike_share) == (1.0, 0.0)
    both = rows({"one": 0.8 * x, "two": 0.7 * x}, run="small") + rows({"one": 0.9 * x, "two": 0.6 * x}, run="large")
    (pair,) = dynamics(both).size_similarity
    assert (pair.share, pair.unlike_share) == (1.0, 1.0)


def test_smoothing_hides_no_checkpoint_from_the_prediction() -> None:
    table = rows({"p": np.linspace(0.1, 0.9, 10), "q": np.linspace(0.2, 0.8, 10) ** 2})
    one = dynamics(table, smooth="mean").domain_r2["a"]["p"]
    assert one == predict_task(table, "p", ["q"], 0.5)


# --- tables ----------------------------------------------------------------------------------------------------------


def test_records_columns_arrow_and_text_are_one_table() -> None:
    records = rows(over_ten(A, B), ci=0.05)
    columns = {name: [row[name] for row in records] for name in records[0]}
    spelled = [{name: str(value) for name, value in row.items()} for row in records]
    expected = json.dumps(finite(dynamics(records, upto=0.8).to_json()))
    for table in (columns, pyarrow.table(columns), spelled, list(reversed(records))[::-1]):
        assert json.dumps(finite(dynamics(table, upto=0.8).to_json())) == expected
    assert health_report(pyarrow.table(columns)) == health_report(records)


def test_a_table_of_one_run_need_not_name_it() -> None:
    nameless = [{name: value for name, value in row.items() if name != "run"} for row in rows(over_ten(A, B))]
    assert list(dynamics(nameless, upto=0.8).onsets) == ["run"]


def changed(place=3, **values):
    table = rows(over_ten(A, B))
    table[place] = {**table[place], **values}
    return table


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (changed(chance=None), "row 4: task A has no chance level; give the score of guessing"),
        (changed(chance=math.nan), "row 4: task A has no chance level"),
        (changed(chance=1.0), "row 4: chance must be >= 0 and < 1, got 1"),
        (changed(chance=0.5), "row 4: chance of A is 0.5 here and 0 before"),
        (changed(domain="e"), "row 4: task A is of domain e here and of d before"),
        (changed(score=45.3), "row 4: score must be a share, at most 1, got 45.3; divide percentages by 100"),
        (changed(score=math.nan), "row 4: score must be a finite number, got nan"),
        (changed(tokens="many"), "row 4: tokens must be a finite number, got 'many'"),
        (changed(ci=-0.1), "row 4: ci must be >= 0, half the width of the 95 % interval, got -0.1"),
        (changed(step=100), "row 4: run a, step 100, task A is there twice; keep one of the two"),
        (changed(tokens=50), "task A: steps and tokens must rise together"),
        (rows({"A": [0.1, 0.2, 0.3, 0.4]}), "Run a: at least 5 checkpoints are needed, got 4"),
        (
            [{k: v for k, v in row.items() if k != "tokens"} | {"token": 1} for row in rows(over_ten(A))],
            'row 1: no column tokens. Did you mean "token"?',
        ),
        ([], "no rows with scores"),
        ([3], "row 1: a table of checkpoints holds records, not a int"),
        ({"run": ["a"], "step": [1, 2]}, "must have one length"),
        (
            rows({"A": [0.1] * 5}) + rows({"B": [0.1] * 5}, tokens=[100, 200, 300, 400, 600]),
            "Run a: tasks A and B were measured at different tokens; allow straight lines",
        ),
        (rows(over_ten(A), run="a") + rows(over_ten(A), run="b", tokens=[1, 2, 3, 4, 5]), r"\(0 are common\)"),
    ],
)
def test_tables_that_are_refused(table, message) -> None:
    with pytest.raises(DataError, match=message):
        dynamics(table)


def test_interpolation_needs_five_common_checkpoints_too() -> None:
    table = rows(over_ten(A), run="a") + rows(over_ten(A), run="b", tokens=[1, 2, 3, 4, 150])
    with pytest.raises(DataError, match="at least 5 checkpoints are needed where both were measured, got"):
        dynamics(table, interpolate=True)


@pytest.mark.parametrize("upto", [0.0, 1.0, -1.0, math.nan])
def test_the_share_to_learn_from_is_checked(upto) -> None:
    with pytest.raises(ValueError, match="upto must be above 0 and below 1"):
        dynamics(rows(over_ten(A)), upto=upto)


# --- prediction ------------------------------------------------------------------------------------------------------


def test_a_linear_relation_is_found_and_predicted_in_the_targets_own_unit() -> None:
    x = np.linspace(0, 0.8, 12) ** 2
    table = rows({"mate": x}) + rows({"target": 0.5 + 0.5 * (0.1 + 0.9 * x)}, chance=0.5)
    found = predict_task(table, "target", ["mate"], 0.5)
    assert found.predicted == pytest.approx(found.actual, abs=2e-3)
    assert found.weights["mate"] == pytest.approx(0.9, rel=0.01)
    assert found.tokens == (700, 800, 900, 1000, 1100, 1200)
    assert found.mae == pytest.approx(np.mean(np.abs(np.subtract(found.predicted, found.actual))) / 0.5)
    assert found.last_value_mae == pytest.approx(np.mean((0.1 + 0.9 * x[6:]) - (0.1 + 0.9 * x[5])))
    assert found.mean_mae == pytest.approx(np.mean(np.abs(0.1 + 0.9 * x[6:] - x[6:])))


def test_the_penalty_is_the_one_left_out_checkpoints_choose() -> None:
    """Against ridge regressions fitted one by one, each without a checkpoint."""
    rng = np.random.default_rng(3)
    x, noise = rng.random((10, 3)), rng.standard_normal(10)
    y = 0.3 + 0.1 * x[:, 0] + 0.05 * noise
    # Learned from a run of its own, so that all ten checkpoints count.
    table = rows({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}, run="small") + rows(
        {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}, run="large"
    )
    found = predict_task(table, "y", ["a", "b", "c"], 0.0, run="large", trained_on="small")

    def ridge(x, y, penalty):
        # Centred and scaled by all rows, as the penalty is on those.
        centred = np.column_stack([np.ones(len(x)), x])
        identity = np.eye(4) * penalty
        identity[0, 0] = 0
        return np.linalg.solve(centred.T @ centred + identity, centred.T @ y)

    scaled = (x - x.mean(0)) / x.std(0)
    errors = {}
    for penalty in [10.0**power for power in range(-4, 3)]:
        left_out = []
        for k in range(10):
            kept = np.arange(10) != k
            weights = ridge(scaled[kept], y[kept], penalty * 10)
            left_out.append(y[k] - weights[0] - scaled[k] @ weights[1:])
        errors[penalty] = np.square(left_out).sum()
    assert found.penalty == min(errors, key=errors.__getitem__)
    weights = ridge(scaled, y, found.penalty * 10)[1:] / x.std(0)
    assert list(found.weights.values()) == pytest.approx(weights.tolist())
    assert len(found.tokens) == 10
    assert found.last_value_mae is None


def test_a_small_model_teaches_about_a_large_one() -> None:
    x = np.linspace(0.1, 0.5, 10)
    table = rows({"p": x, "q": 0.5 * x}, run="small") + rows({"p": 1.8 * x, "q": 0.9 * x}, run="large")
    found = predict_task(table, "q", ["p"], 0.5, run="large", trained_on="small")
    assert (found.run, found.trained_on) == ("large", "small")
    assert found.mae < 0.002 < found.last_value_mae
    assert len(found.tokens) == 5


def test_a_task_that_does_not_move_gets_no_weight() -> None:
    table = rows({"p": np.linspace(0.1, 0.9, 10), "still": [0.3] * 10, "q": np.linspace(0.2, 0.6, 10)})
    assert predict_task(table, "p", ["still", "q"]).weights["still"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "p", "from_tasks": []}, "from_tasks must name at least one task"),
        ({"target": "p", "from_tasks": ["p"]}, '"p" is named twice; a task cannot help to predict itself'),
        ({"target": "p", "from_tasks": ["qq"]}, 'No task "qq". Did you mean "q"\\? All: p, q'),
        ({"target": "p", "from_tasks": ["q"], "upto": 1.0}, "upto must be >= 0 and < 1"),
        ({"target": "p", "from_tasks": ["q"], "upto": 0.2}, "at least 3 checkpoints are needed to learn from"),
        ({"target": "p", "from_tasks": ["q"], "run": None}, "The table holds 2 runs; name one: a, b"),
        ({"target": "p", "from_tasks": ["q"], "run": "c"}, 'No run "c". All: a, b'),
    ],
)
def test_predictions_that_are_refused(arguments, message) -> None:
    table = rows({"p": [0.1] * 9, "q": [0.1] * 9}) + rows({"p": [0.1] * 9, "q": [0.1] * 9}, run="b")
    with pytest.raises(ValueError, match=message):
        predict_task(table, **{"run": "a", **arguments})


# --- early indicators ------------------------------------------------------------------------------------------------


def sweep(finals, *, wiggle=0.0, losses=None):
    """Runs that rise evenly to their finals, and whose losses, if any, are these at every checkpoint."""
    rng = np.random.default_rng(4)
    found = []
    for number, final in enumerate(finals):
        curve = np.linspace(final / 10, final, 10)
        noise = wiggle * rng.standard_normal((2, 10)) * (np.arange(10) < 9)
        found += rows({"t": curve + noise[0], "u": 0.5 * curve + noise[1]}, run=f"r{number}")
        if losses is not None:
            for place in range(10):
                row = {"run": f"r{number}", "step": 100 * (place + 1), "tokens": 100 * (place + 1), "task": "val_loss"}
                found.append({**row, "score": losses[number], "chance": None, "domain": "loss"})
    return found


def test_early_scores_that_rank_the_runs() -> None:
    finals = [0.3, 0.5, 0.4, 0.9, 0.7, 0.6]
    found = early_indicator(sweep(finals, losses=[3.0, 2.0, 2.5, 1.5, 1.4, 1.8]), at=[0.1, 0.25])
    assert found.panel[0.1].spearman == pytest.approx(1.0)
    assert found.panel[0.1].interval is None, "at a correlation of 1 there is none"
    expected = stats.spearmanr([3.0, 2.0, 2.5, 1.5, 1.4, 1.8], finals).statistic
    assert found.loss[0.25].spearman == pytest.approx(expected)
    half = 1.96 * math.sqrt((1 + expected**2 / 2) / 3)
    low, high = math.tanh(math.atanh(expected) - half), math.tanh(math.atanh(expected) + half)
    assert found.loss[0.25].interval == pytest.approx((low, high))
    assert found.pairs[0.1]["t"]["u"] == pytest.approx(1.0)
    assert found.target == "panel"
    assert json.loads(json.dumps(finite(found.to_json())))["panel"]["0.1"]["spearman"] == pytest.approx(1.0)


def test_an_early_score_is_never_read_later_than_asked() -> None:
    table = [row for row in sweep([0.3, 0.5, 0.4]) if row["task"] == "t"]
    for row in table:
        if row["tokens"] == 300:
            row["score"] = 1 - row["score"]  # after 25 % of the tokens, the other way round
    assert early_indicator(table, at=[0.25]).panel[0.25].spearman == pytest.approx(1.0)
    assert early_indicator(table, at=[0.3]).panel[0.3].spearman == pytest.approx(-1.0)
    with pytest.raises(ValueError, match=r"run r0 has no checkpoint up to 0.05 of its tokens, the first is at 100"):
        early_indicator(table, at=[0.05])


def test_another_target_and_panel() -> None:
    table = sweep([0.3, 0.5, 0.4, 0.9], wiggle=0.05)
    found = early_indicator(table, at=[0.2], tasks=["t"], target="u")
    assert (found.tasks, found.target) == (("t",), "u")
    early = [row["score"] for row in table if row["task"] == "t" and row["tokens"] == 200]
    late = [row["score"] for row in table if row["task"] == "u" and row["tokens"] == 1000]
    assert found.panel[0.2].spearman == pytest.approx(stats.spearmanr(early, late).statistic)
    assert found.panel[0.2].pearson == pytest.approx(stats.pearsonr(early, late).statistic)
    assert found.by_task[0.2]["t"] == found.panel[0.2]
    assert found.loss is None


def test_tasks_at_chance_stay_in_the_panel() -> None:
    """To leave them out would be to choose the panel by the outcome."""
    table = sweep([0.3, 0.5, 0.4]) + [row for r in range(3) for row in rows({"flat": [0.0] * 10}, run=f"r{r}")]
    found = early_indicator(table, at=[0.2])
    assert found.tasks == ("t", "u", "flat")
    assert found.by_task[0.2]["flat"].spearman is None


@pytest.mark.parametrize(
    ("table", "arguments", "message"),
    [
        (sweep([0.1, 0.2]), {}, "at least three runs are needed, got 2"),
        (sweep([0.1, 0.2, 0.3]), {"at": [1.0]}, "at must be above 0 and below 1"),
        (sweep([0.1, 0.2, 0.3]), {"tasks": []}, "tasks must name at least one task"),
        (sweep([0.1, 0.2, 0.3]), {"target": "v"}, 'No task "v"'),
    ],
)
def test_indicators_that_are_refused(table, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        early_indicator(table, **arguments)


# --- health ----------------------------------------------------------------------------------------------------------


def verdict(curve, **changes):
    (entry,) = health_report(rows({"t": curve}, chance=0.2, **changes)).tasks
    return entry.verdict


def test_the_four_verdicts() -> None:
    k = np.arange(20)
    assert verdict(0.2 + 0.03 * k, ci=0.05) == "still rising"
    assert verdict(0.2 + 0.6 * (1 - np.exp(-k)), ci=0.05) == "saturated"
    assert verdict(np.where(k < 12, 0.2 + 0.05 * k, 0.4), ci=0.05) == "regressed"
    assert verdict(0.2 + 0.03 * (-1.0) ** k, ci=0.05) == "at chance"
    assert verdict(0.2 - 0.005 * k, ci=0.05) == "at chance", "below chance it has not left it"


def test_a_fall_counts_from_two_intervals_on() -> None:
    curve = np.concatenate([np.linspace(0.2, 0.8, 14), np.full(6, 0.7)])
    # Smoothed, the peak is 0.0673 above the end in normalised scores; the intervals are 0.0375 and 0.03125.
    assert verdict(curve, ci=0.03) == "saturated"
    assert verdict(curve, ci=0.025) == "regressed"


def test_without_an_interval_the_jitter_of_the_curve_is_taken() -> None:
    rng = np.random.default_rng(5)
    curve = 0.2 + 0.5 * (1 - np.exp(-np.arange(60) / 5)) + 0.04 * rng.standard_normal(60)
    (entry,) = health_report(rows({"t": curve}, chance=0.2)).tasks
    assert entry.ci == pytest.approx(1.96 * 0.04 / 0.8, rel=0.35)
    assert entry.verdict == "saturated"


def test_the_report_prints_and_counts() -> None:
    table = rows({"up": np.linspace(0.2, 0.9, 10), "flat": [0.2] * 10}, chance=0.2)
    report = health_report(table)
    assert report.sentence == "2 tasks: 1 still rising, 1 at chance."
    assert [entry.task for entry in report.of("at chance")] == ["flat"]
    assert str(report).splitlines()[-1] == report.sentence
    assert report.to_json()["tasks"][0]["onset_tokens"] == 200.0


# --- invariants ------------------------------------------------------------------------------------------------------

SCORES = st.lists(st.integers(0, 100), min_size=6, max_size=12).map(lambda values: [value / 100 for value in values])


@given(SCORES, st.sampled_from(["mean", "isotonic", "none"]))
def test_smoothed_curves_stay_within_their_scores(scores, how) -> None:
    found = smoothed(np.array(scores), how)
    assert found.min() >= min(scores) - 1e-12
    assert found.max() <= max(scores) + 1e-12
    if how == "isotonic":
        assert (np.diff(found) >= -1e-12).all()


@given(SCORES, SCORES, st.floats(0.1, 10))
def test_units_of_tokens_change_nothing_but_tokens(first, second, unit) -> None:
    n = min(len(first), len(second))
    curves = {"p": first[:n], "q": second[:n]}
    plain = dynamics(rows(curves, tokens=[k + 1 for k in range(n)])).similarity["a"]
    scaled = dynamics(rows(curves, tokens=[unit * (k + 1) for k in range(n)])).similarity["a"]
    assert plain == scaled


@given(SCORES)
def test_every_task_has_one_verdict_and_numbers_that_fit_it(scores) -> None:
    (entry,) = health_report(rows({"t": scores})).tasks
    assert entry.best >= entry.normalised
    assert (entry.verdict == "at chance") == (entry.onset_tokens is None)
    if entry.verdict == "regressed":
        assert entry.best - entry.normalised > 2 * entry.ci
