"""CORGI's order: subjects in turn while the level of thinking rises for all of them together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.curricula._batches import scored_batches
from tutelage.curricula._interleave import number_in_group
from tutelage.curricula._shared import clean_groups, clean_scores, columns_of, spec_of
from tutelage.randomness import numpy_generator

Preset = Literal["interleaving", "blocking", "spiral", "random"]


def syllabus_order(
    levels: Mapping[str, ArrayLike],
    subjects: ArrayLike,
    concepts: ArrayLike | None = None,
    *,
    preset: Preset = "interleaving",
    seed: int = 0,
) -> NDArray[np.int64]:
    """Return a permutation of graded examples along a syllabus, int64 ``(n,)``.

    Args:
        levels: Columns of numbers by which difficulty rises, the most important first, such as stage and Bloom level.
        subjects: Subject of each example, names or numbers; they come in sorted order.
        concepts: Place of each example's concept in its subject, names or numbers.
        preset: See :class:`SyllabusOrder`.
        seed: Decides between examples that no column tells apart.

    Raises:
        ValueError: An unknown ``preset``, no level, levels that are no numbers, or columns of different lengths.

    Example:
        >>> order = syllabus_order({"bloom": [1, 2, 1, 2]}, ["a", "a", "b", "b"])
        >>> order.tolist()
        [0, 2, 1, 3]
    """
    if preset not in ("interleaving", "blocking", "spiral", "random"):
        raise ValueError(f'syllabus_order: preset must be interleaving, blocking, spiral or random, got "{preset}".')
    if not levels:
        raise ValueError("syllabus_order: levels must hold a column at least, got none.")
    graded = [clean_scores(column, "syllabus_order", name) for name, column in levels.items()]
    which = clean_groups(subjects, "syllabus_order", "subjects")
    placed = np.zeros(len(which), dtype=np.int64)
    if concepts is not None:
        placed = clean_groups(concepts, "syllabus_order", "concepts")
    sizes = {len(column) for column in (*graded, which, placed)}
    if len(sizes) > 1:
        raise ValueError(f"syllabus_order: all columns must have one length, got {sorted(sizes)}.")
    ties = numpy_generator(seed, "order").permutation(len(which))
    if preset == "random":
        return np.argsort(ties)
    if preset == "blocking":
        # Stages rise inside a subject; the last level, Bloom's, inside a concept.
        return np.lexsort((ties, graded[-1], placed, *graded[-2::-1], which))
    if preset == "spiral":
        return np.lexsort((ties, placed, which, *graded[::-1]))
    if which.max() == 0:
        warnings.warn("syllabus_order: with one subject interleaving is blocking by level.", stacklevel=2)
    # The i-th item of every subject in a cell of equal levels gets the key i: one of each subject in turn.
    order = np.lexsort((ties, placed, which, *graded[::-1]))
    columns = np.stack([*graded, which], axis=1)[order]
    cells = np.concatenate(([0], np.cumsum((columns[1:] != columns[:-1]).any(axis=1))))
    turns, _ = number_in_group(cells)
    return order[np.lexsort((which[order], turns, *(column[order] for column in graded[::-1])))]


def global_progress(
    order: ArrayLike, level: ArrayLike, groups: ArrayLike | None = None
) -> tuple[float, dict[int, float]]:
    """Return how far an order rises in level: Spearman's correlation of place and level, over all and in each group.

    Args:
        order: Examples in order, a permutation of n.
        level: Level of each example.
        groups: Group of each example.

    Returns:
        The correlation over all, in [-1, 1], and by group in sorted order of the groups; NaN where a level is constant.

    Raises:
        ValueError: Lengths that differ.

    Example:
        >>> overall, _ = global_progress([0, 2, 1, 3], [1, 2, 1, 2])
        >>> round(overall, 3)
        0.894
    """
    places = np.asarray(order, dtype=np.int64)
    levels = clean_scores(level, "global_progress", "level")
    if len(places) != len(levels):
        raise ValueError(f"global_progress: order and level must have one length, got {len(places)} and {len(levels)}.")
    inside: dict[int, float] = {}
    if groups is not None:
        which = clean_groups(groups, "global_progress", "groups")[places]
        inside = {int(group): _spearman(levels[places[which == group]]) for group in np.unique(which)}
    return _spearman(levels[places]), inside


def _spearman(levels: NDArray[Any]) -> float:
    """Return Spearman's correlation of ``levels`` with their places, equal levels at their mean rank."""
    _, which, counts = np.unique(levels, return_inverse=True, return_counts=True)
    if len(counts) < 2:
        return float("nan")
    ranks = (np.cumsum(counts) - (counts + 1) / 2)[which]
    return float(np.corrcoef(np.arange(len(levels)), ranks)[0, 1])


