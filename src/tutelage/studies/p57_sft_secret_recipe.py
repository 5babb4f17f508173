"""Paper 57: large batches at low rates, early signals, simple schedules and stacked data for supervised fine-tuning.

How an effect is formed, written down before anything was measured. The score of a run is its exact match on the test
examples, a mean over tasks; what is chosen is chosen by the validation examples. Each seed has a base model of its own.

- *headline*: the best score at the larger batches, less the best at the smallest one, plus 0.5 points.
- *low rate*: how far the winning rate of the larger batches stays below the smallest batch's winning rate scaled by the
  square root of the batches' ratio, in decades.
- *gradient norm*, *loss*: rank correlation with the score at 20 % of the run, each run ranked among those of its batch
  size; the first, turned, less 0.4.
- *stopping*: regret expected of stopping half of the runs of each batch size at random, less that of stopping those
  with the higher gradient norm at 20 %.
- *schedule*, *stacked*: at the batch and rate with the best mean validation over seeds that leaves 150 updates.
- *recipe*: score of ``SFTRecipe.small_model`` after a range test, less the best of the sweep, plus 3 points.

A run that diverges scores 0 and is the worst of its sweep.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tutelage.durations import Budget
from tutelage.studies.staged import StagedRuns
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, ScaleName, Setting, Study

if TYPE_CHECKING:
    from tutelage.forecast.early_signals import SignalRun
    from tutelage.training import RunResult

#: Tasks in the order of the paper's phases: form, knowledge, both.
TASKS = (
    *("repeat", "reverse", "first", "last"),
    *("category", "colour", "opposite", "next-number"),
    *("category-first", "colour-last", "opposite-first", "category-reverse"),
)
GROUPS = ("format", "facts", "composition")
PER_TASK, DRAWN, DOCUMENTS = 250, 700, 3_000
#: Batches and rates. Single runs of another base model put the best rate at 3e-3 for a batch of 16 and at 1e-2 or more
#: for 128, so the card's rates are moved up by ten to have the best one inside.
GRID: Mapping[ScaleName, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "quick": ((16, 64), (1e-3, 3e-3, 1e-2)),
    "full": ((16, 64, 256), (1e-3, 3e-3, 1e-2, 3e-2)),
}
AT, KEEP, LEAST_UPDATES = 0.2, 0.5, 150
HALF_A_POINT, ONE_POINT, THREE_POINTS = 0.005, 0.01, 0.03
BASE, RANGE, RECIPE = "base", "range test", "small-model recipe"
SCHEDULES = ("warm-up 25", "warm-up 100", "cosine")
ORDERS = ("phased", "phased, replay 25 %")
#: Stairs of the range test: three a decade.
LOWEST, HIGHEST, STAIRS, UPDATES = 1e-5, 1.0, 16, 3


@dataclass(frozen=True)
class Score:
    """What a run is judged by: exact match on validation and test examples, and the loss on the base model's text."""

    validation: float
    test: float
    retention: float = math.nan
    groups: Mapping[str, float] = dataclasses.field(default_factory=dict)


def grid_name(batch: int, rate: float) -> str:
    """Return what an arm of the sweep is called."""
    return f"batch {batch}, rate {rate:g}"


