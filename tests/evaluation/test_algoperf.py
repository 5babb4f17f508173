import math
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import algoperf as slow

from tutelage.evaluation.algoperf import (
    count_variants,
    first_reached,
    geometric_speedup,
    performance_profile,
    performance_ratios,
    profile_score,
    time_to_target,
    workload_time,
)

INF = math.inf
CARD_TIMES = [[100, 200, 50, INF], [150, 100, 60, 400], [500, 100, INF, 800]]


# Check values


def test_scores_of_the_paper_card():
    # Ratios 1, 2, 1, - ; 1.5, 1, 1.2, 1 ; -, 1, -, 2: (1 + 2/3 + 1) / 4 and so on.
    np.testing.assert_allclose(profile_score(CARD_TIMES), [2 / 3, (2.5 / 3 + 1 + 2.8 / 3 + 1) / 4, 5 / 12], rtol=1e-14)
    assert profile_score(CARD_TIMES).round(7).tolist() == [0.6666667, 0.9416667, 0.4166667]
    assert profile_score(CARD_TIMES, points=100).round(7).tolist() == [0.6679293, 0.9419192, 0.4179293]


def test_studies_of_the_paper_card():
    studies = [[10, INF, 30, 25, 40], [INF] * 5, [12, 50, 11, INF, 13]]
    assert workload_time(studies) == 11
    assert workload_time([[10, 20], [INF, INF], [INF, INF]]) == INF
    assert workload_time([[7], [5], [9]]) == 7  # nothing tuned: the median over studies
    assert workload_time([[4, 8], [6, INF]]) == 5  # an even number of studies: the mean of the middle two
    assert workload_time([[4], [INF]]) == INF


def test_the_reference_prefers_fewer_evaluations_to_less_time():
    # The second trial is faster by the clock but was evaluated once more before it got there.
    assert workload_time([[110, 100]], [[3, 4]]) == 110
    assert workload_time([[110, 100]]) == 100
    assert workload_time([[110, 100]], [[3, 3]]) == 100
    assert workload_time([[INF, 100]], [[1, 4]]) == 100  # an evaluation count without a hit is not one


@pytest.mark.parametrize(
    ("values", "target", "lower", "expected"),
    [
        ([0.9, 0.5, 0.4], 0.5, True, 20),  # exactly at the target counts
        ([0.9, 0.51, 0.4], 0.5, True, 30),
        ([0.4, 0.9, 0.3], 0.5, True, 10),  # the first, even if it is lost again
        ([0.1, 0.5, 0.9], 0.5, False, 20),
        ([0.9, 0.8, 0.7], 0.5, True, INF),
        ([math.nan, 0.2, 0.1], 0.5, True, 20),
        ([math.nan] * 3, 0.5, True, INF),
        ([-INF, INF, 0.1], 0.5, False, 20),
    ],
)
def test_time_to_target(values, target, lower, expected):
    assert time_to_target([10, 20, 30], values, target, lower_is_better=lower) == expected


def test_time_to_target_after_the_longest_allowed_time_is_a_miss():
    curve = ([10, 20, 30], [0.9, 0.7, 0.5])
    assert time_to_target(*curve, 0.5, lower_is_better=True, longest=30) == 30
    assert time_to_target(*curve, 0.5, lower_is_better=True, longest=29.9) == INF
    assert time_to_target([], [], 0.5, lower_is_better=True) == INF


def test_profile_steps_at_the_ratios():
    profile = performance_profile([[100, 200, 50, INF], [150, 100, 60, 400]], [1, 1.2, 1.49, 1.5, 2, 100])
    assert profile.tolist() == [[0.5, 0.5, 0.5, 0.5, 0.75, 0.75], [0.5, 0.75, 0.75, 1.0, 1.0, 1.0]]


def test_a_workload_that_nobody_reaches_counts_zero_for_all():
    assert profile_score([[10, INF], [20, INF]]).tolist() == pytest.approx([0.5, 1 / 3])
    assert performance_ratios([[10, INF], [20, INF]]).tolist() == [[1, INF], [2, INF]]


def test_the_logarithmic_axis():
    # log 2 is half of log 4.
    assert profile_score([[1, 2], [2, 1]], scale="log").tolist() == pytest.approx([0.75, 0.75])
    grid = profile_score([[1, 2.1], [2.1, 1]], scale="log", points=20001)
    np.testing.assert_allclose(grid, 1 - 0.5 * math.log(2.1) / math.log(4), atol=1 / 20000)


def test_variants_cost_the_base_workload():
    times = [[10, 30, 7], [12, INF, 7], [15, 121, 7], [INF, 20, 7]]
    # The fourth misses the base, so its 20 on the variant does not set the pace: 121 > 4 * 30 is too slow.
    counted = count_variants(times, [None, 0, None])
    assert counted.tolist() == [[10, 7], [INF, 7], [INF, 7], [INF, 7]]
    assert count_variants([[10, 30], [41, 30]], [None, 0]).tolist() == [[10], [INF]]
    assert count_variants([[10, 30], [40, 30]], [None, 0]).tolist() == [[10], [40]]


