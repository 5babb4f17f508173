"""Pacing: how the share of admitted examples grows over a run. One family for all curricula that have a pace."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pace = Literal["linear", "quadratic", "root", "exponential", "logarithmic", "step", "geometric", "staircase"]
PACES: tuple[Pace, ...] = (
    "linear", "quadratic", "root", "exponential", "logarithmic", "step", "geometric", "staircase",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pacing:
    """A share that grows from ``low`` to ``high`` over a run: linear, quadratic, root, exponential, ... one family.

    **Formula**: with progress ``p`` and ``u = (p - start) / (end - start)``, the share is ``low`` up to ``start``,
    ``high`` from ``end`` on, and ``low + (high - low) f(u)`` between, never above ``high``::

        linear u    quadratic u^2    root sqrt(u)    exponential (e^10u - 1)/(e^10 - 1)    step 0
        logarithmic 1 + ln(u + e^-10)/10    geometric low (high/low)^u in place of the sum
        staircase: geometric in ``stairs`` equal steps of time, low (high/low)^(floor(stairs u)/stairs)

    Args:
        kind: One of the eight.
        start: Progress at which growth begins, in [0, 1).
        end: Progress at which it is done, > ``start``; above 1 the run ends before it.
        low: Share at the start, in (0, ``high``].
        high: Share at the end, <= 1.
        stairs: Steps of ``staircase``, >= 1.

    Returns:
        ``pacing(progress)``: a float for a float, an array of the same shape for an array.

    Raises:
        ValueError: An unknown ``kind``, ``start`` not in [0, 1) or not below ``end``, ``low`` not above 0 (nothing
            would be admitted) or above ``high``, ``high`` above 1, or ``stairs`` below 1.

    Example:
        >>> [round(Pacing(kind=kind, end=0.8, low=0.2)(0.4), 3) for kind in ("linear", "quadratic", "root", "step")]
        [0.6, 0.4, 0.766, 0.2]

    Use with:
        Any curriculum with a pace; alone as a number over progress: the share of a vocabulary, a mask rate.

    Helps / does not help:
        Over 180 orders and paces no curriculum beat random order with ample time; with few steps or noisy labels easy
        first did. The logarithmic pace is at 0.87 of its way after a quarter of it: almost no curriculum.

    Relations:
        :class:`tutelage.curricula.Competence` has a pace of its own.

    Source:
        Wu, Dyer and Neyshabur, When do curricula work?, 2021, arXiv 2012.03107 (the first six with ``start`` 0, its a
        our ``end`` and its b our ``low``); Martinez et al., CLIMB, 2023, arXiv 2311.08886 (with ``start``, ``end`` and
        ``high``; its code was read for the card); Hacohen and Weinshall, 2019, arXiv 1904.03626 (staircase).
    """

    kind: Pace = "linear"
    start: float = 0.0
    end: float = 1.0
    low: float = 0.1
    high: float = 1.0
    stairs: int = 5

    def __post_init__(self) -> None:
        """Check every argument."""
        check_pacing("Pacing", self.kind, self.start, self.end, self.low, self.high)
        if self.stairs < 1:
            raise ValueError(f"Pacing: stairs must be >= 1, got {self.stairs}.")

    def __call__(self, progress: ArrayLike) -> Any:
        """Return the share at ``progress``."""
        reached = np.asarray(progress, dtype=np.float64)
        shares = self._shares(reached)
        return float(shares) if reached.ndim == 0 else shares

    def _shares(self, reached: NDArray[np.float64]) -> NDArray[np.float64]:
        along = np.clip((reached - self.start) / (self.end - self.start), 0.0, 1.0)
        low, rise = self.low, self.high - self.low
        if self.kind in ("geometric", "staircase"):
            # The small number keeps whole stairs whole where division has left a little less.
            steps = along if self.kind == "geometric" else np.floor(self.stairs * along + 1e-9) / self.stairs
            grown = low * (self.high / low) ** steps
        else:
            grown = low + rise * _SHAPES[self.kind](along)
        return np.where(along >= 1.0, self.high, np.clip(grown, low, self.high))

    def change_points(self, num_samples: int, stages: int) -> NDArray[np.int64]:
        """Return the positions of a run at which a pace looked at ``stages`` times changes, ascending from 0.

        Looks are evenly spaced from ``start`` to ``end``; while the share rests there is nothing to look at.

        Raises:
            ValueError: ``stages`` below 1.
        """
        if stages < 1:
            raise ValueError(f"Pacing: stages must be >= 1, got {stages}.")
        if self.kind == "staircase":
            looks = np.arange(1, self.stairs + 1) / self.stairs
        elif self.kind == "step":
            looks = np.array([1.0])
        else:
            looks = np.arange(1, stages + 1) / stages
        positions = np.ceil((self.start + looks * (self.end - self.start)) * num_samples - 1e-9).astype(np.int64)
        return np.unique(np.concatenate(([0], positions[positions < num_samples])))


def check_pacing(owner: str, kind: str, start: float, end: float, low: float, high: float) -> None:
    """Raise ``ValueError`` in the name of ``owner`` for what no pace can be made of."""
    if kind not in PACES:
        raise ValueError(f'{owner}: kind must be one of {", ".join(PACES)}, got "{kind}".')
    if not 0 <= start < 1:
        raise ValueError(f"{owner}: start must be >= 0 and < 1, a share of the run, got {start}.")
    if not (math.isfinite(end) and end > start):
        raise ValueError(f"{owner}: end must be above start={start:g}, got {end}.")
    if not 0 < low <= 1:
        raise ValueError(f"{owner}: low must be > 0 and <= 1, or nothing is admitted at the start, got {low}.")
    if not low <= high <= 1:
        raise ValueError(f"{owner}: high must be >= low={low:g} and <= 1, got {high}.")


def pacing(
    kind: Pace,
    total_steps: int,
    *,
    start: float = 0.0625,
    end: float = 0.875,
    low: float = 0.1,
    high: float = 1.0,
) -> Callable[[ArrayLike], Any]:
    """Return a pace over steps: ``share(step)``, for a number or an array of them.

    Growth begins at step ``start * total_steps`` and takes ``int((end - start) * total_steps)`` steps.

    Raises:
        ValueError: ``total_steps`` too small for one step of growth, or what :class:`Pacing` refuses.

    Example:
        >>> pacing("linear", 400_000)([0, 100_000, 187_500, 350_000]).round(6)
        array([0.1     , 0.307692, 0.55    , 1.      ])

    Source:
        Martinez et al., CLIMB, 2023, arXiv 2311.08886 (its defaults).
    """
    check_pacing("pacing", kind, start, end, low, high)
    grows = int((end - start) * total_steps)
    if grows < 1:
        raise ValueError(f"pacing: total_steps must leave a step between start and end, got {total_steps}.")
    shape = Pacing(kind=kind, end=1.0, low=low, high=high)

    def share(step: ArrayLike) -> Any:
        return shape((np.asarray(step, dtype=np.float64) - start * total_steps) / grows)

    return share


_SHAPES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "linear": lambda along: along,
    "quadratic": np.square,
    "root": np.sqrt,
    "exponential": lambda along: np.expm1(10 * along) / math.expm1(10),
    "logarithmic": lambda along: 1 + np.log(along + math.exp(-10)) / 10,
    "step": np.zeros_like,
}
