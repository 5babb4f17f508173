"""Labelled items that have been split by hardness, and sums in two notations for a small decoder.

>>> levels(np.arange(10.0), np.zeros(10, dtype=np.int64)).tolist()
[0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
>>> round(recovered(0.71, 0.74, 0.52), 6), recovered(0.6, 0.53, 0.52)
(0.863636, None)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.randomness import numpy_generator

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray
    from torch import nn

    from tutelage.studies._arithmetic import Sum
    from tutelage.workloads import Workload

EASY, MEDIUM, HARD = 0, 1, 2
#: The subjects of MMLU that come at both levels of school; the paper's choice.
SUBJECTS = ("biology", "chemistry", "computer science", "mathematics", "physics")
TOPICS = 100
#: The sign that stands for ``+`` in the new notation; sums hold it nowhere else.
NEW_SIGN = "."


@dataclass(frozen=True)
class Items:
    """Labelled items, each of a level of hardness.

    Args:
        features: Shape ``(n, width)``, mean 0 and deviation 1 over all items.
        labels: Integers from 0, shape ``(n,)``.
        level: ``EASY``, ``MEDIUM`` or ``HARD``, shape ``(n,)``.
        guesses: Labels given without any supervision, shape ``(n,)``, where the task allows that.
    """

    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    level: NDArray[np.int64]
    guesses: NDArray[np.int64] | None = None

    @property
    def classes(self) -> int:
        """How many labels there are."""
        return int(self.labels.max()) + 1

    def base(self, items: NDArray[np.int64]) -> float:
        """Return the accuracy on items that takes no labels: of guesses, or of the commonest class if that is more."""
        labels = self.labels[items]
        commonest = float(np.bincount(labels).max() / len(labels))
        return commonest if self.guesses is None else max(commonest, float((self.guesses[items] == labels).mean()))


def recovered(easy: float, hard: float, base: float) -> float | None:
    """Return the share of the gain from hard labels that easy ones give; None where there is hardly such a gain."""
    from tutelage.evaluation import supervision_gap_recovered

    return supervision_gap_recovered(easy, hard, base).share


def levels(scores: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Return the level of each item by its score within its class, so that all levels hold the same classes."""
    from tutelage.selection import hardness_split

    split = hardness_split(scores, classes=labels)
    return np.select([split.easy, split.hard], [EASY, HARD], MEDIUM).astype(np.int64)


