"""Pass rate and coefficient of variation: the card's values, the link between the two, and attempts made here."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from tutelage.errors import DataError
from tutelage.signals import BadRow, PassRate, Variation, coefficient_of_variation, pass_rate, score


def test_the_card_s_values() -> None:
    scores = [[0.9, 0.1, 0.7, 0.3, 0.5]]
    assert coefficient_of_variation(scores)[0] == pytest.approx(0.565685, abs=5e-7)
    assert coefficient_of_variation(scores, ddof=1)[0] == pytest.approx(0.632456, abs=5e-7)
    assert coefficient_of_variation([[0.5] * 5]).tolist() == [0.0]
    binary = [[1] * k + [0] * (4 - k) for k in range(5)]
    expected = [math.nan, 1.732051, 1.0, 0.577350, 0.0]
    np.testing.assert_allclose(coefficient_of_variation(binary), expected, atol=5e-7)
    assert pass_rate(binary).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_the_threshold_itself_does_not_pass() -> None:
    assert pass_rate([[0.99, 1.0]]).tolist() == [0.5]
    assert pass_rate([[4.99, 5.0, 3.0]], threshold=4.99).tolist() == [pytest.approx(1 / 3)]


@given(st.integers(2, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_for_right_and_wrong_it_is_the_pass_rate_turned_around(case) -> None:
    n, k = case
    table = [[1] * k + [0] * (n - k)]
    p = pass_rate(table)[0]
    assert coefficient_of_variation(table)[0] == pytest.approx(math.sqrt((1 - p) / p), abs=1e-12)


@given(arrays(np.float64, (4, 5), elements=st.floats(0.01, 10)), st.sampled_from([0, 1]))
def test_scipy_agrees(table, ddof) -> None:
    np.testing.assert_allclose(
        coefficient_of_variation(table, ddof), stats.variation(table, axis=1, ddof=ddof), atol=1e-12
    )


@given(arrays(np.float64, (3, 4), elements=st.floats(0, 1)), st.permutations(range(4)))
def test_an_attempt_that_was_not_made_counts_for_nothing(table, order) -> None:
    padded = np.column_stack([table, np.full(3, np.nan)])[:, [*order, 4]]
    np.testing.assert_array_equal(pass_rate(padded, 0.5), pass_rate(table, 0.5))
    np.testing.assert_allclose(coefficient_of_variation(padded), coefficient_of_variation(table), atol=1e-12)


def test_signals_read_lists_of_any_length_and_models_apart() -> None:
    batch = {"attempts": [[1, 0, None], [True], [], np.array([0.2, 1.0])]}
    assert PassRate().score(batch).tolist()[:2] == [0.5, 1.0]
    np.testing.assert_array_equal(np.isnan(PassRate().score(batch)), [False, False, True, False])
    np.testing.assert_array_equal(np.isnan(Variation().score(batch)), [False, True, True, False])
    models = {"attempts": [{"small": [0, 0], "large": [1, 0]}, {"small": [1, 1], "large": None}]}
    assert PassRate().score(models).tolist() == [0.25, 1.0]
    assert PassRate(model="small").score(models).tolist() == [0.0, 1.0]
    with pytest.raises(BadRow, match='no attempts of model "large"'):
        PassRate(model="large").score(models)


def guess(value, seed):
    """Right as often as the value says, by the seed."""
    return float(np.random.default_rng(seed).random() < value)


def test_attempts_are_made_here_and_repeatable(tmp_path) -> None:
    rows = [{"p": value} for value in (0.0, 0.3, 0.7, 1.0)]
    signal = PassRate(column="p", attempt=guess, attempts=200)
    found = score(rows, signal, cache=tmp_path)
    np.testing.assert_allclose(found.values, [0, 0.3, 0.7, 1], atol=0.12)
    again = score(rows[::-1], signal, batch_size=1, cache=False)
    np.testing.assert_array_equal(again.values[::-1], found.values)
    other = score(rows, signal, seed=1, cache=tmp_path)
    assert (other.values[1:3] != found.values[1:3]).any()
    assert other.seed == 1


def test_an_endpoint_that_times_out_is_missing_and_nothing_else_is_lost() -> None:
    def attempt(value, seed):
        if value == "slow":
            raise TimeoutError
        return 1.0

    found = score([{"q": "quick"}, {"q": "slow"}], PassRate(column="q", attempt=attempt), cache=False)
    np.testing.assert_array_equal(found.values, [1.0, np.nan])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pass_rate([1, 0]), ValueError, r"shape \(examples, attempts\)"),
        (lambda: pass_rate([[1], [1, 0]]), ValueError, "fill up with NaN"),
        (lambda: pass_rate([[-1, 0]]), ValueError, "must be >= 0, got -1 for example 0"),
        (lambda: pass_rate([[1]], threshold=-1), ValueError, "threshold must be a number >= 0"),
        (lambda: coefficient_of_variation([[1]]), ValueError, "2 or more attempts"),
        (lambda: coefficient_of_variation([[1, 2]], ddof=2), ValueError, "ddof must be 0 or 1, got 2"),
        (lambda: PassRate(threshold=math.inf), ValueError, "threshold"),
        (lambda: PassRate(attempts=0), ValueError, "attempts must be >= 1"),
        (lambda: Variation(attempts=1), ValueError, "attempts must be >= 2"),
        (lambda: Variation(ddof=3), ValueError, "ddof must be 0 or 1"),
        (lambda: PassRate(model="m").score({"attempts": [[1]]}), BadRow, "does not tell models apart"),
        (lambda: score([{"attempts": "1,0"}], "pass-rate", cache=False), DataError, "row 1: .*a list of scores"),
        (lambda: score([{"attempts": [1, "x"]}], "pass-rate", cache=False), DataError, "must hold numbers"),
        (lambda: score([{"attempts": [1, -2]}], "variation", cache=False), DataError, "scores >= 0, got -2"),
        (lambda: PassRate(attempt=lambda v, s: -1).score({"attempts": [1]}), BadRow, "scored -1"),
    ],
)
def test_bad_input(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
