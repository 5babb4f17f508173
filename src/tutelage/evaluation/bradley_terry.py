"""bradley_terry: how strong is each item, from who won against whom?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.evaluation._pairwise_newton import Curvature, Vector, conjugate_gradients, minimise

__all__ = ["BradleyTerry", "bradley_terry"]

_NAME = "bradley_terry"
#: Share of the largest possible gradient that counts as zero.
_TOLERANCE = 1e-13
#: Largest number of items whose covariance is formed; 3.2 GB.
_LARGEST = 20_000


@dataclass(frozen=True, eq=False)
class BradleyTerry:
    """Strengths of items, as :func:`bradley_terry` finds them.

    Args:
        strengths: One an item, in units of log odds; their mean is 0. float64 ``(n,)``.
        log_likelihood: Of the outcomes, in nats.
        gradient_norm: Euclidean norm of the gradient at the strengths: 0 but for rounding.
        ridge: The penalty's.
        comparisons: Sum of the counts.
        newton_steps: Steps it took.
    """

    strengths: NDArray[np.float64]
    log_likelihood: float
    gradient_norm: float
    ridge: float
    comparisons: float
    newton_steps: int
    _pairs: _Pairs = field(repr=False)

    def probability(self, first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
        """Return the probability that ``first`` wins against ``second``, both items by their number.

        Example:
            >>> found = bradley_terry([0, 0, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1])
            >>> float(found.probability(0, 1).round(6))
            0.75
        """
        gaps = self.strengths[np.asarray(first)] - self.strengths[np.asarray(second)]
        found: NDArray[np.float64] = np.asarray(0.5 * (1 + np.tanh(gaps / 2)))
        return found

    def standard_errors(self) -> NDArray[np.float64]:
        """Return the standard error of each strength, that is of its distance from the mean of all; float64 ``(n,)``.

        From the inverse of the information (its pseudo-inverse where ``ridge`` is 0), every comparison counting as
        independent. Takes ``n^2`` numbers of memory and time as ``n^3``: a few seconds for 5,000 items.

        Raises:
            ValueError: More than 20,000 items; ask :meth:`difference_error` for the pairs that matter.
        """
        n = len(self.strengths)
        if n > _LARGEST:
            raise ValueError(
                f"{_NAME}: standard_errors of {n} items would need {n * n * 8 / 1e9:.0f} GB; ask difference_error for "
                "the pairs that matter."
            )
        from scipy import linalg

        pairs, weights = self._pairs, self._weights()
        # With 1/n everywhere the direction that no comparison decides has its own inverse, 1/n again.
        free = 1 / n if not self.ridge else 0.0
        information = np.full((n, n), free, order="F")
        information[pairs.high, pairs.low] -= weights
        information[np.diag_indices(n)] += pairs.sums(weights) + self.ridge
        factor = linalg.cholesky(information, lower=True, overwrite_a=True, check_finite=False)
        inverse, _ = linalg.lapack.dpotri(factor, lower=True, overwrite_c=True)
        found: NDArray[np.float64] = np.sqrt(np.maximum(np.diag(inverse) - free, 0.0))
        return found

    def difference_error(self, first: int, second: int) -> float:
        """Return the standard error of the difference of two strengths.

        Example:
            >>> found = bradley_terry([0, 0, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1])
            >>> round(found.difference_error(0, 1), 6)  # 1 / sqrt(4 * 0.75 * 0.25)
            1.154701
        """
        right = np.zeros(len(self.strengths))
        right[first] += 1.0
        right[second] -= 1.0
        if first == second:
            return 0.0
        product, diagonal = self._pairs.curvature(self._weights())
        found, _ = conjugate_gradients(
            lambda vector: product(vector) + self.ridge * vector, right, diagonal + self.ridge, relative=1e-12
        )
        return math.sqrt(max(0.0, float(right @ found)))

    def _weights(self) -> Vector:
        p = self.probability(self._pairs.low, self._pairs.high)
        weights: Vector = self._pairs.counts * p * (1 - p)
        return weights


def bradley_terry(
    first: ArrayLike,
    second: ArrayLike,
    outcomes: ArrayLike,
    *,
    counts: ArrayLike | None = None,
    items: int | None = None,
    ridge: float = 0.0,
) -> BradleyTerry:
    """Estimate the strength of each item from comparisons in pairs, by maximum likelihood.

    Comparing two things is easier than giving each a number, for people and for models that judge; this turns
    comparisons into numbers.

    **Formula**: with strengths ``s``, outcomes ``y_k`` and counts ``c_k``::

        P(a wins against b) = 1 / (1 + exp(s_b - s_a))
        maximise over s: sum over k of c_k [y_k log P_k + (1 - y_k) log(1 - P_k)] - ridge / 2 sum over i of s_i^2

    with ``sum of s = 0``. The sum is concave; Newton's method with conjugate gradients on the graph of comparisons
    finds its one maximum, which exists without a ridge where no group of items wins, or loses, all comparisons with
    the others.

    Args:
        first: Items by number, from 0, one a comparison ``(m,)``.
        second: What each was compared with ``(m,)``.
        outcomes: Probability, in [0, 1], that the first wins: 1 a win, 0 a loss, 0.5 a tie; also the share of several
            votes ``(m,)``.
        counts: How often each comparison was made, or how much it weighs, > 0; 1 where not given.
        items: Number of items; one more than the largest that occurs where not given.
        ridge: Weight of the penalty, >= 0; it pulls all strengths to 0 and makes every one finite. A normal prior of
            variance ``1 / ridge``.

    Returns:
        The strengths, and what they rest on.

    Raises:
        ValueError: Arrays that differ in length, an item that is no number of one, one compared with itself, an outcome
            or count out of range; items without comparisons, groups never compared with each other, or a group that
            always wins, where ``ridge`` is 0.

    Example:
        >>> found = bradley_terry([0, 0, 1, 2], [1, 1, 2, 0], [1, 0, 1, 0.5])
        >>> found.strengths.round(4).tolist()
        [0.1566, 0.5834, -0.74]

    Use with:
        Votes of judges on texts (:func:`tutelage.signals.judge_pairs`), wins of models in an arena.

    Helps / does not help:
        A ring of wins (rock, paper, scissors) has no strengths behind it; they come out equal. Votes by one judge on
        one pair are not independent, so standard errors are too small; count such a pair once.

    Relations:
        Elo ratings follow the same model one game at a time and depend on the order of games. Spectral estimates are
        quicker to code and less exact.

    Source:
        Bradley and Terry, Rank analysis of incomplete block designs, Biometrika 39, 1952. When the maximum exists:
        Ford, Solution of a ranking problem from binary comparisons, American Mathematical Monthly 64, 1957. Truncated
        Newton steps: Nocedal and Wright, Numerical Optimization, 2006, section 7.1.
    """
    a, b = _items(first, "first"), _items(second, "second")
    y = _numbers(outcomes, "outcomes", len(a))
    c = np.ones(len(a)) if counts is None else _numbers(counts, "counts", len(a))
    if len(b) != len(a):
        raise ValueError(f"{_NAME}: first and second must be equally long, got {len(a)} and {len(b)}.")
    if not len(a):
        raise ValueError(f"{_NAME}: there must be at least one comparison, got none.")
    found = int(max(a.max(), b.max())) + 1
    n = found if items is None else items
    if n < found:
        raise ValueError(f"{_NAME}: items must be >= {found}, one more than the largest that occurs, got {items}.")
    for bad, what in (
        (a == b, "an item is compared with itself"),
        (~((y >= 0) & (y <= 1)), "outcomes must be in [0, 1]"),
        (~((c > 0) & (c < math.inf)), "counts must be finite and > 0"),
    ):
        if bad.any():
            k = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"{_NAME}: {what}, got items {a[k]} and {b[k]}, outcome {y[k]:g} and count {c[k]:g} in comparison {k}."
            )
    if not (math.isfinite(ridge) and ridge >= 0):
        raise ValueError(f"{_NAME}: ridge must be finite and >= 0, got {ridge}.")
    pairs, wins = _Pairs.of(a, b, y, c, n)
    if not ridge:
        _check_finite(pairs, wins)
    best = minimise(pairs, wins / pairs.counts, pairs.counts, ridge=ridge, size=n, tolerance=_TOLERANCE)
    return BradleyTerry(
        strengths=best.theta - best.theta.mean(),
        log_likelihood=-best.loss,
        gradient_norm=best.gradient_norm,
        ridge=ridge,
        comparisons=float(c.sum()),
        newton_steps=best.steps,
        _pairs=pairs,
    )


class _Pairs:
    """The graph of comparisons: each pair once, with the lower number first, in order."""

    def __init__(self, low: NDArray[np.int64], high: NDArray[np.int64], counts: Vector, items: int) -> None:
        self.low, self.high, self.counts, self.items = low, high, counts, items
        self._starts = np.searchsorted(low, np.arange(items + 1)).astype(np.int32)
        self._columns = high.astype(np.int32)

    @classmethod
    def of(cls, a: NDArray[np.int64], b: NDArray[np.int64], y: Vector, c: Vector, items: int) -> tuple[_Pairs, Vector]:
        """Return the pairs, and how often the lower of each won."""
        keys = np.minimum(a, b) * items + np.maximum(a, b)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        begins = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        won = np.where(a < b, y, 1 - y) * c
        low, high = np.divmod(keys[begins], items)
        return cls(low, high, np.add.reduceat(c[order], begins), items), np.add.reduceat(won[order], begins)

    def sums(self, weights: Vector) -> Vector:
        """Return the sum of the weights of each item's pairs."""
        low, high = (np.bincount(ends, weights, self.items) for ends in (self.low, self.high))
        return np.asarray(low + high, dtype=np.float64)

    def differences(self, theta: Vector) -> Vector:
        """Return strength of the lower less that of the higher."""
        gaps: Vector = theta[self.low] - theta[self.high]
        return gaps

    def adjoint(self, residuals: Vector) -> Vector:
        """Return for each item what its pairs pull it by."""
        low, high = (np.bincount(ends, residuals, self.items) for ends in (self.low, self.high))
        return np.asarray(low - high, dtype=np.float64)

    def curvature(self, weights: Vector) -> Curvature:
        """Return the Laplacian of the graph with these weights, as a product, and its diagonal.

        No comparison decides a number added to all strengths. That direction is given a curvature of its own, which
        changes no solution, as no right side has a part along it but for rounding, which would add up there.
        """
        from scipy import sparse

        upper = sparse.csr_matrix((weights, self._columns, self._starts), shape=(self.items, self.items))
        lower, diagonal = upper.T, self.sums(weights)
        free = float(diagonal.mean())

        def product(vector: Vector) -> Vector:
            found: Vector = diagonal * vector - upper @ vector - lower @ vector + free * vector.mean()
            return found

        return product, diagonal + free / self.items


