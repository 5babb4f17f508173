"""A search for a good order of things, where every order can be judged by a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.randomness import numpy_generator

Floats = NDArray[np.float64]
Orders = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class OrderSearch:
    """What a search found.

    Args:
        order: The best order, int64 of shape ``(length,)``.
        loss: Its number.
        history: Best number after each generation, the first entry that of the starting population.
        judged: Orders whose number was asked for, no order twice.
    """

    order: Orders
    loss: float
    history: tuple[float, ...]
    judged: int


def search_order(
    losses: Callable[[Orders], Floats],
    length: int,
    *,
    generations: int = 30,
    population: int = 40,
    tournament: int = 3,
    mutation: float = 0.3,
    keep: int = 2,
    start: Sequence[Sequence[int]] = (),
    seed: int = 0,
) -> OrderSearch:
    """Search for the order with the least loss by a genetic algorithm over permutations.

    Use it with estimates, which cost little: where each number is a training, the best of as many random orders is
    often as good.

    **Formula**: parents are winners of tournaments, the best of ``tournament`` orders drawn; *order crossover* keeps a
    stretch of one parent in place and fills the rest in the order of the other; a child has two random places swapped
    with chance ``mutation``, again as long as the chance says so; the ``keep`` best go on unchanged.

    Args:
        losses: Numbers for orders of shape ``(orders, length)``, shape ``(orders,)``; least is best, ``nan`` worst.
        length: Things to put in order, >= 2.
        generations: Generations after the first, >= 0.
        population: Orders in a generation, >= 4.
        tournament: Orders that a parent has to beat, itself among them, >= 1.
        mutation: Chance of a swap, in ``[0, 1)``.
        keep: Best orders that stay, ``1 <= keep < population``.
        start: Orders to begin with, such as rules of thumb; random ones fill the population.
        seed: Fixes the search.

    Returns:
        An :class:`OrderSearch`; never worse than the best of ``start``.

    Raises:
        ValueError: An argument out of range, a start that is no permutation, or ``losses`` of the wrong shape.

    Example:
        >>> def inversions(orders):
        ...     first, second = np.triu_indices(orders.shape[1], 1)
        ...     return (orders[:, first] > orders[:, second]).sum(axis=1).astype(float)
        >>> found = search_order(inversions, 8)
        >>> found.order.tolist(), found.loss
        ([0, 1, 2, 3, 4, 5, 6, 7], 0.0)

    Use with:
        ``search_order(lambda orders: forecaster.estimate_loss(orders, held_out), len(batches))``, with a fitted
        :class:`tutelage.forecast.OrderForecaster`. Then train in the order found, and in a few random ones beside it.

    Helps / does not help:
        A search finds the estimate's errors as gladly as good orders: the loss it reports is too low. Only training in
        the order found says what it is worth.

    Relations:
        Rules of thumb such as easy first need no search; give them as ``start``.

    Source:
        Estimating the Effects of Sample Training Orders for Large Language Models without Retraining, 2025, arXiv
        2505.22042, which searches curricula by a genetic algorithm; operators are the usual ones for permutations.
        Order crossover: Davis, Applying adaptive algorithms to epistatic domains, 1985.
    """
    _check(length, generations, population, tournament, mutation, keep)
    rng = numpy_generator(seed, "order-search")
    known: dict[bytes, float] = {}

    def judge(orders: Orders) -> Floats:
        fresh = list({one.tobytes(): one for one in orders if one.tobytes() not in known}.values())
        if fresh:
            found = np.asarray(losses(np.stack(fresh)), dtype=float)
            if found.shape != (len(fresh),):
                raise ValueError(
                    f"search_order: losses must return one number an order, shape ({len(fresh)},), got {found.shape}."
                )
            numbers = np.where(np.isnan(found), np.inf, found)
            known.update((one.tobytes(), float(number)) for one, number in zip(fresh, numbers, strict=True))
        return np.array([known[one.tobytes()] for one in orders])

    orders = _first(start, length, population, rng)
    numbers = judge(orders)
    history = [float(numbers.min())]
    for _ in range(generations):
        best = np.argsort(numbers, kind="stable")[:keep]
        drawn = rng.integers(len(orders), size=(population - keep, 2, tournament))
        parents = np.take_along_axis(drawn, numbers[drawn].argmin(axis=2)[..., None], axis=2)[..., 0]
        children = [_child(orders[mother], orders[father], mutation, rng) for mother, father in parents]
        orders = np.stack([*orders[best], *children])
        numbers = judge(orders)
        history.append(float(numbers.min()))
    winner = int(np.argmin(numbers))
    return OrderSearch(order=orders[winner], loss=history[-1], history=tuple(history), judged=len(known))


def _check(length: int, generations: int, population: int, tournament: int, mutation: float, keep: int) -> None:
    for name, value, least in (
        ("length", length, 2),
        ("generations", generations, 0),
        ("population", population, 4),
        ("tournament", tournament, 1),
        ("keep", keep, 1),
    ):
        if value < least:
            raise ValueError(f"search_order: {name} must be >= {least}, got {value}.")
    if keep >= population:
        raise ValueError(f"search_order: keep must be below population {population}, got {keep}.")
    if not 0 <= mutation < 1:
        raise ValueError(f"search_order: mutation must be in [0, 1), got {mutation}.")


def _first(start: Sequence[Sequence[int]], length: int, population: int, rng: np.random.Generator) -> Orders:
    given = [np.asarray(one) for one in start]
    for number, one in enumerate(given):
        if one.shape != (length,) or (np.sort(one) != np.arange(length)).any():
            raise ValueError(
                f"search_order: start must hold permutations of 0..{length - 1}, got {one.tolist()} as number {number}."
            )
    drawn = [rng.permutation(length) for _ in range(population - len(given))]
    return np.stack([*given, *drawn]).astype(np.int64)


def _child(mother: Orders, father: Orders, mutation: float, rng: np.random.Generator) -> Orders:
    length = len(mother)
    low, high = np.sort(rng.integers(length + 1, size=2))
    stretch = mother[low:high]
    rest = father[~np.isin(father, stretch)]
    child = np.concatenate([rest[:low], stretch, rest[low:]])
    while rng.random() < mutation:
        places = rng.integers(length, size=2)
        child[places] = child[places[::-1]]
    return child
