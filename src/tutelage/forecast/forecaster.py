"""From the curve so far to the curve to come: a law, what back-tests say about it, and an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from tutelage.forecast._interval import drift_and_scatter, half_width
from tutelage.forecast.back_testing import BackTest, back_tests, mean_error
from tutelage.forecast.curve import Floats, LossCurve, Steps, check_rates
from tutelage.forecast.law import CurveFitter, LawFit
from tutelage.registry import build_named

#: What ``"auto"`` chooses from, the most detailed first.
AUTO = ("multi-power", "annealing", "power")
#: Those of them that know what a falling rate does, each in its own way.
_RATE_LAWS = ("multi-power", "annealing")
#: A law of fewer parameters, or one that ignores the rates, is taken only where its error is below this share.
_CLEARLY = 0.8
_FORECAST_POINTS = 200


@dataclass(frozen=True)
class CurveForecast:
    """A forecast of a loss curve.

    Args:
        steps: Updates made, shape ``(points,)``.
        mean: Loss expected after them, in nats.
        low: Lower end of the interval.
        high: Upper end.
        level: Share of logged losses that the interval should contain.
        fit: The fitted law.
        drift: Relative error an e-fold of updates beyond the observed ones that the back-tests show, and that was taken
            out of ``mean``; 0 where nothing was.
        back_tests: The back-tests.
        scores: By law that was tried, the mean absolute error of its back-tests, in percent.
        notes: Remarks a reader must see.
    """

    steps: Steps
    mean: Floats
    low: Floats
    high: Floats
    level: float
    fit: LawFit
    drift: float
    back_tests: tuple[BackTest, ...]
    scores: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def forecast(
    curves: Sequence[LossCurve] | LossCurve,
    *,
    law: str = "auto",
    rates: ArrayLike | None = None,
    warmup: int | None = None,
    steps: ArrayLike | None = None,
    level: float = 0.8,
    correct: bool | None = None,
) -> CurveForecast:
    """Forecast a loss curve: that of a run which is under way, or of one under another schedule.

    **Formula**: a law gives ``L(s)``. It is fitted again to the first 50, 65 and 80 % of what was observed, and its log
    errors ``e`` on the rest, in groups ``h = log(s / cut)`` updates ahead, say how far it drifts and how widely it
    scatters::

        b        = sum e h / sum h^2
        drift    = b b^2 / (b^2 + v),    v the variance of b, from its scatter over the three and from the noise
        mean     = L(s) exp(-drift h),   h = max(0, log(s / last observed update))
        half^2   = noise^2 + q^2 (scatter^2 h^2 + (u a)^2 + (2 r)^2)
        interval = mean exp(-+ half)

    ``noise`` is the quantile ``level`` of the distances of logged losses from the law, in logarithms. ``scatter^2``
    is the mean square of ``(e - drift h) / h`` without the noise, with a back-test of 0.3 % added, or what goes
    beyond 0.3 % times ``(t / q)^2`` (``t``: Student's, 2 degrees of freedom) if that is more, and a quarter of
    ``drift^2``; 12 % where nothing can be tested. ``a`` is the log ratio of the losses with and without the
    annealing that no curve has shown, ``u`` = 10 % where other annealing was seen and 20 % where none was. ``r`` is
    the log ratio of what the multi-power and the annealing law foresee, where one of them is chosen or was to
    choose from. ``q`` is the normal quantile of ``level``.

    Args:
        curves: What was observed: one run, or several of the same model, data, batch size and optimizer.
        law: Spec of a law, such as ``"annealing"``, ``"annealing:lam=free"``, ``"multi-power"``, ``"power"``,
            ``"last-value"``; ``"auto"`` takes the one that does best in the back-tests.
        rates: Rate of every update of the run to forecast, shape ``(updates,)``; that of the first curve if not given.
        warmup: Its updates of warm-up; those of the first curve if neither is given, else 0.
        steps: Updates to forecast, 1 to ``len(rates)``; those after the observed ones if ``rates`` are the first
            curve's, at most 200 of them, else 200 over the run.
        level: Share of logged losses that the interval should contain, in (0, 1).
        correct: Whether the drift is taken out; if not given, for ``"auto"`` on one run that is under way, which
            is what it was tested on.

    Raises:
        ConfigError: An unknown option of a law, or a value it does not take.
        UnknownPart: No such law.
        ValueError: Too few points, or an argument out of range.

    Example:
        >>> import numpy as np
        >>> from tutelage.forecast import AnnealingLaw
        >>> rates = np.full(2000, 1e-3)
        >>> truth = AnnealingLaw(L0=2.0, A=0.5, alpha=0.5, C=0.05, lam=0.99).predict(rates)
        >>> noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(50))
        >>> seen = np.arange(20, 1001, 20)[:50]
        >>> curve = LossCurve.of(steps=seen, losses=truth[seen - 1] * noise[: len(seen)], rates=rates)
        >>> found = forecast(curve, law="annealing", steps=[2000])
        >>> bool(found.low[0] < truth[-1] < found.high[0])
        True

    Use with:
        ``tutelage forecast``; the curve of any trainer.

    Helps / does not help:
        The tables of back-tests in the documentation say how far off it is. Nothing here foresees a divergence, a
        change of data, or an optimizer that is changed on the way.

    Relations:
        :class:`AnnealingLaw`, :class:`MultiPowerLaw`, :class:`StepsPowerLaw`; :func:`exp_forecast` for a short series
        at one rate.

    Source:
        The laws' own papers; drift and interval are ours.
    """
    observed = [curves] if isinstance(curves, LossCurve) else list(curves)
    if not 0 < level < 1:
        raise ValueError(f"forecast: level must be in (0, 1), got {level}.")
    if not observed:
        raise ValueError("forecast: curves must hold at least one curve.")
    planned, held, at = _plan(observed, rates, warmup, steps)
    if correct is None:
        correct = law == "auto" and rates is None and len(observed) == 1
    from_spec("power" if law == "auto" else law)  # a misspelt law is refused before anything is said about the curve
    still = not _falls(observed)
    if still:
        law = "last-value"
    fits = _fit_all(observed) if law == "auto" else {law: from_spec(law).fit(observed)}
    trials = {spec: back_tests(observed, from_spec(spec)) for spec in fits}
    scores = {spec: mean_error(tests) for spec, tests in trials.items() if tests}
    chosen = _choose(fits, scores)
    fit = fits[chosen]
    notes = list(fit.notes)
    if still:
        notes.append("The loss does not fall; laws of learning do not apply, and the last value is the forecast.")
    tests = trials[chosen]
    if not tests:
        notes.append("Too few points for a back-test; the interval rests on what is usual.")
    last = max(int(curve.steps[-1]) for curve in observed)
    drift, scatter = drift_and_scatter(tests, fit, observed, level)
    if still or not correct:
        drift, scatter = 0.0, math.hypot(drift, scatter)
    horizon = np.maximum(0.0, np.log(at / last))
    mean = fit.predict(planned, at, warmup=held) * np.exp(-drift * horizon)
    rivals = [] if still else _rivals(fits, observed)
    half = half_width(fit, rivals, observed, planned, at, held, scatter=scatter, horizon=horizon, level=level)
    if at.max() > 5 * last:
        notes.append(f"The forecast goes {at.max() / last:.1f} times as far as what was observed; treat it as a guess.")
    return CurveForecast(
        steps=at,
        mean=mean,
        low=mean * np.exp(-half),
        high=mean * np.exp(half),
        level=level,
        fit=fit,
        drift=drift,
        back_tests=tuple(tests),
        scores=scores,
        notes=tuple(notes),
    )


def from_spec(spec: str) -> CurveFitter:
    """Return the part a spec such as ``annealing:lam=free`` names.

    Raises:
        UnknownPart: No such law; names the nearest.
        ConfigError: Every fault of the spec in one message.
    """
    part: CurveFitter = build_named("forecast", spec)
    return part


def _plan(
    curves: Sequence[LossCurve], rates: ArrayLike | None, warmup: int | None, steps: ArrayLike | None
) -> tuple[Floats, int, Steps]:
    """Return the rates of the run to forecast, its warm-up and the updates to forecast."""
    first = curves[0]
    planned = first.rates if rates is None else np.asarray(rates, dtype=np.float64)
    check_rates(planned, name="forecast")
    held = (first.warmup if rates is None else 0) if warmup is None else warmup
    if not 0 <= held < len(planned):
        raise ValueError(f"forecast: warmup must be 0 to {len(planned) - 1}, got {held}.")
    if steps is not None:
        at = np.atleast_1d(np.asarray(steps, dtype=np.int64))
        if not (at.size and at.min() >= 1 and at.max() <= len(planned)):
            raise ValueError(f"forecast: steps must be 1 to {len(planned)}, the number of rates, got {steps}.")
        return planned, held, at
    # The very first losses of a run are no matter of these laws.
    start = int(first.steps[-1]) + 1 if rates is None else max(held, len(planned) // 20) + 1
    start = min(start, len(planned))
    return planned, held, np.unique(np.linspace(start, len(planned), _FORECAST_POINTS).astype(np.int64))


def _falls(curves: Sequence[LossCurve]) -> bool:
    """Return whether the longest curve's last third lies below its first third."""
    longest = max(curves, key=lambda curve: int(curve.steps[-1]))
    third = max(1, len(longest.losses) // 3)
    first, last = longest.losses[:third], longest.losses[-third:]
    return len(longest.losses) < 3 or bool(np.median(last) < np.median(first) * (1 - 1e-9))


def _fit_all(curves: Sequence[LossCurve]) -> dict[str, LawFit]:
    """Return the fits of all laws of :data:`AUTO` that these curves have enough points for, in its order."""
    found, refused = {}, []
    for spec in AUTO:
        try:
            found[spec] = from_spec(spec).fit(curves)
        except ValueError as error:
            refused.append(error)
    if not found:
        raise refused[-1]
    return found


def _rivals(fits: Mapping[str, LawFit], curves: Sequence[LossCurve]) -> list[LawFit]:
    """Return the laws that know the rates; none where a law that ignores them was asked for."""
    if not any(fit.name in _RATE_LAWS for fit in fits.values()):
        return []
    found = []
    for spec in _RATE_LAWS:
        try:
            found.append(fits.get(spec) or from_spec(spec).fit(curves))
        except ValueError:
            continue  # too few points for it
    return found


def _choose(fits: Mapping[str, LawFit], scores: Mapping[str, float]) -> str:
    """Return the first law, unless the back-tests of a later one are clearly better.

    Back-tests say nothing about an annealing that none of the curves has shown. There the multi-power law is left out:
    it has to assume its shape as well as its size.
    """
    specs = [spec for spec in fits if spec != "multi-power" or not fits[spec].assumed or len(fits) == 1]
    chosen = specs[0]
    for spec in specs[1:]:
        if scores.get(spec, math.inf) < _CLEARLY * scores.get(chosen, 0.0):
            chosen = spec
    return chosen
