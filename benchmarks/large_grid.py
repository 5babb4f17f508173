"""How long a comparison of 10,000 runs takes besides training: to plan, to go on with, to query and to report.

    python benchmarks/large_grid.py [--seeds 100] [--rows 300] [--json] [--out benchmarks/results/large_grid.json]

10 arms, 5 workloads and 2 budgets on 100 seeds. A few updates of one run are made for each workload and budget; the
folders of all others repeat its files with their own recipe, seed and losses, in the formats that run has.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import torch

from tutelage.comparison._grid import open_folder
from tutelage.comparison.check import check_all
from tutelage.comparison.config import ComparisonConfig
from tutelage.comparison.plan import Job, Plan, Tuning, make_plan
from tutelage.comparison.report import write_report
from tutelage.comparison.result import summarise
from tutelage.comparison.run import compare
from tutelage.training import provenance, query_runs, train
from tutelage.training.curve import CURVE_TABLE, read_curve
from tutelage.training.folder import RESULT_FILE, RUN_FILE
from tutelage.workloads import Workload, prepare

ARMS = ["cosine", "constant", "linear", *(f"uba:phi={phi}" for phi in (0.5, 1, 2, 5, 10)), "wsd:decay=0.2", "one-cycle"]
BUDGETS = ["300steps", "600steps"]
#: Seconds each step may take.
TARGETS = {"plan": 1.0, "query": 5.0, "report": 15.0}


def workloads(count: int) -> list[Workload]:
    """Return small workloads of different names; what they learn does not matter here."""
    one = prepare("digits:net=mlp")
    return [
        dataclasses.replace(one, name=f"digits-{number}", fingerprint=f"digits-{number}") for number in range(count)
    ]


def plan_of(items: list[Workload], seeds: int) -> Plan:
    """Return the checked declaration of the grid."""
    tuning = Tuning.parse(None)
    return make_plan(items, ARMS, budgets=BUDGETS, seeds=seeds, baseline=None, tuning=tuning)


def fabricate(root: Path, plan: Plan, jobs: list[Job], rows: int) -> None:
    """Write the folders of finished runs, each like a real one of its workload and budget."""
    open_folder(root, plan.declaration(), resume=True, force=False)
    rng = np.random.default_rng(0)
    effects = dict(zip([arm.name for arm in plan.arms], rng.normal(0, 0.01, len(plan.arms)), strict=True))
    with tempfile.TemporaryDirectory() as scratch:
        models: dict[int, tuple[dict[str, Any], dict[str, Any], list[str]]] = {}
        for index, workload in enumerate(plan.workloads):
            folder = Path(scratch) / str(index)
            train(workload, "cosine", budget="20steps", out=folder, keep_weights=False)
            run, result = (json.loads((folder / name).read_text()) for name in (RUN_FILE, RESULT_FILE))
            models[index] = run, result, list(read_curve(folder))
            files = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    for job in jobs:
        run, result, names = models[job.workload]
        folder = root / job.folder
        folder.mkdir(parents=True)
        steps = int(job.budget.removesuffix("steps"))
        loss = 2.0 + effects[job.arm] + rng.normal(0, 0.02) + np.geomspace(1.0, 0.01, rows)
        value = float(loss[-1])
        run |= {"recipe": job.recipe, "budget": job.budget, "seed": job.seed}
        run["phases"] = [run["phases"][0] | {"recipe": job.recipe, "total_steps": steps}]
        hashes = {"init": f"init-{job.seed}", "data": result["hashes"]["data"], "order": f"order-{job.seed}"}
        result |= {"final_loss": value, "steps": steps, "hashes": hashes, "metrics": {result["metric"]: value}}
        # The text that write_json makes, and the table that compact makes, less the flush to the disk.
        (folder / RUN_FILE).write_text(json.dumps(run, indent=2) + "\n")
        (folder / RESULT_FILE).write_text(json.dumps(result, indent=2) + "\n")
        columns = {name: loss + rng.normal(0, 0.01, rows) for name in names}
        columns["step"] = np.linspace(0, steps - 1, rows).astype(np.int64)
        evaluated = np.arange(rows) % max(1, rows // 10) == 0
        columns[result["metric"]] = np.where(evaluated, columns[result["metric"]], np.nan)
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / CURVE_TABLE, compression="zstd")
        if sorted(path.name for path in folder.iterdir()) != files:
            raise RuntimeError(f"A run writes {files}; this benchmark writes something else.")


def timed(act: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call gives, and its seconds."""
    started = time.perf_counter()
    return act(), time.perf_counter() - started


def measure(seeds: int, rows: int) -> dict[str, Any]:
    """Return the seconds of each step, in the order a user meets them."""
    items = workloads(5)
    seconds: dict[str, float] = {}
    plan, seconds["plan"] = timed(lambda: plan_of(items, seeds))
    jobs, taken = timed(lambda: plan.jobs({}))
    seconds["plan"] += taken
    declared = ComparisonConfig(workload=["digits:net=mlp", "digits:net=cnn"], arms=ARMS, budget=BUDGETS, seeds=seeds)
    _, seconds["tutelage check, 2 workloads"] = timed(lambda: check_all(declared))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "grid"
        _, seconds["fabricate (not counted)"] = timed(lambda: fabricate(root, plan, jobs, rows))
        table, seconds["query"] = timed(lambda: query_runs(root))
        _, seconds["query again, with a condition"] = timed(
            lambda: query_runs(root, sql="select recipe, avg(final_loss) from runs where seed < 50 group by recipe")
        )
        result, seconds["compare --resume, all finished, with report"] = timed(
            lambda: compare(items, ARMS, budget=BUDGETS, seeds=seeds, out=root, resume=True)
        )
        again, seconds["report"] = timed(lambda: summarise(result.runs, baseline=result.baseline))
        page, taken = timed(lambda: write_report(again, root))
        seconds["report"] += taken
        facts = {
            "runs": len(jobs),
            "runs_found": table.num_rows,
            "runs_compared": len(result.runs),
            "report_bytes": page.stat().st_size,
        }
    met = {step: seconds[step] <= limit for step, limit in TARGETS.items()}
    return {**facts, "seconds": seconds, "targets": TARGETS, "met": met}


def main() -> int:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="seeds; 100 runs each")
    parser.add_argument("--rows", type=int, default=300, help="rows of a curve")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--out", type=Path, help="also write the result here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # What else the machine does while this runs tells how far to trust the seconds.
    facts = {"machine": {**provenance.machine(), **provenance.versions()}, "load_before": round(os.getloadavg()[0], 1)}
    report = facts | measure(options.seeds, options.rows)
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(report))
        return 0
    print(f"{report['runs']:,} runs; report.html of {report['report_bytes'] / 2**20:.1f} MiB")
    for step, taken in report["seconds"].items():
        limit = report["targets"].get(step)
        note = "" if limit is None else f"   target {limit:g} s: {'met' if report['met'][step] else 'NOT met'}"
        print(f"{step:<48}{taken:>8.2f} s{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
