"""Can weights be added? Models of one ancestor joined by arithmetic on their weights, in memory or from disk to disk.

>>> import torch
>>> from tutelage.merging import average
>>> average([{"w": torch.tensor([1.0, 4.0])}, {"w": torch.tensor([3.0, 0.0])}])["w"]
tensor([2., 2.])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.lazy import lazy_attributes
from tutelage.merging._combination import Combination

if TYPE_CHECKING:
    from tutelage.merging.checkpoint import Checkpoint
    from tutelage.merging.folders import Merged, merge_folders
    from tutelage.merging.instruction_residual import Compatibility, Residual, apply_residual, residual, residual_compat
    from tutelage.merging.states import Sweep, add_residual, average, fingerprint, sweep_lambda, task_arithmetic

_LAZY = {
    "Checkpoint": "checkpoint",
    "Compatibility": "instruction_residual",
    "Merged": "folders",
    "Residual": "instruction_residual",
    "Sweep": "states",
    "add_residual": "states",
    "apply_residual": "instruction_residual",
    "average": "states",
    "fingerprint": "states",
    "merge_folders": "folders",
    "residual_compat": "instruction_residual",
    "residual": "instruction_residual",
    "sweep_lambda": "states",
    "task_arithmetic": "states",
}

__all__ = [
    "Checkpoint",
    "Combination",
    "Compatibility",
    "Merged",
    "Residual",
    "Sweep",
    "add_residual",
    "apply_residual",
    "average",
    "fingerprint",
    "merge_folders",
    "residual",
    "residual_compat",
    "sweep_lambda",
    "task_arithmetic",
]

__getattr__ = lazy_attributes(__name__, _LAZY)
