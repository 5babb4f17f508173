"""What the position of a batch in training does to how well it is remembered, and to everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.randomness import numpy_generator

Floats = NDArray[np.float64]
Orders = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class PositionMap:
    """Mean final losses by batch and by the position it was trained at.

    Args:
        memorisation: Loss on the batch itself, shape ``(batches, positions)``.
        generalisation: Loss on held-out data, same shape; ``None`` where there were none.
        memorisation_error: Standard errors of the means; ``nan`` for one repeat.
        generalisation_error: The same for held-out data.
    """

    memorisation: Floats
    generalisation: Floats | None
    memorisation_error: Floats
    generalisation_error: Floats | None


def position_map(
    losses: Callable[[Orders], Floats], length: int, *, held_out: int = 0, repeats: int = 8, seed: int = 0
) -> PositionMap:
    """Map what training on batch ``i`` at position ``j`` does, the other batches in random order around it.

    **Formula**: ``M[i, j] = E loss on B_i``, ``G[i, j] = E loss on held-out data`` of the final weights, over orders
    with ``B_i`` at position ``j``. Each repeat takes one random order and all its cyclic shifts: every batch comes to
    every position exactly once, so ``repeats * length`` orders fill all ``length^2`` cells ``repeats`` times.

    Args:
        losses: Final losses for orders of shape ``(orders, length)``: shape ``(orders, length + held_out)``, first the
            loss on each batch, then those on held-out data, whose mean is taken.
        length: Batches, >= 2.
        held_out: Columns of held-out losses, >= 0.
        repeats: Random orders, >= 1; two or more give standard errors.
        seed: Draws the orders.

    Returns:
        A :class:`PositionMap`.

    Raises:
        ValueError: An argument out of range, or losses of another shape or not finite.

    Example:
        >>> def forgetful(orders):  # What came last is remembered best.
        ...     return 1.0 - np.argsort(orders, axis=1) / 10
        >>> position_map(forgetful, 3, repeats=2).memorisation.round(2).tolist()
        [[1.0, 0.9, 0.8], [1.0, 0.9, 0.8], [1.0, 0.9, 0.8]]

    Use with:
        ``position_map(lambda orders: forecaster.estimate_losses(orders, [*batches, *held_out]), len(batches),
        held_out=len(held_out))`` with a fitted :class:`tutelage.forecast.OrderForecaster`; or a function that trains.

    Helps / does not help:
        A row that falls says that late batches are remembered, one that does not that position hardly matters. Cells
        of one repeat share orders: compare rows and columns, not single cells, and look at the standard errors.

    Relations:
        :class:`tutelage.evaluation.ForgettingReport` follows examples within one run.

    Source:
        Estimating the Effects of Sample Training Orders for Large Language Models without Retraining, 2025, arXiv
        2505.22042: maps of memorisation and generalisation. Cyclic shifts, which need ``length`` times fewer orders,
        are ours.
    """
    for name, value, least in (("length", length, 2), ("held_out", held_out, 0), ("repeats", repeats, 1)):
        if value < least:
            raise ValueError(f"position_map: {name} must be >= {least}, got {value}.")
    rng = numpy_generator(seed, "position-map")
    shifts = (np.arange(length) + np.arange(length)[:, None]) % length
    own, other = (np.empty((repeats, length, length)) for _ in range(2))
    for repeat in range(repeats):
        orders = rng.permutation(length)[shifts]
        found = np.asarray(losses(orders), dtype=float)
        if found.shape != (length, length + held_out):
            raise ValueError(
                f"position_map: losses must have shape ({length}, {length + held_out}), one row an order and one "
                f"column a batch and a held-out part, got {found.shape}."
            )
        if not np.isfinite(found).all():
            raise ValueError("position_map: losses must be finite, and an order gave one that is not. Lower the rate.")
        rows = np.arange(length)[:, None]
        positions = np.broadcast_to(np.arange(length), orders.shape)
        own[repeat][orders, positions] = found[rows, orders]
        if held_out:
            other[repeat][orders, positions] = found[:, length:].mean(axis=1)[:, None]

    def error(values: Floats) -> Floats:
        if repeats == 1:
            return np.full((length, length), np.nan)
        return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(repeats))

    return PositionMap(
        memorisation=own.mean(axis=0),
        generalisation=other.mean(axis=0) if held_out else None,
        memorisation_error=error(own),
        generalisation_error=error(other) if held_out else None,
    )
