"""How often do our intervals cover the truth, and how wide are they?

Every method of ``tutelage.evaluation.paired_difference`` on simulated paired differences whose true mean is known. An
honest 95 % interval covers it in 95 of 100 comparisons. Two kinds of noise: *arms*, where both arms have noise of the
same shape, so that their difference is symmetric, as in most comparisons; and *difference*, where the difference itself
is skewed or heavy-tailed, as with one noiseless arm, which is harder.

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
    sizes: Sequence[int] = (3, 5, 10, 20, 30),
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
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 5, 10, 20, 30], help="numbers of seeds")
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--resamples", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    started = time.perf_counter()
    rows = measure(
        comparisons=given.comparisons,
        sizes=given.sizes,
        confidence=given.confidence,
        resamples=given.resamples,
        seed=given.seed,
    )
    if given.json:
        settings = {key: value for key, value in vars(given).items() if key != "json"}
        versions = {"python": sys.version.split()[0], "numpy": np.__version__}
        json.dump({"settings": settings, "versions": versions, "rows": rows}, sys.stdout, indent=1)
        print()
        return
    _print(rows, given.confidence)
    print(f"{given.comparisons} comparisons a cell, {time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
