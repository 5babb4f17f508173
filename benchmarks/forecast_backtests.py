"""How far forecasts of loss curves are off, and how often their intervals hold: back-tests over published curves.

    python benchmarks/forecast_backtests.py [--folds 10] [--jobs 2] [--json] [--out benchmarks/results/...json]

Every curve is cut at 10, 25 and 50 % of its run, ten times each (at 0.91 to 1.09 of that share), forecast from there to
its end by every law, and compared with what came. Errors are those of `held_out_error`, in which the noise of single
losses is averaged out; coverage counts single logged losses. Curves: 18 of language models of 25M and 100M parameters
under six schedules, three GPT-2 runs (training and validation losses apart), and AlgoPerf runs of eight workloads, all
published; data sets that are absent are named. LC-PFN is not among the rivals: its package (0.1.3) wants torch <= 1.11,
and its weights are a pickle that is fetched when it runs.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from tutelage.errors import DataNotFound
from tutelage.forecast import LossCurve, forecast, held_out_error
from tutelage.training import provenance
from tutelage.training.curve_files import read_loss_curve
from tutelage.workloads.data import find_folder

SHARES = (0.10, 0.25, 0.50)
LAWS = ("auto", "annealing", "multi-power", "power", "power:floor=false", "last-value")
LEVEL = 0.8
GPT2 = ("gpt2_124m_llmc_adamw_cosine", "gpt2_124m_adam_wsd", "gpt2_124m_muon_wsd")


def published() -> Iterator[tuple[str, str, LossCurve]]:
    """Yield source, name and curve of everything that is there; say what is not."""
    for source, read in (("curves_mpl", _mpl), ("curves_gpt2", _gpt2), ("curves_algoperf", _algoperf)):
        try:
            yield from ((source, name, curve) for name, curve in read())
        except DataNotFound as error:
            print(f"Left out: {error}", file=sys.stderr)


def _mpl() -> Iterator[tuple[str, LossCurve]]:
    folder = find_folder("curves_mpl", ["25M/cosine_24000.csv"])
    for path in sorted(folder.glob("*/*.csv")):
        yield f"{path.parent.name} {path.stem}", read_loss_curve(path).curve


def _gpt2() -> Iterator[tuple[str, LossCurve]]:
    folder = find_folder("curves_gpt2", [f"{GPT2[0]}.csv.gz"])
    for name in GPT2:
        for split in ("train", "val"):
            yield f"{name} {split}", read_loss_curve(folder / f"{name}.csv.gz", split=split).curve


def _algoperf() -> Iterator[tuple[str, LossCurve]]:
    folder = find_folder("curves_algoperf", ["losses.csv.gz"])
    rows: dict[tuple[str, str], list[tuple[int, float, float]]] = defaultdict(list)
    with gzip.open(folder / "losses.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            step, rate, loss = int(row["step"]), float(row["lr"] or "nan"), float(row["loss"] or "nan")
            if step > 0 and np.isfinite([rate, loss]).all() and loss > 0:
                rows[row["workload"], row["trial"]].append((step, rate, loss))
    for (workload, trial), points in rows.items():
        steps, rates, losses = (np.array(column) for column in zip(*points, strict=True))
        if len(steps) < 60:
            continue  # too few to be cut at a tenth
        every = np.interp(np.arange(1, steps[-1] + 1), steps, rates)
        warmup = int(np.argmax(every >= 0.999 * every.max()))
        warmup = warmup if warmup < 0.3 * len(every) else 0
        yield f"{workload} {trial}", LossCurve.of(steps=steps, losses=losses, rates=every, warmup=warmup)


def tried(curve: LossCurve, share: float, folds: int) -> list[dict[str, Any]]:
    """Return each law's errors for every cut near a share of the run."""
    found = []
    for fold in range(folds):
        cut = round(share * (0.91 + 0.18 * fold / max(1, folds - 1)) * curve.total_steps)
        early = curve.steps <= cut
        if not early.any() or early.all():
            continue
        rest = curve.where(~early)
        for law in LAWS:
            try:
                ahead = forecast(curve.where(early), law=law, steps=rest.steps, level=LEVEL)
            except ValueError:
                continue  # too little was seen for this law
            error = held_out_error(ahead.mean, rest)
            inside = (ahead.low <= rest.losses) & (rest.losses <= ahead.high)
            chosen = ahead.fit.name
            found.append({"law": law, "mape": error.mape, "inside": float(np.mean(inside)), "chosen": chosen})
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="Also write the result here.")
    options = parser.parse_args()
    curves = list(published())
    jobs = [(source, name, share, curve) for source, name, curve in curves for share in SHARES]
    results = joblib.Parallel(n_jobs=options.jobs, verbose=5)(
        joblib.delayed(tried)(curve, share, options.folds) for _, _, share, curve in jobs
    )
    table: dict[str, Any] = {}
    for source in dict.fromkeys(source for source, *_ in curves):
        table[source] = {}
        for share in SHARES:
            rows = [
                [row for row in found if row["law"] == law]
                for law in LAWS
                for (where, _, part, _), found in zip(jobs, results, strict=True)
                if (where, part) == (source, share)
            ]
            by_law: dict[str, list[list[dict[str, Any]]]] = {law: [] for law in LAWS}
            for found in rows:
                if found:
                    by_law[found[0]["law"]].append(found)
            # A mean over the cuts of a curve, then over curves, so that each curve counts the same.
            table[source][f"{share:.0%}"] = {
                law: {
                    "curves": len(found),
                    "mape": float(np.mean([np.mean([row["mape"] for row in one]) for one in found])),
                    "median_mape": float(np.median([np.mean([row["mape"] for row in one]) for one in found])),
                    "coverage": float(np.mean([np.mean([row["inside"] for row in one]) for one in found])),
                }
                for law, found in by_law.items()
                if found
            }
    result = {
        "folds": options.folds,
        "level": LEVEL,
        "sources": {source: sum(where == source for where, *_ in curves) for source in table},
        "table": table,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(result))
        return
    for source, shares in table.items():
        print(source)
        for share, laws in shares.items():
            for law, row in laws.items():
                print(
                    f"  {share:>4} {law:18} {row['curves']:3} curves  off by {row['mape']:6.2f} % (median "
                    f"{row['median_mape']:.2f}), {row['coverage']:.0%} inside"
                )


if __name__ == "__main__":
    main()
