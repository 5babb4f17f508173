"""Paper 38: does a re-ranker learn better when pairs that the first stage gets wrong count less at first?

How an effect is formed, written down before anything was measured. Each seed cuts the queries of two judged collections
into five parts, one to test on, one for validation (five seeds on end test every query once), and trains small rankers
by both losses. All arms of a seed begin with the same weights and see the same pairs in the same order; only how much a
pair counts differs. Each arm is tested as it was after the epoch with the best mean reciprocal rank (MRR) on
validation. Effects are means over the two collections and the two losses.

- *headline*: test MRR of the curriculum chosen on validation, among three kinds of ease and two lengths, less that of
  no curriculum. *precision*: the same in the share of queries whose first document is relevant. *pairwise*,
  *pointwise*: the headline's parts.
- *constant*: the chosen curriculum less the chosen one of six arms in which every pair of an epoch counts the mean
  weight of that curriculum, chosen on validation in the same way: the gain of choosing, and of a smaller loss.
- *direction*: ease by KDE less the same turned round, mean over both lengths. *shuffled*: less the same weights dealt
  out to the pairs of the epoch at random. *per batch*: less the batch's mean weight, as the authors' code has it.
- *first stage*: no curriculum less BM25's own order: whether the ranker has learned anything worth a curriculum.

Rate and features were tried without a curriculum on seeds 1,000,000 to 1,000,004 alone. Of 0.0003, 0.001 and 0.003 the
middle one had the best mean MRR on validation, 0.62; on test it had 0.57 there and BM25 0.56. The product of both
meanings, dimension by dimension, made the ranker of the pairwise loss worse than BM25 on one collection and was left
out.

From the authors' code (OpenNIR, ``pairwise_cl.py``, read at commit 49bf6b0) are the pairwise loss, one less the softmax
of the relevant document, a curriculum of twenty epochs, and that a batch's mean loss is multiplied by its mean weight.
The 1e-8 that it adds to each weight is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tutelage.signals.first_stage import Kind
from tutelage.studies._by_seed import tables_by_seed
from tutelage.studies._rankers import Course, Weighing, judged, split, trained
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, ScaleName, Setting, Study

COLLECTIONS = ("ir_cranfield", "ir_vaswani")
LOSSES = ("pairwise", "pointwise")
#: Documents re-ranked; batches in an epoch and pairs in a batch as in the authors' code.
LENGTH = 100
COURSE: Mapping[ScaleName, Course] = {
    name: Course(epochs=40, batches=32, pairs=16, rate=0.001, hidden=(64, 32)) for name in ("quick", "full")
}
KINDS: tuple[Kind, ...] = ("reciprocal", "minmax", "kde")
ENDS = (5, 20)
NONE, ANTI, SHUFFLED, PER_BATCH = "none", "kde, hard first", "kde, shuffled", "kde, mean of the batch"
CURRICULA = {f"{kind}, {end} epochs": Weighing(kind, end) for kind in KINDS for end in ENDS}
CONSTANT = {f"{name}, constant": Weighing(way.kind, way.end, "constant") for name, way in CURRICULA.items()}
CONTROLS = {
    **{f"{ANTI}, {end} epochs": Weighing("kde", end, "anti") for end in ENDS},
    **{f"{SHUFFLED}, {end} epochs": Weighing("kde", end, "shuffled") for end in ENDS},
    **{f"{PER_BATCH}, {end} epochs": Weighing("kde", end, "per batch") for end in ENDS},
}
WEIGHINGS: Mapping[str, Weighing | None] = {NONE: None, **CURRICULA, **CONSTANT, **CONTROLS}


def measure(setting: Setting) -> Measured:
    """Train the rankers of every seed and form the effects."""
    return summarised(tables_by_seed(setting, scores, budget=setting.scale.budgets[0]))


def scores(scale: ScaleName, seed: int) -> dict[str, Any]:
    """Return MRR and precision on test and validation queries, by collection, loss and arm; ``bm25`` is one of those.

    Raises:
        DataNotFound: A collection is not there; names the places.
    """
    from tutelage.studies._reranking import lists_of

    found: dict[str, Any] = {}
    for collection in COLLECTIONS:
        lists = lists_of(collection, LENGTH)
        parts = split(len(lists.scores), seed)
        by_loss = {loss: trained(lists, parts, loss, WEIGHINGS, COURSE[scale], seed) for loss in LOSSES}
        order = -np.arange(LENGTH, dtype=float)[None]
        found[collection] = {
            loss: {name: _rounded(one) for name, one in table.items()} for loss, table in by_loss.items()
        }
        found[collection]["bm25"] = _rounded(judged(order.repeat(len(parts["test"]), 0), lists.relevant[parts["test"]]))
    return found


def _rounded(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in numbers.items()}


# --- from tables to effects ------------------------------------------------------------------------------------------


def summarised(tables: Mapping[int, Mapping[str, Any]]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        tables: For each seed, collection and loss by arm ``mrr``, ``precision`` and ``validation``; beside the losses
            ``bm25``.
    """
    effects: dict[str, dict[int, float]] = {name: {} for name in STUDY.claims}
    chosen: dict[str, dict[str, str]] = {}
    for seed, table in tables.items():
        parts = {
            f"{name}, {loss}": _effects(table[name][loss], table[name]["bm25"]) for name in table for loss in LOSSES
        }
        for claim in effects:
            of_claim = [one[claim] for name, one in parts.items() if claim not in LOSSES or name.endswith(f", {claim}")]
            effects[claim][seed] = float(np.mean(of_claim))
        chosen[str(seed)] = {
            f"{name}, {loss}": _chosen(table[name][loss], CURRICULA) for name in table for loss in LOSSES
        }
    means = {
        name: {
            "bm25": _mean([table[name]["bm25"] for table in tables.values()]),
            **{
                loss: {arm: _mean([table[name][loss][arm] for table in tables.values()]) for arm in WEIGHINGS}
                for loss in LOSSES
            },
        }
        for name in next(iter(tables.values()))
    }
    return Measured(effects=effects, details={"means over seeds": means, "curriculum chosen": chosen})


