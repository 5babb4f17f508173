"""Targets set by a tuned baseline, tuning rules, and what the AlgoPerf benchmark asks of each workload.

Source: Dahl et al., Benchmarking Neural Network Training Algorithms, 2023, arXiv 2306.07179; the sections named below
are those of the benchmark's documentation (mlcommons/algorithmic-efficiency, docs/DOCUMENTATION.md). Targets by
version: scoring/workload_targets_v05.json and workload_targets.json in mlcommons/submissions_algorithms.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tutelage.errors import ConfigError, DataError, DataNotFound, did_you_mean

__all__ = [
    "ALGOPERF_V05",
    "ALGOPERF_V06",
    "Benchmark",
    "Ruleset",
    "Targets",
    "TuningRules",
    "WorkloadTarget",
    "best_setting",
    "metric_direction",
    "read_benchmark",
    "set_target",
]

Ruleset = Literal["external", "self"]

_DIRECTIONS = {
    **dict.fromkeys(("ce_loss", "ctc_loss", "error_rate", "l1_loss", "loss", "ppl", "wer"), True),
    **dict.fromkeys(("accuracy", "bleu", "mean_average_precision", "ssim"), False),
}


@dataclass(frozen=True, kw_only=True)
class TuningRules:
    """How often a submission is run on a workload, and for how long.

    The defaults are the current external rules; round 0.5 had 5 studies, and 3 times the budget for self-tuning.

    Args:
        ruleset: ``"external"``: the best of several trials counts. ``"self"``: one trial a study, nothing to tune.
        studies: Independent repeats, >= 1, the median of which counts.
        trials: Runs in each study, >= 1; 1 under ``"self"``.
        budget_factor: By which the workload's longest allowed time is multiplied, > 0.

    Raises:
        ValueError: A number out of range, an unknown ruleset, or more than one trial under ``"self"``.

    Example:
        >>> TuningRules(ruleset="self", trials=1, budget_factor=1.5).longest(7703)
        11554.5

    Source:
        Documentation, "Tuning Rulesets".
    """

    ruleset: Ruleset = "external"
    studies: int = 3
    trials: int = 5
    budget_factor: float = 1.0

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.ruleset not in ("external", "self"):
            raise ValueError(f'TuningRules: ruleset must be "external" or "self", got {self.ruleset!r}.')
        for name, value in (("studies", self.studies), ("trials", self.trials)):
            if value < 1:
                raise ValueError(f"TuningRules: {name} must be >= 1, got {value}.")
        if self.ruleset == "self" and self.trials != 1:
            raise ValueError(f"TuningRules: trials must be 1 where nothing is tuned from outside, got {self.trials}.")
        if not (np.isfinite(self.budget_factor) and self.budget_factor > 0):
            raise ValueError(f"TuningRules: budget_factor must be a finite number > 0, got {self.budget_factor}.")

    def longest(self, max_runtime: float) -> float:
        """Return the time after which a run counts as a miss, in the unit of ``max_runtime``."""
        return self.budget_factor * max_runtime


def metric_direction(metric: str) -> bool:
    """Return whether lower is better for one of the benchmark's metrics.

    Raises:
        ConfigError: A metric the benchmark does not use.
    """
    if metric not in _DIRECTIONS:
        raise ConfigError(
            f'No direction is known for metric "{metric}".{did_you_mean(metric, _DIRECTIONS)} Give '
            f"lower_is_better beside its target. Known: {', '.join(sorted(_DIRECTIONS))}."
        )
    return _DIRECTIONS[metric]


@dataclass(frozen=True, kw_only=True)
class WorkloadTarget:
    """The mark to reach on one workload.

    Attributes:
        metric: Validation metric that stops the clock, without the split's name.
        value: Value to reach.
        lower_is_better: Direction of the metric.
    """

    metric: str
    value: float
    lower_is_better: bool

    def __post_init__(self) -> None:
        """Check the value."""
        if not np.isfinite(self.value):
            raise ValueError(f"WorkloadTarget: value must be a finite number, got {self.value}.")


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The workloads a submission is scored on, their targets, and the rules of the round.

    Attributes:
        version: Name of the round.
        base: Workloads that count, in order.
        held_out: Variants that can cost a submission their base workload; empty since 0.6.
        targets: Target of each base and held-out workload.
        rules: Rules under each ruleset.
    """

    version: str
    base: tuple[str, ...]
    held_out: tuple[str, ...] = ()
    targets: Mapping[str, WorkloadTarget]
    rules: Mapping[Ruleset, TuningRules]

    def __post_init__(self) -> None:
        """Check that names and targets fit together."""
        if not self.base:
            raise ValueError("Benchmark: give at least one base workload.")
        missing = [name for name in self.workloads if name not in self.targets]
        if missing or len(set(self.workloads)) < len(self.workloads):
            raise ValueError(
                f"Benchmark: every workload needs one target and one place; without target: {missing or 'none'}."
            )
        for name in self.held_out:
            self.base_of(name)

    @property
    def workloads(self) -> tuple[str, ...]:
        """Base workloads, then held-out variants."""
        return (*self.base, *self.held_out)

    def base_of(self, name: str) -> str | None:
        """Return the base workload whose variant ``name`` is, ``None`` for a base workload itself.

        Raises:
            ValueError: The name does not begin with that of a base workload.
        """
        if name in self.base:
            return None
        found = [base for base in self.base if name.startswith(f"{base}_")]
        if not found:
            raise ValueError(f'Benchmark: "{name}" must begin with one of its base workloads: {", ".join(self.base)}.')
        return max(found, key=len)

    def only(self, workloads: Iterable[str]) -> Benchmark:
        """Return the same round on some of its base workloads, with their variants.

        Raises:
            ConfigError: A name that is no base workload, or none left.
        """
        wanted = list(workloads)
        for name in wanted:
            if name not in self.base:
                raise ConfigError(
                    f'AlgoPerf {self.version} has no base workload "{name}".{did_you_mean(name, self.base)} '
                    f"All: {', '.join(self.base)}."
                )
        if not wanted:
            raise ConfigError(f"Name at least one base workload of AlgoPerf {self.version}: {', '.join(self.base)}.")
        return dataclasses.replace(
            self,
            base=tuple(name for name in self.base if name in wanted),
            held_out=tuple(name for name in self.held_out if self.base_of(name) in wanted),
        )


