"""The loop: a workload, a recipe, a budget and a seed in; a run folder and a result out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.lazy import lazy_attributes

if TYPE_CHECKING:
    from tutelage.training.accumulation import batch_loss, loss_terms
    from tutelage.training.callbacks import Callback, RunPaused, RunState
    from tutelage.training.checkpoint_tracker import CheckpointTracker, read_checkpoints
    from tutelage.training.curve import CurveLog, read_curve
    from tutelage.training.curve_files import CurveFile, read_loss_curve
    from tutelage.training.early_signals import EarlySignals, signal_run
    from tutelage.training.example_log import ExampleLog, label_outcomes, read_example_log, token_outcomes
    from tutelage.training.folder import RunRecord, read_run
    from tutelage.training.loop import branch, extend, train
    from tutelage.training.order import EpochOrder, ExampleOrder
    from tutelage.training.query import query_runs
    from tutelage.training.range_test import RangeTest, range_test
    from tutelage.training.recipe import Recipe
    from tutelage.training.recipe_file import RecipeFile
    from tutelage.training.result import RunResult
    from tutelage.training.sft import SFTRecipe

_LAZY = {
    "Callback": "callbacks",
    "CheckpointTracker": "checkpoint_tracker",
    "CurveFile": "curve_files",
    "CurveLog": "curve",
    "EarlySignals": "early_signals",
    "EpochOrder": "order",
    "ExampleLog": "example_log",
    "ExampleOrder": "order",
    "RangeTest": "range_test",
    "Recipe": "recipe",
    "RecipeFile": "recipe_file",
    "RunPaused": "callbacks",
    "RunRecord": "folder",
    "RunResult": "result",
    "RunState": "callbacks",
    "SFTRecipe": "sft",
    "batch_loss": "accumulation",
    "branch": "loop",
    "extend": "loop",
    "label_outcomes": "example_log",
    "loss_terms": "accumulation",
    "query_runs": "query",
    "range_test": "range_test",
    "read_checkpoints": "checkpoint_tracker",
    "read_curve": "curve",
    "read_example_log": "example_log",
    "read_loss_curve": "curve_files",
    "read_run": "folder",
    "signal_run": "early_signals",
    "token_outcomes": "example_log",
    "train": "loop",
}

__all__ = [
    "Callback",
    "CheckpointTracker",
    "CurveFile",
    "CurveLog",
    "EarlySignals",
    "EpochOrder",
    "ExampleLog",
    "ExampleOrder",
    "RangeTest",
    "Recipe",
    "RecipeFile",
    "RunPaused",
    "RunRecord",
    "RunResult",
    "RunState",
    "SFTRecipe",
    "batch_loss",
    "branch",
    "extend",
    "label_outcomes",
    "loss_terms",
    "query_runs",
    "range_test",
    "read_checkpoints",
    "read_curve",
    "read_example_log",
    "read_loss_curve",
    "read_run",
    "signal_run",
    "token_outcomes",
    "train",
]


__getattr__ = lazy_attributes(__name__, _LAZY)
