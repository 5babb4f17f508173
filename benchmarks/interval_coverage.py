"""How often do our intervals cover the truth, and how wide are they?

Every method of ``tutelage.evaluation.paired_difference`` on simulated paired differences whose true mean is known. An
honest 95 % interval covers it in 95 of 100 comparisons. Two kinds of noise: *arms*, where both arms have noise of the
same shape, so that their difference is symmetric, as in most comparisons; and *difference*, where the difference itself
is skewed or heavy-tailed, as with one noiseless arm, which is harder.

Then the average over several workloads (``tutelage.evaluation.combine_workloads``), where workloads may differ in truth
and a seed may do the same to all of them: does the interval cover the average over these workloads (*fixed*), or the
average over all workloads they were drawn from (*random*)?

    python benchmarks/interval_coverage.py
    python benchmarks/interval_coverage.py --comparisons 20000 --json > coverage.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.evaluation._errors_of_averages import half_width, separate
from tutelage.evaluation._intervals import METHODS, Method, interval, p_values

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, int]], Floats]


def _exponential(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.exponential(size=shape) - 1.0


def _lognormal(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.lognormal(size=shape) - np.exp(0.5)


def _heavy(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.standard_t(3, size=shape)


def _of_arms(noise: Noise) -> Noise:
    return lambda rng, shape: noise(rng, shape) - noise(rng, shape)


#: All have mean zero.
SCENARIOS: dict[str, Noise] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "arms skewed (exponential)": _of_arms(_exponential),
    "arms skewed (lognormal)": _of_arms(_lognormal),
    "arms heavy-tailed (t, 3 df)": _of_arms(_heavy),
    "difference skewed (exponential)": _exponential,
    "difference skewed (lognormal)": _lognormal,
    "difference heavy-tailed (t, 3 df)": _heavy,
}


def measure(
    *,
    comparisons: int = 10_000,
    sizes: Sequence[int] = (3, 5, 6, 7, 10, 20, 30),
    scenarios: Sequence[str] = tuple(SCENARIOS),
    methods: Sequence[Method] = METHODS,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return one row for each scenario, size and method.

    Returns:
        Rows of ``scenario``, ``n``, ``method``, ``coverage`` with its standard error, ``bounded`` (share of intervals
        that have two ends), ``width`` (median, in widths of Student's) and ``false_alarms`` (share of p values below
        ``1 - confidence``, where nothing differs).
    """
    rows: list[dict[str, Any]] = []
    for scenario in scenarios:
        for n in sizes:
            # Its own stream, so that leaving out scenarios or sizes changes no other number.
            rng = np.random.default_rng([seed, list(SCENARIOS).index(scenario), n])
            samples = SCENARIOS[scenario](rng, (comparisons, n))
            low, high = interval(samples, confidence, "t")
            student = float(np.median(high - low))
            for method in methods:
                low, high = interval(samples, confidence, method, resamples=resamples)
                coverage = float(((low <= 0) & (high >= 0)).mean())
                bounded = np.isfinite(low) & np.isfinite(high)
                p = p_values(samples, method, resamples=resamples)
                rows.append(
                    {
                        "scenario": scenario,
                        "n": n,
                        "method": method,
                        "coverage": coverage,
                        "standard_error": float(np.sqrt(coverage * (1 - coverage) / comparisons)),
                        "bounded": float(bounded.mean()),
                        "width": float(np.median((high - low)[bounded]) / student) if bounded.any() else None,
                        "false_alarms": float((p < 1 - confidence).mean()),
                    }
                )
    return rows


#: Noise of both arms of the same shape, with variance 1.
ARMS: dict[str, Noise] = {
    "normal": SCENARIOS["normal"],
    "skewed (exponential)": lambda rng, shape: SCENARIOS["arms skewed (exponential)"](rng, shape) / np.sqrt(2),
    "heavy-tailed (t, 3 df)": lambda rng, shape: SCENARIOS["arms heavy-tailed (t, 3 df)"](rng, shape) / np.sqrt(6),
}


