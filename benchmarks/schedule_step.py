"""What one step of a learning-rate scheduler costs: ours beside PyTorch, transformers and timm, in one run.

    python benchmarks/schedule_step.py [--steps 8192] [--rounds 9] [--json]

Every scheduler drives the same kind of optimizer (SGD that holds its rate and trains nothing) with 1 and with 50
parameter groups. The rounds are interleaved, each in a new order, so that a busy moment of the machine hits all alike;
the median of the rounds counts. Garbage collection is off while the clock runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import random
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LambdaLR, LinearLR, OneCycleLR, SequentialLR

from tutelage.schedules import OneCycle, from_spec
from tutelage.schedules._peers import timm_cosine_scheduler
from tutelage.training import provenance

PEAK = 1e-3
TARGET_RATIO = 0.5
TARGET_ARRAY_SECONDS = 0.2e-3
Step = Callable[[int], object]
Make = Callable[[torch.optim.Optimizer, int], Step]


def make_optimizer(groups: int, *, equal: bool = True) -> torch.optim.Optimizer:
    """Return an optimizer with that many groups of one parameter each, at one rate or each at its own."""
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(groups)]
    rates = [PEAK if equal else PEAK / (1 + index) for index in range(groups)]
    settings = [{"params": [one], "lr": rate} for one, rate in zip(parameters, rates, strict=True)]
    return torch.optim.SGD(settings, lr=PEAK, momentum=0.9)


def ours(spec: str, optimizer: torch.optim.Optimizer, steps: int) -> Step:
    """Return one step of our scheduler."""
    scheduler = from_spec(spec, total_steps=steps, peak=PEAK).to_torch(optimizer)
    return lambda _: scheduler.step()


def lambda_lr(optimizer: torch.optim.Optimizer, steps: int) -> Step:
    """Return one step of PyTorch's LambdaLR with a cosine written by hand."""
    scheduler = LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    return lambda _: scheduler.step()


def one_cycle_lr(optimizer: torch.optim.Optimizer, steps: int) -> Step:
    """Return one step of PyTorch's OneCycleLR."""
    scheduler = OneCycleLR(optimizer, PEAK, total_steps=steps + 2, cycle_momentum=False)
    return lambda _: scheduler.step()


