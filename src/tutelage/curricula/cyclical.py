"""Cyclical curriculum: the size of the training subset swings between a small share and the whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula._batches import scored_batches
from tutelage.curricula._shared import clean_scores, spec_of

#: Losses worked on at a time.
_BLOCK = 1 << 16
Shape = Literal["cycle", "sharp", "up", "down"]


def cycle_sizes(start: float = 0.25, end: float = 1.0, alpha: float = 0.5, *, budget: float) -> list[float]:
    """Return the share of the data in each episode, up and down between ``start`` and ``end``.

    **Formula**: from ``start`` each share is the one before divided by ``alpha``, at most ``end``; there it turns, and
    each is the one before times ``alpha``, at least ``start``; and so on, until the shares sum to ``budget``.

    Args:
        start: Smallest share, in (0, ``end``].
        end: Largest share, <= 1.
        alpha: Factor between episodes, in (0, 1).
        budget: Examples to train on in all, in multiples of the data, > 0; the last episode may overshoot it.

    Raises:
        ValueError: An argument outside its range.

    Example:
        >>> cycle_sizes(budget=5)
        [0.25, 0.5, 1.0, 0.5, 0.25, 0.5, 1.0, 0.5, 0.25, 0.5]

    Source:
        Kesgin and Amasyali, Cyclical curriculum learning, 2022, arXiv 2202.05531 (its code was read for the card).
    """
    _check(start, end, alpha, budget)
    sizes, growing = [start], True
    while math.fsum(sizes) < budget:
        # The clamps make the ends exact, so that equality is safe.
        if sizes[-1] == start:
            growing = True
        elif sizes[-1] == end:
            growing = False
        sizes.append(min(sizes[-1] / alpha, end) if growing else max(sizes[-1] * alpha, start))
    return sizes


def sharp_cycle_sizes(start: float = 0.25, end: float = 1.0, alpha: float = 0.5, *, budget: float) -> list[float]:
    """Return shares that rise as in :func:`cycle_sizes` and fall back to ``start`` at once.

    Raises:
        ValueError: An argument outside its range.

    Example:
        >>> sharp_cycle_sizes(budget=3)
        [0.25, 0.5, 1.0, 0.25, 0.5, 1.0]
    """
    _check(start, end, alpha, budget)
    sizes = [start]
    while math.fsum(sizes) < budget:
        sizes.append(start if sizes[-1] == end else min(sizes[-1] / alpha, end))
    return sizes


def geometric_sizes(
    start: float = 0.25,
    end: float = 1.0,
    alpha: float = 0.5,
    *,
    budget: float,
    direction: Literal["up", "down"] = "up",
) -> list[float]:
    """Return shares that rise (or fall) once and stay: the curriculum the cycles are compared with.

    Raises:
        ValueError: An argument outside its range, or an unknown ``direction``.

    Example:
        >>> geometric_sizes(budget=3), geometric_sizes(budget=2, direction="down")
        ([0.25, 0.5, 1.0, 1.0, 1.0], [1.0, 0.5, 0.25, 0.25])
    """
    _check(start, end, alpha, budget)
    if direction not in ("up", "down"):
        raise ValueError(f'geometric_sizes: direction must be up or down, got "{direction}".')
    sizes = [start if direction == "up" else end]
    while math.fsum(sizes) < budget:
        sizes.append(min(sizes[-1] / alpha, end) if direction == "up" else max(sizes[-1] * alpha, start))
    return sizes


def _check(start: float, end: float, alpha: float, budget: float) -> None:
    if not 0 < start <= end <= 1:
        raise ValueError(f"Cyclical: start and end must be 0 < start <= end <= 1, got {start} and {end}.")
    if not 0 < alpha < 1:
        raise ValueError(f"Cyclical: alpha must be > 0 and < 1, or sizes would never turn, got {alpha}.")
    if not (math.isfinite(budget) and budget > 0):
        raise ValueError(f"Cyclical: budget must be a finite number > 0, got {budget}.")


@dataclass(frozen=True, kw_only=True, repr=False)
class Cyclical:
    """Swings the size of the training subset up and down, drawing easy examples more often: a warm-up again and again.

    Alternates easy-biased and plain training at the cost of plain training. Needs the losses of an earlier model.

    **Formula**: episode ``e`` draws ``floor(n S_e)`` examples without replacement with probabilities ``q`` and trains
    on them shuffled. ``S`` is :func:`cycle_sizes` (or another ``shape``), for a budget of the whole run. From losses
    ``l``: ``q_i`` proportional to ``1 / max(l_i, floor)`` (``"easy"``), ``max(l_i, floor)`` (``"hard"``), ``1``
    (``"random"``) or ``rate exp(-rate l_i)`` (``"exponential"``).

    Args:
        start: Smallest share, in (0, ``end``].
        end: Largest share, <= 1.
        alpha: Factor between episodes, in (0, 1).
        shape: ``"cycle"``, ``"sharp"`` (falls at once), ``"up"`` or ``"down"`` (once).
        favour: Which examples are drawn more often.
        rate: Of ``"exponential"``, > 0; the paper tries 0.25, 0.5 and 5.
        floor: Lowest loss, > 0: a few losses near 0 would take all the weight, or have none.
        by: Column or signal of the losses, >= 0. In a recipe, ``loss`` is the losses of a short plain run that is made
            for it outside of the budget, and ``run:FOLDER`` those of a run of your own.

    Returns:
        ``weights(progress, scores)``: ``q``, summing to 1, float64 ``(n,)``. ``sizes(budget)``: the shares.

    Raises:
        ValueError: An argument outside its range; a negative or NaN loss.

    Example:
        >>> Cyclical().weights(0.0, np.array([0.1, 0.2, 0.5, 2.0])).round(6)
        array([0.571429, 0.285714, 0.114286, 0.028571])
        >>> Cyclical(start=0.3, alpha=0.6).sizes(2.0)
        [0.3, 0.5, 0.8333333333333334, 1.0]

    Use with:
        Recipes: ``tutelage compare --arm cosine --arm "cosine+cyclical:alpha=0.5"``;
        ``CurriculumSampler("cyclical:alpha=0.5", losses, num_samples=20 * n, seed=0)``. Learning rates that count
        epochs count examples instead.

    Helps / does not help:
        The paper reports gains over plain training on 18 data sets, about 0.5 to 3 points. The run that gives the
        losses must be paid for too. On clean data with losses near 0 the draws follow a few examples.

    Relations:
        :class:`Paced` grows once. :class:`SelfPaced` scores by the model in training.

    Source:
        Kesgin and Amasyali, Cyclical curriculum learning, 2022, arXiv 2202.05531 (code read for the card). Ours: the
        floor under losses; the run ends at its budget, not after the last episode.
    """

    spec_name: ClassVar[str] = "cyclical"
    arrange: ClassVar[str] = "shuffled"
    repeat: ClassVar[bool] = False
    steady: ClassVar[bool] = True

    start: float = 0.25
    end: float = 1.0
    alpha: float = 0.5
    shape: Shape = "cycle"
    favour: Literal["easy", "hard", "random", "exponential"] = "easy"
    rate: float = 0.5
    floor: float = 1e-6
    by: str = "loss"

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        _check(self.start, self.end, self.alpha, 1.0)
        if self.shape not in ("cycle", "sharp", "up", "down"):
            raise ValueError(f'Cyclical: shape must be cycle, sharp, up or down, got "{self.shape}".')
        if self.favour not in ("easy", "hard", "random", "exponential"):
            raise ValueError(f'Cyclical: favour must be easy, hard, random or exponential, got "{self.favour}".')
        for name, value in (("rate", self.rate), ("floor", self.floor)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"Cyclical: {name} must be a finite number > 0, got {value}.")

    def columns(self) -> tuple[str, ...]:
        """Return the column it needs."""
        return (self.by,)

    def sizes(self, budget: float) -> list[float]:
        """Return the share of the data in each episode of a run of ``budget`` times the data."""
        bounds = (self.start, self.end, self.alpha)
        if self.shape == "cycle":
            return cycle_sizes(*bounds, budget=budget)
        if self.shape == "sharp":
            return sharp_cycle_sizes(*bounds, budget=budget)
        return geometric_sizes(*bounds, budget=budget, direction=self.shape)

    def boundaries(self, num_samples: int, num_examples: int) -> NDArray[np.int64]:
        """Return the positions at which episodes begin."""
        counts: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        budget = num_samples / num_examples
        # Whole examples leave an episode a little smaller than its share, so that another may be needed at the end.
        while counts.sum() < num_samples:
            counts = np.maximum(1, np.floor(np.array(self.sizes(budget)) * num_examples + 1e-9).astype(np.int64))
            budget += 1.0
        begins = np.concatenate(([0], np.cumsum(counts)[:-1]))
        return begins[begins < num_samples]

    def log_weights(self, progress: float, scores: NDArray[Any]) -> NDArray[Any]:
        """Return the logarithm of ``q`` up to a constant, shape ``(n,)``; single precision above a million examples."""
        losses = clean_scores(scores, self.spec_name)
        if losses.min() < 0:
            raise ValueError(f"Cyclical: losses must be >= 0, got {losses.min():g} at {int(np.argmin(losses))}.")
        found = np.empty(len(losses), dtype=np.float32 if len(losses) > 1 << 20 else np.float64)
        for start in range(0, len(losses), _BLOCK):
            piece = losses[start : start + _BLOCK].astype(np.float64)
            if self.favour in ("easy", "hard"):
                logs = np.log(np.maximum(piece, self.floor)) * (1 if self.favour == "hard" else -1)
            elif self.favour == "exponential":
                logs = -self.rate * piece
            else:
                logs = np.zeros(len(piece))
            found[start : start + _BLOCK] = logs
        return found

    def weights(self, progress: float, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probability of each example, shape ``(n,)``."""
        logs = self.log_weights(progress, scores).astype(np.float64)
        found = np.exp(logs - logs.max())
        return np.asarray(found / found.sum())
