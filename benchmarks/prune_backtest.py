"""How often does ``--prune forecast`` stop the arm that would have won, and what does it save?

Comparisons that ran to their end are replayed: at each look the rule sees the curves so far, and whom it stops is held
against how all of them ended. Trained here: digits, a table, a small language model, and the copying of sequences,
whose loss stands still before it falls, so that early losses mislead. Published: the runs of AlgoPerf's baseline,
language models of 25M and 100M parameters under several schedules, and GPT-2 under two optimizers. No arm is kept back
as a baseline, so that every winner is at risk.

The constants of the rule were set on other seeds of the same workloads and on the language models of 25M and 100M;
what is in :data:`UNSEEN` was looked at only after the rule was fixed.

Each comparison is replayed with all its arms, and with random choices of them, which are not independent: ``groups``
says how many sets of runs there are, and ``groups_with_a_wrong_stop`` in how many of them any replay stopped its
winner. Beside it, at the same looks: halving, which keeps the better half by the loss so far, as successive halving
does, and states no risk.

    python benchmarks/prune_backtest.py
    python benchmarks/prune_backtest.py --only published --json > prune_backtest.json
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.comparison._arm_forecast import ArmForecast, forecast_of
from tutelage.comparison._pruned_runs import curve_so_far, mean_curve
from tutelage.comparison.plan import slug
from tutelage.comparison.pruning import ForecastPruning
from tutelage.forecast import LossCurve
from tutelage.randomness import numpy_generator
from tutelage.training import provenance, read_loss_curve, train
from tutelage.training.metric_curve import metric_curve
from tutelage.workloads import prepare
from tutelage.workloads.data import find_folder, read_table

RISKS = (0.01, 0.05, 0.2)
LOOKS = ForecastPruning().at
#: Seeds of the runs trained here; the constants of the rule were set on others.
FIRST_SEED = 300
#: Sources that the rule had never met when it was fixed.
UNSEEN = ("digits, noisy labels", "GPT-2, published")
#: Arms by name, with the factor of the workload's default peak.
ARMS = {
    "cosine": ("cosine", 1.0),
    "constant": ("constant", 1.0),
    "wsd": ("wsd:decay=0.2", 1.0),
    "uba": ("uba:phi=5", 1.0),
    "cosine, peak / 9": ("cosine", 1 / 9),
    "wsd, peak / 3": ("wsd:decay=0.3", 1 / 3),
    "cosine, peak x 5": ("cosine", 5.0),
    "sgd": ("cosine;sgd:momentum=0.9", 10.0),
}
#: Workload, rest of the recipe, budget, seeds, arms.
CASES: dict[str, tuple[str, str, str, int, Sequence[str]]] = {
    "digits": ("digits:net=mlp", "", "200steps", 4, tuple(ARMS)),
    "digits, noisy labels": ("digits:net=cnn,label_noise=0.15", "", "200steps", 3, tuple(ARMS)),
    "breast-cancer": ("breast-cancer", "", "300steps", 4, tuple(ARMS)),
    "text-lm": (
        "text-lm:size=32x2,context=32,tokenizer=bytes,data=shakespeare,validation_windows=64",
        ";batch_size=16",
        "240steps",
        2,
        tuple(ARMS),
    ),
    "sequence-copy": ("sequence-copy", "", "120steps", 2, tuple(ARMS)[:6]),
}


@dataclass(frozen=True)
class Arm:
    """A run, or several seeds of one recipe, that ended: its forecasts at each look, where it stood, where it ended."""

    forecasts: tuple[ArmForecast | None, ...]
    stood: tuple[float, ...]
    end: float


Group = Mapping[str, Arm]


def run_of(name: str, label: str, seed: int, root: Path) -> tuple[list[LossCurve], float] | None:
    """Train one run, or read it where it has been, and return its curve at each look and its end."""
    spec, rest, budget, _, _ = CASES[name]
    workload = prepare(spec)
    recipe, factor = ARMS[label]
    result = train(
        workload,
        f"{recipe}{rest};peak={factor * workload.peak:.3g}",
        budget=budget,
        seed=seed,
        out=root / slug(name) / f"{slug(label)}-{seed}",
        resume=True,
        keep_weights=False,
    )
    curves = [curve_so_far(workload, Path(result.folder or ""), round(share * result.steps)) for share in LOOKS]
    known = [curve for curve in curves if curve is not None]
    return (known, result.final_loss) if result.final_loss is not None and len(known) == len(LOOKS) else None


def trained(name: str, root: Path) -> Iterator[tuple[str, Group]]:
    """Train one of :data:`CASES`, and yield its comparison by each seed alone and by all seeds."""
    _, _, _, count, chosen = CASES[name]
    runs: dict[str, list[tuple[list[LossCurve], float]]] = {}
    for label in chosen:
        found = [run_of(name, label, FIRST_SEED + seed, root) for seed in range(count)]
        runs[label] = [run for run in found if run is not None]
    whole = {label: several for label, several in runs.items() if len(several) == count}
    for seeds in [*([seed] for seed in range(count)), *([list(range(count))] if count > 1 else [])]:
        group = {}
        for label, several in whole.items():
            looks = [mean_curve([several[seed][0][look] for seed in seeds]) for look in range(len(LOOKS))]
            known = [curve for curve in looks if curve is not None]
            if len(known) == len(LOOKS):
                group[label] = _arm(known, float(np.mean([several[seed][1] for seed in seeds])))
        yield f"{name}, {'all seeds' if len(seeds) > 1 else f'seed {FIRST_SEED + seeds[0]}'}", group


def language_models() -> Iterator[tuple[str, Group]]:
    """Yield the published runs of one model and length as a comparison: other schedules are other arms."""
    root = find_folder("curves_mpl", ("README.md",))
    for size in ("25M", "100M"):
        for length, names in {
            24_000: ("constant_24000", "cosine_24000", "wsd_20000_24000", "wsdld_20000_24000"),
            72_000: ("constant_72000", "cosine_72000"),
            16_000: ("wsdcon_3", "wsdcon_9", "wsdcon_18"),
        }.items():
            group = {}
            for name in names:
                curve = read_loss_curve(root / size / f"{name}.csv", warmup=2160).curve
                last = int(curve.steps[-1])
                looks = [curve.until(round(share * last)) for share in LOOKS]
                group[name] = _arm(looks, float(curve.losses[-5:].mean()))
            yield f"{size}, {length:,} updates", group


def gpt2() -> Iterator[tuple[str, Group]]:
    """Yield the two published runs of GPT-2 of one length, which differ in their optimizer, by validation loss."""
    files = {name: f"gpt2_124m_{name}_wsd.csv.gz" for name in ("adam", "muon")}
    root = find_folder("curves_gpt2", tuple(files.values()))
    group = {}
    for name, file in files.items():
        curve = read_loss_curve(root / file, split="train").curve
        held = read_loss_curve(root / file, split="val").curve
        cuts = [round(share * curve.total_steps) for share in LOOKS]
        looks = [metric_curve(curve.until(cut), held.until(cut).steps, held.until(cut).losses) for cut in cuts]
        group[name] = _arm(looks, float(held.losses[-1]))
    yield "GPT-2, 5,100 updates", group


def algoperf() -> Iterator[tuple[str, Group]]:
    """Yield the trials of AlgoPerf's baseline on each workload, by validation loss at the last step all reached."""
    root = find_folder("curves_algoperf", ("losses.csv.gz", "evals.csv.gz", "runs.jsonl"))
    losses = _by_trial(read_table(root / "losses.csv.gz", ["workload", "trial", "step", "loss"]))
    evals = _by_trial(read_table(root / "evals.csv.gz", ["workload", "trial", "step", "metric", "value"]))
    runs = [json.loads(line) for line in (root / "runs.jsonl").read_text(encoding="utf-8").splitlines()]
    for workload in dict.fromkeys(run["workload"] for run in runs):
        known = {}
        for run in (run for run in runs if run["workload"] == workload):
            key = (workload, run["trial"])
            measured = [
                (int(row["step"]), float(row["value"]))
                for row in evals[key]
                if row["metric"] in ("validation/loss", "validation/ctc_loss") and int(row["step"]) > 1
            ]
            seen = [(int(row["step"]), float(row["loss"])) for row in losses[key] if int(row["step"]) > 0]
            known[f"trial {run['trial']}"] = (run["schedule"], seen, measured)
        # A trial that ended long before the others was cut off, not finished.
        longest = max(measured[-1][0] for _, _, measured in known.values())
        known = {name: item for name, item in known.items() if item[2][-1][0] > 0.7 * longest}
        last = min(measured[-1][0] for _, _, measured in known.values())
        group = {}
        for name, (schedule, seen, measured) in known.items():
            rates = _warmup_cosine(schedule)[:last]
            steps, values = zip(*seen, strict=True)
            curve = LossCurve.of(steps=steps, losses=values, rates=_warmup_cosine(schedule), warmup=schedule["warmup"])
            at, metric = (np.array(column) for column in zip(*measured, strict=True))
            looks = []
            for share in LOOKS:
                until = round(share * last)
                cut = curve.until(until)
                cut = LossCurve(cut.steps, cut.losses, rates, cut.warmup, name)
                looks.append(metric_curve(cut, at[at <= until], metric[at <= until]))
            group[name] = _arm(looks, float(np.interp(last, at, metric)))
        yield f"AlgoPerf {workload.removesuffix('_jax')}", group


