"""What a schedule with feedback is: a controller that says what to run next and is told how it went.

The training loop (or anyone's) does four things: keep a copy of weights, optimizer state and data position (the
*anchor*), go back to it, make updates at given rates, and report losses. :class:`RateController` decides the rest::

    controller = settings.controller(seed=0)
    anchor = snapshot()
    while (segment := controller.propose()) is not None:
        if segment.restore:
            go_back(anchor)
        losses = run(segment)
        controller.observe(losses)
        if segment.kind == "train":
            anchor = snapshot()
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tutelage.schedules._protocol import Schedule, require


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of updates to make next.

    Args:
        kind: ``"train"``: these updates count as training, and the state after them is the new anchor. ``"probe"``:
            they are search cost and will be undone.
        rate: Learning rate of every update, or a tuple with one rate for each.
        steps: Updates, >= 1.
        restore: Go back to the anchor first.
        validate_every: ``None``: report the training loss of each update. A number: report the validation loss after
            every so many updates instead, ``steps // validate_every`` values.

    Raises:
        ValueError: A rate that is negative or not finite, another number of rates than steps, a count below 1.

    Example:
        >>> Segment(kind="train", rate=(0.1, 0.2), steps=2, restore=False).rates()
        array([0.1, 0.2])
    """

    kind: Literal["train", "probe"]
    rate: float | tuple[float, ...]
    steps: int
    restore: bool = False
    validate_every: int | None = None

    def __post_init__(self) -> None:
        """Check every argument."""
        require(self.kind in ("train", "probe"), "Segment", "kind", '"train" or "probe"', self.kind)
        require(self.steps >= 1, "Segment", "steps", ">= 1", self.steps)
        rates = self.rate if isinstance(self.rate, tuple) else (self.rate,)
        require(all(math.isfinite(r) and r >= 0 for r in rates), "Segment", "rate", "finite and >= 0", self.rate)
        if isinstance(self.rate, tuple):
            require(len(rates) == self.steps, "Segment", "rate", f"one for each of {self.steps} steps", self.rate)
        if self.validate_every is not None:
            bound = f">= 1 and <= steps ({self.steps})"
            require(1 <= self.validate_every <= self.steps, "Segment", "validate_every", bound, self.validate_every)

    def rates(self) -> NDArray[np.float64]:
        """Return the rate of each update, shape ``(steps,)``."""
        return np.broadcast_to(np.asarray(self.rate, dtype=np.float64), (self.steps,)).copy()

    @property
    def observations(self) -> int:
        """How many losses :meth:`RateController.observe` takes after this segment."""
        return self.steps if self.validate_every is None else self.steps // self.validate_every


class RateController(Protocol):
    """Chooses rates while the model trains; everything it knows is in its settings, its seed and its state."""

    @property
    def search_steps(self) -> int:
        """Updates spent on probes so far."""

    @property
    def train_steps(self) -> int:
        """Updates of training so far, warm-up included."""

    def propose(self) -> Segment | None:
        """Return what to run next, the same until :meth:`observe` is called; ``None`` when the budget is used up."""

    def observe(self, losses: Sequence[float]) -> None:
        """Take the losses of the segment just run, :attr:`Segment.observations` of them, in order."""

    def state_dict(self) -> dict[str, Any]:
        """Return the position as JSON-able values; floats survive JSON exactly."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position returned by :meth:`state_dict` of a controller with the same settings and seed."""

    def schedule(self) -> Schedule:
        """Return the rates found so far as a schedule over the training updates."""
