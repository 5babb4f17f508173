"""Which training algorithm is faster? The AlgoPerf protocol on plain arrays.

A training algorithm is scored by how long it takes to reach a fixed validation target on each of several workloads,
tuning included. *Trial* and *study* are the benchmark's words here: a trial is one run, a study is the set of runs of
which the best counts, and a workload's time is the median over studies. Targets and rules are in
:mod:`tutelage.evaluation.algoperf_targets`, scores by name in :mod:`tutelage.evaluation.algoperf_scores`, and the
benchmark's own logs are read by :mod:`tutelage.evaluation.algoperf_logs`.

Source: Dahl et al., Benchmarking Neural Network Training Algorithms, 2023, arXiv 2306.07179; the sections named below
are those of the benchmark's documentation (mlcommons/algorithmic-efficiency, docs/DOCUMENTATION.md), whose formulas
carry no numbers. Profiles: Dolan and Moré, 2002, arXiv cs/0102001, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "count_variants",
    "first_reached",
    "geometric_speedup",
    "performance_profile",
    "performance_ratios",
    "profile_score",
    "time_to_target",
    "workload_time",
]

Floats = NDArray[np.float64]
Scale = Literal["linear", "log"]


def first_reached(values: ArrayLike, target: float, *, lower_is_better: bool) -> int | None:
    """Return the index of the first evaluation at or past the target, or ``None``; NaN never counts as reached.

    Args:
        values: Metric at each evaluation, in order, shape ``(evaluations,)``.
        target: Value to reach, finite.
        lower_is_better: Whether "past" means below.

    Raises:
        ValueError: ``values`` is not a list of numbers, or the target is not finite.
    """
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1:
        raise ValueError(f"first_reached: values must have shape (evaluations,), got {series.shape}.")
    if not np.isfinite(target):
        raise ValueError(f"first_reached: target must be a finite number, got {target}.")
    hits = np.flatnonzero(series <= target if lower_is_better else series >= target)
    return int(hits[0]) if len(hits) else None


def time_to_target(
    times: ArrayLike,
    values: ArrayLike,
    target: float,
    *,
    lower_is_better: bool,
    longest: float = float("inf"),
) -> float:
    """Return the time of the first evaluation at or past the target, infinity where there is none.

    Nothing is interpolated: a target counts when an evaluation shows it, so compare runs evaluated equally often.

    **Formula**: ``t_ij = min {time_k : value_k <= target}`` (``>=`` where higher is better), with
    ``t_ij = inf`` where the set is empty or the minimum is above ``longest``.

    Args:
        times: Time spent training at each evaluation, evaluation itself not counted, in any one unit (seconds, steps,
            tokens); shape ``(evaluations,)``, >= 0 and not falling.
        values: Validation metric at each evaluation, same shape; NaN is a miss.
        target: Value to reach.
        lower_is_better: Direction of the metric.
        longest: Time after which reaching the target no longer counts (``TuningRules.longest``).

    Raises:
        ValueError: Shapes that differ, times that are negative, NaN or falling, or a target that is not finite.

    Example:
        >>> time_to_target([10, 20, 30, 40], [0.9, float("nan"), 0.5, 0.4], 0.5, lower_is_better=True)
        30.0

    Source:
        Documentation, "Scoring" and "External Tuning Ruleset" (``t_ij``).
    """
    clock, series = np.asarray(times, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if clock.shape != series.shape or clock.ndim != 1:
        raise ValueError(f"time_to_target: times {clock.shape} and values {series.shape} must be lists of one length.")
    if not (np.all(np.isfinite(clock)) and np.all(clock >= 0) and np.all(np.diff(clock) >= 0)):
        raise ValueError("time_to_target: times must be finite, >= 0 and in order; sort the evaluations by time.")
    at = first_reached(series, target, lower_is_better=lower_is_better)
    return float(clock[at]) if at is not None and clock[at] <= longest else float("inf")


def workload_time(times: ArrayLike, evaluations: ArrayLike | None = None) -> float:
    """Return a submission's time on one workload: the best trial of each study, then the median over studies.

    **Formula**: ``t_sw = median_j min_i t_ij``; a study in which no trial reached the target counts as infinity and
    takes part in the median. Without tuning (``trials = 1``) this is the median over studies.

    Args:
        times: Time to target, shape ``(studies, trials)``; infinity for a miss and for a trial that is absent.
        evaluations: How many evaluations each trial needed, same shape. Given, the best trial is the one that needed
            fewest, the faster one on a tie: so the reference code chooses, whose published scores this reproduces.
            Left out, it is the fastest, as the rules say. The two differ where evaluations are not equally spaced.

    Raises:
        ValueError: No studies or trials, shapes that differ, or times that are negative or NaN.

    Example:
        >>> miss = float("inf")
        >>> workload_time([[10, miss, 30, 25, 40], [miss] * 5, [12, 50, 11, miss, 13]])
        11.0

    Source:
        Documentation, "External Tuning Ruleset" and "Self-Tuning Ruleset"; ``get_best_trial_index`` in
        scoring/performance_profile.py.
    """
    table = _checked("workload_time", times, "(studies, trials)", least=0.0)
    if evaluations is None:
        best = table.min(axis=1)
    else:
        counts = np.asarray(evaluations, dtype=np.float64)
        if counts.shape != table.shape:
            raise ValueError(f"workload_time: evaluations {counts.shape} must have the shape of times {table.shape}.")
        counts = np.where(np.isfinite(table), counts, np.inf)
        fewest = counts == counts.min(axis=1, keepdims=True)
        best = np.where(fewest, table, np.inf).min(axis=1)
    return float(np.median(best))


def count_variants(times: ArrayLike, base_of: Sequence[int | None], *, factor: float = 4.0) -> Floats:
    """Return the times on the base workloads after held-out variants of them had their say.

    A variant is the same task with one detail changed, drawn after submissions were closed. It has no score of its
    own: a submission that misses it loses the base workload too. In order: a variant whose base was missed is a miss;
    any time above ``factor`` times the column's best is a miss; a base with a missed variant is a miss.

    Args:
        times: Shape ``(submissions, workloads)``, infinity for a miss.
        base_of: For each workload the column of its base, or ``None`` for a base workload.
        factor: Slower than this many times the best disqualifies, >= 1.

    Returns:
        Shape ``(submissions, base workloads)``, the base columns in their order.

    Raises:
        ValueError: NaN, negative or zero times, or ``base_of`` that does not fit.

    Example:
        >>> count_variants([[10, 30], [12, float("inf")], [15, 100]], [None, 0])[:, 0].tolist()
        [10.0, inf, 15.0]
        >>> count_variants([[10, 20], [15, 100]], [None, 0])[:, 0].tolist()
        [10.0, inf]

    Source:
        ``compute_performance_profiles`` in scoring/performance_profile.py; rules of round 0.5. Later rounds have no
        variants, for which the second step alone remains.
    """
    table = _checked("count_variants", times, "(submissions, workloads)").copy()
    if not factor >= 1:
        raise ValueError(f"count_variants: factor must be >= 1, got {factor}.")
    bases = [column for column, base in enumerate(base_of) if base is None]
    if len(base_of) != table.shape[1] or any(base is not None and base not in bases for base in base_of):
        raise ValueError(
            f"count_variants: base_of must name, for each of the {table.shape[1]} workloads, the column of a base "
            f"workload or None, got {list(base_of)}."
        )
    pairs = [(variant, base) for variant, base in enumerate(base_of) if base is not None]
    for variant, base in pairs:
        table[np.isinf(table[:, base]), variant] = np.inf
    table[table > factor * table.min(axis=0)] = np.inf
    for variant, base in pairs:
        table[np.isinf(table[:, variant]), base] = np.inf
    return table[:, bases]


def performance_ratios(times: ArrayLike) -> Floats:
    """Return each time over the best submission's: ``r_sw = t_sw / min_s t_sw``; infinity where nobody got there.

    Args:
        times: Shape ``(submissions, workloads)``, > 0, infinity for a miss.

    Raises:
        ValueError: Fewer than two submissions (ratios are relative), no workload, or times that are NaN or <= 0.
    """
    table = _checked("performance_ratios", times, "(submissions, workloads)")
    if len(table) < 2:
        raise ValueError("performance_ratios: give at least 2 submissions; every number is relative to the best one.")
    best = table.min(axis=0)
    return np.where(np.isinf(table), np.inf, table / np.where(np.isinf(best), 1.0, best))


def performance_profile(times: ArrayLike, taus: ArrayLike) -> Floats:
    """Return the share of workloads on which each submission is within a factor ``tau`` of the fastest.

    **Formula**: ``rho_s(tau) = (1/n) * #{w : r_sw <= tau}`` with ``r_sw`` from :func:`performance_ratios`.

    Args:
        times: Shape ``(submissions, workloads)``, > 0, infinity for a miss.
        taus: Factors, >= 1, shape ``(points,)``.

    Returns:
        Shape ``(submissions, points)``, in [0, 1], not falling along the last axis.

    Raises:
        ValueError: As :func:`performance_ratios`, and factors below 1 or NaN.

    Example:
        >>> performance_profile([[100, 200], [150, 100]], [1.0, 1.5, 2.0]).tolist()
        [[0.5, 0.5, 1.0], [0.5, 1.0, 1.0]]

    Source:
        Documentation, "Building performance profiles"; Dolan and Moré 2002, section 2.
    """
    factors = np.atleast_1d(np.asarray(taus, dtype=np.float64))
    if factors.ndim != 1 or not np.all(factors >= 1):
        raise ValueError("performance_profile: taus must be a list of factors >= 1.")
    within = performance_ratios(times)[:, :, None] <= factors
    return np.asarray(within.mean(axis=1), dtype=np.float64)


def profile_score(
    times: ArrayLike, *, r_max: float = 4.0, points: int | None = None, scale: Scale = "linear"
) -> Floats:
    """Return the benchmark score of each submission: its profile integrated over ``[1, r_max]``, normalised.

    Scores are relative to the submissions given: adding one changes all, so keep the times, not the scores.

    **Formula**: ``B_s = 1 / (r_max - 1) * integral_1^r_max rho_s(tau) dtau``, which has the closed form
    ``(1/n) * sum_w max(0, (r_max - r_sw) / (r_max - 1))``. Under ``scale="log"`` the axis is ``log tau`` and the form
    ``(1/n) * sum_w max(0, 1 - log r_sw / log r_max)``.

    Args:
        times: Shape ``(submissions, workloads)``, > 0, infinity for a miss.
        r_max: Slower than this many times the best earns nothing, > 1; 4 in the benchmark.
        points: Left out, the closed form. Given, the trapezoid rule over that many equally spaced factors; the
            reference takes 100. It differs from the closed form by at most ``1 / (2 (points - 1))``.
        scale: ``"linear"`` as all published scores; ``"log"`` is offered by the reference code too.

    Returns:
        Shape ``(submissions,)``, in [0, 1]; 1 for the fastest everywhere.

    Raises:
        ValueError: As :func:`performance_ratios`, ``r_max`` not above 1, fewer than 2 points, an unknown scale.

    Example:
        >>> miss = float("inf")
        >>> times = [[100, 200, 50, miss], [150, 100, 60, 400], [500, 100, miss, 800]]
        >>> profile_score(times).round(7).tolist()
        [0.6666667, 0.9416667, 0.4166667]
        >>> profile_score(times, points=100).round(7).tolist()
        [0.6679293, 0.9419192, 0.4179293]

    Source:
        Documentation, "Integrating performance profiles for the benchmark score" (linear axis);
        ``compute_leaderboard_score`` in scoring/performance_profile.py.
    """
    if not (np.isfinite(r_max) and r_max > 1):
        raise ValueError(f"profile_score: r_max must be a finite number > 1, got {r_max}.")
    if scale not in ("linear", "log"):
        raise ValueError(f'profile_score: scale must be "linear" or "log", got {scale!r}.')
    if points is None:
        ratios = np.minimum(performance_ratios(times), r_max)
        earned = (r_max - ratios) / (r_max - 1) if scale == "linear" else 1 - np.log(ratios) / np.log(r_max)
        return np.asarray(earned.mean(axis=1), dtype=np.float64)
    if points < 2:
        raise ValueError(f"profile_score: points must be >= 2, or left out for the exact integral, got {points}.")
    # Both axes are cut into equal parts, so the normalised trapezoid rule is the same weighted mean for either.
    taus = np.linspace(1.0, r_max, points) if scale == "linear" else np.geomspace(1.0, r_max, points)
    profile = performance_profile(times, taus)
    return np.asarray((profile[:, 1:] + profile[:, :-1]).mean(axis=1) / 2, dtype=np.float64)


def geometric_speedup(times: ArrayLike, reference: ArrayLike, max_runtime: ArrayLike) -> Floats:
    """Return how many times faster than a reference each submission is, as a geometric mean over workloads.

    **Formula**: ``(prod_w t_ref,w / t_sw)^(1/n)``, a miss counting as ``max_runtime_w + 1``. Above 1 is faster.

    Args:
        times: Shape ``(submissions, workloads)``, > 0, infinity for a miss.
        reference: Times of the reference, shape ``(workloads,)``.
        max_runtime: Longest allowed time of each workload, > 0, in the same unit (the 1 is one second there).

    Raises:
        ValueError: Shapes that do not fit, or numbers that are NaN or <= 0.

    Example:
        >>> geometric_speedup([[50, 100], [100, float("inf")]], [100, 100], [400, 399]).round(4).tolist()
        [1.4142, 0.5]

    Source:
        Documentation, "Alternative scores"; scoring/compute_speedups.py, which reports the inverse.
    """
    table = _checked("geometric_speedup", times, "(submissions, workloads)")
    base = _checked("geometric_speedup", np.atleast_2d(np.asarray(reference, dtype=np.float64)), "(1, workloads)")
    limit = np.asarray(max_runtime, dtype=np.float64)
    if base.shape != (1, table.shape[1]) or limit.shape != (table.shape[1],):
        raise ValueError(
            f"geometric_speedup: reference {base.shape[1:]} and max_runtime {limit.shape} must have one number for "
            f"each of the {table.shape[1]} workloads."
        )
    if not np.all(np.isfinite(limit) & (limit > 0)):
        raise ValueError("geometric_speedup: max_runtime must be finite and > 0.")
    finite, finite_base = (np.where(np.isinf(part), limit + 1, part) for part in (table, base))
    return np.asarray(np.exp(np.log(finite_base / finite).mean(axis=1)), dtype=np.float64)


def _checked(where: str, times: ArrayLike, shape: str, *, least: float | None = None) -> Floats:
    """Return times as a table; they must exceed 0, or be at least ``least`` where that is given."""
    table = np.asarray(times, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"{where}: times must have shape {shape} with no empty side, got {table.shape}.")
    if np.isnan(table).any():
        raise ValueError(f"{where}: times hold NaN; write a target that was not reached as infinity.")
    if not np.all(table > 0 if least is None else table >= least):
        raise ValueError(f"{where}: times must be {'> 0' if least is None else f'>= {least:g}'}, got {table.min():g}.")
    return table
