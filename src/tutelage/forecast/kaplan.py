"""Kaplan's scaling laws: the loss of a model of any size, after any number of updates, at any batch size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from tutelage.forecast._scaling import falling_root, positive
from tutelage.forecast.curve import Floats
from tutelage.forecast.scaling import FLOPS, ScalingPlan


@dataclass(frozen=True, kw_only=True)
class KaplanLaw:
    """The loss by model size, updates and batch size: seven constants, estimated once from small models.

    Use it to say before training what a larger model will reach, how long that takes, and at which batch.

    **Formula**: ``N`` parameters without embeddings, ``S`` updates of ``B`` tokens, ``E = B S`` tokens in all, loss
    ``L`` in nats a token::

        L(N)        = E_0 + (N_c / N)^alpha_N                        tokens without end
        B_crit(L)   = B_star / L^(1/alpha_B)                         tokens
        S_min       = S / (1 + B_crit(L) / B),   E_min = E / (1 + B / B_crit(L))
        L(N, S_min) = L(N) + (S_c / S_min)^alpha_S

    The two bounds satisfy ``(S/S_min - 1) (E/E_min - 1) = 1``: at ``B = B_crit`` both are twice the least. The loss
    after ``S`` updates is the one number ``L`` for which the last two lines agree; the difference of their sides is
    convex in ``log L``, so Newton steps from below find it.

    Args:
        alpha_N: Exponent of the size, > 0.
        N_c: Size at which the power of it is 1 nat, > 0.
        alpha_S: Exponent of the updates, > 0.
        S_c: Updates at which their power is 1 nat, > 0.
        alpha_B: Exponent of the critical batch, > 0; infinite for a critical batch that is the same at every loss.
        B_star: Tokens of the critical batch at 1 nat, > 0.
        E_0: Loss that no model gets below, in nats, >= 0. The paper has none; small data need it.

    Raises:
        ValueError: A constant out of range, or a size, batch, number of updates or loss that is not > 0.

    Example:
        >>> law = KaplanLaw(alpha_N=0.076, N_c=1.5e14, alpha_S=0.67, S_c=2.6e3, alpha_B=0.205, B_star=1.7e8)
        >>> round(float(law.min_loss(1e9)), 4), round(float(law.loss(1e9, 1e5, 2e6)), 4)
        (2.4739, 2.6025)
        >>> round(law.critical_batch(2.5).item()), round(law.steps_to(2.6024582, 1e9, 2e6).item())
        (1946606, 100000)
        >>> plan = law.plan(loss=2.6)
        >>> f"{plan.size:.3g} parameters, {plan.tokens:.3g} tokens, {plan.batch:.3g} an update"
        '2.14e+09 parameters, 6.07e+10 tokens, 1.61e+06 an update'

    Use with:
        :func:`tutelage.forecast.fit_kaplan` estimates the constants; ``tutelage forecast scaling RUNS`` does both.

    Helps / does not help:
        The constants hold for one data set, tokenizer, context and architecture; estimate them anew for another. They
        describe a constant or slowly decaying rate; annealing it to 0 ends lower than the law says. Not for several
        epochs: it has no term for data that repeat.

    Relations:
        :class:`ChinchillaLaw` speaks of final losses by size and tokens, and knows no batch.

    Source:
        Unraveling the Mystery of Scaling Laws: Part I, Su et al., 2024, arXiv 2403.06563: the forms hold up to 33
        billion parameters and their constants must be estimated for each setup (its abstract). The forms are those of
        Kaplan et al., 2020, arXiv 2001.08361, sections 1.2 and 5, the trade-off that of McCandlish et al., 2018, arXiv
        1812.06162. The constants of the example are quoted for C4 at a context of 1,024 from memory. ``E_0`` is ours.
    """

    alpha_N: float  # noqa: N815 -- the paper's symbol
    N_c: float
    alpha_S: float  # noqa: N815
    S_c: float
    alpha_B: float  # noqa: N815
    B_star: float
    E_0: float = 0.0

    def __post_init__(self) -> None:
        """Refuse constants that describe no learning."""
        for name, value in self.params().items():
            if name == "E_0":
                if not 0 <= value < math.inf:
                    raise ValueError(f"KaplanLaw: E_0 must be >= 0 and finite, got {value}.")
            else:
                positive(value, of="KaplanLaw", argument=name, infinite=name in ("alpha_B", "N_c"))

    def params(self) -> dict[str, float]:
        """Return the constants by name."""
        return asdict(self)

    def min_loss(self, N: ArrayLike) -> Floats:  # noqa: N803
        """Return the loss of ``N`` parameters, which may be infinite, after tokens without end, in nats."""
        size = positive(N, of="KaplanLaw", argument="N", infinite=True)
        return self.E_0 + np.exp(self.alpha_N * (math.log(self.N_c) - np.log(size)))

    def critical_batch(self, L: ArrayLike) -> Floats:  # noqa: N803
        """Return the batch, in tokens, at which reaching ``L`` nats takes twice the fewest updates and tokens."""
        loss = positive(L, of="KaplanLaw", argument="L")
        return np.exp(math.log(self.B_star) - np.log(loss) / self.alpha_B)

    def loss(self, N: ArrayLike, S: ArrayLike = math.inf, B: ArrayLike = math.inf) -> Floats:  # noqa: N803
        """Return the loss of ``N`` parameters after ``S`` updates of ``B`` tokens, in nats; arguments broadcast.

        An infinite batch gives the least loss after ``S`` updates, infinitely many of these :meth:`min_loss`.
        """
        steps = positive(S, of="KaplanLaw", argument="S", infinite=True)
        limit = np.log(self.min_loss(positive(N, of="KaplanLaw", argument="N")))
        slowest = self.alpha_S * (math.log(self.S_c) - np.log(steps))
        batches = math.log(self.B_star) - np.log(_batch(B))
        return np.exp(solve_log_loss(limit, slowest, self.alpha_S, batches, 1 / self.alpha_B))

    def curve(self, N: float, B: float, steps: ArrayLike) -> Floats:  # noqa: N803
        """Return the loss after each of ``steps`` updates of ``B`` tokens (1 to ``steps`` where one number is given).

        Returns:
            Losses in nats, of the shape of ``steps``, or ``(steps,)``.
        """
        given = np.asarray(steps)
        return self.loss(N, np.arange(1, int(given) + 1) if given.ndim == 0 else given, B)

    def steps_to(self, L: ArrayLike, N: ArrayLike, B: ArrayLike = math.inf) -> Floats:  # noqa: N803
        """Return the updates of ``B`` tokens that ``N`` parameters need to reach ``L``; infinite where never."""
        batch = _batch(B)
        return self._min_steps(L, N) * (1 + self.critical_batch(L) / batch)

    def tokens_to(self, L: ArrayLike, N: ArrayLike, B: ArrayLike) -> Floats:  # noqa: N803
        """Return the tokens that ``N`` parameters need to reach ``L`` at a batch of ``B``; infinite where never."""
        batch = _batch(B)
        return self._min_steps(L, N) * (batch + self.critical_batch(L))

    def _min_steps(self, L: ArrayLike, N: ArrayLike) -> Floats:  # noqa: N803
        above = positive(L, of="KaplanLaw", argument="L") - self.min_loss(N)
        with np.errstate(divide="ignore"):
            return self.S_c * np.maximum(above, 0.0) ** (-1 / self.alpha_S)

    def best_size(self, L: float) -> float:  # noqa: N803
        """Return the size that reaches ``L`` with the least compute, at the critical batch or any fixed one.

        It stops where the power of the size is ``alpha_S / (alpha_N + alpha_S)`` of ``L - E_0``; infinite at ``E_0``
        and below.
        """
        above = float(positive(L, of="KaplanLaw", argument="L")) - self.E_0
        if above <= 0:
            return math.inf
        power = above * self.alpha_S / (self.alpha_N + self.alpha_S)
        return float(np.exp(min(math.log(self.N_c) - math.log(power) / self.alpha_N, 700.0)))

    def plan(
        self,
        *,
        loss: float | None = None,
        size: float | None = None,
        tokens: float | None = None,
        compute: float | None = None,
        batch: float | None = None,
    ) -> ScalingPlan:
        """Return what to train for a loss, or what a budget reaches.

        ``loss``: the cheapest size that reaches it, or the one given. ``compute``: the size that it takes lowest, or
        the one given. ``size`` with ``tokens``: where these end. ``size`` alone: the loss for which it is the cheapest.

        Args:
            loss: In nats a token.
            size: Parameters without embeddings.
            tokens: Tokens in all.
            compute: Floating-point operations, ``6 size tokens``.
            batch: Tokens of an update; the critical batch of the loss reached where not given.

        Raises:
            ValueError: A number that is not > 0, or not one of these questions.
        """
        given = {"loss": loss, "size": size, "tokens": tokens, "compute": compute, "batch": batch}
        for name, value in given.items():
            if value is not None:
                positive(value, of="KaplanLaw.plan", argument=name)
        asked = tuple(name for name in ("loss", "size", "tokens", "compute") if given[name] is not None)

        def cost(reached: float) -> tuple[float, float]:
            """Return the tokens and the size of a model that reaches a loss."""
            chosen = self.best_size(reached) if size is None else size
            wide = float(self.critical_batch(reached)) if batch is None else batch
            return float(self.tokens_to(reached, chosen, wide)), chosen

        if asked in (("loss",), ("loss", "size")) and loss is not None:
            reached = loss
        elif asked == ("size",) and size is not None:
            power = float(self.min_loss(size)) - self.E_0
            reached = self.E_0 + power * (self.alpha_N + self.alpha_S) / self.alpha_S
        elif asked in (("compute",), ("size", "compute")) and compute is not None:
            reached = self._reached(lambda at: FLOPS * math.prod(cost(at)), compute, size)
        elif asked == ("size", "tokens") and tokens is not None:
            reached = self._reached(lambda at: cost(at)[0], tokens, size)
        else:
            raise ValueError(
                "KaplanLaw.plan: give a loss, a size or a compute, a size with one of the others, or a size with its "
                f"tokens; got {', '.join(asked) or 'none'}."
            )
        needed, chosen = cost(reached)
        critical = float(self.critical_batch(reached))
        used = critical if batch is None else batch
        return ScalingPlan(
            loss=reached,
            size=chosen,
            tokens=needed,
            compute=FLOPS * chosen * needed,
            least_loss=float(self.min_loss(chosen)),
            batch=used,
            steps=needed / used,
            critical_batch=critical,
        )

    def _reached(self, spent: Callable[[float], float], budget: float, size: float | None) -> float:
        """Return the loss at which ``spent``, which falls with it, is ``budget``."""
        least = self.E_0 if size is None else float(self.min_loss(size))

        def over(excess: float) -> float:
            used = spent(least + math.exp(excess))
            return math.inf if used == math.inf else math.log(max(used, 1e-300)) - math.log(budget)

        found = falling_root(lambda excess: min(over(excess), 1e6), 0.0, reach=300.0)
        return least + math.exp(found)


def solve_log_loss(limit: Floats, slowest: Floats, alpha_s: float, batches: Floats, falls: float) -> Floats:
    """Return ``log L`` for which ``L = L(N) + (S_c / S_min)^alpha_S``, with ``S_min`` at the critical batch of ``L``.

    Args:
        limit: ``log L(N)``.
        slowest: ``alpha_S log(S_c / S)``, the logarithm of the second term at an infinite batch.
        alpha_s: ``alpha_S``.
        batches: ``log(B_star / B)``.
        falls: ``1 / alpha_B``.
    """
    found = np.logaddexp(limit, slowest)
    # The function falls and is convex: from where it is above 0, Newton steps never pass the root.
    for _ in range(200):
        batch = batches - falls * found
        late = slowest + alpha_s * np.logaddexp(0.0, batch)
        total = np.logaddexp(limit, late)
        gap = total - found
        slope = 1 + np.exp(late - total) * alpha_s * falls * special.expit(batch)
        found = found + gap / slope
        if not np.any(gap > 1e-15 * np.maximum(1.0, np.abs(found))):
            break
    return found


def _batch(value: ArrayLike) -> Floats:
    return positive(value, of="KaplanLaw", argument="B", infinite=True)
