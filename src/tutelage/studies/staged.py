"""Runs of a study that come in stages: what a later stage trains depends on how an earlier one ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.studies.study import Setting

if TYPE_CHECKING:
    from tutelage.workloads import Workload


@dataclass(frozen=True)
class StagedRuns:
    """The folder of a study's runs: ``ARM/seed-SEED``, each made once and read afterwards.

    Args:
        setting: What the study was handed.
        root: The folder.
    """

    setting: Setting
    root: Path

    @classmethod
    def opened(cls, setting: Setting) -> StagedRuns:
        """Make the folder ``runs`` below the study's, or accept it.

        Raises:
            ConfigError: There are runs already, and neither ``resume`` nor ``force``.
            StorageFull: No space is left.
        """
        return cls(setting, setting.open_folder("runs"))

    def folder(self, arm: str, seed: int | str) -> Path:
        """Return where a run lies."""
        from tutelage.comparison.plan import slug

        return self.root / slug(arm) / f"seed-{seed}"

    def train(
        self,
        stage: str,
        arms: Mapping[str, str | Callable[[int], str]],
        *,
        workload: str,
        budget: str,
        budgets: Mapping[str, str] | None = None,
        workloads: Mapping[str, str | Callable[[int], str]] | None = None,
        change: Callable[[Workload], Workload] | None = None,
        **loop: Any,
    ) -> None:
        """Train every arm on every seed side by side, or go on with what is unfinished.

        Args:
            stage: What the progress calls it.
            arms: Recipe of each arm by name, or what gives it for a seed.
            workload: Spec of the workload.
            budget: Budget of a run.
            budgets: That of the arms named in it, where it is another one.
            workloads: Spec of the arms named in it, where it is another one, or what gives it for a seed.
            change: Makes another workload of each, such as one whose model is partly frozen.
            **loop: Settings of the loop; see :class:`tutelage.training.settings.LoopSettings`.

        Raises:
            ConfigError: A spec or recipe that cannot be used.
            TutelageError: A run failed, or was stopped from outside.
        """
        from tutelage.comparison._executor import Work
        from tutelage.comparison._grid import Progress, executor_for, run_jobs
        from tutelage.comparison.plan import Job
        from tutelage.workloads import prepare

        jobs, places = [], {workload: 0}
        for seed in self.setting.seeds:
            for arm, recipe in arms.items():
                place = str(self.folder(arm, seed).relative_to(self.root))
                spec, spending = recipe if isinstance(recipe, str) else recipe(seed), (budgets or {}).get(arm, budget)
                own = (workloads or {}).get(arm, workload)
                number = places.setdefault(own if isinstance(own, str) else own(seed), len(places))
                jobs.append(Job(arm, number, spending, seed, spec, place))
        ready = tuple(map(prepare, places))
        work = Work(ready if change is None else tuple(map(change, ready)), self.root, {"keep_weights": False, **loop})
        with executor_for("local", self.setting.jobs) as executor:
            run_jobs(executor, work, jobs, Progress(stage, jobs, self.root, len(jobs)), self.setting.watch)
