"""Which recipe learns most from the same budget, by how much, and how sure is that?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.comparison.imports import compare_from, read_results
    from tutelage.comparison.plan import Tuning
    from tutelage.comparison.result import ComparisonResult, RunOutcome, summarise
    from tutelage.comparison.run import Progress, compare

_LAZY = {
    "ComparisonResult": "result",
    "Progress": "run",
    "RunOutcome": "result",
    "Tuning": "plan",
    "compare": "run",
    "compare_from": "imports",
    "read_results": "imports",
    "summarise": "result",
}

__all__ = [
    "ComparisonResult",
    "Progress",
    "RunOutcome",
    "Tuning",
    "compare",
    "compare_from",
    "read_results",
    "summarise",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"tutelage.comparison.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
