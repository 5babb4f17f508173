"""All of Kaplan's constants at once: residuals of the laws and their derivatives, and where to start."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from tutelage.forecast._huber import Minimum, minimise_huber
from tutelage.forecast._kaplan_steps import CriticalBatch, Points, critical_law, min_steps
from tutelage.forecast._scaling import STEPS, exponential, fit_powers
from tutelage.forecast.curve import Floats
from tutelage.forecast.kaplan import KaplanLaw, solve_log_loss

_LARGEST_EXPONENT = 5.0
_LARGEST_FALL = 30.0
#: How far beyond the batches tried a critical batch may be said to lie.
_BEYOND = math.log(1e3)


class Joint:
    """Residuals and derivatives of the laws on points.

    Parameters: ``E_0`` where it is free; ``log((N_c / N)^alpha_N)`` at the mean of ``log N``, ``alpha_N``; the same of
    updates; ``log B_crit`` at the mean of ``log L``, from the mean of ``log B``; and ``1 / alpha_B``.
    """

    def __init__(self, points: Points, *, floor: bool, losses: Floats | None = None) -> None:
        self.points, self.floor = points, floor
        self.observed = points.losses if losses is None else losses
        self.middle = {name: float(getattr(points, name).mean()) for name in ("size", "steps", "batch", "losses")}
        self.size = points.size - self.middle["size"]
        self.steps = points.steps - self.middle["steps"]
        self.batch = points.batch - self.middle["batch"]
        near = float(np.ptp(self.batch)) + _BEYOND
        free = int(floor)
        self.lower = np.array([0.0] * free + [-30.0, 1e-3, -30.0, 1e-2, -near, 0.0])
        lowest = 0.999 * math.exp(float(self.observed.min()))
        most = _LARGEST_EXPONENT
        self.upper = np.array([lowest] * free + [10.0, most, 10.0, most, near, _LARGEST_FALL])

    def of_losses(self, losses: Floats) -> Joint:
        """Return the same problem with other losses; its parameters mean the same."""
        return Joint(self.points, floor=self.floor, losses=losses)

    def residuals(self, values: Floats) -> tuple[Floats, Floats]:
        """Return logarithms of the law's over observed losses, and their derivatives by the parameters."""
        free = int(self.floor)
        e, (a, alpha_n, c, alpha_s, b, falls) = float(values[0]) if self.floor else 0.0, values[free:]
        power = a - alpha_n * self.size
        limit = np.logaddexp(math.log(e), power) if e > 0 else power
        slowest = c - alpha_s * self.steps
        batches = b + falls * self.middle["losses"] - self.batch
        log_loss = solve_log_loss(limit, slowest, alpha_s, batches, falls)
        batch = batches - falls * log_loss
        late = np.logaddexp(0.0, batch)
        by_size, by_steps = np.exp(power - log_loss), np.exp(slowest + alpha_s * late - log_loss)
        through = by_steps * alpha_s * special.expit(batch)
        rows = [np.exp(-log_loss)] * free + [
            by_size,
            -self.size * by_size,
            by_steps,
            (late - self.steps) * by_steps,
            through,
            through * (self.middle["losses"] - log_loss),
        ]
        # The loss stands on both sides of its equation.
        return log_loss - self.observed, np.stack(rows) / (1 + through * falls)

    def solve(self, start: Floats, delta: float, steps: int = STEPS) -> Minimum:
        """Return the minimum reached from a start."""
        return minimise_huber(self.residuals, start, lower=self.lower, upper=self.upper, delta=delta, steps=steps)

    def at(self, values: Floats, delta: float) -> Minimum:
        """Return the objective and curvature at parameters that were found another way."""
        return self.solve(values, delta, steps=0)

    def law(self, values: Floats) -> KaplanLaw:
        """Return the law of the parameters, in the units of the formula."""
        a, alpha_n, c, alpha_s, b, falls = (float(value) for value in values[int(self.floor) :])
        return KaplanLaw(
            alpha_N=alpha_n,
            N_c=exponential(a / alpha_n + self.middle["size"]),
            alpha_S=alpha_s,
            S_c=exponential(c / alpha_s + self.middle["steps"]),
            alpha_B=1 / falls if falls > 0 else math.inf,
            B_star=exponential(b + self.middle["batch"] + falls * self.middle["losses"]),
            E_0=float(values[0]) if self.floor else 0.0,
        )

    def values(self, law: KaplanLaw) -> Floats:
        """Return the parameters of a law, within their bounds."""
        falls = 1 / law.alpha_B
        found = [
            law.alpha_N * (math.log(law.N_c) - self.middle["size"]),
            law.alpha_N,
            law.alpha_S * (math.log(law.S_c) - self.middle["steps"]),
            law.alpha_S,
            math.log(law.B_star) - self.middle["batch"] - falls * self.middle["losses"],
            falls,
        ]
        clipped: Floats = np.clip(np.array([law.E_0] * int(self.floor) + found), self.lower, self.upper)
        return clipped


def starts(problem: Joint, levels: Sequence[CriticalBatch]) -> list[Floats]:
    """Return parameters to start from: for each guess at the critical batch, the best powers of size and updates."""
    points = problem.points
    by_step = critical_law(levels)
    flat = [(problem.middle["batch"] + shift, 0.0) for shift in (-3.0, 0.0, 3.0)]
    found = []
    for log_b_star, falls in [*([by_step] if by_step else []), *flat]:
        least = min_steps(points, log_b_star, falls)
        powers = fit_powers([np.exp(points.size), np.exp(least)], points.losses, floor=problem.floor, delta=0.05)
        alpha_n, alpha_s = (max(float(value), 0.01) for value in powers.exponents)
        law = KaplanLaw(
            alpha_N=alpha_n,
            N_c=exponential(float(powers.heights[0]) / alpha_n),
            alpha_S=alpha_s,
            S_c=exponential(float(powers.heights[1]) / alpha_s),
            alpha_B=1 / falls if falls > 0 else math.inf,
            B_star=exponential(log_b_star),
            E_0=powers.floor,
        )
        found.append(problem.values(law))
    return found
