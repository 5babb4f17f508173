"""Paper 15: do orders in which people learn beat random order, and does the best of them carry over?

How an effect is formed, written down before anything was measured. A column is a student, a test and a kind of
difficulty (by people, by models), 24 in all: four networks, three tests, two kinds. Each student learns a bank of
questions in one pass of each order; what counts is accuracy in points. Gain is accuracy less that of shuffling.

- *headline*: the least of three: by how much the mean gain of each column's best order lies within 0 to 3 points, over
  3; one half less the largest share of columns that one order wins; one half less Kendall's W, the agreement of the
  columns about the ranks of all six orders. Above 0 all three hold: small gains, no winner, no agreement.
- *beyond chance*: mean gain of each column's best of five orders, less that of the best of five further shuffles.
- *chosen before*: mean gain of the order with the best mean gain in that column over all other seeds.
- *by column*: the same less the gain of the one order with the best mean over all columns of the other seeds: whether
  it pays to choose for each student and test apart.
- *model labels*: accuracy with difficulty by models less that by people, mean over the three orders that use it.

Rates were chosen by the shuffled order alone, as the paper does, on seed 1,000,001: the best mean accuracy of a
student over its tests among 0.001, 0.003, 0.01 and 0.03, the last of which won five times in eight. That favours
shuffling slightly.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.studies._by_seed import tables_by_seed
from tutelage.studies.study import Claim, ExactCheck, Measured, Scale, ScaleName, Setting, Study

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from tutelage.studies._question_banks import Bank
    from tutelage.workloads import Workload

SHUFFLE, PLAIN = "shuffle", ("blocked", "interleaved")
GRADED = ("curriculum", "blocked-curriculum", "interleaved-curriculum")
KINDS = ("human", "model")
RESHUFFLES = tuple(f"shuffle {number}" for number in range(1, 6))
#: Widths of the hidden layers of each student.
STUDENTS: Mapping[str, tuple[int, ...]] = {"narrow": (24,), "wide": (256,), "deep": (64, 64), "large": (256, 256)}
BATCH, MOST_POINTS, HALF = 16, 3.0, 0.5
#: Peak rates by bank and student.
RATES: Mapping[str, Mapping[str, float]] = {
    "vignettes": {"narrow": 0.01, "wide": 0.03, "deep": 0.03, "large": 0.03},
    "digits": {"narrow": 0.03, "wide": 0.03, "deep": 0.03, "large": 0.003},
}


def measure(setting: Setting) -> Measured:
    """Train every student on both banks in every order, and form the effects."""
    return summarised(tables_by_seed(setting, accuracies, budget=setting.scale.budgets[0]))


def accuracies(scale: ScaleName, seed: int) -> dict[str, Any]:
    """Return the accuracy in points by student, test and arm."""
    from tutelage.studies import _question_banks
    from tutelage.training import train

    found: dict[str, dict[str, dict[str, float]]] = {student: {} for student in STUDENTS}
    banks = {"vignettes": _question_banks.vignettes(), "digits": _question_banks.digits()}
    for bank_name, bank in banks.items():
        steps = len(bank.labels) // BATCH
        for student in STUDENTS:
            workload = workload_of(bank_name, bank, student, seed)
            for arm, recipe in STUDY.arms.items():
                run = train(
                    workload,
                    f"{recipe};peak={RATES[bank_name][student]};batch_size={BATCH}",
                    budget=f"{steps}steps",
                    seed=seed,
                    eval_every=10**9,
                )
                for test in bank.tests:
                    value = run.metrics.get(f"val_accuracy_{test.replace(' ', '_')}")
                    found[student].setdefault(test, {})[arm] = 100 * (value or 0.0)
    return found


def workload_of(name: str, bank: Bank, student: str, seed: int) -> Workload:
    """Return a bank and a student as a workload; its columns are what orders go by, random ones among them."""
    import torch
    from torch.nn import functional

    from tutelage.randomness import numpy_generator
    from tutelage.workloads.custom import from_torch

    def table(inputs: NDArray[Any], labels: NDArray[Any], **columns: NDArray[Any]) -> dict[str, torch.Tensor]:
        floats = {"inputs": torch.from_numpy(inputs).float(), "labels": torch.from_numpy(labels)}
        return floats | {column: torch.from_numpy(values) for column, values in columns.items()}

    def loss(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return functional.cross_entropy(model(batch["inputs"]), batch["labels"])

    def accuracy(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        right: torch.Tensor = model(batch["inputs"]).argmax(-1) == batch["labels"]
        return right.double().mean()

    rng = numpy_generator(seed, "reshuffles")
    chance = {f"chance{number}": rng.random(len(bank.labels)) for number in range(1, len(RESHUFFLES) + 1)}
    tests = {test.replace(" ", "_"): table(*examples) for test, examples in bank.tests.items()}
    sizes = (bank.inputs.shape[1], *STUDENTS[student], bank.answers)
    return from_torch(
        name,
        train=table(bank.inputs, bank.labels, **bank.columns, **chance),
        validation=next(iter(tests.values())),
        also_evaluate=tests,
        model=lambda: _network(sizes),
        loss=loss,
        metrics={"accuracy": accuracy},
        metric="accuracy",
        lower_is_better=False,
        fingerprint=f"{name} {sizes}",
    )


def _network(sizes: Sequence[int]) -> nn.Module:
    from torch import nn

    layers: list[nn.Module] = []
    for width, following in itertools.pairwise(sizes):
        layers += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# --- from tables to effects ------------------------------------------------------------------------------------------


def arms_of(kind: str) -> dict[str, str]:
    """Return the arm of each of the five orders where difficulty is of a kind."""
    return {order: order for order in PLAIN} | {order: f"{order}, {kind}" for order in GRADED}


def summarised(tables: Mapping[int, Mapping[str, Mapping[str, Mapping[str, float]]]]) -> Measured:
    """Return each claim's effect of every seed.

    Args:
        tables: For each seed accuracies in points by student, test and arm.
    """
    orders = (*PLAIN, *GRADED)
    gains: dict[int, NDArray[np.float64]] = {}
    effects: dict[str, dict[int, float]] = {name: {} for name in STUDY.claims}
    per_seed: dict[str, Any] = {}
    first = next(iter(tables.values()))
    columns = [(student, test, kind) for student, tests in first.items() for test in tests for kind in KINDS]
    for seed, table in tables.items():
        rows = [(table[student][test], arms_of(kind)) for student, test, kind in columns]
        gains[seed] = np.array([[row[arms[order]] - row[SHUFFLE] for order in orders] for row, arms in rows])
        chance = np.array([max(row[name] for name in RESHUFFLES) - row[SHUFFLE] for row, _ in rows])
        best = gains[seed].max(axis=1)
        wins = (gains[seed] == best[:, None]) / (gains[seed] == best[:, None]).sum(axis=1, keepdims=True)
        agreement = kendalls_w(np.hstack([np.zeros((len(rows), 1)), gains[seed]]))
        gain, share = float(best.mean()), float(wins.mean(axis=0).max())
        effects["headline"][seed] = min(min(gain, MOST_POINTS - gain) / MOST_POINTS, HALF - share, HALF - agreement)
        effects["beyond chance"][seed] = float((best - chance).mean())
        effects["model labels"][seed] = float(
            np.mean([row[f"{order}, model"] - row[f"{order}, human"] for row, _ in rows for order in GRADED])
        )
        per_seed[str(seed)] = {
            "gain of each column's best": gain,
            "of the best of five shuffles": float(chance.mean()),
            "columns won": dict(zip(orders, wins.sum(axis=0).tolist(), strict=True)),
            "Kendall's W": agreement,
        }
    notes = []
    for seed in tables:
        others = [gains[other] for other in tables if other != seed]
        if not others:
            notes.append(f"Seed {seed} is alone: no order could be chosen on other seeds.")
            continue
        before = np.mean(others, axis=0)
        chosen = gains[seed][np.arange(len(columns)), before.argmax(axis=1)].mean()
        effects["chosen before"][seed] = float(chosen)
        effects["by column"][seed] = float(chosen - gains[seed][:, before.mean(axis=0).argmax()].mean())
    mean = np.mean(list(gains.values()), axis=0)
    details = {
        "mean accuracy": {
            student: {test: _means([table[student][test] for table in tables.values()]) for test in tests}
            for student, tests in first.items()
        },
        "mean gain": dict(zip(orders, mean.mean(axis=0).tolist(), strict=True)),
        "Kendall's W of the means over seeds": kendalls_w(np.hstack([np.zeros((len(columns), 1)), mean])),
        "seeds": per_seed,
    }
    return Measured(effects=effects, details=details, notes=notes)


def kendalls_w(scores: NDArray[np.float64]) -> float:
    """Return how far the rows agree about the ranks of the columns: 1 where all rank alike, near 0 by chance.

    Ties share their mean rank, and the usual correction for them is made; rows that tie throughout count as no
    agreement.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores, axis=1)
    judges, items = ranks.shape
    ties = sum(float((counts**3 - counts).sum()) for counts in (np.unique(row, return_counts=True)[1] for row in ranks))
    spread = float(((ranks.sum(axis=0) - judges * (items + 1) / 2) ** 2).sum())
    most = judges**2 * (items**3 - items) - judges * ties
    return 12 * spread / most if most > 0 else 0.0


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def exact() -> Sequence[ExactCheck]:
    """Return Kendall's W and the difficulty by models, against numbers computed by hand."""
    from tutelage.studies._question_banks import expected_error

    error = expected_error([[[0.7, 0.3]], [[0.4, 0.6]], [[0.55, 0.45]]], [0])
    return [
        ExactCheck(name="difficulty by three models", value=float(error[0]), expected=0.45, tolerance=1e-9),
        ExactCheck(name="W of equal ranks", value=kendalls_w(np.array([[1.0, 2, 3]] * 4)), expected=1, tolerance=1e-9),
        # Rank sums 4, 4, 4 of two opposite rankings; and 5, 6, 7 of three, of which 8 / 72 is left.
        ExactCheck(
            name="W of two opposite rankings", value=kendalls_w(np.array([[1.0, 2, 3], [3, 2, 1]])), expected=0,
            tolerance=1e-9,
        ),
        ExactCheck(
            name="W of rank sums 5, 6, 7", value=kendalls_w(np.array([[1.0, 2, 3], [3, 1, 2], [1, 3, 2]])),
            expected=1 / 9, tolerance=1e-9,
        ),
    ]  # fmt: skip


