"""The posterior of a learning curve: families and their parameters, a random walk about them, and noise.

All but the shape parameters and the ratio of noise to walk is integrated in closed form; those two lie on a grid. The
posterior is then drawn from at the points of a lattice, so that it is the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, special

from tutelage.forecast._learning_shapes import FAMILIES, LAST, Family, Floats, grid

Indices = NDArray[np.int64]

#: Nodes over the shape parameters, by their number.
_NODES = {0: (), 1: (24,), 2: (14, 12)}
#: Variance of the noise at the last size to that of the walk over one e-fold of sizes, and the power of the size with
#: which the noise falls: a fixed test set alone gives 0, training sets drawn anew 1/2.
_NOISES = tuple((ratio, power) for ratio in (0.01, 0.1, 1.0, 10.0) for power in (0.0, 0.5))
#: Prior of the walk: the variance over one e-fold is inverse gamma with this shape and about this root, as a share of
#: the last errors. Both were set on one half of the data sets of the Learning Curve Database, by their interval score.
_WALK_SHAPE, _WALK = 3.0, 0.03
#: Errors below this share of the largest are not told apart when the scale is formed.
_SMALLEST = 0.01
_DRAWS = 2048
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws from the posterior, with weights.

    Args:
        families: Families that were weighed.
        ratios: Observed sizes to the first, shape ``(points,)``.
        errors: Observed errors over ``scale``.
        first: First size.
        scale: Unit of the errors here.
        family: Place of each draw's family, shape ``(draws,)``.
        theta: Its shape parameters, shape ``(draws, 2)``; those a family lacks are 0.
        a: Coefficient of its shape.
        c: Its offset.
        deviation: Standard deviation of the walk over one e-fold of sizes.
        noise: Place of its noise in the table of noises.
        outcome: Where in its distribution the outcome lies, in (0, 1).
        weight: Weights, which add up to 1.
    """

    families: tuple[Family, ...]
    ratios: Floats
    errors: Floats
    first: float
    scale: float
    family: Indices
    theta: Floats
    a: Floats
    c: Floats
    deviation: Floats
    noise: Indices
    outcome: Floats
    weight: Floats

    def shares(self) -> dict[str, float]:
        """Return the posterior probability of each family."""
        return {
            family.name: float(self.weight[self.family == place].sum()) for place, family in enumerate(self.families)
        }

    def at(self, sizes: Floats, *, measured: bool) -> Floats:
        """Return each draw's error at sizes >= the first, shape ``(draws, sizes)``, with noise where ``measured``."""
        x = sizes / self.first
        trend, known = self._trend(x), self._trend(self.ratios)
        values = np.empty_like(trend)
        for place, (ratio, power) in enumerate(_NOISES):
            mine = np.flatnonzero(self.noise == place)
            if not len(mine):
                continue
            # What the walk was so far, given how far the observed points lie from the trend.
            common = np.minimum.outer(np.log(x), np.log(self.ratios))
            gain = np.linalg.solve(_covariance(self.ratios, ratio, power), common.T)
            variance = np.maximum(np.log(x) - np.einsum("si,is->s", common, gain), 0.0)
            if measured:
                variance = variance + ratio * _fall(x, self.ratios[-1], power)
            mean = trend[mine] + (self.errors - known[mine]) @ gain
            spread = self.deviation[mine, None] * np.sqrt(variance)
            values[mine] = mean + spread * special.ndtri(self.outcome[mine, None])
        return np.maximum(values, 0.0) * self.scale

    def _trend(self, x: Floats) -> Floats:
        found = np.empty((len(self.a), len(x)))
        for place, family in enumerate(self.families):
            mine = self.family == place
            theta = self.theta[mine, : len(family.bounds(2.0))]
            found[mine] = self.c[mine, None] + self.a[mine, None] * family.shape(theta, x, self.first)
        return found


@dataclass(frozen=True, eq=False)
class _Block:
    """The posterior given a family and a noise, over the nodes of the family's grid."""

    family: int
    noise: int
    theta: Floats
    mean: Floats
    covariance: Floats
    rate: Floats
    log_weight: Floats


