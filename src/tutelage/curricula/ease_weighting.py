"""Curricula for re-rankers: samples the first-stage ranker finds hard count less at first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.curricula._batches import no_batches
from tutelage.curricula._shared import spec_of


def pointwise_ease(easiness: ArrayLike, relevant: ArrayLike) -> NDArray[np.float64]:
    """Return how easy each document is to judge: ``e`` where it is relevant, ``1 - e`` where not.

    Args:
        easiness: How relevant the first stage makes each document look, in [0, 1], shape ``(n,)``.
        relevant: Whether it is, shape ``(n,)``.

    Raises:
        ValueError: Easiness outside [0, 1] or NaN, or shapes that differ.

    Example:
        >>> pointwise_ease([0.5, 0.1], [True, False])
        array([0.5, 0.9])

    Source:
        MacAvaney et al., 2020, arXiv 2004.14269, section 3.
    """
    looks, truly = _unit("pointwise_ease", "easiness", easiness), np.asarray(relevant, dtype=bool)
    if looks.shape != truly.shape:
        raise ValueError(f"pointwise_ease: relevant must have the shape of easiness, {looks.shape}, got {truly.shape}.")
    return np.where(truly, looks, 1 - looks)


def pairwise_ease(positive: ArrayLike, negative: ArrayLike) -> NDArray[np.float64]:
    """Return how easy each pair is to order: ``(e+ - e- + 1) / 2``, the least of it over several negatives.

    Args:
        positive: Easiness of the relevant document of each pair, shape ``(n,)``.
        negative: Easiness of the other, shape ``(n,)``, or ``(n, k)`` for ``k`` of them.

    Raises:
        ValueError: Easiness outside [0, 1] or NaN, or shapes that do not go together.

    Example:
        >>> pairwise_ease([1 / 1, 1 / 10], [1 / 4, 1 / 1])
        array([0.875, 0.05 ])

    Source:
        MacAvaney et al., 2020, arXiv 2004.14269, section 3.
    """
    good, bad = _unit("pairwise_ease", "positive", positive), _unit("pairwise_ease", "negative", negative)
    if bad.ndim == good.ndim + 1 and bad.shape[:-1] == good.shape and bad.shape[-1]:
        bad = bad.max(axis=-1)
    if good.shape != bad.shape:
        raise ValueError(f"pairwise_ease: negative must be {good.shape} or {(*good.shape, 'k')}, got {bad.shape}.")
    return np.asarray((good - bad + 1) / 2)


def linear_reweight(ease: ArrayLike, iteration: float, m: float, *, anti: bool = False) -> NDArray[np.float64]:
    """Return the loss weights at an iteration: the ease at first, rising in a line to 1 at iteration ``m``.

    **Formula**: ``W = D + (i/m)(1 - D)`` for ``i < m``, else 1; ``anti``: with ``1 - D`` for ``D``.

    Args:
        ease: ``D`` of each sample, in [0, 1], any shape.
        iteration: ``i`` >= 0, in the unit of ``m``.
        m: Where the curriculum ends, >= 0; 0 is none.
        anti: Hard samples count more at first.

    Raises:
        ValueError: Ease outside [0, 1] or NaN, ``iteration`` or ``m`` below 0.

    Example:
        >>> [round(float(linear_reweight(0.25, i, 20)), 4) for i in (0, 5, 10, 19, 20)]
        [0.25, 0.4375, 0.625, 0.9625, 1.0]

    Source:
        MacAvaney et al., 2020, arXiv 2004.14269, section 3.
    """
    given = _unit("linear_reweight", "ease", ease)
    for name, value in (("iteration", iteration), ("m", m)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"linear_reweight: {name} must be a finite number >= 0, got {value}.")
    if iteration >= m:
        return np.ones(given.shape)
    start = 1 - given if anti else given
    return np.asarray(start + iteration / m * (1 - start))


def _unit(owner: str, name: str, values: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64)
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError(f"{owner}: {name} must be in [0, 1].")
    return found


@dataclass(frozen=True, kw_only=True, repr=False)
class EaseWeighting:
    """Lets examples that look hard count less in the loss at first; from ``end`` of the run on all count alike.

    For rankers, with a first stage such as BM25 saying what is easy. The order of the examples is left alone.

    **Formula**: ``W_i(p) = D_i + (p / end)(1 - D_i)`` while progress ``p < end``, else 1; the loss is the mean of
    ``W_i L_i``. ``D`` in [0, 1] is :func:`pointwise_ease` or :func:`pairwise_ease`, 1 for easy.

    Args:
        end: Progress at which the curriculum ends, in (0, 1].
        anti: Hard examples count more at first, the control.
        per_batch: Every example counts the mean weight of its batch, as the paper's code has it: a loss scaled as a
            whole, which Adam undoes.
        by: Column or signal of the ease, high for easy.

    Returns:
        ``loss_weights(progress, ease)``: the factor of each loss, in [0, 1], float64 of the shape of ``ease``.

    Raises:
        ValueError: ``end`` outside (0, 1], or ease outside [0, 1] or NaN.

    Example:
        >>> EaseWeighting(end=0.5).loss_weights(0.25, np.array([0.0, 0.5, 1.0]))
        array([0.5 , 0.75, 1.  ])

    Use with:
        ``loss = (part.loss_weights(progress, ease[batch]) * losses).mean()``.

    Helps / does not help:
        The paper reports up to 4 % MRR and 9 % P@1 more for BERT rankers; hard first did not help. Where the curriculum
        ends matters: choose it on validation data. Adam cancels what is common to all weights.

    Relations:
        Sampling weights such as :class:`Quality` change how often an example is seen, these how much it counts.

    Source:
        MacAvaney et al., Training curricula for open domain answer re-ranking, SIGIR 2020, arXiv 2004.14269, section 3
        (formulas and the mean of a batch from its code, read for the card). The paper counts to epoch m; ``end`` is
        its share of the run.
    """

    spec_name: ClassVar[str] = "ease-weighting"

    end: float = 0.2
    anti: bool = False
    per_batch: bool = False
    by: str = "ease"

    __repr__ = spec_of
    batches = no_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        if not 0 < self.end <= 1:
            raise ValueError(f"EaseWeighting: end must be > 0 and <= 1, a share of the run, got {self.end}.")

    def columns(self) -> tuple[str, ...]:
        """Return the column it needs."""
        return (self.by,)

    def loss_weights(self, progress: float, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Return the factor of each example's loss, the shape of ``scores``: the examples of one batch."""
        found = linear_reweight(scores, progress, self.end, anti=self.anti)
        return np.full(found.shape, found.mean()) if self.per_batch and found.size else found
