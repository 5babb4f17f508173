"""Six orders of learning taken from people: shuffled, easy first, blocked, interleaved, and both with a curriculum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.curricula._batches import scored_batches
from tutelage.curricula._interleave import number_in_group, part_number
from tutelage.curricula._shared import clean_groups, clean_scores, columns_of, spec_of
from tutelage.randomness import numpy_generator

Name = Literal[
    "shuffle", "curriculum", "blocked", "blocked-curriculum", "interleaved", "interleaved-curriculum"
]  # fmt: skip


def shuffle(examples: int, *, seed: int) -> NDArray[np.int64]:
    """Return a random permutation of ``examples``, int64 ``(examples,)``.

    Raises:
        ValueError: ``examples`` below 1.
    """
    if examples < 1:
        raise ValueError(f"shuffle: examples must be >= 1, got {examples}.")
    return numpy_generator(seed, "order").permutation(examples)


def easy_first(scores: ArrayLike, *, seed: int) -> NDArray[np.int64]:
    """Return the examples by ascending score, equal ones in random order, int64 ``(n,)``.

    Bins of difficulty with random order inside are scores of few values: :func:`difficulty_bins`.

    Raises:
        ValueError: NaN or no scores.

    Example:
        >>> easy_first([0.3, 0.1, 0.2], seed=0)
        array([1, 2, 0])
    """
    column = clean_scores(scores, "easy_first")
    return np.lexsort((numpy_generator(seed, "order").permutation(len(column)), column))


def blocked(groups: ArrayLike, *, seed: int, shuffle_groups: bool = True) -> NDArray[np.int64]:
    """Return one category after the other, in random order inside, int64 ``(n,)``.

    Args:
        groups: Category of each example, names or numbers.
        seed: Seed of the order of the categories and inside them.
        shuffle_groups: Categories in random order; else sorted.

    Raises:
        ValueError: No examples, or a category that is NaN.
    """
    return _blocked(None, groups, seed, shuffle_groups, "blocked")[0]


def blocked_curriculum(
    scores: ArrayLike, groups: ArrayLike, *, seed: int, shuffle_groups: bool = True
) -> NDArray[np.int64]:
    """Return one category after the other, by ascending score inside, int64 ``(n,)``.

    Raises:
        ValueError: NaN scores, or scores and categories of different lengths.
    """
    return _blocked(scores, groups, seed, shuffle_groups, "blocked_curriculum")[0]


def interleaved(groups: ArrayLike, *, seed: int, parts: int = 3, shuffle_groups: bool = True) -> NDArray[np.int64]:
    """Return the blocked order with every category cut into ``parts``: the first part of each, the second of each, ...

    Parts are consecutive and as long as each other, the first ones longer by one where they must be. A category with
    fewer examples than parts has empty ones.

    Raises:
        ValueError: ``parts`` below 1, or what :func:`blocked` refuses.
    """
    return _in_parts(*_blocked(None, groups, seed, shuffle_groups, "interleaved"), parts)


def interleaved_curriculum(
    scores: ArrayLike, groups: ArrayLike, *, seed: int, parts: int = 3, shuffle_groups: bool = True
) -> NDArray[np.int64]:
    """Return the interleaved order made of the blocked curriculum: each visit of a category is harder than the last.

    Raises:
        ValueError: ``parts`` below 1, or what :func:`blocked_curriculum` refuses.

    Example:
        >>> scores = [0.1, 0.2, 0.3, 0.6, 0.7, 0.9, 0.05, 0.5, 0.8]
        >>> order = interleaved_curriculum(scores, list("AAAAAABBB"), seed=0, shuffle_groups=False)
        >>> [scores[example] for example in order]
        [0.1, 0.2, 0.05, 0.3, 0.6, 0.5, 0.7, 0.9, 0.8]
    """
    return _in_parts(*_blocked(scores, groups, seed, shuffle_groups, "interleaved_curriculum"), parts)


def difficulty_bins(scores: ArrayLike, thresholds: ArrayLike = (0.66, 0.80)) -> NDArray[np.int64]:
    """Return 0 for scores up to the first threshold, 1 up to the second, ...: easy, medium, hard, int64 ``(n,)``.

    Example:
        >>> difficulty_bins([0.5, 0.66, 0.7, 0.8, 0.81])
        array([0, 0, 1, 1, 2])
    """
    return np.searchsorted(np.asarray(thresholds), clean_scores(scores, "difficulty_bins"), side="left")


def _blocked(
    scores: ArrayLike | None, groups: ArrayLike, seed: int, shuffle_groups: bool, owner: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the blocked order and the rank of each example's category."""
    which = clean_groups(groups, owner, "groups")
    rng = numpy_generator(seed, "order")
    ranks = rng.permutation(which.max() + 1)[which] if shuffle_groups else which
    keys: tuple[Any, ...] = (rng.permutation(len(which)),)
    if scores is not None:
        column = clean_scores(scores, owner)
        if len(column) != len(which):
            raise ValueError(f"{owner}: scores and groups must have one length, got {len(column)} and {len(which)}.")
        keys = (*keys, column)
    return np.lexsort((*keys, ranks)), ranks