def test_disqualification_on_a_variant_moves_the_pace_of_the_base():
    # The fastest on the base loses it by the variant; the others are measured against the fastest that is left.
    counted = count_variants([[10, INF], [20, 5], [30, 6]], [None, 0])
    assert performance_ratios(counted).tolist() == [[INF], [1], [1.5]]


def test_geometric_speedup():
    found = geometric_speedup([[50, 100], [100, INF]], [100, 100], [400, 399])
    np.testing.assert_allclose(found, [math.sqrt(2), 0.5])


# Properties

times = st.floats(1e-3, 1e6) | st.just(INF)


@st.composite
def tables(draw, least_workloads=1):
    submissions, workloads = draw(st.integers(2, 5)), draw(st.integers(least_workloads, 5))
    rows = st.lists(times, min_size=workloads, max_size=workloads)
    return np.array(draw(st.lists(rows, min_size=submissions, max_size=submissions)))


@given(tables(), st.lists(st.floats(1, 1e3), min_size=1, max_size=8))
def test_profiles_rise_and_stay_shares(table, taus):
    profile = performance_profile(table, sorted(taus))
    assert np.all((profile >= 0) & (profile <= 1))
    assert np.all(np.diff(profile, axis=1) >= 0)
    # Somebody is the fastest wherever anybody got there.
    at_one = performance_profile(table, [1.0])[:, 0].sum()
    assert at_one >= np.isfinite(table).any(axis=0).mean() - 1e-12


@given(tables(), st.floats(1.01, 50), st.sampled_from(["linear", "log"]))
def test_scores_lie_between_0_and_1_and_the_grid_is_close(table, r_max, scale):
    exact = profile_score(table, r_max=r_max, scale=scale)
    grid = profile_score(table, r_max=r_max, scale=scale, points=100)
    assert np.all((exact >= 0) & (exact <= 1 + 1e-12))
    assert np.all((grid >= 0) & (grid <= 1 + 1e-12))
    np.testing.assert_allclose(grid, exact, atol=1 / (2 * 99) + 1e-9)


@given(tables(), st.randoms(use_true_random=False))
def test_order_does_not_matter(table, rng: random.Random):
    rows, columns = list(range(len(table))), list(range(table.shape[1]))
    rng.shuffle(rows)
    rng.shuffle(columns)
    np.testing.assert_allclose(profile_score(table[rows][:, columns]), profile_score(table)[rows], rtol=1e-12)


@given(tables(), st.floats(1e-3, 1e3))
def test_the_unit_of_time_does_not_matter(table, unit):
    np.testing.assert_allclose(profile_score(table * unit), profile_score(table), atol=1e-9)


@given(tables(), st.lists(st.floats(1, 10), min_size=5, max_size=5))
def test_a_dominated_submission_never_scores_higher(table, slower):
    worse = table[0] * np.array(slower)[: table.shape[1]]
    for points in (None, 100):
        scores = profile_score(np.vstack([table, worse]), points=points)
        assert scores[-1] <= scores[0] + 1e-12


@given(tables(least_workloads=2), st.lists(st.floats(1, 10), min_size=5, max_size=5))
def test_a_dominated_submission_never_scores_higher_with_variants(table, slower):
    worse = table[0] * np.array(slower)[: table.shape[1]]
    base_of = [None, 0, *([None] * (table.shape[1] - 2))]
    scores = profile_score(count_variants(np.vstack([table, worse]), base_of))
    assert scores[-1] <= scores[0] + 1e-12


@given(st.lists(st.lists(times, min_size=3, max_size=3), min_size=1, max_size=6), st.floats(1, 5))
def test_slower_trials_never_help(studies, factor):
    assert workload_time(np.array(studies) * factor) >= workload_time(studies)


# Agreement with the definitions written as loops


def named(table):
    return {f"s{i}": {f"w{j}": float(t) for j, t in enumerate(row)} for i, row in enumerate(table)}


@given(tables(), st.sampled_from([2.0, 4.0, 7.5]))
def test_agrees_with_the_slow_scores(table, r_max):
    rows = named(table)
    exact, grid = profile_score(table, r_max=r_max), profile_score(table, r_max=r_max, points=25)
    for index, name in enumerate(rows):
        assert exact[index] == pytest.approx(slow.score_by_jumps(rows, name, r_max), abs=1e-12)
        # A ratio that falls on a point of the grid up to rounding may count one step earlier or later.
        assert grid[index] == pytest.approx(slow.score_by_grid(rows, name, r_max, 25), abs=1.01 / 24)
        for tau in (1.0, 1.37, 3.9):
            assert performance_profile(table, [tau])[index, 0] == pytest.approx(slow.profile(rows, name, tau))


