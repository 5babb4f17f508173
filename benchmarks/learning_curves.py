"""How well are learning curves (error against training-set size) foreseen, and are the intervals honest?

Back-test on curves of the Learning Curve Database: fit to the sizes up to 10, 25 and 50 % of the largest, forecast the
rest. Every family by least squares, the last value, and all families weighed (``tutelage.forecast``). Once with all
sizes, and once with every fourth, as somebody who pays for each training would have them.

The priors of the weighing were set on curves of one half of the data sets; the curves here are of the other half
(``held_out``), a fixed sub-sample by hash. Errors count where the error is: at the last size, and as the mean over all
sizes to come. Then what a fit takes, beside SciPy's ``least_squares`` on the same families.

    python benchmarks/learning_curves.py
    python benchmarks/learning_curves.py --curves 100 --json > learning_curves.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tutelage.forecast.learning_bayes import learning_posterior
from tutelage.forecast.learning_families import FAMILIES, fit_families
from tutelage.studies._learning_curve_database import database_curves
from tutelage.training import provenance

Floats = NDArray[np.float64]
Curve = tuple[Floats, Floats]

SHARES = (0.1, 0.25, 0.5)
LEVEL = 0.8
#: Curves with fewer sizes than this say little about extrapolation; 8 points are left at 10 % of the largest.
SHORTEST, FEWEST = 40, 5
WEIGHED = "all families weighed"


def held_out(dataset: str) -> bool:
    """Whether a data set played no part in setting the priors."""
    return hashlib.sha256(f"d{dataset}".encode()).digest()[0] % 2 == 1


def load_curves(many: int) -> dict[str, Curve]:
    """Return validation errors by size for a fixed sub-sample of the held-out curves."""
    known = {name: curve for name, curve in database_curves().items() if held_out(name.partition("|")[0])}
    names = sorted(
        (name for name, (sizes, _) in known.items() if len(sizes) >= SHORTEST),
        key=lambda name: hashlib.sha256(name.encode()).hexdigest(),
    )
    return {name: (np.array(known[name][0]), np.array(known[name][1])) for name in names[:many]}


def back_test(curves: Mapping[str, Curve], *, every: int = 1) -> list[dict[str, Any]]:
    """Return one row for each share that was observed and each method.

    Args:
        curves: Sizes and errors by name.
        every: Keep every so manyth size, counted from the largest down.
    """
    found: dict[tuple[float, str], list[dict[str, float]]] = defaultdict(list)
    datasets: dict[float, list[str]] = defaultdict(list)
    for name, (sizes, errors) in curves.items():
        n, e = sizes[::-1][::every][::-1], errors[::-1][::every][::-1]
        for share in SHARES:
            seen = n <= share * n[-1]
            if seen.sum() < FEWEST:
                continue
            datasets[share].append(name.partition("|")[0])
            for method, forecast in forecasts(n[seen], e[seen], n[~seen]).items():
                found[share, method].append(_judged(forecast, e[~seen]))
    rows = []
    for (share, method), several in found.items():
        mean = {key: float(np.mean([one[key] for one in several])) for key in several[0]}
        row = {"share": share, "method": method, "curves": len(several), **mean}
        row["median_at_end"] = float(np.median([one["at_end"] for one in several]))
        for key in ("coverage_at_end", "coverage_over_the_rest"):
            if key in mean:
                row[f"{key}_error"] = clustered_error([one[key] for one in several], datasets[share])
        rows.append(row)
    return rows


def forecasts(n: Floats, e: Floats, ahead: Floats) -> dict[str, tuple[Floats, ...]]:
    """Return each method's errors at sizes to come; the weighing's with the ends of its interval."""
    names = [name for name, family in FAMILIES.items() if family.parameters <= len(n)]
    fits = fit_families(n, e, names, lower_is_better=True)
    found: dict[str, tuple[Floats, ...]] = {name: (np.minimum(fit.predict(ahead), 1.0),) for name, fit in fits.items()}
    weighed = learning_posterior(n, e, lower_is_better=True).forecast(ahead, level=LEVEL)
    found[WEIGHED] = tuple(np.minimum(row, 1.0) for row in (weighed.median, weighed.low, weighed.high))
    return found


def clustered_error(values: Sequence[float], clusters: Sequence[str]) -> float:
    """Return the standard error of a mean of values that are alike within clusters: curves of one data set are."""
    centred = np.array(values) - np.mean(values)
    sums = [centred[[cluster == name for cluster in clusters]].sum() for name in dict.fromkeys(clusters)]
    return float(np.sqrt(np.square(sums).sum()) / len(values))


def _judged(forecast: tuple[Floats, ...], truth: Floats) -> dict[str, float]:
    misses = np.abs(forecast[0] - truth)
    row = {"at_end": float(misses[-1]), "over_the_rest": float(misses.mean())}
    if len(forecast) > 1:
        inside = (forecast[1] <= truth) & (truth <= forecast[2])
        width = forecast[2] - forecast[1]
        row |= {"coverage_at_end": float(inside[-1]), "coverage_over_the_rest": float(inside.mean())}
        row |= {"width_at_end": float(width[-1])}
    return row


def seconds_a_curve(curves: Mapping[str, Curve], *, many: int = 20) -> dict[str, float]:
    """Return the processor seconds that fitting one whole curve takes, the median over curves."""
    taken: dict[str, list[float]] = defaultdict(list)
    for n, e in list(curves.values())[:many]:
        for name, work in {
            "all families, least squares": lambda n=n, e=e: fit_families(n, e, lower_is_better=True),
            "all families, weighed": lambda n=n, e=e: learning_posterior(n, e, lower_is_better=True).forecast(
                [2 * n[-1]]
            ),
            "mmf4, ours": lambda n=n, e=e: fit_families(n, e, ["mmf4"], lower_is_better=True),
            "mmf4, SciPy from 5 starts": lambda n=n, e=e: scipy_mmf4(n, e),
        }.items():
            started = time.process_time()
            work()
            taken[name].append(time.process_time() - started)
    return {name: float(np.median(times)) for name, times in taken.items()}


def scipy_mmf4(n: Floats, e: Floats) -> float:
    """Fit mmf4 as is usual, all four parameters at once from five starts; return the mean squared residual."""
    x = n / n[0]

    def residuals(p: Floats) -> Floats:
        return np.asarray(p[1] + p[0] / (1 + np.exp(p[2]) * x ** np.exp(p[3])) - e)

    best = np.inf
    (low, high), (flat, steep) = FAMILIES["mmf4"].bounds(float(x[-1]))
    for gain, power in ((-4.0, 0.0), (-2.0, -0.5), (0.0, 0.0), (2.0, 0.0), (4.0, 0.5)):
        start = np.array([e[0], e[-1], gain, power])
        ends = ([0.0, 0.0, low, flat], [np.inf, 1.0, high, steep])
        found = optimize.least_squares(residuals, np.clip(start, ends[0], ends[1]), bounds=ends)
        best = min(best, float(np.mean(found.fun**2)))
    return best


def agreement(curves: Mapping[str, Curve], *, many: int = 20) -> dict[str, float]:
    """Return on how many curves the squared residual of our mmf4 is not above SciPy's best, and the worst ratio."""
    ratios = []
    for n, e in list(curves.values())[:many]:
        ours = fit_families(n, e, ["mmf4"], lower_is_better=True)["mmf4"].rmse ** 2
        ratios.append(ours / max(scipy_mmf4(n, e), 1e-300))
    return {"curves": len(ratios), "not_above": float(np.mean(np.array(ratios) <= 1 + 1e-6)), "worst": max(ratios)}


