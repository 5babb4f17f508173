"""What it costs that a run can be resumed: writing a checkpoint, reading one, going on, and each update in between.

    python benchmarks/resume_cost.py [--rounds 5] [--steps 30] [--json]

The model is the text workload's tiny decoder with AdamW. "an update" compares updates of a run that is stored with a
checkpoint due once an hour to updates of one that is kept in memory, in turns of a run each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tutelage.training import Callback, RunState, provenance, train
from tutelage.training.checkpoint import checkpoints, load_newest
from tutelage.workloads import Workload, prepare

SPEC = "text-lm:size=tiny,context=128"
RECIPE = "uba:phi=5;adamw;batch_size=8"


class Stop(Callback):
    """Notes when updates end, and breaks off after some as a kill would."""

    def __init__(self, after: int | None = None) -> None:
        self.after, self.times = after, [time.perf_counter()]

    def on_start(self, run: RunState) -> None:
        """Note when the run is ready for its next update."""
        self.times.append(time.perf_counter())

    def on_update(self, run: RunState, row: Mapping[str, Any]) -> None:
        """Note the time, and break off."""
        self.times.append(time.perf_counter())
        if run.step == self.after:
            raise KeyboardInterrupt


def break_off(workload: Workload, folder: Path, steps: int) -> list[float]:
    """Leave a run with a checkpoint of its update ``steps // 2``; return its seconds an update."""
    stop = Stop(steps - 1)
    settings = {"eval_every": steps, "checkpoint_every": steps // 2, "callbacks": [stop]}
    with contextlib.suppress(KeyboardInterrupt):
        train(workload, RECIPE, budget=f"{steps}steps", out=folder, **settings)
    return np.diff(stop.times).tolist()


def update_seconds(workload: Workload, folder: Path | None, steps: int) -> float:
    """Return the median seconds of an update, with a folder or without."""
    watch = Stop()
    settings = {"eval_every": steps, "checkpoint_seconds": 3600, "callbacks": [watch]}
    train(workload, RECIPE, budget=f"{steps}steps", out=folder, **settings)
    return statistics.median(np.diff(watch.times[3:]))


def measure(rounds: int, steps: int) -> dict[str, Any]:
    """Return the seconds of everything, medians over the rounds."""
    workload = prepare(SPEC)
    written, read, resumed, stored, memory = [], [], [], [], []
    size = 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "run"
            taken = break_off(workload, folder, steps)
            # The update after which the checkpoint was written includes it.
            written.append(max(taken[2:]) - statistics.median(taken[2:]))
            (path,) = checkpoints(folder / "checkpoint")
            size = sum(file.stat().st_size for file in path.iterdir())
            started = time.perf_counter()
            load_newest(folder / "checkpoint")
            read.append(time.perf_counter() - started)
            watch = Stop(steps // 2 + 1)
            with contextlib.suppress(KeyboardInterrupt):
                train(workload, RECIPE, budget=f"{steps}steps", out=folder, resume=True, callbacks=[watch])
            resumed.append(watch.times[1] - watch.times[0])
            stored.append(update_seconds(workload, Path(name) / "other", steps))
            memory.append(update_seconds(workload, None, steps))
    parameters = sum(parameter.numel() for parameter in workload.make_model().parameters())
    return {
        "parameters": parameters,
        "checkpoint_bytes": size,
        "write_seconds": statistics.median(written),
        "read_seconds": statistics.median(read),
        "resume_seconds": statistics.median(resumed),
        "update_stored_seconds": statistics.median(stored),
        "update_in_memory_seconds": statistics.median(memory),
        "update_ratio": statistics.median(one / other for one, other in zip(stored, memory, strict=True)),
    }


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=30, help="updates of a run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = measure(options.rounds, options.steps)
    machine = {
        "processor": provenance.machine()["processor"],
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if options.json:
        print(json.dumps({"machine": machine, "workload": SPEC, **facts}))
        return
    print(f"{facts['parameters']:,} weights, a checkpoint of {facts['checkpoint_bytes'] / 2**20:.1f} MiB")
    for label, name in (
        ("writing a checkpoint", "write_seconds"),
        ("reading and checking one", "read_seconds"),
        ("resuming: from train() to its next update", "resume_seconds"),
        ("an update, stored run", "update_stored_seconds"),
        ("an update, in memory", "update_in_memory_seconds"),
    ):
        print(f"{label:<44}{facts[name] * 1e3:>10.2f} ms")
    print(f"{'an update, stored to in memory':<44}{facts['update_ratio']:>10.4f}")


if __name__ == "__main__":
    main()
