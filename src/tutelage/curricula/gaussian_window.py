"""GAIN-RL's sampling: a Gaussian window over the ranking of the prompts, moved on by accuracy and angles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.curricula._batches import scored_batches
from tutelage.curricula._shared import clean_scores, spec_of


@dataclass(frozen=True, kw_only=True, repr=False)
class GaussianWindow:
    """Draws around a centre in the ranking of the examples; the better the model does, the faster the centre moves on.

    Made for reinforcement learning on prompts ranked by angle concentration; any score and any accuracy will do.

    **Formula**: rank ``r`` = 0 is the first of ``n`` examples. Window ``t`` draws ``draws`` ranks without replacement
    with ``p(r)`` proportional to ``exp(-(r - mu_t)^2 / (2 sigma^2))`` and serves them in order of rank. ``mu_0 = 0``;
    after accuracy ``A`` and concentration ``C`` of a window, ``mu`` grows by
    ``clip(step/2 tanh(alpha (A - beta)) + step/2 tanh(alpha C), 0, step)`` and stays within ``[0, n - 1]``. ``sigma``
    and ``step`` are shares of ``n`` up to 1, numbers of examples above.

    Args:
        draws: Examples in a window, >= 1; the paper's batch.
        sigma: Width of the window, > 0.
        step: Farthest the centre moves at once, > 0.
        alpha: How sharply it answers, > 0.
        beta: Accuracy aimed at, in [0, 1].
        first: Which scores have rank 0: ``"high"`` (concentrated angles) or ``"low"``.
        repeat: Let a window of more draws than examples go through them again.
        by: Column or signal of the scores.

    Returns:
        ``weights(progress, scores, center=...)``: probabilities by example that sum to 1, float64 ``(n,)``.
        ``move(center, n, accuracy, angle)``: the new centre. A sampler's ``observe(accuracy=..., angle=...)`` moves it.

    Raises:
        ValueError: An argument outside its range, NaN scores, ``accuracy`` outside [0, 1] or ``angle`` not finite.

    Example:
        >>> window = GaussianWindow(sigma=2, draws=2, first="low")
        >>> window.weights(0.0, np.arange(5.0), center=1.0).round(6)
        array([0.238759, 0.27055 , 0.238759, 0.164097, 0.087835])
        >>> round(GaussianWindow(step=1000).move(0.0, 7473, accuracy=0.8, angle=0.3), 4)
        537.0496

    Use with:
        TRL's GRPO: ``use_with_trainer(trainer, sampler)``, and ``sampler.observe(accuracy=..., angle=...)`` after each
        window. Supervised: accuracy of tokens. Without angles give ``angle=0``.

    Helps / does not help:
        The paper reports 2.5 times fewer epochs of GRPO to equal accuracy and better ends from half the data. Angle
        concentration goes with the length of a prompt: compare within one template.

    Relations:
        :class:`Paced` with ``first=easy`` never leaves the easy examples behind; this window does.

    Source:
        Wang et al., Angles don't lie (GAIN-RL), 2025, arXiv 2506.02281 (update, clips and defaults from its code, read
        for the card). Its sigma and step are 1000 of about 7,500 prompts, here shares of 0.134. Ours: the centre stays
        in the data.
    """

    spec_name: ClassVar[str] = "gaussian-window"
    arrange: ClassVar[str] = "ranked"

    draws: int = 256
    sigma: float = 0.134
    step: float = 0.134
    alpha: float = 2.0
    beta: float = 0.5
    first: Literal["high", "low"] = "high"
    repeat: bool = False
    by: str = "angle"

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.draws < 1:
            raise ValueError(f"GaussianWindow: draws must be >= 1, got {self.draws}.")
        for name, value in (("sigma", self.sigma), ("step", self.step), ("alpha", self.alpha)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"GaussianWindow: {name} must be a finite number > 0, got {value}.")
        if not 0 <= self.beta <= 1:
            raise ValueError(f"GaussianWindow: beta must be >= 0 and <= 1, got {self.beta}.")
        if self.first not in ("high", "low"):
            raise ValueError(f'GaussianWindow: first must be high or low, got "{self.first}".')

    def columns(self) -> tuple[str, ...]:
        """Return the column it needs."""
        return (self.by,)

    def ranks(self, scores: ArrayLike) -> NDArray[np.int64]:
        """Return the rank of each example, equal scores in the order of the examples, shape ``(n,)``."""
        column = clean_scores(scores, self.spec_name)
        found = np.empty(len(column), dtype=np.int64)
        found[np.argsort(-column if self.first == "high" else column, kind="stable")] = np.arange(len(column))
        return found

    def boundaries(self, num_samples: int, num_examples: int) -> NDArray[np.int64]:
        """Return the positions at which windows begin."""
        return np.arange(0, num_samples, self.draws if self.repeat else min(self.draws, num_examples))

    def weights(self, progress: float, scores: NDArray[Any], *, center: float = 0.0) -> NDArray[np.float64]:
        """Return the probability of each example in a window about rank ``center``, shape ``(n,)``."""
        return window(self.ranks(scores), center, self._width(len(scores)))

    def move(self, center: float, examples: int, *, accuracy: float, angle: float) -> float:
        """Return the centre after a window of that mean accuracy and angle concentration."""
        if not 0 <= accuracy <= 1:
            raise ValueError(f"GaussianWindow: accuracy must be >= 0 and <= 1, got {accuracy}.")
        if not math.isfinite(angle):
            raise ValueError(f"GaussianWindow: angle must be a finite number, got {angle}.")
        most = self.step * examples if self.step <= 1 else self.step
        raw = most / 2 * (math.tanh(self.alpha * (accuracy - self.beta)) + math.tanh(self.alpha * angle))
        return min(max(0.0, center + min(max(0.0, raw), most)), examples - 1.0)

    def controller(self, scores: NDArray[Any]) -> WindowCenter:
        """Return the centre as something that is told what was seen; a sampler does this."""
        return WindowCenter(self, scores)

    def _width(self, examples: int) -> float:
        return self.sigma * examples if self.sigma <= 1 else self.sigma


def window(ranks: NDArray[np.int64], center: float, sigma: float) -> NDArray[np.float64]:
    """Return a Gaussian over ``ranks`` that sums to 1, its shape."""
    # From the nearest rank on, so that a narrow window does not vanish between two ranks.
    away = np.square((ranks - center) / sigma) / 2
    found = np.exp(-(away - away.min()))
    return np.asarray(found / found.sum())


class WindowCenter:
    """Where a :class:`GaussianWindow` stands; moves when told what was seen.

    Args:
        part: The settings.
        scores: Scores of the examples, shape ``(n,)``.
    """

    def __init__(self, part: GaussianWindow, scores: NDArray[Any]) -> None:
        self.part, self._ranks, self.center = part, part.ranks(scores), 0.0

    def log_weights(self, progress: float, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Return the log-weights of the window, up to a constant, shape ``(n,)``."""
        return np.asarray(-np.square((self._ranks - self.center) / self.part._width(len(scores))) / 2)

    def observe(self, *, accuracy: float, angle: float = 0.0) -> None:
        """Move the centre on."""
        self.center = self.part.move(self.center, len(self._ranks), accuracy=accuracy, angle=angle)

    def state_dict(self) -> dict[str, float]:
        """Return the centre."""
        return {"center": self.center}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a stored centre."""
        self.center = float(state["center"])
