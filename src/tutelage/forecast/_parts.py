"""Laws of loss curves by name."""

PARTS = {
    "annealing": "tutelage.forecast.annealing:Annealing",
    "last-value": "tutelage.forecast.steps_power:LastValue",
    "power": "tutelage.forecast.steps_power:StepsPower",
}
