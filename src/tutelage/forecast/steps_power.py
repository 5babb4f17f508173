"""Baselines of loss-curve forecasting: a power law in the number of updates, and the last value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from tutelage.forecast._huber import huber, minimise_huber
from tutelage.forecast.curve import Floats, LossCurve, places
from tutelage.forecast.law import LawFit, check_curves, check_options, judged, log_residuals, standard_errors

_STARTS = tuple(np.linspace(0.05, 1.5, 16))


@dataclass(frozen=True, kw_only=True)
class StepsPower:
    """Fits a power law in the number of updates, whatever the learning rate: the rival of every law of rates.

    With tokens for updates (a constant number an update) this is the Chinchilla form at one model size.

    **Formula**: after ``s`` updates, in nats: ``L(s) = L0 + A s^(-alpha)`` with ``L0, A, alpha >= 0``; the objective is
    that of :class:`Annealing`. ``floor=False`` holds ``L0`` at 0, a pure power law.

    Args:
        floor: Whether ``L0`` may be above 0.
        delta: Log residual beyond which Huber's loss is linear, > 0.
        skip: Share of each curve's observed updates, at its start, that is left out besides the warm-up, in [0, 1).

    Returns:
        ``fit(curves)`` returns a :class:`LawFit`: the law, its error on them, and which parameters they determine.

    Raises:
        ValueError: An option out of range; from ``fit``, no curves, or fewer than 4 points left.

    Example:
        >>> import numpy as np
        >>> law = StepsPowerLaw(L0=2.0, A=5.0, alpha=0.5)
        >>> law.predict(np.ones(400), [100, 400]).tolist()
        [2.5, 2.25]
        >>> steps = np.arange(10, 400)
        >>> curve = LossCurve.of(steps=steps, losses=law.predict(np.ones(400), steps), rates=np.ones(400))
        >>> round(StepsPower().fit([curve]).law.alpha, 4)
        0.5

    Use with:
        Curves of a constant rate, or whose rates are not known.

    Helps / does not help:
        As good as any at a constant rate. It knows nothing of an annealing to come, nor of one that has ended.

    Relations:
        ``annealing`` with ``C = 0``, on updates instead of the area under the rates.

    Source:
        Training Compute-Optimal Large Language Models, Hoffmann et al., 2022, arXiv 2203.15556, section 3.3, at one
        size; the objective is theirs too.
    """

    floor: bool = True
    delta: float = 1e-3
    skip: float = 0.1

    def __post_init__(self) -> None:
        """Refuse options out of range."""
        check_options(self, self.delta, self.skip)

    def fit(self, curves: Sequence[LossCurve]) -> LawFit:
        """Fit the law to the curves of one or several runs.

        Raises:
            ValueError: No curves, or fewer than 4 points left.
        """
        floor = float(self.floor)
        kept = check_curves(curves, "StepsPower", skip=self.skip, fewest=4)
        observed = np.log(np.concatenate([curve.losses for curve in kept]))
        steps = np.log(np.concatenate([curve.steps for curve in kept]).astype(np.float64))
        middle = float(steps.mean())
        done = steps - middle

        def residuals(values: Floats) -> tuple[Floats, Floats]:
            power = np.exp(-values[2] * done)
            loss = np.maximum(values[0] + values[1] * power, 1e-9)
            rows = np.stack([np.full_like(power, floor), power, -values[1] * power * done])
            return np.log(loss) - observed, rows / loss

        def start(alpha: float) -> Floats:
            columns = np.stack([np.full_like(done, floor), np.exp(-alpha * done)], axis=1)
            columns /= np.exp(observed)[:, None]
            heights = np.maximum(np.linalg.lstsq(columns, np.ones_like(done), rcond=None)[0], 1e-6)
            return np.array([heights[0] * floor, heights[1], alpha])

        best = min((start(alpha) for alpha in _STARTS), key=lambda values: huber(residuals(values)[0], self.delta))
        upper = np.array([np.inf if self.floor else 0.0, np.inf, 10.0])
        found = minimise_huber(residuals, best, lower=np.zeros(3), upper=upper, delta=self.delta)
        height = found.values[1] * np.exp(middle * found.values[2])
        law = StepsPowerLaw(L0=float(found.values[0]), A=float(height), alpha=float(found.values[2]))
        errors = standard_errors(residuals(found.values), found, self.delta)
        names = ("L0", "A", "alpha") if self.floor else ("A", "alpha")
        pairs = zip(names, errors[-len(names) :], found.values[-len(names) :], strict=True)
        mape, r2 = judged(law, kept)
        return LawFit(
            law=law,
            name="power",
            curves=tuple(curves),
            objective=found.objective,
            mape=mape,
            r2=r2,
            identified={name: bool(error < 0.5 * abs(value)) for name, error, value in pairs},
        )


@dataclass(frozen=True, kw_only=True)
class StepsPowerLaw:
    """A power law in the number of updates with its parameters; :class:`StepsPower` fits it.

    Args:
        L0: Loss that no training gets below, in nats.
        A: Height of the power law, in nats at the first update.
        alpha: Its exponent.
    """

    L0: float
    A: float
    alpha: float

    def predict(self, rates: ArrayLike, steps: ArrayLike | None = None, *, warmup: int = 0) -> Floats:
        """Return the loss after each of ``steps`` updates; of ``rates`` only the number counts."""
        done = places(steps, len(np.asarray(rates))) + 1.0
        return np.asarray(self.L0 + self.A * done**-self.alpha, dtype=np.float64)

    def params(self) -> dict[str, float]:
        """Return the three parameters by name."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class LastValue:
    """Forecasts that the loss stays where it is: what any forecast has to beat.

    **Formula**: ``L(s) = L0``, the median of the last 5 % of the points of the curve that was observed longest.

    Args:
        delta: Log residual beyond which Huber's loss is linear, > 0; it enters the reported objective alone.

    Returns:
        ``fit(curves)`` returns a :class:`LawFit`: the law, its error on them, and which parameters they determine.

    Raises:
        ValueError: An option out of range; from ``fit``, no curves, or no point after the warm-up.

    Example:
        >>> curve = LossCurve.of(steps=[1, 2, 3], losses=[3.3, 3.2, 3.1], rates=[1e-3] * 9)
        >>> LastValue().fit([curve]).predict(curve.rates, [9]).tolist()
        [3.1]

    Use with:
        Any curve, as the baseline of a back-test.

    Helps / does not help:
        Right for a run that has converged.

    Relations:
        ``power`` with ``A = 0``.

    Source:
        The usual baseline of extrapolation.
    """

    delta: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse options out of range."""
        check_options(self, self.delta, 0.0)

    def fit(self, curves: Sequence[LossCurve]) -> LawFit:
        """Take the last value.

        Raises:
            ValueError: No curves, or no point after the warm-up.
        """
        kept = check_curves(curves, "LastValue", skip=0.0, fewest=1)
        longest = max(kept, key=lambda curve: int(curve.steps[-1]))
        value = float(np.median(longest.losses[-max(1, len(longest.losses) // 20) :]))
        law = StepsPowerLaw(L0=value, A=0.0, alpha=0.0)
        mape, r2 = judged(law, kept)
        return LawFit(
            law=law,
            name="last-value",
            curves=tuple(curves),
            objective=huber(log_residuals(law, kept), self.delta),
            mape=mape,
            r2=r2,
            identified={"L0": True},
        )
