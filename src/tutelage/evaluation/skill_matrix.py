"""Which training data are best at which skill, and does one of them win everywhere?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import ConfigError

__all__ = ["SkillMatrix", "skill_matrix"]


@dataclass(frozen=True)
class SkillMatrix:
    """Sources and skills, and who is best where.

    Args:
        sources: What was compared, such as data sets to train on.
        skills: What it was measured by.
        means: Mean result over seeds, float64 ``(sources, skills)``.
        ranks: Rank of each source at each skill, 1 for the best, equal ones the mean of their ranks; same shape.
        averages: Mean over skills of each source.
        best_at: Share of the skills at which a source is best; where several are equal, each counts.
        undominated: Sources that no other one equals or surpasses at every skill and surpasses at one.
        p_beaten: For each source how well chance explains that another one is ahead of it at some skill; ``None``
            where there are fewer than two seeds.
        p_no_winner: The largest of them: small where no source is best everywhere.
    """

    sources: tuple[str, ...]
    skills: tuple[str, ...]
    means: NDArray[np.float64]
    ranks: NDArray[np.float64]
    averages: Mapping[str, float]
    best_at: Mapping[str, float]
    undominated: tuple[str, ...]
    p_beaten: Mapping[str, float] | None
    p_no_winner: float | None

    @property
    def best_on_average(self) -> str:
        """The source with the highest mean over skills, the first of equal ones."""
        return max(self.sources, key=lambda name: self.averages[name])


def skill_matrix(results: Mapping[str, Mapping[str, ArrayLike]], *, lower_is_better: bool = False) -> SkillMatrix:
    """Return who is best at which skill, who is on average, and whether one source wins everywhere.

    Use it where models that differ in their training data were measured on several skills: an average alone hides that
    each of them is best at something else.

    **Formula**: ``average_s = mean_k mean_seeds x_skr``. Source ``t`` dominates ``s`` where it is at least as good at
    every skill and better at one. ``p_beaten(s)`` is the least one-sided p value of a paired t test over seeds that
    some ``t`` is ahead of ``s`` at some skill, times the number of pairs ``(t, skill)``, at most 1.

    Args:
        results: For each source the results of each skill: a number, or one for each seed, shape ``(seeds,)``, seeds in
            the same order everywhere. At least two sources, the same skills for all.
        lower_is_better: Whether less is better, as of a loss.

    Raises:
        ConfigError: Fewer than two sources, no skills, or sources with other skills or seeds than the first.
        ValueError: A result that is not finite.

    Example:
        >>> found = skill_matrix({"steps": {"maths": [40, 42], "code": [10, 11]},
        ...                       "code": {"maths": [20, 21], "code": [30, 33]},
        ...                       "web": {"maths": [20, 20], "code": [9, 9]}})
        >>> found.best_at, found.undominated, found.best_on_average
        ({'steps': 0.5, 'code': 0.5, 'web': 0.0}, ('steps', 'code'), 'code')

    Use with:
        ``val_exact_match_GROUP`` of :class:`tutelage.workloads.Instructions`, or any benchmark's table.

    Helps / does not help:
        Skills on different scales make an average that one of them decides: give each as a share. With few seeds
        ``p_beaten`` is rarely small.

    Relations:
        :func:`relative_gains` sets results in relation to a reference system's.

    Source:
        Wang et al., How far can camels go?, 2023, arXiv 2306.04751 (the table of data sets by skills). Ours: ranks, the
        sources that none dominates, and the test.
    """
    sources = tuple(results)
    if len(sources) < 2:
        raise ConfigError(f"skill_matrix: results must hold at least 2 sources, got {len(sources)}.")
    skills = tuple(results[sources[0]])
    if not skills:
        raise ConfigError("skill_matrix: results must hold at least 1 skill, got none.")
    table = np.array([_rows(name, results[name], skills, results[sources[0]]) for name in sources])
    better = -table if lower_is_better else table
    means, good = table.mean(-1), better.mean(-1)
    ahead = (good[:, None] > good[None]).sum(0)  # sources better than this one, by skill
    equal = (good[:, None] == good[None]).sum(0)
    dominated = [
        any((good[t] >= good[s]).all() and (good[t] > good[s]).any() for t in range(len(sources)))
        for s in range(len(sources))
    ]
    p_beaten = None
    if table.shape[-1] > 1:
        p_beaten = {name: _p_beaten(better, place) for place, name in enumerate(sources)}
    return SkillMatrix(
        sources=sources,
        skills=skills,
        means=means,
        ranks=1 + ahead + (equal - 1) / 2,
        averages={name: float(row.mean()) for name, row in zip(sources, means, strict=True)},
        best_at={name: float((row == 0).mean()) for name, row in zip(sources, ahead, strict=True)},
        undominated=tuple(name for name, worse in zip(sources, dominated, strict=True) if not worse),
        p_beaten=p_beaten,
        p_no_winner=None if p_beaten is None else max(p_beaten.values()),
    )


def _rows(
    name: str, given: Mapping[str, ArrayLike], skills: tuple[str, ...], first: Mapping[str, ArrayLike]
) -> NDArray[np.float64]:
    """Return the results of a source, ``(skills, seeds)``."""
    if set(given) != set(skills):
        raise ConfigError(
            f'skill_matrix: source "{name}" must have the skills {", ".join(skills)}, got {", ".join(given)}.'
        )
    seeds = np.atleast_1d(np.asarray(first[skills[0]], dtype=np.float64)).shape
    rows = [np.atleast_1d(np.asarray(given[skill], dtype=np.float64)) for skill in skills]
    for skill, row in zip(skills, rows, strict=True):
        if row.ndim != 1 or row.shape != seeds or not row.size:
            raise ConfigError(
                f'skill_matrix: source "{name}" at "{skill}" must have one result a seed, {seeds[0]}, got shape '
                f"{row.shape}."
            )
        if not np.isfinite(row).all():
            raise ValueError(f'skill_matrix: source "{name}" at "{skill}" must be finite, got {row.tolist()}.')
    return np.array(rows)


def _p_beaten(better: NDArray[np.float64], place: int) -> float:
    """Return the p value that some other source is ahead of this one at some skill."""
    from scipy import stats

    gaps = np.delete(better, place, axis=0) - better[place]
    mean, error = gaps.mean(-1), gaps.std(-1, ddof=1) / np.sqrt(gaps.shape[-1])
    # Without any spread the difference is what it is.
    t = np.divide(mean, error, out=np.where(mean > 0, np.inf, -np.inf), where=error > 0)
    return float(min(1.0, stats.t.sf(t, gaps.shape[-1] - 1).min() * mean.size))
