import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation.algoperf import profile_score
from tutelage.evaluation.algoperf_scores import TimeTable, score_times

INF = math.inf
ROWS = {
    "first": {"a": 100, "b": 200, "c": 50, "d": INF},
    "second": {"a": 150, "b": 100, "c": 60, "d": 400},
    "third": {"a": 500, "b": 100, "c": INF, "d": 800},
}


def table(rows=ROWS, axis="steps"):
    return TimeTable.from_rows(rows, axis=axis)


def test_scores_and_ranks_of_the_paper_card():
    scored = score_times(table())
    assert [(row.submission, row.rank, row.reached) for row in scored.rows] == [
        ("second", 1, 4),
        ("first", 2, 3),
        ("third", 3, 2),
    ]
    assert [round(row.exact_score, 7) for row in scored.rows] == [0.9416667, 0.6666667, 0.4166667]
    assert [round(row.score, 7) for row in scored.rows] == [0.9419192, 0.6679293, 0.4179293]
    assert scored.rows[0].ratios == {"a": 1.5, "b": 1.0, "c": 1.2, "d": 1.0}
    assert scored.rows[2].times == ROWS["third"]
    assert (scored.factors[0], scored.factors[-1], len(scored.factors)) == (1.0, 4.0, 100)
    assert scored.rows[0].profile[0] == 0.5
    assert scored.rows[0].profile[-1] == 1.0


def test_equal_scores_share_a_rank():
    scored = score_times(table({"x": {"a": 1, "b": 2}, "y": {"a": 2, "b": 1}, "z": {"a": 3, "b": 3}}))
    assert [(row.submission, row.rank) for row in scored.rows] == [("x", 1), ("y", 1), ("z", 3)]


def test_json_is_plain_and_text_says_what_was_missed():
    scored = score_times(table(), benchmark="0.5", ruleset="external", notes=["third was run once."])
    stored = json.loads(json.dumps(scored.to_json(), allow_nan=False))
    assert stored["format"] == 1
    assert stored["axis"] == "steps"
    assert stored["rows"][1]["times"] == {"a": 100, "b": 200, "c": 50, "d": None}
    assert stored["rows"][1]["score"] == scored.rows[1].score
    text = scored.to_text()
    assert "AlgoPerf 0.5, external tuning: time in steps, 4 workloads" in text
    assert re.search(r"2  first +0\.6679  0\.6667 +3/4 +1\.00 +2\.00 +1\.00 +-\n", text)
    assert "d: second, 400 steps" in text
    assert text.endswith("third was run once.")


def test_text_of_a_workload_that_nobody_reached():
    text = score_times(table({"x": {"a": 1, "b": INF}, "y": {"a": 2, "b": INF}})).to_text()
    assert "b: nobody reached it" in text


def test_times_can_be_joined_and_scored_again():
    first = score_times(table({name: ROWS[name] for name in ("first", "second")}))
    again = score_times(first.times().join(table({"third": ROWS["third"]})))
    assert again == score_times(first.times().join(table({"third": ROWS["third"]})))
    assert {row.submission: row.score for row in again.rows} == {
        row.submission: row.score for row in score_times(table()).rows
    }


def test_columns_are_matched_by_name():
    turned = {name: dict(reversed(row.items())) for name, row in ROWS.items()}
    assert (
        table({"first": ROWS["first"], "second": turned["second"]}).times
        == table({name: ROWS[name] for name in ("first", "second")}).times
    )


def test_variants_are_shown_but_do_not_count():
    rows = {"x": {"a": 10, "a_wide": 30}, "y": {"a": 8, "a_wide": 200}}
    scored = score_times(table(rows), variants={"a_wide": "a"})
    assert scored.workloads == ("a",)
    assert [(row.submission, row.score, row.ratios) for row in scored.rows] == [
        ("x", 1.0, {"a": 1.0}),
        ("y", 0.0, {"a": INF}),
    ]
    assert scored.rows[1].times == rows["y"]
    assert "1 workloads and 1 held-out variants" in scored.to_text()


@given(st.permutations(list(ROWS)))
def test_the_order_of_submissions_does_not_matter(names):
    assert score_times(table({name: ROWS[name] for name in names})).rows == score_times(table()).rows


@given(
    st.lists(
        st.lists(st.floats(1, 100) | st.just(INF), min_size=3, max_size=3),
        min_size=2,
        max_size=5,
    )
)
def test_ranks_follow_scores(times):
    rows = {f"s{i}": dict(zip("abc", row, strict=True)) for i, row in enumerate(times)}
    scored = score_times(table(rows))
    scores = [row.score for row in scored.rows]
    assert scores == sorted(scores, reverse=True)
    assert [row.rank for row in scored.rows] == [1 + sum(other > score for other in scores) for score in scores]
    exact = dict(zip(rows, profile_score(times), strict=True))
    assert {row.submission: row.exact_score for row in scored.rows} == pytest.approx(exact)


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (lambda: score_times(table({"x": {"a": 1}})), "at least 2 submissions"),
        (lambda: score_times(table(), r_max=0.5), "score_times: r_max must be a finite number > 1, got 0.5"),
        (lambda: score_times(table(), r_max=1), "r_max must be a finite number > 1"),
        (lambda: score_times(table(), variants={"e": "a"}), "variant e of a"),
        (lambda: score_times(table(), variants={"b": "a", "c": "b"}), "b no variant"),
        (lambda: table({"x": {"a": 1}, "y": {"b": 1}}), "x has no time on b; give infinity if it was missed"),
        (lambda: table({"x": {"a": math.nan}}), "x on a has time nan"),
        (lambda: table({"x": {"a": -1}}), "x on a has time -1"),
        (lambda: table(axis="epochs"), "axis must be one of seconds, steps, tokens, flops, got 'epochs'"),
        (lambda: table().join(table({"z": ROWS["first"]}, "seconds")), "times in steps with times in seconds"),
        (lambda: table().join(table()), "both tables have submission first"),
        (
            lambda: TimeTable(submissions=("x", "x"), workloads=("a",), times=((1,), (2,)), axis="steps"),
            "submission x is given twice",
        ),
        (
            lambda: TimeTable(submissions=("x",), workloads=("a", "b"), times=((1,),), axis="steps"),
            "as many rows and columns",
        ),
    ],
)
def test_bad_input(call, fragment):
    with pytest.raises(ValueError, match=re.escape(fragment)):
        call()