@dataclass(frozen=True, kw_only=True, repr=False)
class SyllabusOrder:
    """Shows graded examples once, as a school would: every subject at one level before any subject at the next.

    For instructions tagged with a subject and a level of thinking (Bloom's: remember, understand, apply).

    **Formula**: with stage ``g``, subject ``u``, concept ``c`` and level ``b``: ``interleaving`` sorts by ``(g, b, i,
    u)``, ``i`` the number of the item among those of its ``g``, ``b`` and ``u`` in order of ``c``, so that subjects
    take turns item by item; ``spiral`` by ``(g, b, u, c)``; ``blocking`` by ``(u, g, c, b)``; ``random`` not at all.

    Args:
        preset: Which of the four.
        level: Column of the level, a number.
        subject: Column of the subject.
        concept: Column of the concept, ``none`` to do without.
        stage: Column of the stage of school, a number, ``none`` to do without.
        repeat: Go through the order again when the run asks for more examples than there are.

    Returns:
        ``order(columns, seed=...)``: a permutation, int64 ``(n,)``.

    Raises:
        ValueError: An unknown ``preset``; columns that are missing, no numbers where needed, or of different lengths;
            from a sampler, more examples than there are without ``repeat``.

    Example:
        >>> columns = {"bloom": np.array([1, 2, 1, 2]), "subject": np.array(["a", "a", "b", "b"])}
        >>> SyllabusOrder(concept=None).order(columns, seed=0)
        array([0, 2, 1, 3])
        >>> SyllabusOrder(concept=None, preset="blocking").order(columns, seed=0)
        array([0, 1, 2, 3])

    Use with:
        ``CurriculumSampler("syllabus:concept=none", {"bloom": levels, "subject": subjects}, num_samples=n, seed=0)``;
        :func:`global_progress` says what kind of curriculum an order is.

    Helps / does not help:
        The paper reports +3.0 on MMLU and +1.3 on ARC over random order of the same data (13B parameters), and blocking
        at times below random. With a decaying rate the hardest items get the smallest steps: run the random arm too.

    Relations:
        :class:`HumanOrder` visits each category in a few long parts.

    Source:
        Lee, Cho and Yoo, Instruction tuning with human curriculum, 2023, arXiv 2310.09518 (no code is public; the
        spiral, and the rank of the stage before the level, are as the card infers them).
    """

    spec_name: ClassVar[str] = "syllabus"

    preset: Preset = "interleaving"
    level: str = "bloom"
    subject: str = "subject"
    concept: str | None = "concept"
    stage: str | None = None
    repeat: bool = False

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.preset not in ("interleaving", "blocking", "spiral", "random"):
            raise ValueError(
                f'SyllabusOrder: preset must be interleaving, blocking, spiral or random, got "{self.preset}".'
            )

    def columns(self) -> tuple[str, ...]:
        """Return the columns it needs."""
        return tuple(name for name in (self.stage, self.level, self.subject, self.concept) if name is not None)

    def order(self, scores: Any, *, seed: int) -> NDArray[np.int64]:
        """Return the examples in order, shape ``(n,)``."""
        found = dict(zip(self.columns(), columns_of(scores, self.columns(), self.spec_name), strict=True))
        levels = {name: found[name] for name in (self.stage, self.level) if name is not None}
        concepts = None if self.concept is None else found[self.concept]
        return syllabus_order(levels, found[self.subject], concepts, preset=self.preset, seed=seed)