def read_benchmark(path: str | Path) -> Benchmark:
    """Return the round described in a ``workload_targets*.json`` file, the benchmark's own or one's own.

    It holds ``benchmark_version``, ``base_workloads``, ``held_out_workloads`` and ``workloads``, which maps names to
    ``target_metric_name`` and ``validation_target_value``; ``lower_is_better`` may be added for other metrics. Rules
    are those of round 0.5 for that version and the current ones otherwise.

    Raises:
        DataNotFound: No such file.
        DataError: Not JSON, or something is missing or wrong; the file is named.
    """
    file = Path(path)
    if not file.is_file():
        raise DataNotFound(f"There is no file of workload targets at {file}.")
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        targets = {name: _target(entry) for name, entry in stored["workloads"].items()}
        version = str(stored["benchmark_version"])
        base, held_out = tuple(stored["base_workloads"]), tuple(stored.get("held_out_workloads", ()))
        rules = _RULES_V05 if version == "0.5" else _RULES
        return Benchmark(version=version, base=base, held_out=held_out, targets=targets, rules=rules)
    except KeyError as error:
        raise DataError(f"{file}: no {error} in this file of workload targets.") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise DataError(f"{file} is not a usable file of workload targets: {error}") from error


def _target(entry: Mapping[str, Any]) -> WorkloadTarget:
    metric = entry["target_metric_name"]
    lower = entry["lower_is_better"] if "lower_is_better" in entry else metric_direction(metric)
    return WorkloadTarget(metric=metric, value=float(entry["validation_target_value"]), lower_is_better=lower)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What a tuned baseline sets as the mark to reach.

    Attributes:
        validation: Validation value that stops the clock.
        test: Test value for the side analysis, or ``None`` where no test values were given.
        reached: How many of the runs reached the validation target.
        runs: How many runs there were.
    """

    validation: float
    test: float | None
    reached: int
    runs: int


def best_setting(values: Mapping[str, ArrayLike], *, lower_is_better: bool) -> str:
    """Return the tuning run with the best validation value, which is then re-run to set the target.

    Args:
        values: Name of each algorithm and setting to its validation metric, one value or one an evaluation; NaN is
            passed over.
        lower_is_better: Direction of the metric.

    Raises:
        ValueError: No runs, or none with a finite value.

    Example:
        >>> best_setting({"adamw-1": [0.5, 0.4], "nadamw-7": [0.6, 0.35, 0.37]}, lower_is_better=True)
        'nadamw-7'

    Source:
        Documentation, "Defining Target Performance" (AdamW, NadamW, Nesterov, heavy ball; 200 trials each).
    """
    best = {name: _best(row, lower_is_better) for name, row in values.items()}
    known = {name: value for name, value in best.items() if np.isfinite(value)}
    if not known:
        raise ValueError("best_setting: give at least one run with a finite validation value.")
    return min(known, key=lambda name: known[name] if lower_is_better else -known[name])


def set_target(
    validation: Sequence[ArrayLike], test: Sequence[ArrayLike] | None = None, *, lower_is_better: bool
) -> Targets:
    """Return the targets that repeated runs of a tuned baseline set; do this before looking at any submission.

    **Formula**: with ``v_i`` and ``u_i`` the best validation and test value of repeat ``i``, the validation target is
    ``median_i v_i`` and the test target the worst ``u_i`` among the repeats with ``v_i`` at or past it. The median
    instead of the best keeps a lucky run from setting a mark that its own algorithm would mostly miss.

    Args:
        validation: One entry a repeat, its validation metric over evaluations, or its best value alone; at least 2
            repeats (20 in the benchmark). A repeat without a finite value (diverged) counts as the worst.
        test: The same for the test metric.
        lower_is_better: Direction of both metrics.

    Raises:
        ValueError: Fewer than 2 repeats, as many tests as repeats not given, or half of the repeats diverged.

    Example:
        >>> found = set_target([[0.5, 0.30], [0.4, 0.34], [0.6, 0.31], [0.35]], [0.33, 0.36, 0.35, 0.4],
        ...                    lower_is_better=True)
        >>> round(found.validation, 3), found.test, found.reached
        (0.325, 0.35, 2)

    Source:
        Documentation, "Defining Target Performance and max_runtime".
    """
    if len(validation) < 2:
        raise ValueError(f"set_target: give at least 2 repeats of the tuned baseline, got {len(validation)}.")
    if test is not None and len(test) != len(validation):
        raise ValueError(f"set_target: {len(validation)} repeats need as many test values, got {len(test)}.")
    worst = np.inf if lower_is_better else -np.inf
    best = np.array([_best(row, lower_is_better) for row in validation])
    best = np.where(np.isnan(best), worst, best)
    if np.isinf(best).sum() * 2 >= len(best):
        raise ValueError(f"set_target: {np.isinf(best).sum()} of {len(best)} repeats have no finite validation value.")
    target = float(np.median(best))
    reached = best <= target if lower_is_better else best >= target
    if test is None:
        return Targets(validation=target, test=None, reached=int(reached.sum()), runs=len(best))
    tests = np.array([_best(row, lower_is_better) for row in test])[reached]
    if np.isnan(tests).any():
        raise ValueError("set_target: a repeat that reached the validation target has no finite test value.")
    worst_test = float(tests.max() if lower_is_better else tests.min())
    return Targets(validation=target, test=worst_test, reached=int(reached.sum()), runs=len(best))


def _best(values: ArrayLike, lower_is_better: bool) -> float:
    """Return the best finite value of a run, NaN where it has none."""
    row = np.atleast_1d(np.asarray(values, dtype=np.float64))
    row = row[np.isfinite(row)]
    return float("nan") if not len(row) else float(row.min() if lower_is_better else row.max())


_RULES: Mapping[Ruleset, TuningRules] = MappingProxyType(
    {"external": TuningRules(), "self": TuningRules(ruleset="self", trials=1, budget_factor=1.5)}
)
_RULES_V05: Mapping[Ruleset, TuningRules] = MappingProxyType(
    {"external": TuningRules(studies=5), "self": TuningRules(ruleset="self", studies=5, trials=1, budget_factor=3.0)}
)
_TARGETS: Mapping[str, WorkloadTarget] = MappingProxyType(
    {
        name: WorkloadTarget(metric=metric, value=value, lower_is_better=metric_direction(metric))
        for name, metric, value in (
            ("criteo1tb", "loss", 0.123735),
            ("fastmri", "ssim", 0.723653),
            ("imagenet_resnet", "accuracy", 0.77431),
            ("imagenet_vit", "accuracy", 0.77309),
            ("librispeech_conformer", "wer", 0.085884),
            ("librispeech_deepspeech", "wer", 0.119936),
            ("ogbg", "mean_average_precision", 0.28098),
            ("wmt", "bleu", 30.8491),
            ("finewebedu_lm", "ppl", 22.2995),
            ("criteo1tb_embed_init", "loss", 0.129657),
            ("fastmri_tanh", "ssim", 0.71784),
            ("imagenet_resnet_large_bn_init", "accuracy", 0.76526),
            ("librispeech_conformer_layernorm", "wer", 0.09731),
            ("ogbg_model_size", "mean_average_precision", 0.269446),
            ("wmt_glu_tanh", "bleu", 29.5779),
        )
    }
)
_EIGHT = tuple(_TARGETS)[:8]

ALGOPERF_V05 = Benchmark(version="0.5", base=_EIGHT, held_out=tuple(_TARGETS)[9:], targets=_TARGETS, rules=_RULES_V05)
"""Round 0.5: eight base workloads and the six variants that were drawn after its submissions had closed."""

ALGOPERF_V06 = Benchmark(version="0.6", base=(*_EIGHT, "finewebedu_lm"), targets=_TARGETS, rules=_RULES)
"""Round 0.6: nine base workloads, no variants. Its first scores were published before the ninth was added."""