def _in_parts(order: NDArray[np.int64], ranks: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    if parts < 1:
        raise ValueError(f"interleaved: parts must be >= 1, got {parts}.")
    places, sizes = number_in_group(ranks[order])
    # Stable, so that inside a part of a category the blocked order stays.
    return order[np.lexsort((ranks[order], part_number(places, sizes, parts)))]


@dataclass(frozen=True, kw_only=True, repr=False)
class HumanOrder:
    """Shows every example once in one of six orders people learn in, from shuffled to interleaved curriculum.

    For data with categories. The paper's finding is caution: the best order differs by model and data.

    **Formula**: ``curriculum``: ascending difficulty. ``blocked``: category after category. ``interleaved``: the first
    of ``parts`` equal parts of every category, then the second of every, ... ``blocked-curriculum`` and
    ``interleaved-curriculum``: the same with ascending difficulty inside each category. ``shuffle``: none of it.
    Categories come in random order; what is not ordered otherwise is random.

    Args:
        kind: Which of the six.
        parts: Visits of each category in interleaved orders, >= 1; the paper's 3.
        repeat: Go through the order again when the run asks for more examples than there are; a second pass blurs it.
        by: Column or signal of the difficulty, high for hard.
        group: Column of the category.

    Returns:
        ``order(columns, seed=...)``: a permutation, int64 ``(n,)``.

    Raises:
        ValueError: An unknown ``kind``, ``parts`` below 1; columns that are missing, NaN or of different lengths; from
            a sampler, more examples than there are without ``repeat``.

    Example:
        >>> columns = {"difficulty": np.array([0.2, 0.1, 0.4, 0.3]), "category": np.array(["a", "a", "b", "b"])}
        >>> HumanOrder(kind="curriculum").order(columns, seed=0)
        array([1, 0, 3, 2])

    Use with:
        ``CurriculumSampler("human-order:kind=interleaved", {"category": categories}, num_samples=n, seed=0)``; the
        functions ``blocked``, ``interleaved``, ... of this module give the order as an array.

    Helps / does not help:
        Over 4 models and 3 medical test sets the best order gained 1.0 point over shuffling on average, 1.8 at most,
        and none was best everywhere; difficulty defined by models did better than by people.

    Relations:
        :class:`SyllabusOrder` interleaves one item at a time, level by level; :class:`RankOrder` is ``curriculum`` for
        any size of data.

    Source:
        Yang, Bean, McCraith and Mahdi, Fine-tuning large language models with human-inspired learning strategies in
        medical question answering, 2024, arXiv 2408.07888 (definitions of its text and code, read for the card).
    """

    spec_name: ClassVar[str] = "human-order"

    kind: Name = "interleaved-curriculum"
    parts: int = 3
    repeat: bool = False
    by: str = "difficulty"
    group: str = "category"

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        kinds = ("shuffle", "curriculum", "blocked", "blocked-curriculum", "interleaved", "interleaved-curriculum")
        if self.kind not in kinds:
            raise ValueError(f'HumanOrder: kind must be one of {", ".join(kinds)}, got "{self.kind}".')
        if self.parts < 1:
            raise ValueError(f"HumanOrder: parts must be >= 1, got {self.parts}.")

    def columns(self) -> tuple[str, ...]:
        """Return the columns it needs."""
        if self.kind == "curriculum":
            return (self.by,)
        return (self.by, self.group) if self.kind.endswith("curriculum") else (self.group,)

    def order(self, scores: Any, *, seed: int) -> NDArray[np.int64]:
        """Return the examples in order, shape ``(n,)``."""
        found = columns_of(scores, self.columns(), self.spec_name)
        if self.kind == "shuffle":
            return shuffle(len(found[0]), seed=seed)
        if self.kind == "curriculum":
            return easy_first(found[0], seed=seed)
        if self.kind == "blocked":
            return blocked(found[0], seed=seed)
        if self.kind == "interleaved":
            return interleaved(found[0], seed=seed, parts=self.parts)
        if self.kind == "blocked-curriculum":
            return blocked_curriculum(*found, seed=seed)
        return interleaved_curriculum(*found, seed=seed, parts=self.parts)