def _by_trial(table: Mapping[str, Sequence[Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return the rows of each workload and trial."""
    names = [name for name in table if name]
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for values in zip(*(table[name] for name in names), strict=True):
        row = dict(zip(names, values, strict=True))
        found.setdefault((str(row["workload"]), int(row["trial"])), []).append(row)
    return found


def _warmup_cosine(schedule: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    updates = np.arange(schedule["total"])
    warmup = schedule["warmup"]
    rest = np.clip((updates - warmup) / (schedule["total"] - warmup), 0, 1)
    rates: np.ndarray[Any, np.dtype[np.float64]] = schedule["peak"] * np.where(
        updates < warmup, (updates + 1) / warmup, (1 + np.cos(np.pi * rest)) / 2
    )
    return rates


def _arm(looks: Sequence[LossCurve], end: float) -> Arm:
    stood = []
    for curve in looks:
        near = curve.steps > 0.9 * curve.steps[-1]
        line = np.polyfit(curve.steps[near] - curve.steps[-1], np.log(curve.losses[near]), 1)
        stood.append(float(np.exp(line[1])))
    return Arm(tuple(forecast_of(curve) for curve in looks), tuple(stood), end)


def choices(name: str, group: Group, many: int) -> list[list[str]]:
    """Return all arms, and random choices of 3 or more of them, each once."""
    arms = list(group)
    found = [arms]
    rng = numpy_generator(0, f"choices of {name}")
    for _ in range(10 * many):
        if len(arms) < 4 or len(found) >= many:
            break
        size = int(rng.integers(3, len(arms)))
        chosen = sorted(rng.choice(len(arms), size, replace=False).tolist())
        picked = [arms[place] for place in chosen]
        if picked not in found:
            found.append(picked)
    return found


def by_forecast(rule: ForecastPruning) -> Callable[[Group, Sequence[str]], dict[str, int]]:
    """Return what stops arms by the rule: name to look."""

    def stop(group: Group, arms: Sequence[str]) -> dict[str, int]:
        stopped: dict[str, int] = {}
        for look in range(len(LOOKS)):
            left = {name: group[name].forecasts[look] for name in arms if name not in stopped}
            stopped |= {found.arm: look for found in rule.judge(left, arms=len(arms))}
        return stopped

    return stop


def by_halving(group: Group, arms: Sequence[str]) -> dict[str, int]:
    """Return the worse half of the arms that are left at each look, by the loss so far."""
    stopped: dict[str, int] = {}
    for look in range(len(LOOKS)):
        left = sorted((name for name in arms if name not in stopped), key=lambda name: group[name].stood[look])
        stopped |= dict.fromkeys(left[math.ceil(len(left) / 2) :], look)
    return stopped


def replay(
    groups: Mapping[str, Group], stop: Callable[[Group, Sequence[str]], dict[str, int]], many: int
) -> dict[str, Any]:
    """Return how often the winner was stopped, what was saved, and what the best arm left was worse by."""
    wrong, saved, regret, whole, hit = [], [], [], [], []
    for name, group in groups.items():
        before = len(wrong)
        for arms in choices(name, group, many):
            stopped = stop(group, arms)
            best = min(arms, key=lambda arm: group[arm].end)
            left = min(group[arm].end for arm in arms if arm not in stopped)
            wrong.append(best in stopped)
            saved.append(sum(1 - LOOKS[look] for look in stopped.values()) / len(arms))
            regret.append(left / group[best].end - 1)
        whole.append(before)  # the first replay of a comparison has all its arms
        hit += [name] if any(wrong[before:]) else []
    return {
        "groups": len(groups),
        "replays": len(wrong),
        "winner_stopped": float(np.mean(wrong)),
        "saved": float(np.mean(saved)),
        "regret": float(np.mean(regret)),
        "worst_regret": max(regret),
        "all_arms": {
            "winner_stopped": sum(wrong[place] for place in whole),
            "saved": float(np.mean([saved[place] for place in whole])),
            "regret": float(np.mean([regret[place] for place in whole])),
        },
        "groups_with_a_wrong_stop": hit,
    }


def measure(only: str | None, many: int, root: Path) -> list[dict[str, Any]]:
    """Return one row for each source and rule."""
    rules: dict[str, Callable[[Group, Sequence[str]], dict[str, int]]] = {
        f"forecast, risk {risk:g}": by_forecast(ForecastPruning(risk=risk)) for risk in RISKS
    }
    rules["halving"] = by_halving
    sources: dict[str, Callable[[], Iterator[tuple[str, Group]]]] = {}
    if only != "published":
        sources |= {name: lambda name=name: trained(name, root) for name in CASES}  # type: ignore[misc]  # bound as it is now
    if only != "trained":
        sources |= {"language models, published": language_models}
        sources |= {"GPT-2, published": gpt2, "AlgoPerf, published": algoperf}
    rows: list[dict[str, Any]] = []
    every: dict[str, Group] = {}
    unseen: dict[str, Group] = {}
    for source, read in sources.items():
        started = time.process_time()
        groups = {name: group for name, group in read() if len(group) > 1}
        every |= groups
        unseen |= groups if source in UNSEEN else {}
        print(f"{source}: {time.process_time() - started:.0f} s on the processor", file=sys.stderr)
        rows += [{"source": source, "rule": name} | replay(groups, stop, many) for name, stop in rules.items()]
    for source, groups in {"never met before": unseen, "all": every}.items():
        rows += [{"source": source, "rule": name} | replay(groups, stop, many) for name, stop in rules.items()]
    return rows


def main() -> None:
    """Replay, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["trained", "published"], help="leave the other sources out")
    parser.add_argument("--choices", type=int, default=40, help="replays of each comparison with fewer of its arms")
    parser.add_argument("--runs", type=Path, help="folder that keeps what is trained; what is there is not repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(given.only, given.choices, given.runs or Path(scratch))
    if given.json:
        machine = {**provenance.machine(), **provenance.versions()}
        settings = {"looks": LOOKS, "choices": given.choices, "first_seed": FIRST_SEED}
        json.dump({"machine": machine, "settings": settings, "rows": rows}, sys.stdout, indent=1)
        print()
        return
    heads = f"{'groups':>7}{'stopped':>9}{'saved':>8}{'replays':>9}{'stopped':>9}{'saved':>8}{'regret':>8}{'worst':>8}"
    print(f"{'':57}{'winner':>9}{'':17}{'winner':>9}\n{'source':28}{'rule':22}{heads}")
    for row in rows:
        whole = row["all_arms"]
        print(
            f"{row['source']:28}{row['rule']:22}{row['groups']:7d}{whole['winner_stopped']:9d}{whole['saved']:8.1%}"
            f"{row['replays']:9d}{row['winner_stopped']:9.1%}{row['saved']:8.1%}{row['regret']:8.1%}"
            f"{row['worst_regret']:8.1%}"
        )


if __name__ == "__main__":
    main()
