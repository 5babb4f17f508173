"""The schedule that a fitted law says ends lowest, and what it would gain over the usual ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import optimize, special

from tutelage.forecast._interval import UNSEEN_ASSUMED, UNSEEN_KNOWN
from tutelage.forecast.curve import Floats, LossCurve
from tutelage.forecast.law import CurveFitter, CurveLaw, LawFit

#: What a gain is counted against.
RIVALS: Mapping[str, str] = {"cosine": "cosine", "wsd": "wsd:decay=0.1", "linear": "linear"}
#: What a law is off by, as a share of the loss, on schedules it was not fitted to; see the back-tests.
_FORM = 1e-3
_SHAPES = ("linear", "1-sqrt", "cosine")


@dataclass(frozen=True)
class Gain:
    """What the best schedule gains over another one, under the law.

    Args:
        loss: Loss of the other one at the end, in nats.
        gain: Loss of the other one less that of the best, in nats; plus says that the best is better.
        low: Lower end of its interval.
        high: Upper end.
    """

    loss: float
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class BestSchedule:
    """A schedule that ends lowest under a law.

    Args:
        rates: Rate of every update, shape ``(total_steps,)``.
        knots: Updates between which the rate is a straight line, shape ``(knots,)``.
        loss: Loss at the end, in nats.
        spec: The WSD schedule that comes nearest to it, which any run takes as it is.
        spec_loss: Loss of that one at the end.
        gains: By name, what the best schedule gains over others; ``spec`` itself is among them.
        level: Of the intervals.
        peak: Highest rate.
        warmup: Updates of warm-up at its start.
        notes: Remarks a reader must see.
    """

    rates: Floats
    knots: Floats
    loss: float
    spec: str
    spec_loss: float
    gains: Mapping[str, Gain]
    level: float
    peak: float
    warmup: int
    notes: tuple[str, ...]


def best_schedule(
    fit: LawFit,
    *,
    total_steps: int,
    peak: float,
    warmup: int = 0,
    part: CurveFitter | None = None,
    rivals: Mapping[str, str] = RIVALS,
    knots: int = 24,
    repeats: int = 100,
    level: float = 0.8,
    seed: int = 0,
) -> BestSchedule:
    """Find the rates, never rising after the warm-up, that end at the lowest loss under a law.

    **Formula**: ``minimise L(eta)[total_steps]`` over ``peak >= eta_1 >= eta_2 >= ... >= 0``, ``eta`` being straight
    between ``knots`` places that lie closer towards the end, where annealing happens. With ``eta = peak (1 - cumsum
    d)`` and ``d = e / (1 + sum e)`` the conditions are ``e >= 0``; L-BFGS-B from the best of several WSD schedules. The
    interval of a gain has the spread over refits of the law to curves whose log residuals were drawn anew in blocks,
    and what the form of the law is doubted by: 10 % of the gain (20 % where annealing was assumed), 0.1 % of the
    loss at least.

    Args:
        fit: A fitted law.
        total_steps: Updates in the run, >= 10.
        peak: Highest rate, > 0; the law speaks of rates near those it was fitted with.
        warmup: Updates of linear warm-up, < ``total_steps``; the law counts them at the peak.
        part: What ``fit`` was made by, to fit it again; without it gains have no interval, and a note says so.
        rivals: Specs of schedules by name.
        knots: Places between which the rate is straight, 4 or more.
        repeats: Refits, 0 or more.
        level: Of the intervals, in (0, 1).
        seed: Of the refits.

    Raises:
        ValueError: An argument out of range.

    Example:
        >>> from tutelage.forecast import Annealing, AnnealingLaw
        >>> law = AnnealingLaw(L0=2.6, A=0.43, alpha=0.55, C=0.41, lam=0.995)
        >>> steps = np.arange(200, 4001, 50)
        >>> rates = np.linspace(2e-4, 0, 4000)
        >>> part = Annealing(lam=0.995)
        >>> fit = part.fit([LossCurve.of(steps=steps, losses=law.predict(rates, steps), rates=rates)])
        >>> best = best_schedule(fit, total_steps=4000, peak=2e-4, part=part, repeats=20)
        >>> best.loss <= best.spec_loss < best.gains["cosine"].loss
        True

    Use with:
        ``tutelage forecast best-schedule``; ``spec`` goes into any recipe.

    Helps / does not help:
        As good as the law: one fitted to schedules alike. Laws that are linear in the annealing promise too much of
        long tails near a rate of 0; compare the best with ``spec`` in a real run before trusting a small gain.

    Relations:
        :class:`tutelage.schedules.WSD`, which is what the optimum of these laws looks like.

    Source:
        The idea is that of the multi-power law's authors (Luo et al., ICLR 2025, arXiv 2503.12811, section 5), who
        optimise every rate; the parametrisation is ours.
    """
    _check(total_steps=total_steps, peak=peak, warmup=warmup, knots=knots, repeats=repeats, level=level)
    at = _knots(total_steps, warmup, knots)
    end = np.array([total_steps])

    def rates_of(falls: Floats) -> Floats:
        shares = 1 - np.cumsum(falls) / (1 + float(falls.sum()))
        rates: Floats = peak * np.interp(np.arange(total_steps), at, np.concatenate([[1.0], shares]))
        return rates

    def reached(law: CurveLaw, rates: Floats) -> float:
        return float(law.predict(rates, end, warmup=warmup)[0])

    spec, rates, loss = _best_wsd(fit.law, total_steps, peak, warmup)
    start = np.maximum(-np.diff(np.interp(at, np.arange(total_steps), rates / peak, right=0.0)), 0.0)
    # The last place is never quite 0 in d = e / (1 + sum e): e would have to be infinite.
    start = start / max(1 - float(start.sum()), 1e-3)
    scale = 1.0 + float(start.sum())
    found = optimize.minimize(
        lambda falls: 1e3 * reached(fit.law, rates_of(falls * scale)),
        start / scale,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * len(start),
        options={"maxiter": 200},
    )
    best = rates_of(np.asarray(found.x, dtype=np.float64) * scale)
    if reached(fit.law, best) > loss:
        best = rates
    others = {name: _rates(rival, total_steps, peak, warmup) for name, rival in rivals.items()} | {"spec": rates}
    laws = (
        [fit.law] if part is None or not repeats else [one.law for one in refits(fit, part, repeats=repeats, seed=seed)]
    )
    width = math.sqrt(2) * float(special.erfinv(level))
    gains = {}
    for name, other in others.items():
        spread = float(np.std([reached(law, other) - reached(law, best) for law in laws]))
        theirs = reached(fit.law, other)
        gain = theirs - reached(fit.law, best)
        form = max((UNSEEN_ASSUMED if fit.assumed else UNSEEN_KNOWN) * abs(gain), _FORM * theirs)
        half = width * math.hypot(spread, form)
        gains[name] = Gain(theirs, gain, gain - half, gain + half)
    notes = list(fit.notes)
    if part is None or not repeats:
        notes.append("No refits: the intervals leave out the noise of the curves.")
    highest = max(float(curve.rates.max()) for curve in fit.curves)
    if not 0.5 <= peak / highest <= 2:
        notes.append(f"The law was fitted at a peak of {highest:g}; at {peak:g} it is a guess.")
    if best.min() < 0.5 * min(float(curve.rates[curve.warmup :].min()) for curve in fit.curves):
        notes.append("The best schedule goes to lower rates than any curve that was fitted.")
    return BestSchedule(
        rates=best,
        knots=at,
        loss=reached(fit.law, best),
        spec=spec,
        spec_loss=loss,
        gains=gains,
        level=level,
        peak=peak,
        warmup=warmup,
        notes=tuple(notes),
    )


def refits(fit: LawFit, part: CurveFitter, *, repeats: int = 200, seed: int = 0) -> list[LawFit]:
    """Fit a law again to curves whose log residuals about it were drawn anew, in blocks of neighbours.

    Args:
        fit: The law.
        part: What it was fitted by.
        repeats: How often.
        seed: Of the draws.

    Returns:
        The fits; their spread is the uncertainty that the noise of the curves leaves, not that of the law's form.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(repeats):
        drawn = []
        for curve in fit.curves:
            late = curve.steps > max(curve.warmup, 0.1 * curve.steps[-1])
            kept = curve.where(late) if late.any() else curve
            expected = fit.predict(kept.rates, kept.steps, warmup=kept.warmup)
            residual = np.log(kept.losses / expected)
            points = len(residual)
            block = max(1, round(math.sqrt(points)))
            starts = rng.integers(0, max(1, points - block + 1), -(-points // block))
            places = (starts[:, None] + np.arange(block)).ravel()[:points]
            losses = expected * np.exp(residual[places] - residual.mean())
            drawn.append(LossCurve(kept.steps, losses, kept.rates, kept.warmup, kept.name))
        found.append(part.fit(drawn))
    return found


def _best_wsd(law: CurveLaw, total_steps: int, peak: float, warmup: int) -> tuple[str, Floats, float]:
    """Return spec, rates and final loss of the WSD schedule that ends lowest."""
    end = np.array([total_steps])

    def spelt(shape: str, decay: float) -> str:
        return f"wsd:decay={round(decay * total_steps)}steps,shape={shape}"

    def reached(shape: str, decay: float) -> float:
        rates = _rates(spelt(shape, decay), total_steps, peak, warmup)
        return float(law.predict(rates, end, warmup=warmup)[0])

    widest = 1 - warmup / total_steps
    tried = []
    for shape in _SHAPES:
        grid = [share for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0) if share <= widest]
        near = min(grid, key=partial(reached, shape))
        low, high = max(near / 2, 1 / total_steps), min(near * 1.6, widest)
        found = optimize.minimize_scalar(
            partial(reached, shape), bounds=(low, high), method="bounded", options={"xatol": 1e-3}
        )
        tried += [(reached(shape, share), shape, share) for share in (near, float(found.x))]
    loss, shape, share = min(tried)
    spec = spelt(shape, share)
    return _warmed(spec, warmup), _rates(spec, total_steps, peak, warmup), loss


def _rates(spec: str, total_steps: int, peak: float, warmup: int) -> Floats:
    from tutelage.schedules import from_spec

    return from_spec(_warmed(spec, warmup), total_steps=total_steps, peak=peak).to_array()


def _warmed(spec: str, warmup: int) -> str:
    if not warmup:
        return spec
    return f"{spec}{',' if ':' in spec else ':'}warmup={warmup}steps"


def _knots(total_steps: int, warmup: int, knots: int) -> Floats:
    """Return places from the end of the warm-up to the end, half as far apart at the end as the mean."""
    share = np.linspace(0.0, 1.0, knots)
    return warmup + (total_steps - 1 - warmup) * (1.5 * share - 0.5 * share**2)


def _check(*, total_steps: int, peak: float, warmup: int, knots: int, repeats: int, level: float) -> None:
    faults = {
        "total_steps must be >= 10": (total_steps, total_steps >= 10),
        "peak must be > 0": (peak, math.isfinite(peak) and peak > 0),
        f"warmup must be 0 to {total_steps - 2}": (warmup, 0 <= warmup <= total_steps - 2),
        "knots must be >= 4": (knots, knots >= 4),
        "repeats must be >= 0": (repeats, repeats >= 0),
        "level must be in (0, 1)": (level, 0 < level < 1),
    }
    for fault, (value, holds) in faults.items():
        if not holds:
            raise ValueError(f"best_schedule: {fault}, got {value}.")
