"""What an update costs in ``train()`` beside the same update in a bare PyTorch loop.

    python benchmarks/loop_overhead.py [--rounds 3] [--only NAME] [--json]

Both make the same updates: same model, first weights, batches, rates, clipping and AdamW, and both read the loss. They
take turns update by update in one process, so that whatever else the machine does hits both alike; ours also stores its
run folder, row by row. The ratio is that of each pair of updates, its median over all pairs counts.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tutelage.optimizers import AdamW
from tutelage.randomness import derive_seed
from tutelage.schedules import UBA
from tutelage.training import Callback, EpochOrder, RunState, provenance, train
from tutelage.workloads import Workload, prepare

TARGET = 1.02
SEED = 1
#: Name -> workload, examples an update, updates a round; the target is for the first.
CASES = {
    "decoder, tiny, 32 x 128": ("text-lm:size=tiny,context=128", 32, 30),
    "decoder, nano, 32 x 128": ("text-lm:size=nano,context=128", 32, 120),
    "digits, perceptron, 64": ("digits:net=mlp", 64, 1500),
}


def bare_loop(workload: Workload, batch_size: int, steps: int) -> Callable[[int], float]:
    """Return one update of a loop as anyone would write it, given its number."""
    torch.manual_seed(derive_seed(SEED, "init"))
    model = workload.make_model()
    model.train()
    optimizer = AdamW().to_torch(model, workload.peak)
    rates = UBA(phi=5, peak=workload.peak, total_steps=steps).to_array().tolist()
    order = EpochOrder(len(workload.train), batch_size, SEED)
    batches = [order.indices(step) for step in range(steps)]

    def update(step: int) -> float:
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        loss = workload.loss(model, workload.train.batch(batches[step]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return update


class TakeTurns(Callback):
    """After each update of ours makes the same one in the bare loop, and notes how long both took."""

    def __init__(self, update: Callable[[int], float]) -> None:
        self.update = update
        self.ours: list[float] = []
        self.bare: list[float] = []
        self.losses: list[tuple[float, float]] = []
        self.resumed = 0.0

    def on_update(self, run: RunState, row: Mapping[str, Any]) -> None:
        """Stop our clock, let the bare loop make its update, and start our clock again."""
        now = time.perf_counter()
        if self.resumed:
            self.ours.append(now - self.resumed)
        started = time.perf_counter()
        loss = self.update(row["step"])
        self.bare.append(time.perf_counter() - started)
        self.losses.append((row["loss"], loss))
        self.resumed = time.perf_counter()


def measure(spec: str, batch_size: int, steps: int, rounds: int) -> dict[str, Any]:
    """Return seconds of both and their ratio, and how far their losses are apart."""
    workload = prepare(spec)
    ours, bare, ratios, apart = [], [], [], 0.0
    for _ in range(rounds):
        turns = TakeTurns(bare_loop(workload, batch_size, steps))
        with tempfile.TemporaryDirectory() as folder:
            train(
                workload,
                f"uba:phi=5;adamw;batch_size={batch_size}",
                budget=f"{steps}steps",
                seed=SEED,
                out=Path(folder) / "run",
                eval_every=steps,
                callbacks=[turns],
                checkpoint_seconds=1e9,
            )
        # The first updates of a round warm caches and make the optimizer's state.
        pairs = list(zip(turns.ours, turns.bare[1:], strict=True))[3:]
        ours += [pair[0] for pair in pairs]
        bare += [pair[1] for pair in pairs]
        ratios += [one / other for one, other in pairs]
        apart = max(apart, max(abs(one - other) for one, other in turns.losses))
    low, high = np.quantile(ratios, [0.25, 0.75])
    return {
        "ours_seconds": statistics.median(ours),
        "bare_seconds": statistics.median(bare),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [float(low), float(high)],
        "updates": len(ratios),
        "losses_differ_by": apart,
    }


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="part of a case's name")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = {name: case for name, case in CASES.items() if options.only is None or options.only in name}
    report: dict[str, Any] = {
        "machine": {
            "processor": provenance.machine()["processor"],
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "threads": 1,
        "target": TARGET,
        "cases": {name: measure(*case, options.rounds) for name, case in cases.items()},
    }
    first = report["cases"].get(next(iter(CASES)))
    report["met"] = None if first is None else first["ratio"] <= TARGET
    if options.json:
        print(json.dumps(report))
        return
    print(f"{'update of':<28}{'bare ms':>10}{'ours ms':>10}{'ratio':>8}{'quartiles':>16}{'added us':>10}")
    for name, case in report["cases"].items():
        low, high = case["ratio_quartiles"]
        added = (case["ratio"] - 1) * case["bare_seconds"] * 1e6
        print(
            f"{name:<28}{case['bare_seconds'] * 1e3:>10.3f}{case['ours_seconds'] * 1e3:>10.3f}{case['ratio']:>8.4f}"
            f"{f'{low:.3f}-{high:.3f}':>16}{added:>10.0f}"
        )
    if report["met"] is not None:
        print(f"target for the first: {TARGET} ({'met' if report['met'] else 'NOT met'})")


if __name__ == "__main__":
    main()
