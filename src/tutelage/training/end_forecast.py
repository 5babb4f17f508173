"""Where the run under way will end, forecast now and then from its curve so far."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from tutelage.errors import TutelageError
from tutelage.training.callbacks import RunState

if TYPE_CHECKING:
    from tutelage.forecast import CurveForecast

__all__ = ["EndForecast"]

#: Share of the time since its start that may go into forecasts.
_SHARE = 0.01
#: What the first one is taken to cost, in seconds: it imports SciPy.
_FIRST_COST = 1.5
#: Share of the budget before which a forecast is a guess.
_EARLIEST = 0.1


class EndForecast:
    """Forecasts the end of a run while it trains, for one percent of its time at most.

    The curve is read from the run folder, so a run that was resumed is seen from its beginning. What is forecast is the
    validation loss where it was measured twice, else the training loss, by the law that does best in back-tests
    (:func:`tutelage.forecast.forecast`).

    Attributes:
        text: The newest forecast in words, with its interval of 80 %: ``forecast end val_loss 2.31 (2.28-2.35)``.
            Empty as long as there is none: in the first 100 seconds or so, in the first tenth of the budget, with too
            few points, or where the rates to come are not known.
    """

    def __init__(self) -> None:
        self.text = ""
        self._started = time.monotonic()
        self._spent, self._cost = 0.0, _FIRST_COST

    def update(self, run: RunState) -> None:
        """Forecast again, if there is time for it."""
        began = time.monotonic()
        if self._spent + self._cost > _SHARE * (began - self._started):
            return
        if run.folder is None or run.rates is None or run.searching or run.fraction < _EARLIEST:
            return
        try:
            self.text = end_in_words(run)
        except (TutelageError, ValueError, OSError):
            self.text = ""  # too little was seen, or it cannot be read: no forecast, and no fault of the run
        took = time.monotonic() - began
        self._spent += took
        self._cost = 1.5 * took  # the curve grows


def end_in_words(run: RunState) -> str:
    """Return the forecast end of a run with its interval of 80 %, empty where its rates or its folder are unknown.

    Raises:
        DataError: The curve has no usable loss.
        DataNotFound: There is no curve.
        CorruptRun: It cannot be read.
        ValueError: There are too few points for any law.
    """
    from tutelage.forecast import forecast
    from tutelage.training.curve_files import read_loss_curve
    from tutelage.training.metric_curve import in_blocks, run_curve

    if run.folder is None or run.rates is None:
        return ""
    rates, metric = run.rates(), "val_loss"
    curve = run_curve(run.folder, rates, metric=metric)
    if curve is None:
        metric = "loss"
        curve = read_loss_curve(run.folder, loss=metric, rates=rates).curve
    return f"forecast end {metric} {_interval(forecast(in_blocks(curve), steps=[len(rates)]))}"


def _interval(found: CurveForecast) -> str:
    """Return mean and interval with the digits that mean something."""
    mean, low, high = (float(values[-1]) for values in (found.mean, found.low, found.high))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("forecast: the interval has no ends.")
    places = min(8, max(0, -math.floor(math.log10((high - low) / 2)))) if high > low else 4
    return f"{mean:.{places}f} ({low:.{places}f}-{high:.{places}f})"
