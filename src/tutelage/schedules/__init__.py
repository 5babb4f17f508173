"""At which learning rate? Pure functions from the update about to be made to its rate.

>>> schedule = from_spec("uba:phi=5,warmup=0.05", total_steps=1000, peak=3e-4)
>>> schedule(0), schedule(1000)
(6e-06, 0.0)
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import TYPE_CHECKING, Any

from tutelage.durations import Clock, Duration, parse_duration
from tutelage.errors import ConfigError
from tutelage.registry import entries, find
from tutelage.schedules._parts import PARTS
from tutelage.schedules._protocol import RateFunction, Schedule
from tutelage.specs import build, parse_spec

if TYPE_CHECKING:
    from tutelage.schedules._torch import StepScheduler, to_torch, use_in_trainer
    from tutelage.schedules.phases import Phases
    from tutelage.schedules.uba import UBA

_LAZY = {target.partition(":")[2]: target for target in PARTS.values()} | {
    "Phases": "tutelage.schedules.phases:Phases",
    "StepScheduler": "tutelage.schedules._torch:StepScheduler",
    "to_torch": "tutelage.schedules._torch:to_torch",
    "use_in_trainer": "tutelage.schedules._torch:use_in_trainer",
}

__all__ = [
    "Phases",
    "RateFunction",
    "Schedule",
    "StepScheduler",
    "UBA",
    "from_spec",
    "names",
    "to_torch",
    "use_in_trainer",
]


def __getattr__(name: str) -> Any:
    """Import a schedule, or the PyTorch adaptors, on first use."""
    if name in _LAZY:
        module, _, attribute = _LAZY[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def names() -> list[str]:
    """Return the spec names of all schedules, plug-ins included."""
    return list(entries("schedules"))


def from_spec(
    spec: str,
    *,
    total_steps: int | None = None,
    peak: float | None = None,
    tokens_per_step: float | None = None,
    examples_per_step: float | None = None,
    virtual: bool = False,
) -> Schedule:
    """Return the schedule a spec names.

    Phases are joined by ``+``, each but the last with its length behind ``@``:
    ``constant@0.6+linear`` or ``cosine@300steps+cosine:peak=1e-4``.

    Args:
        spec: ``NAME[:ARGUMENT=VALUE,...]``; what it gives wins over the arguments here.
        total_steps: Updates in the run, where known.
        peak: Highest rate.
        tokens_per_step: Tokens of one update, for durations in tokens and schedules on a token clock.
        examples_per_step: Examples of one update, likewise.
        virtual: ``total_steps`` counts ticks of a run measured in seconds; only fractions of the run convert.

    Raises:
        UnknownPart: No such schedule; names the nearest.
        ConfigError: Every fault of the spec in one message.
    """
    clock = Clock(total_steps, examples_per_step, tokens_per_step, virtual)
    defaults: dict[str, Any] = {"total_steps": total_steps, "peak": peak, "tokens_per_step": tokens_per_step}
    defaults = {key: value for key, value in defaults.items() if value is not None}
    segments = re.split(r"\+(?=[A-Za-z])", spec)
    if len(segments) == 1:
        return _single(spec, clock, defaults)
    return _joined(segments, clock, defaults)


def _single(text: str, clock: Clock, defaults: dict[str, Any]) -> Schedule:
    parsed = parse_spec(text)
    part = find("schedules", parsed.name).load()
    schedule = build(part, parsed, clock=clock, defaults=defaults)
    if not isinstance(schedule, Schedule):
        raise ConfigError(
            f'"{parsed.name}" chooses its rates while it runs; it has no fixed curve. Use it in train or compare.'
        )
    return schedule


def _joined(segments: list[str], clock: Clock, defaults: dict[str, Any]) -> Schedule:
    from tutelage.schedules.phases import Phases

    if clock.total_steps is None:
        raise ConfigError(f'"{"+".join(segments)}": phases need a run of known length.')
    schedules: list[Schedule] = []
    lengths: list[int] = []
    left = clock.total_steps
    for position, segment in enumerate(segments):
        head, colon, rest = segment.partition(":")
        name, at, spelled = head.partition("@")
        last = position == len(segments) - 1
        if bool(at) == last:
            raise ConfigError(
                f'"{segment}": the last phase lasts to the end and takes no @length.'
                if last
                else f'"{segment}": a phase before the last says its length, such as {name}@0.6 or {name}@300steps.'
            )
        length = left
        if at:
            duration = parse_duration(spelled, argument=f"{name}@")
            length = duration.to_steps(clock) if isinstance(duration, Duration) else round(duration * clock.total_steps)
        if not 1 <= length <= left - (len(segments) - 1 - position):
            raise ConfigError(
                f'"{segment}": {length} updates do not fit; {left} of {clock.total_steps} are left for this and the later phases.'
            )
        phase_clock = dataclasses.replace(clock, total_steps=length)
        schedules.append(_single(name + colon + rest, phase_clock, defaults | {"total_steps": length}))
        lengths.append(length)
        left -= length
    return Phases(schedules=tuple(schedules), lengths=tuple(lengths))
