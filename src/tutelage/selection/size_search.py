"""How many of the best examples to keep, found by training on some numbers of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from tutelage.selection._checks import check_choice

__all__ = ["SizeSearch", "search_size"]

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class SizeSearch:
    """What a search for the number of examples found.

    Args:
        size: Number with the lowest loss, the smallest of equal ones.
        loss: Its loss.
        tried: Loss of every number that was measured, in rising order of the numbers; infinite where training failed.
        inside: Whether the best number lies between others that are worse, so that more and fewer were both tried.
    """

    size: int
    loss: float
    tried: Mapping[int, float]
    inside: bool


def search_size(
    loss_of: Callable[[int], float],
    low: int,
    high: int,
    *,
    trials: int = 10,
    method: Literal["golden", "grid"] = "golden",
    known: Mapping[int, float] | None = None,
) -> SizeSearch:
    """Find how many examples of a ranking to train on, in few runs.

    Use it after ranking data, by :class:`tutelage.signals.InstructMining` or any other signal: few of the best may do
    better than many.

    **Formula**: the loss is searched over ``u = ln n`` between ``ln low`` and ``ln high``, whose ends come first. With
    ``golden``, the section ``[a, b]`` is cut at ``b - g (b - a)`` and ``a + g (b - a)``, ``g = (sqrt(5) - 1) / 2``, and
    the part beyond the worse cut is left out, one run each time, until no whole number lies between or all trials are
    spent. With ``grid``, ``trials`` numbers are measured, evenly spaced in ``u``.

    Args:
        loss_of: Trains on the first ``n`` examples of the ranking, in the same way for every ``n``, and returns the
            loss on held-out data. One that is not finite counts as infinite.
        low: Fewest examples, >= 1.
        high: Most examples, > ``low``.
        trials: Runs at most, those in ``known`` included, >= 4.
        method: ``"golden"`` where the loss has one minimum; ``"grid"`` where it may have several.
        known: Losses measured before, by number, so that a search that was stopped goes on: keep each as it comes.

    Raises:
        ValueError: Numbers out of range, or a ``known`` number outside of ``low`` to ``high``.

    Example:
        >>> found = search_size(lambda n: (n - 300) ** 2, 10, 10_000, trials=16)
        >>> found.size, len(found.tried), found.inside
        (300, 16, True)

    Use with:
        ``np.argsort(-scores)[:n]`` inside ``loss_of``; :class:`tutelage.selection.Top` for the number that was found.

    Helps / does not help:
        The authors saw a loss that falls, rises and falls again with the number of examples; then ``golden`` may end in
        the wrong valley. One run a number is noisy: differences of the size of the seeds' spread mean nothing.

    Relations:
        :class:`tutelage.forecast.LearningCurve` extrapolates what more examples of the same kind would give.

    Source:
        Cao et al., Instruction mining, 2023, arXiv 2307.06290 v3, search the number by BlendSearch, log-uniform and
        from the cheap end. Ours: golden section, which needs no model for one number, and the grid.
    """
    check_choice("search_size", "method", method, ("golden", "grid"))
    if not 1 <= low < high:
        raise ValueError(f"search_size: low and high must be 1 <= low < high, got {low} and {high}.")
    if trials < 4:
        raise ValueError(f"search_size: trials must be >= 4, got {trials}.")
    tried = {int(size): _loss(loss) for size, loss in (known or {}).items()}
    outside = [size for size in tried if not low <= size <= high]
    if outside:
        raise ValueError(f"search_size: known numbers must lie in {low} to {high}, got {outside[0]}.")
    fresh = max(0, trials - len(tried))

    def measured(size: int) -> float | None:
        """Return the loss, or None where no trial is left for it."""
        nonlocal fresh
        if size not in tried:
            if not fresh:
                return None
            fresh -= 1
            tried[size] = _loss(loss_of(size))
        return tried[size]

    measured(low)
    measured(high)
    if method == "grid":
        step = (math.log(high) - math.log(low)) / (trials - 1)
        for place in range(1, trials - 1):
            measured(round(low * math.exp(step * place)))
    else:
        _golden(measured, low, high)
    best = min(tried, key=lambda size: (tried[size], size))
    return SizeSearch(best, tried[best], dict(sorted(tried.items())), min(tried) < best < max(tried))


def _loss(value: float) -> float:
    return float(value) if math.isfinite(value) else math.inf


def _golden(measured: Callable[[int], float | None], low: int, high: int) -> None:
    """Measure cuts of the section until no whole number lies between them, or no trial is left."""
    left, right = _cuts(low, high)
    while high - low > 2:
        first, second = measured(left), measured(right)
        if first is None or second is None:
            return
        # The cut that stays is the other one of the smaller section: as computed anew it might round to its neighbour.
        if first <= second:
            low, high, kept = low, right, left
            left, right = _cuts(low, high)
            right = kept if left < kept else right
        else:
            low, high, kept = left, high, right
            left, right = _cuts(low, high)
            left = kept if kept < right else left
    if high - low == 2:
        measured(low + 1)


def _cuts(low: int, high: int) -> tuple[int, int]:
    """Return two different whole numbers inside the section, where there are two."""
    wide = _GOLDEN * math.log(high / low)
    left = min(max(round(high * math.exp(-wide)), low + 1), high - 2)
    return left, max(min(round(low * math.exp(wide)), high - 1), left + 1)