def draw(n: Floats, errors: Floats, families: Sequence[str]) -> Draws:
    """Return draws from the posterior of the curve through errors at sizes ``n``, both of shape ``(points,)``."""
    chosen = tuple(FAMILIES[name] for name in families)
    scale = max(float(np.mean(errors[-3:])), _SMALLEST * float(errors.max()), 1e-9)
    x, y, first = n / n[0], errors / scale, float(n[0])
    shape = _WALK_SHAPE + len(n) / 2
    blocks = _blocks(x, y, first, chosen, shape)
    return _drawn(x, y, first, scale, chosen, shape, blocks)


def _blocks(x: Floats, y: Floats, first: float, chosen: Sequence[Family], shape: float) -> list[_Block]:
    start = _WALK_SHAPE * _WALK**2
    # The coefficients' prior is normal about 0 with the size of the last errors as deviation, in units of the walk.
    precision = _WALK**2
    span = max(float(x[-1]), 1.0001)
    grids = [grid(family.bounds(span), _NODES[len(family.bounds(span))]) for family in chosen]
    values = [family.shape(theta, x, first) for family, theta in zip(chosen, grids, strict=True)]
    blocks = []
    for noise, (ratio, power) in enumerate(_NOISES):
        factor = np.linalg.cholesky(_covariance(x, ratio, power))
        whole = np.concatenate([y[None], np.ones((1, len(x))), *values])
        whitened = linalg.solve_triangular(factor, whole.T, lower=True).T
        z, one, rest = whitened[0], whitened[1], np.split(whitened[2:], np.cumsum([len(v) for v in values])[:-1])
        determinant = float(np.log(np.diag(factor)).sum())
        for place, (family, theta, shapes) in enumerate(zip(chosen, grids, rest, strict=True)):
            gram = np.empty((len(theta), 2, 2))
            gram[:, 0, 0] = np.einsum("gi,gi->g", shapes, shapes) + precision
            gram[:, 1, 1] = one @ one + precision
            gram[:, 0, 1] = gram[:, 1, 0] = shapes @ one
            side = np.stack([shapes @ z, np.full(len(theta), one @ z)], axis=1)
            # A coefficient that the family lacks: held at its prior mean, 0, as if it had been known before.
            for lacking in ([0] if family.name == LAST else []) + ([1] if family.offset == "none" else []):
                gram[:, lacking, :] = gram[:, :, lacking] = 0.0
                gram[:, lacking, lacking] = precision
                side[:, lacking] = 0.0
            covariance = np.linalg.inv(gram)
            mean = np.einsum("gab,gb->ga", covariance, side)
            rate = start + 0.5 * np.maximum(z @ z - np.einsum("ga,ga->g", mean, side), 1e-12)
            evidence = math.log(precision) - 0.5 * np.linalg.slogdet(gram)[1] - determinant - shape * np.log(rate)
            if family.name != LAST:
                # Errors fall: only the part of the posterior with a >= 0 counts.
                ratio_of_a = mean[:, 0] / np.sqrt(covariance[:, 0, 0] * rate / shape)
                evidence = evidence + np.log(special.stdtr(2 * shape, ratio_of_a) + _TINY)
            weights = np.asarray(evidence - math.log(len(theta)), dtype=np.float64)
            blocks.append(_Block(place, noise, theta, mean, np.asarray(covariance, dtype=np.float64), rate, weights))
    return blocks


