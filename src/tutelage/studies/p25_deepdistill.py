"""Paper 25: do questions whose graded attempts vary teach more than other verified ones, and at a higher rate?

How an effect is formed, written down before anything was measured. Each seed has three graders, decoders of rising size
and skill; each answers every question of a pool of sums four times at temperature 1. Additions are right or wrong,
subtractions get the share of their characters that are right. A question may be chosen if it is *verified*: the
strongest grader answered it rightly at least once. Its right answer is learned, once, as it has one wording only. The
student, a base model that has read sums and answers one in ten, spends equally many updates on what an arm chose; all
answers are equally long, so that these are equal tokens. Every arm learns at each rate; the rate that validation
questions like best, of all kinds, counts. Other questions test it. *Hard* ones are the third of the test questions that
the graders' attempts, drawn for that alone, solve least often.

- *headline*: accuracy on hard questions, chosen by variation less as many verified ones by lot. What shuffled scores
  would choose is a choice by lot, too: the baseline is the null arm.
- *overall*: the same on all test questions.
- *stable*, *all*, *band*, *hardest*, *longest*: accuracy on hard questions, chosen by variation less another choice:
  verified questions that vary less; all verified ones; pass rates of 0.25 to 0.75; the quarter of the verified ones
  with the lowest pass rates; as many with the most digits, the cheap rival, which asks no grader.
- *annealing*: from the end of the arm chosen by variation, at a tenth of its rate, two passes over a fifth as many
  questions: accuracy on hard ones, with the highest variations less by lot.
- *rate*: decades between the best rate of the base model and that of a student that has been tuned already (the
  baseline's end, which learns further verified questions by lot), by validation. The paper's factor is ten.

The cut-off of the variation, which the paper does not print, is the median of the solved questions of a kind. Sizes,
skills of graders and base, updates and rates were chosen on seeds 1,000,001 and 1,000,002 with verified questions by
lot alone, so that this baseline learns and ends neither at the floor nor at the ceiling. Its best rate there is the
highest or the one below it; at three times the highest it learns next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.studies._by_seed import tables_by_seed
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, ScaleName, Setting, Study

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tutelage.selection import Grades
    from tutelage.studies._arithmetic import Sum

LOT, VARIED, STABLE, ALL = "verified, by lot", "highest variation", "lowest variation", "all verified"
BAND, HARDEST, LONGEST = "pass rate 0.25 to 0.75", "hardest that are solved", "most digits"
#: Width and skill of each grader, the strongest last, and of the base model.
GRADERS, BASE = ((48, 0.15), (64, 0.45), (96, 0.8)), (64, 0.1)
ATTEMPTS, THRESHOLD = 4, 0.99
POOL: Mapping[ScaleName, int] = {"quick": 3000, "full": 6000}
STEPS: Mapping[ScaleName, int] = {"quick": 200, "full": 300}
VALIDATION, TESTED = 500, 1500
#: Rates of every arm; the two students of *rate* also learn at the lowest.
LOWEST, RATES = 3e-4, (1e-3, 3e-3, 1e-2)
BATCH, TENTH, ANNEALED, PASSES = 32, 0.1, 0.2, 2


@dataclass(frozen=True)
class Learner:
    """What all runs of a seed share."""

    pool: Sequence[Sum]
    tested: Mapping[str, Sequence[Sum]]
    seed: int

    def taught(self, model: Any, places: NDArray[np.int64], arm: str, rate: float, steps: int) -> tuple[Any, Scores]:
        """Return a model that has learned some questions of the pool, and its accuracies."""
        from tutelage.studies._graded_sums import taught

        recipe = f"{STUDY.arms[arm]};peak={rate}"
        asked = [self.pool[place] for place in places]
        model, found = taught(model, asked, recipe, steps=steps, seed=self.seed, tested=self.tested)
        hard, rest = len(self.tested["hard"]), len(self.tested["other"])
        found["all"] = (hard * found["hard"] + rest * found["other"]) / (hard + rest)
        return model, found


Scores = dict[str, float]


def measure(setting: Setting) -> Measured:
    """Grade the pool, train every arm on its choice, and form the effects."""
    return summarised(tables_by_seed(setting, accuracies, budget=setting.scale.budgets[0]))


def accuracies(scale: ScaleName, seed: int) -> dict[str, Any]:
    """Return what one seed's students reach, by arm, and how its questions were graded."""
    from tutelage.randomness import derive_seed
    from tutelage.studies._graded_sums import brought_to, worked_sums

    pool = worked_sums(POOL[scale], seed=seed)
    held_out = worked_sums(VALIDATION + TESTED, seed=seed, part="validation")
    validation, tests = held_out[:VALIDATION], held_out[VALIDATION:]
    graders = [
        brought_to(skill, width, seed=derive_seed(seed, "grader", place) % 2**31)
        for place, (width, skill) in enumerate(GRADERS)
    ]
    scores = graded(graders, pool, seed=derive_seed(seed, "pool"))
    hard = hard_third(graded(graders, tests, seed=derive_seed(seed, "tests")))
    tested = {
        "validation": validation,
        "hard": [tests[place] for place in np.flatnonzero(hard)],
        "other": [tests[place] for place in np.flatnonzero(~hard)],
    }
    grades = grades_of(pool, scores, seed)
    chosen, further = choices(pool, scores, grades, seed)
    width, skill = BASE
    base = brought_to(skill, width, seed=derive_seed(seed, "base") % 2**31, questions_too=True)
    runs = students(Learner(pool, tested, seed), base, chosen, further, grades.variation, STEPS[scale])
    by_kind = {kind: float(np.mean(np.array([kind in one.question for one in pool])[chosen[VARIED]])) for kind in "+-"}
    return {
        **runs,
        "questions": {arm: len(places) for arm, places in chosen.items()},
        "pass rate": {arm: float(grades.pass_rates[places].mean()) for arm, places in chosen.items()},
        "digits": {arm: float(np.mean([pool[place].digits for place in places])) for arm, places in chosen.items()},
        "kinds of highest variation": by_kind,
        "graders": [
            float((scores[:, place * ATTEMPTS : (place + 1) * ATTEMPTS] > THRESHOLD).mean())
            for place in range(len(GRADERS))
        ],
        "solved": float((grades.pass_rates > 0).mean()),
    }


