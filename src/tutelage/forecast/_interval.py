"""The interval of a forecast: noise, drift and scatter of the back-tests, annealing not seen, laws that disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from tutelage.forecast.annealing import USUAL_GAIN_SHARE
from tutelage.forecast.back_testing import BackTest
from tutelage.forecast.curve import Floats, LossCurve, Steps
from tutelage.forecast.law import LawFit, check_curves, log_residuals

#: What the errors of a back-test are worth: a cut more, off by 0.3 % an e-fold of updates, is added. The figure, like
#: the two shares below, was set on the published curves of benchmarks/forecast_backtests.py, so that nine in ten losses
#: of language models lie in the 80 % interval: these models differ less than those to come.
_USUAL_DRIFT, _USUAL_WEIGHT = 0.003, 1.0
#: The same where points are too few for a back-test, and laws accordingly wild: with it, four in five losses lie in the
#: 80 % interval of such forecasts of the published curves (83 % on 25M and the workloads below, 78 % on the others).
_UNTESTED_DRIFT = 0.12
#: Uncertainty of an annealing that was not seen, as a share of its effect: where other annealing was, and where none.
UNSEEN_KNOWN, UNSEEN_ASSUMED = 0.1, 0.2
#: Three back-tests of one curve overlap: they tell as much as two that do not.
_DEGREES = 2.0
#: How far apart laws end that know what a falling rate does is a scale of what they do not know. Twice that was set on
#: half of AlgoPerf's workloads (fastMRI, ImageNet ResNet, OGBG, WMT), and held on the others.
_DISAGREEMENT = 2.0
#: Scales a median absolute deviation to the standard deviation of normal noise.
_NORMAL = 1.4826


def half_width(
    fit: LawFit,
    rivals: Sequence[LawFit],
    curves: Sequence[LossCurve],
    planned: Floats,
    at: Steps,
    warmup: int,
    *,
    scatter: float,
    horizon: Floats,
    level: float,
) -> Floats:
    """Return half the width of the interval in log loss, by the formula of :func:`tutelage.forecast.forecast`."""
    share = UNSEEN_ASSUMED if fit.assumed else UNSEEN_KNOWN
    unseen = share * _unseen(fit, curves, planned, at, warmup)
    apart = _DISAGREEMENT * _apart(fit, rivals, planned, at, warmup)
    noise = float(np.quantile(residuals(fit, curves), level))
    half: Floats = np.sqrt(noise**2 + _normal(level) ** 2 * ((scatter * horizon) ** 2 + unseen**2 + apart**2))
    return half


def _normal(level: float) -> float:
    return math.sqrt(2) * float(special.erfinv(level))


def residuals(fit: LawFit, curves: Sequence[LossCurve]) -> Floats:
    """Return how far each log loss is from the law, less their median."""
    away = log_residuals(fit.law, check_curves(curves, "forecast", skip=0.1, fewest=1))
    return np.abs(away - np.median(away))


def drift_and_scatter(
    tests: Sequence[BackTest], fit: LawFit, curves: Sequence[LossCurve], level: float
) -> tuple[float, float]:
    """Return the drift that back-tests show and their scatter, both an e-fold of updates."""
    if not tests:
        return 0.0, _UNTESTED_DRIFT
    noise = _NORMAL * float(np.median(residuals(fit, curves)))
    horizon, error, points = (
        np.concatenate([getattr(test, name) for test in tests]) for name in ("horizon", "error", "points")
    )
    slope = float(error @ horizon) / float(horizon @ horizon)
    each = [float(test.error @ test.horizon) / float(test.horizon @ test.horizon) for test in tests]
    doubt = float(np.var(each, ddof=1)) / len(each) if len(each) > 1 else _USUAL_DRIFT**2
    doubt += noise**2 * float(np.sum(horizon**2 / points)) / float(horizon @ horizon) ** 2
    drift = slope * slope**2 / (slope**2 + doubt) if slope else 0.0
    left = np.maximum(0.0, (error - drift * horizon) ** 2 - noise**2 / points) / horizon**2
    seen, usual = float(left.mean()), _USUAL_DRIFT**2
    scatter = (len(tests) * seen + _USUAL_WEIGHT * usual) / (len(tests) + _USUAL_WEIGHT)
    student = float(special.stdtrit(_DEGREES, (1 + level) / 2))
    scatter = max(scatter, usual + (student / _normal(level)) ** 2 * (seen - usual))
    # Half of what was taken out is doubted: an error of the past need not go on.
    return drift, math.sqrt(scatter + (drift / 2) ** 2)


def _apart(fit: LawFit, rivals: Sequence[LawFit], planned: Floats, at: Steps, warmup: int) -> Floats:
    """Return how far, in log loss, the furthest rival is from the chosen law; 0 without rivals."""
    told = np.log(np.maximum(fit.predict(planned, at, warmup=warmup), 1e-9))
    apart: Floats = np.zeros_like(told)
    for rival in rivals:
        theirs = np.log(np.maximum(rival.predict(planned, at, warmup=warmup), 1e-9))
        apart = np.maximum(apart, np.abs(theirs - told))
    return apart


def _unseen(fit: LawFit, curves: Sequence[LossCurve], planned: Floats, at: Steps, warmup: int) -> Floats:
    """Return by how much, in log loss, the forecast rests on changes of the rate after what was observed of that run.

    For a run under way the rates to come are held at the last one; for another one all are held at its peak.
    """
    held = planned.copy()
    seen = curves[0]
    same = len(planned) >= seen.steps[-1] and np.array_equal(planned[: seen.steps[-1]], seen.rates[: seen.steps[-1]])
    if same:
        held[seen.steps[-1] :] = planned[seen.steps[-1] - 1]
    else:
        held[:] = planned.max()
    told = np.maximum(fit.predict(planned, at, warmup=warmup), 1e-9)
    without = np.maximum(fit.predict(held, at, warmup=warmup if same else 0), 1e-9)
    effect: Floats = np.abs(np.log(told / without))
    if fit.assumed:
        # How fast an annealing tells was assumed too: it may have told in full.
        effect = np.maximum(effect, USUAL_GAIN_SHARE * np.maximum(0.0, 1 - planned[at - 1] / held[at - 1]))
    return effect
