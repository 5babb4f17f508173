"""Weighted draws without replacement, all at once: the Gumbel top-k trick, by count or to a budget of tokens.

Add independent Gumbel noise to log-weights and sort: the order is that of drawing one example after another, each with
probability proportional to its weight among those left. No loop, and the noise of any example is found without drawing
that of the others, so that an order can be made piece by piece.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.randomness import derive_seed

#: SplitMix64: the step of its Weyl sequence and the two multipliers of its output function.
_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
#: Numbers worked on at a time: what stays in a processor's cache.
_BLOCK = 1 << 15


def random_bits(indices: ArrayLike, seed: int) -> NDArray[np.uint64]:
    """Return 64 random bits for each index: output ``index`` of the SplitMix64 generator that begins at ``seed``.

    Args:
        indices: Whole numbers >= 0, any shape.
        seed: Any integer; bits beyond the lowest 64 are dropped.

    Returns:
        uint64, the shape of ``indices``; a pure function of both.

    Example:
        >>> [hex(bits) for bits in random_bits([0, 1], 0).tolist()]
        ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']

    Source:
        Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014 (constants of its published
        variant).
    """
    bits = np.array(indices, dtype=np.uint64)
    bits += np.uint64(1)
    bits *= _STEP
    bits += np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF)
    for shift, factor in ((np.uint64(30), _FIRST), (np.uint64(27), _SECOND)):
        bits ^= bits >> shift
        bits *= factor
    bits ^= bits >> np.uint64(31)
    return bits


def gumbel_noise(indices: ArrayLike, seed: int) -> NDArray[np.float64]:
    """Return standard Gumbel noise for each index: ``-ln(-ln u)`` of a uniform ``u`` in (0, 1) of 52 bits.

    Args:
        indices: Whole numbers >= 0, any shape.
        seed: Any integer.

    Returns:
        float64, the shape of ``indices``, finite; a pure function of both.

    Example:
        >>> gumbel_noise([3], 0) == gumbel_noise(range(10), 0)[3:4]
        array([ True])
    """
    shown = np.asarray(indices)
    flat = shown.ravel()
    noise = np.empty(flat.shape)
    for start in range(0, flat.size, _BLOCK):
        piece = noise[start : start + _BLOCK]
        # The half keeps the uniform number off 0 and 1, which 52 bits leave room for.
        piece[:] = random_bits(flat[start : start + _BLOCK], seed) >> np.uint64(12)
        piece += 0.5
        piece *= 2.0**-52
        for _ in range(2):
            np.log(piece, out=piece)
            np.negative(piece, out=piece)
    return noise.reshape(shown.shape)


def gumbel_keys(
    logits: ArrayLike, *, seed: int, temperature: float = 1.0, noise: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the keys whose descending order is a draw without replacement, ``p`` proportional to ``exp(logit / T)``.

    **Formula**: ``key_i = logit_i / T + g_i``, ``g_i`` standard Gumbel. ``T = 0``: ``key_i = logit_i``, no noise; ``T``
    infinite: ``key_i = g_i``, all alike.

    Args:
        logits: Scores or log-weights, shape ``(n,)``; ``-inf`` is never drawn before a finite one.
        seed: Seed of the noise; stream ``gumbel`` of it.
        temperature: T >= 0.
        noise: Gumbel noise to use instead, shape ``(n,)``.

    Returns:
        float64 ``(n,)``.

    Raises:
        ValueError: NaN or ``+inf`` among ``logits``, ``temperature`` below 0, or ``noise`` of another shape.

    Example:
        >>> z = (np.array([2, 0, -1, 1]) - 0.5) / np.sqrt(1.25)
        >>> gumbel_keys(z, seed=0, temperature=2, noise=[0.1, 1.5, 0.9, -0.2]).round(6)
        array([0.77082 , 1.276393, 0.22918 , 0.023607])

    Source:
        Kool, van Hoof and Welling, Stochastic beams and where to find them, 2019, arXiv 1903.06059, section 3.1; in
        use for data selection: Wettig et al., QuRating, 2024, arXiv 2402.09739.
    """
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"gumbel_keys: logits must have one dimension, got shape {values.shape}.")
    wrong = np.isnan(values) | (values == np.inf)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ValueError(f"gumbel_keys: logits must be numbers below infinity, got {values[place]} at {place}.")
    if math.isnan(temperature) or temperature < 0:
        raise ValueError(f"gumbel_keys: temperature must be >= 0, got {temperature}.")
    if temperature == 0:
        return values.copy()
    if noise is None:
        drawn = gumbel_noise(np.arange(len(values)), derive_seed(seed, "gumbel"))
    else:
        drawn = np.asarray(noise, dtype=np.float64)
        if drawn.shape != values.shape:
            raise ValueError(f"gumbel_keys: noise must have the shape of logits, {values.shape}, got {drawn.shape}.")
    if math.isinf(temperature):
        return np.where(values == -np.inf, -np.inf, drawn)
    return np.asarray(values / temperature + drawn)