def _drawn(
    x: Floats, y: Floats, first: float, scale: float, chosen: tuple[Family, ...], shape: float, blocks: Sequence[_Block]
) -> Draws:
    weights = np.concatenate([block.log_weight for block in blocks])
    whole = np.cumsum(np.exp(weights - weights.max()))
    uniform = _lattice(_DRAWS, 5)
    node = np.minimum(np.searchsorted(whole, uniform[:, 0] * whole[-1]), len(whole) - 1)
    ends = np.cumsum([len(block.log_weight) for block in blocks])
    place = np.searchsorted(ends, node, side="right")
    family, noise = (
        np.array([getattr(block, name) for block in blocks])[place].astype(np.int64) for name in ("family", "noise")
    )
    theta, a, c = np.zeros((_DRAWS, 2)), np.zeros(_DRAWS), np.zeros(_DRAWS)
    deviation, log_weight = np.zeros(_DRAWS), np.zeros(_DRAWS)
    for index in np.unique(place):
        block, mine = blocks[index], np.flatnonzero(place == index)
        kind, g = chosen[block.family], node[mine] - (ends[index] - len(block.log_weight))
        theta[mine, : block.theta.shape[1]] = block.theta[g]
        mean, covariance, rate, degrees = block.mean[g], block.covariance[g], block.rate[g], shape
        if kind.name != LAST:
            # The coefficient by its own Student distribution above 0, then the variance given it.
            width = np.sqrt(covariance[:, 0, 0] * rate / shape)
            above = special.stdtr(2 * shape, mean[:, 0] / width)
            a[mine] = np.maximum(
                mean[:, 0] - width * special.stdtrit(2 * shape, np.maximum(uniform[mine, 1] * above, _TINY)), 0.0
            )
            rate = rate + 0.5 * (a[mine] - mean[:, 0]) ** 2 / covariance[:, 0, 0]
            degrees = shape + 0.5
        deviation[mine] = np.sqrt(rate / special.gammaincinv(degrees, uniform[mine, 2]))
        if kind.offset == "none":
            continue
        along = covariance[:, 0, 1] / covariance[:, 0, 0]
        middle = mean[:, 1] + along * (a[mine] - mean[:, 0]) if kind.name != LAST else mean[:, 1]
        width = deviation[mine] * np.sqrt(np.maximum(covariance[:, 1, 1] - along * covariance[:, 0, 1], _TINY))
        if kind.offset == "asymptote":
            # Errors end at 0 or above: what is cut off here lowers the draw's weight.
            log_weight[mine] = special.log_ndtr(middle / width)
            c[mine] = np.maximum(
                middle - width * special.ndtri(np.maximum(uniform[mine, 3] * np.exp(log_weight[mine]), _TINY)), 0.0
            )
        else:
            c[mine] = middle + width * special.ndtri(uniform[mine, 3])
    weight = np.exp(log_weight - log_weight.max())
    return Draws(
        chosen, x, y, first, scale, family, theta, a, c, deviation, noise, uniform[:, 4], weight / weight.sum()
    )


def quantiles(values: Floats, weight: Floats, shares: Sequence[float]) -> Floats:
    """Return weighted quantiles of each column of values ``(draws, columns)``, shape ``(shares, columns)``."""
    order = np.argsort(values, axis=0, kind="stable")
    ranked, weights = np.take_along_axis(values, order, axis=0), weight[order]
    reached = np.cumsum(weights, axis=0) - 0.5 * weights
    columns = [np.interp(shares, reached[:, j], ranked[:, j]) for j in range(values.shape[1])]
    return np.array(columns).reshape(-1, len(shares)).T


def _covariance(x: Floats, ratio: float, power: float) -> Floats:
    """Return the covariance of walk and noise at sizes ``x`` times the first, over the walk's variance an e-fold."""
    walk = np.minimum.outer(np.log(x), np.log(x))
    return np.asarray(walk + np.diag(ratio * _fall(x, x[-1], power)), dtype=np.float64)


def _fall(x: Floats, last: float, power: float) -> Floats:
    return np.asarray((x / last) ** (-2 * power), dtype=np.float64)


def _lattice(many: int, dimensions: int) -> Floats:
    """Return points that fill the unit cube evenly: multiples of the powers of a generalised golden ratio."""
    golden = 2.0
    for _ in range(64):
        golden = (1 + golden) ** (1 / (dimensions + 1))
    steps = golden ** -np.arange(1.0, dimensions + 1)
    return np.asarray((0.5 + np.outer(np.arange(1, many + 1), steps)) % 1.0, dtype=np.float64)
