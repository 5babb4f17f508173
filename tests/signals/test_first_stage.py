"""Heuristics of the first stage: the card's values, ties, ranks that are missing, and SciPy's density estimate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from tutelage.errors import ConfigError, DataError
from tutelage.signals import FirstStage, first_stage_easiness, score

SCORES = [12.0, 9.0, 7.0, 4.0]


def test_the_card_s_values() -> None:
    assert first_stage_easiness(SCORES, kind="minmax").tolist() == [1, 0.625, 0.375, 0]
    np.testing.assert_allclose(
        first_stage_easiness(SCORES, kind="kde"), [0.838576, 0.594567, 0.405433, 0.161424], atol=5e-7
    )
    ranks = first_stage_easiness(np.arange(10.0)[::-1])
    assert ranks[1] == 0.5  # rank 2, relevant
    assert 1 - ranks[9] == 0.9  # rank 10, not relevant
    rows = [{"query": "q", "score": value, "rel": rank == 2} for rank, value in enumerate(np.arange(10.0)[::-1], 1)]
    found = score(rows, "first-stage:relevant=rel", cache=False)
    assert found.values[[1, 9]].tolist() == [0.5, 0.9]
    assert found.direction == "easy"


@given(st.lists(st.integers(-20, 20), min_size=3, max_size=9, unique=True))
def test_the_density_is_that_of_scipy(values) -> None:
    density = stats.gaussian_kde(values)
    expected = [density.integrate_box_1d(-np.inf, value) for value in values]
    np.testing.assert_allclose(first_stage_easiness(values, kind="kde"), expected, atol=1e-9)
    area, _ = integrate.quad(lambda at: density(at)[0], -200, 200, limit=200)
    assert area == pytest.approx(1, abs=1e-3)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), min_size=1, max_size=20),
    st.sampled_from(["reciprocal", "minmax", "kde"]),
)
@pytest.mark.filterwarnings("ignore:first_stage")
def test_the_signal_and_the_function_agree_and_each_query_is_its_own(pairs, kind) -> None:
    queries, values = [query for query, _ in pairs], [float(value) for _, value in pairs]
    names = [f"d{number}" for number in range(len(pairs))]
    batch = {"query": queries, "score": values, "doc": names}
    for document in (None, "doc"):
        signal = FirstStage(kind=kind, document=document).prepare([batch])
        expected = first_stage_easiness(values, queries, kind=kind, documents=None if document is None else names)
        np.testing.assert_allclose(signal.score(batch), expected, rtol=1e-12)
        for query in set(queries):
            rows = [row for row, other in enumerate(queries) if other == query]
            alone = first_stage_easiness(
                [values[row] for row in rows],
                kind=kind,
                documents=None if document is None else [names[row] for row in rows],
            )
            np.testing.assert_allclose(expected[rows], alone, rtol=1e-12)
    assert ((expected >= 0) & (expected <= 1)).all()


def test_ties_go_by_name_or_share_the_best_rank() -> None:
    assert first_stage_easiness([1, 1, 2]).tolist() == [0.5, 0.5, 1.0]
    found = first_stage_easiness([1, 1, 2], documents=["a", "b", "c"])
    np.testing.assert_allclose(found, [1 / 3, 1 / 2, 1])


def test_documents_that_are_not_listed() -> None:
    assert first_stage_easiness([2.0, np.nan], missing_rank=1000).tolist() == [1.0, 0.001]
    rows = [{"query": "q", "score": 2.0}, {"query": "q", "score": float("nan")}]
    assert score(rows, "first-stage:missing_rank=1000", cache=False).values.tolist() == [1.0, 0.001]
    with pytest.raises(DataError, match=r"row 2: .*give missing_rank"):
        score(rows, "first-stage", cache=False)


def test_lists_that_say_nothing_count_as_half_and_are_told_of() -> None:
    with pytest.warns(UserWarning, match="2 lists hold equal scores"):
        found = first_stage_easiness([3, 3, 1, 1, 2], ["a", "a", "b", "c", "c"], kind="minmax")
    assert found.tolist() == [0.5, 0.5, 0.5, 0, 1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: first_stage_easiness([[1.0]]), ValueError, r"shape \(n,\)"),
        (lambda: first_stage_easiness([1.0], ["a", "b"]), ValueError, "queries must have shape"),
        (lambda: first_stage_easiness([1.0], kind="rank"), ValueError, "kind must be reciprocal, minmax, kde"),
        (lambda: first_stage_easiness([np.inf]), ValueError, "finite"),
        (lambda: first_stage_easiness([np.nan]), ValueError, "document 0 has no score"),
        (lambda: first_stage_easiness([np.nan], missing_rank=0), ValueError, "missing_rank must be >= 1, got 0"),
        (lambda: first_stage_easiness([np.nan], kind="kde", missing_rank=9), ValueError, "only kind=reciprocal"),
        (lambda: FirstStage(kind="x"), ValueError, "kind must be"),
        (lambda: FirstStage(relevant_from=np.nan), ValueError, "relevant_from"),
        (lambda: FirstStage().score({"query": ["a"], "score": [1]}), ConfigError, "prepare"),
        (lambda: score([{"query": "a", "score": "x"}], "first-stage", cache=False), DataError, "row 1: .*a number"),
        (lambda: score([{"qid": "a", "score": 1}], "first-stage", cache=False), ConfigError, 'reads column "query"'),
    ],
)
def test_bad_input(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
