"""Paper 59: can a learning curve be followed until a power law foresees the rest, and when may one stop?

How an effect is formed, written down before anything was measured. A seed is an order of the training sentences and a
sample of curves of the Learning Curve Database. Each learner is trained on nested portions of 5,000, 10,000, ... words
and tested on one fixed test set; those accuracies are the truth.

- *stop*: the level at which the full method (anchor 1, tau 3 points) converged; where it did not within 60 % of the
  data, the last level within them. Forecasts made there are judged on all larger sizes (MAPE, mean absolute percentage
  error). A curve without a forecast at its stop counts with its last value, which is all its user then has.
- *headline*: 0.5 less the MAPE of the worst learner. *data*: 0.6 less the largest share of data at which a learner
  converged, 1 where it never did. *baselines*: the lower of the mean MAPEs of last value and two-point extrapolation
  in log size, less that of the method, all at the same stop.
- *ranking*: share of the pairs of learners whose order at the largest size is the one forecast at 30 % of the data,
  less 0.8. *anchor*: range of the plain asymptotes from the prediction level on less that of the anchored ones, mean
  over learners that have one.
- *elsewhere*: on curves of 28 other learners, error at the largest size from sizes up to 30 % of it: mean miss of the
  last value less that of the method. ``nu`` is scaled to their sizes: as much a step as 5e-7 a word is here.
"""

from __future__ import annotations

import functools
import json
import math
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.errors import ConfigError, DataNotFound
from tutelage.randomness import numpy_generator
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, Setting, Study

if TYPE_CHECKING:
    from tutelage.studies._taggers import Corpus

Curve = tuple[list[float], list[float]]

STEP, NU, TAU, TIGHTER = 5_000, 5e-7, 0.03, 0.02
LARGEST_SHARE, EARLY_SHARE, MAPE, RIGHT = 0.6, 0.3, 0.5, 0.8
FULL, NO_ANCHOR, PLAIN = "functional", "functional, no anchor", "power law at once"
LAST, TWO_POINTS, WEIGHED = "last value", "two points", "all families weighed"
#: What the two budgets of a scale count.
UNITS = ("words", "curves")
#: Curves of the database with fewer sizes are too short to be followed; every second size is taken.
SHORTEST, EVERY = 40, 2


def measure(setting: Setting) -> Measured:
    """Train every learner on every portion, then follow the curves."""
    words, sample = (int(budget.removesuffix(unit)) for budget, unit in zip(setting.scale.budgets, UNITS, strict=True))
    curves = _curves(setting, words)
    others = {seed: elsewhere(seed, sample) for seed in setting.seeds}
    return summarised(curves, others)


# --- learning curves of taggers --------------------------------------------------------------------------------------


def _curves(setting: Setting, words: int) -> dict[int, dict[str, Curve]]:
    """Return each seed's curves, made side by side; a curve that has begun goes on."""
    import joblib

    from tutelage.comparison.plan import Job, slug
    from tutelage.comparison.run import Progress
    from tutelage.studies._taggers import TAGGERS

    root = setting.out / "curves"
    if root.exists() and setting.force:
        shutil.rmtree(root)
    if root.exists() and not setting.resume:
        raise ConfigError(
            f"{root} holds curves of this study already. Go on with --resume, or replace them with --force."
        )
    (data, _), budget = setting.scale.workloads, f"{words}words"
    # The slowest first, so that no core waits for the last.
    jobs = [
        Job(name, 0, budget, seed, name, f"seed-{seed}/{slug(name)}")
        for name in list(TAGGERS)[::-1]
        for seed in setting.seeds
    ]
    progress = Progress("learning curves", jobs, root, len(jobs))
    found: dict[int, dict[str, Curve]] = {seed: {} for seed in setting.seeds}
    count = min(setting.jobs or joblib.cpu_count(), len(jobs))
    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        work = (joblib.delayed(learn)(data, job.arm, job.seed, words, root / f"{job.folder}.json") for job in jobs)
        for name, seed, curve in joblib.Parallel(n_jobs=count, return_as="generator_unordered")(work):
            found[seed][name] = curve
            job = next(job for job in jobs if (job.arm, job.seed) == (name, seed))
            progress.finished[job.folder] = 1 - curve[1][-1]
            progress.done += 1
            if setting.watch:
                setting.watch(progress)
    return {seed: {name: mine[name] for name in TAGGERS} for seed, mine in found.items()}


