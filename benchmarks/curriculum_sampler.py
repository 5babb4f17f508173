"""An epoch of 10 million weighted draws without replacement: ours beside PyTorch's samplers, in one run.

    python benchmarks/curriculum_sampler.py [--examples 10000000] [--rounds 3] [--json]

Every case runs in a process of its own, so that its memory is its own; rounds are interleaved and the median counts.
Measured are the seconds to the first batch of 256 and to the last, of the clock and of the processor, and the memory
above that of the scores. On a busy machine compare the processor's. Resuming and weighting anew are timed as well.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, RandomSampler, WeightedRandomSampler

from tutelage.curricula import CurriculumSampler
from tutelage.training import provenance

BATCH = 256
TARGETS = {"first_seconds": 0.8, "megabytes": 120, "state_bytes": 1000, "reweight_seconds": 0.05}
OURS = ("quality:temperature=2", "cyclical:alpha=0.5", "paced:pace=linear", "rank-order", "rank-order:temperature=1")
PEER = "torch RandomSampler"
PEERS = (PEER, "torch RandomSampler in batches", "torch WeightedRandomSampler in batches")


def resident(name: str) -> float:
    """Return ``VmRSS`` (now) or ``VmHWM`` (most so far) of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e6
    return float("nan")


def scores_of(spec: str, examples: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return scores as a curriculum wants them: losses for the cyclical one, ratings for the others."""
    rng = np.random.default_rng(0)
    return rng.standard_exponential(examples) if spec.startswith("cyclical") else rng.standard_normal(examples)


def one_case(name: str, examples: int) -> dict[str, float]:
    """Return what one case costs, run in this process."""
    torch.set_num_threads(1)
    scores = scores_of(name, examples)
    list(CurriculumSampler("quality", [1.0, 2.0], num_samples=2, seed=0))  # imports are not counted
    make: Callable[[], Iterator[Any]]
    if name == PEER:
        # As it is: single indices, with no batch made of them.
        make = lambda: iter(RandomSampler(range(examples)))  # noqa: E731
    elif name == PEERS[1]:
        make = lambda: iter(BatchSampler(RandomSampler(range(examples)), BATCH, False))  # noqa: E731
    elif name == PEERS[2]:
        weights = torch.from_numpy(np.exp(scores / 2))
        make = lambda: iter(BatchSampler(WeightedRandomSampler(weights, examples), BATCH, False))  # noqa: E731
    else:
        make = lambda: iter(CurriculumSampler(name, scores, num_samples=examples, seed=0).batches(BATCH))  # noqa: E731
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    clock, processor = time.perf_counter(), time.process_time()
    batches = make()
    next(batches)
    first = (time.perf_counter() - clock, time.process_time() - processor)
    for _ in batches:
        pass
    whole = (time.perf_counter() - clock, time.process_time() - processor)
    return {
        "first_seconds": first[0],
        "first_processor_seconds": first[1],
        "seconds": whole[0],
        "processor_seconds": whole[1],
        "megabytes": resident("VmHWM") - before,
    }


def reweight_case(examples: int) -> dict[str, float]:
    """Return what weighting anew costs a threshold curriculum, and what it takes to go on in the middle of an epoch."""
    spec = "paced:pace=linear"
    scores = scores_of(spec, examples)
    sampler = CurriculumSampler(spec, scores, num_samples=examples, seed=0)
    edges = sampler.curriculum.boundaries(examples, examples)
    clocks, processors = [], []
    sampler.indices(0, BATCH)
    for edge in edges[1:].tolist():
        sampler.indices(edge - BATCH, edge)
        clock, processor = time.perf_counter(), time.process_time()
        sampler.indices(edge, edge + BATCH)
        clocks.append(time.perf_counter() - clock)
        processors.append(time.process_time() - processor)
    state = sampler.state_dict(consumed=examples // 2)
    found = {
        "reweight_seconds": statistics.median(clocks),
        "reweight_processor_seconds": statistics.median(processors),
        "slowest_reweight_seconds": max(clocks),
        "slowest_reweight_processor_seconds": max(processors),
        "stages": len(edges),
        "state_bytes": len(json.dumps(state)),
    }
    for name in ("quality:temperature=2", spec):
        again = CurriculumSampler(name, scores, num_samples=examples, seed=0)
        state = again.state_dict(consumed=examples // 2)
        again = CurriculumSampler(name, scores, num_samples=examples, seed=0)
        clock, processor = time.perf_counter(), time.process_time()
        again.load_state_dict(state)
        next(iter(again.batches(BATCH)))
        found[f"resume {name}"] = time.perf_counter() - clock
        found[f"resume {name}, processor"] = time.process_time() - processor
    return found


def in_a_process(case: str, examples: int) -> dict[str, float]:
    """Return what a case costs, run in a process of its own."""
    command = [sys.executable, __file__, "--case", case, "--examples", str(examples)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def medians(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each number over the rounds."""
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        run = reweight_case if options.case == "reweight" else lambda count: one_case(options.case, count)
        print(json.dumps(run(options.examples)))
        return
    cases = [*OURS, *PEERS, "reweight"]
    rows: dict[str, list[dict[str, float]]] = {case: [] for case in cases}
    for number, case in itertools.product(range(options.rounds), cases):
        print(f"round {number + 1}: {case}", file=sys.stderr)
        rows[case].append(in_a_process(case, options.examples))
    found = {case: medians(these) for case, these in rows.items()}
    peer = found[PEER]
    report: dict[str, Any] = {
        "machine": {
            "processor": provenance.machine()["processor"],
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "examples": options.examples,
        "batch_size": BATCH,
        "rounds": options.rounds,
        "targets": {**TARGETS, "ratio": 1.0},
        "peer": PEER,
        "cases": {case: found[case] for case in (*OURS, *PEERS)},
        "reweight": found["reweight"],
        "ratios": {case: found[case]["processor_seconds"] / peer["processor_seconds"] for case in OURS},
    }
    report["met"] = {
        "first_seconds": max(found[case]["first_processor_seconds"] for case in OURS) <= TARGETS["first_seconds"],
        "ratio": max(report["ratios"].values()) <= 1.0,
        "megabytes": max(found[case]["megabytes"] for case in OURS) <= TARGETS["megabytes"],
        "state_bytes": found["reweight"]["state_bytes"] <= TARGETS["state_bytes"],
        "reweight_seconds": found["reweight"]["reweight_processor_seconds"] <= TARGETS["reweight_seconds"],
    }
    if options.json:
        print(json.dumps(report, indent=1))
        return
    print(f"{options.examples:,} examples, batches of {BATCH}, medians of {options.rounds} rounds; processor's seconds")
    print(f"{'':42}{'to first':>10}{'in all':>10}{'of peer':>10}{'MB':>8}")
    for case in (*OURS, *PEERS):
        row = found[case]
        ratio = row["processor_seconds"] / peer["processor_seconds"]
        print(
            f"{case:42}{row['first_processor_seconds']:10.2f}{row['processor_seconds']:10.2f}{ratio:10.2f}"
            f"{row['megabytes']:8.0f}"
        )
    for key, value in found["reweight"].items():
        print(f"{key:42}{value:10.4f}")
    for key, met in report["met"].items():
        print(f"{key:42}{'met' if met else 'NOT met':>10}")


if __name__ == "__main__":
    main()