def _mean(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


def _chosen(table: Mapping[str, Mapping[str, float]], arms: Mapping[str, Any]) -> str:
    """Return the arm with the best validation MRR, the first of equals."""
    return max(arms, key=lambda arm: table[arm]["validation"])


def _effects(table: Mapping[str, Mapping[str, float]], bm25: Mapping[str, float]) -> dict[str, float]:
    """Return the effects of one seed, collection and loss."""
    best, constant, none = table[_chosen(table, CURRICULA)], table[_chosen(table, CONSTANT)], table[NONE]

    def less(control: str) -> float:
        return float(
            np.mean([table[f"kde, {end} epochs"]["mrr"] - table[f"{control}, {end} epochs"]["mrr"] for end in ENDS])
        )

    gain = best["mrr"] - none["mrr"]
    return {
        "headline": gain,
        "precision": best["precision"] - none["precision"],
        **dict.fromkeys(LOSSES, gain),
        "constant": best["mrr"] - constant["mrr"],
        "direction": less(ANTI),
        "shuffled": less(SHUFFLED),
        "per batch": less(PER_BATCH),
        "first stage": none["mrr"] - bm25["mrr"],
    }


def exact() -> Sequence[ExactCheck]:
    """Return what the formulas of ease and weight give, against numbers computed by hand."""
    from tutelage.curricula.ease_weighting import EaseWeighting, linear_reweight, pairwise_ease, pointwise_ease
    from tutelage.signals.first_stage import first_stage_easiness

    listed = [12, 9, 7, 4]
    point = pointwise_ease([1 / 2, 1 / 10], [True, False])
    pair = pairwise_ease([1 / 1, 1 / 10], [1 / 4, 1 / 1])
    minmax, kde = (first_stage_easiness(listed, kind=kind) for kind in ("minmax", "kde"))
    losses, ease = np.array([0.2, 1.0]), np.array([1.0, 0.1])
    each, mean = (EaseWeighting(per_batch=batch).loss_weights(0.0, ease) for batch in (False, True))
    checks = [
        ("reciprocal: a relevant document at rank 2", point[0], 0.5),
        ("reciprocal: another one at rank 10", point[1], 0.9),
        ("reciprocal: a pair at ranks 1 and 4", pair[0], 0.875),
        ("reciprocal: a pair at ranks 10 and 1", pair[1], 0.05),
        ("min-max: a pair of scores 9 and 12", float(pairwise_ease(minmax[1:2], minmax[:1])[0]), 0.3125),
        ("two losses, weighted each by its own", float((each * losses).mean()), 0.15),
        ("the same by the mean weight of the batch", float((mean * losses).mean()), 0.33),
    ]
    checks += [
        (f"KDE: score {score}", value, right)
        for score, value, right in zip(listed, kde, (0.838576, 0.594567, 0.405433, 0.161424), strict=True)
    ]
    checks += [
        (f"weight of ease 0.25 in epoch {epoch} of 20", float(linear_reweight(0.25, epoch, 20)), right)
        for epoch, right in ((0, 0.25), (5, 0.4375), (10, 0.625), (19, 0.9625), (20, 1.0))
    ]
    return [ExactCheck(name=name, value=float(value), expected=right, tolerance=5e-6) for name, value, right in checks]


def _claim(sentence: str, unit: str = "MRR") -> Claim:
    return Claim(sentence=sentence, margin=0.0, unit=unit)


STUDY = Study(
    paper=38,
    claims={
        "headline": _claim(
            "Letting pairs that BM25 gets wrong count less at first raises the MRR of a re-ranker over the same "
            "training without it, kind of ease and length chosen on validation"
        ),
        "precision": _claim("It raises how often the first document is relevant", unit=""),
        "pairwise": _claim("It raises MRR by the pairwise loss"),
        "pointwise": _claim("It raises MRR by the pointwise loss"),
        "constant": _claim(
            "It gives a higher MRR than the same mean weights for all pairs alike, chosen on validation in the same way"
        ),
        "direction": _claim("Easy pairs first, by KDE, give a higher MRR than hard pairs first"),
        "shuffled": _claim("Weights by KDE give a higher MRR than the same weights dealt out at random"),
        "per batch": _claim(
            "A weight for each pair gives a higher MRR than the batch's mean weight of the authors' code"
        ),
        "first stage": _claim("The re-ranker without a curriculum gives a higher MRR than BM25's own order"),
    },
    arms=dict.fromkeys(WEIGHINGS, "constant"),
    measure=measure,
    scales={
        "quick": Scale(workloads=COLLECTIONS, budgets=("1280steps",), seeds=4),
        "full": Scale(workloads=COLLECTIONS, budgets=("1280steps",), seeds=15),
    },
    limits="A network of 2,900 weights on eleven features of query and document (BM25, kernels over cosines of words, "
    "cosine of meanings), trained on 56 and 133 queries and tested on 19 and 44 a seed; the paper tunes BERT and a "
    "convolutional ranker on thousands of queries. Seeds in fives test every query once and share training queries, "
    "so that intervals over seeds are somewhat too narrow. Relevant documents that BM25 does not list are never "
    "trained on. Unjudged documents count as not relevant. By the pointwise loss an ease also shifts how much relevant "
    "documents count against others, which dealing weights out at random undoes as well. Adam at 0.001 for all arms, "
    "the best for none on validation. Neither collection comes with the package.",
    exact=exact,
)
