"""Chinchilla's law: the final loss by model size and tokens, and the best of both for a budget."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from tutelage.errors import NotReady
from tutelage.forecast._scaling import exponential, falling_root, fit_powers, points_of_rows, positive
from tutelage.forecast.curve import Floats
from tutelage.forecast.scaling import FLOPS, ScalingFit, ScalingPlan


@dataclass(frozen=True, kw_only=True)
class ChinchillaLaw:
    """The final loss by model size and tokens: five constants, fitted to the ends of finished runs.

    Use it to share a budget between size and tokens, and to see what either would still gain.

    **Formula**: ``L(N, D) = E + A / N^alpha + B / D^beta`` with ``N`` parameters and ``D`` tokens, in nats a token. For
    ``C = 6 N D`` operations the lowest loss is at::

        N = G (C/6)^(beta / (alpha + beta)),   D = (C/6) / N,   G = (alpha A / (beta B))^(1 / (alpha + beta))

    Args:
        E: Loss that nothing gets below, in nats, >= 0.
        A: Height of the power of the size, in nats at one parameter, > 0.
        alpha: Its exponent, > 0.
        B: Height of the power of the tokens, in nats at one token, > 0.
        beta: Its exponent, > 0.

    Raises:
        ValueError: A constant out of range, or a size, number of tokens, budget or loss that is not > 0.

    Example:
        >>> law = ChinchillaLaw(E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28)
        >>> round(float(law.loss(70e9, 1.4e12)), 4)
        1.9366
        >>> plan = law.plan(compute=5.76e23)
        >>> f"{plan.size:.3g} parameters, {plan.tokens:.3g} tokens, loss {plan.loss:.3f}"
        '3.22e+10 parameters, 2.98e+12 tokens, loss 1.931'

    Use with:
        :func:`fit_chinchilla`; ``tutelage forecast scaling TABLE`` on the command line.

    Helps / does not help:
        Each run must have ended its own schedule: losses from the middle of longer runs are too high. The exponents of
        a small grid are loosely determined while predictions near it are good; look at the intervals.

    Relations:
        :class:`KaplanLaw` also knows updates, batches and whole curves.

    Source:
        Training Compute-Optimal Large Language Models, Hoffmann et al., 2022, arXiv 2203.15556: equations 2 and 4, the
        constants of the example from its section D.3. A replication found those constants off (Besiroglu et al., 2024,
        arXiv 2404.10102), so take your own.
    """

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def __post_init__(self) -> None:
        """Refuse constants out of range."""
        for name, value in self.params().items():
            if name == "E":
                if not 0 <= value < math.inf:
                    raise ValueError(f"ChinchillaLaw: E must be >= 0 and finite, got {value}.")
            else:
                positive(value, of="ChinchillaLaw", argument=name)

    def params(self) -> dict[str, float]:
        """Return the constants by name."""
        return asdict(self)

    def loss(self, N: ArrayLike, D: ArrayLike = math.inf) -> Floats:  # noqa: N803 -- the paper's symbols
        """Return the loss of ``N`` parameters after ``D`` tokens, in nats; either may be infinite, both broadcast."""
        size = positive(N, of="ChinchillaLaw", argument="N", infinite=True)
        tokens = positive(D, of="ChinchillaLaw", argument="D", infinite=True)
        return self.E + self.A * size**-self.alpha + self.B * tokens**-self.beta

    def tokens_to(self, L: ArrayLike, N: ArrayLike) -> Floats:  # noqa: N803
        """Return the tokens that ``N`` parameters need to reach ``L``; infinite where they never do."""
        above = positive(L, of="ChinchillaLaw", argument="L") - self.loss(N)
        with np.errstate(divide="ignore"):
            return (np.maximum(above, 0.0) / self.B) ** (-1 / self.beta)

    def best_size(self, compute: float) -> float:
        """Return the size that a budget of ``compute`` operations takes lowest."""
        positive(compute, of="ChinchillaLaw", argument="compute")
        total = self.alpha + self.beta
        log_g = (math.log(self.alpha * self.A) - math.log(self.beta * self.B)) / total
        return exponential(log_g + self.beta / total * math.log(compute / FLOPS))

    def plan(
        self,
        *,
        loss: float | None = None,
        size: float | None = None,
        tokens: float | None = None,
        compute: float | None = None,
    ) -> ScalingPlan:
        """Return what to train for a loss, or what a budget reaches.

        ``loss``: the cheapest size that reaches it, or the one given. ``compute``: the size that it takes lowest, or
        the one given. ``size`` with ``tokens``: where these end. ``size`` alone: the tokens for which it is the best.

        Args:
            loss: In nats a token.
            size: Parameters.
            tokens: Tokens in all.
            compute: Floating-point operations, ``6 size tokens``.

        Raises:
            ValueError: A number that is not > 0, or not one of these questions.
        """
        given = {"loss": loss, "size": size, "tokens": tokens, "compute": compute}
        for name, value in given.items():
            if value is not None:
                positive(value, of="ChinchillaLaw.plan", argument=name)
        asked = tuple(name for name, value in given.items() if value is not None)
        if asked == ("loss",) and loss is not None:
            chosen, needed = self._cheapest(loss)
        elif asked == ("compute",) and compute is not None:
            chosen = self.best_size(compute)
            needed = compute / (FLOPS * chosen)
        elif size is not None and len(asked) <= 2:
            chosen = size
            if loss is not None:
                needed = float(self.tokens_to(loss, size))
            elif compute is not None:
                needed = compute / (FLOPS * size)
            else:
                needed = self._tokens_of(size) if tokens is None else tokens
        else:
            raise ValueError(
                "ChinchillaLaw.plan: give a loss, a size or a compute, or a size with one of loss, compute and tokens; "
                f"got {', '.join(asked) or 'none'}."
            )
        reached = float(self.loss(chosen, needed)) if loss is None else loss
        return ScalingPlan(
            loss=reached,
            size=chosen,
            tokens=needed,
            compute=FLOPS * chosen * needed,
            least_loss=float(self.loss(chosen)),
        )

    def _tokens_of(self, size: float) -> float:
        """Return the tokens for which a size is the best: where a little more of either gains the same."""
        gain = self.alpha * self.A * size**-self.alpha
        return float((gain / (self.beta * self.B)) ** (-1 / self.beta))

    def _cheapest(self, loss: float) -> tuple[float, float]:
        def over(log_size: float) -> float:
            size = math.exp(log_size)
            return float(self.loss(size, self._tokens_of(size))) - loss

        if loss <= self.E:
            return math.inf, math.inf
        size = exponential(falling_root(over, math.log(1e6), reach=650.0))
        return size, self._tokens_of(size)


def fit_chinchilla(
    N: ArrayLike,  # noqa: N803
    D: ArrayLike,  # noqa: N803
    losses: ArrayLike,
    *,
    floor: bool = True,
    delta: float = 1e-3,
) -> ScalingFit[ChinchillaLaw]:
    """Fit Chinchilla's law to the ends of finished runs.

    **Formula**: the smallest ``sum_runs Huber(log L(N, D) - log loss)``, Huber's loss being ``r^2 / 2`` up to ``delta``
    and ``delta |r| - delta^2 / 2`` beyond. Given ``alpha`` and ``beta``, the rest is linear: a grid over both is solved
    by least squares with coefficients >= 0, and its best points are refined by Newton steps.

    Args:
        N: Parameters of each run, shape ``(runs,)``, > 0; 3 or more different ones.
        D: Tokens of each run, shape ``(runs,)``, > 0; 3 or more different ones, not in one ratio to ``N``.
        losses: Final losses in nats, shape ``(runs,)``, > 0; 6 or more.
        floor: Whether ``E`` is free; else it is 0.
        delta: Log residual beyond which Huber's loss is linear, > 0. The paper's 0.001 is nearly the sum of absolute
            residuals, deaf to single runs that went wrong.

    Returns:
        The fit, with ``law`` and ``extrapolate(N, D)``.

    Raises:
        NotReady: Too few runs, sizes or numbers of tokens; names the constants that they leave open.
        ValueError: Numbers out of range, or shapes that differ.

    Example:
        >>> true = ChinchillaLaw(E=1.7, A=400, alpha=0.34, B=400, beta=0.28)
        >>> N, D = np.meshgrid([1e7, 3e7, 1e8], [1e8, 1e9, 1e10])
        >>> fit = fit_chinchilla(N.ravel(), D.ravel(), true.loss(N, D).ravel())
        >>> {name: round(value, 3) for name, value in fit.law.params().items()}
        {'E': 1.7, 'A': 400.0, 'alpha': 0.34, 'B': 400.0, 'beta': 0.28}

    Use with:
        ``tutelage forecast scaling runs.csv`` for a table with columns ``size,tokens,loss``.

    Helps / does not help:
        With tokens in one ratio to size only their sum of powers is determined: give runs off that line.

    Relations:
        :func:`fit_kaplan` fits whole curves.

    Source:
        Hoffmann et al., 2022, arXiv 2203.15556, section 3.3 (objective and ``delta``; they start L-BFGS from a grid of
        all five constants). Intervals by runs drawn again: Besiroglu et al., 2024, arXiv 2404.10102; here residuals
        get random weights instead, which keeps every size in.
    """
    columns, observed = points_of_rows("fit_chinchilla", {"N": N, "D": D}, losses, delta)
    counts = [len(set(column)) for column in columns]
    for count, names, what in zip(counts, ("alpha and A", "beta and B"), ("sizes", "numbers of tokens"), strict=True):
        if count < 3:
            raise NotReady(f"{names} are not identified: runs must have 3 or more {what}, got {count}.")
    if len(observed) < 5 + floor:
        raise NotReady(f"fit_chinchilla: must have {5 + floor} or more runs, got {len(observed)}.")
    ratios = columns[1] / columns[0]
    if np.ptp(np.log(ratios)) < 1e-6:
        raise NotReady(
            f"alpha and beta are not identified apart: every run has {ratios[0]:.3g} tokens a parameter; add runs with "
            "more or fewer."
        )
    found = fit_powers(columns, observed, floor=floor, delta=delta)

    def law_of(log_losses: Floats, start: Floats | None) -> ChinchillaLaw:
        again = found if start is None else fit_powers(columns, log_losses, floor=floor, delta=delta, start=start)
        (alpha, beta), (a, b) = (np.maximum(again.exponents, 1e-6), again.heights)
        return ChinchillaLaw(
            E=again.floor, A=exponential(float(a)), alpha=float(alpha), B=exponential(float(b)), beta=float(beta)
        )

    return ScalingFit(
        law=law_of(observed, None),
        fitted=observed - found.residuals,
        residuals=found.residuals,
        slopes=found.slopes,
        groups=np.arange(len(observed)),
        determined_by={"alpha": "alpha", "A": "alpha", "beta": "beta", "B": "beta"} | ({"E": "E"} if floor else {}),
        refit=lambda log_losses: law_of(log_losses, found.minimum.values),
        notes=found.notes(),
    )
