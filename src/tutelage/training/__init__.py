"""The loop: a workload, a recipe, a budget and a seed in; a run folder and a result out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.lazy import lazy_attributes

if TYPE_CHECKING:
    from tutelage.training.callbacks import Callback, RunState
    from tutelage.training.curve import CurveLog, read_curve
    from tutelage.training.folder import RunRecord, read_run
    from tutelage.training.loop import branch, extend, train
    from tutelage.training.order import EpochOrder, ExampleOrder
    from tutelage.training.query import query_runs
    from tutelage.training.recipe import Recipe
    from tutelage.training.recipe_file import RecipeFile
    from tutelage.training.result import RunResult

_LAZY = {
    "Callback": "callbacks",
    "CurveLog": "curve",
    "EpochOrder": "order",
    "ExampleOrder": "order",
    "Recipe": "recipe",
    "RecipeFile": "recipe_file",
    "RunRecord": "folder",
    "RunResult": "result",
    "RunState": "callbacks",
    "branch": "loop",
    "extend": "loop",
    "query_runs": "query",
    "read_curve": "curve",
    "read_run": "folder",
    "train": "loop",
}

__all__ = [
    "Callback",
    "CurveLog",
    "EpochOrder",
    "ExampleOrder",
    "Recipe",
    "RecipeFile",
    "RunRecord",
    "RunResult",
    "RunState",
    "branch",
    "extend",
    "query_runs",
    "read_curve",
    "read_run",
    "train",
]


__getattr__ = lazy_attributes(__name__, _LAZY)
