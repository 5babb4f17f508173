"""Paper 3: does AlgoPerf's score rank training algorithms reproducibly, and does tuning outweigh a rank?

How an effect is formed, written down before anything was measured. A *study set* is one whole scoring by the external
rules: on every workload each submission gets its trials in every study, the best trial of a study and the median over
studies count, and the scores follow. A seed draws two study sets, A and B, independent in their points, first weights
and data order; seeds share nothing.

- *headline*: Kendall's tau (b) between the rankings of A and B by score, less 0.6.
- *tuning*: in A, every submission beside its own untuned default. The mean gain in score by tuning, less the mean gap
  between adjacent submissions, (best - worst) / (submissions - 1), all by the scores of that one table.
- *variants*: pairs of submissions that change places in A's ranking when one workload's times are replaced by those on
  its variant, less the pairs that change places when they are replaced by B's times on the same workload: what drawing
  the trials again does. Mean over variants; a tie on one side counts half.

Time is counted in updates, which repeat exactly; the same by seconds stands in the details. The marks below were set
once, before any submission was scored, with seed -1 (``set_targets``), each the median of the best validation losses of
five repeats of the best of 60 baseline runs, rounded to four digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from tutelage.studies.study import Claim, Measured, Scale, ScaleName, Setting, Study

if TYPE_CHECKING:
    from tutelage.comparison.racing import RaceResult
    from tutelage.evaluation.algoperf_scores import TimeTable

CNN, NOISY, TABLE = "digits", "digits:net=mlp,label_noise=0.2", "breast-cancer"
COPY = "sequence-copy:length=8,symbols=8"
TEXT = "text-lm:data=shakespeare,context=16,tokenizer=bytes,validation_windows=32"
WIDE, POST = "digits:net=mlp,label_noise=0.2,widen=2", "sequence-copy:length=8,symbols=8,norm=post"
#: Each variant and the workload it varies: width times 2, and the norm after each part.
VARIANTS = {WIDE: NOISY, POST: COPY}

TUNED = {
    "sgd-step": "step:milestones=0.5/0.75,gamma=0.1,warmup={warmup};sgd:momentum=0.9;peak={rate}",
    "adamw-cosine": "cosine:warmup={warmup};adamw;peak={peak}",
    "adamw-linear": "linear:warmup={warmup};adamw;peak={peak}",
    "nadamw-cosine": "cosine:warmup={warmup};nadamw;peak={peak}",
    "adamw-uba": "uba:phi=5,warmup={warmup};adamw;peak={peak}",
}
#: The same submissions as many would run them: PyTorch's rate of Adam, the usual one of SGD, 5 % of warm-up.
DEFAULTS = {"warmup": 0.05, "peak": 1e-3, "rate": 0.1}
#: One space for all workloads; ``horizon`` is the share of the budget a trial lasts.
SPACE = {"peak": "log:5e-4..5e-2", "rate": "log:0.01..1", "warmup": "0.02/0.05/0.1", "horizon": "0.5/0.75/1.0"}
EVAL_EVERY = 3
TARGETS: Mapping[str, float] = {
    CNN: 0.3927,
    NOISY: 0.4151,
    TABLE: 0.1101,
    COPY: 0.0009527,
    TEXT: 2.582,
    WIDE: 0.3967,
    POST: 0.01506,
}
#: The baselines that set the marks, AdamW, NAdamW and SGD, with 20 trials each and 5 repeats of the best.
SET_BY = ("adamw-cosine", "nadamw-cosine", "sgd-step")
STUDIES: Mapping[ScaleName, int] = {"quick": 1, "full": 3}
TRIALS = 5


def untuned(name: str) -> str:
    """Return what a submission is called where it runs at its defaults."""
    return f"{name}, untuned"


def measure(setting: Setting) -> Measured:
    """Run both study sets of every seed, and form the effects."""
    effects: dict[str, dict[int, float]] = {name: {} for name in setting.study.claims}
    details: dict[str, Any] = {"targets": dict(TARGETS), "seeds": {}}
    notes: list[str] = []
    bases = list(setting.scale.workloads)
    for seed in setting.seeds:
        first, second = study_set(setting, seed, "A"), study_set(setting, seed, "B")
        tables = {name: found.times(workloads=bases) for name, found in (("A", first), ("B", second))}
        scores = {name: scores_of(kept(table, TUNED)) for name, table in tables.items()}
        tau = rank_correlation(scores["A"], scores["B"])
        if tau is None:
            notes.append(f"Seed {seed}: a study set in which all submissions score the same has no ranking; left out.")
        else:
            effects["headline"][seed] = tau - 0.6
        effects["tuning"][seed] = gain_by_tuning(scores_of(tables["A"]))
        varied = swaps_by_variant(first, second, bases)
        effects["variants"][seed] = sum(row["varied"] - row["drawn_again"] for row in varied) / len(varied)
        details["seeds"][str(seed)] = {
            "tau": tau,
            "tau_by_seconds": rank_correlation(
                *(scores_of(kept(found.times("seconds", workloads=bases), TUNED)) for found in (first, second))
            ),
            "scores": scores,
            "scores_beside_defaults": scores_of(tables["A"]),
            "scores_with_held_out_variants": with_variants(first),
            "swaps": varied,
            "steps_to_target": {"A": first.times().rows(), "B": second.times().rows()},
            "notes": [*first.notes, *second.notes],
        }
    return Measured(effects=effects, details=details, notes=notes)


def study_set(setting: Setting, seed: int, name: str) -> RaceResult:
    """Run one study set; A also runs the defaults and the variants."""
    from tutelage.comparison.racing import race
    from tutelage.evaluation.algoperf_targets import TuningRules

    bases, arms, variants = list(setting.scale.workloads), dict(TUNED), {}
    if name == "A":
        arms |= {untuned(arm): recipe.format(**DEFAULTS) for arm, recipe in TUNED.items()}
        variants = {variant: base for variant, base in VARIANTS.items() if base in bases}
    return race(
        bases,
        arms,
        budget=setting.scale.budgets,
        space=SPACE,
        rules=TuningRules(studies=STUDIES[setting.scale_name], trials=TRIALS),
        targets={label: TARGETS[label] for label in (*bases, *variants)},
        variants=variants,
        eval_every=EVAL_EVERY,
        seed=2 * seed + (name == "B"),
        out=setting.out / f"seed-{seed}" / name,
        resume=setting.resume,
        force=setting.force,
        jobs=setting.jobs,
        watch=setting.watch,
    )


def set_targets(workload: str, budget: str, out: str, jobs: int | None = None) -> float:
    """Return the mark on one workload, set by the tuned baseline; how ``TARGETS`` were made.

    Args:
        workload: Spec of a workload or variant.
        budget: Longest budget of a run in the study; the baseline gets three quarters of it.
        out: Folder for the runs; an interrupted setting goes on.
        jobs: Runs at a time.
    """
    from tutelage.comparison.racing import TargetRules, race
    from tutelage.evaluation.algoperf_targets import TuningRules

    found = race(
        workload,
        {name: TUNED[name] for name in SET_BY},
        budget=budget,
        space=SPACE,
        rules=TuningRules(studies=1, trials=1),
        set_by=TargetRules(arms=SET_BY, trials=20, repeats=5),
        eval_every=EVAL_EVERY,
        seed=-1,
        out=out,
        resume=True,
        jobs=jobs,
    )
    return found.targets[workload].value


# --- from times to effects -------------------------------------------------------------------------------------------


def kept(table: TimeTable, names: Mapping[str, str]) -> TimeTable:
    """Return the rows of some submissions."""
    from tutelage.evaluation.algoperf_scores import TimeTable

    return TimeTable.from_rows({name: row for name, row in table.rows().items() if name in names}, axis=table.axis)


def scores_of(table: TimeTable) -> dict[str, float]:
    """Return the exact AlgoPerf score of each submission in a table."""
    from tutelage.evaluation.algoperf import profile_score

    return dict(zip(table.submissions, profile_score(table.times).tolist(), strict=True))


def rank_correlation(first: Mapping[str, float], second: Mapping[str, float]) -> float | None:
    """Return Kendall's tau b of two rankings, ``None`` where all scores of one are equal."""
    from scipy.stats import kendalltau

    if min(len(set(first.values())), len(set(second.values()))) < 2:
        return None
    return float(kendalltau(list(first.values()), [second[name] for name in first]).statistic)


