"""Whether an example teaches more when it comes late: from what it would have changed at each position of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._protocol import BadRow, Batch, Direction, spec_of

Reduction = Literal["late", "mean"]


@dataclass(frozen=True, kw_only=True, repr=False)
class OrderInfluence:
    """By how much more an example (or the batch it lies in) lowers the loss late in training than early.

    An order made for a model, not guessed from texts: what helps early first, what helps late last.

    **Formula**: with ``c_t`` the change of the held-out loss by one update on the example at position ``t`` of ``T``,
    ``x_t = (t + 1/2) / T``, and ``b`` the slope of the straight line through all ``(x_t, c_t)``: ``late``: ``score =
    -b``, the loss that moving from the first place to the last would save; ``mean``: ``score = -mean c_t``, what the
    example saves wherever it comes.

    Args:
        column: Column with the changes of each row, a list of numbers, one for each position, two or more.
        reduction: ``"late"`` or ``"mean"``.

    Returns:
        ``score(batch)``: float64 ``(n,)``, in units of the loss; high = to come late (``late``), or useful (``mean``).

    Raises:
        ValueError: An unknown ``reduction``.
        BadRow: A row that is no list of two or more finite numbers.

    Example:
        >>> OrderInfluence().score({"influence": [[-0.1, -0.1], [-0.1, -0.3]]}).round(2).tolist()
        [0.0, 0.4]
        >>> OrderInfluence(reduction="mean").score({"influence": [[-0.1, -0.1], [-0.1, -0.3]]}).round(2).tolist()
        [0.1, 0.2]

    Use with:
        ``{"influence": forecaster.influence(held_out).T.tolist()}`` of a fitted
        :class:`tutelage.forecast.OrderForecaster`: a row a batch; then ``CurriculumSampler("rank-order", scores, ...)``
        over the batches.

    Helps / does not help:
        It costs the gradients of every batch at every checkpoint. The changes are those of single updates along one
        run: how batches prepare one another is left out, which :func:`tutelage.curricula.search_order` looks at.

    Relations:
        :func:`tutelage.evaluation.position_map` averages over whole orders.

    Source:
        Ours, from the terms of Estimating the Effects of Sample Training Orders for Large Language Models without
        Retraining, 2025, arXiv 2505.22042.
    """

    spec_name: ClassVar[str] = "order-influence"
    per_example: ClassVar[bool] = True

    column: str = "influence"
    reduction: Reduction = "late"

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.reduction not in get_args(Reduction):
            raise ValueError(f'OrderInfluence: reduction must be late or mean, got "{self.reduction}".')

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    @property
    def direction(self) -> Direction:
        """What a high score says."""
        return "hard" if self.reduction == "late" else "good"

    def columns(self) -> tuple[str, ...]:
        """Return the column of changes."""
        return (self.column,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the score of each row."""
        found = np.empty(len(batch[self.column]))
        for row, value in enumerate(batch[self.column]):
            try:
                changes = np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError):
                changes = np.empty(0)
            if changes.ndim != 1 or len(changes) < 2 or not np.isfinite(changes).all():
                raise BadRow(
                    row, f'column "{self.column}" must be a list of two or more finite numbers, got {value!r:.60}.'
                )
            if self.reduction == "mean":
                found[row] = 0.0 - changes.mean()
            else:
                places = (np.arange(len(changes)) + 0.5) / len(changes)
                places -= places.mean()
                found[row] = 0.0 - (places @ changes) / (places @ places)
        return found
