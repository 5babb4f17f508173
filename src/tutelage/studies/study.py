"""A study: the comparison behind one paper's headline claim, declared before it is measured."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Literal

from tutelage.errors import ConfigError, UnknownPart, did_you_mean
from tutelage.studies.papers import Paper, papers

ScaleName = Literal["quick", "full"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of a study is run.

    Args:
        workloads: Specs of workloads.
        budgets: Budgets of a run.
        seeds: Seeds of the comparison.
        tune: Peak rates tried for every arm; see :class:`tutelage.comparison.Tuning`.
        tune_seeds: Seeds each candidate is tried on, none of them used in the comparison.
    """

    workloads: tuple[str, ...]
    budgets: tuple[str, ...]
    seeds: int
    tune: str | None = None
    tune_seeds: int = 1


@dataclass(frozen=True, kw_only=True)
class ExactCheck:
    """A property the paper proves, checked by calculation.

    Args:
        name: What is checked, in one sentence.
        value: What ours gives.
        expected: What theory says.
        tolerance: Largest relative difference that counts as equal.
    """

    name: str
    value: float
    expected: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether value and expectation agree within the tolerance."""
        return abs(self.value - self.expected) <= self.tolerance * abs(self.expected)


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a paper claims, and by which rule our measurement decides about it; fixed before anything is measured.

    Of the ``claimed`` arms and of the ``rivals`` the best on the tuning seeds is taken in each cell (workload and
    budget), and the two are compared on fresh seeds. The effect of a seed is the mean over cells of
    ``(rival - claimed) / |rival|``, signed so that plus supports the claim. *Holds*: its 95 % interval lies above 0 and
    the estimate reaches ``margin``. *Does not hold*: the interval lies below ``margin``. Else *inconclusive*.

    Args:
        paper: Number of the paper.
        claim: The claim in one sentence, with the paper's quantity.
        arms: Recipes by name.
        claimed: Arms the claim speaks for.
        rivals: The best common practice, and the cheap rival.
        margin: Smallest relative effect that counts.
        scales: What ``quick`` and ``full`` run.
        limits: What this scale cannot show.
        exact: Properties checked by calculation, if the claim has such a part.
    """

    paper: int
    claim: str
    arms: Mapping[str, str]
    claimed: tuple[str, ...]
    rivals: tuple[str, ...]
    margin: float
    scales: Mapping[ScaleName, Scale]
    limits: str
    exact: Callable[[], Sequence[ExactCheck]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a declaration that could decide nothing."""
        unknown = [name for name in (*self.claimed, *self.rivals) if name not in self.arms]
        if unknown:
            raise ConfigError(f"study of paper {self.paper}: no arm {', '.join(unknown)}.")
        if not self.claimed or not self.rivals or set(self.claimed) & set(self.rivals):
            raise ConfigError(f"study of paper {self.paper}: claimed and rivals must be two groups of different arms.")
        if self.margin < 0:
            raise ConfigError(f"study of paper {self.paper}: margin must be >= 0, got {self.margin}.")


@dataclass(frozen=True)
class StudyEntry:
    """A study file: readable without running it."""

    paper: Paper
    module: str

    def load(self) -> Study:
        """Import the declaration."""
        study = importlib.import_module(f"tutelage.studies.{self.module}").STUDY
        if not isinstance(study, Study):
            raise ConfigError(f"tutelage.studies.{self.module}: STUDY is not a Study.")
        return study

    def source_hash(self) -> str:
        """Return the hash of the study file; a stored result made from another one is stale."""
        text = files("tutelage.studies").joinpath(f"{self.module}.py").read_bytes()
        return hashlib.sha256(text).hexdigest()[:16]


def study_entries() -> dict[int, StudyEntry]:
    """Return the study files by number of their paper."""
    known = {paper.number: paper for paper in papers()}
    stems = sorted(item.name.removesuffix(".py") for item in files("tutelage.studies").iterdir())
    numbered = [(int(stem[1:3]), stem) for stem in stems if stem[:1] == "p" and stem[1:3].isdecimal()]
    return {number: StudyEntry(known[number], stem) for number, stem in numbered}


def find_study(key: str) -> StudyEntry:
    """Return a study by its paper's number or slug.

    Raises:
        UnknownPart: There is none; names the nearest.
    """
    found = study_entries()
    names = {entry.paper.slug: entry for entry in found.values()}
    if key.isdecimal() and int(key) in found:
        return found[int(key)]
    if key in names:
        return names[key]
    raise UnknownPart(f'No study "{key}".{did_you_mean(key, names)} All: tutelage studies')
