"""Losses after other orders of the same batches: estimated beside really trained, by rank, error and time.

Sixteen batches that differ in kind, of handwritten digits (a perceptron) and of text (a small decoder): one run in a
reference order and the gradient of every batch at every checkpoint, then estimates for thirty-two random orders that
are trained too (``tutelage.forecast.OrderForecaster``). Shown for each way of estimating: Spearman's rank correlation
with the true validation losses, its interval, and the mean absolute error; beside it guessing the reference run's loss
for all, and the sum of first-order influences.

Time is the processor's, of one thread. The fit is counted apart: ``paid back after`` is the number of orders from which
on everything together takes less than training them, ``speed_up_of_1000`` has the fit in it. One order's evaluation
takes the same on both sides and is part of both.

    python benchmarks/order_effects.py
    python benchmarks/order_effects.py --orders 64 --json > order_effects.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import torch

from tutelage.forecast import AdamSpec, OrderForecaster
from tutelage.forecast._order_report import rank_correlation, rank_correlation_interval
from tutelage.randomness import derive_seed
from tutelage.studies import p76_order_without_retraining as study
from tutelage.training import provenance
from tutelage.workloads import from_spec

SEED = 76
CONSTANT, INFLUENCE = "reference loss for all", "sum of influences"


def measured(spec: str, orders: int) -> dict[str, Any]:
    """Return what each way of estimating reaches on one workload."""
    task = study.Task(spec, SEED, "full", None)  # type: ignore[arg-type]
    workload = from_spec(spec).prepare()
    torch.manual_seed(derive_seed(SEED, "init"))
    batches, _ = study._batches(workload, task)
    held_out = [workload.validation.batch(np.arange(len(workload.validation)))]
    made = OrderForecaster(
        workload.loss, workload.make_model(), batches, optimizer=AdamSpec(lr=study.RATES[task.name])
    ).fit()
    checks = {name: made.using(**way).error_check(orders, held_out, seed=SEED) for name, way in study.WAYS.items()}
    check = checks[study.OURS]
    table, places = made.influence(held_out), np.arange(len(batches))
    start = made.loss.value(made.loss.start, held_out[0])
    influence = np.array([start + table[places, order].sum() for order in check.orders])
    rows = [
        {
            "way": name,
            "spearman": one.spearman,
            "interval": one.interval,
            "mae": one.mae if np.isfinite(one.mae) else None,
            "diverged": int((~np.isfinite(one.estimated)).sum()),
            "estimate_seconds": one.estimate_seconds,
            "paid_back_after": one.break_even,
            "speed_up_beyond_the_fit": one.speed_up(),
            "speed_up_of_1000": one.speed_up(1000),
        }
        for name, one in checks.items()
    ]
    rho = rank_correlation(influence, check.true)
    rows.append(
        {
            "way": INFLUENCE,
            "spearman": rho,
            "interval": rank_correlation_interval(rho, orders),
            "mae": float(np.abs(influence - check.true).mean()),
        }
    )
    rows.append({"way": CONSTANT, "spearman": 0.0, "mae": check.constant_mae})
    return {
        "workload": spec,
        "weights": made.loss.size,
        "batches": len(batches),
        "orders": orders,
        "true_deviation": float(check.true.std()),
        "fit_seconds": check.fit_seconds,
        "retrain_seconds": check.retrain_seconds,
        "evaluate_seconds": check.evaluate_seconds,
        "drift": float(np.median(made.drift(check.orders))),
        "ways": rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--orders", type=int, default=32, help="random orders that are trained")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    found = [measured(spec, arguments.orders) for spec in study.STUDY.scales["full"].workloads]
    result = {
        "benchmark": "order_effects",
        "workloads": found,
        "processor_seconds": time.process_time() - began,
        "machine": {**provenance.machine(), **provenance.versions()},
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    for one in found:
        print(
            f"\n{one['workload']}: {one['weights']} weights, {one['batches']} batches, {one['orders']} orders whose "
            f"losses deviate by {one['true_deviation']:.4f}\nfit {one['fit_seconds']:.2f} s, training an order "
            f"{one['retrain_seconds']:.3f} s, evaluating {one['evaluate_seconds']:.4f} s"
        )
        print(f"{'':26}{'spearman':>9}{'mean error':>12}{'s an order':>12}{'paid back':>11}{'x of 1000':>11}")
        for row in one["ways"]:
            error = "diverges" if row["mae"] is None else f"{row['mae']:.4f}"
            times = (
                f"{row['estimate_seconds']:>12.4f}{row['paid_back_after']:>11.0f}{row['speed_up_of_1000']:>11.1f}"
                if "estimate_seconds" in row
                else ""
            )
            print(f"{row['way']:26}{row['spearman']:>9.2f}{error:>12}{times}")


if __name__ == "__main__":
    sys.exit(main())
