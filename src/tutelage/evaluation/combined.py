"""One answer from several workloads: the average relative difference and an interval that says what it is about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from tutelage.evaluation._checks import check_options, values_of
from tutelage.evaluation._errors_of_averages import half_width, p_value, separate
from tutelage.evaluation._resamples import Floats
from tutelage.evaluation.power import detectable_effect
from tutelage.evaluation.significance import paired_difference, sign_flip_p_value

__all__ = ["CombinedDifference", "combine_workloads"]

Over = Literal["fixed", "random"]
Seeds = Literal["shared", "independent"]


@dataclass(frozen=True, kw_only=True)
class CombinedDifference:
    """The average of several workloads' differences and how well it is known.

    Attributes:
        estimate: Average over workloads, each of the same weight.
        low: Lower end of the interval, or ``None`` where there is none to give.
        high: Upper end, likewise.
        error: Standard error of the estimate, or ``None``.
        freedom: Degrees of freedom of that error; ``None`` where it has two sources, or there is none.
        by_workload: What each workload says.
        per_seed: What each common seed says, averaged over workloads; empty where seeds are not shared.
        n: Seeds that count; where they are not shared, all values together.
        over: What the interval is about, as asked.
        seeds: Whether seeds were taken as shared, as asked.
        confidence: Wished coverage.
        p_value: Two-sided, of no difference; below ``1 - confidence`` exactly where the interval leaves zero out.
        detectable: Smallest true average that such data show with 80 % power; ``None`` for ``over="random"``.
        note: Why there is no interval, or what to know about it.
    """

    estimate: float
    low: float | None
    high: float | None
    error: float | None
    freedom: float | None
    by_workload: Mapping[str, float]
    per_seed: Mapping[int, float]
    n: int
    over: Over
    seeds: Seeds
    confidence: float
    p_value: float | None
    detectable: float | None
    note: str = ""

    def detectable_at(self, confidence: float, power: float = 0.8) -> float | None:
        """Return ``detectable`` at another confidence or power.

        Raises:
            ValueError: Confidence or power out of range.
        """
        return None if self.over == "random" else _detectable(self.error, self.freedom, confidence, power)


def combine_workloads(
    differences: Mapping[tuple[str, str], Mapping[int, float]],
    *,
    over: Over = "fixed",
    seeds: Seeds = "shared",
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> CombinedDifference:
    """Average an arm's differences over workloads and budgets, with an honest interval.

    Budgets of a workload are averaged first, so that each workload counts once, whatever it was measured under.

    **Formula**: with ``y[w, s]`` the difference on workload w (of W) and seed s (of n), averaged over budgets, the
    estimate is ``mean(y)``. Its interval:

    - ``over="fixed"``, ``seeds="shared"`` (default): :func:`tutelage.evaluation.paired_difference` of the n averages
      ``mean_w y[w, s]``. About *these* workloads on other seeds. What a seed does to several workloads or budgets at
      once is inside it, so nothing is assumed about that.
    - ``over="fixed"``, ``seeds="independent"``: Student's t with ``V = sum_w sd_w^2 / n_w / W^2`` and Welch's
      degrees of freedom. Narrower for few seeds; for items, or for workloads trained on seeds of their own.
    - ``over="random"``, ``seeds="independent"``: about *workloads like these*, of which they are a random sample:
      Student's t over the W means ``mean_s y[w, s]``, which is the random-effects interval of Hartung and Knapp at
      equal weights.
    - ``over="random"``, ``seeds="shared"``: its half width and Student's over seeds, added in quadrature. The noise of
      single runs is in both, so the interval errs on the wide side; leaving out either would forget what a seed does
      to all workloads, or a workload under all seeds.

    A ``"random"`` interval is never narrower than the ``"fixed"`` one (the modification of Röver et al.).

    Args:
        differences: By workload and budget, then by seed (or item); finite, on one scale such as
            :func:`tutelage.evaluation.relative_gains`.
        over: What the interval is about.
        seeds: Whether the same seed of two workloads is the same luck. Budgets of one workload always share it.
        confidence: Wished coverage, in (0, 1).
        resamples: Of :func:`tutelage.evaluation.paired_difference`.
        seed: Likewise.

    Returns:
        A :class:`CombinedDifference`. Only seeds that all cells have count where they are shared; one seed gives no
        ``"fixed"`` interval, one workload no ``"random"`` one, and the note says so.

    Raises:
        ValueError: Nothing to combine, a value not finite, cells without a common seed, an option out of range.

    Example:
        >>> cells = {("lm", "1k"): {0: 0.02, 1: 0.03, 2: 0.01}, ("digits", "1k"): {0: 0.04, 1: 0.06, 2: 0.05}}
        >>> found = combine_workloads(cells)
        >>> round(found.estimate, 3), round(found.low, 3), round(found.high, 3)
        (0.035, 0.013, 0.057)
        >>> found = combine_workloads(cells, over="random")
        >>> round(found.low, 2), round(found.high, 2)
        (-0.16, 0.23)

    Use with:
        Any per-seed results; ``tutelage compare`` calls it where a comparison has several workloads or budgets.

    Helps / does not help:
        ``"fixed"`` is the default because workloads are chosen by hand, few, and what one wants to know about; no
        interval can speak for workloads that nobody sampled. Two or three say little about others: ``"random"`` is
        then very wide, which is the truth. Coverage of all four, and of the bootstrap over both levels, which is too
        narrow for few workloads, is measured by ``benchmarks/interval_coverage.py``.

    Relations:
        Aggregates over fixed tasks as in Agarwal et al., but by Student's t, whose coverage does not collapse at 3
        seeds. The mean over ``by_workload`` is that of a meta-analysis at equal weights: weights from the spread of a
        few seeds would themselves be noise.

    Source:
        Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, 2021, arXiv 2108.13264
        (tasks fixed, runs resampled). Clark, The language-as-fixed-effect fallacy, 1973 (why it must be named).
        Hartung, Knapp, A refined method for the meta-analysis of controlled clinical trials with binary outcome,
        Statistics in Medicine 20, 2001; IntHout, Ioannidis, Borm, BMC Medical Research Methodology 14:25, 2014; Röver,
        Knapp, Friede, BMC Medical Research Methodology 15:99, 2015.
        Howe, Approximate confidence limits on the mean of X + Y, JASA 69, 1974 (half widths in quadrature). Welch,
        The generalization of Student's problem, Biometrika 34, 1947.
    """
    check_options("combine_workloads", confidence, "t", resamples)
    if over not in get_args(Over):
        raise ValueError(f'combine_workloads: over must be "fixed" or "random", got "{over}".')
    if seeds not in get_args(Seeds):
        raise ValueError(f'combine_workloads: seeds must be "shared" or "independent", got "{seeds}".')
    if not differences:
        raise ValueError("combine_workloads: there is nothing to combine; give at least one workload.")
    for (workload, budget), values in differences.items():
        values_of("combine_workloads", f"differences[{workload}, {budget}]", list(values.values()))
    rows = _by_workload(differences, shared=seeds == "shared")
    means = np.array([np.mean(list(row.values())) for row in rows.values()])
    per_seed: dict[int, float] = {}
    if seeds == "shared":
        per_seed = {place: float(np.mean([row[place] for row in rows.values()])) for place in next(iter(rows.values()))}
    ends = _fixed(rows, per_seed, confidence, resamples, seed)
    if over == "random":
        ends = _hull(_random(rows, means, per_seed, confidence), ends)
    return CombinedDifference(
        estimate=float(means.mean()),
        by_workload=dict(zip(rows, map(float, means), strict=True)),
        per_seed=per_seed,
        n=len(per_seed) or sum(map(len, rows.values())),
        over=over,
        seeds=seeds,
        confidence=confidence,
        **ends._asdict(),
    )


class _Ends(NamedTuple):
    low: float | None
    high: float | None
    error: float | None
    freedom: float | None
    p_value: float | None
    detectable: float | None
    note: str


_NONE = _Ends(None, None, None, None, None, None, "")


def _by_workload(
    differences: Mapping[tuple[str, str], Mapping[int, float]], *, shared: bool
) -> dict[str, dict[int, float]]:
    """Return each workload's differences, averaged over its budgets, on the seeds that all cells in question have."""
    cells: dict[str, list[Mapping[int, float]]] = {}
    for (workload, _), values in differences.items():
        cells.setdefault(workload, []).append(values)
    everywhere = set.intersection(*(set(values) for values in differences.values()))
    rows: dict[str, dict[int, float]] = {}
    for workload, budgets in cells.items():
        common = everywhere if shared else set.intersection(*map(set, budgets))
        if not common:
            where = "the workloads" if shared else f"the budgets of {workload}"
            remedy = 'combine with seeds="independent"' if shared else "leave one of them out"
            raise ValueError(f"combine_workloads: {where} have no seed in common; {remedy}.")
        rows[workload] = {place: float(np.mean([budget[place] for budget in budgets])) for place in sorted(common)}
    return rows


