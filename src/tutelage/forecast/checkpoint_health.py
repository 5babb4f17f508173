"""Is a run healthy? For each task one plain word: at chance, regressed, still rising, saturated."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tutelage.forecast._checkpoint_table import Checkpoints, Floats, Smooth, Table, curves_of, read_table, smoothed

__all__ = ["HealthReport", "TaskHealth", "Verdict", "health_report", "onset"]

Verdict = Literal["at chance", "regressed", "still rising", "saturated"]

#: A normalised score beyond this, for so many checkpoints on end, has left chance.
THRESHOLD, LENGTH = 0.05, 3
#: Changes of a normalised score below this do not matter, however well they are known.
_LEAST = 0.01


def onset(z: ArrayLike, threshold: float = THRESHOLD, length: int = LENGTH) -> int | None:
    """Return the first checkpoint from which a normalised score stays above a threshold for so many checkpoints.

    Args:
        z: Normalised scores, shape ``(checkpoints,)``.
        threshold: Score that must be exceeded.
        length: Checkpoints on end that must exceed it, >= 1.

    Returns:
        Its index, or ``None`` where that never happens.

    Raises:
        ValueError: ``length`` below 1.

    Example:
        >>> onset([0, 0.06, 0.02, 0.06, 0.07, 0.08])
        3
    """
    if length < 1:
        raise ValueError(f"onset: length must be >= 1 checkpoint, got {length}.")
    above = np.asarray(z, dtype=np.float64) > threshold
    if len(above) < length:
        return None
    found = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(above, length).all(axis=1))
    return int(found[0]) if len(found) else None


@dataclass(frozen=True, kw_only=True)
class TaskHealth:
    """How one task goes in one run; normalised scores are 0 at chance and 1 where all is right.

    Args:
        run: The run.
        task: The task.
        domain: Its domain.
        verdict: ``at chance``, ``regressed``, ``still rising`` or ``saturated``.
        score: Last score, as measured.
        normalised: Last score, normalised and smoothed.
        best: Highest smoothed normalised score.
        onset_tokens: Tokens at which it left chance; ``None`` where it did not.
        rise: What it gained over the last third of the checkpoints, by a straight line.
        ci: Half the width of the 95 % interval of one normalised score.
    """

    run: str
    task: str
    domain: str
    verdict: Verdict
    score: float
    normalised: float
    best: float
    onset_tokens: float | None
    rise: float
    ci: float


@dataclass(frozen=True)
class HealthReport:
    """What :func:`health_report` found; it prints itself as a table.

    Args:
        tasks: One entry a run and task.
    """

    tasks: tuple[TaskHealth, ...]

    def of(self, verdict: Verdict) -> list[TaskHealth]:
        """Return the tasks with a verdict."""
        return [entry for entry in self.tasks if entry.verdict == verdict]

    @property
    def sentence(self) -> str:
        """How many tasks are how, in one sentence."""
        counts = Counter(entry.verdict for entry in self.tasks)
        words: tuple[Verdict, ...] = ("still rising", "saturated", "regressed", "at chance")
        return f"{len(self.tasks)} tasks: {', '.join(f'{counts[word]} {word}' for word in words if counts[word])}."

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {"sentence": self.sentence, "tasks": [dataclasses.asdict(entry) for entry in self.tasks]}

    def __str__(self) -> str:
        rows = [("run", "task", "score", "left chance at", "best", "rise", "verdict")]
        for entry in self.tasks:
            left = "-" if entry.onset_tokens is None else f"{entry.onset_tokens:g}"
            rows.append(
                (entry.run, entry.task, f"{entry.score:.3f}", left, f"{entry.best:+.3f}", f"{entry.rise:+.3f}",
                 entry.verdict)
            )  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, self.sentence])


def health_report(
    table: Table | Checkpoints, *, interpolate: bool = False, smooth: Smooth = "mean", threshold: float = THRESHOLD
) -> HealthReport:
    """Say in plain words how each task goes: at chance, regressed, still rising or saturated.

    Use it while a run goes on, to see what it still gains and what it loses.

    **Formula**: ``z = (y - chance) / (1 - chance)``, smoothed; ``u`` = half the 95 % interval of one score (the
    table's ``ci``, median over checkpoints, else 1.96 times a robust deviation from second differences), at least 0.01.
    In this order:

    - *at chance*: ``z`` never exceeds ``threshold`` at three checkpoints on end;
    - *regressed*: the last ``z`` is more than ``2 u`` below the highest;
    - *still rising*: a straight line through the last third of the checkpoints (three at least) gains more than ``u``;
    - *saturated*: none of these.

    Args:
        table: Rows ``(run, step, tokens, task, score, chance, domain[, ci])``: records, columns or an Arrow table.
        interpolate: Allow tasks measured at different tokens, by straight lines.
        smooth: ``"mean"`` over a checkpoint and its neighbours, ``"isotonic"`` (which hides what regressed) or
            ``"none"``.
        threshold: Normalised score that counts as above chance.

    Returns:
        The report.

    Raises:
        ValueError: An unknown ``smooth``.
        DataError: A table that cannot be used, or fewer than five checkpoints; names row or run.

    Example:
        >>> rows = [
        ...     {"run": "a", "step": k, "tokens": k, "task": t, "score": y, "chance": 0.5, "domain": "d"}
        ...     for t, f in (("up", lambda k: 0.5 + 0.04 * k), ("flat", lambda k: 0.5))
        ...     for k, y in ((k, f(k)) for k in range(1, 11))
        ... ]
        >>> print(health_report(rows))
        run  task  score  left chance at  best    rise    verdict
        a    up    0.900  1               +0.760  +0.120  still rising
        a    flat  0.500  -               +0.000  +0.000  at chance
        2 tasks: 1 still rising, 1 at chance.

    Use with:
        ``read_checkpoints(run_folder)``; ``tutelage forecast checkpoints RUN``.

    Helps / does not help:
        A score on few items is so uncertain that little can be called rising or regressed; ``ci`` tells. Saturated
        means flat at this rate and data, not that more data or a larger model would not help.

    Relations:
        :func:`tutelage.forecast.checkpoints.dynamics` compares curves with each other.

    Source:
        Ours; tasks that saturate or fall while the loss improves are described in The Fine Line, 2024, arXiv
        2404.01204.
    """
    read = read_table(table)
    found = []
    for run, series in read.series.items():
        curves = curves_of(read, run, interpolate=interpolate)
        z = smoothed(curves.z, smooth)
        for place, task in enumerate(curves.tasks):
            unit = uncertainty(curves.z[:, place], curves.ci[:, place])
            start, rise = onset(z[:, place], threshold), _rise(curves.tokens, z[:, place])
            best, last = float(z[:, place].max()), float(z[-1, place])
            verdict: Verdict = "saturated"
            if start is None:
                verdict = "at chance"
            elif best - last > 2 * unit:
                verdict = "regressed"
            elif rise > unit:
                verdict = "still rising"
            found.append(
                TaskHealth(
                    run=run,
                    task=task,
                    domain=read.domains[task],
                    verdict=verdict,
                    score=float(series[task].scores[-1]),
                    normalised=last,
                    best=best,
                    onset_tokens=None if start is None else float(curves.tokens[start]),
                    rise=rise,
                    ci=unit,
                )
            )
    return HealthReport(tuple(found))


def uncertainty(z: Floats, ci: Floats) -> float:
    """Return half the 95 % interval of one score, as measured or, where it was not, from how the curve jitters."""
    known = ci[~np.isnan(ci)]
    if len(known):
        return max(_LEAST, float(np.median(known)))
    # The second difference of independent errors has six times their variance, and a smooth curve hardly any.
    jitter = 1.4826 * float(np.median(np.abs(np.diff(z, 2)))) / math.sqrt(6)
    return max(_LEAST, 1.96 * jitter)


def _rise(tokens: Floats, z: Floats) -> float:
    last = max(3, len(z) // 3)
    x, y = tokens[-last:] - tokens[-last:].mean(), z[-last:]
    return float(x @ y / (x @ x) * (x[-1] - x[0]))
