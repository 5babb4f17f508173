"""nested_subsets: growing parts of a data set, each the beginning of the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import did_you_mean
from tutelage.randomness import numpy_generator


def nested_subsets(
    dataset: Any,
    sizes: Sequence[int] | None = None,
    *,
    fractions: Sequence[float] | None = None,
    seed: int,
    stratify: Sequence[Any] | str | None = None,
) -> list[Any]:
    """Return growing subsets of a data set in one random order, so that every smaller one begins every larger one.

    For curves over the amount of data: what changes from point to point is only what was added, not the draw.

    **Formula**: with one permutation ``p`` of the ``n`` examples, subset ``i`` holds ``p(1) .. p(size_i)``. With
    ``stratify`` the ``k``-th drawn of the ``n_c`` examples of class ``c`` is put at ``(k - 1/2) / n_c``, and ``p`` goes
    by that: every subset has each class in its share, to about one example.

    Args:
        dataset: A list, an array (rows), a ``datasets.Dataset``, anything with a length and an index, or a number of
            examples, which stands for their indices.
        sizes: Examples of each subset, strictly increasing, from 1 to all.
        fractions: In place of sizes: shares in (0, 1], strictly increasing; rounded to whole examples, one at least.
        seed: Fixes the order; it does not depend on the sizes.
        stratify: Class of each example, or the name of the column that holds it in a ``datasets.Dataset``.

    Returns:
        One subset a size: of a list a list, of an array an array, of a ``Dataset`` a ``Dataset``, else the indices.

    Raises:
        ValueError: Neither or both of sizes and fractions, values that do not increase or are out of range, or classes
            of another number.

    Example:
        >>> small, large = nested_subsets(list("abcdefgh"), sizes=[2, 5], seed=0)
        >>> small, large
        (['h', 'g'], ['h', 'g', 'f', 'b', 'd'])
        >>> [part.tolist() for part in nested_subsets(6, fractions=[0.3, 1], seed=1, stratify="xxyyyy")]
        [[2, 0], [2, 0, 3, 4, 1, 5]]

    Use with:
        ``torch.utils.data.Subset(data, indices)``; ``tutelage.forecast.data_efficiency`` reads the scores.

    Helps / does not help:
        Takes the draw out of the comparison of sizes, not out of the curve: draw several orders by seed for that.

    Relations:
        scikit-learn's ``learning_curve`` also takes beginnings of one order, and cannot stratify them.

    Source:
        Gupta et al., Instruction tuned models are quick learners, 2023, arXiv 2306.05539: splits of 10, 100, 200 and
        1,000 are the first so many training items, as its code (``data_prep.py``) takes them. Spacing the classes is
        ours.
    """
    count = _count(dataset)
    wanted = _sizes(count, sizes, fractions)
    order = numpy_generator(seed, "nested subsets").permutation(count)
    if stratify is not None:
        order = order[_spaced(_classes(dataset, stratify, count)[order])]
    return [_take(dataset, order[:size]) for size in wanted]


def _count(dataset: Any) -> int:
    if isinstance(dataset, int | np.integer) and not isinstance(dataset, bool):
        return int(dataset)
    try:
        return len(dataset)
    except TypeError:
        raise ValueError(
            f"nested_subsets: dataset must have a length, or be a number of examples, got a {type(dataset).__name__}."
        ) from None


def _sizes(count: int, sizes: Sequence[int] | None, fractions: Sequence[float] | None) -> list[int]:
    name = "nested_subsets"
    if (sizes is None) == (fractions is None):
        raise ValueError(f"{name}: give either sizes or fractions.")
    if fractions is not None:
        for value in fractions:
            if not (math.isfinite(value) and 0 < value <= 1):
                raise ValueError(f"{name}: fractions must be > 0 and <= 1, got {value}.")
        wanted, given = [max(1, round(value * count)) for value in fractions], list(fractions)
    else:
        wanted = [int(size) for size in sizes or ()]
        given = list(sizes or ())
        if any(size != whole for size, whole in zip(given, wanted, strict=True)):
            raise ValueError(f"{name}: sizes must be whole numbers, got {given}.")
    if not wanted:
        raise ValueError(f"{name}: sizes must name at least one size, got none.")
    if any(later <= earlier for earlier, later in pairwise(given)):
        raise ValueError(f"{name}: {'sizes' if fractions is None else 'fractions'} must increase, got {given}.")
    if wanted[0] < 1 or wanted[-1] > count:
        raise ValueError(f"{name}: sizes must be from 1 to the {count} examples there are, got {given}.")
    return wanted


def _classes(dataset: Any, stratify: Sequence[Any] | str, count: int) -> NDArray[np.int64]:
    names = getattr(dataset, "column_names", None)
    if isinstance(stratify, str) and names is not None:
        if stratify not in names:
            raise ValueError(
                f'nested_subsets: no column "{stratify}" to stratify by.{did_you_mean(stratify, names)} '
                f"It has: {', '.join(names)}."
            )
        values = list(dataset[stratify])
    else:
        values = list(stratify)
    if len(values) != count:
        raise ValueError(f"nested_subsets: stratify must hold a class for each of {count} examples, got {len(values)}.")
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _spaced(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order in which the examples of each class are spread evenly, given their classes in random order."""
    place = np.empty(len(classes))
    for number in range(int(classes.max(initial=-1)) + 1):
        mine = np.flatnonzero(classes == number)
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return np.argsort(place, kind="stable")


def _take(dataset: Any, indices: NDArray[np.int64]) -> Any:
    if isinstance(dataset, int | np.integer):
        return indices
    if isinstance(dataset, np.ndarray):
        return dataset[indices]
    if hasattr(dataset, "select") and hasattr(dataset, "column_names"):
        return dataset.select(indices)
    if isinstance(dataset, list | tuple):
        return type(dataset)(dataset[place] for place in indices)
    return indices