def students(
    learner: Learner,
    base: Any,
    chosen: Mapping[str, NDArray[np.int64]],
    further: NDArray[np.int64],
    variation: NDArray[np.float64],
    steps: int,
) -> dict[str, Any]:
    """Return scores by arm and rate, those of the second stage, and of a student tuned before."""
    arms: dict[str, dict[float, Scores]] = {}
    ends: dict[str, Any] = {}
    for arm, places in chosen.items():
        arms[arm] = {}
        for rate in RATES:
            model, arms[arm][rate] = learner.taught(base, places, arm, rate, steps)
            if arm in (LOT, VARIED) and best(arms[arm]) == rate:
                ends[arm] = model
    from_base = {LOWEST: learner.taught(base, chosen[LOT], LOT, LOWEST, steps)[1], **arms[LOT]}
    tuned = {rate: learner.taught(ends[LOT], further, LOT, rate, steps)[1] for rate in (LOWEST, *RATES)}
    # The second stage: few questions twice, at a tenth of the rate.
    count = max(1, round(ANNEALED * len(chosen[VARIED])))
    highest = chosen[VARIED][np.argsort(-variation[chosen[VARIED]], kind="stable")[:count]]
    rate, updates = TENTH * best(arms[VARIED]), math.ceil(PASSES * count / BATCH)
    second = {
        arm: learner.taught(ends[VARIED], places, arm, rate, updates)[1]
        for arm, places in ((VARIED, highest), (LOT, further[:count]))
    }
    rates = {"base": from_base, "tuned": tuned}
    return {
        "arms": {arm: {"rate": best(found), **found[best(found)]} for arm, found in arms.items()},
        "second stage": second,
        "best rate": {start: best(found) for start, found in rates.items()},
        "validation by rate": {
            start: {f"{rate:g}": found[rate]["validation"] for rate in sorted(found)} for start, found in rates.items()
        },
    }


