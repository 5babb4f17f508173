"""How a law would have done so far: fitted to the start of what was observed, it is held against the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.forecast.curve import Floats, LossCurve
from tutelage.forecast.law import CurveFitter, log_residuals

#: Shares of what was observed at which the fit is repeated, to see how it does on the rest.
CUTS = (0.5, 0.65, 0.8)
#: Groups of points that the rest of a curve is averaged in, so that noise is not taken for error.
_GROUPS = 4


@dataclass(frozen=True)
class BackTest:
    """How a law, fitted to the start of what was observed, did on the rest of it.

    Args:
        cut: Last update that was fitted.
        horizon: Logarithm of the ratio of updates, mean over each group of points, shape ``(groups,)``.
        error: Mean logarithm of predicted over observed losses in each group.
        points: Points in each group.
    """

    cut: int
    horizon: Floats
    error: Floats
    points: Floats


def back_tests(curves: Sequence[LossCurve], law: CurveFitter) -> list[BackTest]:
    """Fit a law to the start of what was observed and see how it does on the rest, for each of three starts.

    Args:
        curves: What was observed; all are cut at the same share of the longest.
        law: The part that fits.

    Returns:
        A back-test for each start of 50, 65 and 80 % that leaves enough points to fit.
    """
    found = []
    last = max(int(curve.steps[-1]) for curve in curves)
    # What the fit to all of it leaves out at the start is left out of these fits too: the first losses would tilt them.
    early = getattr(law, "skip", 0.0)
    curves = [curve.where(curve.steps > early * curve.steps[-1]) for curve in curves]
    for share in CUTS:
        cut = int(share * last)
        seen = [curve.until(cut) for curve in curves if curve.steps[0] <= cut]
        rest = [curve.where(curve.steps > cut) for curve in curves if curve.steps[-1] > cut]
        try:
            fit = law.fit(seen)
        except ValueError:
            continue  # too little for this law yet
        groups: list[tuple[float, float, int]] = []
        for curve in rest:
            error = log_residuals(fit.law, [curve])
            ahead = np.log(curve.steps / cut)
            for group in np.array_split(np.arange(len(error)), min(_GROUPS, len(error))):
                groups.append((float(ahead[group].mean()), float(error[group].mean()), len(group)))
        horizon, mean, points = (np.array(column, dtype=np.float64) for column in zip(*groups, strict=True))
        found.append(BackTest(cut, horizon, mean, points))
    return found


def mean_error(tests: Sequence[BackTest]) -> float:
    """Return the mean absolute error of back-tests in percent."""
    return 100 * float(np.mean(np.concatenate([np.abs(test.error) for test in tests])))