def measure(setting: Setting) -> Measured:
    """Train a base model a seed, the sweep from it, and the variants of the sweep's best setting."""
    from tutelage.training import RunResult
    from tutelage.training.early_signals import signal_run
    from tutelage.training.range_test import RangeTest, staircase
    from tutelage.training.sft import SFTRecipe

    staged, arms, seeds = StagedRuns.opened(setting), setting.study.arms, setting.seeds
    _write_texts(staged.root)
    text, tuning = (spec.format(root=staged.root, seed=seeds[0]) for spec in setting.scale.workloads)
    reading, budget = setting.scale.budgets
    batches, rates = GRID[setting.scale_name]
    total, examples = int(Budget.parse(budget).duration.amount), PER_TASK * len(TASKS)
    base, third = str(staged.folder(BASE, "{seed}")), examples // len(GROUPS)
    fill = partial(str.format, base=base, sizes=f"{third}/{third}/{third}", epochs=total / examples)
    # Only the end is evaluated: what comes before is read from the training loss and the norm of the gradient.
    tune = partial(staged.train, workload=tuning, budget=budget, eval_every=10**9)
    staged.train("base models", {BASE: arms[BASE]}, workload=text, budget=reading, keep_weights=True)

    stairs, schedule = staircase(LOWEST, HIGHEST, STAIRS, UPDATES)
    small = partial(SFTRecipe.small_model, examples, epochs=total / examples)
    climb = dataclasses.replace(small(rate=1.0), schedule=schedule, peak=None, from_run=base)
    sweep = {grid_name(b, r): fill(arms[grid_name(b, r)]) for b in batches for r in rates}
    tune("range tests and sweep", {RANGE: str(climb), **sweep}, budgets={RANGE: f"{STAIRS * UPDATES}steps"})

    def score(name: str, seed: int) -> Score:
        return score_of(RunResult.read(staged.folder(name, seed)))

    scores = {seed: {name: score(name, seed) for name in sweep} for seed in seeds}
    best = best_setting(scores, batches, rates, total)
    variants = {name: fill(arms[name], batch=best[0], peak=best[1]) for name in (*SCHEDULES, *ORDERS)}
    tests = {seed: RunResult.read(staged.folder(RANGE, seed)) for seed in seeds}
    recipes = {seed: small(rate=RangeTest.of(run.curve, stairs)) for seed, run in tests.items()}

    def recipe_of(seed: int) -> str:
        return str(dataclasses.replace(recipes[seed], from_run=base))

    tune("schedules, orders and recipe", {**variants, RECIPE: recipe_of})
    signals = {}
    for seed in seeds:
        scores[seed] |= {name: score(name, seed) for name in (*variants, RECIPE)}
        signals[seed] = [
            dataclasses.replace(run, final=None if run.diverged else scores[seed][run.name].test)
            for run in (signal_run(staged.folder(name, seed), name=name) for name in sweep)
        ]
    found = summarised(scores, signals, batches=batches, rates=rates, best=best)
    details = {
        **found.details,
        "retention before": {str(seed): (run.before or {}).get("val_loss_world") for seed, run in tests.items()},
        "rate of the small-model recipe": {str(seed): recipe.peak for seed, recipe in recipes.items()},
    }
    return Measured(effects=found.effects, details=details, notes=found.notes)


