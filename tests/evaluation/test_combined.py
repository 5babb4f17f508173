"""The average over workloads: by hand, against SciPy, by symmetry, on bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tutelage.evaluation import combine_workloads, detectable_effect, paired_difference

Table = dict[tuple[str, str], dict[int, float]]


def cells(table: Any) -> Table:
    """Return rows of a matrix as workloads under one budget."""
    rows = np.asarray(table, dtype=float)
    return {(f"w{index}", "1k"): dict(enumerate(row.tolist())) for index, row in enumerate(rows)}


def drawn(seed: int, workloads: int = 4, seeds: int = 5, between: float = 1.0) -> Table:
    rng = np.random.default_rng(seed)
    return cells(0.4 + between * rng.normal(size=(workloads, 1)) + rng.normal(size=(workloads, seeds)))


# --- by hand and against SciPy ---


def test_fixed_workloads_are_one_paired_difference_of_the_averages() -> None:
    table = drawn(0)
    means = np.mean([list(row.values()) for row in table.values()], axis=0)
    found, peer = combine_workloads(table), paired_difference(means, np.zeros(5))
    ours, theirs = ((x.estimate, x.low, x.high, x.p_value) for x in (found, peer))
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert found.per_seed == pytest.approx(dict(enumerate(means)))
    assert found.by_workload == pytest.approx({name: np.mean(list(row.values())) for (name, _), row in table.items()})
    assert (found.n, found.freedom, found.over, found.seeds) == (5, 4.0, "fixed", "shared")
    assert found.detectable == pytest.approx(peer.detectable)


def test_budgets_of_a_workload_are_averaged_first() -> None:
    table: Table = {
        ("lm", "1k"): {0: 1.0, 1: 2.0},
        ("lm", "2k"): {0: 3.0, 1: 6.0},
        ("digits", "1k"): {0: 10.0, 1: 10.0},
    }
    found = combine_workloads(table)
    assert found.by_workload == {"lm": 3.0, "digits": 10.0}
    assert found.per_seed == {0: 6.0, 1: 7.0}  # (2 + 10) / 2 and (4 + 10) / 2: a workload counts once
    assert found.estimate == 6.5


def test_independent_seeds_are_welchs_test() -> None:
    # The mean of a plus that of b is Welch's difference of a and -b; ours is half of it.
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 1, 6), rng.normal(0, 3, 4)
    table: Table = {("a", "x"): dict(enumerate(a)), ("b", "x"): dict(enumerate(b, 100))}
    found = combine_workloads(table, seeds="independent")
    peer = stats.ttest_ind(a, -b, equal_var=False)
    ends = peer.confidence_interval(0.95)
    np.testing.assert_allclose([found.low, found.high], [ends.low / 2, ends.high / 2], rtol=1e-10)
    assert found.p_value == pytest.approx(peer.pvalue, rel=1e-10)
    assert found.freedom == pytest.approx(peer.df)
    assert (found.n, found.per_seed) == (10, {})


def test_random_workloads_are_students_test_of_their_means() -> None:
    table = drawn(2, between=5.0)  # far apart, so that it is wider than the interval about these
    means = [np.mean(list(row.values())) for row in table.values()]
    peer = stats.ttest_1samp(means, 0)
    ends = peer.confidence_interval(0.95)
    found = combine_workloads(table, over="random", seeds="independent")
    np.testing.assert_allclose([found.low, found.high, found.p_value], [ends.low, ends.high, peer.pvalue], rtol=1e-10)


def test_shared_seeds_add_to_random_workloads_in_quadrature() -> None:
    table = np.array([[0.0, 1.0, 2.0], [4.0, 6.0, 8.0]])
    # Workload means 1 and 6: error 2.5, 1 degree of freedom. Seed means 2, 3.5, 5: error 1.5 / sqrt(3), 2 of freedom.
    half = math.hypot(stats.t.ppf(0.975, 1) * 2.5, stats.t.ppf(0.975, 2) * 1.5 / math.sqrt(3))
    found = combine_workloads(cells(table), over="random")
    assert (found.low, found.high) == pytest.approx((3.5 - half, 3.5 + half))
    assert found.error == pytest.approx(math.hypot(2.5, 1.5 / math.sqrt(3)))
    assert (found.freedom, found.detectable) == (None, None)


def test_what_such_data_show() -> None:
    table = drawn(3)
    found = combine_workloads(table)
    sd = np.std(list(found.per_seed.values()), ddof=1)
    assert found.detectable_at(0.99, 0.9) == pytest.approx(detectable_effect(5, sd, confidence=0.99, power=0.9))
    apart = combine_workloads(table, seeds="independent")
    assert apart.freedom is not None
    assert apart.error is not None
    pairs = math.floor(apart.freedom) + 1
    assert apart.detectable == pytest.approx(detectable_effect(pairs, apart.error * math.sqrt(pairs)))


# --- properties ---

OPTIONS = [(over, seeds) for over in ("fixed", "random") for seeds in ("shared", "independent")]
numbers = st.lists(st.lists(st.integers(-60, 60), min_size=4, max_size=4), min_size=2, max_size=4)


@pytest.mark.parametrize(("over", "seeds"), OPTIONS)
@given(rows=numbers, order=st.randoms())
def test_order_and_sign(over: Any, seeds: Any, rows: list[list[int]], order: Any) -> None:
    table = cells(rows)
    mixed = list(table.items())
    order.shuffle(mixed)
    one = combine_workloads(table, over=over, seeds=seeds)
    other = combine_workloads({key: dict(reversed(row.items())) for key, row in mixed}, over=over, seeds=seeds)
    turned = combine_workloads(cells(-np.array(rows)), over=over, seeds=seeds)
    assert one.low is not None
    assert one.high is not None
    assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=1e-9)
    assert (turned.low, turned.high) == pytest.approx((-one.high, -one.low), abs=1e-9)
    assert turned.p_value == pytest.approx(one.p_value, abs=1e-9)


@pytest.mark.parametrize("seeds", ["shared", "independent"])
@given(rows=numbers)
def test_others_are_never_known_better_than_these(seeds: Any, rows: list[list[int]]) -> None:
    these = combine_workloads(cells(rows), seeds=seeds)
    others = combine_workloads(cells(rows), over="random", seeds=seeds)
    assert others.low <= these.low  # type: ignore[operator]
    assert others.high >= these.high  # type: ignore[operator]
    assert others.p_value >= these.p_value or others.error == 0  # type: ignore[operator]


@pytest.mark.parametrize(("over", "seeds"), OPTIONS)
def test_p_value_and_interval_say_the_same(over: Any, seeds: Any) -> None:
    said = set()
    for seed in range(60):
        found = combine_workloads(drawn(seed, between=0.1), over=over, seeds=seeds)
        assert found.low is not None
        assert found.high is not None
        assert found.p_value is not None
        excluded = found.low > 0 or found.high < 0
        assert excluded == (found.p_value < 0.05), (found.low, found.high, found.p_value)
        said.add(excluded)
    assert said == {True, False}


def test_a_shared_seed_is_not_counted_as_many() -> None:
    # The same luck on ten workloads is as sure as on one, and no surer.
    luck = np.array([0.1, 0.9, -0.3, 0.5])
    one, ten = combine_workloads(cells([luck])), combine_workloads(cells([luck] * 10))
    assert (ten.low, ten.high) == pytest.approx((one.low, one.high))
    apart = combine_workloads(cells([luck] * 10), seeds="independent")
    assert apart.high - apart.low < (ten.high - ten.low) / 3  # type: ignore[operator]


# --- edges ---


def test_only_seeds_that_all_cells_have_count() -> None:
    table: Table = {("a", "x"): {0: 1.0, 1: 2.0, 2: 90.0}, ("b", "x"): {1: 4.0, 0: 3.0, 5: 90.0}}
    assert combine_workloads(table).per_seed == {0: 2.0, 1: 3.0}


def test_one_seed_shows_no_noise_but_workloads_do() -> None:
    table = cells([[1.0], [2.0], [4.0]])
    these = combine_workloads(table)
    assert (these.low, these.p_value, these.detectable) == (None, None, None)
    assert "one seed" in these.note
    others = combine_workloads(table, over="random")
    ends = stats.ttest_1samp([1, 2, 4], 0).confidence_interval(0.95)
    assert (others.low, others.high) == pytest.approx((ends.low, ends.high))
    apart = combine_workloads(table, seeds="independent")
    assert apart.low is None
    assert "one value on w0" in apart.note


def test_one_workload_says_nothing_of_others() -> None:
    found = combine_workloads(cells([[1.0, 2.0, 4.0]]), over="random")
    assert found.low is None
    assert "one workload" in found.note


@pytest.mark.parametrize(("over", "seeds"), OPTIONS)
def test_equal_differences_have_no_width_but_are_no_proof(over: Any, seeds: Any) -> None:
    found = combine_workloads(cells([[0.1 + 0.2] * 3, [0.3] * 3]), over=over, seeds=seeds)
    assert found.low == pytest.approx(0.3)
    assert found.high == pytest.approx(0.3)
    assert found.p_value is not None
    assert found.p_value >= 0.25
    nothing = combine_workloads(cells(np.zeros((2, 3))), over=over, seeds=seeds)
    assert (nothing.low, nothing.high, nothing.p_value) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("table", "options", "fragment"),
    [
        ({}, {}, "nothing to combine"),
        (cells([[1.0, math.nan]]), {}, "differences[w0, 1k][1] is nan"),
        ({("a", "x"): {}}, {}, "at least one number"),
        ({("a", "x"): {0: 1.0}, ("b", "x"): {1: 1.0}}, {}, 'no seed in common; combine with seeds="independent"'),
        ({("a", "x"): {0: 1.0}, ("a", "y"): {1: 1.0}}, {"seeds": "independent"}, "the budgets of a have no seed"),
        (cells([[1.0, 2.0]]), {"over": "all"}, 'over must be "fixed" or "random", got "all"'),
        (cells([[1.0, 2.0]]), {"seeds": "some"}, 'seeds must be "shared" or "independent"'),
        (cells([[1.0, 2.0]]), {"confidence": 95.0}, "confidence must be between 0 and 1"),
    ],
)
def test_bad_input(table: Table, options: dict[str, Any], fragment: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the fragment below is the match
        combine_workloads(table, **options)
    assert fragment in str(caught.value)
