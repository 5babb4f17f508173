"""Find the training recipe that learns most from a fixed budget, and prove it.

Importing this package imports nothing heavy; what is named here is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.comparison import ComparisonResult, compare
    from tutelage.durations import Budget
    from tutelage.training import Recipe, RunResult, train
    from tutelage.workloads import Workload

__version__ = "0.1.0"

_LAZY = {
    "Budget": "tutelage.durations",
    "ComparisonResult": "tutelage.comparison",
    "Recipe": "tutelage.training",
    "RunResult": "tutelage.training",
    "Workload": "tutelage.workloads",
    "compare": "tutelage.comparison",
    "train": "tutelage.training",
}

__all__ = ["Budget", "ComparisonResult", "Recipe", "RunResult", "Workload", "__version__", "compare", "train"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
