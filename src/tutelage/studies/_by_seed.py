"""A study's measurement of one table a seed: made side by side, stored, and read where it has been made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tutelage.storage import write_atomically
from tutelage.studies.study import ScaleName, Setting

Find = Callable[[ScaleName, int], dict[str, Any]]


def tables_by_seed(setting: Setting, find: Find, *, budget: str) -> dict[int, dict[str, Any]]:
    """Return what ``find(scale, seed)`` gives for every seed, as JSON keeps it.

    Args:
        setting: What the study was handed.
        find: Makes one seed's table; a function of a module, so that other processes can import it.
        budget: What one run spends, for the progress.

    Raises:
        ConfigError: There are tables already, and neither ``resume`` nor ``force``.
    """
    import joblib

    from tutelage.comparison.on_local import default_jobs
    from tutelage.comparison.plan import Job
    from tutelage.comparison.run import Progress

    root = setting.open_folder("tables")
    recipe = next(iter(setting.study.arms.values()))
    jobs = [Job("all arms", 0, budget, seed, recipe, f"seed-{seed}.json") for seed in setting.seeds]
    progress = Progress("seeds", jobs, root, len(jobs))
    found: dict[int, dict[str, Any]] = {}
    workers = min(setting.jobs or default_jobs(), len(jobs))
    for seed, table in joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(
        joblib.delayed(_one)(find, setting.scale_name, seed, root / f"seed-{seed}.json") for seed in setting.seeds
    ):
        found[seed] = table
        progress.finished[f"seed-{seed}.json"] = 0.0
        progress.done += 1
        if setting.watch:
            setting.watch(progress)
    return {seed: found[seed] for seed in setting.seeds}


def _one(find: Find, scale: ScaleName, seed: int, file: Path) -> tuple[int, dict[str, Any]]:
    import torch

    if not file.exists():
        torch.set_num_threads(1)
        write_atomically(file, json.dumps(find(scale, seed)))
    table: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return seed, table
