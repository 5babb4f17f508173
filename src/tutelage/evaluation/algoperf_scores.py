"""Submissions by name: their times to target, AlgoPerf scores and ranks, as values, JSON and text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from tutelage.evaluation.algoperf import count_variants, performance_profile, performance_ratios, profile_score

__all__ = ["Axis", "ScoreTable", "SubmissionScore", "TimeTable", "score_times"]

Axis = Literal["seconds", "steps", "tokens", "flops"]

# The reference integrates over this many factors; published scores carry its rounding.
REFERENCE_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class TimeTable:
    """Time to target of each submission on each workload: keep this, as scores change with every submission added.

    Args:
        submissions: Names, one a row.
        workloads: Names, one a column.
        times: Rows of times, > 0; infinity for a miss.
        axis: What is counted: ``"seconds"``, ``"steps"``, ``"tokens"`` or ``"flops"``.

    Raises:
        ValueError: Names given twice, rows that do not fit, times that are NaN or <= 0, or an unknown axis.

    Example:
        >>> mine = TimeTable.from_rows({"uba": {"digits": 120, "text": 300}}, axis="steps")
        >>> theirs = TimeTable.from_rows({"cosine": {"digits": 100, "text": float("inf")}}, axis="steps")
        >>> [(row.submission, round(row.exact_score, 4)) for row in score_times(mine.join(theirs)).rows]
        [('uba', 0.9667), ('cosine', 0.5)]
    """

    submissions: tuple[str, ...]
    workloads: tuple[str, ...]
    times: tuple[tuple[float, ...], ...]
    axis: Axis

    def __post_init__(self) -> None:
        """Check that names and times fit."""
        if self.axis not in get_args(Axis):
            raise ValueError(f"TimeTable: axis must be one of {', '.join(get_args(Axis))}, got {self.axis!r}.")
        for kind, names in (("submission", self.submissions), ("workload", self.workloads)):
            twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
            if twice:
                raise ValueError(f"TimeTable: {kind} {twice[0]} is given twice; names must differ.")
        if len(self.times) != len(self.submissions) or any(len(row) != len(self.workloads) for row in self.times):
            raise ValueError(
                f"TimeTable: {len(self.submissions)} submissions and {len(self.workloads)} workloads need as many "
                "rows and columns of times; write a missed target as infinity."
            )
        for name, row in zip(self.submissions, self.times, strict=True):
            for workload, time in zip(self.workloads, row, strict=True):
                if not time > 0:
                    raise ValueError(
                        f"TimeTable: {name} on {workload} has time {time}; times must be > 0, infinity for a miss."
                    )

    @classmethod
    def from_rows(cls, rows: Mapping[str, Mapping[str, float]], *, axis: Axis) -> TimeTable:
        """Return the table of ``{submission: {workload: time}}``; every submission needs every workload.

        Raises:
            ValueError: As the class; a missing time is named, it must be given as infinity if it is a miss.
        """
        workloads = tuple(dict.fromkeys(name for row in rows.values() for name in row))
        for name, row in rows.items():
            for workload in workloads:
                if workload not in row:
                    raise ValueError(f"TimeTable: {name} has no time on {workload}; give infinity if it was missed.")
        times = tuple(tuple(float(row[workload]) for workload in workloads) for row in rows.values())
        return cls(submissions=tuple(rows), workloads=workloads, times=times, axis=axis)

    def rows(self) -> dict[str, dict[str, float]]:
        """Return ``{submission: {workload: time}}``."""
        return {
            name: dict(zip(self.workloads, row, strict=True))
            for name, row in zip(self.submissions, self.times, strict=True)
        }

    def join(self, other: TimeTable) -> TimeTable:
        """Return the submissions of both tables in one, for scores that can be compared.

        Raises:
            ValueError: Tables that count different things, a submission in both, or workloads that differ.
        """
        if self.axis != other.axis:
            raise ValueError(f"TimeTable: cannot join times in {self.axis} with times in {other.axis}.")
        both = [name for name in self.submissions if name in other.submissions]
        if both:
            raise ValueError(f"TimeTable: both tables have submission {both[0]}; rename one.")
        return TimeTable.from_rows(self.rows() | other.rows(), axis=self.axis)


@dataclass(frozen=True, kw_only=True)
class SubmissionScore:
    """How one submission did.

    Attributes:
        submission: Its name.
        rank: 1 for the best; equal scores share a rank.
        score: By the reference's 100-point grid, as leaderboards print it.
        exact_score: The integral itself.
        reached: On how many base workloads it earned something.
        times: Measured time to target on every workload and variant, infinity for a miss.
        ratios: On each base workload, its time over that of the fastest that qualified; infinity where it missed,
            was too slow, or missed the variant.
        profile: Share of workloads within each of the table's factors of the best.
    """

    submission: str
    rank: int
    score: float
    exact_score: float
    reached: int
    times: dict[str, float]
    ratios: dict[str, float]
    profile: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Scores of submissions relative to each other, with all that they were computed from.

    Attributes:
        rows: Submissions from best to worst.
        workloads: Base workloads, over which the score is the mean.
        variants: Held-out variants and the base workload of each.
        axis: What time counts.
        r_max: Slower than this many times the best earns nothing.
        factors: Factors at which profiles are given, 1 to ``r_max``.
        benchmark: Round of the benchmark, empty for one's own workloads.
        ruleset: ``"external"``, ``"self"``, or empty.
        notes: What a reader must know, such as runs that are absent.
    """

    rows: tuple[SubmissionScore, ...]
    workloads: tuple[str, ...]
    variants: dict[str, str]
    axis: Axis
    r_max: float
    factors: tuple[float, ...]
    benchmark: str = ""
    ruleset: str = ""
    notes: tuple[str, ...] = ()

    def times(self) -> TimeTable:
        """Return the measured times, to be joined with others and scored again."""
        return TimeTable.from_rows({row.submission: row.times for row in self.rows}, axis=self.axis)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``--json``; infinity (a miss) becomes ``None``."""
        plain: dict[str, Any] = _plain({"format": 1, **asdict(self)})
        return plain

    def to_text(self) -> str:
        """Return the ranking, each workload's ratios to the fastest, and the notes, as lines of text."""
        heading = f"AlgoPerf {self.benchmark}, {self.ruleset} tuning" if self.benchmark else "AlgoPerf score"
        heading += f": time in {self.axis}, {len(self.workloads)} workloads"
        heading += f" and {len(self.variants)} held-out variants" if self.variants else ""
        width = max(len("submission"), *(len(row.submission) for row in self.rows))
        keys = [f"w{number}" for number in range(1, len(self.workloads) + 1)]
        lines = [heading, ""]
        lines.append(f"rank  {'submission':{width}}   score   exact  reached  " + "".join(f"{key:>6}" for key in keys))
        for row in self.rows:
            ratios = "".join(f"{_ratio(row.ratios[name]):>6}" for name in self.workloads)
            share = f"{row.reached}/{len(self.workloads)}"
            lines.append(
                f"{row.rank:>4}  {row.submission:{width}}  {row.score:.4f}  {row.exact_score:.4f}  {share:>7}  {ratios}"
            )
        lines += ["", f"w: time over the fastest's; -: missed, above {self.r_max:g}, or its variant missed. Fastest:"]
        for key, name in zip(keys, self.workloads, strict=True):
            best = [row for row in self.rows if row.ratios[name] == 1]
            first = f"{best[0].submission}, {best[0].times[name]:.6g} {self.axis}" if best else "nobody reached it"
            lines.append(f"  {key:4} {name}: {first}")
        lines += ["", *self.notes] if self.notes else []
        return "\n".join(lines)


