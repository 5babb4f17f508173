"""Families of parts and how a name finds its part.

Each family lists its parts as ``name -> "module:object"`` in its ``_parts`` module; nothing is imported before it is
used. Other packages add theirs through the entry point group ``tutelage.<family>`` with the same string.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tutelage.errors import ConfigError, TutelageError, UnknownPart, did_you_mean
from tutelage.specs import build, parse_spec

#: Every family with a ``_parts`` module, and the question it answers.
FAMILIES: Mapping[str, str] = {
    "schedules": "at which learning rate?",
    "optimizers": "how are the weights moved?",
    "workloads": "what is learned, and how is learning measured?",
    "signals": "how hard or good is each example?",
    "curricula": "which examples now?",
    "selection": "which examples at all?",
    "forecast": "where will this end?",
}


@dataclass(frozen=True)
class PartEntry:
    """Where a part lives."""

    family: str
    name: str
    target: str

    def load(self) -> type:
        """Import the part.

        Raises:
            ConfigError: The entry point or table names something that cannot be imported or is not a class.
        """
        module, _, attribute = self.target.partition(":")
        try:
            loaded = getattr(importlib.import_module(module), attribute)
        except TutelageError:  # such as an optional package that is not there; it says so itself
            raise
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(f'{self.family} "{self.name}": {self.target} cannot be imported ({error}).') from error
        if not isinstance(loaded, type):
            raise ConfigError(f"{self.target} is not a class; a part listed by name must be a dataclass.")
        return loaded


@functools.cache
def entries(family: str) -> Mapping[str, PartEntry]:
    """Return the parts of ``family`` by name, sorted, those of installed plug-ins included.

    Raises:
        UnknownPart: No such family.
        ConfigError: A plug-in uses a name that is taken.
    """
    if family not in FAMILIES:
        raise UnknownPart(f'No family "{family}".{did_you_mean(family, FAMILIES)} All: {", ".join(FAMILIES)}.')
    table: dict[str, str] = dict(importlib.import_module(f"tutelage.{family}._parts").PARTS)
    for point in importlib.metadata.entry_points(group=f"tutelage.{family}"):
        if table.get(point.name, point.value) != point.value:
            raise ConfigError(
                f'Two {family} are called "{point.name}": {table[point.name]} and {point.value}; uninstall one.'
            )
        table[point.name] = point.value
    return {name: PartEntry(family, name, table[name]) for name in sorted(table)}


def find(family: str, name: str) -> PartEntry:
    """Return the part called ``name``.

    Raises:
        UnknownPart: No such part; the message names the nearest one.
    """
    known = entries(family)
    if name not in known:
        singular = "curriculum" if family == "curricula" else family.removesuffix("s")
        raise UnknownPart(f'No {singular} "{name}".{did_you_mean(name, known)} All: tutelage parts {family}')
    return known[name]


def build_named(family: str, spec: str, *, defaults: Mapping[str, Any] | None = None) -> Any:
    """Return the part of a family that a spec such as ``adamw:weight_decay=0.01`` names and describes.

    Args:
        family: One of :data:`FAMILIES`.
        spec: ``NAME[:ARGUMENT=VALUE,...]``.
        defaults: Arguments as Python values where the spec does not give them.

    Raises:
        UnknownPart: No such part; names the nearest.
        ConfigError: Every fault of the spec in one message.
    """
    parsed = parse_spec(spec)
    return build(find(family, parsed.name).load(), parsed, defaults=defaults)