_ORDER = "linear;human-order:kind={kind}"

STUDY = Study(
    paper=15,
    claims={
        "headline": Claim(
            sentence="The best order of a column gains more than 0 and at most 3 points over shuffling on average, "
            "none of five orders wins more than half of the columns, and the columns agree little (Kendall's W below "
            "0.5)",
            margin=0.0,
            unit="slack of the tightest of the three",
        ),
        "beyond chance": Claim(
            sentence="The best of five orders gains more than the best of five further shuffles",
            margin=0.0,
            unit="points",
        ),
        "chosen before": Claim(
            sentence="A column's best order, chosen on other seeds, gains over shuffling", margin=0.0, unit="points"
        ),
        "by column": Claim(
            sentence="Choosing the order for each student and test gains more than the one order best for all",
            margin=0.0,
            unit="points",
        ),
        "model labels": Claim(
            sentence="Orders by difficulty that models define do better than by that of people",
            margin=0.0,
            unit="points",
        ),
    },
    arms={
        SHUFFLE: _ORDER.format(kind="shuffle"),
        **{order: _ORDER.format(kind=order) for order in PLAIN},
        **{f"{order}, {kind}": _ORDER.format(kind=order) + f",by={kind}" for kind in KINDS for order in GRADED},
        **{
            name: _ORDER.format(kind="curriculum") + f",by=chance{number}"
            for number, name in enumerate(RESHUFFLES, start=1)
        },
    },
    measure=measure,
    scales={
        "quick": Scale(workloads=("vignettes", "digits"), budgets=("75steps",), seeds=3),
        "full": Scale(workloads=("vignettes", "digits"), budgets=("75steps",), seeds=8),
    },
    limits="Four networks of 2,000 to 90,000 parameters learn from nothing in one pass over some 1,100 questions, "
    "where the paper tunes language models of 1 to 13 billion; generated vignettes and images of digits stand for "
    "medical exams. Test takers are simulated, and the judges are six logistic regressions trained on other questions. "
    "Banks, tests and difficulties are the same for all seeds, as in the paper; what differs is first weights and "
    "every random choice of an order. Rates are tuned on the shuffled order alone.",
    exact=exact,
)