def _fixed(
    rows: Mapping[str, Mapping[int, float]], per_seed: Mapping[int, float], confidence: float, resamples: int, seed: int
) -> _Ends:
    if per_seed:
        found = paired_difference(
            list(per_seed.values()), np.zeros(len(per_seed)), confidence=confidence, resamples=resamples, seed=seed
        )
        n, sd = found.n, found.sd
        error, freedom = (None, None) if sd is None else (sd / math.sqrt(n), n - 1.0)
        return _Ends(found.low, found.high, error, freedom, found.p_value, found.detectable, found.note)
    single = [name for name, row in rows.items() if len(row) == 1]
    if single:
        return _NONE._replace(note=f"one value on {single[0]} shows no noise; use at least 3 there")
    lists = [np.array(list(row.values())) for row in rows.values()]
    total, degrees = separate([x.var(ddof=1) / len(x) for x in lists], [len(x) - 1 for x in lists])
    ends = _by_student(lists, [(float(total), float(degrees))], confidence)
    return ends._replace(detectable=_detectable(ends.error, ends.freedom, confidence, 0.8))


def _random(
    rows: Mapping[str, Mapping[int, float]], means: Floats, per_seed: Mapping[int, float], confidence: float
) -> _Ends:
    if len(rows) == 1:
        return _NONE._replace(note="one workload says nothing about others; use at least 3 workloads")
    parts = [(float(means.std(ddof=1)) / math.sqrt(len(means)), len(means) - 1.0)]
    if len(per_seed) > 1:
        seeds = np.array(list(per_seed.values()))
        parts.append((float(seeds.std(ddof=1)) / math.sqrt(len(seeds)), len(seeds) - 1.0))
    return _by_student([np.array(list(row.values())) for row in rows.values()], parts, confidence)


