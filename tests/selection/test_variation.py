from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.selection import Variation, select_by_category

BINARY = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]


def test_variation_of_the_paper() -> None:
    scores = [[0.9, 0.1, 0.7, 0.3, 0.5], [0.5] * 5]
    rule = {"threshold": 0.4, "cv": 0.5}
    assert Variation(**rule).grade(scores).variation.round(6).tolist() == [0.565685, 0.0]
    # The paper's own example prints 0.63, which divides by n - 1.
    assert Variation(**rule, ddof=1).grade(scores).variation.round(6).tolist() == [0.632456, 0.0]


def test_variation_of_zeros_and_ones() -> None:
    grades = Variation(cv=0.5).grade(BINARY)
    assert grades.variation[:4].round(6).tolist() == [1.732051, 1.0, 0.577350, 0.0]
    assert math.isnan(grades.variation[4])
    assert grades.pass_rates.tolist() == [0.25, 0.5, 0.75, 1.0, 0.0]
    assert grades.reasons.tolist() == ["kept", "kept", "kept", "stable", "unsolved"]
    assert grades.answers.sum(axis=1).tolist() == [1, 2, 3, 0, 0]
    assert grades.indices.tolist() == [0, 1, 2]
    assert grades.counts() == {"kept": 3, "stable": 1, "unsolved": 1}


@given(st.integers(2, 12), st.floats(0.05, 3), st.data())
def test_a_cut_on_the_variation_is_a_cut_on_the_pass_rate(attempts: int, cut: float, data) -> None:
    solved = data.draw(st.lists(st.integers(0, attempts), min_size=1, max_size=12).filter(any))
    scores = np.array([[1.0] * number + [0.0] * (attempts - number) for number in solved])
    bound = 1 / (1 + cut**2)
    rates = np.array(solved) / attempts
    clear = np.abs(rates - bound) > 1e-9
    kept = np.isin(np.arange(len(solved)), Variation(cv=cut).select(scores))
    assert np.array_equal(kept[clear], ((rates > 0) & (rates < bound))[clear])


def test_stable_questions_are_kept_by_lot() -> None:
    scores = np.ones((2000, 4))
    scores[0] = [1, 0, 0, 0]
    with pytest.warns(UserWarning, match="0.1% of the solved questions varied"):
        grades = Variation(threshold=0.7, cv=0.5, stable=0.5).grade(scores, seed=1)
    counts = grades.counts()
    assert counts["kept"] == 1
    assert abs(counts["sampled"] - 1000) < 100  # four standard errors
    assert counts["sampled"] + counts["stable"] == 1999


def test_one_answer_at_random_among_those_that_pass() -> None:
    scores = np.tile([1.0, 1.0, 0.0, 1.0], (600, 1))
    with pytest.warns(UserWarning, match="100.0%"):
        answers = Variation(cv=0.5, answers="one").grade(scores, seed=2).answers
    assert (answers.sum(axis=1) == 1).all()
    assert answers[:, 2].sum() == 0
    assert all(abs(answers[:, place].sum() - 200) < 60 for place in (0, 1, 3))


def test_count_keeps_the_highest_variation_first() -> None:
    grades = Variation(cv=0.5, count=2).grade(BINARY)
    assert grades.indices.tolist() == [0, 1]
    assert grades.reasons[2] == "beyond count"


def test_a_quantile_of_the_solved_questions() -> None:
    assert Variation(quantile=0.5).select(BINARY[:4]).tolist() == [0, 1]
    assert Variation(quantile=1.0).grade(BINARY).counts()["stable"] == 4


def test_missing_attempts_leave_their_question_out() -> None:
    scores = [[1.0, 0.0], [math.nan, 1.0], [1.0, 0.0]]
    with pytest.raises(ValueError, match="1 of 3 are NaN, the first at 1"):
        Variation(cv=0.5).grade(scores)
    grades = Variation(cv=0.5, missing="drop").grade(scores)
    assert grades.reasons.tolist() == ["kept", "missing", "kept"]
    assert math.isnan(grades.pass_rates[1])


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[1.0], [0.0]], "2 or more attempts"),
        ([[1.0, -0.5]], "must be >= 0, got -0.5"),
        ([[0.5, 0.5]], "no score is above threshold=0.99, the highest is 0.5"),
        ([1.0, 0.0], r"the shape \(examples, columns\)"),
    ],
)
def test_bad_attempts(scores, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Variation(cv=0.5).select(scores)


def test_categories_have_their_own_rules() -> None:
    scores = [[1, 1, 1, 0], [1, 1, 1, 1], [5, 5, 1, 1], [0.8, 0.8, 0.8, 0.8]]
    rules = {
        "math": Variation(cv=0.5),
        "science": Variation(threshold=4.99, cv=0.5),
        "other": Variation(threshold=0.7, cv=0.5, stable=1.0),
    }
    grades = select_by_category(scores, ["math", "math", "science", "chat"], rules)
    assert grades.reasons.tolist() == ["kept", "stable", "kept", "sampled"]
    with pytest.raises(ValueError, match='no rule for "chat" and none for "other"; rules: math'):
        select_by_category(scores, ["math", "math", "math", "chat"], {"math": rules["math"]})