def test_agrees_with_the_slow_grid_where_no_ratio_is_on_it():
    rng = np.random.default_rng(5)
    table = np.where(rng.random((6, 8)) < 0.2, INF, rng.uniform(100, 700, (6, 8)))
    expected = [slow.score_by_grid(named(table), name, 4.0, 100) for name in named(table)]
    np.testing.assert_allclose(profile_score(table, points=100), expected, rtol=1e-12)


@given(tables(least_workloads=3), st.floats(1, 6))
def test_agrees_with_the_slow_variants(table, factor):
    expected = slow.count_variants(named(table), {"w1": "w0"}, factor)
    counted = count_variants(table, [None, 0, *([None] * (table.shape[1] - 2))], factor=factor)
    assert counted.tolist() == [list(row.values()) for row in expected.values()]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), times), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    )
)
def test_agrees_with_the_slow_studies(studies):
    clock = [[time for _, time in trials] for trials in studies]
    counts = [[count for count, _ in trials] for trials in studies]
    assert workload_time(clock) == slow.workload_time(clock)
    assert workload_time(clock, counts) == slow.workload_time_by_evaluation(studies)


@given(
    st.lists(st.floats(-2, 2) | st.just(math.nan), max_size=12),
    st.floats(-2, 2),
    st.booleans(),
)
def test_agrees_with_the_slow_time_to_target(values, target, lower):
    clock = [3.0 * k for k in range(len(values))]
    expected = slow.time_to_target(list(zip(clock, values, strict=True)), target, lower)
    assert time_to_target(clock, values, target, lower_is_better=lower) == expected


@given(tables())
def test_agrees_with_the_slow_speedup(table):
    limits = {f"w{j}": 100.0 * (j + 1) for j in range(table.shape[1])}
    rows = named(table)
    found = geometric_speedup(table, table[0], list(limits.values()))
    assert found.tolist() == pytest.approx([slow.speedup(row, rows["s0"], limits) for row in rows.values()], rel=1e-9)
    assert found[0] == pytest.approx(1)


# Bad input


@pytest.mark.parametrize(
    ("call", "fragment"),
    [
        (lambda: profile_score([[1, 2]]), "at least 2 submissions"),
        (lambda: profile_score([[1, -2], [1, 2]]), "times must be > 0, got -2"),
        (lambda: profile_score([[1, 0], [1, 2]]), "times must be > 0, got 0"),
        (lambda: profile_score([[1, math.nan], [1, 2]]), "write a target that was not reached as infinity"),
        (lambda: profile_score([[], []]), "no empty side"),
        (lambda: profile_score([1, 2]), "shape (submissions, workloads)"),
        (lambda: profile_score(CARD_TIMES, r_max=1), "r_max must be a finite number > 1, got 1"),
        (lambda: profile_score(CARD_TIMES, r_max=INF), "r_max must be"),
        (lambda: profile_score(CARD_TIMES, points=1), "points must be >= 2"),
        (lambda: profile_score(CARD_TIMES, scale="log10"), 'scale must be "linear" or "log"'),
        (lambda: performance_profile(CARD_TIMES, [0.5]), "factors >= 1"),
        (lambda: performance_profile(CARD_TIMES, [math.nan]), "factors >= 1"),
        (lambda: time_to_target([2, 1], [1, 1], 0.5, lower_is_better=True), "in order"),
        (lambda: time_to_target([-1], [1], 0.5, lower_is_better=True), ">= 0"),
        (lambda: time_to_target([math.nan], [1], 0.5, lower_is_better=True), "finite"),
        (lambda: time_to_target([1, 2], [1], 0.5, lower_is_better=True), "one length"),
        (lambda: time_to_target([1], [1], math.nan, lower_is_better=True), "target must be a finite number"),
        (lambda: first_reached([[1]], 0.5, lower_is_better=True), "shape (evaluations,)"),
        (lambda: workload_time([]), "shape (studies, trials)"),
        (lambda: workload_time([[1, math.nan]]), "NaN"),
        (lambda: workload_time([[1, -1]]), ">= 0, got -1"),
        (lambda: workload_time([[1, 2]], [[1]]), "must have the shape of times (1, 2)"),
        (lambda: count_variants([[1, 2]], [None]), "each of the 2 workloads"),
        (lambda: count_variants([[1, 2]], [None, 1]), "column of a base workload"),
        (lambda: count_variants([[1, 2]], [None, 7]), "column of a base workload"),
        (lambda: count_variants([[1, 2]], [None, 0], factor=0.5), "factor must be >= 1"),
        (lambda: geometric_speedup([[1, 2]], [1], [3, 3]), "each of the 2 workloads"),
        (lambda: geometric_speedup([[1, 2]], [1, 2], [3, INF]), "max_runtime must be finite"),
    ],
)
def test_bad_input(call, fragment):
    with pytest.raises(ValueError, match=re.escape(fragment)) as caught:
        call()
    assert "\n" not in str(caught.value)