def best_setting(
    scores: Mapping[int, Mapping[str, Score]], batches: Sequence[int], rates: Sequence[float], examples: int
) -> tuple[int, float]:
    """Return batch and rate with the best mean validation score over seeds, among those that leave enough updates."""
    able = [(batch, rate) for batch in batches if examples // batch >= LEAST_UPDATES for rate in rates]
    able = able or [(min(batches), rate) for rate in rates]
    return max(able, key=lambda one: float(np.mean([found[grid_name(*one)].validation for found in scores.values()])))


def summarised(
    scores: Mapping[int, Mapping[str, Score]],
    signals: Mapping[int, Sequence[SignalRun]],
    *,
    batches: Sequence[int],
    rates: Sequence[float],
    best: tuple[int, float],
) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        scores: For each seed the scores by arm.
        signals: For each seed the runs of the sweep with their early signals; final is the test score.
        batches: Of the sweep, the smallest first.
        rates: Of the sweep.
        best: Batch and rate of the variants.
    """
    from tutelage.forecast.early_signals import signal_report
    from tutelage.forecast.pruning import prune_runs

    effects: dict[str, dict[int, float]] = {name: {} for name in STUDY.claims}
    notes, per_seed = [], {}
    for seed, found in scores.items():
        small, small_rate, _ = _winner(found, batches[:1], rates)
        large, large_rate, large_batch = _winner(found, batches[1:], rates)
        plain = found[grid_name(*best)].test
        effects["headline"][seed] = large - small + HALF_A_POINT
        effects["low rate"][seed] = math.log10(small_rate * math.sqrt(large_batch / batches[0]) / large_rate)
        report = signal_report(signals[seed], at=AT, signals=("grad_norm", "loss"))
        norm, loss = report.of("grad_norm"), report.of("loss")
        if norm.rho is None or loss.rho is None:
            notes.append(f"Seed {seed} has no correlation: {norm.note or loss.note}")
        else:
            effects["gradient norm"][seed] = -norm.rho - 0.4
            effects["loss"][seed] = loss.rho
        rules = {
            "low gradient norm": prune_runs(signals[seed], keep=KEEP, at=AT),
            "high loss": prune_runs(signals[seed], signal="loss", keep=KEEP, at=AT),
            "low loss": prune_runs(signals[seed], signal="loss", prefer="low", keep=KEEP, at=AT),
        }
        stopped = rules["low gradient norm"]
        effects["stopping"][seed] = (stopped.random_regret or 0.0) - (stopped.regret or 0.0)
        effects["schedule"][seed] = THREE_POINTS - (max(found[name].test for name in SCHEDULES) - plain)
        effects["stacked"][seed] = plain - max(found[name].test for name in ORDERS) + ONE_POINT
        effects["recipe"][seed] = found[RECIPE].test - max(small, large) + THREE_POINTS
        per_seed[str(seed)] = {
            "winning rate": {str(batch): _winner(found, [batch], rates)[1] for batch in batches},
            "best score": {str(batch): _winner(found, [batch], rates)[0] for batch in batches},
            "correlations": report.to_json()["rows"],
            "regret": {name: rule.regret for name, rule in rules.items()},
            "regret at random": stopped.random_regret,
            "saved": stopped.saved,
        }
    together = [dataclasses.replace(run, name=f"{seed}: {run.name}") for seed, runs in signals.items() for run in runs]
    pooled = signal_report(together, at=AT, signals=("grad_norm", "loss"))
    norm = pooled.of("grad_norm")
    notes.append(
        f"Over all seeds gradient norm and score correlate by {_said(norm.rho)}, with the rate held constant by "
        f"{_said(norm.partial)}."
    )
    details = {
        "mean_over_seeds": _means(scores),
        "best setting": {"batch": best[0], "rate": best[1]},
        "seeds": per_seed,
        "all seeds": pooled.to_json()["rows"],
    }
    return Measured(effects=effects, details=details, notes=notes)


def _winner(found: Mapping[str, Score], batches: Sequence[int], rates: Sequence[float]) -> tuple[float, float, int]:
    """Return test score, rate and batch of the arm with the best validation score, at the lower rate where two tie."""
    arms = [(batch, rate) for rate in sorted(rates) for batch in batches]
    batch, rate = max(arms, key=lambda one: found[grid_name(*one)].validation)
    return found[grid_name(batch, rate)].test, rate, batch


def _said(value: float | None) -> str:
    return "nothing that can be told apart" if value is None else f"{value:+.2f}"


def _means(scores: Mapping[int, Mapping[str, Score]]) -> dict[str, dict[str, float]]:
    first = next(iter(scores.values()))
    table = {}
    for name in first:
        found = [by_arm[name] for by_arm in scores.values()]
        table[name] = {"test": float(np.mean([s.test for s in found]))}
        table[name] |= {g: float(np.mean([s.groups.get(g, 0.0) for s in found])) for g in found[0].groups}
        table[name]["retention"] = float(np.mean([s.retention for s in found]))
    return table


def _write_texts(root: Path) -> None:
    """Write what the base model reads and what it is tuned on."""
    from tutelage.training.storage import write_atomically
    from tutelage.workloads._tasks import generated_rows, world_text

    texts = ({"text": text} for text in world_text(DOCUMENTS))
    # The definition stands in front of the input: half as many tokens as the prompt with all its headings.
    rows = (
        {"task": row.task, "group": row.group, "input": f"{row.definition} {row.input}", "output": row.outputs[0]}
        for row in generated_rows(TASKS, examples=DRAWN)
    )
    for name, lines in (("world", texts), ("instructions", rows)):
        write_atomically(root / f"{name}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def score_of(run: RunResult) -> Score:
    """Return the score of a run; one that diverged scores 0."""
    if run.diverged:
        return Score(0.0, 0.0)
    values = {name: math.nan if value is None else value for name, value in run.metrics.items()}
    groups = {group: values[f"val_exact_match_{group}_test"] for group in GROUPS}
    return Score(values["val_exact_match"], values["val_exact_match_test"], values["val_loss_world"], groups)


def exact() -> Sequence[ExactCheck]:
    """Return the loss of a batch in two parts: 4 answer tokens with a loss of 3 each, and 1 with a loss of 2."""
    import torch

    from tutelage.training.accumulation import batch_loss, loss_terms

    losses = [torch.full((1, 4), 3.0), torch.tensor([[2.0, 0.0, 0.0, 0.0]])]
    masks = [torch.ones(1, 4).bool(), torch.tensor([[True, False, False, False]])]
    terms = sum(loss_terms(mask) for mask in masks)
    once = sum(float(batch_loss(loss, mask, terms=terms)) for loss, mask in zip(losses, masks, strict=True))
    naive = sum(float(batch_loss(loss, mask)) for loss, mask in zip(losses, masks, strict=True)) / 2
    return [
        ExactCheck(name="sums 12 of 4 tokens and 2 of 1 make a mean of 14/5", value=once, expected=2.8, tolerance=1e-6),
        ExactCheck(name="their mean of means is 5/2", value=naive, expected=2.5, tolerance=1e-6),
    ]


_FROM = "from_run={base}"
_BEST = f"peak={{peak}};batch_size={{batch}};{_FROM}"
_PHASED = "constant;phased:sizes={sizes},epochs={epochs}"
_WORKLOADS = (
    "text-lm:data={root}/world.jsonl,vocabulary=512,context=128,validation_windows=64",
    "instructions:data={root}/instructions.jsonl,per_task=250,validation=16,test=40,metric=exact_match,"
    "tokenizer={root}/base/seed-{seed},also_evaluate={root}/world.jsonl",
)

STUDY = Study(
    paper=57,
    claims={
        "headline": Claim(
            sentence="At equal examples the best score of batches of 64 and more is at most half a point below the "
            "best of a batch of 16",
            margin=0.0,
        ),
        "low rate": Claim(
            sentence="The winning rate of the larger batches lies below the smallest batch's scaled by the square root "
            "of the batch",
            margin=0.0,
            unit="decades",
        ),
        "gradient norm": Claim(
            sentence="Among runs of one batch size, a lower gradient norm after 20 % of the run goes with a better "
            "final score: rank correlation at or below -0.4",
            margin=0.0,
            unit="rank correlation beyond 0.4",
        ),
        "loss": Claim(
            sentence="A higher training loss after 20 % of the run goes with a better final score",
            margin=0.0,
            unit="rank correlation",
        ),
        "stopping": Claim(
            sentence="Stopping the half of the runs with the higher gradient norm after 20 % costs less of the best "
            "score than stopping half of them at random",
            margin=0.0,
        ),
        "schedule": Claim(
            sentence="Neither 25 or 100 updates of warm-up nor a cosine decay gains more than 3 points over a constant "
            "rate without warm-up",
            margin=0.0,
        ),
        "stacked": Claim(
            sentence="All data at once are at most 1 point behind the better of phases with and without replay",
            margin=0.0,
        ),
        "recipe": Claim(
            sentence="The small-model recipe made from a range test is at most 3 points behind the best of the sweep",
            margin=0.0,
        ),
    },
    arms={
        BASE: "cosine:warmup=0.05",
        **{
            grid_name(batch, rate): f"constant;peak={rate:g};batch_size={batch};{_FROM}"
            for batch in GRID["full"][0]
            for rate in GRID["full"][1]
        },
        "warm-up 25": f"constant:warmup=25steps;{_BEST}",
        "warm-up 100": f"constant:warmup=100steps;{_BEST}",
        "cosine": f"cosine;{_BEST}",
        "phased": f"{_PHASED};{_BEST}",
        "phased, replay 25 %": f"{_PHASED},replay=0.25;{_BEST}",
    },
    measure=measure,
    scales={
        "quick": Scale(workloads=_WORKLOADS, budgets=("100steps", "3000examples"), seeds=2),
        "full": Scale(workloads=_WORKLOADS, budgets=("300steps", "9600examples"), seeds=3),
    },
    limits="A decoder of 0.13 million parameters, pre-trained on 3,000 generated documents, and 12 generated tasks of "
    "250 examples; the paper tunes 3 to 7 billion parameters on millions of samples, with batches of 128 to 7,680 and "
    "rates of 1e-6 to 1e-4. Batches of 16 to 256 keep its ratios as far as 9,600 examples allow: 37 updates at 256. "
    "Phases go on from the end of the one before, not from its best checkpoint. The training loss and the gradient "
    "norm of a run depend on its rate: details hold the correlation with the rate held constant.",
    exact=exact,
)
