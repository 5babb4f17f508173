"""How the gradient of a batch changes with the weights: the first and second terms of the expansion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from tutelage.forecast._order_terms import PairTerms

Curvature = Literal["trajectory", "secant", "exact_diag", "hutchinson", "full"]
CURVATURES: tuple[str, ...] = ("trajectory", "secant", "exact_diag", "hutchinson", "full")
#: Moves shorter than this give no secant.
_SHORT = 1e-12

Changes = tuple[torch.Tensor, torch.Tensor]


def secant(change: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
    """Return ``change / move`` element by element, 0 where the move is too short to divide by."""
    known = move.abs() >= _SHORT
    return torch.where(known, change / torch.where(known, move, 1.0), 0.0)


class NoCurvature:
    """Gradients as they were at the checkpoint."""

    def at(self, t: int, batches: torch.Tensor, delta: torch.Tensor, rows: torch.Tensor) -> Changes:
        """Return no change."""
        return torch.zeros_like(delta), torch.zeros_like(delta)


class StoredDiagonal:
    """Second (and third) derivatives by each weight alone, stored with the gradients."""

    def __init__(self, terms: PairTerms, order: int) -> None:
        self.terms, self.order = terms, order

    def at(self, t: int, batches: torch.Tensor, delta: torch.Tensor, rows: torch.Tensor) -> Changes:
        """Return ``h Delta`` and ``k Delta^2``, each of shape ``(orders, d)``."""
        first = self.terms.row(t, "h").to(delta.device)[batches] * delta
        if self.order < 2:
            return first, torch.zeros_like(delta)
        return first, self.terms.row(t, "k").to(delta.device)[batches] * delta * delta


class StoredHessian:
    """All second derivatives."""

    def __init__(self, terms: PairTerms) -> None:
        self.terms = terms

    def at(self, t: int, batches: torch.Tensor, delta: torch.Tensor, rows: torch.Tensor) -> Changes:
        """Return ``H Delta``, shape ``(orders, d)``."""
        d = delta.shape[1]
        stored = self.terms.row(t, "h").to(delta.device).view(-1, d, d)
        first = torch.zeros_like(delta)
        for one in torch.unique(batches):
            here = batches == one
            first[here] = delta[here] @ stored[one].T
        return first, torch.zeros_like(delta)


class Secant:
    """Derivatives by each weight alone, from the gradients of one batch at successive checkpoints (the paper's way)."""

    def __init__(self, terms: PairTerms, theta: torch.Tensor, order: int) -> None:
        self.terms, self.theta, self.order = terms, theta, order
        self._last: tuple[int, torch.Tensor] | None = None

    def _second_derivatives(self, t: int, rows: torch.Tensor) -> torch.Tensor:
        before = self.terms.row(t - 1).to(rows.device)
        return secant(rows - before, self.theta[t] - self.theta[t - 1])

    def at(self, t: int, batches: torch.Tensor, delta: torch.Tensor, rows: torch.Tensor) -> Changes:
        """Return ``h Delta`` and ``k Delta^2``, each of shape ``(orders, d)``; ``k`` from the third checkpoint on."""
        nothing = torch.zeros_like(delta)
        if t == 0:
            return nothing, nothing
        h = self._second_derivatives(t, rows)
        last, self._last = self._last, (t, h)
        first = h[batches] * delta
        if self.order < 2 or t == 1:
            return first, nothing
        if last is None or last[0] != t - 1:
            last = (t - 1, self._second_derivatives(t - 1, self.terms.row(t - 1).to(rows.device)))
        k = secant(h - last[1], self.theta[t] - self.theta[t - 1])
        return first, k[batches] * delta * delta


class Trajectory:
    """Products with the Hessian along the directions the reference run took, from gradients that are there anyway.

    A batch's gradient is known at every checkpoint. Written as a mixture of moves between checkpoints, ``Delta = sum_s
    a_s (theta_s - theta_t) + rest``, the change of the gradient is ``sum_s a_s (g_s - g_t)``: all of ``H`` along the
    run's moves, to first order, and nothing across them. ``a`` is found by least squares with a small ridge.
    """

    def __init__(self, terms: PairTerms, theta: torch.Tensor, ridge: float) -> None:
        self.terms, self.theta = terms, theta[: terms.count]
        spread = (self.theta - self.theta[0]).double()
        self._gram = spread @ spread.T
        self.ridge = ridge

    def at(self, t: int, batches: torch.Tensor, delta: torch.Tensor, rows: torch.Tensor) -> Changes:
        """Return the change of the gradient, shape ``(orders, d)``."""
        first = torch.zeros_like(delta)
        weights = self.weights(t, delta)
        for one in torch.unique(batches):
            here = batches == one
            first[here] = self.terms.mixed(weights[here].cpu(), int(one)).to(delta.device)
        return first, torch.zeros_like(delta)

    def weights(self, t: int, delta: torch.Tensor) -> torch.Tensor:
        """Return the share of each checkpoint's gradient in the change, shape ``(orders, checkpoints)``; rows sum 0."""
        if t == 0:
            return delta.new_zeros(len(delta), len(self.theta))
        gram = self._gram
        # Inner products of moves from theta_t, out of those of moves from theta_0.
        inner = gram - gram[t] - gram[:, t, None] + gram[t, t]
        others = [s for s in range(len(self.theta)) if s != t]
        moves = (delta @ (self.theta - self.theta[t]).T)[:, others].double()
        system = inner[others][:, others]
        scale = system.diagonal().mean()
        if not scale > 0:
            # A run at rate 0 went nowhere and knows no direction.
            return delta.new_zeros(len(delta), len(self.theta))
        system = system + self.ridge * scale * torch.eye(len(others)).to(system)
        found = torch.linalg.solve(system, moves.T).T.to(delta.dtype)
        weights = delta.new_zeros(len(delta), len(self.theta))
        weights[:, others] = found
        weights[:, t] = -found.sum(dim=1)
        return weights
