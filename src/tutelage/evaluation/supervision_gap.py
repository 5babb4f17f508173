"""How much of what hard labels would teach do easy ones teach?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.evaluation._checks import check_confidence
from tutelage.randomness import numpy_generator

__all__ = ["SupervisionGap", "supervision_gap_recovered"]

#: Numbers held at a time while resampling, about.
_HELD = 1 << 22


@dataclass(frozen=True)
class SupervisionGap:
    """The share of a gain that was recovered.

    Args:
        share: 1 where easy labels teach as much as hard ones; ``None`` where hard ones teach hardly anything.
        low: Lower end of its interval; ``None`` where single results were not given, or where the gain of the hard
            labels is not told apart from none.
        high: Upper end.
        easy: Mean result after training on easy items.
        hard: Mean result after training on hard items.
        base: Mean result without training.
        confidence: That of the interval.
    """

    share: float | None
    low: float | None
    high: float | None
    easy: float
    hard: float
    base: float
    confidence: float


def supervision_gap_recovered(
    easy: ArrayLike,
    hard: ArrayLike,
    base: ArrayLike,
    *,
    min_gap: float = 0.02,
    draws: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> SupervisionGap:
    """Return the share of the gain from training on hard items that training on easy items gives, on hard test items.

    Use it before paying for labels of hard examples: near 1, the easy ones do.

    **Formula**: ``SGR = (A_easy - A_base) / (A_hard - A_base)``, means over items and runs. The interval resamples test
    items, and runs where there are several, the same ones in all three, and takes quantiles of the ratio of means.

    Args:
        easy: What the model trained on easy items gets on hard test items: 1 or 0 an item, shape ``(items,)``, or
            ``(runs, items)``; or the accuracy alone, a number.
        hard: The same of the model trained on as many hard items; same shape.
        base: The same without training: a number, ``(items,)`` or the same shape.
        min_gap: Least ``A_hard - A_base`` of which a share is taken, > 0.
        draws: Resamples, >= 100.
        confidence: Of the interval, in (0, 1).
        seed: Of the resamples.

    Raises:
        ValueError: Shapes that do not fit, results outside [0, 1], or an option out of range.

    Example:
        >>> round(supervision_gap_recovered(0.71, 0.74, 0.52).share, 4)
        0.8636
        >>> right = np.random.default_rng(0).random((3, 500)) < 0.74
        >>> fair = np.random.default_rng(1).random((3, 500)) < 0.71
        >>> found = supervision_gap_recovered(fair, right, 0.52)
        >>> found.low < found.share < found.high
        True

    Use with:
        Correct or not, item by item, from any evaluation; :func:`tutelage.selection.hardness_split` makes the levels.

    Helps / does not help:
        The ratio explodes where hard labels gain little: pool items and runs into one call, and never average shares
        over data sets. Measure the base on the same hard items with the same prompt.

    Relations:
        :func:`paired_difference` compares two models without a third as measure.

    Source:
        Hase et al., The unreasonable effectiveness of easy training data for hard tasks, 2024, arXiv 2401.06751
        (supervision gap recovered). Ours: ``min_gap`` and the resampling.
    """
    check_confidence("supervision_gap_recovered", confidence)
    if not min_gap > 0:
        raise ValueError(f"supervision_gap_recovered: min_gap must be > 0, got {min_gap}.")
    if draws < 100:
        raise ValueError(f"supervision_gap_recovered: draws must be >= 100, got {draws}.")
    trained = [_results(name, values) for name, values in (("easy", easy), ("hard", hard))]
    if trained[0].shape != trained[1].shape:
        raise ValueError(
            "supervision_gap_recovered: easy and hard must be results on the same items, of one shape, got "
            f"{trained[0].shape} and {trained[1].shape}."
        )
    untrained = _results("base", base)
    if untrained.shape not in ((), trained[0].shape[-1:], trained[0].shape):
        raise ValueError(
            f"supervision_gap_recovered: base must be a number or have the shape of easy, {trained[0].shape}, or one "
            f"value an item, got {untrained.shape}."
        )
    taught, most, least = (float(values.mean()) for values in (*trained, untrained))
    gap = most - least
    if gap < min_gap:
        return SupervisionGap(None, None, None, taught, most, least, confidence)
    low, high = None, None
    if trained[0].ndim:
        tables = [np.atleast_2d(values - untrained) for values in trained]
        low, high = _interval(tables[0], tables[1], draws, confidence, seed)
    return SupervisionGap((taught - least) / gap, low, high, taught, most, least, confidence)


def _results(name: str, values: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim > 2 or not found.size:
        raise ValueError(
            f"supervision_gap_recovered: {name} must be a number, (items,) or (runs, items), got shape {found.shape}."
        )
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"supervision_gap_recovered: {name} must be results from 0 to 1.")
    return found


def _interval(
    easy: NDArray[np.float64], hard: NDArray[np.float64], draws: int, confidence: float, seed: int
) -> tuple[float | None, float | None]:
    """Return quantiles of the ratio of mean gains over resampled runs and items, ``None`` where it has no sign."""
    runs, items = easy.shape
    rng = numpy_generator(seed, "supervision gap", runs, items)
    together = max(1, _HELD // max(items, runs))
    gains, gaps = [], []
    for start in range(0, draws, together):
        count = min(together, draws - start)
        by_item = rng.multinomial(items, np.full(items, 1 / items), size=count) / items
        by_run = rng.multinomial(runs, np.full(runs, 1 / runs), size=count) / runs
        gains.append(((by_run @ easy) * by_item).sum(axis=1))
        gaps.append(((by_run @ hard) * by_item).sum(axis=1))
    gain, gap = np.concatenate(gains), np.concatenate(gaps)
    tail = (1 - confidence) / 2
    if (gap <= 0).mean() >= tail:
        return None, None
    low, high = np.quantile((gain / np.where(gap > 0, gap, np.nan))[gap > 0], (tail, 1 - tail))
    return float(low), float(high)
