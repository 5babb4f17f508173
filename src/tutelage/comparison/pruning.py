"""Which arms of a comparison are stopped early: those whose forecast cannot win."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

from tutelage.comparison._arm_forecast import ArmForecast, forecast_of, least_gap
from tutelage.errors import ConfigError, did_you_mean
from tutelage.evaluation.verdicts import counted
from tutelage.specs import build, parse_spec

if TYPE_CHECKING:
    from tutelage.forecast import LossCurve

__all__ = ["ForecastPruning", "PrunedArm"]

#: Rivals an arm is held against: those that stand best.
_RIVALS = 8


@dataclass(frozen=True, kw_only=True)
class PrunedArm:
    """Why an arm was stopped.

    Attributes:
        arm: Its name.
        rival: The arm that it is forecast to end behind.
        step: Updates it has made.
        total_steps: Updates it would have made.
        forecast: Where it is forecast to end, in the unit of the metric.
        rival_forecast: Where the rival is.
        low: By how much it ends above the rival at least, as a share: 0.1 is 10 %.
        certainty: Of ``low``, one-sided.
    """

    arm: str
    rival: str
    step: int
    total_steps: int
    forecast: float
    rival_forecast: float
    low: float
    certainty: float

    def sentence(self, metric: str) -> str:
        """Return it in words, after the name of the arm."""
        least = f"{100 * self.low:,.0f}" if self.low >= 0.1 else f"{100 * self.low:.2g}"
        return (
            f"pruned at update {self.step:,} of {self.total_steps:,}: forecast to end at {metric} {self.forecast:.4g}, "
            f"at least {least} % above {self.rival} ({self.rival_forecast:.4g}; {100 * self.certainty:.4g} % certain)"
        )


@dataclass(frozen=True, kw_only=True)
class ForecastPruning:
    """Stops the arms of a comparison whose forecast interval cannot win, at a stated risk of stopping the winner.

    **Formula**: at a share ``a`` of the budget, arm ``i`` is stopped if for some other arm ``j``::

        d - q sd > 0,    d = (e_i - g_i) - (e_j - g_j),    h = log(1 / a)
        sd^2 = (3 b^2 + 2 * 0.03^2) / 5 h^2 + n^2 + g_i^2 + g_j^2

    ``e`` is the log of where an arm stands: the forecast is that it stays there relative to the other. Back-tests
    repeat that at 50, 65 and 80 % of what was observed. ``b^2 = 2 sum max(error, 0)^2 / sum horizon^2`` is how far
    the *difference of the two* was off in favour of ``i``, an e-fold of updates: what the arms of a seed have in
    common cancels, and falling further behind is not held for a chance to catch up. ``n^2`` is twice the mean square
    of the errors about their line through 0: the difference swings, at the look and at the end. ``g`` is for the
    annealing still to come, which nobody has seen: the share of the peak rate that is still to fall, times 5 % of
    what the loss has fallen so far or 3.6 % of the loss, whichever is more; it is expected, and doubted by as much.
    ``q`` is Student's with 5 degrees of freedom (three back-tests, and two for what is usual) at ``1 - risk / ((arms
    - 1) looks)``.

    The winner can be stopped only if one of the ``(arms - 1) looks`` bounds on it fails, hence with probability
    ``risk`` at most if the bounds hold as often as they say (Bonferroni). Winner is the arm with the best mean over
    these seeds, not over all seeds there could be.

    Args:
        risk: Probability, in each workload and budget, that the arm which would have won is stopped, in (0, 0.5).
        at: Shares of the budget at which to look, rising, in (0, 1).

    Raises:
        ValueError: An argument out of range.

    Example:
        >>> import numpy as np
        >>> from tutelage.forecast import LossCurve
        >>> steps, rates = np.arange(1, 301), np.full(600, 1e-3)
        >>> def arm(end):
        ...     losses = end + steps**-0.5 + 0.01 * np.random.default_rng(0).standard_normal(300)
        ...     return LossCurve.of(steps=steps, losses=losses, rates=rates)
        >>> curves = {"good": arm(2.0), "as good": arm(2.001), "bad": arm(2.6)}
        >>> [(item.arm, item.rival) for item in ForecastPruning(risk=0.05).dropped(curves)]
        [('bad', 'good')]

    Use with:
        ``tutelage compare --prune forecast:risk=0.05``; ``compare(..., prune="forecast")``; curves of any trainer, by
        :func:`tutelage.training.read_loss_curve`.

    Helps / does not help:
        Saves what clearly bad arms would have cost: a peak rate far off, an optimizer that lags. Arms within a few
        percent of each other go on, as no forecast can tell them apart; where few arms are bad there is little to save.
        A loss that falls suddenly, after long standing still, is not foreseen. Arms are stopped by all their seeds at
        once.

    Relations:
        Successive halving stops a fixed share whatever the losses say, saves more, and states no risk;
        :func:`tutelage.forecast.pruning.prune_runs` does so by gradient norm or early loss.

    Source:
        Ours. ``benchmarks/prune_backtest.py`` counts how often the winner was stopped; the constants were set on other
        seeds of the same small workloads.
    """

    spec_name: ClassVar[str] = "forecast"

    risk: float = 0.05
    at: tuple[float, ...] = (0.3, 0.5, 0.7)

    def __post_init__(self) -> None:
        """Refuse what no forecast can keep."""
        if not 0 < self.risk < 0.5:
            raise ValueError(f"ForecastPruning: risk must be > 0 and < 0.5, got {self.risk}.")
        shares = tuple(self.at)
        rising = all(later > earlier for earlier, later in pairwise(shares))
        if not (shares and rising and all(0 < share < 1 for share in shares)):
            raise ValueError(f"ForecastPruning: at must be rising shares of the budget in (0, 1), got {self.at}.")

    @classmethod
    def parse(cls, value: str | ForecastPruning) -> ForecastPruning:
        """Read ``forecast`` or ``forecast:risk=0.01,at=0.3/0.6``.

        Raises:
            ConfigError: Another rule, an unknown argument, or a value out of range.
        """
        if isinstance(value, ForecastPruning):
            return value
        spec = parse_spec(value)
        if spec.name != cls.spec_name:
            raise ConfigError(
                f'prune: no rule "{spec.name}".{did_you_mean(spec.name, [cls.spec_name])} There is: forecast, as in '
                "forecast:risk=0.05."
            )
        return build(cls, spec)

    def __str__(self) -> str:
        """Return the spec."""
        return f"{self.spec_name}:risk={self.risk:g},at={'/'.join(f'{share:g}' for share in self.at)}"

    def dropped(
        self, curves: Mapping[str, LossCurve], *, keep: Collection[str] = (), arms: int | None = None
    ) -> list[PrunedArm]:
        """Return the arms that cannot win, by what was observed so far.

        Args:
            curves: What is to end lowest, by arm, each observed to the same share of its own plan, which its rates show
                in full; the mean over seeds where there are several.
            keep: Arms that are not stopped, such as the baseline.
            arms: Arms at the start of the comparison, where some were stopped before; else those of ``curves``.

        Returns:
            One record for each arm that is to be stopped, in the order of ``curves``.

        Raises:
            ValueError: ``arms`` is smaller than the number of curves.
        """
        return self.judge({name: forecast_of(curve) for name, curve in curves.items()}, keep=keep, arms=arms)

    def judge(
        self, forecasts: Mapping[str, ArmForecast | None], *, keep: Collection[str] = (), arms: int | None = None
    ) -> list[PrunedArm]:
        """Do what :meth:`dropped` does, by forecasts that :func:`forecast_of` made."""
        count = len(forecasts) if arms is None else arms
        if count < len(forecasts):
            raise ValueError(f"ForecastPruning: arms must be at least {len(forecasts)}, those given, got {count}.")
        views = {name: view for name, view in forecasts.items() if view is not None}
        rivals = sorted(views, key=lambda name: views[name].level)[:_RIVALS]
        certainty = 1 - self.risk / (max(1, count - 1) * len(self.at))
        found: list[PrunedArm] = []
        for name in (name for name in views if name not in keep):
            bounds = [
                (bound, rival)
                for rival in rivals
                if rival != name and (bound := least_gap(views[name], views[rival], certainty)) is not None
            ]
            if not bounds:
                continue
            low, rival = max(bounds, key=lambda item: item[0])
            if low > 0:
                view = views[name]
                found.append(
                    PrunedArm(
                        arm=name,
                        rival=rival,
                        step=int(view.step),
                        total_steps=int(view.total),
                        forecast=view.end,
                        rival_forecast=views[rival].end,
                        low=math.expm1(low),
                        certainty=certainty,
                    )
                )
        return found


def saved_words(saved: int, planned: int) -> str:
    """Return what pruning saved: ``630 of 2,700 updates (23 %)``."""
    return f"{saved:,} of {counted(planned, 'update')} ({100 * saved / planned:.0f} %)" if planned else "nothing"
