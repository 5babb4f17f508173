"""What a comparison declares, before anything runs: arms, workloads, budgets, seeds, tuning."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.durations import Budget
from tutelage.errors import ConfigError, did_you_mean
from tutelage.training.recipe import Recipe, resolve_schedule
from tutelage.training.resolve import clock_of

if TYPE_CHECKING:
    from tutelage.workloads import Workload

#: Tuning seeds count from here, so that no peak is chosen on a seed it is then compared on.
TUNING_SEEDS_FROM = 1_000_000


@dataclass(frozen=True)
class Arm:
    """One recipe under comparison and the name it goes by."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Tuning:
    """How each arm's peak rate is chosen: the same grid, budget and seeds for all, and counted.

    Args:
        peaks: Peak rates as multiples of the workload's default, or as rates where ``absolute``.
        seeds: Seeds a candidate is tried on, none of them used in the comparison.
        absolute: ``peaks`` are rates.
    """

    peaks: tuple[float, ...]
    seeds: int = 1
    absolute: bool = False

    def __post_init__(self) -> None:
        """Refuse a grid that chooses nothing."""
        if len(self.peaks) < 2:
            raise ConfigError(f"tune: needs at least 2 peak rates to choose from, got {len(self.peaks)}.")
        if not all(math.isfinite(peak) and peak > 0 for peak in self.peaks):
            raise ConfigError(f"tune: every peak rate must be a finite number > 0, got {self.peaks}.")
        if self.seeds < 1:
            raise ConfigError(f"tune: seeds must be >= 1, got {self.seeds}.")

    @classmethod
    def parse(cls, value: str | int | Sequence[float] | Tuning | None, *, seeds: int = 1) -> Tuning | None:
        """Read ``3`` (that many peaks, a factor of 3 apart, around the default), or peak rates ``1e-3/3e-3/1e-2``.

        Raises:
            ConfigError: Neither of the two, or fewer than two peaks.
        """
        if value is None or isinstance(value, Tuning):
            return value
        if not isinstance(value, (str, int)):
            return cls(tuple(map(float, value)), seeds, absolute=True)
        text = str(value)
        if text.isdigit():
            count = int(text)
            return cls(tuple(3.0 ** (index - (count - 1) / 2) for index in range(count)), seeds)
        try:
            rates = tuple(float(piece) for piece in re.split(r"[/,]", text))
        except ValueError:
            raise ConfigError(
                f'tune: "{text}" is neither a number of peaks (3) nor a list of them (1e-3/3e-3/1e-2).'
            ) from None
        return cls(rates, seeds, absolute=True)

    def rates(self, workload: Workload) -> list[float]:
        """Return the candidate peak rates for a workload, lowest first, to three significant digits."""
        scale = 1.0 if self.absolute else workload.peak
        return sorted({float(f"{peak * scale:.3g}") for peak in self.peaks})


@dataclass(frozen=True)
class Job:
    """One run of a comparison; ``pause`` is the update after which it saves itself and waits, if any."""

    arm: str
    workload: int
    budget: str
    seed: int
    recipe: str
    folder: str
    tuning: bool = False
    pause: int | None = None


@dataclass(frozen=True)
class Plan:
    """A checked declaration.

    Args:
        arms: At least two recipes with different names.
        workloads: At least one.
        budgets: At least one.
        seeds: Seeds of the comparison, the same for every arm.
        baseline: Name of the arm the others are compared to.
        tuning: How peaks are chosen; ``None`` leaves them at recipe and workload.
    """

    arms: tuple[Arm, ...]
    workloads: tuple[Workload, ...]
    budgets: tuple[str, ...]
    seeds: tuple[int, ...]
    baseline: str
    tuning: Tuning | None

    def declaration(self) -> dict[str, Any]:
        """Return what makes this the same comparison when it is resumed."""
        return {
            "arms": {arm.name: str(arm.recipe) for arm in self.arms},
            "workloads": [[workload.name, workload.version, workload.fingerprint] for workload in self.workloads],
            "budgets": list(self.budgets),
            "seeds": list(self.seeds),
            "baseline": self.baseline,
            "tuning": None
            if self.tuning is None
            else [list(self.tuning.peaks), self.tuning.seeds, self.tuning.absolute],
        }

    def tuned(self, arm: Arm) -> bool:
        """Whether this arm's peak is chosen by tuning: one that names its own is left at it."""
        return self.tuning is not None and not arm.recipe.fixed_peak

    def tuning_jobs(self) -> list[Job]:
        """Return the runs that choose peaks, cheap to skip where nothing is tuned."""
        if self.tuning is None:
            return []
        return [
            Job(
                arm.name,
                index,
                budget,
                TUNING_SEEDS_FROM + seed,
                str(arm.recipe.with_peak(peak)),
                f"tuning/{self.cell(index, budget)}/{slug(arm.name)}/peak-{peak:g}/seed-{seed}",
                tuning=True,
            )
            for index, workload in enumerate(self.workloads)
            for budget in self.budgets
            for seed in range(self.tuning.seeds)
            for arm in self.arms
            if self.tuned(arm)
            for peak in self.tuning.rates(workload)
        ]

    def jobs(self, peaks: Mapping[tuple[str, int, str], float]) -> list[Job]:
        """Return the runs that are compared, arm by arm within a seed so that pairs are complete early.

        Args:
            peaks: Chosen peak by (arm, workload index, budget), for arms that were tuned.
        """
        jobs: list[Job] = []
        for index in range(len(self.workloads)):
            for budget in self.budgets:
                for seed in self.seeds:
                    for arm in self.arms:
                        peak = peaks.get((arm.name, index, budget))
                        recipe = arm.recipe if peak is None else arm.recipe.with_peak(peak)
                        folder = f"runs/{self.cell(index, budget)}/{slug(arm.name)}/seed-{seed}"
                        jobs.append(Job(arm.name, index, budget, seed, str(recipe), folder))
        return jobs

    def label(self, index: int) -> str:
        """Return what a workload goes by in the results: its name, or its spec where two have the same name."""
        workload = self.workloads[index]
        names = [other.name for other in self.workloads]
        if names.count(workload.name) == 1:
            return workload.name
        labels = [other.spec or other.name for other in self.workloads]
        return labels[index] if labels.count(labels[index]) == 1 else f"{workload.name} {index + 1}"

    def cell(self, index: int, budget: str) -> str:
        """Return the folder name of a workload under a budget."""
        name = slug(self.workloads[index].name)
        return f"{name if len(self.workloads) == 1 else f'{index}-{name}'}/{slug(budget)}"


