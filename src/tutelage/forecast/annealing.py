"""The annealing law: a loss curve from the area under the learning rate and the area of its annealing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import signal

from tutelage.forecast._huber import Minimum, Residuals, huber, minimise_huber
from tutelage.forecast.curve import Floats, LossCurve, at_peak_in_warmup, check_rates, places
from tutelage.forecast.law import LawFit, check_curves, check_options, judged, standard_errors

#: Memory of the momentum, 1 / (1 - lam), in updates: the paper's, for runs of 24,000 updates or more.
MEMORY, FULL_MEMORY_FROM = 1000, 24_000
#: What annealing slowly from the peak to 0 gains, as a share of the last loss at the peak: geometric mean over three
#: published fits of language models, 0.119 of 3.35 and 0.141 of 3.04 nats (25M and 100M parameters, the curves of the
#: multi-power law's authors) and 0.082 of 2.83 (the example of this law's authors).
USUAL_GAIN_SHARE = 0.036
#: A curve that has annealed by less than this share of a full annealing does not determine C.
_ENOUGH = 0.1
_LARGEST_DECAY = 0.99999
_STARTS = tuple(np.linspace(0.05, 1.5, 16))
_DECAYS = (0.9, 0.98, 0.995, 0.999, 0.9998)
_THIN = 500


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """Fits the annealing law, which predicts a loss curve from the learning rates alone, to one run or a few.

    Use it to rank schedules before they are run, to see where a run will end, and to find the best cool-down.

    **Formula**: with the rate ``eta_i`` of update ``i = 1, 2, ...``, in nats::

        L(s)  = L0 + A S1(s)^(-alpha) - C S2(s)
        S1(s) = sum_{i<=s} eta_i                                                      the forward area
        S2(s) = sum_{i<=s} m_i,  m_1 = 0,  m_i = lam m_{i-1} + (eta_{i-1} - eta_i)    the annealing area

    It is fitted by the smallest ``sum_points Huber(log L - log L_observed)``, Huber's loss being ``r^2 / 2`` up to
    ``delta`` and ``delta |r| - delta^2 / 2`` beyond, with ``L0, A, C, alpha >= 0``. L0, A and C are linear given the
    other two, so a grid over those is solved by least squares, and the best point of it refined by Newton steps.

    Args:
        lam: Decay of the annealing momentum. ``"scaled"``: 0.999 for runs of 24,000 updates or more, a memory of one
            part in 24 of the longest run below that. ``"free"`` fits it too. Or a number in [0, 1).
        delta: Log residual beyond which Huber's loss is linear, > 0.
        skip: Share of each curve's observed updates, at its start, that is left out besides the warm-up, in [0, 1).
        assumed_gain: Where no curve anneals enough to show ``C``: the share of the last loss that annealing slowly from
            the largest rate to 0 is assumed to gain. 0 leaves annealing out there. A note says so in either case.
        warmup_at_peak: Count the warm-up at the peak rate in both areas, as the paper does; otherwise at its own rates
            in S1, and not at all in S2.

    Returns:
        ``fit(curves)`` returns a :class:`LawFit`: the law, its error on them, and which parameters they determine.

    Raises:
        ValueError: An option out of range; from ``fit``, no curves, or fewer than 8 points left.

    Example:
        >>> import numpy as np
        >>> from tutelage.schedules import Cosine, WSD
        >>> law = AnnealingLaw(L0=2.63, A=0.43, alpha=0.55, C=0.41, lam=0.999)
        >>> cosine = Cosine(peak=2e-4, total_steps=20_000)(np.arange(20_000))
        >>> wsd = WSD(peak=2e-4, total_steps=20_000, decay=0.2)(np.arange(20_000))
        >>> [round(float(law.predict(rates)[-1]), 3) for rates in (cosine, wsd)]
        [2.843, 2.777]
        >>> steps = np.arange(1000, 20_001, 500)
        >>> curve = LossCurve.of(steps=steps, losses=law.predict(cosine, steps), rates=cosine)
        >>> fit = Annealing(lam=0.999).fit([curve])
        >>> round(fit.law.C, 3), round(fit.mape, 6)
        (0.41, 0.0)

    Use with:
        Any list of rates, such as ``schedule.to_array()``; :func:`tutelage.forecast.forecast` adds an interval, and
        :func:`tutelage.forecast.best_schedule` looks for the best plan under the law.

    Helps / does not help:
        Fitted on a constant and a cosine run of 24,000 updates, it is off by 0.14 % on seven other schedules of 16,000
        to 72,000 updates (25M and 100M parameters); by 0.20 % and 0.18 % with ``warmup_at_peak``, which also ends
        forecasts from the first quarter of a run 1.6 % too high on average, where this one is off by 0.6 %. L0, A and
        alpha trade off: compare predictions, not parameters. It speaks of one model, data set, batch size and
        optimizer. Long tails at a rate near 0 are predicted too low, as the gain is linear in S2.

    Relations:
        ``multi-power`` has seven parameters and is more exact where it can be fitted; ``power`` leaves the rates out.

    Source:
        Scaling Law with Learning Rate Annealing, Tissue, Wang and Wang, 2024, arXiv 2408.11029, sections 3 and 4, and
        the authors' published fitting script: formula, momentum, warm-up at the peak, Huber's loss with 1e-3 and the
        bounds are theirs, as is ``lam = 0.999``. Ours: the solver; ``skip``; a shorter memory for runs below 24,000
        updates; the gain assumed where no curve anneals; the warm-up at its own rates.
    """

    lam: float | Literal["scaled", "free"] = "scaled"
    delta: float = 1e-3
    skip: float = 0.1
    assumed_gain: float = USUAL_GAIN_SHARE
    warmup_at_peak: bool = False

    def __post_init__(self) -> None:
        """Refuse options out of range."""
        if self.lam not in ("scaled", "free") if isinstance(self.lam, str) else not 0 <= self.lam < 1:
            raise ValueError(f'Annealing: lam must be "scaled", "free" or in [0, 1), got {self.lam!r}.')
        check_options(self, self.delta, self.skip)
        if not (math.isfinite(self.assumed_gain) and self.assumed_gain >= 0):
            raise ValueError(f"Annealing: assumed_gain must be a share >= 0, got {self.assumed_gain}.")

    def fit(self, curves: Sequence[LossCurve]) -> LawFit:
        """Fit the law to the curves of one or several runs of one model, data set, batch size and optimizer.

        Raises:
            ValueError: No curves, or fewer than 8 points left.
        """
        kept = check_curves(curves, "Annealing", skip=self.skip, fewest=8)
        longest = max(curve.total_steps for curve in curves)
        start = scaled_decay(longest) if isinstance(self.lam, str) else float(self.lam)
        problem = _Problem(kept, at_peak=self.warmup_at_peak)
        notes = []
        annealed = problem.share_annealed(start)
        shown = annealed >= _ENOUGH
        if shown:
            found = _search(
                problem, _DECAYS if self.lam == "free" else (start,), free=self.lam == "free", delta=self.delta
            )
        else:
            peak = max(float(curve.rates.max()) for curve in kept)
            last = max(kept, key=lambda curve: int(curve.steps[-1])).losses
            gain = self.assumed_gain * float(np.median(last[-max(1, len(last) // 20) :]))
            problem = _Problem(kept, at_peak=self.warmup_at_peak, fixed_c=gain * (1 - start) / peak)
            found = _search(problem, (start,), free=False, delta=self.delta)
            notes.append(
                f"No curve anneals enough to show what annealing gains (C): {annealed:.0%} of a full annealing was "
                + (f"seen; {gain:.2g} nats were assumed." if gain else "seen; C was set to 0.")
            )
        law = problem.law(found.values, start)
        errors = standard_errors(problem.residuals(start)(found.values), found, self.delta)
        names = ["L0", "A", "alpha", *(["C"] if shown else []), *(["lam"] if self.lam == "free" and shown else [])]
        identified = {
            name: bool(error < 0.5 * abs(value)) for name, error, value in zip(names, errors, found.values, strict=True)
        }
        identified |= {"C": False} if not shown else {}
        loose = [name for name, known in identified.items() if not known and (name != "C" or shown)]
        if loose:
            notes.append(f"These curves do not determine {', '.join(loose)}; compare predictions, not parameters.")
        if not found.converged:
            notes.append("The fit had not settled when it was ended.")
        mape, r2 = judged(law, kept)
        return LawFit(
            law=law,
            name="annealing",
            curves=tuple(curves),
            objective=found.objective,
            mape=mape,
            r2=r2,
            identified=identified,
            notes=tuple(notes),
            assumed=not shown,
        )


@dataclass(frozen=True, kw_only=True)
class AnnealingLaw:
    """The annealing law with its parameters; :class:`Annealing` has the formula and fits it.

    Args:
        L0: Loss that no training gets below, in nats.
        A: Height of the power law, in nats at ``S1 = 1``.
        alpha: Its exponent.
        C: Gain per annealing area, in nats.
        lam: Decay of the annealing momentum, in [0, 1).
        warmup_at_peak: Whether the warm-up counts at the peak rate in the forward area.
    """

    L0: float
    A: float
    alpha: float
    C: float
    lam: float
    warmup_at_peak: bool = False

    def predict(self, rates: ArrayLike, steps: ArrayLike | None = None, *, warmup: int = 0) -> Floats:
        """Return the loss after each of ``steps`` updates; see :class:`tutelage.forecast.CurveLaw`.

        Raises:
            ValueError: Rates below 0, or steps outside ``1 .. len(rates)``.
        """
        planned = np.asarray(rates, dtype=np.float64)
        forward, annealed = lr_areas(planned, self.lam, warmup=warmup, at_peak=self.warmup_at_peak)
        at = places(steps, len(planned))
        # Before the first rate above 0 nothing was learned: the loss of the formula is infinite there.
        with np.errstate(divide="ignore"):
            losses = self.L0 + self.A * forward[at] ** -self.alpha - self.C * annealed[at]
        return np.asarray(losses, dtype=np.float64)

    def params(self) -> dict[str, float]:
        """Return the five parameters by name."""
        return {name: getattr(self, name) for name in ("L0", "A", "alpha", "C", "lam")}

    def gain(self, peak: float) -> float:
        """Return what annealing slowly from ``peak`` to 0 gains, ``C peak / (1 - lam)``, in nats."""
        return self.C * peak / (1 - self.lam)


def lr_areas(rates: ArrayLike, lam: float = 0.999, *, warmup: int = 0, at_peak: bool = False) -> tuple[Floats, Floats]:
    """Return the forward area S1 and the annealing area S2 after every update; see :class:`AnnealingLaw`.

    Args:
        rates: Rate of every update, shape ``(updates,)``, >= 0.
        lam: Decay of the momentum, in [0, 1]; at 1 nothing is forgotten.
        warmup: Updates of warm-up at the start; their rise counts for no annealing, as if they had the rate that
            follows them.
        at_peak: Whether they have that rate in the forward area too, as in the paper, or their own.

    Returns:
        Two series of shape ``(updates,)``, in units of the rate.

    Raises:
        ValueError: Rates below 0 or not finite, ``lam`` or ``warmup`` out of range.

    Example:
        >>> forward, annealed = lr_areas([1, 1, 0.8, 0.6, 0.4, 0.2], lam=0.5)
        >>> forward.round(4).tolist(), annealed.round(4).tolist()
        ([1.0, 2.0, 2.8, 3.4, 3.8, 4.0], [0.0, 0.0, 0.2, 0.5, 0.85, 1.225])
    """
    if not 0 <= lam <= 1:
        raise ValueError(f"lr_areas: lam must be in [0, 1], got {lam}.")
    planned = np.asarray(rates, dtype=np.float64)
    check_rates(planned, name="lr_areas")
    if not 0 <= warmup < len(planned):
        raise ValueError(f"lr_areas: warmup must be 0 to {len(planned) - 1}, got {warmup}.")
    held = at_peak_in_warmup(planned, warmup)
    return np.cumsum(held if at_peak else planned), np.cumsum(_momentum(held, lam))


def scaled_decay(total_steps: int) -> float:
    """Return the decay whose memory is a 24th of the run, 0.999 at most: what the law was published with."""
    return 1 - 1 / max(MEMORY * min(1.0, total_steps / FULL_MEMORY_FROM), 1.0)


def _momentum(held: Floats, lam: float) -> Floats:
    falls = np.empty_like(held)
    falls[0] = 0.0
    np.subtract(held[:-1], held[1:], out=falls[1:])
    found: Floats = signal.lfilter([1.0], [1.0, -lam], falls)
    return found


class _Problem:
    """Residuals and derivatives of the law on curves; parameters are L0, A', alpha, C and, where free, lam.

    A' is the height at the mean forward area, where it is of the size of a loss whatever the unit of the rate.
    """

    def __init__(self, curves: Sequence[LossCurve], *, at_peak: bool = False, fixed_c: float | None = None) -> None:
        self.held = [at_peak_in_warmup(curve.rates[: curve.steps[-1]], curve.warmup) for curve in curves]
        self.at = [curve.steps - 1 for curve in curves]
        self.observed = np.log(np.concatenate([curve.losses for curve in curves]))
        counted = self.held if at_peak else [curve.rates[: curve.steps[-1]] for curve in curves]
        forward = np.concatenate([np.cumsum(rates)[at] for rates, at in zip(counted, self.at, strict=True)])
        self.at_peak = at_peak
        self.middle = float(np.exp(np.log(forward).mean()))
        self.log_forward = np.log(forward / self.middle)
        self.fixed_c = fixed_c
        self.peak = max(float(held.max()) for held in self.held)

    def annealed(self, lam: float, *, slope: bool = False) -> tuple[Floats, Floats | None]:
        """Return S2 at the observed steps and, if asked, its derivative by ``lam``."""
        areas, slopes = [], []
        for held, at in zip(self.held, self.at, strict=True):
            momentum = _momentum(held, lam)
            areas.append(np.cumsum(momentum)[at])
            if slope:
                # d m_i / d lam = lam d m_{i-1} / d lam + m_{i-1}
                before = np.concatenate([[0.0], momentum[:-1]])
                slopes.append(np.cumsum(signal.lfilter([1.0], [1.0, -lam], before))[at])
        return np.concatenate(areas), np.concatenate(slopes) if slope else None

    def share_annealed(self, lam: float) -> float:
        """Return the largest S2 seen, as a share of that of a slow annealing from the peak to 0."""
        return float(np.abs(self.annealed(lam)[0]).max()) * (1 - lam) / self.peak

    def residuals(self, lam: float) -> Residuals:
        """Return the function of the parameters that gives residuals and derivatives."""
        fixed = self.annealed(lam)[0]

        def of(values: Floats) -> tuple[Floats, Floats]:
            annealed, slope = fixed, None
            if len(values) == 5:
                annealed, slope = self.annealed(values[4], slope=True)
            c = values[3] if self.fixed_c is None else self.fixed_c
            power = np.exp(-values[2] * self.log_forward)
            loss = np.maximum(values[0] + values[1] * power - c * annealed, 1e-9)
            rows = [np.ones_like(power), power, -values[1] * power * self.log_forward]
            if self.fixed_c is None:
                rows.append(-annealed)
            if slope is not None:
                rows.append(-c * slope)
            return np.log(loss) - self.observed, np.stack(rows) / loss

        return of

    def law(self, values: Floats, lam: float) -> AnnealingLaw:
        """Return the law of the parameters, in the units of the formula."""
        return AnnealingLaw(
            L0=float(values[0]),
            A=float(values[1] * self.middle ** values[2]),
            alpha=float(values[2]),
            C=float(values[3]) if self.fixed_c is None else self.fixed_c,
            lam=float(values[4]) if len(values) == 5 else lam,
            warmup_at_peak=self.at_peak,
        )


def _search(problem: _Problem, decays: Sequence[float], *, free: bool, delta: float) -> Minimum:
    """Return the minimum reached from the best point of a grid over alpha and lam."""
    thin = slice(None, None, max(1, len(problem.observed) // _THIN))
    observed = np.exp(problem.observed[thin])
    best: tuple[float, Floats, float] | None = None
    for lam in decays:
        annealed = problem.annealed(lam)[0][thin]
        # In units in which a column of S2 is of the size of the others.
        unit = float(np.abs(annealed).max()) or 1.0
        for alpha in _STARTS:
            columns = [np.ones_like(observed), np.exp(-alpha * problem.log_forward[thin])]
            known = np.zeros_like(observed)
            if problem.fixed_c is None:
                columns.append(-annealed / unit)
            else:
                known = -problem.fixed_c * annealed
            matrix = np.stack(columns, axis=1)
            heights = np.maximum(_solve(matrix / observed[:, None], 1 - known / observed), 1e-6)
            loss = np.maximum(matrix @ heights + known, 1e-9)
            reached = huber(np.log(loss / observed), delta)
            if best is None or reached < best[0]:
                start = [heights[0], heights[1], alpha, *([heights[2] / unit] if len(heights) == 3 else [])]
                best = (reached, np.array([*start, *([lam] if free else [])]), lam)
    if best is None:  # cannot be: there is a decay, and the starts are not empty
        raise ValueError("AnnealingLaw: no start.")
    upper = np.full(len(best[1]), np.inf)
    upper[2] = 10.0
    if free:
        upper[4] = _LARGEST_DECAY
    lower = np.zeros(len(best[1]))
    return minimise_huber(problem.residuals(best[2]), best[1], lower=lower, upper=upper, delta=delta)


def _solve(matrix: Floats, wished: Floats) -> Floats:
    """Return the least-squares solution; a little of the squared length is added, as columns may be alike."""
    product = matrix.T @ matrix
    product[np.diag_indices_from(product)] *= 1 + 1e-10
    return np.asarray(np.linalg.solve(product, matrix.T @ wished), dtype=np.float64)
