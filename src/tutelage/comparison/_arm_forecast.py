"""Where an arm of a comparison will end, and by how much it ends behind another at least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tutelage.forecast import BackTest, LossCurve

#: Fewest points of a curve that is forecast.
_FEWEST = 20
#: What the back-tests are worth: two more, in which arms drift apart by 3 % an e-fold of updates, are added to them.
#: Between language models it is 1 to 3 %, between classifiers that learn their examples by heart 20 % and more.
_USUAL_DRIFT, _USUAL_WEIGHT = 0.03, 2.0
#: What annealing from the peak to 0 gains, as a share of what the loss has fallen so far: 1.5 % in language models of
#: 25M and 100M parameters trained for 24,000 updates, 3 to 14 % in 300 updates of digits, a table and small text.
_GAIN_OF_FALL = 0.05


@dataclass(frozen=True)
class ArmForecast:
    """What an arm's curve so far says of its end.

    Attributes:
        step: Updates it has made.
        total: Updates it would make.
        level: Log of where it stands, in the unit of the metric.
        gain: What the annealing to come is expected to gain, in log loss.
        tests: Back-tests of "it stays there", with the share of the curve that each was made at.
    """

    step: int
    total: int
    level: float
    gain: float
    tests: Sequence[tuple[float, BackTest]]

    @property
    def end(self) -> float:
        """Where it will end if it changes no more than annealing makes it, in the unit of the metric."""
        return math.exp(self.level - self.gain)


def forecast_of(curve: LossCurve) -> ArmForecast | None:
    """Return the forecast of a curve, ``None`` where it is too short for one."""
    from tutelage.forecast import LastValue, back_tests
    from tutelage.training.metric_curve import in_blocks

    last, total = int(curve.steps[-1]), curve.total_steps
    if len(curve.steps) < _FEWEST or last >= total:
        return None
    smooth, law = in_blocks(curve), LastValue()
    try:
        end = float(law.fit([smooth]).predict(curve.rates, [total], warmup=curve.warmup)[0])
        found = back_tests([smooth], law)
    except ValueError:
        return None  # all of it in the warm-up
    if not found:
        return None
    tests = [(_share(test.cut / int(smooth.steps[-1])), test) for test in found]
    few = max(1, len(smooth.losses) // 20)
    fallen = max(0.0, float(smooth.losses[:few].max()) - end)
    return ArmForecast(last, total, math.log(end), _gain_ahead(curve, end, fallen), tests)


def _share(cut: float) -> float:
    """Return which of the shares of the back-tests a cut was meant to be, whole updates aside."""
    from tutelage.forecast.back_testing import CUTS

    return min(CUTS, key=lambda share: abs(share - cut))


def _gain_ahead(curve: LossCurve, now: float, fallen: float) -> float:
    """Return what the annealing to come is expected to gain, in log loss."""
    from tutelage.forecast.annealing import USUAL_GAIN_SHARE

    last = int(curve.steps[-1])
    ahead = max(0.0, float(curve.rates[last - 1] - curve.rates[last:].min()) / float(curve.rates.max()))
    return ahead * max(USUAL_GAIN_SHARE, _GAIN_OF_FALL * fallen / now)


def least_gap(arm: ArmForecast, rival: ArmForecast, certainty: float) -> float | None:
    """Return by how much an arm ends above another at least, in log loss; ``None`` without back-tests in common."""
    from scipy import special

    theirs = dict(rival.tests)
    pairs = [(test, theirs[cut]) for cut, test in arm.tests if cut in theirs]
    pairs = [(one, other) for one, other in pairs if one.error.shape == other.error.shape]
    if not pairs:
        return None
    error = np.concatenate([one.error - other.error for one, other in pairs])
    horizon = np.concatenate([(one.horizon + other.horizon) / 2 for one, other in pairs])
    better = np.maximum(error, 0.0)  # where the arm did better than forecast; that it did worse speaks for no return
    drift = 2 * float(better @ better) / float(horizon @ horizon)
    weight = len(pairs) + _USUAL_WEIGHT
    drift = (len(pairs) * drift + _USUAL_WEIGHT * _USUAL_DRIFT**2) / weight
    ahead = math.log(max(arm.total / arm.step, rival.total / rival.step))
    # What is left of the errors about their trend: the difference swings, when it was looked at and at the end.
    left = error - float(error @ horizon) / float(horizon @ horizon) * horizon
    swing = 2 * float(left @ left) / len(left)
    sd = math.sqrt(ahead**2 * drift + swing + arm.gain**2 + rival.gain**2)
    centre = (arm.level - arm.gain) - (rival.level - rival.gain)
    return centre - float(special.stdtrit(weight, certainty)) * sd
