"""Scores from how examples fared over a training run: forgetting events and EL2N, from arrays alone."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: What an example that was never right counts: as often as it was seen (Toneva), infinite (Paul), or as it happened.
NeverLearned = Literal["presentations", "inf", "count"]


class ForgettingEvents(NamedTuple):
    """What :func:`forgetting_events` returns, each of shape ``(n,)``.

    Args:
        events: Times an example went from right to wrong; see ``never_learned``. float64, NaN where it was never seen.
        first_learned: Presentation, counted from 0, at which it was first right; NaN where it never was.
        learned: Whether it was ever right.
        unforgettable: Whether it was right at some time and never forgotten.
    """

    events: NDArray[np.float64]
    first_learned: NDArray[np.float64]
    learned: NDArray[np.bool_]
    unforgettable: NDArray[np.bool_]


def forgetting_events(correct: ArrayLike, *, never_learned: NeverLearned = "presentations") -> ForgettingEvents:
    """Count how often each example was forgotten: right at one presentation, wrong at the next.

    **Formula**: with ``a_t`` in {0, 1} whether the example was right at its presentation ``t``,
    ``events = sum over t of [a_t = 1 and a_(t+1) = 0]``.

    Args:
        correct: Whether example ``i`` was right at presentation ``t``: booleans, 0 and 1, or NaN where it was not
            looked at; ``(presentations, n)``. NaN are passed over: what stands on both sides of them are neighbours.
        never_learned: What an example counts that was never right: ``"presentations"``, the most there can be (the
            authors' code), ``"inf"`` (that of Paul et al.), or ``"count"``, the 0 transitions it had.

    Returns:
        :class:`ForgettingEvents`.

    Raises:
        ValueError: Another shape than two dimensions, or values other than 0, 1 and NaN.

    Example:
        >>> correct = [[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 0]]
        >>> forgetting_events(correct).events
        array([2., 0., 4.])
    """
    table = np.asarray(correct, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"forgetting_events: correct must be (presentations, n), got shape {table.shape}.")
    seen = ~np.isnan(table)
    if not np.isin(table[seen], (0.0, 1.0)).all():
        raise ValueError("forgetting_events: correct must hold 0, 1 or NaN (not looked at) alone.")
    if never_learned not in ("presentations", "inf", "count"):
        raise ValueError(
            f'forgetting_events: never_learned must be presentations, inf or count, got "{never_learned}".'
        )
    presentations, examples = table.shape
    events, first = np.zeros(examples), np.full(examples, np.nan)
    before = np.zeros(examples)
    for number in range(presentations):
        row, there = table[number], seen[number]
        events += there & (before == 1) & (row == 0)
        first[there & (row == 1) & np.isnan(first)] = number
        before = np.where(there, row, before)
    learned, ever = ~np.isnan(first), seen.any(axis=0)
    unforgettable = learned & (events == 0)
    if never_learned != "count":
        worst = seen.sum(axis=0).astype(np.float64) if never_learned == "presentations" else np.inf
        events = np.where(learned, events, worst)
    events[~ever] = np.nan
    return ForgettingEvents(events, first, learned, unforgettable)


def el2n(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Return the length of each example's error vector, early in training, averaged over models: EL2N.

    **Formula**: ``score_i = mean over models m of || p_m(x_i) - e_(y_i) ||_2``, ``p`` the probabilities and ``e_y`` the
    one-hot vector of the right class. Between 0 and sqrt(2).

    Args:
        probabilities: Predicted probabilities, not logits, ``(n, classes)`` or ``(models, n, classes)``.
        labels: Right classes, integers, ``(n,)``.

    Returns:
        float64 ``(n,)``, in [0, sqrt(2)]; NaN where a probability is.

    Raises:
        ValueError: Shapes that do not fit, labels that are no class, or rows that are no probabilities.

    Example:
        >>> el2n([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], [0, 0, 0]).round(4)
        array([0.    , 0.7071, 1.4142])
    """
    table, right = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if table.ndim == 2:
        table = table[None]
    if table.ndim != 3 or right.shape != table.shape[1:2]:
        raise ValueError(
            "el2n: probabilities must be (n, classes) or (models, n, classes) and labels (n,), got "
            f"{np.shape(probabilities)} and {right.shape}."
        )
    known = right.size == 0 or (right.min() >= 0 and right.max() < table.shape[2])
    if not np.issubdtype(right.dtype, np.integer) or not known:
        raise ValueError(f"el2n: labels must be integers in [0, {table.shape[2]}).")
    sums = table.sum(-1)
    bad = (table < -1e-6).any(-1) | (np.abs(sums - 1) > 1e-3)
    if bad.any():
        model, row = (int(place) for place in np.argwhere(bad)[0])
        raise ValueError(
            f"el2n: probabilities must be >= 0 and add to 1; those of example {row} (model {model}) add to "
            f"{sums[model, row]:.6g}. Apply softmax to logits first."
        )
    errors = table.copy()
    errors[:, np.arange(len(right)), right] -= 1
    scores: NDArray[np.float64] = np.sqrt((errors**2).sum(-1)).mean(0)
    return scores
