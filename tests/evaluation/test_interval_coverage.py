"""A small version of ``benchmarks/interval_coverage.py``: intervals cover as often as the method cards say."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def rows(root: Path) -> dict[tuple[str, int, str], dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("interval_coverage", root / "benchmarks" / "interval_coverage.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wanted = ("normal", "arms skewed (exponential)", "arms heavy-tailed (t, 3 df)", "difference skewed (exponential)")
    measured = module.measure(comparisons=2000, sizes=(3, 10), scenarios=wanted, resamples=500)
    return {(row["scenario"], row["n"], row["method"]): row for row in measured}


# 2,000 comparisons: standard error 0.5 points at 95 %, 1 at 75 %. Bounds lie four of them around the value measured
# with 10,000 comparisons; where a method is meant to be honest, the lower bound is what honesty allows.
@pytest.mark.parametrize(
    ("noise", "n", "method", "low", "high"),
    [
        ("normal", 3, "t", 0.93, 0.97),
        ("normal", 3, "hybrid", 0.93, 0.97),
        ("normal", 10, "hybrid", 0.93, 0.97),
        ("normal", 3, "bootstrap", 0.71, 0.79),
        ("normal", 10, "bootstrap", 0.87, 0.925),
        ("normal", 10, "bca", 0.86, 0.92),
        ("normal", 10, "bootstrap-expanded", 0.92, 0.97),
        ("normal", 10, "bootstrap-t", 0.92, 0.97),
        ("normal", 10, "permutation", 0.93, 0.97),
        ("arms skewed (exponential)", 3, "hybrid", 0.93, 0.99),
        ("arms skewed (exponential)", 10, "hybrid", 0.93, 0.98),
        ("arms skewed (exponential)", 10, "permutation", 0.93, 0.97),
        ("arms heavy-tailed (t, 3 df)", 3, "hybrid", 0.93, 0.99),
        ("arms heavy-tailed (t, 3 df)", 10, "hybrid", 0.93, 0.98),
        ("arms heavy-tailed (t, 3 df)", 10, "permutation", 0.93, 0.97),
        ("difference skewed (exponential)", 3, "hybrid", 0.84, 0.92),
        ("difference skewed (exponential)", 10, "hybrid", 0.88, 0.94),
        ("difference skewed (exponential)", 10, "bootstrap-t", 0.92, 0.97),
    ],
)
def test_coverage(rows: Any, noise: str, n: int, method: str, low: float, high: float) -> None:
    row = rows[noise, n, method]
    assert low <= row["coverage"] <= high
    assert row["false_alarms"] == pytest.approx(1 - row["coverage"], abs=0.002)


def test_few_values_have_no_end_where_none_is_honest(rows: Any) -> None:
    for method in ("permutation", "bootstrap-t"):
        assert rows["normal", 3, method]["bounded"] == 0
        assert rows["normal", 3, method]["width"] is None
    assert rows["normal", 3, "hybrid"]["bounded"] == 1


def test_the_hybrid_costs_little_width(rows: Any) -> None:
    assert 1 <= rows["normal", 10, "hybrid"]["width"] < 1.06


def test_the_script_prints_one_object(root: Path) -> None:
    command = [sys.executable, str(root / "benchmarks" / "interval_coverage.py"), "--comparisons", "50", "--sizes", "3"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, timeout=120)
    stored = json.loads(done.stdout)
    assert {row["n"] for row in stored["rows"]} == {3}
    assert len(stored["rows"]) == 7 * 7
