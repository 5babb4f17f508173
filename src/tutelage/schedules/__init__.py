"""At which learning rate? Pure functions from the update about to be made to its rate.

>>> schedule = from_spec("uba:phi=5,warmup=0.05", total_steps=1000, peak=3e-4)
>>> [round(schedule(step), 9) for step in (0, 49, 1000)]
[6e-06, 0.0003, 0.0]
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from tutelage.durations import Clock, Duration, parse_duration
from tutelage.errors import ConfigError
from tutelage.lazy import lazy_attributes
from tutelage.registry import entries, find
from tutelage.schedules._parts import PARTS
from tutelage.schedules._protocol import RateFunction, Schedule
from tutelage.specs import build, parse_spec

if TYPE_CHECKING:
    from tutelage.schedules._controller import RateController, Segment
    from tutelage.schedules._torch import StepScheduler, to_torch, use_in_trainer
    from tutelage.schedules.auto_lrs import AutoLRS
    from tutelage.schedules.constant import Constant
    from tutelage.schedules.cosine import Cosine
    from tutelage.schedules.decay import Decay
    from tutelage.schedules.exponential import Exponential
    from tutelage.schedules.infinite import InfiniteLR
    from tutelage.schedules.inverse_sqrt import InverseSqrt
    from tutelage.schedules.linear import Linear
    from tutelage.schedules.mup import mup_groups
    from tutelage.schedules.one_cycle import OneCycle
    from tutelage.schedules.phases import Phases
    from tutelage.schedules.polynomial import Polynomial
    from tutelage.schedules.power import PowerLR
    from tutelage.schedules.power_fit import BestRate, PowerFit, TriedRate, best_rates, fit_power, recommend
    from tutelage.schedules.rewarm import ReWarm
    from tutelage.schedules.rex import REX
    from tutelage.schedules.step_decay import StepDecay
    from tutelage.schedules.uba import UBA
    from tutelage.schedules.warmup import Warmup
    from tutelage.schedules.wsd import WSD

#: Public names that are not parts, or not the part itself.
_OTHERS = {
    "BestRate": "tutelage.schedules.power_fit:BestRate",
    "Phases": "tutelage.schedules.phases:Phases",
    "PowerFit": "tutelage.schedules.power_fit:PowerFit",
    "RateController": "tutelage.schedules._controller:RateController",
    "Segment": "tutelage.schedules._controller:Segment",
    "StepScheduler": "tutelage.schedules._torch:StepScheduler",
    "TriedRate": "tutelage.schedules.power_fit:TriedRate",
    "best_rates": "tutelage.schedules.power_fit:best_rates",
    "fit_power": "tutelage.schedules.power_fit:fit_power",
    "mup_groups": "tutelage.schedules.mup:mup_groups",
    "recommend": "tutelage.schedules.power_fit:recommend",
    "to_torch": "tutelage.schedules._torch:to_torch",
    "use_in_trainer": "tutelage.schedules._torch:use_in_trainer",
}
_LAZY = {target.partition(":")[2]: target for target in PARTS.values()} | _OTHERS

__all__ = [
    "REX",
    "UBA",
    "WSD",
    "AutoLRS",
    "BestRate",
    "Constant",
    "Cosine",
    "Decay",
    "Exponential",
    "InfiniteLR",
    "InverseSqrt",
    "Linear",
    "OneCycle",
    "Phases",
    "Polynomial",
    "PowerFit",
    "PowerLR",
    "RateController",
    "RateFunction",
    "ReWarm",
    "Schedule",
    "Segment",
    "StepDecay",
    "StepScheduler",
    "TriedRate",
    "Warmup",
    "best_rates",
    "fit_power",
    "from_spec",
    "mup_groups",
    "names",
    "recommend",
    "to_torch",
    "use_in_trainer",
]


__getattr__ = lazy_attributes(__name__, _LAZY)


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

    Phases are joined by ``+``, each with its length behind ``@``, but for the last, which lasts to the end:
    ``constant@0.6+linear`` or ``cosine@300steps+cosine:peak=1e-4``. A range says where its schedule is entered and
    left: ``cosine@500steps..1000steps`` is the second half of a cosine of 1000 updates.

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
    if len(segments) == 1 and "@" not in spec.partition(":")[0]:
        return _single(spec, clock, defaults)
    return _joined(segments, clock, defaults)


def _single(text: str, clock: Clock, defaults: dict[str, Any]) -> Schedule:
    parsed = parse_spec(text)
    part = find("schedules", parsed.name).load()
    schedule: object = build(part, parsed, clock=clock, defaults=defaults)
    if not isinstance(schedule, Schedule):
        raise ConfigError(
            f'"{parsed.name}" chooses its rates while it runs; it has no fixed curve. Use it in train or compare.'
        )
    return schedule


def _joined(segments: list[str], clock: Clock, defaults: dict[str, Any]) -> Schedule:
    from tutelage.schedules.phases import Phases

    schedules: list[Schedule] = []
    starts: list[int] = []
    lengths: list[int | None] = []
    left = clock.total_steps
    for position, segment in enumerate(segments):
        head, colon, rest = segment.partition(":")
        name, at, spelled = head.partition("@")
        after = len(segments) - 1 - position
        if not at and after:
            raise ConfigError(
                f'"{segment}": a phase before the last says its length, such as {name}@0.6 or {name}@300steps.'
            )
        start, length = _range(spelled, name, clock) if at else (0, left)
        if length is None and left is not None:
            length = left
        _check_room(segment, length, left, after, clock.total_steps)
        stop = None if length is None else start + length
        phase_defaults = defaults if stop is None else defaults | {"total_steps": stop}
        schedule = _single(name + colon + rest, dataclasses.replace(clock, total_steps=stop), phase_defaults)
        if length is None and schedule.total_steps is not None:
            length = schedule.total_steps - start
            _check_room(segment, length, left, after, clock.total_steps)
        schedules.append(schedule)
        starts.append(start)
        lengths.append(length)
        left = None if left is None or length is None else left - length
    return Phases(schedules=tuple(schedules), lengths=tuple(lengths), starts=tuple(starts))


def _range(spelled: str, name: str, clock: Clock) -> tuple[int, int | None]:
    """Read ``300steps``, ``0.6``, ``FROM..TO`` or ``FROM..`` as the first update and the length of a phase."""

    def to_steps(text: str) -> int:
        duration = parse_duration(text, argument=f"{name}@")
        if isinstance(duration, Duration):
            return duration.to_steps(clock)
        if clock.total_steps is None:
            raise ConfigError(
                f"{name}@{spelled} is a fraction of a run whose length is not known; write it in steps, as in 300steps."
            )
        return round(duration * clock.total_steps)

    first, dots, last = spelled.partition("..")
    if not dots:
        return 0, to_steps(first)
    start = to_steps(first)
    return start, to_steps(last) - start if last.strip() else None


def _check_room(segment: str, length: int | None, left: int | None, after: int, total_steps: int | None) -> None:
    """Refuse a phase that is empty, leaves nothing to the later ones, or is last and does not reach the end."""
    if length is None:
        if after:
            raise ConfigError(f'"{segment}": a phase before the last says where it ends.')
        return
    if length < 1 or (left is not None and length > left - after):
        room = "" if left is None else f" {left} of {total_steps} are left for this and the later phases."
        raise ConfigError(f'"{segment}": {length} updates do not fit;{room or " a phase takes at least one."}')
    if not after and left is not None and length != left:
        raise ConfigError(
            f'"{segment}": the last phase covers {length} updates, but {left} of {total_steps} are left; '
            "write it without a length, to the end."
        )
