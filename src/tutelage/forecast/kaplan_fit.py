"""Estimating Kaplan's constants from runs of small models, step by step or all at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from tutelage.errors import NotReady
from tutelage.forecast._kaplan_joint import Joint, starts
from tutelage.forecast._kaplan_steps import (
    CriticalBatch,
    Points,
    ScalingRun,
    critical_batches,
    critical_law,
    min_steps,
    points_of,
    size_law,
    step_law,
)
from tutelage.forecast._scaling import REFIT_STEPS, exponential
from tutelage.forecast.curve import Floats
from tutelage.forecast.kaplan import KaplanLaw
from tutelage.forecast.scaling import ScalingFit

__all__ = ["ScalingRun", "fit_kaplan"]

Order = Literal["joint", "paper"]

#: Fewest different sizes and batch sizes; a floor needs one size more.
FEWEST = 3
#: A run that still fell by more than this share over the last half of its updates has not converged.
CONVERGED = 0.01
_BINS = 64
#: Refits of the bootstrap; the steps take longer than the joint fit, which starts from its own result.
_RESAMPLES = {"joint": 200, "paper": 50}
_DETERMINED_BY = {
    "alpha_N": "alpha_N",
    "N_c": "alpha_N",
    "alpha_S": "alpha_S",
    "S_c": "alpha_S",
    "alpha_B": "alpha_B",
    "B_star": "alpha_B",
}


def fit_kaplan(
    runs: Sequence[ScalingRun],
    *,
    order: Order = "joint",
    floor: bool = False,
    delta: float = 1e-3,
    skip: float = 0.1,
    tolerance: float = 0.05,
) -> ScalingFit[KaplanLaw]:
    """Estimate all constants of Kaplan's laws from runs of small models.

    **Formula**: see :class:`KaplanLaw`. ``order="paper"`` takes three regressions, each on what the one before found:

    1. ``log L`` on ``log N`` over the lowest loss of every size gives ``alpha_N``, ``N_c``;
    2. for every size with 3 batch sizes or more and several losses, the updates ``S`` and tokens ``E`` that each run
       took give ``S_min`` and ``E_min`` by ``(S/S_min - 1) (E/E_min - 1) = 1``; ``log(E_min / S_min)`` on ``log L``
       gives ``alpha_B``, ``B_star``;
    3. ``log(L - L(N))`` on ``log S_min`` over all points gives ``alpha_S``, ``S_c``.

    ``order="joint"`` minimises ``sum_points Huber(log L_law(N, S, B) - log L)`` over all constants at once, Huber's
    loss being ``r^2 / 2`` up to ``delta`` and ``delta |r| - delta^2 / 2`` beyond, started from those regressions.

    Args:
        runs: Runs of 3 or more sizes, and of 3 or more batch sizes at one size or several, that see no text twice. One
            context length, tokenizer, data set and family of models; a constant or slowly falling rate.
        order: ``"joint"``, or the paper's ``"paper"``, which takes the lowest losses for those of endless runs: right
            only where runs have converged.
        floor: Whether ``E_0`` is free; else it is 0, as in the paper. Needs a fourth size.
        delta: Log residual beyond which Huber's loss is linear, > 0.
        skip: Share of each run's updates, at its start, that is left out beside the warm-up, in [0, 1).
        tolerance: Share by which a loss may rise again, >= 0; more is overfitting, which the law knows nothing of.

    Returns:
        The fit: its ``law``, ``identified`` by constant, ``mape``, ``notes``, ``details`` of the steps, and
        ``extrapolate(N)`` or ``extrapolate(N, S, B)`` with an interval.

    Raises:
        NotReady: Too few sizes or batch sizes; names the constants that they leave open. In the paper's order, also
            where a step finds nothing.
        ValueError: An argument out of range, a run with fewer than 3 points, or a loss that rises again.

    Example:
        >>> true = KaplanLaw(alpha_N=0.08, N_c=1e13, alpha_S=0.7, S_c=2e3, alpha_B=0.2, B_star=2e8)
        >>> steps = np.arange(500, 20_001, 500)
        >>> runs = [
        ...     ScalingRun(N=N, B=B, steps=steps, losses=true.curve(N, B, steps))
        ...     for N in (1e6, 4e6, 1.6e7) for B in (1e4, 1e5, 1e6)
        ... ]
        >>> fit = fit_kaplan(runs)
        >>> [round(getattr(fit.law, name), 3) for name in ("alpha_N", "alpha_S", "alpha_B")]
        [0.08, 0.7, 0.2]
        >>> round(fit.law.min_loss(1e9).item(), 4), round(true.min_loss(1e9).item(), 4)
        (2.0893, 2.0893)

    Use with:
        ``tutelage forecast scaling RUNS`` for run folders and tables; :meth:`KaplanLaw.plan` for what comes next.

    Helps / does not help:
        Sizes a factor of 2 to 4 apart, over a factor of 50 in all, and batches on both sides of the critical one
        determine the constants. What they do not is said; predictions may still be good where constants are not.

    Relations:
        :func:`fit_chinchilla` needs final losses only, and finds no batch.

    Source:
        Unraveling the Mystery of Scaling Laws: Part I, Su et al., 2024, arXiv 2403.06563 (its abstract was read: steps,
        1 to 60 million parameters; the steps as above are given from memory and agree with the appendix of Kaplan et
        al., 2020, arXiv 2001.08361, and with shehper/scaling_laws, which repeats that paper). Huber's loss on
        logarithms: Hoffmann et al., 2022, arXiv 2203.15556, section 3.3. Ours: the joint fit, the floor, the intervals,
        the updates left out at the start.
    """
    _check(order=order, delta=delta, skip=skip, tolerance=tolerance)
    runs = list(runs)
    _check_runs(runs, floor=floor)
    points = points_of(runs, skip=skip, bins=_BINS, tolerance=tolerance)
    levels = critical_batches(points, runs)
    if order == "paper":
        law, notes = _by_steps(points, runs, levels, floor=floor)
        problem = Joint(points, floor=floor)
        minimum = problem.at(problem.values(law), delta)

        def refit(log_losses: Floats) -> KaplanLaw:
            other = Points(points.size, points.batch, points.steps, log_losses, points.run)
            try:
                return _by_steps(other, runs, critical_batches(other, runs), floor=floor)[0]
            except NotReady:
                return law

    else:
        problem, notes = Joint(points, floor=floor), []
        minimum = min((problem.solve(start, delta) for start in starts(problem, levels)), key=lambda m: m.objective)
        law = problem.law(minimum.values)
        if not minimum.converged:
            notes.append("The fit had not settled when it was ended.")

        def refit(log_losses: Floats) -> KaplanLaw:
            again = problem.of_losses(log_losses)
            return again.law(again.solve(minimum.values, delta, REFIT_STEPS).values)

    found = problem.residuals(minimum.values)
    return ScalingFit(
        law=law,
        fitted=found[0] + points.losses,
        residuals=-found[0],
        slopes=found[1],
        groups=points.run,
        determined_by=_DETERMINED_BY | ({"E_0": "E_0"} if floor else {}),
        refit=refit,
        resamples=_RESAMPLES[order],
        notes=(*notes, *_unconverged(points, runs, order)),
        details=_details(points, runs, levels, found[0], order),
    )


def _check(*, order: str, delta: float, skip: float, tolerance: float) -> None:
    if order not in ("joint", "paper"):
        raise ValueError(f'fit_kaplan: order must be "joint" or "paper", got {order!r}.')
    if not 0 < delta < math.inf:
        raise ValueError(f"fit_kaplan: delta must be > 0, got {delta}.")
    if not 0 <= skip < 1:
        raise ValueError(f"fit_kaplan: skip must be in [0, 1), got {skip}.")
    if not tolerance >= 0:
        raise ValueError(f"fit_kaplan: tolerance must be >= 0, got {tolerance}.")


def _check_runs(runs: Sequence[ScalingRun], *, floor: bool) -> None:
    def shown(values: set[float]) -> str:
        return f"got {len(values)}" + (f" ({', '.join(f'{value:g}' for value in sorted(values))})" if values else "")

    sizes = {run.size for run in runs}
    if len(sizes) < FEWEST:
        raise NotReady(f"alpha_N and N_c are not identified: runs must be of 3 or more sizes, {shown(sizes)}.")
    if floor and len(sizes) <= FEWEST:
        raise NotReady(f"E_0 is not identified: with a floor, runs must be of 4 or more sizes, {shown(sizes)}.")
    batches: dict[float, set[float]] = {}
    for run in runs:
        batches.setdefault(run.size, set()).add(run.B)
    most = max(batches.values(), key=len)
    if len(most) < FEWEST:
        raise NotReady(
            f"alpha_B and B_star are not identified: one size must have runs at 3 or more batch sizes, {shown(most)}."
        )


def _by_steps(
    points: Points, runs: Sequence[ScalingRun], levels: Sequence[CriticalBatch], *, floor: bool
) -> tuple[KaplanLaw, list[str]]:
    """Return the law of the paper's three regressions."""
    notes = []
    floor_found, log_n_c, alpha_n = size_law(points, runs, floor=floor)
    critical = critical_law(levels)
    if critical is None:
        raise NotReady(
            "alpha_B and B_star are not identified: at fewer than 2 losses did runs of 3 batch sizes differ as the law "
            'says; try batches further apart, longer runs, or order="joint".'
        )
    if critical[1] == 0:
        notes.append("The critical batch does not grow as the loss falls in these runs; it was held constant.")
    limit = floor_found + np.exp(alpha_n * (log_n_c - points.size))
    steps = step_law(points, limit, min_steps(points, *critical))
    if steps is None:
        raise NotReady(
            "alpha_S and S_c are not identified: too few losses lie above those of endless runs; give earlier points "
            '(skip), longer runs, or order="joint".'
        )
    law = KaplanLaw(
        alpha_N=alpha_n,
        N_c=exponential(log_n_c),
        alpha_S=steps[1],
        S_c=exponential(steps[0]),
        alpha_B=1 / critical[1] if critical[1] > 0 else math.inf,
        B_star=exponential(critical[0]),
        E_0=floor_found,
    )
    return law, notes


