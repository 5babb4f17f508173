"""Paper 9: does one formula, fitted to one or two runs, predict the losses of schedules that were not run?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, Setting, Study

if TYPE_CHECKING:
    from tutelage.forecast import LossCurve

#: Arms that are fitted, and arms that are predicted.
FITTED, UNSEEN = ("cosine", "constant"), ("wsd", "linear", "step")
#: Evaluations of a run; laws leave out those of the first tenth.
EVALUATIONS = 50
WITHIN, RIVAL_SHARE = 0.005, 1 / 3
#: Published curves, fitted and predicted in the same way.
PUBLISHED_SIZES, PUBLISHED_FITTED = ("25M", "100M"), ("cosine_24000", "constant_24000")
PUBLISHED_WARMUP = 2160
_WORKLOAD = "text-lm:tokenizer=bytes,context=64,size=32x2,validation_windows=128"


def measure(setting: Setting) -> Measured:
    """Train every arm on every seed, fit the law to two of them, and see how far it is off on the others."""
    from tutelage.durations import Budget
    from tutelage.training.curve_files import read_loss_curve

    updates = int(Budget.parse(setting.scale.budgets[0]).duration.amount)
    result = setting.compare(settings={"eval_every": max(1, updates // EVALUATIONS)})
    curves: dict[int, dict[str, LossCurve]] = {seed: {} for seed in setting.seeds}
    notes = []
    for run in result.runs:
        if run.diverged:
            notes.append(f"Seed {run.seed} is left out: {run.arm} diverged.")
            curves.pop(run.seed, None)
        elif run.seed in curves and run.folder is not None:
            curves[run.seed][run.arm] = read_loss_curve(Path(run.folder), loss="val_loss").curve
    found = summarised(curves)
    details = {**found.details, "published curves": published()}
    return Measured(
        effects=found.effects, details=details, comparisons={"all arms": result}, notes=[*notes, *found.notes]
    )


def summarised(curves: Mapping[int, Mapping[str, LossCurve]]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        curves: For each seed the curves by arm.
    """
    from scipy import stats

    from tutelage.forecast import Annealing, StepsPower

    papers = Annealing(warmup_at_peak=True)
    effects: dict[str, dict[int, float]] = {name: {} for name in ("headline", "rival", "one curve", "ranks", "warm-up")}
    table = {}
    for seed, arms in curves.items():
        both = [arms[name] for name in FITTED]
        law = papers.fit(both)
        errors = errors_on(law.law, [arms[name] for name in UNSEEN])
        rival = errors_on(StepsPower().fit(both).law, [arms[name] for name in UNSEEN])
        single = errors_on(papers.fit([arms[FITTED[0]]]).law, [arms[name] for name in (*UNSEEN, FITTED[1])])
        as_run = errors_on(Annealing().fit(both).law, [arms[name] for name in UNSEEN])
        ends = {name: float(law.predict(c.rates, c.steps[-1:], warmup=c.warmup)[0]) for name, c in arms.items()}
        true_ends = {name: float(c.losses[-1]) for name, c in arms.items()}
        tau = stats.kendalltau([ends[name] for name in arms], [true_ends[name] for name in arms]).statistic
        effects["headline"][seed] = WITHIN - float(np.mean(errors))
        effects["rival"][seed] = RIVAL_SHARE - float(np.mean(errors) / np.mean(rival))
        effects["one curve"][seed] = WITHIN - float(np.mean(single))
        effects["ranks"][seed] = float(tau) - 0.5
        effects["warm-up"][seed] = float(np.mean(errors) - np.mean(as_run))
        table[str(seed)] = {
            "params": law.law.params(),
            "fit_error": law.mape / 100,
            "errors": dict(zip(UNSEEN, errors, strict=True)),
            "warmup_as_run_errors": dict(zip(UNSEEN, as_run, strict=True)),
            "power_law_errors": dict(zip(UNSEEN, rival, strict=True)),
            "cosine_alone_errors": dict(zip((*UNSEEN, FITTED[1]), single, strict=True)),
            "final_losses": true_ends,
            "predicted_final_losses": ends,
        }
    return Measured(effects=effects, details={"own runs": table})


def errors_on(law: Any, curves: Sequence[LossCurve]) -> list[float]:
    """Return the mean relative error on each curve after the first tenth of its updates, as a share."""
    from tutelage.forecast import mean_absolute_percentage_error

    return [mean_absolute_percentage_error(law, c.where(c.steps > 0.1 * c.steps[-1])) / 100 for c in curves]


