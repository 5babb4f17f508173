"""Sources by skills, against numbers by hand, SciPy, invariants, and what cannot be used."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.errors import ConfigError
from tutelage.evaluation import skill_matrix

KNOWN = {
    "steps": {"maths": [40.0, 42.0], "code": [10.0, 12.0], "facts": [20.0, 20.0]},
    "code": {"maths": [20.0, 22.0], "code": [30.0, 32.0], "facts": [20.0, 20.0]},
    "web": {"maths": [20.0, 20.0], "code": [9.0, 9.0], "facts": [20.0, 20.0]},
}


def test_a_matrix_that_is_known() -> None:
    found = skill_matrix(KNOWN)
    assert found.means.tolist() == [[41, 11, 20], [21, 31, 20], [20, 9, 20]]
    assert found.ranks.tolist() == [[1, 2, 2], [2, 1, 2], [3, 3, 2]], "equal ones share the mean of their ranks"
    assert found.averages == {"steps": 24.0, "code": 24.0, "web": pytest.approx(49 / 3)}
    assert found.best_at == {"steps": pytest.approx(2 / 3), "code": pytest.approx(2 / 3), "web": pytest.approx(1 / 3)}
    assert found.undominated == ("steps", "code")
    assert found.best_on_average == "steps"


def test_less_may_be_better() -> None:
    found = skill_matrix(KNOWN, lower_is_better=True)
    assert found.undominated == ("web",)
    assert found.best_at["web"] == 1.0
    assert found.ranks.tolist() == [[3, 2, 2], [2, 3, 2], [1, 1, 2]]


def test_who_is_beaten_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(3, 2, 6)) + np.array([[[1.0], [0.0]], [[0.0], [1.0]], [[0.0], [0.0]]])
    results = {str(s): {str(k): table[s, k] for k in range(2)} for s in range(3)}
    found = skill_matrix(results)
    assert found.p_beaten is not None
    for s in range(3):
        others = [
            stats.ttest_rel(table[t, k], table[s, k], alternative="greater").pvalue
            for t in range(3) for k in range(2) if t != s
        ]  # fmt: skip
        assert found.p_beaten[str(s)] == pytest.approx(min(1.0, 4 * min(others)))
    assert found.p_no_winner == max(found.p_beaten.values())


def test_a_source_that_wins_everywhere_is_not_beaten() -> None:
    found = skill_matrix({"one": {"a": [2, 3], "b": [5, 6]}, "other": {"a": [1, 2], "b": [4, 5]}})
    assert found.p_beaten == {"one": 1.0, "other": 0.0}, "no spread leaves no doubt"
    assert found.p_no_winner == 1.0
    assert found.undominated == ("one",)


def test_one_result_a_skill_tells_nothing_about_chance() -> None:
    found = skill_matrix({"one": {"a": 2.0}, "other": {"a": 1.0}})
    assert (found.p_beaten, found.p_no_winner) == (None, None)
    assert found.means.tolist() == [[2.0], [1.0]]


@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 1000))
def test_ranks_are_those_of_scipy_and_somebody_is_undominated(sources: int, skills: int, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 4, size=(sources, skills)).astype(float)
    found = skill_matrix({str(s): {str(k): table[s, k] for k in range(skills)} for s in range(sources)})
    assert np.array_equal(found.ranks, stats.rankdata(-table, axis=0))
    assert found.best_on_average in found.undominated
    assert sum(found.best_at.values()) >= 1 - 1e-12


@pytest.mark.parametrize(
    ("results", "error", "message"),
    [
        ({"one": {"a": 1}}, ConfigError, "results must hold at least 2 sources, got 1"),
        ({"one": {}, "other": {}}, ConfigError, "at least 1 skill, got none"),
        ({"one": {"a": 1}, "other": {"b": 1}}, ConfigError, 'source "other" must have the skills a, got b'),
        ({"one": {"a": [1, 2]}, "other": {"a": [1]}}, ConfigError, "one result a seed, 2, got shape (1,)"),
        ({"one": {"a": []}, "other": {"a": []}}, ConfigError, "got shape (0,)"),
        ({"one": {"a": 1}, "other": {"a": float("nan")}}, ValueError, 'source "other" at "a" must be finite'),
    ],
)
def test_what_cannot_be_used_is_refused(results: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        skill_matrix(results)
