"""The double sum of the multi-power law, over blocks of updates that are as far away and of nearly one rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tutelage.forecast.curve import Floats, Steps, at_peak_in_warmup

#: Updates of one block are equally far from the point that is looked at, but for this share ...
_SHARE = 0.05
#: ... and have one rate, but for this difference of its logarithm.
_DIFFERENCE = 0.05
#: A rate below this share of the largest one counts as that, for no power of 0 is a number.
SMALLEST_RATE = 1e-9
#: A schedule with more stretches of one rate than this, one that swings, has blocks of many rates instead.
_STRETCHES = 512
#: With so few changes of the rate, each is a block of its own.
_FEW = 256
#: Numbers held in one array while blocks are formed.
_CHUNK = 1_000_000
#: More steps than these are interpolated between some of them, each gap until its middle is met this well.
_MANY, _TOLERANCE = 4096, 1e-6


@dataclass(frozen=True)
class Drops:
    """What the falls of the rate have done by some steps: ``sum_k fall_k G(C eta_k^(-gamma) S_k)`` for any shape.

    Args:
        rows: Place of the step that each block counts for, shape ``(blocks,)``.
        falls: Fall of the rate in the block, in units of the unit rate.
        areas: Area under the rate since, ``S_k``, in the same units.
        log_rates: Logarithm of the rate after the fall, in the same units.
        count: Number of steps.
    """

    rows: Steps
    falls: Floats
    areas: Floats
    log_rates: Floats
    count: int

    def __call__(self, pace: float, beta: float, gamma: float) -> Floats:
        """Return the drop at every step per unit of B, for ``pace = C unit^(1 - gamma)``."""
        reached = pace * np.exp(-gamma * self.log_rates) * self.areas
        # The small drop of a small area would drown in 1 - (1 + x)^-beta.
        return self._summed(-self.falls * np.expm1(-beta * np.log1p(reached)))

    def with_slopes(self, pace: float, beta: float, gamma: float) -> tuple[Floats, Floats]:
        """Return the drop, and its derivatives by ``log pace``, ``log beta`` and ``gamma``, shape ``(3, steps)``."""
        reached = pace * np.exp(-gamma * self.log_rates) * self.areas
        logs = np.log1p(reached)
        left = np.exp(-beta * logs)
        steep = self.falls * beta * left * (reached / (1 + reached))
        drop = self._summed(-self.falls * np.expm1(-beta * logs))
        slopes = [steep, self.falls * beta * left * logs, -steep * self.log_rates]
        return drop, np.stack([self._summed(slope) for slope in slopes])

    def _summed(self, values: Floats) -> Floats:
        return np.bincount(self.rows, values, minlength=self.count).astype(np.float64, copy=False)


class Plan:
    """A schedule made ready for the law: its area, and its falls summed up such that any block is a difference.

    Args:
        rates: Rate of every update, shape ``(updates,)``.
        warmup: Updates at the start that count for the area and have no falls.
        unit: Rate that all others are divided by.
    """

    def __init__(self, rates: Floats, warmup: int, unit: float) -> None:
        relative = rates / unit
        held = at_peak_in_warmup(relative, warmup)
        largest = float(held.max())
        #: Area after 0, 1, ... updates.
        self.area = np.concatenate([[0.0], np.cumsum(relative)])
        self._falls = np.zeros_like(held)
        np.subtract(held[:-1], held[1:], out=self._falls[1:])
        self._falls[np.abs(self._falls) < 1e-15 * largest] = 0.0
        self._log_rates = np.log(np.maximum(held, SMALLEST_RATE * largest))
        self._changes = np.flatnonzero(self._falls)
        #: Updates about which the drop may turn.
        self._moves = self._changes
        if len(self._changes) <= _FEW:
            return
        moved = np.cumsum(np.abs(np.diff(self._log_rates, prepend=self._log_rates[0]))) // _DIFFERENCE
        #: First updates of stretches of nearly one rate, at which blocks end, unless there are too many.
        self._stretches = np.flatnonzero(np.diff(moved, prepend=0.0) > 0)
        swings = len(self._stretches) > _STRETCHES
        if swings:
            self._moves = self._stretches[:: 1 + len(self._stretches) // _MANY]
            self._stretches = self._stretches[:0]
        else:
            self._moves = self._stretches
        smallest = max(float(held[held > 0].min()), SMALLEST_RATE * largest)
        distances = np.arange(np.log(smallest), np.log(self.area[-1]) + 2 * _SHARE, np.log1p(_SHARE))
        self._distances = np.exp(distances[::-1])
        self._sums = []
        for sign in (1.0, -1.0):
            size = np.maximum(sign * self._falls, 0.0)
            if size.any():
                moments = [size, size * self.area[:-1], size * self._log_rates]
                if swings:
                    moments.append(moments[2] * self._log_rates)
                self._sums.append((sign, [np.concatenate([[0.0], np.cumsum(moment)]) for moment in moments]))

    def base(self, steps: Steps) -> Floats:
        """Return the area after each of ``steps`` updates, at least the first that is not 0."""
        least = self.area[np.searchsorted(self.area, 0.0, side="right")]
        area: Floats = np.maximum(self.area[steps], least)
        return area

    def drops(self, steps: Steps, *, exact: bool = False) -> Drops:
        """Return the blocks for the drop after each of ``steps`` updates (rising), or every update by itself."""
        parts = list(self._parts(steps, exact=exact))
        if len(parts) == 1:
            return parts[0][1]
        return Drops(
            rows=np.concatenate([start + part.rows for start, part in parts]),
            falls=np.concatenate([part.falls for _, part in parts]),
            areas=np.concatenate([part.areas for _, part in parts]),
            log_rates=np.concatenate([part.log_rates for _, part in parts]),
            count=len(steps),
        )

    def drop(self, steps: Steps, pace: float, beta: float, gamma: float, *, exact: bool = False) -> Floats:
        """Return the drop after each of ``steps`` updates (rising), in bounded memory."""

        def direct(wished: Steps) -> Floats:
            return np.concatenate([part(pace, beta, gamma) for _, part in self._parts(wished, exact=exact)])

        if exact or len(steps) <= _MANY or not len(self._changes):
            return direct(steps)
        # Where the rate moves, in the steps themselves, and evenly spread: the places to start from.
        known = np.searchsorted(steps, np.concatenate([self._moves, self._moves + 1, self._moves + 2]))
        known = np.unique(np.concatenate([known, np.linspace(0, len(steps) - 1, _FEW).astype(np.int64)]))
        known = known[known < len(steps)]
        values = np.empty(len(steps))
        values[known] = direct(steps[known])
        tolerance = _TOLERANCE * float(np.abs(self._falls).sum())
        found, left, right = [known], known[:-1], known[1:]
        while True:
            wide = right - left > 1
            left, right = left[wide], right[wide]
            if not len(left):
                break
            middle = (left + right) // 2
            values[middle] = direct(steps[middle])
            found.append(middle)
            share = (steps[middle] - steps[left]) / (steps[right] - steps[left])
            off = np.abs(values[middle] - values[left] - share * (values[right] - values[left])) > tolerance
            left, right = np.concatenate([left[off], middle[off]]), np.concatenate([middle[off], right[off]])
        known = np.sort(np.concatenate(found))
        return np.interp(steps, steps[known], values[known])

    def _parts(self, steps: Steps, *, exact: bool) -> Iterator[tuple[int, Drops]]:
        """Give the blocks of a few steps at a time, and the place of the first of these."""
        single = exact or len(self._changes) <= _FEW
        width = len(self._changes) if single else len(self._distances) + len(self._stretches)
        size = max(1, _CHUNK // max(width, 1))
        for start in range(0, max(len(steps), 1), size):
            chosen = steps[start : start + size]
            yield start, self._single(chosen) if single else self._blocks(chosen)

    def _single(self, steps: Steps) -> Drops:
        rows, places = np.nonzero(self._changes[None, :] < steps[:, None])
        at = self._changes[places]
        return Drops(rows, self._falls[at], self.area[steps[rows]] - self.area[at], self._log_rates[at], len(steps))

    def _blocks(self, steps: Steps) -> Drops:
        now = self.area[steps]
        far = np.searchsorted(self.area, now[:, None] - self._distances)
        edges = np.concatenate(
            [
                np.zeros((len(steps), 1), dtype=np.int64),
                np.minimum(far, steps[:, None]),
                np.minimum(self._stretches, steps[:, None]),
                steps[:, None],
            ],
            axis=1,
        )
        edges.sort(axis=1)
        rows, places = np.nonzero(edges[:, 1:] > edges[:, :-1])
        first, end = edges[rows, places], edges[rows, places + 1]
        parts = []
        for sign, (sizes, areas, logs, *squares) in self._sums:
            size = sizes[end] - sizes[first]
            some = np.flatnonzero(size > 0)
            a, b, size = first[some], end[some], size[some]
            alone = b - a == 1
            # Means over the block, by the size of the falls; within the block whatever the rounding of the sums.
            begun = np.clip((areas[b] - areas[a]) / size, self.area[a], self.area[b - 1])
            log_rate = np.where(alone, self._log_rates[a], (logs[b] - logs[a]) / size)
            since = now[rows[some]] - begun
            if squares:
                # Two rates stand for the many: they have the same mean and the same variance.
                square = (squares[0][b] - squares[0][a]) / size
                apart = np.where(alone, 0.0, np.sqrt(np.maximum(square - log_rate**2, 0.0)))
                parts += [(rows[some], sign * size / 2, since, log_rate + side * apart) for side in (-1.0, 1.0)]
            else:
                parts.append((rows[some], sign * size, since, log_rate))
        row, falls, since, log_rates = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Drops(row, falls, since, log_rates, len(steps))
