"""What keeping a part of many scores costs: ours beside NumPy's partition and sort, in one run.

    python benchmarks/selection_speed.py [--examples 10000000] [--rounds 5] [--json]

Keeps the easiest 30 % of the scores: the places of the lowest, ascending. The peer is ``numpy.partition`` of the scores
alone, which finds the limit and no places; ``numpy.argpartition`` and a stable ``argsort`` are measured beside it. The
rounds are interleaved, the median counts. Every result is compared with the stable sort's.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.selection import Balanced, Gumbel, Threshold, Top
from tutelage.training import provenance

SHARE = 0.3
TARGET_RATIO = 1.2
Scores = NDArray[np.float64]


def data(kind: str, examples: int) -> Scores:
    """Return scores of that kind."""
    rng = np.random.default_rng(0)
    if kind == "few values":
        return rng.integers(0, 10, examples).astype(np.float64)
    values = rng.normal(size=examples)
    return np.sort(values) if kind == "sorted" else values


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=10_000_000, help="scores")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, interleaved")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    kept = round(SHARE * options.examples)
    ways: dict[str, Callable[[Scores], Any]] = {
        "tutelage top, lowest 30 %": Top(share=SHARE, side="low").select,
        "numpy.partition": lambda scores: np.partition(scores, kept - 1),
        "numpy.argpartition": lambda scores: np.argpartition(scores, kept - 1),
        "tutelage threshold": Threshold(max=0.0).select,
        "tutelage gumbel, 30 %": Gumbel(share=SHARE, temperature=2.0).select,
        "tutelage balanced, 30 %, no groups": Balanced(share=SHARE, quota="none").select,
    }
    kinds: dict[str, dict[str, Any]] = {}
    for kind in ("normal", "few values", "sorted"):
        scores = data(kind, options.examples)
        began = time.perf_counter()
        order = np.argsort(scores, kind="stable")
        sorting = time.perf_counter() - began
        same = bool(np.array_equal(Top(share=SHARE, side="low").select(scores), np.sort(order[:kept])))
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(options.rounds):
            names = list(ways)
            random.Random(turn).shuffle(names)
            for name in names:
                began = time.perf_counter()
                ways[name](scores)
                seconds[name].append(time.perf_counter() - began)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        ratio = medians["tutelage top, lowest 30 %"] / medians["numpy.partition"]
        kinds[kind] = {
            "seconds": medians | {"numpy.argsort, stable": sorting},
            "ratio": ratio,
            "same_as_sort": same,
            "target": TARGET_RATIO,
            "met": same and ratio <= TARGET_RATIO,
        }
    report = {
        "machine": {**provenance.machine(), **provenance.versions()},
        "examples": options.examples,
        "share": SHARE,
        "kinds": kinds,
    }
    if options.json:
        print(json.dumps(report))
        return
    for kind, told in kinds.items():
        print(f"\n{options.examples:,} scores, {kind}\n{'way':<38}{'seconds':>10}{'to partition':>14}")
        for name, value in sorted(told["seconds"].items(), key=lambda item: item[1]):
            print(f"{name:<38}{value:>10.4f}{value / told['seconds']['numpy.partition']:>14.2f}")
        verdict = "met" if told["met"] else "NOT met"
        print(f"top to partition {told['ratio']:.2f} (target {TARGET_RATIO}: {verdict})")
        print(f"the same places as a stable sort: {told['same_as_sort']}")


if __name__ == "__main__":
    main()
