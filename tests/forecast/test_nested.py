"""Nested subsets: prefixes of one order, for every kind of data set, in every class its share."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.forecast import nested_subsets


@given(st.integers(1, 200), st.integers(0, 50), st.data())
def test_smaller_ones_begin_larger_ones(count: int, seed: int, data: st.DataObject) -> None:
    sizes = sorted(data.draw(st.sets(st.integers(1, count), min_size=1, max_size=6)))
    classes = data.draw(st.none() | st.lists(st.sampled_from("xyz"), min_size=count, max_size=count))
    parts = nested_subsets(count, sizes, seed=seed, stratify=classes)
    assert [len(part) for part in parts] == sizes
    for smaller, larger in pairwise(parts):
        assert np.array_equal(larger[: len(smaller)], smaller)
    assert len(set(parts[-1].tolist())) == sizes[-1]
    assert set(parts[-1].tolist()) <= set(range(count))
    # The order does not depend on which sizes are asked for.
    alone = nested_subsets(count, [sizes[0]], seed=seed, stratify=classes)[0]
    assert np.array_equal(alone, parts[0])


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(0, 20), st.data())
def test_every_class_has_its_share(counts: list[int], seed: int, data: st.DataObject) -> None:
    classes = np.repeat(np.arange(len(counts)), counts)
    size = data.draw(st.integers(1, len(classes)))
    part = nested_subsets(classes, [size], seed=seed, stratify=classes)[0]
    found = Counter(part.tolist())
    for number, count in enumerate(counts):
        assert abs(found[number] - size * count / len(classes)) <= max(1, len(counts) / 2)
    if len(counts) == 2:
        assert abs(found[0] - size * counts[0] / len(classes)) <= 1


def test_the_order_is_random_and_fixed_by_the_seed() -> None:
    first = nested_subsets(1000, [10], seed=0)[0].tolist()
    assert first == nested_subsets(1000, [10], seed=0)[0].tolist()
    assert first != nested_subsets(1000, [10], seed=1)[0].tolist()
    assert first != sorted(first)
    # Each example is as likely to be among the first: 300 draws of 100 out of 400 hit each about 75 times.
    hits = np.bincount(np.concatenate([nested_subsets(400, [100], seed=seed)[0] for seed in range(300)]), minlength=400)
    assert abs(hits - 75).max() < 75 * 0.5


def test_every_kind_of_data_set() -> None:
    datasets = pytest.importorskip("datasets")
    indices = nested_subsets(6, [2, 4], seed=3)
    rows = [{"text": letter, "kind": kind} for letter, kind in zip("abcdef", "xxyyxy", strict=True)]
    texts = [row["text"] for row in rows]
    for place, part in enumerate(indices):
        wanted = [texts[number] for number in part]
        assert nested_subsets(texts, [2, 4], seed=3)[place] == wanted
        assert nested_subsets(tuple(texts), [2, 4], seed=3)[place] == tuple(wanted)
        assert nested_subsets(np.array(texts), [2, 4], seed=3)[place].tolist() == wanted
        assert nested_subsets(datasets.Dataset.from_list(rows), [2, 4], seed=3)[place]["text"] == wanted
    assert [len(part) for part in nested_subsets(texts, fractions=[0.01, 0.5, 1], seed=0)] == [1, 3, 6]
    data = datasets.Dataset.from_list(rows)
    by_name = nested_subsets(data, [4], seed=1, stratify="kind")[0]
    assert Counter(by_name["kind"]) == {"x": 2, "y": 2}
    assert by_name["text"] == nested_subsets(texts, [4], seed=1, stratify="xxyyxy")[0]
    with pytest.raises(ValueError, match=r'no column "kid" to stratify by\. Did you mean "kind"'):
        nested_subsets(data, [4], seed=1, stratify="kid")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sizes": [2, 2]}, "sizes must increase, got"),
        ({"sizes": [4, 2]}, "sizes must increase"),
        ({"sizes": [2, 11]}, "from 1 to the 10 examples there are, got"),
        ({"sizes": [0, 2]}, "from 1 to the 10 examples"),
        ({"sizes": [1.5]}, "whole numbers"),
        ({"sizes": []}, "at least one size"),
        ({"fractions": [0.0, 0.5]}, "fractions must be > 0 and <= 1, got 0.0"),
        ({"fractions": [-0.1]}, "fractions must be > 0"),
        ({"fractions": [0.5, 1.1]}, "fractions must be > 0 and <= 1, got 1.1"),
        ({"fractions": [0.5, 0.2]}, "fractions must increase"),
        ({}, "either sizes or fractions"),
        ({"sizes": [1], "fractions": [0.5]}, "either sizes or fractions"),
        ({"sizes": [1], "stratify": "xy"}, "a class for each of 10 examples, got 2"),
    ],
)
def test_bad_input(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nested_subsets(list(range(10)), seed=0, **arguments)


def test_a_data_set_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="must have a length"):
        nested_subsets(iter([1, 2]), [1], seed=0)