def best(found: Mapping[float, Scores]) -> float:
    """Return the rate with the best validation score, the lowest of those that tie."""
    return max(sorted(found), key=lambda rate: found[rate]["validation"])


def graded(graders: Sequence[Any], asked: Sequence[Sum], *, seed: int) -> NDArray[np.float64]:
    """Return the scores of all graders' attempts, ``(questions, graders * ATTEMPTS)``, the strongest one's last."""
    from tutelage.studies._graded_sums import attempts_at, scores_of

    said = [attempts_at(model, asked, count=ATTEMPTS, seed=seed + place) for place, model in enumerate(graders)]
    return np.concatenate([scores_of(asked, answers) for answers in said], axis=1)


def hard_third(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which questions are the third solved least often; among equals, those with the lower mean score."""
    from tutelage.signals import pass_rate

    order = np.lexsort((scores.mean(axis=1), pass_rate(scores, THRESHOLD)))
    hard = np.zeros(len(scores), dtype=bool)
    hard[order[: len(scores) // 3]] = True
    return hard


def grades_of(pool: Sequence[Sum], scores: NDArray[np.float64], seed: int) -> Grades:
    """Grade additions and subtractions each by the median of their own variations."""
    from tutelage.selection import Variation, select_by_category

    kinds = ["addition" if "+" in one.question else "subtraction" for one in pool]
    rules = dict.fromkeys(("addition", "subtraction"), Variation(threshold=THRESHOLD, quantile=0.5))
    return select_by_category(scores, kinds, rules, seed=seed)


def choices(
    pool: Sequence[Sum], scores: NDArray[np.float64], grades: Grades, seed: int
) -> tuple[dict[str, NDArray[np.int64]], NDArray[np.int64]]:
    """Return places in the pool by arm, and further ones by lot, for what follows a first stage."""
    from tutelage.randomness import numpy_generator

    rng = numpy_generator(seed, "choices")
    passed = scores[:, -ATTEMPTS:] > THRESHOLD
    verified = rng.permutation(np.flatnonzero(passed.any(axis=1)))
    # Of the questions kept, those with an answer of the strongest grader among the answers to train on.
    varied = np.flatnonzero(grades.answers[:, -ATTEMPTS:].any(axis=1))
    rates, digits = grades.pass_rates[verified], np.array([pool[place].digits for place in verified])
    count = len(varied)
    chosen = {
        LOT: verified[:count],
        VARIED: varied,
        STABLE: verified[grades.reasons[verified] == "stable"],
        ALL: verified,
        BAND: verified[(rates >= 0.25) & (rates <= 0.75)],
        HARDEST: verified[np.argsort(rates, kind="stable")[: max(1, len(verified) // 4)]],
        LONGEST: verified[np.argsort(-digits, kind="stable")[:count]],
    }
    return {arm: np.sort(places) for arm, places in chosen.items()}, verified[-count:]


# --- from tables to effects ------------------------------------------------------------------------------------------


def summarised(tables: Mapping[int, Mapping[str, Any]]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        tables: For each seed scores by arm, of the second stage, and the best rates.
    """
    effects: dict[str, dict[int, float]] = {name: {} for name in STUDY.claims}
    for seed, table in tables.items():
        arms, second, rate = table["arms"], table["second stage"], table["best rate"]
        effects["headline"][seed] = arms[VARIED]["hard"] - arms[LOT]["hard"]
        effects["overall"][seed] = arms[VARIED]["all"] - arms[LOT]["all"]
        for claim, arm in RIVALS.items():
            effects[claim][seed] = arms[VARIED]["hard"] - arms[arm]["hard"]
        effects["annealing"][seed] = second[VARIED]["hard"] - second[LOT]["hard"]
        effects["rate"][seed] = math.log10(rate["base"] / rate["tuned"])
    first = next(iter(tables.values()))
    means = {
        arm: {test: float(np.mean([table["arms"][arm][test] for table in tables.values()])) for test in TESTS}
        for arm in first["arms"]
    }
    means |= {
        f"second stage, {arm}": {
            test: float(np.mean([table["second stage"][arm][test] for table in tables.values()])) for test in TESTS
        }
        for arm in first["second stage"]
    }
    return Measured(
        effects=effects,
        details={"mean accuracy": means, "seeds": {str(seed): dict(table) for seed, table in tables.items()}},
    )


TESTS = ("hard", "other", "all")
RIVALS = {"stable": STABLE, "all": ALL, "band": BAND, "hardest": HARDEST, "longest": LONGEST}


def exact() -> Sequence[ExactCheck]:
    """Return variations and selections against numbers worked out by hand, and the identity with pass rates."""
    from tutelage.selection import Variation
    from tutelage.signals import coefficient_of_variation

    spread = [[0.9, 0.1, 0.7, 0.3, 0.5]]
    grades = Variation(cv=0.5).grade([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
    solved = np.arange(1, 13)
    binary = coefficient_of_variation((np.arange(12) < solved[:, None]).astype(float))
    share = solved / 12
    return [
        ExactCheck(name="variation of five scores, divided by n", value=coefficient_of_variation(spread)[0],
                   expected=0.565685, tolerance=1e-5),
        ExactCheck(name="the same, divided by n - 1", value=coefficient_of_variation(spread, ddof=1)[0],
                   expected=0.632456, tolerance=1e-5),
        ExactCheck(name="answers kept of three questions", value=float(grades.answers.sum()), expected=3, tolerance=0),
        ExactCheck(name="largest difference, of 12 attempts, of the variation and the root of (1 - p) / p, plus 1",
                   value=1 + float(np.abs(binary - np.sqrt((1 - share) / share)).max()), expected=1, tolerance=1e-9),
    ]  # fmt: skip


def _claim(sentence: str, margin: float = 0.0, unit: str = "") -> Claim:
    return Claim(sentence=sentence, margin=margin, unit=unit)


_RECIPE = f"cosine:warmup=0.05;batch_size={BATCH}"

STUDY = Study(
    paper=25,
    claims={
        "headline": _claim(
            "On hard questions, those chosen by the variation of graded attempts teach at least 2 points more than as "
            "many verified ones by lot",
            0.02,
        ),
        "overall": _claim("They teach more than verified questions by lot on all questions"),
        "stable": _claim("On hard questions they teach more than solved ones that vary less"),
        "all": _claim("... more than all verified questions, at equal tokens"),
        "band": _claim("... more than questions with pass rates of 0.25 to 0.75"),
        "hardest": _claim("... more than the hardest quarter of the verified questions"),
        "longest": _claim("... more than as many with the most digits (the cheap rival)"),
        "annealing": _claim(
            "A second stage at a tenth of the rate gains more on hard questions from the highest variations than from "
            "verified questions by lot"
        ),
        "rate": _claim(
            "A base model's best rate is at least three times that of a student that has been tuned already",
            0.477,
            "decades",
        ),
    },
    arms=dict.fromkeys((LOT, VARIED, STABLE, ALL, BAND, HARDEST, LONGEST), _RECIPE),
    measure=measure,
    scales={
        "quick": Scale(workloads=("worked sums",), budgets=(f"{STEPS['quick']}steps",), seeds=2),
        "full": Scale(workloads=("worked sums",), budgets=(f"{STEPS['full']}steps",), seeds=6),
    },
    limits="Sums of numbers of up to four digits, worked out place by place, graders of 21,000 to 80,000 weights and a "
    "student of 37,000; the paper has 3.3 million queries of five kinds, graders of 1.5 to 671 billion and students of "
    "32 and 72 billion. A right answer has one wording here, so verified answers are free of errors and one a question "
    "is kept. Arms that choose fewer questions see them more often. Cut-offs of the variation are medians, as the "
    "paper's are unknown. The pool is about as hard as the test; rates stand a factor of three apart.",
    exact=exact,
)
