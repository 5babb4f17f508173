"""The declaration of a race: submissions, workloads and rules, all checked before anything runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutelage.comparison.plan import Job, Plan, make_plan, named_arm
from tutelage.comparison.space import Axis, Choice, Space, Value, axes_of, fill, gaps, halton, parse_space
from tutelage.durations import Budget, Duration
from tutelage.errors import ConfigError, did_you_mean
from tutelage.evaluation.algoperf_targets import TuningRules
from tutelage.training.recipe import Recipe
from tutelage.training.resolve import clock_of

if TYPE_CHECKING:
    from tutelage.workloads import Workload

#: Axis of the space that is no setting of the recipe but the length of the run.
HORIZON = "horizon"
_EVALUATIONS = 20


@dataclass(frozen=True, kw_only=True)
class TargetRules:
    """How a tuned baseline sets the marks to reach, before any submission is run.

    Args:
        arms: Names of the arms that are tried as baseline; the best one sets the mark.
        trials: Quasi-random settings tried for each, >= 1; 200 in the benchmark.
        repeats: Repeats of the best with fresh seeds, whose median is the mark, >= 2; 20 in the benchmark.
        share: Of the budget that these runs get, in (0, 1]: 3/4, so that a race lasts 4/3 of it.

    Raises:
        ConfigError: A number out of range, or no arm.

    Source:
        mlcommons/algorithmic-efficiency, docs/DOCUMENTATION.md, "Defining Target Performance and max_runtime".
    """

    arms: tuple[str, ...]
    trials: int = 20
    repeats: int = 5
    share: float = 0.75

    def __post_init__(self) -> None:
        """Check every argument."""
        if not self.arms:
            raise ConfigError("TargetRules: name at least one arm that sets the targets.")
        for name, least in (("trials", 1), ("repeats", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"TargetRules: {name} must be >= {least}, got {getattr(self, name)}.")
        if not 0 < self.share <= 1:
            raise ConfigError(f"TargetRules: share must be in (0, 1], got {self.share}.")


@dataclass(frozen=True)
class Entry:
    """One submission: a recipe with named gaps, and the axes it is tuned over."""

    name: str
    recipe: str
    axes: Mapping[str, Axis]


@dataclass(frozen=True)
class Heat:
    """One workload of a race: its place in the plan, its label, the longest budget, and updates between evaluations."""

    index: int
    label: str
    workload: Workload
    budget: Budget
    eval_every: int | None


@dataclass(frozen=True)
class RacePlan:
    """A checked declaration of a race."""

    entries: tuple[Entry, ...]
    plan: Plan
    heats: tuple[Heat, ...]
    axes: Mapping[str, Axis]
    rules: TuningRules
    variants: Mapping[str, str]
    targets: Mapping[str, float]
    set_by: TargetRules | None
    seed: int

    def declaration(self) -> dict[str, Any]:
        """Return what makes this the same race when it is resumed."""
        return {
            "race": {entry.name: entry.recipe for entry in self.entries},
            "space": {name: repr(axis) for name, axis in self.axes.items()},
            "workloads": [[item.name, item.version, item.fingerprint] for item in self.plan.workloads],
            "budgets": [str(heat.budget) for heat in self.heats],
            "eval_every": [heat.eval_every for heat in self.heats],
            "rules": dataclasses.asdict(self.rules),
            "variants": dict(self.variants),
            "targets": dict(self.targets),
            "set_by": None if self.set_by is None else dataclasses.asdict(self.set_by),
            "seed": self.seed,
        }


def declare(
    workload: Workload | str | Sequence[Workload | str],
    arms: Mapping[str, str] | Sequence[str],
    budget: str | Budget | Sequence[str | Budget],
    space: Space | None,
    rules: TuningRules,
    targets: Mapping[str, float] | None,
    set_by: TargetRules | None,
    variants: Mapping[str, str] | None,
    eval_every: int | None,
    seed: int,
) -> RacePlan:
    """Check a declaration, all that can be checked before anything runs."""
    from tutelage.workloads import prepare

    listed = [workload] if isinstance(workload, str) or not isinstance(workload, Sequence) else list(workload)
    asked = [budget] if isinstance(budget, (str, Budget)) else list(budget)
    if len(asked) not in (1, len(listed)):
        raise ConfigError(f"budget: give one, or one for each of the {len(listed)} workloads, got {len(asked)}.")
    if eval_every is not None and eval_every < 1:
        raise ConfigError(f"eval_every must be >= 1, got {eval_every}.")
    budgets = [Budget.parse(item) for item in (asked * len(listed) if len(asked) == 1 else asked)]
    base = {_name(item): index for index, item in enumerate(listed)}
    base_of: list[int] = []
    for variant, name in (variants or {}).items():
        if name not in base:
            raise ConfigError(
                f'No workload "{name}" for the variant "{variant}".{did_you_mean(name, base)} '
                f"Workloads: {', '.join(base)}."
            )
        listed.append(variant)
        base_of.append(base[name])
    prepared = tuple(prepare(item) for item in listed)
    budgets += [budgets[index] for index in base_of]
    axes = parse_space(space)
    _check_horizon(axes.get(HORIZON))
    entries = _entries(arms, axes, rules)
    plan = Plan((), prepared, tuple(map(str, budgets)), (), "", None)
    heats = []
    for index, (item, spending) in enumerate(zip(prepared, budgets, strict=True)):
        longest = _scaled(spending, rules.budget_factor)
        points = {entry.name: fill(entry.recipe, halton(entry.axes, 1, seed)[0]) for entry in entries}
        make_plan([item], points, budgets=[longest], seeds=1, baseline=None, tuning=None)
        heats.append(Heat(index, item.spec or item.name, item, longest, eval_every or _every(item, longest)))
    labels = [heat.label for heat in heats]
    twice = [label for label in labels if labels.count(label) > 1]
    if twice:
        raise ConfigError(f"Workload {twice[0]} is given twice; a race tells workloads apart by their spec or name.")
    spelled = dict(zip(labels, labels, strict=True)) | {
        _name(item): label for item, label in zip(listed, labels, strict=True)
    }
    for name in targets or {}:
        if name not in spelled:
            near = did_you_mean(name, spelled)
            raise ConfigError(f'No workload "{name}" for a target.{near} Workloads: {", ".join(labels)}.')
    given = {spelled[name]: float(value) for name, value in (targets or {}).items()}
    for label, value in given.items():
        if not math.isfinite(value):
            raise ConfigError(f"target on {label} must be a finite number, got {value}.")
    missing = [label for label in labels if label not in given]
    if missing and set_by is None:
        raise ConfigError(f"No target on {', '.join(missing)}: give one, or name the arms that set it (set_by).")
    for name in () if set_by is None else set_by.arms:
        known = [entry.name for entry in entries]
        if name not in known:
            raise ConfigError(f'No arm "{name}" to set targets.{did_you_mean(name, known)} Arms: {", ".join(known)}.')
    held_out = {labels[len(labels) - len(base_of) + place]: labels[index] for place, index in enumerate(base_of)}
    return RacePlan(entries, plan, tuple(heats), axes, rules, held_out, given, set_by if missing else None, seed)


def _name(workload: Workload | str) -> str:
    return workload if isinstance(workload, str) else workload.spec or workload.name


def _entries(
    arms: Mapping[str, str] | Sequence[str], axes: Mapping[str, Axis], rules: TuningRules
) -> tuple[Entry, ...]:
    named = list(arms.items()) if isinstance(arms, Mapping) else [named_arm(arm) for arm in arms]
    entries: list[Entry] = []
    for name, recipe in named:
        text = str(recipe)
        mine = axes_of(text, axes)
        if mine and HORIZON in axes:
            mine = {key: axis for key, axis in axes.items() if key in (*mine, HORIZON)}
        if rules.ruleset == "self" and mine:
            raise ConfigError(
                f"arm {name}: nothing is tuned from outside under the self-tuning rules; write settings in place of "
                f"{', '.join(mine)}."
            )
        entries.append(Entry(str(name), text, mine))
    used = {key for entry in entries for key in gaps(entry.recipe)} | {HORIZON}
    unused = [key for key in axes if key not in used]
    if unused:
        raise ConfigError(f"No arm names the axis {', '.join(unused)}; write it in braces in a recipe.")
    return tuple(entries)


def _check_horizon(axis: Axis | None) -> None:
    ends = axis.values if isinstance(axis, Choice) else () if axis is None else (axis.low, axis.high)
    for end in ends:
        if isinstance(end, str) or not 0 < end <= 1:
            raise ConfigError(f"{HORIZON} must be in (0, 1], the share of the budget a trial lasts, got {end}.")


def _scaled(budget: Budget, factor: float) -> Budget:
    """Return a multiple of a budget, in whole steps, examples or tokens."""
    amount = budget.duration.amount * factor
    return Budget(Duration(amount if budget.unit == "seconds" else max(1, round(amount)), budget.unit))


def _every(workload: Workload, budget: Budget) -> int | None:
    clock = clock_of(workload, budget, workload.batch_size)
    return None if clock.virtual or clock.total_steps is None else max(1, clock.total_steps // _EVALUATIONS)


def trial_job(heat: Heat, entry: Entry, point: Mapping[str, Value], seed: int, folder: str, share: float = 1.0) -> Job:
    """Return one run: the entry's recipe at a point, for its share of the budget."""
    recipe = str(Recipe.parse(fill(entry.recipe, point)))
    horizon = float(point.get(HORIZON, 1.0)) * share
    return Job(entry.name, heat.index, str(_scaled(heat.budget, horizon)), seed, recipe, folder)
