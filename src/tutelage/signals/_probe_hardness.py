"""Hardness of labelled items by how little data a probe needs to get them right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.randomness import numpy_generator

#: Takes the places of training items; returns what takes places of other items and returns class probabilities.
Fit = Callable[[NDArray[np.int64]], Callable[[NDArray[np.int64]], ArrayLike]]


def hardness_of_confidence(confidences: ArrayLike, *, items: int = 0) -> NDArray[np.float64]:
    """Return ``1 - mean`` of the probabilities of the right label, over models, prompts, resamples and sizes.

    Args:
        confidences: Probabilities of the right label, any shape; NaN where a probe was not fitted or the item was
            among what it learned from.
        items: Which axis holds the items.

    Returns:
        float64 ``(n,)``, in [0, 1], high = hard; NaN for an item without any.

    Raises:
        ValueError: A value outside [0, 1].

    Example:
        >>> hardness_of_confidence([[[0.3, 0.5, 0.9], [0.4, 0.6, 0.8]]]).round(6)
        array([0.416667])
    """
    table = np.moveaxis(np.asarray(confidences, dtype=np.float64), items, 0)
    flat = table.reshape(len(table), -1)
    known = ~np.isnan(flat)
    if ((flat < 0) | (flat > 1))[known].any():
        raise ValueError("hardness_of_confidence: confidences must be probabilities in [0, 1].")
    count = known.sum(1)
    mean = np.where(known, flat, 0.0).sum(1) / np.maximum(count, 1)
    scores: NDArray[np.float64] = np.where(count > 0, 1 - mean, np.nan)
    return scores


def mdl_hardness(
    fit: Fit,
    labels: ArrayLike,
    *,
    sizes: Sequence[int] = (5, 10, 20, 40, 80),
    boots: int = 10,
    folds: int = 2,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Return how hard each item is for probes that have seen few others: the area above its learning curve.

    **Formula**: ``h_i = 1 - mean over resamples b and sizes n of p_(b,n)(y_i | x_i)``, where the probe ``p_(b,n)`` was
    fitted to ``n`` items of other folds. The ``n`` items of a resample are the first ``n`` of one permutation in which
    the classes take turns, so small samples hold every class they can.

    Args:
        fit: Fits a probe to the items at the given places; what it returns gives class probabilities ``(m, classes)``
            for those at others.
        labels: Right classes, integers in ``[0, classes)``, ``(n,)``.
        sizes: Training items, growing; those that the other folds cannot fill are left out, as in the authors' code.
        boots: Resamples, >= 1. 10 is the paper's.
        folds: Parts the items are cut into, >= 2; probes learn from all but one and are asked about that one. Two are
            nearest to the paper, which fits to one half of the data and scores the other.
        groups: Items with the same group stay in one fold, ``(n,)``: copies of one text, questions to one passage.
        seed: Of folds and resamples.

    Returns:
        float64 ``(n,)``, in [0, 1], high = hard. No item is ever scored by a probe that learned from it.

    Raises:
        ValueError: Arguments out of range, no size the folds can fill, or probabilities of a wrong shape.

    Example:
        >>> labels = np.array([0, 1] * 8)
        >>> def fit(train):  # learns nothing
        ...     return lambda items: np.full((len(items), 2), 0.5)
        >>> mdl_hardness(fit, labels, sizes=(4,), boots=2)[:3]
        array([0.5, 0.5, 0.5])

    Source:
        Hase et al., The unreasonable effectiveness of easy training data for hard tasks, 2024, arXiv 2401.06751,
        section 3 (model-based hardness); their code (allenai/easy-to-hard-generalization, ``write_MDL_scores``) takes
        the mean over prompts, resamples and sizes alike and fits to data that are not scored. Folds are ours.
    """
    right = np.asarray(labels)
    if right.ndim != 1 or not np.issubdtype(right.dtype, np.integer) or (right.size and right.min() < 0):
        raise ValueError("mdl_hardness: labels must be whole numbers >= 0, shape (n,).")
    if boots < 1 or folds < 2:
        raise ValueError(f"mdl_hardness: boots must be >= 1 and folds >= 2, got {boots} and {folds}.")
    if not sizes or min(sizes) < 1 or list(sizes) != sorted(set(sizes)):
        raise ValueError(f"mdl_hardness: sizes must be growing numbers >= 1, got {tuple(sizes)}.")
    fold = fold_of_groups(np.arange(len(right)) if groups is None else np.asarray(groups), folds, seed)
    total, count = np.zeros(len(right)), np.zeros(len(right))
    for part in range(folds):
        asked, pool = np.flatnonzero(fold == part), np.flatnonzero(fold != part)
        for boot in range(boots):
            drawn = balanced_order(right[pool], numpy_generator(seed, "mdl_hardness", part, boot))
            for size in sizes:
                if size > len(pool) or not len(asked):
                    continue
                train = np.sort(pool[drawn[:size]])
                found = np.asarray(fit(train)(asked), dtype=np.float64)
                if found.ndim != 2 or len(found) != len(asked) or found.shape[1] <= right[asked].max():
                    raise ValueError(
                        f"mdl_hardness: a probe must return probabilities ({len(asked)}, classes) that include class "
                        f"{right[asked].max()}, got shape {found.shape}."
                    )
                total[asked] += found[np.arange(len(asked)), right[asked]]
                count[asked] += 1
    if not count.all():
        raise ValueError(
            f"mdl_hardness: {len(right)} items in {folds} folds leave no {min(sizes)} to learn from; "
            "give smaller sizes or more items."
        )
    return np.asarray(1 - total / count)


