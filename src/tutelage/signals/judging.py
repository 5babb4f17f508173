"""judge_pairs: which of two texts is better, by a criterion, asked of any judge; and what was answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.evaluation.bradley_terry import BradleyTerry, bradley_terry
from tutelage.randomness import numpy_generator
from tutelage.signals._asking import Asking, Judge, answer_store

#: The four criteria of QuRating by name, each with the question that a judge is asked about two texts.
CRITERIA: Mapping[str, str] = {
    "writing-style": "Which text is written in a more polished and graceful style?",
    "facts-and-trivia": "Which text holds more facts and trivia, especially ones that few people know?",
    "educational-value": "Which text has more educational value: clear explanations, step by step, as in a textbook?",
    "required-expertise": "Which text needs more expertise and prior knowledge to be understood?",
}
_NAME = "judge_pairs"


@dataclass(frozen=True, eq=False)
class Judgements:
    """What a judge said about pairs of texts.

    Args:
        criteria: Names, in the order of the columns.
        pairs: Places of the two texts of each pair, int64 ``(m, 2)``.
        outcomes: Probability that the first text of a pair is the better one, NaN where there is no judgement,
            float64 ``(m, criteria)``.
        asked: Answers asked of the judge now; others were kept from before.
        notes: What a reader must know, such as answers that were none.
    """

    criteria: tuple[str, ...]
    pairs: NDArray[np.int64]
    outcomes: NDArray[np.float64]
    asked: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together.

        Raises:
            ValueError: Shapes that do not fit, or an outcome outside [0, 1].
        """
        if self.outcomes.shape != (len(self.pairs), len(self.criteria)) or self.pairs.shape != (len(self.pairs), 2):
            raise ValueError(
                f"Judgements: pairs must be (m, 2) and outcomes (m, {len(self.criteria)}), got {self.pairs.shape} and "
                f"{self.outcomes.shape}."
            )
        bad = (self.outcomes < 0) | (self.outcomes > 1)
        if bad.any():
            raise ValueError(f"Judgements: outcomes must be in [0, 1] or NaN, got {self.outcomes[bad][0]:g}.")

    @property
    def missing(self) -> int:
        """Pairs and criteria without a judgement."""
        return int(np.isnan(self.outcomes).sum())

    def of(self, criterion: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the pairs that have a judgement by one criterion, and the judgements.

        Raises:
            ValueError: No such criterion.
        """
        if criterion not in self.criteria:
            raise ValueError(f'Judgements: no criterion "{criterion}"; there are {", ".join(self.criteria)}.')
        outcomes = self.outcomes[:, self.criteria.index(criterion)]
        known = ~np.isnan(outcomes)
        return self.pairs[known], outcomes[known]

    def strengths(self, criterion: str, *, ridge: float = 0.0, items: int | None = None) -> BradleyTerry:
        """Return the Bradley-Terry strengths of the texts that were compared; see :func:`bradley_terry`.

        With pairs drawn at random each text needs several comparisons; :func:`fit_rater` makes do with one.
        """
        pairs, outcomes = self.of(criterion)
        return bradley_terry(pairs[:, 0], pairs[:, 1], outcomes, ridge=ridge, items=items)


def random_pairs(texts: int, pairs: int, *, seed: int) -> NDArray[np.int64]:
    """Return pairs of texts to compare, each text in about as many as any other; int64 ``(pairs, 2)``.

    Rings through all texts in random order, one after the other, the last of them cut: after one ring all are joined,
    after ``k`` rings each is in ``2 k`` pairs.

    Raises:
        ValueError: Fewer than two texts, or no pair.

    Example:
        >>> random_pairs(4, 3, seed=0).tolist()
        [[1, 0], [0, 3], [3, 2]]
    """
    if texts < 2 or pairs < 1:
        raise ValueError(f"random_pairs: texts must be >= 2 and pairs >= 1, got {texts} and {pairs}.")
    rounds = -(-pairs // texts)
    rings = []
    for number in range(rounds):
        order = numpy_generator(seed, "pairs", number).permutation(texts)
        rings.append(np.stack([order, np.roll(order, -1)], axis=1))
    return np.concatenate(rings)[:pairs].astype(np.int64)


def judge_pairs(
    texts: Sequence[str],
    pairs: ArrayLike,
    judge: Judge,
    *,
    criteria: Sequence[str] | Mapping[str, str] = tuple(CRITERIA),
    both_orders: bool = True,
    votes: int = 1,
    workers: int = 1,
    cache: bool | str | Path = True,
    patience: int = 50,
    watch: Callable[[int, int], None] | None = None,
) -> Judgements:
    """Ask a judge which of two texts is better, by each criterion, and keep what it says.

    Texts are easier to compare than to grade. Judges favour what they read first (or last), so each pair is asked about
    in both orders. Answers are kept as they come: what was interrupted, or failed, goes on with the next call.

    **Formula**: with ``p`` the mean of the votes for ``a`` shown first, and ``q`` of those for ``b`` shown first::

        P(a is better) = (p + 1 - q) / 2

    An order counts where more than half of its votes came; a pair counts where all its orders do.

    Args:
        texts: The texts.
        pairs: Places of two texts each, integers ``(m, 2)``; :func:`random_pairs` draws some.
        judge: ``judge(question, a, b)``, the probability in [0, 1] that ``a`` is the better one, or ``None`` where it
            cannot say: a function, :class:`EndpointJudge`, a rule, people. What is none of it counts as no answer.
        criteria: Names of QuRating's four, or questions of your own by name.
        both_orders: Whether a pair is asked about in both orders.
        votes: Answers asked for each order, >= 1; more than one only for judges that vary.
        workers: Questions at a time, in threads, >= 1; for judges that wait for others.
        cache: Whether answers are kept, or the folder to keep them in: a folder for each judge, unless it is a plain
            function, a dataclass, or has a method ``fingerprint()`` that tells it from others.
        patience: After so many failures in a row the judge is not asked again in this call, >= 1.
        watch: Called with the answers that are there and those that are wanted.

    Returns:
        The judgements; those that are missing are NaN, and ``notes`` say how many and why.

    Raises:
        ValueError: A pair that is none, a criterion that does not exist, or a number out of range.
        Exception: Whatever the judge raises; the answers before it are kept.

    Example:
        >>> longer = lambda question, a, b: float(len(a) > len(b))
        >>> found = judge_pairs(["a", "ccc", "bb"], [(0, 1), (1, 2)], longer, criteria=["writing-style"], cache=False)
        >>> found.outcomes.tolist(), found.missing
        ([[0.0], [1.0]], 0)

    Use with:
        :func:`fit_rater`, which learns to rate texts that were never compared.

    Helps / does not help:
        Judges also favour long texts; look at what they chose. One judge's taste is not quality: check a sample.

    Relations:
        Grades from 1 to 10 by a model use few of the numbers and drift; comparisons do not.

    Source:
        Wettig et al., QuRating, 2024, arXiv 2402.09739, section 3 and its code (princeton-nlp/QuRating): four criteria,
        both orders, votes, and how a label is made. The questions are in our own words. Our part: kept answers.
    """
    asked_for = _questions(criteria)
    chosen = _checked_pairs(pairs, len(texts))
    for what, value in (("votes", votes), ("workers", workers), ("patience", patience)):
        if value < 1:
            raise ValueError(f"{_NAME}: {what} must be >= 1, got {value}.")
    orders = 2 if both_orders else 1
    asking = Asking(texts, chosen, list(asked_for.values()), orders, votes, judge)
    store, unkept = answer_store(cache, judge)
    answers = asking.carry_out(store, workers, patience, watch)
    answered = (~np.isnan(answers)).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        shares = np.where(2 * answered > votes, np.nansum(answers, axis=-1) / np.maximum(answered, 1), np.nan)
    outcomes = (shares[..., 0] + 1 - shares[..., 1]) / 2 if both_orders else shares[..., 0]
    notes = [*unkept, *(store.notes if store is not None else ()), *asking.notes()]
    missing = int(np.isnan(outcomes).sum())
    if missing:
        notes.append(f"{missing} of {outcomes.size} judgements are missing; call again to ask for them once more.")
    return Judgements(tuple(asked_for), chosen, outcomes, asking.asked, tuple(notes))


def _questions(criteria: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    if isinstance(criteria, Mapping):
        found = dict(criteria)
    else:
        names = [criteria] if isinstance(criteria, str) else list(criteria)
        unknown = [name for name in names if name not in CRITERIA]
        if unknown:
            raise ValueError(
                f'{_NAME}: no criterion "{unknown[0]}"; there are {", ".join(CRITERIA)}, or give questions by name.'
            )
        found = {name: CRITERIA[name] for name in names}
    if not found:
        raise ValueError(f"{_NAME}: criteria must name at least one, got none.")
    return found


def _checked_pairs(pairs: ArrayLike, texts: int) -> NDArray[np.int64]:
    found = np.asarray(pairs)
    if found.ndim != 2 or found.shape[1] != 2 or not len(found) or found.dtype.kind not in "iu":
        raise ValueError(f"{_NAME}: pairs must be integers of shape (m, 2), m >= 1, got shape {found.shape}.")
    bad = (found < 0).any(axis=1) | (found >= texts).any(axis=1) | (found[:, 0] == found[:, 1])
    if bad.any():
        k = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{_NAME}: a pair must be two different places from 0 to {texts - 1}, got {found[k].tolist()} in pair {k}."
        )
    return found.astype(np.int64)
