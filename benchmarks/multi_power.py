"""What the multi-power law costs: its double sum over blocks of updates beside every update by itself, in one run.

    python benchmarks/multi_power.py [--rounds 5] [--long 1000000] [--json]

The curves are made by the law: 24,000 updates, a loss every 128, a constant and a cosine run. Both forms fit them from
the same start by the same solver to the same objective; the rounds alternate, the median counts. "As published" is
one step of the authors' optimiser as they describe it, the objective with its gradient over the whole double sum point
by point, times the 200 steps that they take. The long run has a loss at every update.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

from tutelage.forecast import LossCurve
from tutelage.forecast.multi_power import MultiPower, MultiPowerLaw
from tutelage.schedules import Cosine
from tutelage.training import provenance

LAW = MultiPowerLaw(L0=2.78, A=0.601, alpha=0.453, B=438, C=2.13, beta=0.598, gamma=0.655)
PEAK, TOTAL, EVERY, WARMUP = 3e-4, 24_000, 128, 2160
PUBLISHED_STEPS = 200
TARGET_SECONDS, TARGET_BYTES = 5.0, 1e9


def curve(rates: np.ndarray, steps: np.ndarray, *, noise: float) -> LossCurve:
    """Return a curve of the law with log-normal noise."""
    losses = LAW.predict(rates, steps) * np.exp(noise * np.random.default_rng(0).standard_normal(len(steps)))
    return LossCurve.of(steps=steps, losses=losses, rates=rates)


def published_step(curves: list[LossCurve]) -> float:
    """Return the objective, having found its gradient as well, every point's sum taken by itself."""
    total = 0.0
    gradient = np.zeros(7)
    for one in curves:
        area = np.cumsum(one.rates)
        falls = one.rates[:-1] - one.rates[1:]
        log_rates = np.log(one.rates)
        for step, loss in zip(one.steps, one.losses, strict=True):
            last = step - 1
            since = area[last] - area[:last]
            reached = LAW.C * np.exp(-LAW.gamma * log_rates[1:step]) * since
            left = (1 + reached) ** -LAW.beta
            fall = falls[:last]
            steep = fall * LAW.beta * left * reached / (1 + reached)
            drop = float(fall @ (1 - left))
            power = area[last] ** -LAW.alpha
            predicted = LAW.L0 + LAW.A * power - LAW.B * drop
            residual = np.log(predicted) - np.log(loss)
            size = abs(residual)
            total += 0.5 * size**2 if size < 1e-3 else 1e-3 * (size - 0.5e-3)
            gradient += (
                np.clip(residual, -1e-3, 1e-3)
                / predicted
                * np.array(
                    [
                        1.0,
                        power,
                        -LAW.A * power * np.log(area[last]),
                        -drop,
                        -LAW.B * steep.sum() / LAW.C,
                        -LAW.B * float(fall @ (left * np.log1p(reached))),
                        LAW.B * float(steep @ log_rates[1:step]),
                    ]
                )
            )
    return total


def timed(task: Callable[[], object]) -> tuple[float, Any]:
    """Return the processor seconds a task takes, which other programs do not lengthen, and what it returns."""
    started = time.process_time()
    found = task()
    return time.process_time() - started, found


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds, alternating")
    parser.add_argument("--long", type=int, default=1_000_000, help="updates of the long run")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    cosine = Cosine(peak=PEAK, total_steps=TOTAL, final=0.1 * PEAK)(np.arange(TOTAL))
    steps = np.arange(WARMUP, TOTAL + 1, EVERY)
    curves = [curve(rates, steps, noise=5e-4) for rates in (np.full(TOTAL, PEAK), cosine)]
    tasks: dict[str, Callable[[], object]] = {
        "predict, blocks": lambda: LAW.predict(cosine, steps),
        "predict, every update": lambda: LAW.predict(cosine, steps, exact=True),
        "fit, blocks": lambda: MultiPower().fit(curves),
        "fit, every update": lambda: MultiPower(exact=True).fit(curves),
        "one step as published": lambda: published_step(curves),
    }
    costs: dict[str, list[float]] = {name: [] for name in tasks}
    results: dict[str, Any] = {}
    for _ in range(options.rounds):
        for name, task in tasks.items():
            cost, results[name] = timed(task)
            costs[name].append(cost)
    seconds = {name: statistics.median(values) for name, values in costs.items()}
    seconds["fit as published (200 steps)"] = PUBLISHED_STEPS * seconds.pop("one step as published")
    rates = Cosine(peak=PEAK, total_steps=options.long, final=0.1 * PEAK)(np.arange(options.long))
    tracemalloc.start()
    made = curve(rates, np.arange(1, options.long + 1), noise=0.02)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    long_fit = MultiPower().fit([made])
    long_bytes = tracemalloc.get_traced_memory()[1] - held
    tracemalloc.stop()
    seconds["long run, fit"], long_fit = timed(lambda: MultiPower().fit([made]))
    seconds["long run, predict"], _ = timed(lambda: long_fit.predict(rates))
    report = {
        "machine": {**provenance.machine(), **provenance.versions()},
        "seconds": seconds,
        "error_nats": float(np.abs(results["predict, blocks"] - results["predict, every update"]).max()),
        "objectives": [results[name].objective for name in ("fit, blocks", "fit, every update")],
        "fit_ratio": seconds["fit as published (200 steps)"] / seconds["fit, blocks"],
        "long_updates": options.long,
        "long_peak_bytes": long_bytes,
        "met": seconds["long run, fit"] <= TARGET_SECONDS and long_bytes <= TARGET_BYTES,
    }
    if options.json:
        print(json.dumps(report))
        return
    print(f"{'':<32}{'seconds':>10}")
    for name, value in seconds.items():
        print(f"{name:<32}{value:>10.4f}")
    print(f"blocks move a loss by at most {report['error_nats']:.1e} nats; objectives of the fits:", end=" ")
    print(" and ".join(f"{value:.6e}" for value in report["objectives"]))
    print(f"fit as published to ours: {report['fit_ratio']:.0f}")
    print(
        f"fit of {options.long:,} updates: {seconds['long run, fit']:.2f} s, {long_bytes / 1e6:.0f} MB above the curve "
        f"(target {TARGET_SECONDS:.0f} s, {TARGET_BYTES / 1e6:.0f} MB: {'met' if report['met'] else 'NOT met'})"
    )


if __name__ == "__main__":
    main()
