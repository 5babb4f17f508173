"""Everything but the work: every fault of a declaration at once, and what its runs would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.comparison.plan import make_plan
from tutelage.errors import ConfigError, TutelageError

if TYPE_CHECKING:
    from tutelage.comparison.config import ComparisonConfig
    from tutelage.training.estimate import Estimate


def check_all(config: ComparisonConfig) -> list[Estimate]:
    """Return an estimate for each arm on each workload under each budget.

    Raises:
        ConfigError: Every fault found, those of data and of recipes together.
    """
    from tutelage.training.estimate import estimate
    from tutelage.training.recipe import Recipe

    faults: list[str] = []
    arms = list(config.arms.items()) if isinstance(config.arms, dict) else [(arm, arm) for arm in config.arms]
    try:
        workloads = config.prepare()
    except (TutelageError, ValueError) as error:
        faults.append(str(error))
        workloads = []
    try:
        # One arm alone is worth checking too, so it is paired with itself.
        listed = dict(arms) if len(arms) > 1 else {arms[0][0]: arms[0][1], "itself": arms[0][1]}
        plan = make_plan(
            workloads,
            listed,
            budgets=config.budget,
            seeds=config.seeds,
            baseline=config.baseline,
            tuning=config.options()["tune"],
        )
    except (TutelageError, ValueError) as error:
        faults.append(str(error))
    if faults:
        raise ConfigError(" ".join(faults))
    estimates: list[Estimate] = []
    for workload in plan.workloads:
        probes: dict[Recipe, tuple[float, float, int, int]] = {}
        for budget in plan.budgets:
            for recipe in dict.fromkeys(str(arm.recipe) for arm in plan.arms):
                estimates.append(estimate(workload, Recipe.parse(recipe), budget, probes=probes))
    return estimates