def _check_finite(pairs: _Pairs, wins: Vector) -> None:
    """Refuse comparisons that leave a strength undecided or infinite."""
    from scipy import sparse
    from scipy.sparse import csgraph

    compared = np.bincount(pairs.low, minlength=pairs.items) + np.bincount(pairs.high, minlength=pairs.items)
    alone = np.flatnonzero(compared == 0)
    remedy = "give more comparisons, leave them out, or set ridge > 0, such as ridge=0.1"
    if len(alone):
        raise ValueError(f"{_NAME}: every item needs a comparison, got none for {_some(alone)}; {remedy}.")
    low_won, high_won = wins > 0, wins < pairs.counts
    winners = np.concatenate([pairs.low[low_won], pairs.high[high_won]])
    losers = np.concatenate([pairs.high[low_won], pairs.low[high_won]])
    edges = sparse.csr_matrix((np.ones(len(winners), dtype=np.int8), (winners, losers)), shape=(pairs.items,) * 2)
    groups, label = csgraph.connected_components(edges, connection="strong")
    if groups == 1:
        return
    separate, apart = csgraph.connected_components(edges, connection="weak")
    if separate > 1:
        smallest = np.flatnonzero(apart == np.argmin(np.bincount(apart)))
        raise ValueError(
            f"{_NAME}: all items must be joined by comparisons, got {separate} groups never compared with each other; "
            f"one is {_some(smallest)}; {remedy}."
        )
    # A group that beats others and is beaten by none outside it, or the other way round.
    across = label[winners] != label[losers]
    unbeaten = np.setdiff1d(np.arange(groups), label[losers[across]])
    winless = np.setdiff1d(np.arange(groups), label[winners[across]])
    sizes = np.bincount(label)
    group = min([*unbeaten, *winless], key=lambda one: sizes[one])
    verb = "win" if group in unbeaten else "lose"
    members = np.flatnonzero(label == group)
    always = f"{verb}s" if len(members) == 1 else verb
    raise ValueError(
        f"{_NAME}: no strengths fit, because {_some(members)} {always} every comparison with the others; {remedy}."
    )


def _some(members: NDArray[np.int64]) -> str:
    """Return items as text, the first few of many."""
    named = ", ".join(map(str, members[:5].tolist()))
    more = f" and {len(members) - 5} more" if len(members) > 5 else ""
    return f"item{'' if len(members) == 1 else 's'} {named}{more}"


def _items(values: ArrayLike, name: str) -> NDArray[np.int64]:
    found = np.asarray(values)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu") or (found.size and found.min() < 0):
        raise ValueError(f"{_NAME}: {name} must be a list of items by number, integers >= 0, got {values!r:.100}.")
    return found.astype(np.int64)


def _numbers(values: ArrayLike, name: str, length: int) -> Vector:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (length,):
        raise ValueError(f"{_NAME}: {name} must hold a number for each of {length} comparisons, got {found.shape}.")
    return found
