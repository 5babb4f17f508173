"""The least squares behind the multi-power law: residuals, derivatives, the pull to usual values, and the search."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize

from tutelage.forecast._drops import Plan
from tutelage.forecast._huber import huber
from tutelage.forecast.curve import Floats, LossCurve

#: Where the authors' procedure starts from, C = 1 and beta = gamma = 0.5 at a peak of 3e-4, with the pace C peak^(1 -
#: gamma) for C, as that does not depend on the unit of the rate.
USUAL_PACE, USUAL_BETA, USUAL_GAMMA = 1.0 * 3e-4**0.5, 0.5, 0.5
#: What one standard deviation is for them: of log pace, of log beta, of gamma, and of the gain, as a share of it.
PACE_SPREAD, BETA_SPREAD, GAMMA_SPREAD, GAIN_SPREAD = 1.0, 0.5, 0.25, 0.5
#: As many independent points a curve counts for: its residuals are alike over about a tenth of it.
WORTH = 10
#: A longer curve is summed up by the medians of so many groups of neighbours, or fewer.
_MOST_POINTS = 2048
_ALPHAS = tuple(np.linspace(0.05, 1.5, 16))
#: Bounds of L0, height, alpha, gain, log pace, log beta and gamma, and the size of a step in each.
_LOWER = np.array([0.0, 0.0, 0.0, 0.0, -12.0, -4.6, 0.0])
_UPPER = np.array([np.inf, np.inf, 10.0, np.inf, 5.0, 2.3, 2.0])
_STEP = np.array([1.0, 1.0, 1.0, 0.1, 1.0, 1.0, 0.3])
_MOST_EVALUATIONS = 500
_NAMES = ("L0", "A", "alpha", "B", "C", "beta", "gamma")
#: Scales a median absolute deviation to the standard deviation of normal noise.
_NORMAL = 1.4826


class Problem:
    """Residuals and derivatives of the law on curves.

    The parameters are L0, height, alpha, gain, log pace, log beta and gamma. Rates are in units of the largest one, and
    the height is that of the power law at the mean area: it and the gain are of the size of a loss whatever the unit
    of the rate.

    Args:
        curves: The runs, with the points to fit.
        delta: Log residual beyond which Huber's loss is linear.
        weight: Weight of the usual values.
        usual_gain: Usual gain in nats; 0 for none.
        exact: Whether every update is a block of its own in the double sum.
    """

    def __init__(
        self, curves: Sequence[LossCurve], delta: float, weight: float, usual_gain: float, *, exact: bool = False
    ) -> None:
        curves = [_summed_up(curve) for curve in curves]
        self.unit = max(float(curve.rates[: curve.steps[-1]].max()) for curve in curves)
        plans = [Plan(curve.rates[: curve.steps[-1]], curve.warmup, self.unit) for curve in curves]
        self._observed = np.log(np.concatenate([curve.losses for curve in curves]))
        base = np.concatenate([plan.base(curve.steps) for plan, curve in zip(plans, curves, strict=True)])
        self._middle = float(np.exp(np.log(base).mean()))
        self._log_base = np.log(base / self._middle)
        self._drops = [plan.drops(curve.steps, exact=exact) for plan, curve in zip(plans, curves, strict=True)]
        self._delta = delta
        #: Points for each one that is independent of the others.
        self._alike = max(1.0, len(self._observed) / (WORTH * len(curves)))
        self._usual = np.array([usual_gain, math.log(USUAL_PACE), math.log(USUAL_BETA), USUAL_GAMMA])
        spread = np.array([GAIN_SPREAD * (usual_gain or math.inf), PACE_SPREAD, BETA_SPREAD, GAMMA_SPREAD])
        self._pull = math.sqrt(weight * self._alike) / spread

    def share_annealed(self) -> float:
        """Return the largest drop seen, as a share of that of a slow annealing to 0, at the usual pace."""
        return float(np.abs(self._drop(self._usual[1:])[0]).max())

    def residuals(self, values: Floats) -> tuple[Floats, Floats]:
        """Return the log residuals, shape ``(points,)``, and their derivatives, shape ``(7, points)``."""
        drop, slopes = self._drop(values[4:])
        power = np.exp(-values[2] * self._log_base)
        loss = np.maximum(values[0] + values[1] * power - values[3] * drop, 1e-9)
        rows = [np.ones_like(power), power, -values[1] * power * self._log_base, -drop, *(-values[3] * slopes)]
        return np.log(loss) - self._observed, np.stack(rows) / loss

    def rooted(self, values: Floats) -> tuple[Floats, Floats]:
        """Return what has the objective over ``delta^2`` as half its squared length, and its derivatives."""
        found, slopes = self.residuals(values)
        size = np.abs(found) / self._delta
        root = np.sqrt(np.maximum(2 * size - 1, 1.0))
        pulled = np.zeros((4, 7))
        pulled[:, 3:] = np.diag(self._pull)
        rooted = np.where(size > 1, np.sign(found) * root, found / self._delta)
        return (
            np.concatenate([rooted, self._pull * (values[3:] - self._usual)]),
            np.concatenate([(slopes / (self._delta * root)).T, pulled]),
        )

    def minimum(self) -> tuple[Floats, bool]:
        """Return the parameters of the smallest objective, and whether the search ended by itself."""
        values = np.maximum(self.start(), _LOWER + 1e-3)
        free = np.ones(len(values), dtype=np.bool_)
        if not self.share_annealed():
            # Nothing but the usual values speaks of the drop, if they do.
            values[3:] = self._usual
            values[3] *= bool(self._pull[1])
            free[3:] = False
        last: list[tuple[bytes, tuple[Floats, Floats]]] = []

        def once(chosen: Floats) -> tuple[Floats, Floats]:
            # The solver asks for residuals and derivatives one after the other; they are found together.
            if not last or last[0][0] != chosen.tobytes():
                values[free] = chosen
                rooted, slopes = self.rooted(values)
                last[:] = [(chosen.tobytes(), (rooted, slopes[:, free]))]
            return last[0][1]

        found = optimize.least_squares(
            lambda chosen: once(chosen)[0],
            values[free],
            lambda chosen: once(chosen)[1],
            bounds=(_LOWER[free], _UPPER[free]),
            x_scale=_STEP[free],
            ftol=1e-12,
            xtol=1e-12,
            gtol=1e-12,
            max_nfev=_MOST_EVALUATIONS,
        )
        values[free] = found.x
        return values, bool(found.status > 0)

    def start(self) -> Floats:
        """Return the best of a grid over alpha at the usual shape, with L0, height and gain by least squares."""
        drop, _ = self._drop(self._usual[1:])
        observed = np.exp(self._observed)
        best, values = math.inf, np.zeros(7)
        for alpha in _ALPHAS:
            columns = np.stack([np.ones_like(drop), np.exp(-alpha * self._log_base), -drop], axis=1)
            heights = optimize.nnls(columns / observed[:, None], np.ones_like(drop))[0]
            reached = huber(np.log(np.maximum(columns @ heights, 1e-9)) - self._observed, self._delta)
            if reached < best:
                best, values = reached, np.array([heights[0], heights[1], alpha, heights[2], *self._usual[1:]])
        return values

    def identified(self, values: Floats) -> dict[str, bool]:
        """Return of each of the law's parameters whether its standard error is below half its value."""
        found, slopes = self.residuals(values)
        noise = _NORMAL * float(np.median(np.abs(found)))
        information = slopes @ slopes.T / (self._delta**2 * self._alike + noise**2)
        scale = np.sqrt(np.diag(information))
        seen = scale > 0
        scale[~seen] = 1.0
        # The little that is added keeps a direction that nothing determines at a variance of 1e12, not at infinity.
        inverse = np.linalg.inv(information / np.outer(scale, scale) + 1e-12 * np.eye(7))
        # The law's parameters as shares of their size: log A and log C are sums of several of ours.
        mixed = np.diag([*(1 / np.maximum(values[:4], 1e-9)), 1.0, 1.0, 1 / max(float(values[6]), 1e-9)])
        mixed[1, 2] = math.log(self._middle * self.unit)
        mixed[4, 6] = math.log(self.unit)
        relative = mixed / scale
        errors = np.sqrt(np.maximum(np.diag(relative @ inverse @ relative.T), 0.0))
        unseen = ((mixed != 0) & ~seen).any(axis=1)
        return {
            name: bool(error < 0.5) and not bool(un) for name, error, un in zip(_NAMES, errors, unseen, strict=True)
        }

    def params(self, values: Floats) -> dict[str, float]:
        """Return the law's parameters by name, in the units of its formula."""
        least, height, alpha, gain, log_pace, log_beta, gamma = (float(value) for value in values)
        area = height * (self._middle * self.unit) ** alpha
        pace = math.exp(log_pace + (gamma - 1) * math.log(self.unit))
        return dict(zip(_NAMES, (least, area, alpha, gain / self.unit, pace, math.exp(log_beta), gamma), strict=True))

    def _drop(self, shape: Floats) -> tuple[Floats, Floats]:
        """Return the drop per unit of gain, and its derivatives by log pace, log beta and gamma."""
        found = [drops.with_slopes(math.exp(shape[0]), math.exp(shape[1]), float(shape[2])) for drops in self._drops]
        return np.concatenate([drop for drop, _ in found]), np.concatenate([slopes for _, slopes in found], axis=1)


def _summed_up(curve: LossCurve) -> LossCurve:
    """Return the curve or, if it is long, the medians of groups of neighbours at their middle steps."""
    size = -(-len(curve.steps) // _MOST_POINTS)
    if size == 1:
        return curve
    whole = len(curve.steps) // size
    losses = np.median(curve.losses[: whole * size].reshape(whole, size), axis=1)
    return LossCurve(curve.steps[size // 2 :: size][:whole], losses, curve.rates, curve.warmup, curve.name)
