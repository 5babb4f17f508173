"""A small version of ``benchmarks/large_grid.py``: fabricated runs are found, queried and compared as real ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tutelage.training import RunResult, query_runs, read_run


@pytest.fixture(scope="module")
def benchmark(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("large_grid", root / "benchmarks" / "large_grid.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_run_is_planned_found_and_compared(benchmark: ModuleType) -> None:
    report = benchmark.measure(seeds=2, rows=20)
    assert report["runs"] == report["runs_found"] == report["runs_compared"] == 10 * 5 * 2 * 2
    assert report["report_bytes"] > 10_000
    assert set(report["targets"]) <= set(report["seconds"])
    assert all(seconds > 0 for seconds in report["seconds"].values())


def test_fabricated_runs_are_read_as_runs(benchmark: ModuleType, tmp_path: Path) -> None:
    plan = benchmark.plan_of(benchmark.workloads(1), seeds=1)
    jobs = plan.jobs({})
    benchmark.fabricate(tmp_path / "grid", plan, jobs, rows=20)
    rows = query_runs(tmp_path / "grid").to_pylist()
    assert {row["status"] for row in rows} == {"finished"}
    for job in jobs:
        folder = tmp_path / "grid" / job.folder
        result, record = RunResult.read(folder), read_run(folder)
        assert (record.recipe, record.budget, record.seed) == (job.recipe, job.budget, job.seed)
        assert np.nanmin(result.curve["step"]) == 0
        (row,) = [row for row in rows if row["folder"] == str(folder)]
        assert (row["final_loss"], row["recipe"]) == (result.final_loss, job.recipe)