def randomised(labels: NDArray[np.int64], rate: float, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return labels of which a share has been replaced by labels drawn evenly, the right one among them."""
    drawn = rng.integers(classes, size=len(labels))
    return np.where(rng.random(len(labels)) < rate, drawn, labels)


def by_model(items: Items, *, strength: float, boots: int, seed: int) -> Items:
    """Return items whose level goes by how soon a logistic probe gets them right."""
    from tutelage.signals import logistic_probe, mdl_hardness

    probe = logistic_probe(items.features, items.labels, strength=strength)
    scores = mdl_hardness(probe, items.labels, boots=boots, seed=seed)
    return Items(items.features, items.labels, levels(scores, items.labels), items.guesses)


def digits() -> Items:
    """Return scikit-learn's images of digits; their level has still to be found."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return Items(_standard(found.data), found.target.astype(np.int64), np.full(len(found.target), MEDIUM))


def subjects(least: int = 3) -> Items:
    """Return questions of MMLU to be told apart by subject: easy ones from high school, hard ones from college.

    Features come from the words of all 57 subjects' questions, read without labels: their first topics by latent
    semantic analysis. Guesses go by the topics nearest to those of the subject's name.

    Args:
        least: Questions that must hold a word for it to count.

    Raises:
        DataNotFound: MMLU is in none of the places that are searched.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    from tutelage.workloads.data import find_folder, read_table

    names = ("dev", "test", "validation")
    folder = find_folder("qa_mmlu", [f"{name}.jsonl.gz" for name in names])
    texts: dict[str, str] = {}
    for name in names:
        table = read_table(folder / f"{name}.jsonl.gz", ("subject", "question", "choices"))
        for subject, question, choices in zip(table["subject"], table["question"], table["choices"], strict=True):
            texts.setdefault(f"{question} {' '.join(map(str, choices))}", subject)
    vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=least, stop_words="english")
    words = vectorizer.fit_transform(texts)
    reduced = TruncatedSVD(TOPICS, random_state=0).fit(words)
    known = {f"{school}_{name.replace(' ', '_')}": (label, level) for label, name in enumerate(SUBJECTS)
             for school, level in (("high_school", EASY), ("college", HARD))}  # fmt: skip
    rows = [place for place, subject in enumerate(texts.values()) if subject in known]
    pairs = np.array([known[subject] for subject in texts.values() if subject in known], dtype=np.int64)
    topics, named = reduced.transform(words[rows]), reduced.transform(vectorizer.transform(SUBJECTS))
    nearness = topics @ (named / np.linalg.norm(named, axis=1, keepdims=True)).T
    return Items(_standard(topics), pairs[:, 0], pairs[:, 1], nearness.argmax(axis=1).astype(np.int64))


def _standard(table: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(table, dtype=np.float64)
    scale = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(scale > 0, scale, 1.0))


# --- learners --------------------------------------------------------------------------------------------------------


def network(items: Items, labels: NDArray[np.int64], train: NDArray[np.int64], test: Mapping[str, NDArray[np.int64]],
            width: int) -> Workload:  # fmt: skip
    """Return a network of one hidden layer that learns some items by given labels and is measured on others."""
    import torch
    from torch import nn
    from torch.nn import functional

    from tutelage.workloads.custom import from_torch

    features = torch.from_numpy(items.features).float()
    tests = {name: (features[places], torch.from_numpy(items.labels[places])) for name, places in test.items()}
    sizes = (features.shape[1], width, items.classes)

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1])

    def accuracy(model: nn.Module, batch: Any) -> torch.Tensor:
        right: torch.Tensor = model(batch[0]).argmax(-1) == batch[1]
        return right.double().mean()

    return from_torch(
        "items",
        train=(features[train], torch.from_numpy(labels[train])),
        validation=next(iter(tests.values())),
        also_evaluate=tests,
        model=lambda: nn.Sequential(nn.Linear(*sizes[:2]), nn.ReLU(), nn.Linear(*sizes[1:])),
        loss=loss,
        metrics={"accuracy": accuracy},
        metric="accuracy",
        lower_is_better=False,
        fingerprint=f"items {sizes} {len(train)}",
    )


def questions(count: int, *, digits: tuple[int, ...], seed: int, part: str = "train", new: bool = False) -> list[Sum]:
    """Return different additions whose numbers have so many digits together, 2 to 4; no part shares one with another.

    Fewer are returned where there are not as many.

    Args:
        count: How many.
        digits: Digits of both numbers together that are taken.
        seed: Of the choice.
        part: ``"train"`` or ``"validation"``, a fifth of all.
        new: Whether they are written in the new notation.
    """
    import zlib

    from tutelage.studies._arithmetic import Sum, answered

    made = [answered(first, second, minus=False) for first in range(100) for second in range(100)]
    pool = [one for one in made if one.digits in digits]
    pool = [one for one in pool if (zlib.crc32(one.question.encode()) % 5 == 0) == (part == "validation")]
    chosen = numpy_generator(seed, f"additions of {part}").permutation(len(pool))[:count]
    sign = NEW_SIGN if new else "+"
    return [Sum(one.question.replace("+", sign), one.answer, one.digits) for one in (pool[place] for place in chosen)]


def decoder(asked: Sequence[Sum], tested: Sequence[Sum], model: Any) -> Workload:
    """Return a decoder, a fresh copy for each run, that learns questions and is measured on others by exact answers."""
    from tutelage.studies._arithmetic import ANSWER, with_answers
    from tutelage.workloads.custom import from_torch

    def table(chosen: Sequence[Sum]) -> dict[str, torch.Tensor]:
        tokens, labels = with_answers(chosen)
        return {"tokens": tokens, "labels": labels}

    def loss(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        found: torch.Tensor = model(input_ids=batch["tokens"], labels=batch["labels"], use_cache=False).loss
        return found

    def accuracy(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        # All characters likeliest after the right ones before them: the same as writing the answer down greedily.
        said = model(input_ids=batch["tokens"], use_cache=False).logits[:, -ANSWER - 1 : -1].argmax(-1)
        right: torch.Tensor = (said == batch["tokens"][:, -ANSWER:]).all(-1)
        return right.double().mean()

    return from_torch(
        "additions",
        train=table(asked),
        validation=table(tested),
        model=lambda: copy.deepcopy(model),
        loss=loss,
        metrics={"accuracy": accuracy},
        metric="accuracy",
        lower_is_better=False,
        fingerprint=f"additions {len(asked)} {len(tested)}",
    )
