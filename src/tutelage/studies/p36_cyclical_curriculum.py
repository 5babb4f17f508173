"""Paper 36: does a training subset that swings up and down, easy examples first, beat plain training?

How an effect is formed, written down before anything was measured. Cells are data and models: digits by a perceptron
and by a convolutional network, each with clean labels and with 15 % of the training labels wrong, and passages of text
by topic. Labels to measure on are always clean. In each cell one run of plain training, on a seed that no comparison
uses, gives the losses by which examples are drawn. All arms then have equal budgets at a constant rate, each arm the
best of three rates by final accuracy on a tuning seed. An effect is a difference of accuracies in points, the mean over
cells.

- *headline*: cyclical less plain, at the end of the run. *noisy*: the same in the cells with wrong labels alone.
- *best*: the same for the best of ten evaluations over the run, the paper's number; all arms have equally many.
- *charged*: cyclical on half the budget, its losses from plain training on the other half, less plain on all of it.
- *easy*: cyclical less the same cycles drawn evenly. *direction*: cyclical less cycles with hard examples favoured.
- *once*: cyclical less a subset of easy examples that grows once, the usual curriculum.
- *often*: points by which the share of cells where cyclical reaches what every other arm does exceeds half.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, Setting, Study

if TYPE_CHECKING:
    from tutelage.comparison.result import ComparisonResult
    from tutelage.workloads import Workload

PLAIN, CYCLICAL, EVEN, HARD, UP, DOWN = "plain", "cyclical", "cycles, drawn evenly", "cycles, hard", "grows", "shrinks"
CHARGED = "cyclical, half the budget"
NOISY = "label_noise"
#: The seed whose plain run gives the losses; comparisons count from 0 and tuning seeds lie elsewhere.
SCORING = 1_000_000


def measure(setting: Setting) -> Measured:
    """Train one plain run a cell for the losses, compare all arms in it, and form the effects."""
    return summarised({spec: one_cell(setting, spec, budget) for spec, budget in cells(setting)})


def cells(setting: Setting) -> list[tuple[str, int]]:
    """Return the spec of each workload and its updates; budgets stand in the order of the workloads."""
    pairs = zip(setting.scale.workloads, setting.scale.budgets, strict=True)
    return [(spec, int(budget.removesuffix("steps"))) for spec, budget in pairs]


def one_cell(setting: Setting, spec: str, updates: int) -> dict[str, Any]:
    """Return final and best accuracies by arm and seed, and the rates that were chosen."""
    from tutelage.comparison.plan import slug

    name, workload = slug(spec), by_accuracy(spec)
    whole, half = f"{updates}steps", f"{updates // 2}steps"
    found = accuracies(
        setting.compare(
            f"{name}/whole",
            workload=workload,
            budget=whole,
            arms=arms_by(setting.study.arms, scored(setting, workload, whole, f"{name}/losses")),
        )
    )
    charged = {"plain, half the budget": setting.study.arms[PLAIN], CHARGED: setting.study.arms[CYCLICAL]}
    return found | accuracies(
        setting.compare(
            f"{name}/half",
            workload=workload,
            budget=half,
            arms=arms_by(charged, scored(setting, workload, half, f"{name}/losses-of-half")),
        )
    )


def by_accuracy(spec: str) -> Workload:
    """Return the workload, judged by its accuracy."""
    from tutelage.workloads import prepare

    return dataclasses.replace(prepare(spec), metric="val_accuracy", lower_is_better=False)


def scored(setting: Setting, workload: Workload, budget: str, folder: str) -> Path:
    """Return the folder of the plain run whose losses examples are drawn by; trained where it has not been."""
    from tutelage.training import train

    out = (setting.out / folder).resolve()
    train(
        workload, STUDY.arms[PLAIN], budget=budget, seed=SCORING, out=out, resume=not setting.force, force=setting.force
    )
    return out


def arms_by(arms: Mapping[str, str], losses: Path) -> dict[str, str]:
    """Return the recipes, their curricula going by the losses under a run."""
    return {name: recipe.replace("by=loss", f"by=run:{losses}") for name, recipe in arms.items()}


def accuracies(result: ComparisonResult) -> dict[str, Any]:
    """Return final and best accuracies of each arm by seed, as numbers from 0 to 1, and its rate."""
    from tutelage.training.curve import read_curve

    found: dict[str, Any] = {}
    for run in result.runs:
        if run.folder is None or run.usable is None:
            continue
        arm = found.setdefault(run.arm, {"final": {}, "best": {}, "rate": run.peak})
        arm["final"][run.seed] = run.usable
        arm["best"][run.seed] = float(np.nanmax(read_curve(run.folder)["val_accuracy"]))
    return found


# --- from tables to effects ------------------------------------------------------------------------------------------


def summarised(tables: Mapping[str, Mapping[str, Any]]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        tables: For each cell, by arm, final and best accuracies by seed.
    """
    everyone = [set(arm["final"]) for table in tables.values() for arm in table.values()]
    seeds = sorted(set.intersection(*everyone))
    lost = sorted(set.union(*everyone) - set(seeds))
    effects: dict[str, dict[int, float]] = {name: {} for name in STUDY.claims}
    for seed in seeds:
        for name, value in of_one_seed(tables, seed).items():
            effects[name][seed] = value
    details = {
        cell: {
            arm: {
                "mean accuracy": float(np.mean([100 * values["final"][seed] for seed in seeds])),
                "mean of the best": float(np.mean([100 * values["best"][seed] for seed in seeds])),
                "rate": values["rate"],
            }
            for arm, values in table.items()
        }
        for cell, table in tables.items()
    }
    notes = [f"Left out, because a run of theirs diverged: seeds {', '.join(map(str, lost))}."] if lost else []
    return Measured(effects=effects, details={"cells": details}, notes=notes)


