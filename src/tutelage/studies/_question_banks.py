"""Two banks of questions with categories and two kinds of difficulty: generated vignettes, and scikit-learn's digits.

A vignette is a list of findings from one of ten subjects; which of five answers is right depends on prototypes that
subjects share and on ones of their own. Harder questions have noisier findings. Digits are questions with ten answers,
their categories pairs of classes.

>>> expected_error([[[0.7, 0.3]], [[0.4, 0.6]], [[0.55, 0.45]]], [0]).round(2).tolist()
[0.45]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.randomness import numpy_generator

SUBJECTS, ANSWERS, FINDINGS = 10, 5, 32
#: Questions to learn from, to test on, and for the judges.
LEARNED, TESTED, JUDGED = 1200, 1000, 400
#: Noise of the findings at the four levels of difficulty.
NOISE = (0.75, 1.25, 1.75, 2.25)
#: Length of the part of a prototype that subjects share, in those of its own part.
SHARED = 0.3
#: How far another exam's prototypes lie from those that were learned, in lengths of their own part.
MOVED = 1.0
TAKERS, JUDGES = 30, 6

Examples = tuple[NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True)
class Bank:
    """Questions to learn from, with columns that orders go by, and tests.

    Args:
        inputs: Shape ``(n, features)``.
        labels: Right answers, shape ``(n,)``.
        columns: ``category``, ``human`` and ``model`` difficulty, each ``(n,)``.
        answers: How many there are to choose from.
        tests: Inputs and labels by name.
    """

    inputs: NDArray[np.float64]
    labels: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    answers: int
    tests: Mapping[str, Examples]


def expected_error(option_probabilities: ArrayLike, gold: ArrayLike) -> NDArray[np.float64]:
    """Return 1 less the mean probability that several models give to the right option, ``(questions,)``.

    Args:
        option_probabilities: Shape ``(models, questions, options)``.
        gold: The right option of each question.
    """
    probabilities, right = np.asarray(option_probabilities, dtype=float), np.asarray(gold, dtype=np.int64)
    return np.asarray(1 - probabilities[:, np.arange(len(right)), right].mean(axis=0))


def vignettes(seed: int = 0) -> Bank:
    """Return generated questions; the tests are further ones, and those of an exam with prototypes that have moved."""
    rng = numpy_generator(seed, "vignettes")
    shared = SHARED * rng.normal(size=(ANSWERS, FINDINGS))
    own = rng.normal(size=(SUBJECTS, ANSWERS, FINDINGS))
    moved = own + MOVED * rng.normal(size=own.shape)
    even, uneven = np.full(SUBJECTS, 1 / SUBJECTS), rng.dirichlet(np.ones(SUBJECTS))

    def drawn(
        count: int, prototypes: NDArray[np.float64], shares: NDArray[np.float64]
    ) -> tuple[Examples, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        subject = rng.choice(SUBJECTS, count, p=shares)
        right, level = rng.integers(ANSWERS, size=count), rng.integers(len(NOISE), size=count)
        noise = np.asarray(NOISE)[level][:, None] * rng.normal(size=(count, FINDINGS))
        findings = (shared[right] + prototypes[subject, right] + noise) / 2
        return (np.hstack([findings, np.eye(SUBJECTS)[subject]]), right), (subject, level)

    (inputs, labels), (subject, level) = drawn(LEARNED, own, even)
    judges = drawn(JUDGED, own, even)[0]
    tests = {"vignettes": drawn(TESTED, own, even)[0], "other exam": drawn(TESTED, moved, uneven)[0]}
    difficulty = {"human": _by_takers(level, rng), "model": _by_judges(judges, (inputs, labels), ANSWERS, rng)}
    return Bank(inputs, labels, {"category": subject, **difficulty}, ANSWERS, tests)


def digits(seed: int = 0) -> Bank:
    """Return scikit-learn's digits as questions; hard for people is what lies nearer to another class's mean."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    inputs, labels = found.data / 16, found.target.astype(np.int64)
    rest, tested = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=seed)
    learned, judging = train_test_split(rest, test_size=JUDGED - 100, stratify=labels[rest], random_state=seed)
    rng = numpy_generator(seed, "digits as questions")
    means = np.stack([inputs[learned][labels[learned] == label].mean(axis=0) for label in range(10)])
    away = np.linalg.norm(inputs[learned][:, None] - means, axis=2)
    own = away[np.arange(len(learned)), labels[learned]]
    away[np.arange(len(learned)), labels[learned]] = np.inf
    examples = (inputs[learned], labels[learned])
    columns = {
        "category": labels[learned] // 2,
        "human": _by_takers(own - away.min(axis=1), rng),
        "model": _by_judges((inputs[judging], labels[judging]), examples, 10, rng),
    }
    return Bank(*examples, columns, 10, {"digits": (inputs[tested], labels[tested])})


def _by_takers(hardness: ArrayLike, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the share of simulated test takers who are wrong (a logistic model of ability less difficulty)."""
    raw = np.asarray(hardness, dtype=float)
    ability = rng.normal(size=(TAKERS, 1))
    right = 1 / (1 + np.exp((raw - raw.mean()) / raw.std() - ability))
    return np.asarray(1 - (rng.random(right.shape) < right).mean(axis=0))


def _by_judges(judging: Examples, asked: Examples, answers: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the expected error of models that learned from other questions, each from half of them and two thirds."""
    from sklearn.linear_model import LogisticRegression

    inputs, labels = judging
    probabilities = np.zeros((JUDGES, len(asked[1]), answers))
    for judge in probabilities:
        rows = rng.permutation(len(labels))[: len(labels) // 2]
        features = rng.permutation(inputs.shape[1])[: 2 * inputs.shape[1] // 3]
        model = LogisticRegression(max_iter=300).fit(inputs[np.ix_(rows, features)], labels[rows])
        judge[:, model.classes_] = model.predict_proba(asked[0][:, features])
    return expected_error(probabilities, asked[1])