def gain_by_tuning(scores: Mapping[str, float]) -> float:
    """Return the mean gain of the tuned submissions over their defaults, less their mean gap between neighbours."""
    tuned = [scores[name] for name in TUNED]
    gains = [scores[name] - scores[untuned(name)] for name in TUNED]
    return sum(gains) / len(gains) - (max(tuned) - min(tuned)) / (len(tuned) - 1)


def swaps(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Return how many pairs change places from one ranking to the other; a tie on one side counts half."""
    changed = 0.0
    for one, other in combinations(first, 2):
        before, after = (_sign(scores[one] - scores[other]) for scores in (first, second))
        changed += abs(before - after) / 2
    return changed


def swaps_by_variant(first: RaceResult, second: RaceResult, bases: list[str]) -> list[dict[str, Any]]:
    """Return for each variant how many pairs change places with it, and by drawing the base's trials again."""
    table = kept(first.times(), TUNED).rows()
    again = kept(second.times(), TUNED).rows()
    ranking = _ranking(table, bases)
    rows = []
    for variant, base in first.variants.items():
        varied = {name: {**times, base: times[variant]} for name, times in table.items()}
        drawn_again = {name: {**times, base: again[name][base]} for name, times in table.items()}
        rows.append(
            {
                "variant": variant,
                "base": base,
                "varied": swaps(ranking, _ranking(varied, bases)),
                "drawn_again": swaps(ranking, _ranking(drawn_again, bases)),
            }
        )
    return rows


def with_variants(found: RaceResult) -> dict[str, float]:
    """Return the scores of the tuned submissions when a missed variant costs its workload."""
    from tutelage.evaluation.algoperf_scores import score_times

    rows = score_times(kept(found.times(), TUNED), variants=found.variants).rows
    return {row.submission: row.exact_score for row in rows}


def _ranking(rows: Mapping[str, Mapping[str, float]], bases: list[str]) -> dict[str, float]:
    from tutelage.evaluation.algoperf_scores import TimeTable

    table = {name: {base: times[base] for base in bases} for name, times in rows.items()}
    return scores_of(TimeTable.from_rows(table, axis="steps"))


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


STUDY = Study(
    paper=3,
    claims={
        "headline": Claim(
            sentence="Two independent study sets rank training algorithms alike by AlgoPerf score: Kendall's tau "
            "between them is at least 0.6",
            margin=0.0,
            unit="Kendall's tau",
        ),
        "tuning": Claim(
            sentence="Five tuning trials raise a submission's score over its untuned default by more than the gap "
            "between adjacent submissions",
            margin=0.0,
            unit="score",
        ),
        "variants": Claim(
            sentence="The ranking changes with the workload's model: a variant of one workload swaps more pairs of "
            "submissions than drawing that workload's trials again",
            margin=0.0,
            unit="swapped pairs",
        ),
    },
    arms={**TUNED, **{untuned(name): recipe.format(**DEFAULTS) for name, recipe in TUNED.items()}},
    measure=measure,
    scales={
        "quick": Scale(workloads=(NOISY, TABLE, COPY), budgets=("120steps", "80steps", "60steps"), seeds=3),
        "full": Scale(
            workloads=(CNN, NOISY, TABLE, COPY, TEXT),
            budgets=("60steps", "120steps", "80steps", "60steps", "48steps"),
            seeds=4,
        ),
    },
    limits="Five tasks of a second each (three at quick scale) and five submissions; AlgoPerf has eight workloads of "
    "hours each. The marks are validation losses, there are no test marks, and time is counted in updates. Four pairs "
    "of study sets decide, three at quick scale, where a set has one study instead of three.",
)
