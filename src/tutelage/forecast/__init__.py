"""Where will this end? From the curve so far to the curve to come.

>>> round(exp_forecast([1 + 2 * 0.98**t for t in range(100)], horizon=1000).value, 4)
1.0
"""

from tutelage.forecast.exponential import Forecast, clean_spikes, exp_forecast

__all__ = ["Forecast", "clean_spikes", "exp_forecast"]
