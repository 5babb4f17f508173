"""What laws of loss curves share: the protocol, the result of a fit, and the figures that judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from tutelage.forecast._huber import Minimum
from tutelage.forecast.curve import Floats, LossCurve


class CurveLaw(Protocol):
    """A formula for the loss after every update, given the learning rates."""

    def predict(self, rates: ArrayLike, steps: ArrayLike | None = None, *, warmup: int = 0) -> Floats:
        """Return the loss after each of ``steps`` updates (all of ``1 .. len(rates)`` where not given), in nats.

        Args:
            rates: Rate of update 1, 2, ... at index 0, 1, ..., shape ``(updates,)``.
            steps: Updates made, 1 to ``len(rates)``, shape ``(points,)``.
            warmup: Updates of warm-up at the start of ``rates``.
        """
        ...

    def params(self) -> dict[str, float]:
        """Return the parameters by name."""
        ...


class CurveFitter(Protocol):
    """A part that fits a law; its fields are the options of the fit."""

    def fit(self, curves: Sequence[LossCurve]) -> LawFit:
        """Fit the law to the curves of one or several runs of one model, data set, batch size and optimizer."""
        ...


@dataclass(frozen=True)
class LawFit:
    """A law fitted to curves.

    Args:
        law: The law with its parameters.
        name: Name of the law, as ``--law`` takes it.
        curves: What it was fitted to.
        objective: Sum of the Huber losses of the log residuals.
        mape: Mean absolute error on these curves, in percent of the loss.
        r2: Share of the variance of the losses that it explains.
        identified: By parameter, whether these curves determine it; one that they do not may have any value.
        notes: Remarks a reader must see.
        assumed: Whether the effect of annealing was assumed, as no curve shows it.
    """

    law: CurveLaw
    name: str
    curves: tuple[LossCurve, ...]
    objective: float
    mape: float
    r2: float
    identified: Mapping[str, bool]
    notes: tuple[str, ...] = ()
    assumed: bool = False

    def predict(self, rates: ArrayLike, steps: ArrayLike | None = None, *, warmup: int = 0) -> Floats:
        """Return the law's losses; see :meth:`CurveLaw.predict`."""
        return self.law.predict(rates, steps, warmup=warmup)


def log_residuals(law: CurveLaw, curves: Sequence[LossCurve]) -> Floats:
    """Return the logarithms of predicted over observed losses, all curves one after the other."""
    return np.concatenate([np.log(law.predict(c.rates, c.steps, warmup=c.warmup)) - np.log(c.losses) for c in curves])


def mean_absolute_percentage_error(law: CurveLaw, curve: LossCurve) -> float:
    """Return the mean of ``|predicted - observed| / observed`` over a curve's points, in percent."""
    predicted = law.predict(curve.rates, curve.steps, warmup=curve.warmup)
    return float(100 * np.mean(np.abs(predicted - curve.losses) / curve.losses))


def judged(law: CurveLaw, curves: Sequence[LossCurve]) -> tuple[float, float]:
    """Return the mean absolute percentage error and the coefficient of determination over all points."""
    predicted = np.concatenate([law.predict(c.rates, c.steps, warmup=c.warmup) for c in curves])
    observed = np.concatenate([c.losses for c in curves])
    spread = float(np.sum((observed - observed.mean()) ** 2))
    error = predicted - observed
    mape = float(100 * np.mean(np.abs(error) / observed))
    return mape, 1 - float(error @ error) / spread if spread > 0 else 0.0


def check_options(part: object, delta: float, skip: float) -> None:
    """Refuse options that every fit has.

    Raises:
        ValueError: Names the option.
    """
    name = type(part).__name__
    if not (np.isfinite(delta) and delta > 0):
        raise ValueError(f"{name}: delta must be > 0, got {delta}.")
    if not 0 <= skip < 1:
        raise ValueError(f"{name}: skip must be in [0, 1), got {skip}.")


def check_curves(curves: Sequence[LossCurve], law: str, *, skip: float, fewest: int) -> list[LossCurve]:
    """Return each curve's points after its warm-up and after the first ``skip`` of its observed updates.

    Raises:
        ValueError: No curves, or fewer than ``fewest`` points left in all.
    """
    if not curves:
        raise ValueError(f"{law}: curves must hold at least one curve.")
    kept = []
    for curve in curves:
        late = (curve.steps >= curve.warmup) & (curve.steps > skip * curve.steps[-1])
        if late.any():
            kept.append(curve.where(late))
    points = sum(len(curve.steps) for curve in kept)
    if points < fewest:
        total = sum(len(curve.steps) for curve in curves)
        raise ValueError(
            f"{law}: a fit needs at least {fewest} points after the warm-up and the first {skip:.0%} of a curve, got "
            f"{points} of {total}."
        )
    return kept


def standard_errors(found: tuple[Floats, Floats], minimum: Minimum, delta: float) -> Floats:
    """Return the standard error of every parameter, shape ``(parameters,)``; infinite where nothing determines it.

    The sandwich of a Huber estimate, ``H^-1 G H^-1``, with ``G`` from the bounded residuals; neighbouring residuals
    that are alike count less, by their correlation.

    Args:
        found: Residuals, shape ``(points,)``, and derivatives, shape ``(parameters, points)``, at the minimum.
        minimum: The minimum.
        delta: Size beyond which a residual counts linearly.
    """
    residuals, slopes = found
    bounded = np.clip(residuals, -delta, delta)
    size = np.abs(residuals)
    curvature = (slopes * np.minimum(1.0, delta / np.maximum(size, delta))) @ slopes.T
    scatter = (slopes * bounded**2) @ slopes.T
    energy = float(bounded @ bounded)
    alike = float(bounded[1:] @ bounded[:-1]) / energy if energy > 0 else 0.0
    alike = min(max(alike, 0.0), 0.99)
    scale = np.sqrt(np.maximum(np.diag(curvature), 1e-300))
    inverse = np.linalg.pinv(curvature / np.outer(scale, scale), rcond=1e-12, hermitian=True)
    covariance = inverse @ (scatter / np.outer(scale, scale)) @ inverse
    errors = np.sqrt(np.maximum(np.diag(covariance), 0) * (1 + alike) / (1 - alike)) / scale
    return np.where(np.diag(curvature) > 0, errors, np.inf)
