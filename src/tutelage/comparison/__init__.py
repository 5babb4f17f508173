"""Which recipe learns most from the same budget, by how much, and how sure is that?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.lazy import lazy_attributes

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


__getattr__ = lazy_attributes(__name__, _LAZY)
