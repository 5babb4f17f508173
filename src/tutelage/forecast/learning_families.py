"""The usual families of learning curves (error against training-set size), fitted by variable projection."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from tutelage.errors import UnknownPart, did_you_mean
from tutelage.forecast._learning_shapes import FAMILIES, LAST, Family, Floats
from tutelage.forecast._projection import least_squares

#: How many times the first size a target is looked for.
_FARTHEST = 1e15


@dataclass(frozen=True, eq=False)
class FamilyFit:
    """A family fitted to a learning curve.

    Args:
        family: Name of the family.
        formula: Error at size ``n``.
        params: Parameters of the formula, for the error: ``top - score``, or the loss itself.
        asymptote: Score (or loss) it tends to.
        rmse: Root of the mean squared residual, in the unit of the scores.
        at_bound: Whether a parameter of the shape ended at the end of its range: these points do not determine it.
        first: Smallest size it was fitted to.
        top: Best score there can be; ``None`` for losses.
        errors: The curve itself: errors at sizes, shape ``(points,)``.
    """

    family: str
    formula: str
    params: Mapping[str, float]
    asymptote: float
    rmse: float
    at_bound: bool
    first: float = field(repr=False)
    top: float | None = field(repr=False)
    errors: Callable[[Floats], Floats] = field(repr=False)

    def predict(self, sizes: ArrayLike) -> Floats:
        """Return the score (or loss) at training sizes, shape as given; scores between 0 and ``top``, losses >= 0."""
        at = np.asarray(sizes, dtype=np.float64)
        return as_scores(self.errors(at.ravel()), self.top).reshape(at.shape)

    def size_for(self, target: float) -> float:
        """Return the smallest size, from the first observed on, at which ``target`` is reached; ``inf`` if never."""
        wished = target if self.top is None else self.top - target

        def excess(log_ratio: float) -> float:
            return float(self.errors(np.array([self.first * math.exp(log_ratio)]))[0]) - wished

        grid = np.linspace(0.0, math.log(_FARTHEST), 400)
        reached = np.flatnonzero(self.errors(self.first * np.exp(grid)) <= wished)
        if not len(reached):
            return math.inf
        place = int(reached[0])
        if place == 0:
            return self.first
        return self.first * math.exp(float(optimize.brentq(excess, grid[place - 1], grid[place], xtol=1e-13)))


def fit_families(
    sizes: ArrayLike,
    scores: ArrayLike,
    families: Iterable[str] | None = None,
    *,
    lower_is_better: bool = False,
    top: float = 1.0,
) -> dict[str, FamilyFit]:
    """Fit the usual families of learning curves by least squares: score (or loss) against training-set size.

    **Formula**: the error ``e = top - score`` (or the loss) at ``n`` training examples is ``c + a g(n)``; families:
    last-value ``a``; pow2 ``a n^-b``; pow3 ``c + a n^-b``; pow4 ``c + a (n + d)^-b``; log2 ``c - a log n``;
    ilog2 ``c + a / log n``; exp2 ``a exp(-b n)``; exp3 ``c + a exp(-b n)``; vap3 ``exp(a + b / n + c log n)``;
    log-power3 ``a / (1 + (n / e^b)^c)``; mmf4 ``(a b + c n^d) / (b + n^d)``; wbl4 ``c + b exp(-a n^d)``.
    Errors fall (``a >= 0`` above) and do not fall below zero (asymptote ``c >= 0``).

    The coefficients ``a, c`` are solved for exactly at every value of the one or two parameters inside ``g``
    (variable projection); these are searched from a grid, the best five starts by damped Gauss-Newton steps.

    Args:
        sizes: Training examples (or words, tokens), shape ``(points,)``, rising, > 0.
        scores: Score of a model trained on so many, shape ``(points,)``, in ``[0, top]``; losses >= 0.
        families: Names; all if not given. ``ilog2`` is left out where a size is below 2.
        lower_is_better: The scores are errors or losses.
        top: Best score there can be: 1 for shares, 100 for percent. Not used for losses.

    Returns:
        By name, in the order of :data:`FAMILIES`; all twelve take about 40 ms.

    Raises:
        UnknownPart: No such family.
        ValueError: Fewer points than a family has parameters, sizes that do not rise, scores out of range.

    Example:
        >>> sizes = [5000 * i for i in range(1, 9)]
        >>> fits = fit_families(sizes, [0.97 - 4 * n**-0.45 for n in sizes], ["pow3", "exp3"])
        >>> {name: round(value, 4) for name, value in fits["pow3"].params.items()}
        {'a': 4.0, 'b': 0.45, 'c': 0.03}
        >>> round(fits["pow3"].size_for(0.95)), fits["exp3"].size_for(0.95)
        (129837, inf)

    Use with:
        Accuracies of scikit-learn's ``learning_curve``, or of any model trained on growing portions of its data.

    Helps / does not help:
        Four-parameter families follow the known part best and are the better of the single ones in extrapolation;
        no family fits all curves, and none foresees a curve that turns (``benchmarks/learning_curves.py`` measures
        it). Fitted alone, a family says nothing about how far off it may be: :func:`learning_posterior` does.

    Relations:
        :func:`learning_posterior` weighs all families and gives intervals; :class:`LearningCurve` follows one power
        law as the data grow and says from when on to believe it.

    Source:
        Viering & Loog, The shape of learning curves: a review, arXiv 2103.10948, table 1; formulas compared with the
        fitting code of the Learning Curve Database (Mohr et al., ECML 2022; fmohr/lcdb). Theirs are for accuracies
        with free signs; ours are the same for the error, with the signs above. exp4 is wbl4 and expd3 is exp3 in other
        letters; expp3 and lin2, which fit worst there, are left out. pow4 takes shifts ``d >= 0`` only.
    """
    names = list(FAMILIES) if families is None else list(families)
    unknown = next((name for name in names if name not in FAMILIES), None)
    if unknown is not None:
        raise UnknownPart(
            f'No family of learning curves "{unknown}".{did_you_mean(unknown, FAMILIES)} All: {", ".join(FAMILIES)}.'
        )
    n, errors = checked(sizes, scores, lower_is_better=lower_is_better, top=top, fewest=1, who="fit_families")
    if families is None:
        names = usable(n)
    many = max(FAMILIES[name].parameters for name in names)
    if len(n) < many:
        raise ValueError(
            f"fit_families: {next(name for name in names if FAMILIES[name].parameters == many)} has {many} parameters "
            f"and needs as many sizes, got {len(n)}; measure more, or choose a smaller family."
        )
    if "ilog2" in names and n[0] < 2:
        raise ValueError(f"fit_families: ilog2 needs sizes >= 2, where log n > 0, got {n[0]:g}; leave it out.")
    return {name: _fit(FAMILIES[name], n, errors, None if lower_is_better else top) for name in names}


def usable(sizes: Floats) -> list[str]:
    """Return the families that can be fitted to these sizes: ``1 / log n`` has no value at 1."""
    return [name for name in FAMILIES if name != "ilog2" or sizes[0] >= 2]


def checked(
    sizes: ArrayLike, scores: ArrayLike, *, lower_is_better: bool, top: float, fewest: int, who: str
) -> tuple[Floats, Floats]:
    """Return sizes and errors as arrays.

    Raises:
        ValueError: Names ``who``, the argument and the place.
    """
    n, values = np.asarray(sizes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if n.ndim != 1 or n.shape != values.shape:
        raise ValueError(
            f"{who}: sizes and scores must be two series of one length, got shapes {n.shape} and {values.shape}."
        )
    if len(n) < fewest:
        raise ValueError(f"{who}: sizes must hold at least {fewest}, got {len(n)}; measure more.")
    if not (math.isfinite(top) and top > 0):
        raise ValueError(f"{who}: top must be > 0, 1 for shares and 100 for percent, got {top}.")
    unsorted = np.flatnonzero(~(np.isfinite(n) & (np.diff(n, prepend=0.0) > 0)))
    if len(unsorted):
        raise ValueError(
            f"{who}: sizes must rise and be > 0, got {n[unsorted[0]]:g} at place {unsorted[0]}; sort them, one score "
            "each."
        )
    high = math.inf if lower_is_better else top
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & (values <= high)))
    if len(wrong):
        allowed = "losses must be >= 0" if lower_is_better else f"scores must be in [0, {top:g}]"
        remedy = "" if lower_is_better or top != 1 or values[wrong[0]] > 100 else "; are they percent?"
        raise ValueError(f"{who}: {allowed}, got {values[wrong[0]]:g} at size {n[wrong[0]]:g}{remedy}.")
    return n, values if lower_is_better else top - values


def as_scores(errors: Floats, top: float | None) -> Floats:
    """Return scores for errors, losses where ``top`` is ``None``; what lies outside the range is set to its end."""
    return np.maximum(errors, 0.0) if top is None else np.clip(top - errors, 0.0, top)


def _fit(family: Family, n: Floats, errors: Floats, top: float | None) -> FamilyFit:
    first, span = float(n[0]), float(n[-1] / n[0])
    bounds = family.bounds(span)
    if family.name == LAST:
        a, c, theta = 0.0, float(errors[-1]), np.zeros(0)
    else:
        a, c, theta = least_squares(
            errors, lambda nodes: family.shape(nodes, n / first, first), bounds, offset=family.offset
        )
    ends: Floats = np.array(bounds, dtype=np.float64).reshape(-1, 2)

    def curve(at: Floats) -> Floats:
        return np.asarray(c + a * family.shape(theta[None], at / first, first)[0], dtype=np.float64)

    limit = c if family.offset != "none" and math.isfinite(family.limit) else a * family.limit if a > 0 else c
    return FamilyFit(
        family=family.name,
        formula=family.formula,
        params=family.names(a, c, theta, first),
        asymptote=float(as_scores(np.array([limit]), top)[0]),
        rmse=float(np.sqrt(np.mean((errors - curve(n)) ** 2))),
        at_bound=bool(a > 0 and (np.abs(theta[:, None] - ends) < 1e-6 * (ends[:, 1:] - ends[:, :1])).any()),
        first=first,
        top=top,
        errors=curve,
    )
