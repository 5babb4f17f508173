"""Where will this end? From the curve so far to the curve to come.

>>> round(exp_forecast([1 + 2 * 0.98**t for t in range(100)], horizon=1000).value, 4)
1.0
>>> names()
['annealing', 'last-value', 'multi-power', 'power']
"""

from typing import TYPE_CHECKING

from tutelage.forecast._learning_trends import Trend
from tutelage.forecast._order_report import OrderCheck, OrderForecast
from tutelage.forecast._order_steps import AdamSpec, SGDSpec
from tutelage.forecast._parts import PARTS
from tutelage.forecast._signal_runs import SignalRun
from tutelage.forecast.annealing import Annealing, AnnealingLaw, lr_areas, scaled_decay
from tutelage.forecast.back_testing import BackTest, back_tests
from tutelage.forecast.best_schedule import BestSchedule, Gain, best_schedule, refits
from tutelage.forecast.checkpoints import dynamics, early_indicator, health_report, predict_task
from tutelage.forecast.chinchilla import ChinchillaLaw, fit_chinchilla
from tutelage.forecast.curve import LossCurve
from tutelage.forecast.data_efficiency import DataEfficiency, data_efficiency
from tutelage.forecast.early_signals import SignalCorrelation, SignalReport, signal_report
from tutelage.forecast.exponential import Forecast, clean_spikes, exp_forecast
from tutelage.forecast.forecaster import CurveForecast, forecast, from_spec
from tutelage.forecast.held_out import HeldOutError, held_out_error, relative_noise
from tutelage.forecast.kaplan import KaplanLaw
from tutelage.forecast.kaplan_fit import fit_kaplan
from tutelage.forecast.law import CurveFitter, CurveLaw, LawFit, mean_absolute_percentage_error
from tutelage.forecast.learning_bayes import LearningForecast, LearningPosterior, SizeNeeded, learning_posterior
from tutelage.forecast.learning_curve import LearningCurve
from tutelage.forecast.learning_families import FamilyFit, fit_families
from tutelage.forecast.learning_ranking import Ranked, rank_systems
from tutelage.forecast.logged_rates import logged_rates
from tutelage.forecast.multi_power import MultiPower, MultiPowerLaw
from tutelage.forecast.nested import nested_subsets
from tutelage.forecast.power_law import PowerLaw, fit_power_law
from tutelage.forecast.pruning import Pruning, prune_runs
from tutelage.forecast.steps_power import LastValue, StepsPower, StepsPowerLaw
from tutelage.lazy import lazy_attributes
from tutelage.registry import entries

if TYPE_CHECKING:
    from tutelage.forecast.order_effects import OrderForecaster

#: What needs torch is imported when it is asked for.
_LAZY = {"OrderForecaster": "order_effects"}

__all__ = [
    "PARTS",
    "AdamSpec",
    "Annealing",
    "AnnealingLaw",
    "BackTest",
    "BestSchedule",
    "ChinchillaLaw",
    "CurveFitter",
    "CurveForecast",
    "CurveLaw",
    "DataEfficiency",
    "FamilyFit",
    "Forecast",
    "Gain",
    "HeldOutError",
    "KaplanLaw",
    "LastValue",
    "LawFit",
    "LearningCurve",
    "LearningForecast",
    "LearningPosterior",
    "LossCurve",
    "MultiPower",
    "MultiPowerLaw",
    "OrderCheck",
    "OrderForecast",
    "OrderForecaster",
    "PowerLaw",
    "Pruning",
    "Ranked",
    "SGDSpec",
    "SignalCorrelation",
    "SignalReport",
    "SignalRun",
    "SizeNeeded",
    "StepsPower",
    "StepsPowerLaw",
    "Trend",
    "back_tests",
    "best_schedule",
    "clean_spikes",
    "data_efficiency",
    "dynamics",
    "early_indicator",
    "exp_forecast",
    "fit_chinchilla",
    "fit_families",
    "fit_kaplan",
    "fit_power_law",
    "forecast",
    "from_spec",
    "health_report",
    "held_out_error",
    "learning_posterior",
    "logged_rates",
    "lr_areas",
    "mean_absolute_percentage_error",
    "names",
    "nested_subsets",
    "predict_task",
    "prune_runs",
    "rank_systems",
    "refits",
    "relative_noise",
    "scaled_decay",
    "signal_report",
]


def names() -> list[str]:
    """Return the spec names of all laws of loss curves, plug-ins included."""
    return list(entries("forecast"))


__getattr__ = lazy_attributes(__name__, _LAZY)
