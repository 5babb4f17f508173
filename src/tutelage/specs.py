"""Spec strings: ``uba:phi=5,warmup=0.05`` names a part and its arguments in one word.

Grammar: ``NAME[:ARGUMENT=VALUE[,ARGUMENT=VALUE...]]``. Names and arguments are the part's own; a list is written with
slashes (``milestones=0.5/0.75``); durations carry units (:mod:`tutelage.durations`). A part is a frozen dataclass;
its fields are its arguments, so a part needs no other declaration to be usable from a spec.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

from tutelage.durations import Clock, Duration, Rate, RunFraction, Steps, parse_duration
from tutelage.errors import ConfigError, did_you_mean

T = TypeVar("T")
_STEPS, _FRACTION, _RATE = (typing.get_args(mark)[1] for mark in (Steps, RunFraction, Rate))
#: Read before all others: fractions of the run refer to its length, percentages to the peak.
_FIRST = ("total_steps", "peak")


@dataclass(frozen=True)
class PartSpec:
    """A parsed spec: the part's name and its arguments as written."""

    name: str
    arguments: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the spec in its canonical spelling."""
        if not self.arguments:
            return self.name
        return f"{self.name}:" + ",".join(f"{key}={value}" for key, value in self.arguments.items())


def parse_spec(text: str) -> PartSpec:
    """Split ``name:a=1,b=2`` into its name and arguments.

    Raises:
        ConfigError: Empty name, an argument without ``=``, or one given twice.
    """
    name, _, rest = text.strip().partition(":")
    name = name.strip()
    if not name:
        raise ConfigError(
            f'"{text}" is not a spec; write NAME or NAME:argument=value,argument=value, such as uba:phi=5.'
        )
    arguments: dict[str, str] = {}
    for item in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if not equals or not key or not value:
            raise ConfigError(f'"{text}": "{item}" is not argument=value.')
        if key in arguments:
            raise ConfigError(f'"{text}": argument "{key}" is given twice.')
        arguments[key] = value
    return PartSpec(name, arguments)


@functools.cache
def field_types(part: type) -> dict[str, Any]:
    """Return the resolved type of each constructor argument of a dataclass ``part``."""
    hints = typing.get_type_hints(part, include_extras=True)
    return {item.name: hints[item.name] for item in dataclasses.fields(part) if item.init}


def build(part: type[T], spec: PartSpec, *, clock: Clock | None = None, defaults: Mapping[str, Any] | None = None) -> T:
    """Make a ``part`` (a dataclass) from a spec.

    Args:
        part: The dataclass.
        spec: Its name and arguments as written.
        clock: Converts durations given in other units than updates.
        defaults: Values for arguments the spec does not give; those the part does not take are left out.

    Returns:
        The part.

    Raises:
        ConfigError: Every fault of the spec in one message: unknown arguments, unreadable values, missing ones, and
            what the part itself refuses.
    """
    known = field_types(cast(Any, part))
    faults: list[str] = []
    values: dict[str, Any] = {key: value for key, value in (defaults or {}).items() if key in known}
    clock = clock or Clock()
    for key in sorted(spec.arguments, key=lambda name: name not in _FIRST):
        if key not in known:
            faults.append(f'no argument "{key}".{did_you_mean(key, known)} It takes: {", ".join(known) or "none"}')
            continue
        try:
            values[key] = _convert(known[key], spec.arguments[key], key, clock, values.get("peak"))
        except ConfigError as error:
            faults.append(str(error))
        else:
            if key == "total_steps":
                clock = dataclasses.replace(clock, total_steps=values[key])
    missing = [
        item.name
        for item in dataclasses.fields(cast(Any, part))
        if item.init
        and item.name not in values
        and item.name not in spec.arguments
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        faults.append(f"needs {', '.join(missing)}, as in {spec.name}:{','.join(f'{name}=VALUE' for name in missing)}")
    if not faults:
        try:
            return part(**values)
        except (ValueError, TypeError) as error:
            raise ConfigError(str(error)) from error
    raise ConfigError(f"{spec.name}: " + "; ".join(fault.rstrip(".") for fault in faults) + ".")


def _convert(kind: Any, text: str, key: str, clock: Clock, peak: float | None = None) -> Any:
    """Read ``text`` as a value of the annotated type ``kind``."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _convert_marked(kind, text, key, clock, peak)
    if origin in (typing.Union, types.UnionType):
        options = typing.get_args(kind)
        if type(None) in options and text.lower() == "none":
            return None
        remaining = [option for option in options if option is not type(None)]
        return _first_that_reads(remaining, text, key, clock, peak)
    if origin is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(_convert(inner, piece, key, clock, peak) for piece in text.split("/"))
    if origin is Literal:
        choices = typing.get_args(kind)
        if text not in choices:
            raise ConfigError(
                f'{key} must be one of {", ".join(map(str, choices))}, got "{text}".{did_you_mean(text, choices)}'
            )
        return text
    return _convert_plain(kind, text, key)


def _first_that_reads(options: Iterable[Any], text: str, key: str, clock: Clock, peak: float | None) -> Any:
    error: ConfigError | None = None
    for option in options:
        try:
            return _convert(option, text, key, clock, peak)
        except ConfigError as caught:
            error = caught
    raise error or ConfigError(f'{key}: cannot read "{text}".')


def _convert_plain(kind: Any, text: str, key: str) -> Any:
    if kind is bool:
        lowered = text.lower()
        if lowered not in ("true", "false", "yes", "no", "1", "0"):
            raise ConfigError(f'{key} must be true or false, got "{text}"')
        return lowered in ("true", "yes", "1")
    if kind is str:
        return text
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise ConfigError(
                f'{key} must be {"a whole number" if kind is int else "a number"}, got "{text}"'
            ) from None
    raise ConfigError(f"{key} cannot be set from a spec; set it in Python")


def _convert_marked(kind: Any, text: str, key: str, clock: Clock, peak: float | None) -> Any:
    base, mark = typing.get_args(kind)[:2]
    if mark == _RATE and text.endswith("%"):
        if peak is None:
            raise ConfigError(
                f"{key}={text} is a share of a peak that is not known; give peak too, or write the rate itself"
            )
        return float(_convert_plain(float, text[:-1], key)) * peak / 100
    if mark not in (_STEPS, _FRACTION):
        return _convert(base, text, key, clock)
    duration = parse_duration(text, argument=key)
    if mark == _STEPS:
        if isinstance(duration, Duration):
            return duration.to_steps(clock)
        if clock.total_steps is None:
            raise ConfigError(
                f"{key}={text} is a fraction of a run whose length is not known; write it in steps, such as 300steps"
            )
        return round(duration * clock.total_steps)
    if isinstance(duration, float):
        return duration
    if not clock.total_steps:
        raise ConfigError(f"{key}={text} needs a run of known length; write a fraction such as 0.1")
    return duration.to_steps(clock) / clock.total_steps


def spell(kind: Any, value: Any) -> str:
    """Write ``value`` of annotated type ``kind`` so that a spec reads it back exactly."""
    marks = typing.get_args(kind)[1:] if typing.get_origin(kind) is typing.Annotated else ()
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        marks = next(
            (
                typing.get_args(option)[1:]
                for option in typing.get_args(kind)
                if typing.get_origin(option) is typing.Annotated
            ),
            (),
        )
    if value is None:
        return "none"
    if _STEPS in marks:
        return f"{value}steps"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        inner = typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else str
        return "/".join(spell(inner, item) for item in value)
    if _FRACTION in marks and float(value) == 1.0:
        return "1.0"
    return repr(float(value)) if isinstance(value, float) else str(value)
