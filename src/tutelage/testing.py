"""Conformance checks for parts: run them on your own, as this library does on its.

Each check raises ``AssertionError`` with one line that says which rule is broken, where, and by how much.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tutelage.schedules import Schedule, from_spec

#: Rates are compared with expected ones to this relative tolerance: a few roundings of float64, no more.
_TOLERANCE = 1e-12


def check_schedule(
    schedule: Schedule, *, values: Mapping[float, float] | None = None, final: float | None = None, listed: bool = True
) -> None:
    """Check that a schedule keeps the rules every schedule keeps.

    Rates are finite, never below 0 nor above ``peak``; steps after the end keep the end value; a number gives the same
    ``float``, to the last bit, as that number in an array of any shape; arrays keep their shape and are float64;
    ``to_array`` is the same as the calls; the object is frozen, hashable and equal to its copy; its ``repr`` is the
    spec that builds it again; negative, infinite and NaN steps are refused; a PyTorch scheduler stopped and resumed at
    any update goes on as if it had not been.

    Args:
        schedule: An instance with at least two updates; one without an end is checked over 50 of them.
        values: Expected rates by update, to a relative 1e-12.
        final: Expected rate at ``total_steps``, exactly.
        listed: The class can be found by its spec name. Without it, the ``repr`` is not read back.

    Raises:
        AssertionError: A rule is broken.

    Example:
        >>> from tutelage.schedules import Linear
        >>> check_schedule(Linear(peak=1.0, total_steps=10), values={0: 1.0, 5: 0.5}, final=0.0)
    """
    name = type(schedule).__name__
    total = 50 if schedule.total_steps is None else int(schedule.total_steps)
    rates = schedule(np.arange(total + 1))
    _check_range(name, schedule, rates)
    _check_arrays(name, schedule, rates, total)
    _check_ends(name, schedule, total, final)
    for step, expected in (values or {}).items():
        close = math.isclose(schedule(step), expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE * schedule.peak)
        _expect(close, name, f"rate at update {step} is {schedule(step)!r}, expected {expected!r}")
    _check_value(name, schedule, listed=listed)
    _check_refusals(name, schedule)
    _check_resume(name, schedule, total)


def _expect(condition: bool, name: str, fault: str) -> None:
    if not condition:
        raise AssertionError(f"{name}: {fault}.")


def _check_range(name: str, schedule: Schedule, rates: Any) -> None:
    _expect(bool(np.isfinite(rates).all()), name, "a rate is not finite")
    _expect(bool((rates >= 0).all()), name, f"a rate is below 0: {rates.min()!r}")
    _expect(bool((rates <= schedule.peak).all()), name, f"a rate is above peak={schedule.peak!r}: {rates.max()!r}")


def _check_arrays(name: str, schedule: Schedule, rates: Any, total: int) -> None:
    _expect(isinstance(rates, np.ndarray) and rates.dtype == np.float64, name, "an array does not give a float64 array")
    _expect(rates.shape == (total + 1,), name, f"shape {(total + 1,)} gives {rates.shape}")
    singles = [schedule(step) for step in range(total + 1)]
    _expect(all(type(rate) is float for rate in singles), name, "a number does not give a float")
    for step in range(total + 1):
        same = singles[step] == rates[step]
        _expect(bool(same), name, f"update {step} gives {singles[step]!r} as a number, {rates[step]!r} in an array")
    square = np.array([[0, 1], [total - 1, total]])
    _expect(schedule(square).shape == (2, 2), name, f"shape (2, 2) gives {schedule(square).shape}")
    _expect(bool((schedule(square) == rates[square]).all()), name, "the shape of an array changes its rates")
    empty = schedule(np.array([], dtype=np.int64))
    _expect(empty.shape == (0,), name, f"an empty array gives shape {empty.shape}")
    array = schedule.to_array() if schedule.total_steps is not None else schedule.to_array(total)
    _expect(array.dtype == np.float64 and array.shape == (total,), name, "to_array is not float64, one rate an update")
    _expect(bool((array == rates[:total]).all()), name, "to_array is not the same as the calls")


def _check_ends(name: str, schedule: Schedule, total: int, final: float | None) -> None:
    if schedule.total_steps is None:
        return
    end = schedule(total)
    for later in (total + 1, total + 0.5, 10 * total):
        _expect(
            schedule(later) == end, name, f"update {later} does not keep the end value {end!r}: {schedule(later)!r}"
        )
    if final is not None:
        _expect(end == final, name, f"the rate at total_steps is {end!r}, expected {final!r}")


def _check_value(name: str, schedule: Schedule, *, listed: bool) -> None:
    field = dataclasses.fields(schedule)[0].name  # type: ignore[arg-type]  # TypeError is the right answer to no dataclass
    try:
        setattr(schedule, field, getattr(schedule, field))
    except dataclasses.FrozenInstanceError:
        pass
    else:
        _expect(False, name, "it is not frozen")
    given = {item.name: getattr(schedule, item.name) for item in dataclasses.fields(schedule) if item.init}  # type: ignore[arg-type]  # as above
    copy = type(schedule)(**given)
    _expect(copy == schedule and hash(copy) == hash(schedule), name, "an equal copy is not equal, or has another hash")
    if listed:
        again = from_spec(repr(schedule))
        _expect(again == schedule, name, f"repr {schedule!r} builds another schedule, {again!r}")


def _check_refusals(name: str, schedule: Schedule) -> None:
    for bad in (-1, -0.5, math.nan, math.inf, np.array([0, -1])):
        try:
            schedule(bad)
        except ValueError as error:
            _expect(type(schedule).__name__ in str(error), name, f"the refusal of step {bad} does not say who refuses")
        else:
            _expect(False, name, f"step {bad} is not refused")


def _check_resume(name: str, schedule: Schedule, total: int) -> None:
    import torch

    def start() -> tuple[torch.optim.Optimizer, Any]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=schedule.peak)
        return optimizer, schedule.to_torch(optimizer)

    optimizer, scheduler = start()
    states = []
    rates = []
    for _ in range(total + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        states.append((scheduler.state_dict(), optimizer.state_dict()))
        optimizer.step()
        scheduler.step()
    _expect(rates == schedule(np.arange(total + 1)).tolist(), name, "to_torch does not set the schedule's rates")
    for step, (position, weights) in enumerate(states):
        optimizer, scheduler = start()
        optimizer.load_state_dict(weights)
        scheduler.load_state_dict(position)
        went_on = [optimizer.param_groups[0]["lr"]]
        for _ in range(min(3, total - step)):
            scheduler.step()
            went_on.append(optimizer.param_groups[0]["lr"])
        expected = rates[step : step + len(went_on)]
        _expect(went_on == expected, name, f"resumed at update {step} it uses {went_on}, uninterrupted {expected}")