def slug(name: str) -> str:
    """Return a name that is safe as a folder, and different for different names of a comparison."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip("-.") or "arm"


def make_plan(
    workloads: Sequence[Workload],
    arms: Mapping[str, str | Recipe] | Sequence[str | Recipe],
    *,
    budgets: Sequence[str | Budget],
    seeds: int | Sequence[int],
    baseline: str | None,
    tuning: Tuning | None,
) -> Plan:
    """Check a declaration, all of it before anything runs.

    Raises:
        ConfigError: Every fault in one message.
    """
    faults: list[str] = []
    named: dict[str, Recipe] = {}
    items = list(arms.items()) if isinstance(arms, Mapping) else [named_arm(arm) for arm in arms]
    for name, value in items:
        try:
            recipe = Recipe.parse(value)
        except (ConfigError, LookupError, OSError) as error:
            faults.append(str(error))
            continue
        if name in named:
            faults.append(f'two arms are called "{name}"; name one, as in other={value}')
        named[name] = recipe
    if len(items) < 2:
        faults.append(f"a comparison needs at least two arms, got {len(items)}")
    slugs = [slug(name) for name in named]
    if len(set(slugs)) < len(slugs):
        faults.append("two arm names differ only in signs that a folder name cannot hold; name them, as in first=SPEC")
    parsed: list[str] = []
    for budget in budgets:
        try:
            parsed.append(str(Budget.parse(budget)))
        except ConfigError as error:
            faults.append(str(error))
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers or len(set(numbers)) < len(numbers):
        faults.append(f"seeds must be a number >= 1 or different integers, got {seeds}")
    chosen = baseline or next((name for name in ("cosine", "baseline") if name in named), next(iter(named), ""))
    if named and chosen not in named:
        faults.append(f'no arm "{chosen}" to serve as baseline.{did_you_mean(chosen, named)} Arms: {", ".join(named)}')
    faults += _faults_of_specs(workloads, named, parsed)
    if faults:
        raise ConfigError("; ".join(dict.fromkeys(fault.rstrip(".") for fault in faults)) + ".")
    listed = tuple(Arm(name, recipe) for name, recipe in named.items())
    return Plan(listed, tuple(workloads), tuple(dict.fromkeys(parsed)), numbers, chosen, tuning)


def named_arm(arm: str | Recipe) -> tuple[str, str | Recipe]:
    """Split ``name=SPEC``; a bare spec is its own name."""
    text = str(arm)
    name, equals, rest = text.partition("=")
    if equals and isinstance(arm, str) and re.fullmatch(r"[\w .()-]+", name.strip()) and name.strip():
        return name.strip(), rest.strip()
    return text, arm


def _faults_of_specs(workloads: Sequence[Workload], arms: Mapping[str, Recipe], budgets: Sequence[str]) -> list[str]:
    faults: list[str] = []
    for workload in workloads:
        for budget in budgets:
            for recipe in arms.values():
                try:
                    clock = clock_of(workload, Budget.parse(budget), recipe.batch_size or workload.batch_size)
                    resolve_schedule(recipe, clock=clock, peak=recipe.peak or workload.peak)
                except (ConfigError, ValueError, LookupError) as error:
                    faults.append(str(error))
    return faults
