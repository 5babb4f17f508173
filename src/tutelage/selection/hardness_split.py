"""Easy, medium and hard examples by their scores, each class in equal shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.selection._checks import beside, score_array

__all__ = ["HardnessSplit", "hardness_split"]


@dataclass(frozen=True)
class HardnessSplit:
    """Which examples are of which level; each example is of one.

    Args:
        easy: Booleans, shape ``(n,)``.
        medium: Booleans, shape ``(n,)``.
        hard: Booleans, shape ``(n,)``.
    """

    easy: NDArray[np.bool_]
    medium: NDArray[np.bool_]
    hard: NDArray[np.bool_]


def hardness_split(
    scores: ArrayLike,
    *,
    low: float = 0.3,
    high: float = 0.7,
    cutoffs: tuple[float, float] | None = None,
    classes: ArrayLike | None = None,
) -> HardnessSplit:
    """Return which examples are easy, medium and hard by a score that is high for hard ones.

    Use it to train on one level and test on another, such as before labelling examples that cost more.

    **Formula**: easy where ``s_i <= a``, hard where ``s_i >= b``, medium between. ``a`` and ``b`` are the quantiles
    ``low`` and ``high`` of the scores (linear interpolation), of each class by itself where ``classes`` are given; or
    the two ``cutoffs``.

    Args:
        scores: One number an example, high for hard, ``(n,)``.
        low: Share that is easy, > 0.
        high: Share below which none is hard, > ``low`` and < 1.
        cutoffs: Scores ``(a, b)`` themselves, ``a < b``, for scores of few values, such as years of school.
        classes: What must be spread evenly over the levels, such as labels: one value an example.

    Raises:
        ValueError: Cut-offs in the wrong order, scores that are NaN, or scores (of a class) that do not tell easy from
            hard because both cuts fall on one value.

    Example:
        >>> split = hardness_split([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        >>> np.flatnonzero(split.easy).tolist(), np.flatnonzero(split.hard).tolist()
        ([0, 1, 2], [7, 8, 9])
        >>> hardness_split([8, 9, 12, 13], cutoffs=(9, 12)).hard.tolist()
        [False, False, True, True]

    Use with:
        Any column of :func:`tutelage.signals.score`; ``Dataset.select(np.flatnonzero(split.easy))``.

    Helps / does not help:
        Levels made by a model tell what is hard for that model; those that people gave may agree little with them. With
        equal scores at a cut a level is larger than its share.

    Relations:
        :class:`Top` and :class:`Threshold` keep one side. :func:`tutelage.evaluation.supervision_gap_recovered` says
        what training on the easy level was worth.

    Source:
        Hase et al., 2024, arXiv 2401.06751 (cuts at 30 % and 70 %, checked in their code). Ours: cuts within classes.
    """
    values = score_array("hardness_split", scores)
    if cutoffs is not None:
        if not cutoffs[0] < cutoffs[1]:
            raise ValueError(f"hardness_split: cutoffs must be (a, b) with a < b, got {cutoffs}.")
        if classes is not None:
            raise ValueError("hardness_split: give cutoffs or classes; fixed cut-offs are the same for every class.")
        easy, hard = values <= cutoffs[0], values >= cutoffs[1]
        return HardnessSplit(easy, ~easy & ~hard, hard)
    if not 0 < low < high < 1:
        raise ValueError(f"hardness_split: shares must be 0 < low < high < 1, got low={low} and high={high}.")
    groups = np.zeros(len(values)) if classes is None else beside("hardness_split", "classes", classes, len(values))
    easy, hard = np.zeros((2, len(values)), dtype=bool)
    for group in np.unique(groups):
        mine = groups == group
        first, second = np.quantile(values[mine], (low, high))
        if first == second:
            whose = "" if classes is None else f" of class {group}"
            raise ValueError(
                f"hardness_split: scores{whose} do not tell easy from hard: the cuts at {low:g} and {high:g} both fall "
                f"on {first:g}; give cutoffs=(a, b)."
            )
        easy |= mine & (values <= first)
        hard |= mine & (values >= second)
    return HardnessSplit(easy, ~easy & ~hard, hard)