def _by_student(lists: Sequence[Floats], parts: Sequence[tuple[float, float]], confidence: float) -> _Ends:
    estimate = float(np.mean([x.mean() for x in lists]))
    error = math.hypot(*(error for error, _ in parts))
    freedom = parts[0][1] if len(parts) == 1 else None
    # Equal differences in exact numbers differ in their last bits once computed.
    if error <= 8 * np.finfo(np.float64).eps * max(float(np.abs(x).max()) for x in lists):
        p = 1.0 if estimate == 0 else sign_flip_p_value(np.full(len(lists), estimate))
        return _Ends(estimate, estimate, 0.0, freedom, p, None, "all differences are equal, so there is no width")
    half = float(half_width(parts, confidence))
    return _Ends(estimate - half, estimate + half, error, freedom, p_value(estimate, parts), None, "")


def _hull(random: _Ends, fixed: _Ends) -> _Ends:
    """Return the random interval, no narrower than the fixed one.

    Workloads whose means lie closer together than their noise allows would promise more about others than about
    themselves.
    """
    if random.low is None or random.high is None or fixed.low is None or fixed.high is None:
        return random
    p = max(random.p_value or 0.0, fixed.p_value or 0.0)
    return random._replace(low=min(random.low, fixed.low), high=max(random.high, fixed.high), p_value=p)


def _detectable(error: float | None, freedom: float | None, confidence: float, power: float) -> float | None:
    if not error or freedom is None:
        return None
    pairs = max(2, math.floor(freedom + 1e-9) + 1)
    return detectable_effect(pairs, error * math.sqrt(pairs), confidence=confidence, power=power)