def score_times(
    table: TimeTable,
    *,
    variants: Mapping[str, str] | None = None,
    r_max: float = 4.0,
    benchmark: str = "",
    ruleset: str = "",
    notes: Sequence[str] = (),
) -> ScoreTable:
    """Return scores and ranks of the submissions in a table of times.

    Args:
        table: Times to target; at least two submissions.
        variants: Held-out workload to the base workload it can cost; ``count_variants`` says how.
        r_max: Slower than this many times the best earns nothing and disqualifies on a variant, > 1.
        benchmark: Round, for the record.
        ruleset: Ruleset, for the record.
        notes: Remarks to carry along.

    Raises:
        ValueError: Fewer than two submissions, ``r_max`` not above 1, or a variant that the table does not hold.

    Example:
        >>> table = TimeTable.from_rows({"a": {"w": 10, "w_gelu": 30}, "b": {"w": 8, "w_gelu": 200}}, axis="steps")
        >>> [(row.submission, row.score) for row in score_times(table, variants={"w_gelu": "w"}).rows]
        [('a', 1.0), ('b', 0.0)]

    Source:
        As :func:`tutelage.evaluation.algoperf.profile_score`.
    """
    if not (math.isfinite(r_max) and r_max > 1):
        raise ValueError(f"score_times: r_max must be a finite number > 1, got {r_max}.")
    known = dict(variants or {})
    for name, base in known.items():
        if name not in table.workloads or base not in table.workloads or base in known:
            raise ValueError(
                f"score_times: variant {name} of {base}: both must be workloads of the table and {base} no variant. "
                f"Workloads: {', '.join(table.workloads)}."
            )
    base_of = [table.workloads.index(known[name]) if name in known else None for name in table.workloads]
    workloads = tuple(name for name in table.workloads if name not in known)
    counted = count_variants(table.times, base_of, factor=r_max)
    exact, ratios = profile_score(counted, r_max=r_max), performance_ratios(counted)
    score = profile_score(counted, r_max=r_max, points=REFERENCE_POINTS)
    factors = np.linspace(1.0, r_max, REFERENCE_POINTS)
    profile = performance_profile(counted, factors)
    measured = table.rows()
    rows = [
        SubmissionScore(
            submission=name,
            rank=1 + int((score > score[index]).sum()),
            score=float(score[index]),
            exact_score=float(exact[index]),
            reached=int((ratios[index] <= r_max).sum()),
            times=measured[name],
            ratios=dict(zip(workloads, ratios[index].tolist(), strict=True)),
            profile=tuple(profile[index].tolist()),
        )
        for index, name in enumerate(table.submissions)
    ]
    return ScoreTable(
        rows=tuple(sorted(rows, key=lambda row: (row.rank, row.submission))),
        workloads=workloads,
        variants=known,
        axis=table.axis,
        r_max=r_max,
        factors=tuple(factors.tolist()),
        benchmark=benchmark,
        ruleset=ruleset,
        notes=tuple(notes),
    )


def _ratio(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _plain(value: Any) -> Any:
    """Return the value with tuples as lists and numbers that are not finite as ``None``."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
