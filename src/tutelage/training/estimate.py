"""What a run would take: updates, tokens, memory and minutes on this machine, from a short probe."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tutelage.durations import Budget
from tutelage.schedules import Schedule
from tutelage.training.callbacks import Callback, RunState
from tutelage.training.loop import train
from tutelage.training.recipe import Recipe, resolve_schedule
from tutelage.training.resolve import clock_of

if TYPE_CHECKING:
    from tutelage.workloads import Workload

_PROBE_STEPS = 6


@dataclass(frozen=True)
class Estimate:
    """What one run would take.

    Args:
        workload: Name of the workload.
        recipe: The recipe as a string.
        budget: The budget.
        steps: Updates; estimated from the probe for a budget in seconds.
        warmup_end: First update after warm-up, or ``None`` where the schedule has none.
        examples: Examples seen.
        epochs: Passes over the training data.
        tokens: Tokens seen, or ``None`` where examples have no fixed number.
        parameters: Weights of the model.
        memory_mib: Weights, gradients and optimizer state, and what the probe's updates added to this process.
        step_seconds: Seconds an update took in the probe, the first one left out.
        seconds: Seconds of the whole run, evaluations included.
        rates: Rates of the schedule, shape ``(steps,)``, or ``None`` where they are found while it runs.
    """

    workload: str
    recipe: str
    budget: str
    steps: int
    warmup_end: int | None
    examples: int
    epochs: float
    tokens: int | None
    parameters: int
    memory_mib: float
    step_seconds: float
    seconds: float
    rates: NDArray[np.float64] | None

    def to_json(self) -> dict[str, Any]:
        """Return every number; the rates at their ends and their highest."""
        facts = {name: value for name, value in vars(self).items() if name != "rates"}
        if self.rates is not None:
            first, last = float(self.rates[0]), float(self.rates[-1])
            facts["lr"] = {"first": first, "highest": float(self.rates.max()), "last": last}
        return facts

    def to_text(self) -> str:
        """Return the estimate as a few lines with a plot of the schedule."""
        from tutelage.text_plot import text_plot

        minutes = f"{self.seconds / 60:.1f} min" if self.seconds >= 60 else f"{self.seconds:.0f} s"
        tokens = "" if self.tokens is None else f", {self.tokens:,} tokens"
        warmup = "none" if self.warmup_end is None else f"ends at update {self.warmup_end}"
        lines = [
            f"{self.workload} by {self.recipe}, {self.budget}",
            f"  updates   {self.steps:,} ({self.examples:,} examples, {self.epochs:.2f} epochs{tokens})",
            f"  warm-up   {warmup}",
            f"  model     {self.parameters:,} parameters, about {self.memory_mib:.0f} MiB while it trains",
            f"  time      about {minutes} on this machine ({self.step_seconds * 1000:.1f} ms an update)",
        ]
        if self.rates is None:
            return "\n".join([*lines, "  rates     found while it runs"])
        return "\n".join([*lines, text_plot(self.rates)])


def estimate(
    workload: Workload,
    recipe: str | Recipe,
    budget: str | Budget,
    *,
    probes: dict[Recipe, tuple[float, float, int, int]] | None = None,
) -> Estimate:
    """Resolve a run and probe a few updates of it.

    Args:
        workload: The workload.
        recipe: The recipe.
        budget: The budget.
        probes: What was measured for this workload before; recipes that differ in their schedule alone share a probe.

    Raises:
        ConfigError: The recipe or the budget cannot be used.
    """
    choice, spending = Recipe.parse(recipe), Budget.parse(budget)
    batch_size = choice.batch_size or workload.batch_size
    clock = clock_of(workload, spending, batch_size)
    schedule = resolve_schedule(choice, clock=clock, peak=choice.peak or workload.peak)
    probe = dataclasses.replace(choice, schedule="constant", peak=None)
    known = {} if probes is None else probes
    if probe not in known:
        known[probe] = _probe(workload, probe)
    step_seconds, evaluation_seconds, grown, parameters = known[probe]
    seconds = spending.seconds
    steps = max(1, round(seconds / step_seconds)) if seconds is not None else clock.total_steps or 0
    fixed = isinstance(schedule, Schedule)
    per_example = workload.tokens_per_example
    warmup = getattr(schedule, "warmup", 0)
    if clock.virtual:
        warmup = round(warmup / (clock.total_steps or 1) * steps)
    rates = None
    if fixed:
        ticks = np.arange(steps) if not clock.virtual else np.linspace(0, clock.total_steps or 1, steps, endpoint=False)
        rates = schedule(ticks)
    return Estimate(
        workload=workload.name,
        recipe=str(choice),
        budget=str(spending),
        steps=steps,
        warmup_end=warmup or None,
        examples=steps * batch_size,
        epochs=steps * batch_size / len(workload.train),
        tokens=None if per_example is None else int(steps * batch_size * per_example),
        parameters=parameters,
        memory_mib=round(max(grown, parameters * 16) / 2**20, 1),
        step_seconds=step_seconds,
        seconds=(seconds or steps * step_seconds) + 10 * evaluation_seconds,
        rates=rates,
    )


class _Weights(Callback):
    """Counts the weights of a run's model."""

    count = 0

    def on_start(self, run: RunState) -> None:
        """Count them."""
        self.count = sum(parameter.numel() for parameter in run.model.parameters())


def _probe(workload: Workload, probe: Recipe) -> tuple[float, float, int, int]:
    """Return seconds an update, seconds an evaluation, bytes training added to this process, and weights."""
    import psutil

    process = psutil.Process()
    before = process.memory_info().rss
    weights = _Weights()
    result = train(workload, probe, budget=f"{_PROBE_STEPS}steps", eval_every=_PROBE_STEPS, callbacks=[weights])
    grown = process.memory_info().rss - before
    seconds = np.diff(result.curve["seconds"])
    evaluation = result.cost["evaluation_seconds"] / result.cost["evaluations"]
    return float(np.median(seconds)), evaluation, grown, weights.count
