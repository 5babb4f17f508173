"""Durations with units, and the budget of a run.

``300steps``, ``2Mtokens``, ``50kexamples``, ``90s``, ``5min`` and ``1.5h`` say what they count. A bare fraction such
as ``0.05`` means a share of the whole run; a bare integer says nothing and is refused with both spellings.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

from tutelage.errors import ConfigError

Unit = Literal["steps", "examples", "tokens", "seconds"]

#: Marks a dataclass field that holds a number of updates; in a spec it is ``300steps``, ``2Mtokens`` or ``0.05``.
Steps = Annotated[int, "duration in updates"]
#: Marks a dataclass field that holds a share of the run in [0, 1]; in a spec it may also be written ``300steps``.
RunFraction = Annotated[float, "fraction of the run"]
#: Marks a dataclass field that holds a learning rate; in a spec it may also be written ``10%``, of the peak.
Rate = Annotated[float, "learning rate"]

_UNITS: dict[str, tuple[Unit, int]] = {
    "step": ("steps", 1),
    "steps": ("steps", 1),
    "example": ("examples", 1),
    "examples": ("examples", 1),
    "token": ("tokens", 1),
    "tokens": ("tokens", 1),
    "s": ("seconds", 1),
    "sec": ("seconds", 1),
    "second": ("seconds", 1),
    "seconds": ("seconds", 1),
    "min": ("seconds", 60),
    "minutes": ("seconds", 60),
    "h": ("seconds", 3600),
    "hours": ("seconds", 3600),
}
#: Above it a float no longer holds every whole number.
_MOST = 2**53
_SCALES = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_NUMBER = r"(?P<number>\d[\d_]*(?:\.\d+)?(?:e[+-]?\d{1,3})?|\.\d+)"
_PATTERN = re.compile(rf"^\s*{_NUMBER}\s*(?P<scale>[kMBT]?)\s*(?P<unit>[A-Za-z]+)\s*$")
_BARE = re.compile(rf"^\s*{_NUMBER}\s*$")


@dataclass(frozen=True)
class Clock:
    """How the units of one run convert into its updates.

    Args:
        total_steps: Updates in the whole run, or ``None`` where no end is known.
        examples_per_step: Examples seen in one update over all processes, or ``None`` where unknown.
        tokens_per_step: Tokens seen in one update over all processes, or ``None`` where unknown.
        virtual: The run is measured in seconds, so ``total_steps`` counts ticks of its time, not updates; only
            fractions of the run convert.
    """

    total_steps: int | None = None
    examples_per_step: float | None = None
    tokens_per_step: float | None = None
    virtual: bool = False

    def per_step(self, unit: Unit) -> float | None:
        """Return how many of ``unit`` one update spends, or ``None`` where that is unknown."""
        if self.virtual:
            return None
        if unit == "steps":
            return 1.0
        return {"examples": self.examples_per_step, "tokens": self.tokens_per_step}.get(unit)


@dataclass(frozen=True)
class Duration:
    """An amount with its unit, such as 300 steps or 90 seconds."""

    amount: float
    unit: Unit

    def to_steps(self, clock: Clock, *, down: bool = False) -> int:
        """Return the number of updates this lasts on ``clock``, rounded to the nearest, or ``down``.

        Raises:
            ConfigError: The clock does not know the unit's size of an update (seconds never convert).
        """
        per_step = clock.per_step(self.unit)
        if per_step is None and clock.virtual:
            raise ConfigError(
                f"{self} has no fixed place in a run measured in seconds; write a fraction of the run (0.05)."
            )
        if per_step is None:
            raise ConfigError(
                f"{self} cannot be converted into updates here: the {self.unit} of one update are not known. "
                "Write it in steps (300steps) or as a fraction of the run (0.05)."
            )
        steps = self.amount / per_step
        return math.floor(steps + 1e-9) if down else round(steps)

    def __str__(self) -> str:
        """Return the shortest spelling that parses back to the same value."""
        amount = int(self.amount) if float(self.amount).is_integer() else self.amount
        return f"{amount}{'s' if self.unit == 'seconds' else self.unit}"


def parse_duration(text: str, *, argument: str = "duration") -> Duration | float:
    """Read ``300steps`` / ``2Mtokens`` / ``90s`` as a :class:`Duration`, ``0.05`` as a fraction of the run.

    Args:
        text: The spelling.
        argument: Name to use in an error message.

    Raises:
        ConfigError: A bare integer above 1, an unknown unit, or no number at all.
    """
    bare = _BARE.match(text)
    if bare is not None:
        number = bare["number"]
        value = float(number.replace("_", ""))
        if value <= 1 and ("." in number or "e" in number or value == 0):
            return value
        raise ConfigError(
            f"{argument}={text.strip()} says no unit: write {text.strip()}steps for updates, or a fraction of the run "
            "such as 0.05."
        )
    match = _PATTERN.match(text)
    if match is None or match["unit"] not in _UNITS:
        raise ConfigError(
            f'{argument}: cannot read "{text.strip()}" as a duration; write 300steps, 50kexamples, 2Mtokens, 90s, 5min '
            "or a fraction such as 0.05."
        )
    unit, factor = _UNITS[match["unit"]]
    amount = Fraction(match["number"].replace("_", "")) * _SCALES[match["scale"]] * factor
    if amount > _MOST:
        raise ConfigError(f'{argument}: "{text.strip()}" is more than any run could spend.')
    return Duration(int(amount) if amount.denominator == 1 else float(amount), unit)


@dataclass(frozen=True)
class Budget:
    """What one run may spend: updates, examples, tokens or seconds; always above zero.

    Example:
        >>> Budget.parse("2Mtokens").total_steps(Clock(tokens_per_step=4096))
        488
    """

    duration: Duration

    def __post_init__(self) -> None:
        """Refuse a budget that buys nothing."""
        if not (math.isfinite(self.duration.amount) and self.duration.amount > 0):
            raise ConfigError(f"budget must be above zero, got {self.duration}; try 300steps, 2Mtokens or 90s.")
        if self.duration.unit != "seconds" and not float(self.duration.amount).is_integer():
            raise ConfigError(f"budget must be a whole number of {self.duration.unit}, got {self.duration}.")

    @classmethod
    def parse(cls, value: str | Budget) -> Budget:
        """Read ``300steps``, ``50kexamples``, ``2Mtokens``, ``90s``, ``5min``; a budget passes through.

        Raises:
            ConfigError: No unit, an unknown unit, a fraction, or nothing to spend.
        """
        if isinstance(value, Budget):
            return value
        duration = parse_duration(str(value), argument="budget")
        if not isinstance(duration, Duration):
            raise ConfigError(f"budget={value} says no unit: write 300steps, 2Mtokens, 50kexamples or 90s.")
        return cls(duration)

    @property
    def unit(self) -> Unit:
        """The unit the budget is counted in."""
        return self.duration.unit

    @property
    def seconds(self) -> float | None:
        """The seconds allowed, or ``None`` where the budget is not one of time."""
        return self.duration.amount if self.unit == "seconds" else None

    def total_steps(self, clock: Clock) -> int | None:
        """Return the whole updates this buys, never more than it pays for; ``None`` for a budget in seconds.

        Raises:
            ConfigError: It does not pay for a single update.
        """
        if self.unit == "seconds":
            return None
        steps = self.duration.to_steps(clock, down=True)
        if steps < 1:
            raise ConfigError(
                f"budget {self} does not pay for one update, which takes {clock.per_step(self.unit):g} {self.unit}."
            )
        return steps

    def __str__(self) -> str:
        """Return the canonical spelling."""
        return str(self.duration)
