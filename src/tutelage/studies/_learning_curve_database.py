"""The Learning Curve Database: error against training-set size for 28 classifiers on 71 data sets."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping

_COLUMNS = ("dataset", "learner", "anchor", "val")


@functools.lru_cache(maxsize=1)
def database_curves() -> Mapping[str, tuple[list[float], list[float]]]:
    """Return sizes and validation errors by ``"data set|learner"``, sizes rising.

    Raises:
        DataNotFound: The data are not there; names the places.
    """
    from tutelage.workloads.data import find_folder, read_table

    path = find_folder("learning_curves_lcdb", ("curves.csv.gz",)) / "curves.csv.gz"
    table = read_table(path, _COLUMNS)
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for dataset, learner, size, error in zip(*(table[name] for name in _COLUMNS), strict=True):
        if error not in (None, ""):
            points[f"{dataset}|{learner}"].append((float(size), float(error)))
    found = {name: sorted(of) for name, of in points.items()}
    return {name: ([size for size, _ in of], [error for _, error in of]) for name, of in found.items()}