def learn(data: str, name: str, seed: int, words: int, path: Path) -> tuple[str, int, Curve]:
    """Train one tagger on every portion that ``path`` does not have yet, and return its curve."""
    from tutelage.studies._taggers import TAGGERS, accuracy, portions
    from tutelage.training.storage import write_json

    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"sizes": [], "scores": []}
    sizes, scores = stored["sizes"], stored["scores"]
    corpus = _corpus(data, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    for level, portion in enumerate(portions(corpus, STEP, words)):
        if level < len(sizes):
            continue
        said = TAGGERS[name](corpus, portion, numpy_generator(seed, name, level))
        sizes.append(float(len(portion)))
        scores.append(accuracy(corpus, said))
        write_json(path, {"sizes": sizes, "scores": scores})
    return name, seed, (sizes, scores)


@functools.lru_cache(maxsize=4)
def _corpus(data: str, seed: int) -> Corpus:
    from tutelage.studies._taggers import Corpus, read_treebank
    from tutelage.workloads.data import find_named

    folder = find_named(data)
    train, test = (read_treebank(folder / f"{part}.conllu.gz") for part in ("train", "test"))
    return Corpus.of(train, test, rng=numpy_generator(seed, "data"))


# --- from curves to effects ------------------------------------------------------------------------------------------


def summarised(curves: Mapping[int, Mapping[str, Curve]], others: Mapping[int, Mapping[str, float] | None]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        curves: For each seed, sizes and accuracies by learner.
        others: For each seed, the mean misses on other learners' curves by method, ``None`` where there are no data.
    """
    effects: dict[str, dict[int, float]] = defaultdict(dict)
    details: dict[str, Any] = {"seeds": {}}
    notes = []
    for seed, mine in curves.items():
        rows = {name: followed(*curve) for name, curve in mine.items()}
        mean = {arm: float(np.mean([row["mape"][arm] for row in rows.values()])) for arm in STUDY.arms}
        effects["headline"][seed] = MAPE - max(row["mape"][FULL] for row in rows.values())
        effects["data"][seed] = LARGEST_SHARE - max(row["converged_at"] for row in rows.values())
        effects["baselines"][seed] = min(mean[LAST], mean[TWO_POINTS]) - mean[FULL]
        effects["ranking"][seed] = pairs_right(mine, EARLY_SHARE) - RIGHT
        calmer = [row["range"][NO_ANCHOR] - row["range"][FULL] for row in rows.values() if row["range"]]
        if calmer:
            effects["anchor"][seed] = 100 * float(np.mean(calmer))
        else:
            notes.append(f"Seed {seed}: no learner reached its prediction level; left out of the claim about anchors.")
        misses = others[seed]
        if misses is None:
            notes.append(f"Seed {seed}: the Learning Curve Database is not there; its claim has no effect.")
        else:
            effects["elsewhere"][seed] = 100 * (misses[LAST] - misses[FULL])
        late = [name for name, row in rows.items() if row["forced"]]
        if late:
            notes.append(f"Seed {seed}: not converged within {LARGEST_SHARE:.0%} of the data: {', '.join(late)}.")
        finals = {name: curve[1][-1] for name, curve in mine.items()}
        details["seeds"][str(seed)] = {
            "learners": rows, "mean_mape": mean, "final_accuracy": finals, "elsewhere": misses,
        }  # fmt: skip
    return Measured(effects=effects, details=details, notes=notes)


def followed(sizes: Sequence[float], scores: Sequence[float]) -> dict[str, Any]:
    """Return where the method stops on a curve, how far each forecast made there is off, and how calm its limit is."""
    from tutelage.forecast.learning_curve import LearningCurve

    limit = stop_within(sizes, LARGEST_SHARE)
    full = LearningCurve.of(sizes, scores, nu=NU, tau=TAU, anchor=1.0)
    converged = full.convergence_level
    stop = limit if converged is None else min(converged, limit)
    ahead, truth = np.array(sizes[stop:]), np.array(scores[stop:])
    seen = list(sizes[:stop]), list(scores[:stop])
    mape = {arm: percent_off(values, truth) for arm, values in forecasts(seen, ahead).items()}
    tighter = LearningCurve.of(sizes, scores, nu=NU, tau=TIGHTER, anchor=1.0).convergence_level
    plain = LearningCurve.of(sizes, scores, nu=NU, tau=TAU)
    ranges = {}
    if full.prediction_level is not None:
        for arm, curve in {FULL: full, NO_ANCHOR: plain}.items():
            limits = [trend.c for trend in curve.history if trend.level >= full.prediction_level]
            ranges[arm] = max(limits) - min(limits)
    at_once = next((trend for trend in plain.history if trend.a * trend.size**-trend.b <= TAU), None)
    return {
        "working_level": full.working_level,
        "prediction_level": full.prediction_level,
        "stop": sizes[stop - 1],
        "forced": converged is None or converged > limit,
        "converged_at": 1.0 if converged is None else sizes[converged - 1] / sizes[-1],
        "converged_at_2_points": None if tighter is None else sizes[tighter - 1] / sizes[-1],
        "power_law_alone_would_stop_at": None if at_once is None else at_once.size / sizes[-1],
        "mape": mape,
        "coverage_of_80_percent_intervals": weighed_coverage(seen, ahead, truth),
        "range": ranges,
    }


def stop_within(sizes: Sequence[float], share: float) -> int:
    """Return the number of sizes up to a share of the largest, 4 at least."""
    return max(4, int(np.sum(np.array(sizes) <= share * sizes[-1])))


def forecasts(seen: Curve, ahead: np.ndarray) -> dict[str, np.ndarray]:
    """Return what each arm expects at sizes ``ahead`` after the points ``seen``."""
    from tutelage.forecast.learning_bayes import learning_posterior
    from tutelage.forecast.learning_curve import LearningCurve
    from tutelage.forecast.learning_families import fit_families

    sizes, scores = seen
    last = np.full(len(ahead), scores[-1])
    slope = (scores[-1] - scores[-2]) / math.log(sizes[-1] / sizes[-2])
    found = {}
    for arm, anchor in ((FULL, 1.0), (NO_ANCHOR, 0.0)):
        curve = LearningCurve.of(sizes, scores, nu=NU, tau=TAU, anchor=anchor)
        ready = curve.prediction_level is not None
        found[arm] = np.array([curve.predict(size) for size in ahead]) if ready else last
    found[PLAIN] = fit_families(sizes, scores, ["pow3"])["pow3"].predict(ahead)
    found[LAST] = last
    found[TWO_POINTS] = np.clip(scores[-1] + slope * np.log(ahead / sizes[-1]), 0.0, 1.0)
    found[WEIGHED] = learning_posterior(sizes, scores).forecast(ahead).median
    return found


def weighed_coverage(seen: Curve, ahead: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of later accuracies inside the 80 % interval of all families weighed."""
    from tutelage.forecast.learning_bayes import learning_posterior

    found = learning_posterior(*seen).forecast(ahead)
    return float(np.mean((found.low <= truth) & (truth <= found.high)))


def percent_off(values: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean absolute percentage error."""
    return float(np.mean(np.abs(values - truth) / truth) * 100)


def pairs_right(curves: Mapping[str, Curve], share: float) -> float:
    """Return the share of pairs whose order at the largest size is the one forecast at a share of the data."""
    expected = {}
    for name, (sizes, scores) in curves.items():
        stop = stop_within(sizes, share)
        expected[name] = float(forecasts((sizes[:stop], scores[:stop]), np.array([sizes[-1]]))[FULL][0])
    right = [
        (expected[one] - expected[other]) * (curves[one][1][-1] - curves[other][1][-1]) > 0
        for one, other in combinations(curves, 2)
    ]
    return float(np.mean(right))


# --- curves of other learners ----------------------------------------------------------------------------------------


def elsewhere(seed: int, sample: int) -> dict[str, float] | None:
    """Return mean misses of the error at the largest size, by method, on a sample of the Learning Curve Database."""
    from tutelage.forecast.learning_curve import LearningCurve
    from tutelage.studies._learning_curve_database import database_curves

    try:
        known = [curve for _, curve in sorted(database_curves().items()) if len(curve[0]) >= SHORTEST]
    except DataNotFound:
        return None
    chosen = numpy_generator(seed, "curves").choice(len(known), size=min(sample, len(known)), replace=False)
    misses: dict[str, list[float]] = {FULL: [], LAST: []}
    for curve_of in (known[place] for place in sorted(chosen)):
        sizes, errors = (values[::-1][::EVERY][::-1] for values in curve_of)
        stop = stop_within(sizes, EARLY_SHARE)
        step = (sizes[stop - 1] - sizes[0]) / (stop - 1)
        curve = LearningCurve.of(
            sizes[:stop], errors[:stop], nu=NU * STEP / step, tau=TAU, anchor=1.0, lower_is_better=True
        )
        ready = curve.prediction_level is not None
        expected = curve.predict(sizes[-1]) if ready else errors[stop - 1]
        misses[FULL].append(abs(expected - errors[-1]))
        misses[LAST].append(abs(errors[stop - 1] - errors[-1]))
    return {method: float(np.mean(values)) for method, values in misses.items()}


def exact() -> list[ExactCheck]:
    """Check the calculations by a curve whose constants are known."""
    from tutelage.forecast.learning_curve import LearningCurve

    sizes = [5_000.0 * i for i in range(1, 15)]
    clean = [0.97 - 4 * n**-0.45 for n in sizes]
    curve = LearningCurve.of(sizes, clean)
    wavy = LearningCurve.of(sizes, [y + 0.002 * (-1) ** i for i, y in enumerate(clean, 1)])
    needed = (4 / 0.02) ** (1 / 0.45)
    last = wavy.history[-1].c
    return [
        ExactCheck(name="the limit of a clean power law", value=curve.asymptote, expected=0.97, tolerance=1e-6),
        ExactCheck(name="words that 95 % take", value=curve.size_for(0.95), expected=needed, tolerance=1e-5),
        ExactCheck(name="the limit at level 14 of a wave of 0.2 points", value=last, expected=0.9672, tolerance=1e-4),
    ]


STUDY = Study(
    paper=59,
    claims={
        "headline": Claim(
            sentence="At the stop, with at most 60 % of the data, the accuracies to come are foreseen within 0.5 % "
            "(MAPE) for every learner",
            margin=0.0,
            unit="points of MAPE",
        ),
        "data": Claim(
            sentence="Every learner's curve converges (proximity 3 points) with at most 60 % of the data", margin=0.0
        ),
        "baselines": Claim(
            sentence="At the stop the method's MAPE is below that of the last value and of two points, in the mean "
            "over learners",
            margin=0.0,
            unit="points of MAPE",
        ),
        "ranking": Claim(
            sentence="At 30 % of the data at least 80 % of the pairs of learners are ranked as they end", margin=0.0
        ),
        "anchor": Claim(
            sentence="Anchoring makes the sequence of limits steadier: their range from the prediction level on is "
            "smaller",
            margin=0.0,
            unit="points of accuracy",
        ),
        "elsewhere": Claim(
            sentence="On learning curves of 28 other learners, forecast from 30 % of the data, the method misses by "
            "less than the last value",
            margin=0.0,
            unit="points of error",
        ),
    },
    arms={
        FULL: "LearningCurve, anchor 1",
        NO_ANCHOR: "LearningCurve, anchor 0",
        PLAIN: "fit_families, pow3, on all points so far",
        LAST: "the last accuracy stays",
        TWO_POINTS: "a line in log size through the last two points",
        WEIGHED: "learning_posterior, median",
    },
    measure=measure,
    scales={
        "quick": Scale(workloads=("web-en", "lcdb"), budgets=("100000words", "40curves"), seeds=3),
        "full": Scale(workloads=("web-en", "lcdb"), budgets=("204000words", "60curves"), seeds=5),
    },
    limits="One language and one small treebank (UD English EWT, 204,000 training words; the paper has larger ones, in "
    "English and Spanish) and four small taggers, none neural, where the paper has nine. Working level, proximity and "
    "anchor follow the paper from memory.",
    exact=exact,
)
