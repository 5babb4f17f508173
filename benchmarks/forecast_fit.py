"""What fitting the annealing law costs: ours beside the published procedure, multi-start L-BFGS-B, in one run.

    python benchmarks/forecast_fit.py [--points 20000] [--starts 16] [--rounds 3] [--json]

One curve with 0.3 % noise. The published procedure minimises the same objective from many starts; with the decay of the
momentum free it recomputes the annealing area at every evaluation. Also: a curve of a million points, time and memory,
and a forecast with its back-tests, and 200 refits.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, signal

from tutelage.forecast import Annealing, AnnealingLaw, LossCurve, forecast, refits
from tutelage.schedules import Cosine
from tutelage.training import provenance

LAW = AnnealingLaw(L0=2.9, A=0.6, alpha=0.55, C=0.45, lam=0.999)
DELTA = 1e-3
TARGET_RATIO = 50.0
TARGET_LONG_SECONDS, TARGET_LONG_BYTES = 5.0, 1 << 30


def curve_of(points: int) -> LossCurve:
    """Return a noisy curve with a point an update."""
    rates = 3e-5 + Cosine(peak=2.7e-4, total_steps=points)(np.arange(points))
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(points))
    losses = LAW.predict(rates) * noise
    return LossCurve.of(steps=np.arange(1, points + 1), losses=losses, rates=rates)


def published(curve: LossCurve, starts: int, *, free: bool) -> float:
    """Fit by L-BFGS-B with numeric gradients from a grid of starts; return the objective."""
    observed = np.log(curve.losses)
    forward = np.cumsum(curve.rates)
    falls = np.concatenate([[0.0], curve.rates[:-1] - curve.rates[1:]])

    def annealed(lam: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        found: np.ndarray[Any, np.dtype[np.float64]] = np.cumsum(signal.lfilter([1.0], [1.0, -lam], falls))
        return found

    fixed = annealed(LAW.lam)

    def objective(values: np.ndarray[Any, Any]) -> float:
        area = annealed(values[4]) if free else fixed
        with np.errstate(all="ignore"):
            loss = values[0] + values[1] * forward ** -values[2] - values[3] * area
            size = np.abs(np.log(np.maximum(loss, 1e-9)) - observed)
        return float(np.sum(np.where(size < DELTA, size**2 / 2, DELTA * size - DELTA**2 / 2)))

    best = np.inf
    grid = itertools.product((0.1, 2.1), (1.0, 11.5), (0.2, 0.6), (1.0, 11.5))
    bounds = [(0.0, None)] * 4 + ([(0.9, 0.9999)] if free else [])
    for floor, height, alpha, gain in itertools.islice(grid, starts):
        start = [floor, height, alpha, gain, *([0.99] if free else [])]
        options = {"maxiter": 100_000, "ftol": 1e-9, "gtol": 1e-6}
        found = optimize.minimize(objective, start, method="L-BFGS-B", bounds=bounds, options=options)
        best = min(best, float(found.fun))
    return best


def timed(work: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Return the median of several rounds in seconds, and the last result."""
    seconds, found = [], None
    for _ in range(rounds):
        start = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--starts", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="Also write the result here.")
    options = parser.parse_args()
    curve = curve_of(options.points)
    result: dict[str, Any] = {"points": options.points, "starts": options.starts, "machine": provenance.machine()}
    result["versions"] = provenance.versions()
    for name, free in (("lam fixed", False), ("lam free", True)):
        part = Annealing(lam="free" if free else LAW.lam, skip=0)
        ours, fit = timed(lambda part=part: part.fit([curve]), max(5, options.rounds))
        theirs, objective = timed(lambda free=free: published(curve, options.starts, free=free), options.rounds)
        result[name] = {
            "ours_seconds": ours,
            "published_seconds": theirs,
            "ratio": theirs / ours,
            "objective_over_published": fit.objective / objective,
            "largest_relative_error": max(
                abs(fit.law.params()[key] / value - 1) for key, value in LAW.params().items() if value
            ),
        }
    refitted, _ = timed(lambda: refits(fit, Annealing(lam=LAW.lam, skip=0), repeats=200), 1)
    result["200 refits"] = {"seconds": refitted}
    half = curve.until(options.points // 2)
    ahead, _ = timed(lambda: forecast(half, law="annealing"), 3)
    result["forecast with back-tests"] = {"seconds": ahead}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    long = curve_of(options.long)
    seconds, _ = timed(lambda: Annealing(lam="free", skip=0).fit([long]), 1)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    result["long"] = {"points": options.long, "seconds": seconds, "peak_bytes": grown}
    result["target_ratio"] = TARGET_RATIO
    result["long_target"] = {"seconds": TARGET_LONG_SECONDS, "bytes": TARGET_LONG_BYTES}
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(result))
        return
    for name in ("lam fixed", "lam free"):
        row = result[name]
        print(
            f"{name}: ours {1e3 * row['ours_seconds']:.1f} ms, published procedure {row['published_seconds']:.2f} s: "
            f"{row['ratio']:.0f} times; objective {row['objective_over_published']:.6f} of theirs"
        )
    print(f"200 refits {refitted:.2f} s; forecast with back-tests {1e3 * ahead:.0f} ms")
    print(f"{options.long:,} points, lam free: {seconds:.2f} s, {grown / 2**20:.0f} MiB (targets 5 s, 1024 MiB)")


if __name__ == "__main__":
    main()
