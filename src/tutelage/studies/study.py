"""A study: the measurement behind one paper's claims, declared before anything is measured."""

from __future__ import annotations

import hashlib
import importlib
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tutelage.errors import ConfigError, UnknownPart, did_you_mean
from tutelage.storage import storage
from tutelage.studies.papers import Paper, papers

if TYPE_CHECKING:
    from tutelage.comparison.result import ComparisonResult
    from tutelage.comparison.run import Progress

ScaleName = Literal["quick", "full"]
#: The same, the larger one last.
SCALES: tuple[ScaleName, ...] = ("quick", "full")


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
        return bool(abs(self.value - self.expected) <= self.tolerance * abs(self.expected))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that one number a seed decides.

    *Holds*: the 95 % interval of the mean effect lies above 0 and the mean reaches ``margin``. *Does not hold*: the
    interval lies below ``margin``. Else *inconclusive*.

    Args:
        sentence: What is claimed, with the paper's quantity.
        margin: Smallest effect that counts, in the unit of the effect, >= 0.
        unit: What the effect counts, such as ``"rank correlation"``; empty for a share, printed in percent.
    """

    sentence: str
    margin: float
    unit: str = ""

    def __post_init__(self) -> None:
        """Refuse a margin that could decide nothing."""
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ConfigError(f"margin of a claim must be a finite number >= 0, got {self.margin}.")

    def number(self, value: float, sign: str = "+") -> str:
        """Return an effect as text, ``+0.35 %`` or ``+0.62 rank correlation``."""
        return f"{value:{sign}.3g} {self.unit}" if self.unit else f"{100 * value:{sign}.3g} %"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a study's measurement is handed: the scale, the seeds, and where to work.

    Args:
        study: The declaration.
        scale_name: ``quick`` or ``full``.
        seeds: Seeds to measure on.
        out: Folder for runs and reports; all work must be resumable from it.
        resume: Go on with what ``out`` holds.
        force: Replace what ``out`` holds.
        jobs: Runs at a time; one a core where ``None``.
        watch: Called with the progress of each comparison.
    """

    study: Study
    scale_name: ScaleName
    seeds: tuple[int, ...]
    out: Path
    resume: bool = False
    force: bool = False
    jobs: int | None = None
    watch: Callable[[Progress], None] | None = None

    @property
    def scale(self) -> Scale:
        """How much is run."""
        return self.study.scales[self.scale_name]

    def compare(self, folder: str = "", **changes: Any) -> ComparisonResult:
        """Compare the study's arms as its scale says, in a folder below ``out``; keyword arguments replace any of it.

        Args:
            folder: Name below ``out``; ``out`` itself where empty.
            changes: Arguments of :func:`tutelage.comparison.compare`, such as ``arms`` or ``workload``.
        """
        from tutelage.comparison.plan import Tuning
        from tutelage.comparison.run import compare

        scale = self.scale
        declared: dict[str, Any] = {
            "workload": list(scale.workloads),
            "arms": self.study.arms,
            "budget": list(scale.budgets),
            "seeds": self.seeds,
            "tune": Tuning.parse(scale.tune, seeds=scale.tune_seeds),
            "out": self.out / folder,
            "resume": self.resume,
            "force": self.force,
            "jobs": self.jobs,
            "watch": self.watch,
        }
        return compare(**{**declared, **changes})

    def open_folder(self, name: str) -> Path:
        """Make a folder below ``out`` for runs of the study's own making, or accept it.

        Raises:
            ConfigError: There are runs already, and neither ``resume`` nor ``force``.
            StorageFull: No space is left.
        """
        root = self.out / name
        if self.force:
            shutil.rmtree(root, ignore_errors=True)
        if root.exists() and not self.resume:
            raise ConfigError(
                f"{root} holds runs of this study already. Go on with --resume, or replace them with --force."
            )
        with storage(root):
            root.mkdir(parents=True, exist_ok=True)
        return root


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a study's measurement found.

    Args:
        effects: For each claim, by its name, the effect of every seed; plus supports the claim. A seed that gave no
            number is left out and ``notes`` say so.
        details: Where the effects come from, as JSON: what a reader needs to check them.
        comparisons: The comparisons behind them, by name.
        notes: Remarks a reader must see.
    """

    effects: Mapping[str, Mapping[int, float]]
    details: Mapping[str, Any] = field(default_factory=dict)
    comparisons: Mapping[str, ComparisonResult] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a paper claims, and by which rule our measurement decides about it; fixed before anything is measured.

    Args:
        paper: Number of the paper.
        claims: Claims by name; the first is the headline, whose verdict is the study's.
        arms: Recipes by name, the baseline first.
        measure: Runs the scale and returns each claim's effects; :class:`tutelage.studies.groups.BestOfGroups`
            compares two groups of arms.
        scales: What ``quick`` and ``full`` run.
        limits: What this scale cannot show.
        exact: Properties checked by calculation, if the claim has such a part. If one fails, the study does not hold.
    """

    paper: int
    claims: Mapping[str, Claim]
    arms: Mapping[str, str]
    measure: Callable[[Setting], Measured] = field(repr=False)
    scales: Mapping[ScaleName, Scale]
    limits: str
    exact: Callable[[], Sequence[ExactCheck]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a declaration that could decide nothing."""
        if not self.claims:
            raise ConfigError(f"study of paper {self.paper}: claims must name at least one claim.")

    @property
    def headline(self) -> Claim:
        """The claim whose verdict is the study's."""
        return next(iter(self.claims.values()))


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
