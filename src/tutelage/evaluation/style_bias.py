"""Does a judge reward how an answer is written rather than whether it is right?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.evaluation._checks import check_confidence

__all__ = ["StyleBias", "style_bias"]

#: Share of the spread below which what is left of a list is rounding.
_NOTHING = 1e-9


@dataclass(frozen=True)
class StyleBias:
    """How far a judge's win rate goes with one feature of the answers.

    Args:
        correlation: Of win rate and feature over systems; ``None`` where one of them does not vary.
        partial: The same with what is controlled for held constant; ``None`` where that leaves nothing to vary, or
            fewer than 3 systems more than lists controlled for.
        low: Lower end of the interval of ``partial``, ``None`` where so few systems give none.
        high: Upper end.
    """

    correlation: float | None
    partial: float | None
    low: float | None
    high: float | None


def style_bias(
    win: ArrayLike,
    features: Mapping[str, ArrayLike],
    *,
    control: Mapping[str, ArrayLike] | None = None,
    confidence: float = 0.95,
) -> dict[str, StyleBias]:
    """Return how far a judge's win rates go with each feature of the answers, with what should count held constant.

    Use it before believing a ranking by a judge: where length or the number of different tokens explains the win rate
    at equal accuracy, the judge rewards style.

    **Formula**: with ``e_w`` and ``e_f`` what is left of win rate and feature after a least-squares fit on the ``c``
    controlled lists and a constant::

        partial = corr(e_w, e_f),    interval = tanh(atanh(partial) -+ z / sqrt(n - c - 3))

    Args:
        win: Win rate of each system, shape ``(systems,)``, at least 3.
        features: Lists by name of the same length, such as mean length and unique tokens of a system's answers.
        control: Lists to hold constant, such as accuracy; none where not given.
        confidence: Of the interval, in (0, 1).

    Raises:
        ValueError: Fewer than 3 systems, a list of another length, a value that is not finite, or no features.

    Example:
        >>> found = style_bias([0.2, 0.4, 0.5, 0.9], {"tokens": [10, 22, 24, 50]}, control={"right": [5, 6, 5, 6]})
        >>> round(found["tokens"].correlation, 3), round(found["tokens"].partial, 3)
        (0.995, 0.997)

    Use with:
        :func:`bradley_terry`, whose strengths can stand for win rates.

    Helps / does not help:
        Systems that write more may be better in ways ``control`` does not hold: a high value is a warning, not a proof.

    Relations:
        :func:`tutelage.forecast.early_signals.signal_report` holds the learning rate constant in the same way.

    Source:
        Wang et al., How far can camels go?, 2023, arXiv 2306.04751 (win rate against unique tokens, from
        memory; its abstract says that such evaluations miss differences benchmarks show). Partial correlation and
        Fisher's interval are textbook statistics; controlling for accuracy is ours.
    """
    from scipy import stats

    check_confidence("style_bias", confidence)
    if not features:
        raise ValueError("style_bias: features must hold at least 1 list, got none.")
    wins = _values("win", win)
    if wins.size < 3:
        raise ValueError(f"style_bias: win must hold at least 3 systems, got {wins.size}.")
    held = [_like(wins, name, values) for name, values in (control or {}).items()]
    fixed = np.column_stack([np.ones(wins.size), *held])
    found = {}
    for name, values in features.items():
        feature = _like(wins, name, values)
        partial = _correlation(wins, feature, fixed) if wins.size >= len(held) + 3 else None
        low = high = None
        free = wins.size - len(held) - 3
        if partial is not None and free > 0:
            reach = float(stats.norm.ppf((1 + confidence) / 2)) / np.sqrt(free)
            middle = np.arctanh(np.clip(partial, -1 + 1e-15, 1 - 1e-15))
            low, high = float(np.tanh(middle - reach)), float(np.tanh(middle + reach))
        found[name] = StyleBias(_correlation(wins, feature, fixed[:, :1]), partial, low, high)
    return found


def _values(name: str, values: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError(f"style_bias: {name} must be a list of finite numbers, one a system, got {found.tolist()}.")
    return found


def _like(wins: NDArray[np.float64], name: str, values: ArrayLike) -> NDArray[np.float64]:
    found = _values(name, values)
    if found.size != wins.size:
        raise ValueError(f"style_bias: {name} must hold one value a system, {wins.size}, got {found.size}.")
    return found


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64], fixed: NDArray[np.float64]) -> float | None:
    """Return the correlation of what a fit on ``fixed`` leaves of two lists."""
    left = []
    for values in (one, other):
        rest = values - fixed @ np.linalg.lstsq(fixed, values, rcond=None)[0]
        size = float(np.linalg.norm(rest))
        if size <= _NOTHING * float(np.linalg.norm(values)):
            return None
        left.append(rest / size)
    return float(np.clip(left[0] @ left[1], -1.0, 1.0))
