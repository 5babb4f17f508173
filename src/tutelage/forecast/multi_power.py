"""The multi-power law: a loss curve from the area under the learning rate and a power law for each of its falls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from tutelage.forecast._drops import Plan
from tutelage.forecast._huber import huber
from tutelage.forecast._multi_power_fit import Problem
from tutelage.forecast.annealing import USUAL_GAIN_SHARE
from tutelage.forecast.curve import Floats, LossCurve, check_rates, places
from tutelage.forecast.law import LawFit, check_curves, check_options, judged

#: A curve that has annealed by less than this share of a full annealing does not show what annealing gains.
_ENOUGH = 0.1


@dataclass(frozen=True, kw_only=True)
class MultiPower:
    """Fits the multi-power law, the most exact published form of a loss curve under any learning rate, to some runs.

    Use it to rank schedules before they are run, and to see where a run ends under a schedule that was never run.

    **Formula**: with the rate ``eta_k`` of update ``k = 1, 2, ...``, of which the first ``W`` warm up, in nats::

        L(t)  = L0 + A S1(t)^(-alpha) - LD(t)
        LD(t) = B sum_{W+1 < k <= t} (eta_{k-1} - eta_k) G(eta_k^(-gamma) S_k(t)),    G(x) = 1 - (1 + C x)^(-beta)
        S1(t) = sum_{i<=t} eta_i,    S_k(t) = sum_{k<=i<=t} eta_i

    The warm-up counts for the area S1 with the rates it had, and no rise of it for LD. The fit minimises
    ``sum_points Huber(log L - log L_observed)``, Huber's loss being ``r^2 / 2`` up to ``delta`` and ``delta |r| -
    delta^2 / 2`` beyond, with all parameters >= 0.

    One or two schedules leave C, beta and gamma open, and a constant rate B as well; what they happen to come out at
    then spoils the forecast. So they lean on usual values, as if each curve were worth ten independent points with a
    standard deviation of ``delta`` (its residuals are alike over about a tenth of it)::

        + weight delta^2 points / (20 curves) ((log(pace / pace') / 1)^2 + (log(beta / beta') / 0.5)^2
                                               + ((gamma - gamma') / 0.25)^2 + ((gain - gain') / (0.5 gain'))^2)

    ``pace = C peak^(1 - gamma)`` is a number per update and ``gain = B peak`` one in nats, what slow annealing from the
    peak to 0 gains. The usual shape is where the authors' procedure starts, ``beta' = gamma' = 0.5`` and ``C' = 1`` at
    a peak of 3e-4, hence ``pace' = 0.0173``: their first guess, no fit. The usual gain is ``assumed_gain`` times the
    last loss. With schedules enough that anneal in different ways they hardly matter.

    Args:
        delta: Log residual beyond which Huber's loss is linear, > 0.
        skip: Share of each curve's observed updates, at its start, that is left out besides the warm-up, in [0, 1).
        weight: Weight of the usual values, >= 0; with 0 the curves speak alone.
        assumed_gain: Usual gain, as a share of the last loss of the longest curve, >= 0. With 0 there is none, and B is
            0 where no rate falls. A note says so where no curve anneals enough to show the gain.
        exact: Take every update by itself in the double sum, instead of blocks of updates that are equally far away and
            of one rate to 5 %; time and memory then grow with updates times points.

    Returns:
        ``fit(curves)`` returns a :class:`LawFit`: the law, its error on them, and which parameters they determine.

    Raises:
        ValueError: An option out of range; from ``fit``, no curves, or fewer than 8 points left.

    Example:
        >>> import numpy as np
        >>> from tutelage.schedules import Cosine, WSD
        >>> law = MultiPowerLaw(L0=2.78, A=0.6, alpha=0.45, B=438, C=2.1, beta=0.6, gamma=0.65)
        >>> updates = np.arange(20_000)
        >>> constant, cosine = np.full(20_000, 3e-4), Cosine(peak=3e-4, total_steps=20_000, final=3e-5)(updates)
        >>> wsd = WSD(peak=3e-4, total_steps=20_000, decay=0.2)(updates)
        >>> [round(float(law.predict(rates, [20_000])[0]), 3) for rates in (constant, cosine, wsd)]
        [3.048, 3.016, 2.946]
        >>> steps = np.arange(1500, 20_001, 500)
        >>> seen = [LossCurve.of(steps=steps, losses=law.predict(r, steps), rates=r) for r in (constant, cosine)]
        >>> fit = MultiPower().fit(seen)
        >>> round(fit.mape, 3), fit.identified["alpha"], fit.identified["gamma"]
        (0.009, True, False)
        >>> round(float(fit.predict(wsd, [20_000])[0]), 3)
        2.957

    Use with:
        Any list of rates, such as ``schedule.to_array()``; :func:`tutelage.forecast.logged_rates` for those of a log;
        :func:`tutelage.forecast.forecast` adds an interval.

    Helps / does not help:
        Fitted on a constant and a cosine run of 24,000 updates, it is off by 0.13 % on seven other schedules of 16,000
        to 72,000 updates (25M and 100M parameters); six of them by 0.03 % to 0.13 %, a cosine three times as long by
        0.40 % and 0.47 %. With the usual values ten times as heavy, or a tenth, it is 0.12 % to 0.16 %, without them
        0.20 %. Whether the rate falls at once or over a hundred updates makes a difference here: give the rates
        exactly. L0, A and alpha trade off, and so do B, C and beta: compare predictions, not parameters. It speaks of
        one model, data set, batch size and optimizer.

    Relations:
        ``annealing`` has five parameters and counts its memory in updates, not in area; its gain grows as long as the
        rate is low, this one's levels off. ``power`` leaves the rates out.

    Source:
        A Multi-Power Law for Loss Curve Prediction Across Learning Rate Schedules, Luo et al., ICLR 2025, arXiv
        2503.12811, and the authors' code (thu-yao-01-luo/MultiPowerLaw): formula, Huber's loss with 1e-3, the points
        after the warm-up. Their code, against their formula, lets the rise of the warm-up into LD, which lowers its L0
        by almost ``B peak``. They take 200 steps of AdamW, which ends near where it starts; ours goes to the minimum,
        and the usual values say openly what stopping early does silently. On their three curves it reaches half their
        objective.
    """

    delta: float = 1e-3
    skip: float = 0.05
    weight: float = 1.0
    assumed_gain: float = USUAL_GAIN_SHARE
    exact: bool = False

    def __post_init__(self) -> None:
        """Refuse options out of range."""
        check_options(self, self.delta, self.skip)
        for name in ("weight", "assumed_gain"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"MultiPower: {name} must be >= 0, got {value}.")

    def fit(self, curves: Sequence[LossCurve]) -> LawFit:
        """Fit the law to the curves of one or several runs of one model, data set, batch size and optimizer.

        Raises:
            ValueError: No curves, or fewer than 8 points left.
        """
        kept = check_curves(curves, "MultiPower", skip=self.skip, fewest=8)
        last = max(kept, key=lambda curve: int(curve.steps[-1])).losses
        usual_gain = self.assumed_gain * float(np.median(last[-max(1, len(last) // 20) :]))
        problem = Problem(kept, self.delta, self.weight, usual_gain, exact=self.exact)
        values, converged = problem.minimum()
        law = MultiPowerLaw(**problem.params(values))
        notes = []
        seen = problem.share_annealed()
        shown = seen >= _ENOUGH
        if not shown:
            gain = law.gain(problem.unit)
            notes.append(
                f"No curve anneals enough to show what annealing gains (B): {seen:.0%} of a full annealing was seen; "
                + (f"{gain:.2g} nats were assumed." if gain else "B was set to 0.")
            )
        identified = problem.identified(values)
        loose = [name for name, known in identified.items() if not known and (name != "B" or shown)]
        if loose:
            leaning = "; they lean on usual values" if self.weight else ""
            notes.append(
                f"These curves do not determine {', '.join(loose)}{leaning}. Compare predictions, not parameters."
            )
        if not converged:
            notes.append("The fit had not settled when it was ended.")
        mape, r2 = judged(law, kept)
        return LawFit(
            law=law,
            name="multi-power",
            curves=tuple(curves),
            objective=huber(problem.residuals(values)[0], self.delta),
            mape=mape,
            r2=r2,
            identified=identified,
            notes=tuple(notes),
            assumed=not shown,
        )


@dataclass(frozen=True, kw_only=True)
class MultiPowerLaw:
    """The multi-power law with its parameters; :class:`MultiPower` has the formula and fits it.

    Args:
        L0: Loss that no training at the peak rate gets below, in nats.
        A: Height of the power law, in nats at ``S1 = 1``.
        alpha: Its exponent.
        B: What each unit that the rate falls by gains in the end, in nats.
        C: Pace at which a fall takes effect.
        beta: Exponent of that.
        gamma: How much sooner it does at a lower rate.
    """

    L0: float
    A: float
    alpha: float
    B: float
    C: float
    beta: float
    gamma: float

    def predict(
        self, rates: ArrayLike, steps: ArrayLike | None = None, *, warmup: int = 0, exact: bool = False
    ) -> Floats:
        """Return the loss after each of ``steps`` updates; see :class:`tutelage.forecast.CurveLaw`.

        The double sum is taken over blocks of updates, and of more than 4,096 steps those between which the loss is
        straight are interpolated. Together they move a loss by 1e-5 nats at most under the usual schedules, and by 2e-4
        where the rate swings hundreds of times; 24,000 updates take a hundredth of the time.

        Args:
            rates: Rate of every update, shape ``(updates,)``, >= 0. One below 1e-9 of the largest counts as that in
                ``eta_k^(-gamma)``.
            steps: Updates made, 1 to ``len(rates)``, in any order.
            warmup: Updates of warm-up at the start of ``rates``.
            exact: Take every update by itself.

        Raises:
            ValueError: Rates below 0, or ``warmup`` or steps out of range.
        """
        planned = np.asarray(rates, dtype=np.float64)
        check_rates(planned, name="predict")
        if not 0 <= warmup < len(planned):
            raise ValueError(f"predict: warmup must be 0 to {len(planned) - 1}, got {warmup}.")
        after, back = np.unique(places(steps, len(planned)) + 1, return_inverse=True)
        unit = float(planned.max())
        plan = Plan(planned, warmup, unit)
        drop = plan.drop(after, self.C * unit ** (1 - self.gamma), self.beta, self.gamma, exact=exact)
        losses: Floats = self.L0 + self.A * (unit * plan.base(after)) ** -self.alpha - self.B * unit * drop
        return losses[back]

    def params(self) -> dict[str, float]:
        """Return the seven parameters by name."""
        return asdict(self)

    def gain(self, peak: float) -> float:
        """Return what annealing slowly from ``peak`` to 0 gains in the end, ``B peak``, in nats."""
        return self.B * peak
