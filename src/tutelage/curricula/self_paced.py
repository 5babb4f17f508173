"""Self-paced learning: the model's own losses say which examples are easy enough now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula._batches import scored_batches
from tutelage.curricula._shared import clean_scores, spec_of


@dataclass(frozen=True, kw_only=True, repr=False)
class SelfPaced:
    """Trains on the examples whose present loss lies below a threshold that grows round by round.

    The baseline that asks the learner instead of a fixed score; scoring all data anew is its cost.

    **Formula**: ``v_i = 1`` where ``l_i < lambda``, else 0, ``lambda = 1/K`` of the paper. ``lambda_0`` is set so that
    the share ``start`` is in; in round ``k`` it is ``lambda_0 growth^k``, ``k = floor(rounds p)``. ``l`` are the losses
    last observed, at first the scores. Where none lies below, the examples of lowest loss are in.

    Args:
        start: Share admitted in the first round, in (0, 1].
        growth: Factor of the threshold a round, > 1.
        rounds: Rounds in a run, >= 1.
        by: Column or signal of the first losses, >= 0.

    Returns:
        ``weights(progress, scores, initial=...)``: ``v``, float64 ``(n,)``. A sampler's ``observe(losses=...)`` takes
        new losses of all examples; rounds then begin anew from the next example drawn.

    Raises:
        ValueError: An argument outside its range, or losses that are NaN, negative or of another length.

    Example:
        >>> SelfPaced(growth=2.0, rounds=4).weights(0.3, np.array([0.1, 0.2, 0.4, 0.8]))
        array([1., 1., 1., 0.])

    Use with:
        ``sampler = CurriculumSampler("self-paced", losses, num_samples=10 * n, seed=0)``, and a few times in the run
        ``sampler.observe(losses=losses_now)``. To resume, make the sampler with the losses last observed.

    Helps / does not help:
        The paper reports better optima for latent variable models. With deep networks it is often no better than random
        order, and noisy labels are left out for as long as they are not learned by heart.

    Relations:
        :class:`Cyclical` keeps hard examples in play; :class:`Paced` needs no model.

    Source:
        Kumar, Packer and Koller, Self-paced learning for latent variable models, NIPS 2010, with half of the data in
        the first round and a factor of 1.3 (from memory).
    """

    spec_name: ClassVar[str] = "self-paced"
    arrange: ClassVar[str] = "drawn"
    repeat: ClassVar[bool] = True

    start: float = 0.5
    growth: float = 1.3
    rounds: int = 10
    by: str = "loss"

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        if not 0 < self.start <= 1:
            raise ValueError(f"SelfPaced: start must be > 0 and <= 1, got {self.start}.")
        if not (math.isfinite(self.growth) and self.growth > 1):
            raise ValueError(f"SelfPaced: growth must be a finite number > 1, got {self.growth}.")
        if self.rounds < 1:
            raise ValueError(f"SelfPaced: rounds must be >= 1, got {self.rounds}.")

    def columns(self) -> tuple[str, ...]:
        """Return the column it needs."""
        return (self.by,)

    def boundaries(self, num_samples: int, num_examples: int) -> NDArray[np.int64]:
        """Return the positions at which rounds begin."""
        begins = np.ceil(np.arange(self.rounds) * num_samples / self.rounds - 1e-9).astype(np.int64)
        return np.unique(begins[begins < num_samples])

    def initial_threshold(self, losses: NDArray[Any]) -> float:
        """Return ``lambda_0``: just above the loss of the last example of the first round."""
        count = max(1, math.floor(self.start * len(losses) + 1e-9))
        return float(np.nextafter(np.partition(losses, count - 1)[count - 1], np.inf))

    def weights(self, progress: float, scores: NDArray[Any], *, initial: float | None = None) -> NDArray[np.float64]:
        """Return 1.0 for each example that is in, shape ``(n,)``; ``initial`` is ``lambda_0``, else of ``scores``."""
        losses = check_losses(scores)
        threshold = self.initial_threshold(losses) if initial is None else initial
        threshold *= self.growth ** math.floor(self.rounds * progress + 1e-9)
        inside = losses < threshold
        return np.where(inside if inside.any() else losses == losses.min(), 1.0, 0.0)

    def controller(self, scores: NDArray[Any]) -> SelfPace:
        """Return the threshold with the losses last seen; a sampler does this."""
        return SelfPace(self, scores)


def check_losses(losses: Any) -> NDArray[Any]:
    """Return losses as a float array ``(n,)``, all >= 0."""
    found = clean_scores(losses, "SelfPaced", "losses")
    if found.min() < 0:
        raise ValueError(f"SelfPaced: losses must be >= 0, got {found.min():g} at {int(np.argmin(found))}.")
    return found


class SelfPace:
    """The losses a :class:`SelfPaced` run saw last, and its first threshold.

    Args:
        part: The settings.
        losses: Losses of all examples, shape ``(n,)``.
    """

    def __init__(self, part: SelfPaced, losses: NDArray[Any]) -> None:
        self.part, self.losses = part, check_losses(losses)
        self.initial = part.initial_threshold(self.losses)

    def weights(self, progress: float, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Return 1.0 for each example that is in, shape ``(n,)``."""
        return self.part.weights(progress, self.losses, initial=self.initial)

    def observe(self, *, losses: Any) -> NDArray[Any]:
        """Take new losses of all examples."""
        found = check_losses(losses)
        if found.shape != self.losses.shape:
            raise ValueError(f"SelfPaced: losses must have the length {len(self.losses)}, got {len(found)}.")
        self.losses = found
        return found

    def state_dict(self) -> dict[str, float]:
        """Return the first threshold; the losses belong to the sampler's scores."""
        return {"initial": self.initial}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a stored threshold."""
        self.initial = float(state["initial"])
