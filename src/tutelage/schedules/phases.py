"""Phases: the one way to join schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np

from tutelage.schedules._protocol import RateFunction, Schedule, piecewise, require


@dataclass(frozen=True, kw_only=True, repr=False)
class Phases(Schedule):
    """Schedules one after the other, each from where you say for as long as you say.

    In a spec the phases are joined by ``+``: ``constant@0.6+linear``, ``warmup@100steps+cosine``, and
    ``cosine@500steps..1000steps`` for the second half of a cosine.

    **Formula**: phase ``i`` covers the updates from ``begin_i = lengths_0 + ... + lengths_(i-1)`` on and uses
    ``rate(step) = schedules_i(starts_i + step - begin_i)``. A boundary belongs to the later phase.

    Values: ``0``: ``first``; ``total_steps``: ``last``, where ``first`` is the first schedule at its start and ``last``
    the last schedule at its start plus its length.

    Args:
        schedules: Schedules of this library, or any functions from an array of updates to their rates, defined up to
            the end of their phase, included.
        lengths: Updates of each phase, >= 1; the last may be ``None`` for a run without an end.
        starts: Update of its own schedule that each phase enters at, >= 0; all 0 unless given. With one phase this
            continues a schedule from a checkpoint's update.

    Returns:
        The rate of the phase that ``step`` is in, same shape as ``step``.

    Raises:
        ValueError: No phase, other numbers of lengths or starts than of schedules, a length below 1 or a start below
            0, joined phases used beyond their own end, a negative step.

    Example:
        >>> from tutelage.schedules import Constant, Linear
        >>> joined = Phases(schedules=(Constant(peak=1.0), Linear(peak=1.0, total_steps=4)), lengths=(6, 4))
        >>> joined.to_array().tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
        >>> joined
        constant@6steps:peak=1.0,total_steps=none+linear@4steps:peak=1.0,total_steps=4steps

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "constant@0.8+linear")``. Lightning:
        ``to_lightning``. Optax: as it is.

    Helps / does not help:
        For whatever no single schedule says: restarts, plateaus, a new peak for a new data set. Nothing checks that the
        rate is continuous from one phase to the next, as restarts are not.

    Relations:
        ``SequentialLR`` of PyTorch and ``join_schedules`` of Optax, with lengths instead of milestones.
        :meth:`Schedule.anneal_from` and :meth:`Schedule.branch` return one.

    Source:
        No paper. The boundary rule is that of Optax's ``join_schedules``, checked against its source.
    """

    spec_name: ClassVar[str] = "phases"

    schedules: tuple[RateFunction, ...]
    lengths: tuple[int | None, ...]
    starts: tuple[int, ...] = ()
    peak: float = field(init=False, compare=False)
    total_steps: int | None = field(init=False, compare=False)
    warmup: int = field(default=0, init=False, compare=False)

    def __post_init__(self) -> None:
        """Check every argument, and lay out phases that are phases themselves."""
        schedules, lengths = tuple(self.schedules), tuple(self.lengths)
        starts = tuple(self.starts) or (0,) * len(schedules)
        require(len(schedules) >= 1, "Phases", "schedules", "at least one", schedules)
        for name, values in (("lengths", lengths), ("starts", starts)):
            require(
                len(values) == len(schedules), "Phases", name, f"one for each of {len(schedules)} schedules", values
            )
        require(None not in lengths[:-1], "Phases", "lengths", "known for each phase but the last", lengths)
        require(all(length is None or length >= 1 for length in lengths), "Phases", "lengths", ">= 1", lengths)
        require(all(start >= 0 for start in starts), "Phases", "starts", ">= 0", starts)
        flat = [piece for phase in zip(schedules, lengths, starts, strict=True) for piece in _flatten(*phase)]
        for name, value in zip(("schedules", "lengths", "starts"), zip(*flat, strict=True), strict=True):
            object.__setattr__(self, name, value)
        total = None if lengths[-1] is None else sum(cast("tuple[int, ...]", lengths))
        object.__setattr__(self, "total_steps", total)
        object.__setattr__(self, "peak", max(_highest(*piece) for piece in flat))

    @property
    def plateau_ends(self) -> int | None:
        """Update at which the last plateau of a phase ends before its rate falls, or ``None`` without one."""
        begin, found = 0, None
        for schedule, length, start in zip(self.schedules, self.lengths, self.starts, strict=True):
            ends = getattr(schedule, "plateau_ends", None)
            if ends is not None and start < ends and (length is None or ends - start < length):
                found = begin + ends - start
            begin += length or 0
        return found

    def _rate(self, t: Any, xp: Any) -> Any:
        def phase(schedule: RateFunction, offset: int) -> Callable[[Any], Any]:
            def rate(t: Any) -> Any:
                clock = t + offset
                return schedule._warmed(clock, xp) if isinstance(schedule, Schedule) else _call(schedule, clock, xp)

            return rate

        pieces: list[tuple[float, Callable[[Any], Any]]] = []
        begin = 0
        for schedule, length, start in zip(self.schedules, self.lengths, self.starts, strict=True):
            pieces.append((begin, phase(schedule, start - begin)))
            begin += length or 0
        (_, first), *later = pieces
        return piecewise(t, first, later, xp)

    def __repr__(self) -> str:
        """Return the spec that builds this schedule again; a function of your own shows as itself, not as a spec."""
        pieces = []
        for schedule, length, start in zip(self.schedules, self.lengths, self.starts, strict=True):
            name, _, rest = repr(schedule).partition(":")
            # In a spec a phase lends its length to a schedule that says no end; one that has none must say so.
            endless = isinstance(schedule, Schedule) and schedule.total_steps is None and length is not None
            arguments = ",".join(filter(None, [rest, "total_steps=none" if endless else ""]))
            pieces.append(f"{name}{_spell_range(length, start)}" + (f":{arguments}" if arguments else ""))
        return "+".join(pieces)


def _spell_range(length: int | None, start: int) -> str:
    if start:
        return f"@{start}steps.." + ("" if length is None else f"{start + length}steps")
    return "" if length is None else f"@{length}steps"


def _flatten(schedule: RateFunction, length: int | None, start: int) -> list[tuple[RateFunction, int | None, int]]:
    """Return a phase, or the parts of phases inside phases that ``length`` updates from ``start`` cover."""
    if not isinstance(schedule, Phases):
        return [(schedule, length, start)]
    total = schedule.total_steps
    if total is not None and (length is None or start + length > total):
        raise ValueError(
            f"Phases: joined phases of {total} updates cannot be used until update "
            f"{'infinity' if length is None else start + length}; make their last phase longer."
        )
    pieces: list[tuple[RateFunction, int | None, int]] = []
    begin, stop = 0, None if length is None else start + length
    for inner, inner_length, inner_start in zip(schedule.schedules, schedule.lengths, schedule.starts, strict=True):
        end = None if inner_length is None else begin + inner_length
        first = max(begin, start)
        last = stop if end is None else end if stop is None else min(end, stop)
        if last is None or first < last:
            pieces.append((inner, None if last is None else last - first, inner_start + first - begin))
        if end is None or (stop is not None and end >= stop):
            break
        begin = end
    return pieces


def _highest(schedule: RateFunction, length: int | None, start: int) -> float:
    """Return a bound of the rates of a phase: a schedule's own peak, or the highest rate a function gives."""
    if isinstance(schedule, Schedule):
        return schedule.peak
    steps = np.arange(start, start + (1 if length is None else length + 1))
    return float(np.max(np.asarray(schedule(steps), dtype=np.float64)))


def _call(function: RateFunction, clock: Any, xp: Any) -> Any:
    """Return the rates of a function of the user's, which may look its whole updates up in a table."""
    if xp is not np:
        return function(clock)
    whole = clock.astype(np.int64)
    rates = np.asarray(function(whole if (whole == clock).all() else clock), dtype=np.float64)
    return np.broadcast_to(rates, clock.shape)