def fold_of_groups(groups: NDArray[np.generic], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each item: groups in random order are dealt out, the next to the smallest fold."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    load, fold = np.zeros(folds, dtype=np.int64), np.empty(len(sizes), dtype=np.int64)
    for group in numpy_generator(seed, "mdl_hardness_folds").permutation(len(sizes)):
        fold[group] = int(load.argmin())
        load[fold[group]] += sizes[group]
    return fold[member]


def balanced_order(labels: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a random order of items in which classes take turns while they last."""
    order = rng.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        mine = order[labels[order] == label]
        turn[mine] = np.arange(len(mine))
    within = rng.permutation(len(labels))  # which class begins a turn is drawn anew each turn
    return np.lexsort((within, turn)).astype(np.int64)


def logistic_probe(features: ArrayLike, labels: ArrayLike, *, strength: float = 1.0) -> Fit:
    """Return a ``fit`` for :func:`mdl_hardness`: logistic regression on fixed features, such as hidden states.

    Features are centred and scaled by what the probe learns from. A class that is not among that has probability 0.

    Args:
        features: ``(n, width)``.
        labels: Integers in ``[0, classes)``, ``(n,)``.
        strength: Inverse of the weight decay, > 0; scikit-learn's ``C``.
    """
    table, right = np.asarray(features, dtype=np.float64), np.asarray(labels)
    if table.ndim != 2 or len(table) != len(right):
        raise ValueError(
            f"logistic_probe: features must be (n, width) and labels (n,), got {table.shape} and {right.shape}."
        )
    if not np.isfinite(table).all():
        raise ValueError("logistic_probe: features must be finite numbers.")
    classes = int(right.max()) + 1 if len(right) else 0

    def fit(train: NDArray[np.int64]) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
        from sklearn.linear_model import LogisticRegression

        seen = np.unique(right[train])
        centre, scale = table[train].mean(0), table[train].std(0)
        scale = np.where(scale > 0, scale, 1.0)
        model = None
        if len(seen) > 1:
            model = LogisticRegression(C=strength, max_iter=1000).fit((table[train] - centre) / scale, right[train])

        def predict(items: NDArray[np.int64]) -> NDArray[np.float64]:
            found = np.zeros((len(items), classes))
            found[:, seen] = 1.0 if model is None else model.predict_proba((table[items] - centre) / scale)
            return found

        return predict

    return fit