def published() -> dict[str, Any]:
    """Return the errors, in percent, on published curves of language models; empty where they are not there."""
    from tutelage.errors import DataNotFound
    from tutelage.forecast import Annealing, StepsPower, mean_absolute_percentage_error
    from tutelage.training.curve_files import read_loss_curve
    from tutelage.workloads.data import find_folder

    try:
        folder = find_folder("curves_mpl", [f"{size}/cosine_24000.csv" for size in PUBLISHED_SIZES])
    except DataNotFound as error:
        return {"absent": str(error)}
    papers = Annealing(warmup_at_peak=True)
    found: dict[str, Any] = {}
    for size in PUBLISHED_SIZES:
        curves = {
            path.stem: read_loss_curve(path, warmup=PUBLISHED_WARMUP).curve for path in (folder / size).glob("*.csv")
        }
        fitted = [curves[name] for name in PUBLISHED_FITTED]
        laws = {
            "annealing": papers.fit(fitted),
            "annealing, warm-up as run": Annealing().fit(fitted),
            "annealing, cosine alone": papers.fit(fitted[:1]),
            "power": StepsPower().fit(fitted),
        }
        found[size] = {
            name: {
                "params": fit.law.params(),
                "errors": {
                    unseen: mean_absolute_percentage_error(fit.law, curve)
                    for unseen, curve in sorted(curves.items())
                    if unseen not in PUBLISHED_FITTED
                },
            }
            for name, fit in laws.items()
        }
    return found


def exact() -> list[ExactCheck]:
    """Return the areas of the authors' schedule: peak 2e-4, 500 updates of warm-up at the peak, cosine to 0."""
    from tutelage.forecast import lr_areas

    share = np.clip((np.arange(20_001) - 500) / 19_500, 0, 1)
    forward, annealed = lr_areas(2e-4 * 0.5 * (1 + np.cos(np.pi * share)), 0.999)
    return [
        ExactCheck(name="forward area of the authors' cosine", value=forward[-1], expected=2.05010, tolerance=3e-6),
        ExactCheck(name="annealing area of the same", value=annealed[-1], expected=0.197474, tolerance=3e-6),
    ]


STUDY = Study(
    paper=9,
    claims={
        "headline": Claim(
            sentence="Fitted to a cosine and a constant run, the law predicts the validation losses of WSD, linear and "
            "step-wise runs within 0.5 % on average",
            margin=0.0,
        ),
        "rival": Claim(
            sentence="Its error there is at most a third of that of a power law in updates",
            margin=0.0,
            unit="of the rival's error",
        ),
        "one curve": Claim(
            sentence="Fitted to the cosine run alone, it predicts WSD, linear, step-wise, constant runs within 0.5 %",
            margin=0.0,
        ),
        "ranks": Claim(
            sentence="It ranks the five schedules by their final loss: Kendall's tau at least 0.5",
            margin=0.0,
            unit="Kendall's tau",
        ),
        "warm-up": Claim(
            sentence="Counting the warm-up at its own rates, unlike the paper, lowers the error of the headline",
            margin=0.0,
        ),
    },
    arms={
        "cosine": "cosine:warmup=0.05,final=10%",
        "constant": "constant:warmup=0.05",
        "wsd": "wsd:warmup=0.05,decay=0.2,shape=linear",
        "linear": "linear:warmup=0.05",
        "step": "step:warmup=0.05,milestones=0.5/0.75",
    },
    measure=measure,
    scales={
        "quick": Scale(workloads=(_WORKLOAD,), budgets=("400steps",), seeds=3),
        "full": Scale(workloads=(_WORKLOAD,), budgets=("1500steps",), seeds=5),
    },
    limits="A decoder of 35 thousand parameters on 2,048 bytes an update, one peak rate for all schedules; the paper's "
    "models are thousands of times larger and train on 20 to 60 thousand updates. Memory of the annealing momentum as "
    "the library scales it for short runs, a 24th of the run, where the paper has 1,000 updates. Validation losses at "
    "50 places, those of the first tenth left out. The published curves in the details (25M and 100M parameters) are "
    "other people's runs, one a schedule, and decide no claim.",
    exact=exact,
)
