"""Sets of lowest rank: the same by a full sort, slab by slab, and parted at the counts alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.curricula._lazy_order import LazyOrder, Ranking, ascending

SCORES = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "few different": lambda rng, size: rng.integers(0, 5, size).astype(float),
    "all equal": lambda rng, size: np.zeros(size),
    "spread": lambda rng, size: np.exp(50 * rng.standard_normal(size)),
}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(SCORES)),
    size=st.integers(1, 3000),
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=40),
    slab=st.sampled_from([7, 100, 1 << 19]),
    descending=st.booleans(),
    seed=st.integers(0, 9),
)
def test_named_counts_give_the_sets_of_the_full_order(kind, size, shares, slab, descending, seed) -> None:
    scores = SCORES[kind](np.random.default_rng(seed), size)
    counts = np.unique(np.maximum(1, (np.array(shares) * size).astype(np.int64)))
    whole = Ranking(scores, descending=descending, ties=seed, slab=slab)
    parted = Ranking(scores, descending=descending, ties=seed, slab=slab, counts=counts)
    for count in counts.tolist():
        assert parted.with_ties(count) == whole.with_ties(count)
        assert parted.without_ties(count) == whole.without_ties(count)
        assert set(parted.until(count).tolist()) == set(whole.until(count).tolist())
    assert sorted(parted.until(size).tolist()) == list(range(size))


def test_parted_slabs_hold_what_a_sort_would_put_there() -> None:
    scores = np.random.default_rng(0).standard_normal(50_000)
    cuts = np.arange(500, 50_000, 500)
    order = LazyOrder(len(scores), lambda examples: ascending(scores[examples]), slab=6_000, cuts=cuts)
    found = order.take(0, len(scores))
    ranks = np.argsort(np.argsort(scores, kind="stable"), kind="stable")[found]
    # Every stretch between two cuts holds its ranks, in the order of the examples; two slabs at most share one.
    for begin in range(0, 50_000, 500):
        stretch = found[begin : begin + 500]
        assert sorted(ranks[begin : begin + 500].tolist()) == list(range(begin, begin + 500))
        assert (np.diff(stretch) < 0).sum() <= 1
