"""The terms of one pair: what a batch would do at a checkpoint, and how that changes with the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tutelage.forecast._order_curvature import secant
from tutelage.forecast._order_loss import FlatLoss
from tutelage.randomness import derive_seed


@dataclass
class Pairs:
    """Computes terms by name.

    Args:
        loss: The loss of weights and batch.
        kind: Where derivatives come from; ``None`` for gradients alone.
        third: Whether the third derivatives are wanted too.
        draws: Random directions, where they are drawn.
        seed: Seed of the directions.
    """

    loss: FlatLoss
    kind: str | None
    third: bool
    draws: int
    seed: int
    _recent: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)

    @property
    def widths(self) -> dict[str, int]:
        """Elements of each term."""
        d = self.loss.size
        if self.kind is None:
            return {"g": d}
        if self.kind == "full":
            return {"g": d, "h": d * d}
        return {"g": d, "h": d, "k": d} if self.third else {"g": d, "h": d}

    def terms(self, path: Sequence[torch.Tensor], t: int, one: int, batch: Any) -> dict[str, torch.Tensor]:
        """Return the terms of ``batch``, number ``one``, at checkpoint ``t`` of a path of weights.

        Raises:
            ValueError: A term is not finite; says which.
        """
        at = path[t]
        found = {"g": self._gradient(path, t, one, batch)}
        if self.kind == "full":
            found["h"] = self.loss.hessian(at, batch)
        elif self.kind == "secant":
            found |= self._secants(path, t, one, batch)
        elif self.kind is not None:
            if self.kind == "exact_diag":
                h, k = self.loss.diagonals(at, batch, third=self.third)
            else:
                generator = torch.Generator().manual_seed(derive_seed(self.seed, "directions", t, one))
                h, k = self.loss.drawn_diagonals(at, batch, self.draws, generator, third=self.third)
            found |= {"h": h} if k is None else {"h": h, "k": k}
        for name, value in found.items():
            if not torch.isfinite(value).all():
                raise ValueError(
                    f"OrderForecaster: term {name} of batch {one} at position {t} is not finite. "
                    "Lower the learning rate, or leave that batch out."
                )
        return found

    def _gradient(self, path: Sequence[torch.Tensor], t: int, one: int, batch: Any) -> torch.Tensor:
        if self.kind != "secant":
            return self.loss.gradient(path[t], batch)
        # Of a fit that goes on in the middle, the gradients before are computed again.
        for key in [key for key in self._recent if key[0] < t - 2]:
            del self._recent[key]
        if (t, one) not in self._recent:
            self._recent[t, one] = self.loss.gradient(path[t], batch)
        return self._recent[t, one]

    def _secants(self, path: Sequence[torch.Tensor], t: int, one: int, batch: Any) -> dict[str, torch.Tensor]:
        nothing = torch.zeros_like(path[t])
        h = before = k = nothing
        if t:
            g, last = (self._gradient(path, s, one, batch) for s in (t, t - 1))
            h = secant(g - last, path[t] - path[t - 1])
        if t > 1 and self.third:
            g, last = (self._gradient(path, s, one, batch) for s in (t - 1, t - 2))
            before = secant(g - last, path[t - 1] - path[t - 2])
            k = secant(h - before, path[t] - path[t - 1])
        return {"h": h, "k": k} if self.third else {"h": h}