def gumbel_top_k(
    logits: ArrayLike, k: int, *, seed: int, temperature: float = 1.0, noise: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Return ``k`` examples drawn one after another without replacement, ``p`` proportional to ``exp(logit / T)``.

    **Formula**: the ``k`` largest of :func:`gumbel_keys`, in descending order; equal keys in the order of the examples.
    Weights ``w`` are given as ``np.log(w)``.

    Args:
        logits: Scores or log-weights, shape ``(n,)``; ``-inf`` is never drawn.
        k: Examples to draw, 0 to those not ``-inf``.
        seed: Seed of the draw.
        temperature: T >= 0; 0 takes the ``k`` largest, infinity draws all alike.
        noise: Gumbel noise to use instead, shape ``(n,)``.

    Returns:
        int64 ``(k,)``, in the order drawn.

    Raises:
        ValueError: ``k`` outside its range, or what :func:`gumbel_keys` refuses.

    Example:
        >>> gumbel_top_k([0.0, 5.0, -np.inf, 5.0], 2, seed=0, temperature=0)
        array([1, 3])

    Source:
        As for :func:`gumbel_keys`.
    """
    keys = gumbel_keys(logits, seed=seed, temperature=temperature, noise=noise)
    # np.negative keeps ties in the order of the examples under a stable ascending sort.
    np.negative(keys, out=keys)
    there = len(keys) - int(np.count_nonzero(keys == np.inf))
    if not 0 <= k <= there:
        raise ValueError(f"gumbel_top_k: k must be >= 0 and <= {there}, the examples that can be drawn, got {k}.")
    if k == 0:
        return np.empty(0, dtype=np.int64)
    if k < len(keys) // 2:
        limit = np.partition(keys, k - 1)[k - 1]
        found = np.flatnonzero(keys <= limit)
        return found[np.argsort(keys[found], kind="stable")[:k]]
    return np.argsort(keys, kind="stable")[:k]


def gumbel_to_budget(
    logits: ArrayLike,
    sizes: ArrayLike,
    budget: float,
    *,
    seed: int,
    temperature: float = 1.0,
    noise: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """Return examples drawn as by :func:`gumbel_top_k` until their sizes add up to ``budget``.

    The last example may overshoot it, by less than its own size. A long example takes more of the budget at equal
    probability.

    Args:
        logits: Scores or log-weights, shape ``(n,)``; ``-inf`` is never drawn.
        sizes: Size of each example, such as its tokens, >= 0, shape ``(n,)``.
        budget: What the sizes shall add up to, > 0.
        seed: Seed of the draw.
        temperature: T >= 0.
        noise: Gumbel noise to use instead, shape ``(n,)``.

    Returns:
        int64, in the order drawn; the fewest whose sizes reach ``budget``.

    Raises:
        ValueError: Sizes of another shape, negative or not finite; ``budget`` not above 0, or more than all examples
            that can be drawn hold.

    Example:
        >>> gumbel_to_budget([3.0, 2.0, 1.0], [100, 50, 70], 120, seed=0, temperature=0)
        array([0, 1])

    Source:
        Wettig et al., QuRating, 2024, arXiv 2402.09739 (selection to a token budget).
    """
    keys = gumbel_keys(logits, seed=seed, temperature=temperature, noise=noise)
    lengths = np.asarray(sizes, dtype=np.float64)
    if lengths.shape != keys.shape:
        raise ValueError(f"gumbel_to_budget: sizes must have the shape of logits, {keys.shape}, got {lengths.shape}.")
    if not (np.isfinite(lengths).all() and (lengths >= 0).all()):
        raise ValueError("gumbel_to_budget: sizes must be finite numbers >= 0.")
    if not (math.isfinite(budget) and budget > 0):
        raise ValueError(f"gumbel_to_budget: budget must be a finite number > 0, got {budget}.")
    order = np.argsort(-keys, kind="stable")
    order = order[keys[order] > -np.inf]
    reached = np.cumsum(lengths[order])
    if not len(reached) or reached[-1] < budget:
        total = reached[-1] if len(reached) else 0
        raise ValueError(f"gumbel_to_budget: budget must be <= {total:g}, what all examples hold, got {budget:g}.")
    return order[: int(np.searchsorted(reached, budget, side="left")) + 1]