def of_one_seed(tables: Mapping[str, Mapping[str, Any]], seed: int) -> dict[str, float]:
    """Return the effects of one seed, in points."""

    def gain(one: str, other: str, which: str = "final", only: str = "") -> float:
        rows = [table for cell, table in tables.items() if only in cell]
        return 100 * float(np.mean([row[one][which][seed] - row[other][which][seed] for row in rows]))

    reached = [
        all(table[CYCLICAL]["final"][seed] >= table[arm]["final"][seed] for arm in STUDY.arms)
        for table in tables.values()
    ]
    return {
        "headline": gain(CYCLICAL, PLAIN),
        "noisy": gain(CYCLICAL, PLAIN, only=NOISY),
        "best": gain(CYCLICAL, PLAIN, "best"),
        "charged": gain(CHARGED, PLAIN),
        "easy": gain(CYCLICAL, EVEN),
        "direction": gain(CYCLICAL, HARD),
        "once": gain(CYCLICAL, UP),
        "often": 100 * (float(np.mean(reached)) - 0.5),
    }


def exact() -> Sequence[ExactCheck]:
    """Return cycles and probabilities against numbers worked out by hand."""
    from tutelage.curricula import Cyclical, cycle_sizes

    losses = np.array([0.1, 0.2, 0.5, 2.0])
    return [
        ExactCheck(name="budget of the cycles for five epochs", value=sum(cycle_sizes(budget=5)), expected=5.25,
                   tolerance=1e-12),
        ExactCheck(name="episodes for ten epochs", value=float(len(cycle_sizes(budget=10))), expected=19, tolerance=0),
        ExactCheck(name="budget of cycles from 0.3 by 0.6", value=sum(cycle_sizes(start=0.3, alpha=0.6, budget=5)),
                   expected=5.2267, tolerance=1e-4),
        ExactCheck(name="probability of the easiest of four", value=float(Cyclical().weights(0.0, losses)[0]),
                   expected=0.571429, tolerance=1e-5),
        ExactCheck(name="of the hardest, hard ones favoured",
                   value=float(Cyclical(favour="hard").weights(0.0, losses)[3]), expected=0.714286, tolerance=1e-5),
    ]  # fmt: skip


def _claim(sentence: str) -> Claim:
    return Claim(sentence=sentence, margin=0.0, unit="points")


_NOISE = "label_noise=0.15"

STUDY = Study(
    paper=36,
    claims={
        "headline": _claim("Cyclical curricula end at a higher accuracy than plain training on an equal budget"),
        "noisy": _claim("They do so where 15 % of the training labels are wrong"),
        "best": _claim("Their best accuracy over the run is higher than that of plain training (the paper's number)"),
        "charged": _claim("They still do when the run that gives the losses is paid from the same budget"),
        "easy": _claim("Drawing easy examples more often is better than the same cycles drawn evenly"),
        "direction": _claim("Drawing easy examples more often is better than drawing hard ones more often"),
        "once": _claim("Cycles are better than a subset that grows once"),
        "often": _claim("In more than half of the cells no other arm ends at a higher accuracy"),
    },
    arms={
        PLAIN: "constant",
        CYCLICAL: "constant;cyclical:by=loss",
        EVEN: "constant;cyclical:favour=random,by=loss",
        HARD: "constant;cyclical:favour=hard,by=loss",
        UP: "constant;cyclical:shape=up,by=loss",
        DOWN: "constant;cyclical:shape=down,by=loss",
    },
    measure=measure,
    scales={
        "quick": Scale(
            workloads=("digits:net=mlp", f"digits:net=mlp,{_NOISE}"),
            budgets=("450steps", "450steps"),
            seeds=3,
            tune="3",
        ),
        "full": Scale(
            workloads=(
                "digits:net=mlp",
                f"digits:net=mlp,{_NOISE}",
                "digits:net=cnn",
                f"digits:net=cnn,{_NOISE}",
                "text-classification:size=nano,context=16,vocabulary=500",
            ),
            budgets=("450steps", "450steps", "450steps", "450steps", "1136steps"),
            seeds=5,
            tune="3",
        ),
    },
    limits="Ten passes over 1,437 images and four over 9,081 passages, networks of 26,000 to 82,000 weights; the "
    "paper has 18 data sets and 15 architectures. One run gives the losses for all seeds of a cell. Self-paced cycles, "
    "whose losses are measured again before each episode, are not among the arms. Rates are chosen by the same "
    "held-out examples that accuracy is measured on, on another seed, for every arm alike.",
    exact=exact,
)
