"""OneCycle: up, then all the way down, as one cycle over the run."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from tutelage.durations import RunFraction, Steps
from tutelage.schedules._protocol import Schedule, check_common, require
from tutelage.schedules._shapes import require_one_of, share_left


@dataclass(frozen=True, kw_only=True, repr=False)
class OneCycle(Schedule):
    """A long rise to a high peak and a fall far below the start: large rates as a regulariser, in few updates.

    **Formula**: with ``b = round(rise total_steps)``, ``start = peak / div_factor`` and
    ``end = start / final_div_factor``::

        step <= b           up    from start to peak,  u = step / b
        two phases          down  from peak to end,    u = (step - b) / (total_steps - b)
        three phases        down  from peak to start,  u = (step - b) / b, until 2 b
                            down  from start to end,   u = (step - 2 b) / (total_steps - 2 b)

    along ``(1 + cos(pi u)) / 2`` (``cosine``) or ``1 - u`` (``linear``).

    Values: ``0``: ``peak / div_factor``; ``b``: ``peak``; ``total_steps``: ``peak / div_factor / final_div_factor``;
    ``total_steps - 1``: ``end + (peak - end) * (1 + cos(pi * (1 - 1 / (total_steps - b)))) / 2``.

    Args:
        peak: Highest rate, > 0.
        total_steps: Updates in the run, >= 2.
        rise: Fraction of the run the rise takes, in (0, 1), rounded to whole updates; below 0.5 with three phases.
        up: Shape of the rise.
        down: Shape of each fall.
        div_factor: ``peak`` over the rate at step 0, >= 1.
        final_div_factor: The rate at step 0 over the one at the end, >= 1.
        three_phase: Come back to the start symmetrically before the last fall, as in the paper.

    Returns:
        Rates in ``[end, peak]``, same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, a factor not finite or below 1, an unknown shape, ``rise`` that leaves
            no update for one of the phases, a negative step.

    Example:
        >>> schedule = OneCycle(peak=1.0, total_steps=100)
        >>> [round(schedule(step), 6) for step in (0, 15, 30, 65, 99, 100)]
        [0.04, 0.52, 1.0, 0.500002, 0.000507, 4e-06]

    Use with:
        PyTorch: ``to_torch`` (momentum is left alone). transformers, TRL: ``use_in_trainer(trainer, "one-cycle")``.
        Lightning: ``to_lightning``. Optax: as it is.

    Helps / does not help:
        Made for SGD on images with a peak several times the usual rate. With Adam on text it is a cosine with an
        unusually long warm-up.

    Relations:
        ``torch.optim.lr_scheduler.OneCycleLR(total_steps=N, pct_start=p)`` is, at every update ``0 .. N - 1``,
        ``OneCycle(total_steps=N - 1, rise=(p N - 1) / (N - 1))``: PyTorch reaches its end *with* the last update,
        ours after it. Where ``p N`` is not whole PyTorch's peak falls between two updates and is never used; ours is
        moved to the nearest one. PyTorch cycles momentum too, by default.

    Source:
        Smith and Topin, Super-convergence: very fast training of neural networks using large learning rates, 2017,
        arXiv 1708.07120, section 3. Phases, shapes and default factors (0.3, 25, 10,000, cosine) are those of PyTorch,
        checked against its source.
    """

    spec_name: ClassVar[str] = "one-cycle"

    peak: float
    total_steps: Steps
    rise: RunFraction = 0.3
    up: Literal["cosine", "linear"] = "cosine"
    down: Literal["cosine", "linear"] = "cosine"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False
    warmup: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Check every argument."""
        check_common(self)
        for argument in ("div_factor", "final_div_factor"):
            value = getattr(self, argument)
            require(math.isfinite(value) and value >= 1, "OneCycle", argument, "a finite number >= 1", value)
        for argument in ("up", "down"):
            require_one_of("OneCycle", argument, getattr(self, argument), ("cosine", "linear"))
        require(0 < self.rise < 1, "OneCycle", "rise", "> 0 and < 1", self.rise)
        require(
            self.rise_steps >= 1 and self.rise_steps * (1 + self.three_phase) < self.total_steps,
            "OneCycle",
            "rise",
            f"a fraction that leaves at least one of {self.total_steps} updates to each phase",
            self.rise,
        )

    @property
    def rise_steps(self) -> int:
        """The update at which the peak is reached."""
        return round(self.rise * self.total_steps)

    def _rate(self, t: Any, xp: Any) -> Any:
        start = self.peak / self.div_factor
        end = start / self.final_div_factor
        top = self.rise_steps
        turn = 2 * top if self.three_phase else top
        high = xp.where(t < turn, self.peak, start) if self.three_phase else self.peak
        low = xp.where(t < turn, start, end)
        # Progress runs from the phase's high end, which is the later one while the rate rises.
        progress = xp.where(t < turn, xp.abs(t - top) / top, (t - turn) / (self.total_steps - turn))
        left = share_left(self.down, progress, xp)
        if self.up != self.down:
            left = xp.where(t < top, share_left(self.up, progress, xp), left)
        return xp.clip(high * left + low * (1.0 - left), end, self.peak)
