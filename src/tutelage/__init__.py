"""Find the training recipe that learns most from a fixed budget, and prove it.

Importing this package imports nothing heavy; what is named here is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.lazy import lazy_attributes

if TYPE_CHECKING:
    from tutelage.comparison import ComparisonResult, compare
    from tutelage.durations import Budget
    from tutelage.training import Recipe, RunResult, train
    from tutelage.workloads import Workload

__version__ = "0.1.0"

_LAZY = {
    "Budget": "durations",
    "ComparisonResult": "comparison",
    "Recipe": "training",
    "RunResult": "training",
    "Workload": "workloads",
    "compare": "comparison",
    "train": "training",
}

__all__ = ["Budget", "ComparisonResult", "Recipe", "RunResult", "Workload", "__version__", "compare", "train"]


__getattr__ = lazy_attributes(__name__, _LAZY)
