"""Which examples at all? A part of the data by its scores, without its doubles, mixed from several sources.

>>> names()
['answers', 'balanced', 'duplicates', 'gumbel', 'mixture', 'near-duplicates', 'threshold', 'top', 'variation']
>>> from_spec("top:share=0.5,side=low").select([3.0, 1.0, 2.0, 4.0]).tolist()
[1, 2]
"""

from __future__ import annotations

from typing import Any

from tutelage.registry import build_named, entries
from tutelage.selection._parts import PARTS
from tutelage.selection._protocol import Selection
from tutelage.selection.answers import Answers
from tutelage.selection.balanced import Balanced
from tutelage.selection.duplicates import Duplicates
from tutelage.selection.gumbel import Gumbel
from tutelage.selection.hardness_split import HardnessSplit, hardness_split
from tutelage.selection.mixture import Mixed, Mixture
from tutelage.selection.near_duplicates import NearDuplicates
from tutelage.selection.size_search import SizeSearch, search_size
from tutelage.selection.threshold import Threshold
from tutelage.selection.top import Top
from tutelage.selection.variation import Grades, Variation, select_by_category

__all__ = [
    "PARTS",
    "Answers",
    "Balanced",
    "Duplicates",
    "Grades",
    "Gumbel",
    "HardnessSplit",
    "Mixed",
    "Mixture",
    "NearDuplicates",
    "Selection",
    "SizeSearch",
    "Threshold",
    "Top",
    "Variation",
    "from_spec",
    "hardness_split",
    "names",
    "search_size",
    "select_by_category",
]


def names() -> list[str]:
    """Return the spec names of all selections, plug-ins included."""
    return list(entries("selection"))


def from_spec(spec: str) -> Any:
    """Return the selection a spec such as ``top:share=0.3`` names: a :class:`Selection`, or a :class:`Mixture`.

    Raises:
        UnknownPart: No such selection; names the nearest.
        ConfigError: Every fault of the spec in one message.
    """
    return build_named("selection", spec)
