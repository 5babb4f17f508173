"""What a race found: times to target of every run, and the scores they give."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.comparison.space import Value
from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.evaluation.algoperf import workload_time
from tutelage.evaluation.algoperf_scores import Axis, ScoreTable, TimeTable, score_times
from tutelage.evaluation.algoperf_targets import TuningRules
from tutelage.training.storage import finite

RACE_DATA = "race.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class RaceTarget:
    """The mark on one workload, and where it comes from.

    Args:
        metric: Validation metric, without its ``val_``.
        value: Value to reach.
        lower_is_better: Direction of the metric.
        source: Who set it, in one sentence.
        recipe: The recipe whose repeats set it, empty where it was given.
    """

    metric: str
    value: float
    lower_is_better: bool
    source: str = "given"
    recipe: str = ""

    @property
    def sentence(self) -> str:
        """The mark and its source in words."""
        return f"{self.metric} {'<=' if self.lower_is_better else '>='} {self.value:.6g} ({self.source})."


@dataclass(frozen=True, kw_only=True)
class RaceRun:
    """One trial of a race.

    Args:
        arm: Name of the submission.
        workload: Label of the workload.
        study: Number of the study, from 0.
        trial: Number of the trial in its study, from 0.
        seed: Seed of the run.
        recipe: The recipe with its settings filled in.
        point: The settings drawn.
        budget: What the run could spend.
        times: By axis, what was spent until the target was reached, infinity for a miss; an axis the run does not
            count is left out.
        best: Best value of the target's metric, ``None`` where there was none.
        steps: Updates made.
        diverged: The loss stopped being a finite number.
        folder: The run folder, from the race's folder.
    """

    arm: str
    workload: str
    study: int
    trial: int
    seed: int
    recipe: str
    point: Mapping[str, Value]
    budget: str
    times: Mapping[Axis, float]
    best: float | None
    steps: int
    diverged: bool
    folder: str


@dataclass(frozen=True, kw_only=True)
class RaceResult:
    """All runs of a race; scores are computed from them, on any axis and with any cut.

    Args:
        arms: Recipes by name, with the names of their axes in braces.
        workloads: Labels of the workloads, variants last.
        specs: The workloads' specs, in the same order.
        variants: Label of each held-out variant to that of its base workload.
        targets: Marks by label.
        rules: The rules it was run by.
        runs: Every trial.
        cost: Updates spent: ``race_steps``, and ``target_steps`` for setting the targets.
        notes: Remarks a reader must see.
    """

    arms: Mapping[str, str]
    workloads: tuple[str, ...]
    specs: tuple[str, ...]
    variants: Mapping[str, str]
    targets: Mapping[str, RaceTarget]
    rules: TuningRules
    runs: tuple[RaceRun, ...]
    cost: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def times(self, axis: Axis = "steps", *, workloads: Iterable[str] | None = None) -> TimeTable:
        """Return each arm's time on each workload: the best trial of a study, then the median over studies.

        Args:
            axis: ``"steps"``, ``"tokens"`` or ``"seconds"``.
            workloads: Labels to keep; all where not given.

        Raises:
            ConfigError: The runs do not count this axis, or an unknown workload.
        """
        kept = list(self.workloads if workloads is None else workloads)
        for label in kept:
            if label not in self.workloads:
                raise ConfigError(f'This race has no workload "{label}"; it has {", ".join(self.workloads)}.')
        cells = {
            (arm, label): np.full((self.rules.studies, self.rules.trials), np.inf)
            for arm in self.arms
            for label in kept
        }
        for run in self.runs:
            if run.workload not in kept:
                continue
            if axis not in run.times:
                raise ConfigError(f"The runs on {run.workload} do not count {axis}; score by {', '.join(run.times)}.")
            cells[run.arm, run.workload][run.study, run.trial] = run.times[axis]
        return TimeTable.from_rows(
            {arm: {label: workload_time(cells[arm, label]) for label in kept} for arm in self.arms}, axis=axis
        )

    def scores(self, axis: Axis = "steps", *, r_max: float = 4.0) -> ScoreTable:
        """Return the AlgoPerf scores of the arms, held-out variants counted.

        Args:
            axis: As :meth:`times`.
            r_max: Slower than this many times the best earns nothing, > 1.

        Raises:
            ConfigError: As :meth:`times`.
            ValueError: Fewer than two arms, or ``r_max`` not above 1.
        """
        marks = [f"Target on {label}: {mark.sentence}" for label, mark in self.targets.items()]
        return score_times(
            self.times(axis),
            variants=self.variants,
            r_max=r_max,
            ruleset=self.rules.ruleset,
            notes=[*marks, *self.notes],
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values; infinity (a miss) becomes ``None``."""
        plain: dict[str, Any] = finite({"format": FORMAT, **dataclasses.asdict(self)})
        return plain

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> RaceResult:
        """Return the result that :meth:`to_json` wrote.

        Raises:
            ConfigError: Another format, or something is missing.
        """
        if stored.get("format") != FORMAT:
            raise ConfigError(f"This race has format {stored.get('format')}; this version reads format {FORMAT}.")
        try:
            runs = [
                RaceRun(**{**run, "times": {axis: _time(time) for axis, time in run["times"].items()}})
                for run in stored["runs"]
            ]
            return cls(
                arms=stored["arms"],
                workloads=tuple(stored["workloads"]),
                specs=tuple(stored["specs"]),
                variants=stored["variants"],
                targets={label: RaceTarget(**target) for label, target in stored["targets"].items()},
                rules=TuningRules(**stored["rules"]),
                runs=tuple(runs),
                cost=stored["cost"],
                notes=tuple(stored["notes"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"This race is incomplete ({error}); run it again with --resume.") from error


def read_race(folder: str | Path) -> RaceResult:
    """Return the stored result of a race.

    Raises:
        DataNotFound: The folder holds no finished race.
        CorruptRun: It cannot be read.
    """
    path = Path(folder) / RACE_DATA
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataNotFound(f"{folder} holds no {RACE_DATA}; name the folder of a finished race.") from None
    except (OSError, ValueError) as error:
        raise CorruptRun(f"{path} cannot be read ({error}); run the race again with --resume.") from error
    return RaceResult.from_json(stored)


def _time(stored: float | None) -> float:
    return math.inf if stored is None else stored