def _print(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    print(f"\n{title}; mean absolute miss in points of error at the last size / over all sizes to come")
    print(f"{'':22}" + "".join(f"{f'{100 * share:g} % seen':>22}" for share in SHARES))
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = {row["share"]: row for row in rows if row["method"] == method}
        shown = [
            f"{100 * cells[s]['at_end']:.2f} / {100 * cells[s]['over_the_rest']:.2f}" if s in cells else ""
            for s in SHARES
        ]
        print(f"{method:22}" + "".join(f"{cell:>22}" for cell in shown))
    for row in rows:
        if row["method"] == WEIGHED:
            all_of_them = f"{row['coverage_over_the_rest']:.1%} (+- {row['coverage_over_the_rest_error']:.1%}) of all"
            print(
                f"  {100 * row['share']:g} % seen: {LEVEL:.0%} intervals hold {row['coverage_at_end']:.1%} of the last "
                f"errors, {all_of_them}; mean width at the end {100 * row['width_at_end']:.2f} points; "
                f"{row['curves']} curves"
            )


def main() -> None:
    """Run the back-test and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=200, help="curves with all sizes; a third of them thinned")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    started, at_work = time.perf_counter(), time.process_time()
    curves = load_curves(given.curves)
    fewer = dict(list(curves.items())[: max(1, given.curves // 3)])
    report = {
        "machine": {**provenance.machine(), **provenance.versions()},
        "settings": {"curves": len(curves), "shares": SHARES, "level": LEVEL, "shortest": SHORTEST},
        "all_sizes": back_test(curves),
        "every_fourth_size": back_test(fewer, every=4),
        "seconds_a_curve": seconds_a_curve(curves),
        "mmf4_beside_scipy": agreement(curves),
    }
    if given.json:
        json.dump(report, sys.stdout, indent=1)
        print()
    else:
        _print(report["all_sizes"], f"{len(curves)} curves, all sizes")
        _print(report["every_fourth_size"], f"{len(fewer)} curves, every fourth size")
        for name, seconds in report["seconds_a_curve"].items():
            print(f"{name:32}{1e3 * seconds:8.1f} ms")
        beside = report["mmf4_beside_scipy"]
        print(
            f"mmf4: squared residual not above SciPy's on {beside['not_above']:.0%} of {beside['curves']} curves, "
            f"at worst {beside['worst']:.4f} times it"
        )
    wall, processor = time.perf_counter() - started, time.process_time() - at_work
    print(f"{wall:.0f} s, {processor:.0f} s of them on the processor", file=sys.stderr)


if __name__ == "__main__":
    main()
