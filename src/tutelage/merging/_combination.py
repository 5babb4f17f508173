"""What is added to what: the one formula behind every merge here, on pieces of tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Step:
    """``scale (plus - minus)``; both are numbers of models."""

    scale: float
    plus: int
    minus: int


@dataclass(frozen=True)
class Combination:
    """``anchor + sum of scale (plus - minus)`` over several models of one architecture.

    The anchor, model 0, says which tensors there are, in which layout and type, and what is copied as it stands.

    Args:
        method: Its name, for the record.
        roles: What each model is, for messages.
        steps: What is added to model 0.
        new_rows: Number of a model that may have more rows than the others, such as those of added tokens, which are
            taken over as they are; or ``None``.
        files: Number of the model whose configuration and tokenizer the result gets.
    """

    method: str
    roles: tuple[str, ...]
    steps: tuple[Step, ...]
    new_rows: int | None = None
    files: int = 0

    @classmethod
    def task_arithmetic(cls, models: int, lam: float | Sequence[float]) -> Combination:
        """Return ``base + sum of lam_i (model_i - base)``.

        Raises:
            ValueError: No models, another number of factors, or one that is not finite.
        """
        if models < 1:
            raise ValueError("task_arithmetic: needs at least one model beside the base, got none.")
        factors = [float(lam)] * models if isinstance(lam, (int, float)) else [float(value) for value in lam]
        if len(factors) != models:
            raise ValueError(f"task_arithmetic: lam must be one number, or one a model, {models}, got {len(factors)}.")
        _check_finite("task_arithmetic", "lam", factors)
        return cls(
            "task-arithmetic",
            ("base", *(f"model {number}" for number in range(1, models + 1))),
            tuple(Step(factor, number, 0) for number, factor in enumerate(factors, 1)),
        )

    @classmethod
    def average(cls, models: int, weights: Sequence[float] | None = None) -> Combination:
        """Return the weighted mean of models; their weights need not add up to 1.

        Raises:
            ValueError: No models, another number of weights, a negative one, or all 0.
        """
        if models < 1:
            raise ValueError("average: needs at least one model, got none.")
        given = [1.0] * models if weights is None else [float(weight) for weight in weights]
        if len(given) != models:
            raise ValueError(f"average: weights must be one a model, {models}, got {len(given)}.")
        _check_finite("average", "weights", given)
        if min(given) < 0 or not sum(given):
            raise ValueError(f"average: weights must be >= 0 and not all 0, got {given}.")
        total = math.fsum(given)
        # From the first model: equal tensors stay what they are, to the last bit.
        steps = tuple(Step(weight / total, number, 0) for number, weight in enumerate(given) if number)
        return cls("average", tuple(f"model {number}" for number in range(1, models + 1)), steps)

    @classmethod
    def residual(cls, lam: float = 1.0) -> Combination:
        """Return ``target + lam (instruct - base)`` of the models target, base, instruct.

        Raises:
            ValueError: ``lam`` is not finite.
        """
        _check_finite("residual", "lam", [lam])
        return cls("residual", ("target", "base", "instruct"), (Step(float(lam), 2, 1),), new_rows=2, files=2)

    def scales(self) -> dict[str, float]:
        """Return the factor of each difference by the model it comes from; of an average each model's weight."""
        found = {self.roles[step.plus]: step.scale for step in self.steps}
        if self.method != "average":
            return found
        return {self.roles[0]: 1 - math.fsum(found.values())} | found

    def apply(self, pieces: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the combination of the models' pieces of one tensor, all of one shape and floating type.

        Exact where algebra is: with all factors 0 it is the anchor; one model at factor 1 from the anchor is that
        model; and where anchor and ``minus`` agree, one step at factor 1 is ``plus``.
        """
        anchor = pieces[0]
        active = [step for step in self.steps if step.scale != 0]
        if not active:
            return anchor
        if len(active) == 1 and active[0].scale == 1:
            import torch

            step = active[0]
            if step.minus == 0:
                return pieces[step.plus]
            moved = anchor + (pieces[step.plus] - pieces[step.minus])
            return torch.where(anchor == pieces[step.minus], pieces[step.plus], moved)
        result = anchor.clone()
        for step in active:
            result.add_(pieces[step.plus] - pieces[step.minus], alpha=step.scale)
        return result


def _check_finite(name: str, argument: str, values: Sequence[float]) -> None:
    wrong = [value for value in values if not math.isfinite(value)]
    if wrong:
        raise ValueError(f"{name}: {argument} must be finite, got {wrong[0]}.")
