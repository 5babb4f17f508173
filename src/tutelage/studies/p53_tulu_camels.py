"""Paper 53: no set of instructions is best at everything, mixtures are best on average, and judges like long answers.

How an effect is formed, written down before anything was measured. Each seed has a base model that has seen a little of
every skill, and six sources of its own, which differ in skills, size, noise and style. Every arm tunes the base model
by as many updates of as many examples: on one source alone, on three or all six put together, on all six in equal
shares or in shares of the square root of their sizes. Scores are exact match on held-out questions, a mean a skill, and
the average counts all skills alike. What is chosen is chosen by the validation questions and judged by the test ones.

- *headline*: the average of all six put together, less that of the single source that was chosen.
- *no source is best*: half of the skills and half a skill, 7/12, less the share of the skills at which the most
  successful single source is the best single one: plus for at most three of six. Where several are equal each of them
  is best. *no arm is best*: 1 less the same share among all tuned arms.
- *more sources*: all six put together, less three of them. *tuned*: all six put together, less no tuning at all.
- *weights*: 2 points, less what the better of the two other weightings gains over putting all six together.
- *style*: over all tuned arms, the correlation of the win rate with different words in an answer, accuracy held
  constant, less 0.5. *judge*: the correlation of the win rate with different words, less that with accuracy. The judge
  is a rule that likes both right answers and more different words, so the first shows what was built in.

The rate, of 0.002, 0.004 and 0.008, and the number of updates were chosen for all six put together, on seed 99, which
nothing else uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tutelage.studies._by_seed import tables_by_seed
from tutelage.studies._instruction_sources import SOURCES
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, ScaleName, Setting, Study

BASE, ALL, THREE, EQUAL, ROOT = "no tuning", "all six", "three of six", "all six, equal shares", "all six, root of size"
#: One of them in the plain style throughout, as the paper's mixture of data written by people.
OF_THREE = ("lists", "lookup", "words")
UPDATES, BASE_UPDATES, EACH = 300, 90, {"validation": 25, "test": 50}
RECIPE = "linear:warmup=0.03;peak=0.004;batch_size=32"
#: Between three and four of six skills.
MOST = 7 / 12
TWO_POINTS, HALF = 0.02, 0.5


def _mixture(weights: Sequence[float]) -> str:
    return f"mixture:weights={'/'.join(f'{weight:g}' for weight in weights)},exhausted=repeat"


SINGLE = tuple(SOURCES)
#: Tuned arms and their mixtures.
MIXTURES: Mapping[str, str] = {
    ALL: "mixture:weights=concat,exhausted=repeat",
    THREE: _mixture([source.size if name in OF_THREE else 0 for name, source in SOURCES.items()]),
    EQUAL: "mixture:weights=uniform,exhausted=repeat",
    ROOT: _mixture([round(source.size**0.5, 3) for source in SOURCES.values()]),
    **{name: _mixture([float(name == other) for other in SINGLE]) for name in SINGLE},
}


def measure(setting: Setting) -> Measured:
    """Tune the base model on every mixture, ask it all skills, and form the effects."""
    return summarised(tables_by_seed(setting, arms_of, budget=setting.scale.budgets[0]))


def arms_of(scale: ScaleName, seed: int) -> dict[str, Any]:
    """Return for every arm its accuracy a skill on both parts, its win rate and the words of its answers."""
    from tutelage.studies._instruction_sources import Answered, answers, base_model, held_out, source_rows, tuned

    sources = {name: source_rows(source, seed=seed) for name, source in SOURCES.items()}
    asked = {part: held_out(part, each) for part, each in EACH.items()}
    base = base_model(recipe=RECIPE, budget=f"{BASE_UPDATES}steps", seed=seed)
    table: dict[str, Any] = {}
    for arm in (BASE, *MIXTURES):
        model = base
        if arm != BASE:
            model = tuned(base, sources, RECIPE, MIXTURES[arm], budget=STUDY.scales[scale].budgets[0], seed=seed)
        found = {part: Answered.of(rows, answers(model, rows)) for part, rows in asked.items()}
        table[arm] = {part: one.accuracy() for part, one in found.items()}
        table[arm] |= {"win": found["test"].win_rate(), "words": float(np.mean(found["test"].unique))}
    return table


def summarised(tables: Mapping[int, Mapping[str, Any]]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        tables: For each seed what :func:`arms_of` returns.
    """
    from tutelage.evaluation.skill_matrix import skill_matrix

    effects: dict[str, dict[int, float]] = {name: {} for name in STUDY.claims}
    notes, seeds = [], {}
    for seed, table in tables.items():
        found, details = of_one_seed(table)
        seeds[str(seed)] = details
        for name, value in found.items():
            if value is None:
                notes.append(f"Seed {seed} has no correlation for {name}: nothing varies.")
            else:
                effects[name][seed] = value
    skills = next(iter(tables.values()))[BASE]["test"]
    rows = {
        arm: {skill: [table[arm]["test"][skill] for table in tables.values()] for skill in skills}
        for arm in (BASE, *MIXTURES)
    }
    singles = skill_matrix({arm: rows[arm] for arm in SINGLE})
    matrix = skill_matrix({arm: rows[arm] for arm in MIXTURES})
    details = {
        "accuracy": {arm: {skill: float(np.mean(values)) for skill, values in row.items()}
                     for arm, row in rows.items()},
        "average": {arm: float(np.mean(list(row.values()))) for arm, row in rows.items()},
        "ranks": dict(zip(matrix.sources, matrix.ranks.tolist(), strict=True)),
        "undominated": list(matrix.undominated),
        "chance that one source is best everywhere": singles.p_no_winner,
        "win rate": {arm: float(np.mean([table[arm]["win"] for table in tables.values()])) for arm in rows},
        "different words": {arm: float(np.mean([table[arm]["words"] for table in tables.values()])) for arm in rows},
        "seeds": seeds,
    }  # fmt: skip
    return Measured(effects=effects, details=details, notes=notes)


