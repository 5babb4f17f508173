"""How likely is one of k sampled answers right?"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["pass_at_k"]


def pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> NDArray[np.float64] | float:
    """Return the chance that at least one of ``k`` answers is right, estimated without bias from ``n >= k`` samples.

    Use it where several answers are sampled and a check, such as running code, finds a right one.

    **Formula**: ``1 - C(n - c, k) / C(n, k)``, as a product of ``1 - k / i`` for ``i`` from ``n - c + 1`` to ``n``.

    Args:
        n: Answers sampled for each question: a whole number or several.
        c: Right ones among them, 0 to ``n``: a number, or as many as there are questions.
        k: Answers that are tried, 1 to ``n``.

    Returns:
        A number for numbers, else float64 in the shape of ``n`` and ``c`` together. Average over questions.

    Raises:
        ValueError: Numbers that are not whole, or out of range.

    Example:
        >>> round(pass_at_k(10, 3, 5), 6), pass_at_k([10, 10], [0, 3], 1).round(6).tolist()
        (0.916667, [0.0, 0.3])

    Use with:
        Counts of right samples of any evaluation.

    Helps / does not help:
        Taking the share of right answers as if samples were independent, ``1 - (1 - c/n)^k``, is too low for few
        samples. A high value for large ``k`` is of use only where a check picks the right answer.

    Relations:
        With ``k=1`` it is the share of right answers.

    Source:
        Chen et al., Evaluating large language models trained on code, 2021, arXiv 2107.03374, equation 1; Wang et al.,
        How far can camels go?, 2023, arXiv 2306.04751, use it with k = 10. From memory.
    """
    samples, right = np.broadcast_arrays(np.asarray(n), np.asarray(c))
    if not (np.issubdtype(samples.dtype, np.integer) and np.issubdtype(right.dtype, np.integer)):
        raise ValueError(f"pass_at_k: n and c must be whole numbers, got types {samples.dtype} and {right.dtype}.")
    if samples.size == 0 or not 1 <= k <= int(samples.min()):
        raise ValueError(f"pass_at_k: k must be >= 1 and <= n, got k={k} for n={np.asarray(n).tolist()}.")
    if (right < 0).any() or (right > samples).any():
        raise ValueError(f"pass_at_k: c must be >= 0 and <= n, got c={np.asarray(c).tolist()}.")
    found = np.array([
        1.0 - np.prod(1.0 - k / np.arange(wrong + 1, total + 1, dtype=np.float64)) if wrong >= k else 1.0
        for total, wrong in zip(samples.ravel().tolist(), (samples - right).ravel().tolist(), strict=True)
    ])  # fmt: skip
    return float(found[0]) if samples.ndim == 0 else found.reshape(samples.shape)