def _unconverged(points: Points, runs: Sequence[ScalingRun], order: str) -> list[str]:
    """Return a remark on runs that still fell, where the order takes them for converged."""
    late = [run for place, run in enumerate(runs) if _late_fall(points, place) > CONVERGED]
    if order == "joint" or not late:
        return []
    return [
        f"{len(late)} of {len(runs)} runs still fell by more than 1 % over the last half of their updates; this order "
        'takes their lowest loss for that of an endless run. order="joint" does not.'
    ]


def _late_fall(points: Points, run: int) -> float:
    mine = points.of(run)
    steps, losses = points.steps[mine], points.losses[mine]
    middle = float(np.interp(steps[-1] - math.log(2), steps, losses))
    return 1 - math.exp(float(losses[-1]) - middle)


def _details(
    points: Points, runs: Sequence[ScalingRun], levels: Sequence[CriticalBatch], gaps: Floats, order: str
) -> dict[str, Any]:
    by_run = []
    for place, run in enumerate(runs):
        mine = gaps[points.of(place)]
        shares = {"mape": float(100 * np.mean(np.abs(np.expm1(mine)))), "final_error": float(np.expm1(mine[-1]))}
        by_run.append({"name": run.name, "size": run.size, "batch": run.B, "tokens": run.tokens, **shares})
    return {"order": order, "critical_batches": [asdict(one) for one in levels], "by_run": by_run}
