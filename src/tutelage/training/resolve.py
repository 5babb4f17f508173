"""From what a run says about itself to its clock and its schedule."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tutelage.durations import Budget, Clock
from tutelage.errors import ConfigError
from tutelage.registry import find
from tutelage.schedules import Schedule
from tutelage.specs import parse_spec
from tutelage.training.folder import Phase, RunRecord
from tutelage.training.recipe import Recipe, resolve_schedule

if TYPE_CHECKING:
    from tutelage.workloads import Workload

#: Ticks of a run measured in seconds: its schedule sees time to a millionth of the run.
VIRTUAL_STEPS = 1_000_000


def clock_of(workload: Workload, budget: Budget, batch_size: int) -> Clock:
    """Return how the run's units convert: its updates, or the ticks of a budget in seconds.

    Raises:
        ConfigError: A budget in tokens for examples without a number of tokens, or one below a single update.
    """
    units = unit_clock(workload, batch_size)
    total = budget.total_steps(units)
    if total is None:
        return dataclasses.replace(units, total_steps=VIRTUAL_STEPS, virtual=True)
    return dataclasses.replace(units, total_steps=total)


def unit_clock(workload: Workload, batch_size: int) -> Clock:
    """Return what one update spends, without an end."""
    per_example = workload.tokens_per_example
    return Clock(None, batch_size, None if per_example is None else batch_size * per_example)


def searches(recipe: Recipe) -> bool:
    """Return whether a recipe's schedule finds its rates while it runs."""
    spec = recipe.schedule
    return "+" not in spec and not issubclass(find("schedules", parse_spec(spec).name).load(), Schedule)


def is_controller(schedule: Any) -> bool:
    """Return whether a resolved schedule is the settings of a controller."""
    return hasattr(schedule, "controller")


def schedule_of(phase: Phase, record: RunRecord, workload: Workload) -> Any:
    """Return the schedule of a phase, or the settings of its controller.

    Raises:
        ConfigError: The spec cannot be used in this run.
    """
    choice = Recipe.parse(phase.recipe)
    total = VIRTUAL_STEPS if phase.total_steps is None else phase.total_steps - phase.origin
    units = unit_clock(workload, record.batch_size)
    clock = dataclasses.replace(units, total_steps=total, virtual=phase.seconds is not None)
    schedule = resolve_schedule(choice, clock=clock, peak=choice.peak or record.peak)
    if phase.seconds is not None and is_controller(schedule):
        raise ConfigError(
            f'"{choice.schedule}" plans its search in updates; give the budget in steps, examples or tokens.'
        )
    return schedule
