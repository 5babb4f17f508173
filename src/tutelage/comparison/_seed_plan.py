"""The records of a plan, and how it is said."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from tutelage.comparison._conclusion import listed
from tutelage.comparison._overall import percents
from tutelage.comparison._records import ComparisonResult
from tutelage.comparison.table import duration
from tutelage.evaluation.verdicts import counted, number
from tutelage.training.storage import finite

#: More pairs than anybody runs: a plan beyond them says so and gives no number.
MOST = 10_000


@dataclass(frozen=True, kw_only=True)
class SeedNeed:
    """What one arm needs against the baseline, in one cell or on average over all.

    Attributes:
        arm: Name of the arm.
        baseline: Name of the baseline.
        workload: Name of the workload, or ``None`` for the average over all cells.
        budget: The budget, likewise.
        metric: Name of the metric; ``"gain"`` for the average.
        pair: What is counted: ``"seed"`` or ``"item"``.
        effect: Difference to be shown, in the unit of the metric; a fraction of the baseline for the average.
        pilot: Pairs of the pilot.
        shows: Smallest true difference that so many pairs show with the wished power, or ``None`` where unknown.
        sd: Standard deviation of the pilot's differences, or ``None`` for one pair.
        sd_low: Lower end of its interval.
        sd_high: Upper end.
        needed: Pairs that the effect needs; ``None`` where unknown, or more than 10,000 (the sentence says which).
        needed_low: Pairs if the true spread is at the lower end of its interval.
        needed_high: Pairs if it is at the upper end; ``None`` where they are more than 10,000.
        runs: Runs of arm and baseline on ``needed`` seeds; ``None`` for items, which cost no run.
        seconds: Seconds of training of those runs, one after the other, on the pilot's machine; ``None`` if unknown.
        sentence: It in words.
    """

    arm: str
    baseline: str
    workload: str | None
    budget: str | None
    metric: str
    pair: str
    effect: float | None
    pilot: int
    shows: float | None
    sd: float | None
    sd_low: float | None
    sd_high: float | None
    needed: int | None
    needed_low: int | None
    needed_high: int | None
    runs: int | None
    seconds: float | None
    sentence: str


@dataclass(frozen=True, kw_only=True)
class SeedPlan:
    """What a whole comparison needs: the most that any of its arms does.

    Attributes:
        effect: As asked: ``"0.01"`` or ``"1%"``.
        power: Chance to show it.
        confidence: Of the intervals, before it is shared among arms.
        needs: Each arm in each cell, then the averages.
        seeds: Seeds with which every arm shows the effect in every cell; ``None`` where some need cannot be told.
        runs: Runs of all arms and cells on them.
        seconds: Seconds of training of these.
        conclusion: The plan in words.
        notes: What it rests on.
    """

    effect: str
    power: float
    confidence: float
    needs: tuple[SeedNeed, ...]
    seeds: int | None
    runs: int | None
    seconds: float | None
    conclusion: str
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``."""
        plain: dict[str, Any] = finite(dataclasses.asdict(self))
        return plain

    def __str__(self) -> str:
        """Return the plan as lines of text."""
        return "\n".join(
            [*(need.sentence for need in self.needs), self.conclusion, *(f"Note: {n}" for n in self.notes)]
        )


@dataclass(frozen=True)
class Known:
    """What the pilot knows of one arm against the baseline."""

    arm: str
    baseline: str
    workload: str | None
    budget: str | None
    metric: str
    pair: str
    pairs: int
    sd: float | None
    level: float
    #: Of the runs that one more seed costs.
    seconds: tuple[float | None, ...]
    baseline_mean: float | None

    @property
    def where(self) -> str:
        """The cell in words."""
        return "on average" if self.workload is None else f"{self.workload}, {self.budget}"

    def amount(self, value: float) -> str:
        """Return a difference in words."""
        return percents(value) if self.workload is None else number(value)


def need_in_words(known: Known, need: SeedNeed) -> str:
    """Return what one arm needs, as a sentence."""
    return f"{known.arm} against {known.baseline}, {known.where}: {_words(known, need)}."


def _words(known: Known, need: SeedNeed) -> str:
    pilot = counted(need.pilot, need.pair)
    if need.effect is None:
        return f"the mean of {known.baseline} is 0 or unknown, so there is no share of it; give the effect as a number"
    if need.sd is None:
        return f"{pilot} of the pilot show{'s' if need.pilot == 1 else ''} no spread to plan from; use at least 3"
    if need.sd == 0:
        return f"the {pilot} of the pilot show equal differences, so their spread is not known; use a larger pilot"
    shows = f"the pilot's {pilot} could have shown {known.amount(need.shows or 0.0)}"
    text = f"a difference of {known.amount(need.effect)}"
    if need.needed is None:
        return f"{text} needs more than {MOST:,} {need.pair}s; {shows}"
    high = f"more than {MOST:,}" if need.needed_high is None else f"{need.needed_high:,}"
    text += f" needs {counted(need.needed, need.pair)} (from {need.needed_low:,} to {high}, for all the pilot knows)"
    if need.runs is not None:
        text += f", which is {counted(need.runs, 'run')}"
        text += "" if need.seconds is None else f" and {duration(need.seconds)} of training"
    return f"{text}; {shows}"


def plan_in_words(plan: SeedPlan, several: bool) -> str:
    """Return the conclusion of a plan, for one cell or several."""
    cells = [need for need in plan.needs if need.workload is not None and need.pair == "seed"]
    if not cells:
        return "Pairs are items, so the plan says how many items are needed; it costs no run."
    asked = f"an effect of {plan.effect} with {100 * plan.power:.3g} % power"
    if plan.seeds is None:
        open_ = listed(dict.fromkeys(f"{n.arm} ({n.workload}, {n.budget})" for n in cells if n.needed is None))
        return f"How many seeds show {asked} cannot be told, or is beyond reach, for {open_}."
    highest = None if any(n.needed_high is None for n in cells) else max(n.needed_high or 0 for n in cells)
    where = " in every workload and budget" if several else ""
    cost = counted(plan.runs or 0, "run") + ("" if plan.seconds is None else f", {duration(plan.seconds)} of training")
    sure = f"more than {MOST:,}" if highest is None else f"{highest:,}"
    return (
        f"--seeds {plan.seeds} shows {asked} for every arm{where}: {cost}. By chance the "
        f"pilot may show too little of the spread: {sure} seeds are on the safe side."
    )


def notes_of(pilot: ComparisonResult) -> tuple[str, ...]:
    """Return what a plan from this pilot rests on."""
    notes = []
    if any(arm.seconds is not None for arm in pilot.arms):
        notes.append(
            "Training takes as long as the pilot's runs did, one after the other; choosing peak rates is not in it."
        )
    for arm in pilot.arms:
        if arm.diverged_seeds:
            lost = f"{len(arm.diverged_seeds)} of {counted(len(arm.seeds), 'seed')}"
            where = f"{arm.workload}, {arm.budget}"
            notes.append(f"{arm.name} diverged on {lost} of the pilot ({where}), which no number shows.")
    return tuple(notes)
