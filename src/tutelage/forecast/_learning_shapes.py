"""The shapes of the usual learning curves: what falls as the training set grows, and with which parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Offset = Literal["asymptote", "free", "none"]
#: ``shape(theta, ratios, first)``: theta ``(nodes, shape parameters)``, ratios ``(points,)`` of size to first size.
Shape = Callable[[Floats, Floats, float], Floats]
#: Lower and upper end of each shape parameter, given the ratio of the last size to the first.
Bounds = Callable[[float], tuple[tuple[float, float], ...]]
#: Parameters as the formula names them, of coefficients (a, c), theta and first size.
Names = Callable[[float, float, Floats, float], dict[str, float]]

#: The family that expects nothing but the last score.
LAST = "last-value"


def grid(bounds: Sequence[tuple[float, float]], counts: Sequence[int]) -> Floats:
    """Return equally spaced nodes over a box, shape ``(nodes, parameters)``; one empty node where it has none."""
    axes = [np.linspace(low, high, many) for (low, high), many in zip(bounds, counts, strict=True)]
    if not axes:
        return np.zeros((1, 0))
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)


@dataclass(frozen=True)
class Family:
    """A family of curves: the error is ``c + a * shape(size)``, with few parameters inside the shape.

    Args:
        name: How specs and tables call it.
        formula: Error at size ``n``.
        shape: The falling part, 1 at the first size.
        bounds: Range of each shape parameter.
        names: Turns what was fitted into the parameters of ``formula``.
        offset: ``"free"`` where ``c`` may have any sign, ``"asymptote"`` where it is the error at infinity and >= 0,
            ``"none"`` where there is no ``c``.
        limit: Error at infinity where there is no asymptote ``c``.
    """

    name: str
    formula: str
    shape: Shape = field(repr=False)
    bounds: Bounds = field(repr=False)
    names: Names = field(repr=False)
    offset: Offset = "asymptote"
    limit: float = 0.0

    @property
    def parameters(self) -> int:
        """Number of parameters, those of the shape included."""
        return len(self.bounds(2.0)) + (self.name != LAST) + (self.offset != "none")


def _power(theta: Floats, x: Floats, first: float) -> Floats:
    return np.asarray(np.exp(-np.exp(theta[:, :1]) * np.log(x)), dtype=np.float64)


def _shifted_power(theta: Floats, x: Floats, first: float) -> Floats:
    shift = np.exp(theta[:, 1:])
    return np.asarray(np.exp(-np.exp(theta[:, :1]) * np.log((x + shift) / (1 + shift))), dtype=np.float64)


def _exponential(theta: Floats, x: Floats, first: float) -> Floats:
    return np.exp(-np.exp(theta[:, :1]) * (x - 1))


def _weibull(theta: Floats, x: Floats, first: float) -> Floats:
    return np.exp(-np.exp(theta[:, :1]) * (x ** np.exp(theta[:, 1:]) - 1))


def _logistic(theta: Floats, x: Floats, first: float) -> Floats:
    gain = np.exp(theta[:, :1])
    return (1 + gain) / (1 + gain * x ** np.exp(theta[:, 1:]))


def _vapour(theta: Floats, x: Floats, first: float) -> Floats:
    return np.exp(-np.exp(theta[:, :1]) * np.log(x) + theta[:, 1:] * (1 / x - 1))


def _log(theta: Floats, x: Floats, first: float) -> Floats:
    return np.tile(1 - np.log(x), (len(theta), 1))


def _inverse_log(theta: Floats, x: Floats, first: float) -> Floats:
    return np.tile(math.log(first) / (math.log(first) + np.log(x)), (len(theta), 1))


def _constant(theta: Floats, x: Floats, first: float) -> Floats:
    return np.zeros((len(theta), len(x)))


def _slope(low: float, high: float) -> tuple[float, float]:
    return (math.log(low), math.log(high))


def _half_saturation(a: float, c: float, theta: Floats, first: float) -> tuple[float, float, float]:
    """Return height at size 0, size^d at which half of it is lost, and d."""
    gain, d = math.exp(theta[0]), math.exp(theta[1])
    return a * (1 + gain), first**d / gain, d


def _mmf_names(a: float, c: float, theta: Floats, first: float) -> dict[str, float]:
    height, half, d = _half_saturation(a, c, theta, first)
    return {"a": c + height, "b": half, "c": c, "d": d}


def _log_power_names(a: float, c: float, theta: Floats, first: float) -> dict[str, float]:
    height, half, d = _half_saturation(a, c, theta, first)
    return {"a": height, "b": math.log(half) / d, "c": d}


def _weibull_names(a: float, c: float, theta: Floats, first: float) -> dict[str, float]:
    u, d = math.exp(theta[0]), math.exp(theta[1])
    return {"a": u / first**d, "b": a * math.exp(u), "c": c, "d": d}


def _shifted_names(a: float, c: float, theta: Floats, first: float) -> dict[str, float]:
    b, d = math.exp(theta[0]), math.exp(theta[1]) * first
    return {"a": a * (first + d) ** b, "b": b, "c": c, "d": d}


def _vapour_names(a: float, c: float, theta: Floats, first: float) -> dict[str, float]:
    slope, bend = math.exp(theta[0]), float(theta[1])
    level = math.log(a) if a > 0 else -math.inf
    return {"a": level - bend + slope * math.log(first), "b": bend * first, "c": -slope}


_EXPONENT = _slope(0.05, 3.0)
_LISTED = (
    Family(LAST, "a", _constant, lambda span: (), lambda a, c, theta, first: {"a": c}, offset="free"),
    Family(
        "pow2",
        "a n^-b",
        _power,
        lambda span: (_slope(0.01, 3.0),),
        lambda a, c, theta, first: {"a": a * first ** math.exp(theta[0]), "b": math.exp(theta[0])},
        offset="none",
    ),
    Family(
        "log2",
        "c - a log n",
        _log,
        lambda span: (),
        lambda a, c, theta, first: {"a": a, "c": c + a * (1 + math.log(first))},
        offset="free",
        limit=-math.inf,
    ),
    Family(
        "exp2",
        "a exp(-b n)",
        _exponential,
        lambda span: (_slope(0.01 / span, 5.0),),
        lambda a, c, theta, first: {"a": a * math.exp(math.exp(theta[0])), "b": math.exp(theta[0]) / first},
        offset="none",
    ),
    Family(
        "ilog2",
        "c + a / log n",
        _inverse_log,
        lambda span: (),
        lambda a, c, theta, first: {"a": a * math.log(first), "c": c},
    ),
    Family(
        "pow3",
        "c + a n^-b",
        _power,
        lambda span: (_EXPONENT,),
        lambda a, c, theta, first: {"a": a * first ** math.exp(theta[0]), "b": math.exp(theta[0]), "c": c},
    ),
    Family(
        "exp3",
        "c + a exp(-b n)",
        _exponential,
        lambda span: (_slope(0.05 / span, 5.0),),
        lambda a, c, theta, first: {"a": a * math.exp(math.exp(theta[0])), "b": math.exp(theta[0]) / first, "c": c},
    ),
    Family(
        "vap3",
        "exp(a + b / n + c log n)",
        _vapour,
        lambda span: (_slope(0.01, 3.0), (-5.0, 5.0)),
        _vapour_names,
        offset="none",
    ),
    Family(
        "log-power3",
        "a / (1 + (n / e^b)^c)",
        _logistic,
        lambda span: (_slope(1e-4 / span, 1e4), _slope(0.05, 4.0)),
        _log_power_names,
        offset="none",
    ),
    Family(
        "mmf4",
        "(a b + c n^d) / (b + n^d)",
        _logistic,
        lambda span: (_slope(1e-4 / span, 1e4), _slope(0.05, 4.0)),
        _mmf_names,
    ),
    Family(
        "wbl4",
        "c + b exp(-a n^d)",
        _weibull,
        lambda span: (_slope(1e-4 / span, 30.0), _slope(0.05, 3.0)),
        _weibull_names,
    ),
    Family(
        "pow4",
        "c + a (n + d)^-b",
        _shifted_power,
        lambda span: (_slope(0.05, 5.0), _slope(1e-3, 100.0 * span)),
        _shifted_names,
    ),
)
#: All families by name, those with fewer parameters first.
FAMILIES: Mapping[str, Family] = {family.name: family for family in _LISTED}