def sequential_lr(optimizer: torch.optim.Optimizer, steps: int) -> Step:
    """Return one step of PyTorch's SequentialLR: a linear warm-up, then a linear decay."""
    warmup = max(1, steps // 20)
    first = LinearLR(optimizer, start_factor=0.1, total_iters=warmup)
    second = LinearLR(optimizer, start_factor=1.0, end_factor=0.01, total_iters=steps - warmup)
    scheduler = SequentialLR(optimizer, [first, second], milestones=[warmup])
    return lambda _: scheduler.step()


def transformers_cosine(optimizer: torch.optim.Optimizer, steps: int) -> Step:
    """Return one step of transformers' cosine schedule with warm-up."""
    from transformers import get_cosine_schedule_with_warmup

    scheduler = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    return lambda _: scheduler.step()


def timm_cosine(optimizer: torch.optim.Optimizer, steps: int) -> Step:
    """Return one step of timm's cosine schedule with warm-up."""
    scheduler = timm_cosine_scheduler()(
        optimizer, t_initial=steps, warmup_t=steps // 20, warmup_prefix=False, t_in_epochs=False
    )
    return lambda step: scheduler.step_update(step + 1)


OURS: dict[str, Make] = {
    "tutelage uba:phi=5,warmup=0.05": partial(ours, "uba:phi=5,warmup=0.05"),
    "tutelage one-cycle": partial(ours, "one-cycle"),
    "tutelage warmup@0.05+linear": partial(ours, "warmup@0.05+linear"),
}
PEERS: dict[str, Make] = {
    "torch LambdaLR (cosine)": lambda_lr,
    "torch OneCycleLR": one_cycle_lr,
    "torch SequentialLR (2 linear)": sequential_lr,
    "transformers cosine with warm-up": transformers_cosine,
    "timm cosine with warm-up": timm_cosine,
}


def available_peers() -> tuple[dict[str, Make], list[str]]:
    """Return the peers that can be made here, and a line for each that cannot."""
    found: dict[str, Make] = {}
    missing: list[str] = []
    for name, make in PEERS.items():
        try:
            make(make_optimizer(1), 100)
        except ImportError as error:
            missing.append(f"{name}: not measured, {error}")
        else:
            found[name] = make
    return found, missing


def measure(makers: dict[str, Make], groups: int, steps: int, rounds: int, *, equal: bool = True) -> dict[str, float]:
    """Return the median seconds of one step by name, over interleaved rounds."""
    order = list(makers)
    shuffle = random.Random(0).shuffle
    seconds: dict[str, list[float]] = {name: [] for name in order}
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            step = makers[name](make_optimizer(groups, equal=equal), steps)
            gc.collect()
            gc.disable()
            began = time.perf_counter()
            for index in range(steps):
                step(index)
            seconds[name].append((time.perf_counter() - began) / steps)
            gc.enable()
    return {name: statistics.median(times) for name, times in seconds.items()}


def bare_look_up(_: torch.optim.Optimizer, steps: int) -> Step:
    """Return the least a scheduler could do: a table look-up and one assignment a group."""
    table = np.linspace(PEAK, 0, steps + 1).tolist()
    groups = _.param_groups

    def step(index: int) -> None:
        rate = table[index]
        for group in groups:
            group["lr"] = rate

    return step


def measure_arrays(steps: int, rounds: int) -> dict[str, float]:
    """Return the median seconds of ``to_array`` over ``steps`` updates by spec."""
    specs = [
        "constant", "linear", "cosine", "uba:phi=5", "wsd", "polynomial:power=0.9", "exponential", "step", "rex",
        "inverse-sqrt", "infinite", "rewarm", "power:batch=256,tokens_per_step=1048576", "uba:phi=5,warmup=0.05",
    ]  # fmt: skip
    schedules: dict[str, Any] = {spec: from_spec(spec, total_steps=steps, peak=PEAK) for spec in specs}
    schedules["one-cycle"] = OneCycle(peak=PEAK, total_steps=steps)
    seconds: dict[str, list[float]] = {spec: [] for spec in schedules}
    for _ in range(rounds):
        for spec, schedule in schedules.items():
            began = time.perf_counter()
            schedule.to_array()
            seconds[spec].append(time.perf_counter() - began)
    return {spec: statistics.median(times) for spec, times in seconds.items()}


def main() -> None:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8192, help="steps in a round")
    parser.add_argument("--rounds", type=int, default=9, help="rounds, interleaved")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=r"(?s).*lr_scheduler\.step\(\).*")
    warnings.filterwarnings("ignore", message="PowerLR")
    peers, missing = available_peers()
    makers: dict[str, Make] = {"bare table look-up": bare_look_up} | OURS | peers
    report: dict[str, Any] = {
        "machine": {
            "processor": provenance.machine()["processor"],
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "missing": missing,
        "groups": {},
    }
    for label, groups, equal in (("1 group", 1, True), ("50 groups", 50, True), ("50 groups, 50 rates", 50, False)):
        seconds = measure(makers, groups, options.steps, options.rounds, equal=equal)
        best = min(peers, key=seconds.__getitem__)
        worst = max(OURS, key=seconds.__getitem__)
        report["groups"][label] = {
            "seconds": seconds,
            "best_peer": best,
            "ratio": seconds[worst] / seconds[best],
            "target": TARGET_RATIO,
            "met": seconds[worst] <= TARGET_RATIO * seconds[best],
        }
    arrays = measure_arrays(10_000, max(options.rounds, 30))
    slowest = max(arrays, key=arrays.__getitem__)
    report["to_array"] = {
        "steps": 10_000,
        "seconds": arrays,
        "slowest": slowest,
        "target": TARGET_ARRAY_SECONDS,
        "met": arrays[slowest] <= TARGET_ARRAY_SECONDS,
    }
    print(json.dumps(report) if options.json else as_table(report))


def as_table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = list(report["missing"])
    for label, part in report["groups"].items():
        lines += ["", f"one step, {label}", f"{'scheduler':<36}{'us':>9}{'to best peer':>14}"]
        best = part["seconds"][part["best_peer"]]
        for name, seconds in sorted(part["seconds"].items(), key=lambda item: item[1]):
            lines.append(f"{name:<36}{seconds * 1e6:>9.3f}{seconds / best:>14.2f}")
        verdict = "met" if part["met"] else "NOT met"
        lines.append(f"slowest of ours to the best peer: {part['ratio']:.2f} (target {part['target']}: {verdict})")
    arrays = report["to_array"]
    lines += ["", f"to_array of {arrays['steps']} updates", f"{'schedule':<46}{'ms':>8}"]
    for spec, seconds in sorted(arrays["seconds"].items(), key=lambda item: item[1]):
        lines.append(f"{spec:<46}{seconds * 1e3:>8.3f}")
    lines.append(f"target {arrays['target'] * 1e3} ms: {'met' if arrays['met'] else 'NOT met'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
