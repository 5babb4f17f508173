"""Which examples now? What decides the order in which a model meets its examples.

>>> names()
['phased', 'replay']
>>> from_spec("replay:alpha=0.05").counts(1000)
(950, 50)
"""

from __future__ import annotations

from typing import Any

from tutelage.curricula._parts import PARTS
from tutelage.curricula._protocol import BatchOrder, OrderCurriculum
from tutelage.curricula.phases import OrderedExamples, Phased, phased, stacked
from tutelage.curricula.replay import Replay, ReplayMixer
from tutelage.registry import entries, find
from tutelage.specs import build, parse_spec

__all__ = [
    "PARTS",
    "BatchOrder",
    "OrderCurriculum",
    "OrderedExamples",
    "Phased",
    "Replay",
    "ReplayMixer",
    "from_spec",
    "names",
    "phased",
    "stacked",
]


def names() -> list[str]:
    """Return the spec names of all curricula, plug-ins included."""
    return list(entries("curricula"))


def from_spec(spec: str) -> Any:
    """Return the curriculum a spec such as ``replay:alpha=0.05`` names; an :class:`OrderCurriculum`.

    Raises:
        UnknownPart: No such curriculum; names the nearest.
        ConfigError: Every fault of the spec in one message.
    """
    parsed = parse_spec(spec)
    return build(find("curricula", parsed.name).load(), parsed)
