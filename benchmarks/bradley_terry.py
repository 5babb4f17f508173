"""Bradley-Terry strengths of many items, beside choix, in one run.

    python benchmarks/bradley_terry.py [--items 5000] [--comparisons 200000] [--rounds 5] [--json]

Every comparison is between two items drawn at random, and the winner is drawn from the model itself. Contestants: ours;
one spectral step of choix, the estimate it offers for many items; its Newton method and BFGS only where asked for
(``--all``), as they form a dense matrix of all pairs of items. Wins are handed to each as it takes them, which is not
counted. Processor time counts, since other processes share the machine, and the median of the rounds. Beside it, what
each reached: the norm of the log-likelihood's gradient, and the log-likelihood it is short of ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.evaluation import bradley_terry
from tutelage.training import provenance

TARGET_SECONDS, TARGET_NORM = 0.25, 1e-6
OURS, SPECTRAL, NEWTON = "tutelage bradley_terry", "choix, one spectral step", "choix, Newton"
Estimate = Callable[[], NDArray[np.float64]]


def wins_of(items: int, comparisons: int, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return winners and losers."""
    rng = np.random.default_rng(seed)
    strengths = rng.normal(size=items)
    first = rng.integers(items, size=comparisons)
    second = (first + rng.integers(1, items, size=comparisons)) % items
    won = rng.random(comparisons) < 1 / (1 + np.exp(strengths[second] - strengths[first]))
    return np.where(won, first, second), np.where(won, second, first)


def contestants(winners: NDArray[np.int64], losers: NDArray[np.int64], items: int, every: bool) -> dict[str, Estimate]:
    """Return each contestant with its data ready."""
    ones = np.ones(len(winners))
    found: dict[str, Estimate] = {OURS: lambda: bradley_terry(winners, losers, ones, items=items).strengths}
    try:
        import choix
    except ModuleNotFoundError:
        return found
    pairs = list(zip(winners.tolist(), losers.tolist(), strict=True))
    found[SPECTRAL] = lambda: choix.lsr_pairwise(items, pairs)
    if every:
        found[NEWTON] = lambda: choix.opt_pairwise(items, pairs, alpha=0.0)
    return found


def reached(
    strengths: NDArray[np.float64], winners: NDArray[np.int64], losers: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the norm of the gradient and the log-likelihood."""
    gaps = strengths[winners] - strengths[losers]
    lost = 1 / (1 + np.exp(gaps))
    gradient = np.bincount(winners, lost, len(strengths)) - np.bincount(losers, lost, len(strengths))
    return float(np.linalg.norm(gradient)), float(-np.logaddexp(0, -gaps).sum())


def measure(items: int, comparisons: int, rounds: int, every: bool) -> dict[str, Any]:
    """Let the contestants take turns."""
    winners, losers = wins_of(items, comparisons)
    tasks = contestants(winners, losers, items, every)
    bradley_terry([0, 1], [1, 0], [1, 1])  # imports
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    ends: dict[str, NDArray[np.float64]] = {}
    for turn in range(rounds):
        names = list(tasks)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.process_time()
            ends[name] = tasks[name]()
            seconds[name].append(time.process_time() - start)
    outcomes = {name: reached(found, winners, losers) for name, found in ends.items()}
    best = outcomes[OURS][1]
    rows = {
        name: {
            "seconds": statistics.median(taken),
            "fastest": min(taken),
            "slowest": max(taken),
            "gradient_norm": outcomes[name][0],
            "log_likelihood": outcomes[name][1],
            "short_of_ours": best - outcomes[name][1],
        }
        for name, taken in seconds.items()
    }
    ours = rows[OURS]
    return {
        "items": items,
        "comparisons": comparisons,
        "rounds": rounds,
        "contestants": rows,
        "times_as_fast_as_a_spectral_step": rows[SPECTRAL]["seconds"] / ours["seconds"] if SPECTRAL in rows else None,
        "target_seconds": TARGET_SECONDS,
        "target_gradient_norm": TARGET_NORM,
        "met": ours["seconds"] <= TARGET_SECONDS and ours["gradient_norm"] < TARGET_NORM,
    }


def main() -> int:
    """Measure, print, and return 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--comparisons", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="choix's Newton method too, which takes minutes")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.items, given.comparisons, given.rounds, given.all)
    if given.json:
        print(json.dumps({"machine": provenance.machine(), **found}, indent=1))
        return 0 if found["met"] else 1
    print(f"{found['comparisons']:,} comparisons of {found['items']:,} items")
    print(f"{'':26} {'seconds':>9} {'gradient':>10} {'short of ours':>14}")
    for name, row in found["contestants"].items():
        print(f"{name:26} {row['seconds']:9.3f} {row['gradient_norm']:10.1e} {row['short_of_ours']:14.3g}")
    print(f"targets: {TARGET_SECONDS} s, {TARGET_NORM:g}; {'met' if found['met'] else 'missed'}")
    return 0 if found["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