def of_one_seed(table: Mapping[str, Any]) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Return the effects of one seed, and what was chosen."""
    from tutelage.evaluation.skill_matrix import skill_matrix
    from tutelage.evaluation.style_bias import style_bias

    def average(arm: str, part: str = "test") -> float:
        return float(np.mean(list(table[arm][part].values())))

    def chosen(arms: Sequence[str]) -> str:
        return max(arms, key=lambda arm: average(arm, "validation"))

    def most(arms: Sequence[str]) -> float:
        return max(skill_matrix({arm: table[arm]["test"] for arm in arms}).best_at.values())

    single, weighted = chosen(SINGLE), chosen((EQUAL, ROOT))
    tuned = tuple(MIXTURES)
    wins, right = [table[arm]["win"] for arm in tuned], [average(arm) for arm in tuned]
    words = [table[arm]["words"] for arm in tuned]
    held = style_bias(wins, {"words": words}, control={"accuracy": right})["words"]
    accuracy = style_bias(wins, {"accuracy": right})["accuracy"].correlation
    varies = held.correlation is not None and accuracy is not None
    effects = {
        "headline": average(ALL) - average(single),
        "no source is best": MOST - most(SINGLE),
        "no arm is best": 1.0 - most(tuned),
        "more sources": average(ALL) - average(THREE),
        "tuned": average(ALL) - average(BASE),
        "weights": TWO_POINTS - (average(weighted) - average(ALL)),
        "style": None if held.partial is None else held.partial - HALF,
        "judge": (held.correlation or 0.0) - (accuracy or 0.0) if varies else None,
    }
    return effects, {
        "best single source": single,
        "better other weighting": weighted,
        "average": {arm: average(arm) for arm in (BASE, *tuned)},
        "win rate and words": held.correlation,
        "win rate and words at equal accuracy": held.partial,
        "win rate and accuracy": accuracy,
    }


def exact() -> Sequence[ExactCheck]:
    """Return the proportions of two of the paper's data sets put together, and pass@5 of 3 right answers in 10."""
    from tutelage.evaluation.pass_at_k import pass_at_k
    from tutelage.selection import Mixture

    shares = Mixture().proportions((96_913, 100_000), [0.0])[0]
    equal = Mixture(weights="uniform").proportions((96_913, 100_000), [0.0])[0]
    return [
        ExactCheck(
            name="96,913 and 100,000 examples put together", value=float(shares[0]), expected=96_913 / 196_913,
            tolerance=1e-12,
        ),
        ExactCheck(name="the same in equal shares", value=float(equal[0]), expected=0.5, tolerance=1e-12),
        ExactCheck(
            name="pass@5 of 3 right answers in 10", value=float(pass_at_k(10, 3, 5)), expected=11 / 12, tolerance=1e-12
        ),
    ]  # fmt: skip


def _claim(sentence: str, unit: str = "") -> Claim:
    return Claim(sentence=sentence, margin=0.0, unit=unit)


STUDY = Study(
    paper=53,
    claims={
        "headline": _claim(
            "Six instruction sources put together are better on average over skills than the best of them alone"
        ),
        "no source is best": _claim("No single source is the best one at more than half of the skills"),
        "no arm is best": _claim("No single source and no mixture is best at every skill"),
        "more sources": _claim("All six sources together are better on average than three of them"),
        "tuned": _claim("Tuning on all six sources is better on average than no tuning"),
        "weights": _claim("Weights of equal shares or of the root of the size gain at most 2 points over all six as "
                          "they are"),
        "style": _claim(
            "At equal accuracy the judge's win rate goes with different words in an answer: partial correlation "
            "above 0.5",
            "correlation beyond 0.5",
        ),
        "judge": _claim("The judge's win rate goes more with different words than with accuracy", "correlation"),
    },
    arms={BASE: "the base model as it is", **MIXTURES},
    measure=measure,
    scales={
        "quick": Scale(workloads=("instruction sources",), budgets=(f"{UPDATES}steps",), seeds=3),
        "full": Scale(workloads=("instruction sources",), budgets=(f"{UPDATES}steps",), seeds=12),
    },
    limits="Six generated sources of 400 to 1,600 examples, most of each from one or two of six skills, and a decoder "
    "of 78,000 weights that has learned from 2,880 examples of all skills; the paper tunes models of 7 to 65 billion "
    "on twelve real data sets. That skills differ by source follows from how sources are made: what is measured is "
    "how much better a mixture is, and how far its weights matter. All arms have 300 updates of 32, so small sources "
    "are gone through up to 24 times; equal epochs were not compared. One rate serves all arms. The judge is a rule "
    "with a taste for different words, not a model or a person, and only one source uses more words than it needs.",
    exact=exact,
)  # fmt: skip
