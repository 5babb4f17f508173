"""AlgoPerf scoring, slow and obvious: dictionaries, loops and the definitions, one at a time. No arrays."""

import itertools
import math
from statistics import median


def time_to_target(curve, target, lower_is_better):
    """First time in a list of ``(time, value)`` whose value is at or past the target; infinity without one."""
    for time, value in curve:
        if math.isnan(value):
            continue
        if (lower_is_better and value <= target) or (not lower_is_better and value >= target):
            return time
    return math.inf


def workload_time(studies):
    """Median over studies of the least time over trials."""
    return median([min(trials) for trials in studies])


def workload_time_by_evaluation(studies):
    """The same for trials ``(evaluations, time)``: fewest evaluations first, then least time."""
    best = []
    for trials in studies:
        finished = [trial for trial in trials if trial[1] < math.inf]
        best.append(sorted(finished)[0][1] if finished else math.inf)
    return median(best)


def fastest(times, workload):
    return min(times[submission][workload] for submission in times)


def count_variants(times, base_of, factor):
    """Times on base workloads after variants; ``base_of`` names the base of each variant."""
    times = {submission: dict(row) for submission, row in times.items()}
    for variant, base in base_of.items():
        for row in times.values():
            if row[base] == math.inf:
                row[variant] = math.inf
    for workload in next(iter(times.values())):
        limit = factor * fastest(times, workload)
        for row in times.values():
            if row[workload] > limit:
                row[workload] = math.inf
    for variant, base in base_of.items():
        for row in times.values():
            if row[variant] == math.inf:
                row[base] = math.inf
    return {submission: {w: t for w, t in row.items() if w not in base_of} for submission, row in times.items()}


def profile(times, submission, tau):
    """Share of workloads on which the submission is within a factor ``tau`` of the fastest."""
    row = times[submission]
    hits = [w for w in row if row[w] < math.inf and row[w] / fastest(times, w) <= tau]
    return len(hits) / len(row)


def score_by_grid(times, submission, r_max, points):
    """Trapezoid rule over equally spaced factors, divided by the length of the axis."""
    step = (r_max - 1) / (points - 1)
    heights = [profile(times, submission, 1 + step * k) for k in range(points)]
    area = sum(step * (left + right) / 2 for left, right in itertools.pairwise(heights))
    return area / (r_max - 1)


def score_by_jumps(times, submission, r_max):
    """The integral of a step function: between two jumps the profile is constant."""
    row = times[submission]
    ratios = [row[w] / fastest(times, w) for w in row if row[w] < math.inf]
    edges = sorted({1.0, r_max, *(ratio for ratio in ratios if ratio < r_max)})
    area = sum(
        (right - left) * sum(ratio <= left for ratio in ratios) / len(row) for left, right in itertools.pairwise(edges)
    )
    return area / (r_max - 1)


def speedup(row, reference, max_runtime):
    """Geometric mean of the reference's time over the submission's; a miss costs the longest time and one more."""
    product = 1.0
    for workload, limit in max_runtime.items():
        mine = row[workload] if row[workload] < math.inf else limit + 1
        theirs = reference[workload] if reference[workload] < math.inf else limit + 1
        product *= theirs / mine
    return product ** (1 / len(max_runtime))