def measure_averages(
    *,
    comparisons: int = 4_000,
    workloads: Sequence[int] = (2, 3, 5),
    sizes: Sequence[int] = (3, 5, 10),
    scenarios: Sequence[str] = tuple(ARMS),
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return one row for each noise, size and method of averaging over workloads.

    Differences are ``between * t[w] + sqrt(shared) * b[s] + sqrt(1 - shared) * e[w, s]``, all of variance 1.

    Returns:
        Rows of ``scenario``, ``workloads``, ``n`` (seeds), ``between``, ``shared``, ``method``, ``coverage`` with its
        standard error, and ``width`` (median, in standard deviations of a single difference).
    """
    rows: list[dict[str, Any]] = []
    cells = [(k, n, tau, rho) for k in workloads for n in sizes for tau in (0.0, 1.0) for rho in (0.0, 0.5)]
    for scenario in scenarios:
        noise = ARMS[scenario]
        for many, n, between, shared in cells:
            rng = np.random.default_rng([seed, list(ARMS).index(scenario), many, n, int(between), int(2 * shared)])
            true = between * noise(rng, (comparisons, many))
            luck = noise(rng, (comparisons, n))[:, None, :]
            own = noise(rng, (comparisons, many * n)).reshape(comparisons, many, n)
            table = true[:, :, None] + np.sqrt(shared) * luck + np.sqrt(1 - shared) * own
            for method, (low, high) in _averages(table, confidence, resamples).items():
                truth = true.mean(axis=1) if method.startswith("fixed") else 0.0
                coverage = float(((low <= truth) & (truth <= high)).mean())
                rows.append(
                    {
                        "scenario": scenario,
                        "workloads": many,
                        "n": n,
                        "between": between,
                        "shared": shared,
                        "method": method,
                        "coverage": coverage,
                        "standard_error": float(np.sqrt(coverage * (1 - coverage) / comparisons)),
                        "width": float(np.median(high - low)),
                    }
                )
    return rows


def _averages(table: Floats, confidence: float, resamples: int) -> dict[str, tuple[Floats, Floats]]:
    """Return the ends of each kind of interval; those of the library as ``combine_workloads`` puts them together."""
    many, n = table.shape[1:]
    centre, means = table.mean(axis=(1, 2)), table.mean(axis=2)

    def ends(*parts: tuple[Any, Any]) -> tuple[Floats, Floats]:
        half = half_width(parts, confidence)
        return centre - half, centre + half

    fixed = interval(table.mean(axis=1), confidence, "hybrid", resamples=resamples)
    apart = ends(separate(table.var(axis=2, ddof=1) / n, np.full(many, n - 1)))
    over_workloads = means.std(axis=1, ddof=1) / np.sqrt(many), many - 1.0
    over_seeds = table.mean(axis=1).std(axis=1, ddof=1) / np.sqrt(n), n - 1.0
    both, single = ends(over_workloads, over_seeds), ends(over_workloads)
    rng = np.random.default_rng([many, n])
    weights = np.zeros((resamples, many, n))
    for place, drawn in enumerate(rng.multinomial(many, np.full(many, 1 / many), size=resamples)):
        # A workload drawn twice has its seeds drawn twice.
        weights[place] = rng.multinomial(n * drawn, np.full(n, 1 / n)) / (many * n)
    drawn_means = table.reshape(len(table), -1) @ weights.reshape(resamples, -1).T
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn_means, [tail, 1 - tail], axis=1)
    return {
        "fixed, seeds shared": fixed,
        "fixed, seeds independent": apart,
        "random, seeds shared": (np.minimum(both[0], fixed[0]), np.maximum(both[1], fixed[1])),
        "random, seeds independent": (np.minimum(single[0], apart[0]), np.maximum(single[1], apart[1])),
        "random, bootstrap of both levels": (low, high),
    }


def _print_averages(rows: list[dict[str, Any]], confidence: float) -> None:
    print(f"coverage of {100 * confidence:g} % intervals of the average over workloads, in %, and median width")
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for number, method in enumerate(methods, 1):
        print(f"  {number}: {method}")
    print(
        f"{'noise':24} {'w':>2} {'n':>3} {'differ':>6} {'shared':>6} "
        + " ".join(f"{i + 1:>12}" for i in range(len(methods)))
    )
    keys = ("scenario", "workloads", "n", "between", "shared")
    for key in dict.fromkeys(tuple(row[name] for name in keys) for row in rows):
        shown = [
            f"{100 * row['coverage']:5.1f} / {row['width']:4.2f}"
            for row in rows
            if tuple(row[name] for name in keys) == key
        ]
        print(f"{key[0]:24} {key[1]:2d} {key[2]:3d} {key[3]:6.1f} {key[4]:6.1f} " + " ".join(shown))


def _print(rows: list[dict[str, Any]], confidence: float) -> None:
    print(f"coverage of {100 * confidence:g} % intervals, in %, and median width in widths of Student's t")
    methods = list(dict.fromkeys(row["method"] for row in rows))
    print(f"{'noise':34} {'n':>3} " + " ".join(f"{method[:12]:>13}" for method in methods))
    for scenario, n in dict.fromkeys((row["scenario"], row["n"]) for row in rows):
        shown = []
        for row in rows:
            if (row["scenario"], row["n"]) == (scenario, n):
                width = "none" if row["width"] is None or row["bounded"] < 1 else f"{row['width']:.2f}"
                shown.append(f"{100 * row['coverage']:6.1f} / {width:>4}")
        print(f"{scenario:34} {n:3d} " + " ".join(f"{text:>13}" for text in shown))


def main() -> None:
    """Run the simulation and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=10_000, help="simulated comparisons for each cell")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 5, 6, 7, 10, 20, 30], help="numbers of seeds")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--resamples", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["pairs", "averages"], help="leave the other part out")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    started = time.perf_counter()
    common = {"confidence": given.confidence, "seed": given.seed}
    counts = {"comparisons": given.comparisons, "resamples": given.resamples}
    rows = [] if given.only == "averages" else measure(sizes=given.sizes, **counts, **common)
    # Five kinds of interval in over a hundred situations: fewer of each, so that it stays a matter of a minute.
    fewer = {"comparisons": min(given.comparisons, 4_000), "resamples": min(given.resamples, 1_000)}
    averages = [] if given.only == "pairs" else measure_averages(**fewer, **common)
    if given.json:
        settings = {key: value for key, value in vars(given).items() if key != "json"}
        versions = {"python": sys.version.split()[0], "numpy": np.__version__}
        json.dump(
            {"settings": settings, "versions": versions, "rows": rows, "averages": averages}, sys.stdout, indent=1
        )
        print()
        return
    if rows:
        _print(rows, given.confidence)
    if averages:
        _print_averages(averages, given.confidence)
    print(f"{given.comparisons} comparisons a cell, {time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
