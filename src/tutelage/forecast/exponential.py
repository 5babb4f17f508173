"""Exponential forecast: a short loss series, continued to a later step by one exponential with an asymptote."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import interpolate, ndimage, optimize

Smoothing = Literal["noise", "reference"]
_Series = NDArray[np.float64]

#: Fewest finite points a forecast is made from.
SHORTEST = 8
#: A loss beyond this counts as not finite: its square, which the fit needs, soon is not.
_LARGEST = 1e100
_DEVIATIONS = 4.0
#: Scales a median absolute deviation to the standard deviation of normal noise.
_NORMAL = 1.4826
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Forecast:
    """A fitted curve ``a * exp(b * t) + c`` and its value at the horizon.

    Args:
        value: Loss at the horizon.
        a: Loss still to be lost at ``t = 0``; negative for a rising series.
        b: Rate of decay per point, < 0.
        c: Asymptote.
        rmse: Root of the mean squared residual over the points that were fitted.
        n_dropped: Points left out: spikes and values that are not finite.
    """

    value: float
    a: float
    b: float
    c: float
    rmse: float
    n_dropped: int


def exp_forecast(
    y: ArrayLike,
    horizon: float,
    *,
    clean: bool = True,
    smoothing: Smoothing = "noise",
    frac: float = 0.03,
    rounds: int = 10,
) -> Forecast:
    """Forecast a loss far beyond a short series by an exponential that tends to an asymptote.

    Ranks candidates (rates, recipes) by where they would end, after a tenth of the updates or less.

    **Formula**: with ``t = 0, 1, ...`` the index in the series::

        L(t) = a exp(b t) + c,   b = -exp(beta) < 0

    ``beta`` minimises the residual of the linear least squares for ``(a, c)``: Nelder-Mead from ``beta = 0``,
    tolerance 1e-5. The forecast is ``L(horizon)``.

    Args:
        y: Losses at equal distances, shape ``(points,)``; those that are not finite are left out.
        horizon: Index to forecast, in points of the series, >= ``len(y)``.
        clean: Drop spikes first, by :func:`clean_spikes`.
        smoothing: See :func:`clean_spikes`. ``"noise"`` fits the kept points themselves, ``"reference"`` a degree-2
            spline through them at all indices, as the authors' program does.
        frac: See :func:`clean_spikes`.
        rounds: See :func:`clean_spikes`.

    Returns:
        The forecast with its parameters; ``value`` and ``rmse`` in the unit of ``y``.

    Raises:
        ValueError: Fewer than 8 finite points, more than one dimension, ``horizon`` below ``len(y)``, and what
            :func:`clean_spikes` refuses.

    Example:
        >>> import numpy as np
        >>> losses = 1 + 2 * np.exp(-0.02 * np.arange(100))
        >>> forecast = exp_forecast(losses, horizon=1000)
        >>> round(forecast.value, 5), round(forecast.b, 5)
        (1.0, -0.02)
        >>> round(exp_forecast(losses, horizon=1000, smoothing="reference").value, 5)
        0.85136

    Use with:
        :class:`tutelage.schedules.AutoLRS`, or any list of losses.

    Helps / does not help:
        Enough to order candidates that share a start. Losses that fall like a power law end above the asymptote it
        finds early, so the value itself is optimistic. An almost straight series leaves ``b`` near 0 and is continued
        as a line.

    Relations:
        :func:`clean_spikes` prepares the series.

    Source:
        AutoLRS, Jin et al., ICLR 2021, arXiv 2105.10762, the forecasting model of the method section, and the
        authors' code (YuchenJin/autolrs). The linear step is solved in centred form here, which stays exact where
        ``exp(b t)`` is almost constant.
    """
    series = _one_dimension(y, "exp_forecast")
    finite = int(_is_finite(series).sum())
    if finite < SHORTEST:
        raise ValueError(f"exp_forecast: y must hold at least {SHORTEST} finite points, got {finite} of {len(series)}.")
    if not horizon >= len(series):
        raise ValueError(f"exp_forecast: horizon must be >= len(y) ({len(series)}), got {horizon}.")
    if clean:
        kept = clean_spikes(series, frac=frac, rounds=rounds, smoothing=smoothing)
    else:
        kept = np.flatnonzero(_is_finite(series))
    t, values = kept.astype(np.float64), series[kept]
    if clean and smoothing == "reference":
        everywhere = np.arange(len(series), dtype=np.float64)
        t, values = everywhere, _spline(t, values, 2, None, everywhere)
    beta = float(
        optimize.fmin(lambda x: _residual(x[0], t, values), 0.0, xtol=_TOLERANCE, ftol=_TOLERANCE, disp=False)[0]
    )
    slope, centre = _linear_step(beta, t, values)
    mean, decay = float(values.mean()), float(np.exp(beta))
    return Forecast(
        value=mean + slope * (float(np.expm1(-decay * horizon)) - centre),
        a=slope,
        b=-decay,
        c=mean - slope * (1 + centre),
        rmse=float(np.sqrt(_residual(beta, t, values) / len(values))),
        n_dropped=len(series) - len(kept),
    )


def clean_spikes(
    y: ArrayLike,
    frac: float = 0.03,
    rounds: int = 10,
    degree: int = 2,
    scope: float = 0.5,
    smoothing: Smoothing = "noise",
) -> NDArray[np.int64]:
    """Find the points of a loss series that are no spikes.

    A single bad batch would bend a fitted curve; its late part, which decides a forecast, is left as it is.

    **Formula**: ``rounds`` times, fit a smoothing spline ``g`` of ``degree`` to the ``n`` kept points, rank
    ``|y - g|``, and drop the largest ``round(frac n)`` that lie in the first ``scope`` of the series.

    ``smoothing="noise"``: the sum of squared residuals of ``g`` is held at ``n sigma^2``, ``sigma`` a robust estimate
    from second differences, and ``g`` is fitted to the series with each point pulled to within ``4 sigma`` of the
    median of its five neighbours, so that it cannot follow a spike. Only points farther from ``g`` than four times
    ``max(sigma, 1.4826 median |y - g|)`` are dropped, at most ``max(1, round(frac n))`` a round; rounds end when there
    are none.

    ``smoothing="reference"``: the sum of squared residuals may reach ``n``, whatever the unit of the loss, so for
    losses around 1 ``g`` is one parabola; the largest are dropped whether they are spikes or not.

    Args:
        y: Losses, shape ``(points,)``; those that are not finite are always dropped.
        frac: Share of the points dropped in a round, in [0, 0.5]. 0.03 is the paper's; ``1 / n`` with ``rounds=1`` is
            its rule for validation losses.
        rounds: Rounds, >= 0.
        degree: Degree of the spline, 1 to 5.
        scope: Share of the series, from its start, in which points may be dropped, in [0, 1].
        smoothing: ``"noise"`` or ``"reference"``; on the noise-free series below the second is off by 15 %.

    Returns:
        Indices of the kept points, rising, shape ``(kept,)``.

    Raises:
        ValueError: An argument out of range, or a series of more than one dimension.

    Example:
        >>> import numpy as np
        >>> noise = np.random.default_rng(0).normal(scale=0.01, size=100)
        >>> losses = 1 + 2 * np.exp(-0.02 * np.arange(100)) + noise
        >>> losses[[10, 30]] += [5, 3]
        >>> sorted(set(range(100)) - set(clean_spikes(losses).tolist()))
        [10, 30]
        >>> len(clean_spikes(losses, smoothing="reference"))
        85

    Use with:
        :func:`exp_forecast`; any series with a smooth trend.

    Helps / does not help:
        Against single outliers, up to two in a row. Not against a jump the loss does not return from.

    Relations:
        A running median with a threshold (Hampel's filter), on the residuals of a spline.

    Source:
        AutoLRS, Jin et al., ICLR 2021, arXiv 2105.10762, and the authors' code (YuchenJin/autolrs), which is
        ``"reference"`` but for one slip: below 17 points, where ``round(frac n)`` is 0, it drops the whole first half.
        ``"noise"`` is our repair of the bias.
    """
    series = _one_dimension(y, "clean_spikes")
    _check("frac", "in [0, 0.5]", frac, 0 <= frac <= 0.5)
    _check("rounds", ">= 0", rounds, rounds >= 0)
    _check("degree", "1 to 5", degree, degree in range(1, 6))
    _check("scope", "in [0, 1]", scope, 0 <= scope <= 1)
    _check("smoothing", '"noise" or "reference"', smoothing, smoothing in ("noise", "reference"))
    kept = np.flatnonzero(_is_finite(series)).astype(np.int64)
    if not len(kept):
        return kept
    bound = int(kept[int((len(kept) - 1) * scope)])
    for _ in range(rounds):
        if len(kept) <= max(degree + 1, SHORTEST):
            break
        spikes = (_noise_spikes if smoothing == "noise" else _reference_spikes)(series, kept, degree, frac, bound)
        if not len(spikes):
            break
        kept = np.delete(kept, spikes)
    return kept


def _reference_spikes(
    series: _Series, kept: NDArray[np.int64], degree: int, frac: float, bound: int
) -> NDArray[np.int64]:
    t, values = kept.astype(np.float64), series[kept]
    distance = np.abs(values - _spline(t, values, degree, None, t))
    largest = np.argsort(distance, kind="stable").astype(np.int64)[len(kept) - round(len(kept) * frac) :]
    # The authors' code compares the place among the kept points, not the index in the series, with the bound.
    found: NDArray[np.int64] = largest[largest < bound]
    return found


def _noise_spikes(series: _Series, kept: NDArray[np.int64], degree: int, frac: float, bound: int) -> NDArray[np.int64]:
    t, values = kept.astype(np.float64), series[kept]
    sigma = _NORMAL * float(np.median(np.abs(np.diff(values, 2)))) / np.sqrt(6)
    middle = ndimage.median_filter(values, size=5, mode="nearest")
    tame = np.clip(values, middle - _DEVIATIONS * sigma, middle + _DEVIATIONS * sigma)
    distance = np.abs(values - _spline(t, tame, degree, len(t) * sigma**2, t))
    # Neither the spline's own lag behind a noise-free curve nor a rounding error is a spike.
    spread = max(_NORMAL * float(np.median(distance)), sigma)
    threshold = max(_DEVIATIONS * spread, 1e-9 * float(np.abs(values).max()))
    largest = np.argsort(distance, kind="stable").astype(np.int64)[len(kept) - max(1, round(len(kept) * frac)) :]
    found: NDArray[np.int64] = largest[(distance[largest] > threshold) & (kept[largest] < bound)]
    return found


def _spline(t: _Series, values: _Series, degree: int, smoothing: float | None, at: _Series) -> _Series:
    with warnings.catch_warnings():
        # FITPACK says when it stopped adding knots before the smoothing was reached exactly; near is enough here.
        warnings.simplefilter("ignore", UserWarning)
        result: _Series = interpolate.UnivariateSpline(t, values, k=degree, s=smoothing)(at)
    return result


def _linear_step(beta: float, t: _Series, values: _Series) -> tuple[float, float]:
    """Return the slope on ``exp(-e^beta t)`` and the mean of that column less 1."""
    with np.errstate(over="ignore", under="ignore"):
        column = np.expm1(-np.exp(beta) * t)
    centre = float(column.mean())
    centred = column - centre
    spread = float(centred @ centred)
    return (float(centred @ (values - values.mean())) / spread if spread > 0 else 0.0), centre


def _residual(beta: float, t: _Series, values: _Series) -> float:
    slope, centre = _linear_step(beta, t, values)
    with np.errstate(over="ignore", under="ignore"):
        gap = values - values.mean() - slope * (np.expm1(-np.exp(beta) * t) - centre)
    return float(gap @ gap)


def is_usable(loss: float) -> bool:
    """Return whether a loss is a number that a curve can be fitted to, not infinite and not beyond 1e100."""
    return abs(loss) < _LARGEST


def _is_finite(series: _Series) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        result: NDArray[np.bool_] = np.abs(series) < _LARGEST
    return result


def _one_dimension(y: ArrayLike, name: str) -> _Series:
    series = np.asarray(y, dtype=np.float64)
    if series.ndim != 1:
        raise ValueError(f"{name}: y must have one dimension, got shape {series.shape}.")
    return series


def _check(argument: str, bound: str, value: object, holds: bool) -> None:
    if not holds:
        raise ValueError(f"clean_spikes: {argument} must be {bound}, got {value}.")
