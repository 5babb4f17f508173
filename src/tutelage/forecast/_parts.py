"""Laws of loss curves by name."""

PARTS = {
    "annealing": "tutelage.forecast.annealing:Annealing",
    "last-value": "tutelage.forecast.steps_power:LastValue",
    "multi-power": "tutelage.forecast.multi_power:MultiPower",
    "power": "tutelage.forecast.steps_power:StepsPower",
}
