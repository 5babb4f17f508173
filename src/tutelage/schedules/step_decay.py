"""StepDecay: the rate drops by a factor at given points of the run."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from tutelage.durations import RunFraction, Steps
from tutelage.schedules._protocol import Schedule, check_common, require


@dataclass(frozen=True, kw_only=True, repr=False)
class StepDecay(Schedule):
    """A staircase: the rate is multiplied by ``gamma`` at each milestone.

    The classic of image classification, and the baseline its papers compare with.

    **Formula**: with ``k`` the number of milestones ``m`` for which ``step >= ceil(m total_steps)``::

        rate = peak gamma^k

    Values: ``0``: ``peak / max(warmup, 1)``; ``warmup - 1``: ``peak``; ``warmup``: ``peak``; ``total_steps - 1``:
    ``peak * gamma ** len(milestones)``; ``total_steps``: ``peak * gamma ** len(milestones)``.

    Args:
        peak: Highest rate, > 0.
        total_steps: Updates in the run, >= 1.
        milestones: Rising fractions of the run, warm-up included, each in (0, 1), none within warm-up. In a spec
            ``milestones=0.5/0.75`` or ``milestones=300steps/450steps``. Half and three quarters are the rival that UBA
            (arXiv 2505.24452) is compared with.
        gamma: Factor of one drop, in (0, 1]; 0.1 is usual.
        warmup: Updates of linear warm-up, counted inside the total.

    Returns:
        Rates in ``[peak gamma^len(milestones), peak]`` (less during warm-up), same shape as ``step``.

    Raises:
        ValueError: ``peak`` not finite or <= 0, ``gamma`` outside (0, 1], milestones not rising, outside (0, 1) or
            within warm-up, ``warmup`` outside [0, total_steps), ``total_steps`` below 1, a negative step.

    Example:
        >>> schedule = StepDecay(peak=1.0, total_steps=100)
        >>> [round(schedule(step), 4) for step in (0, 49, 50, 74, 75, 100)]
        [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]

    Use with:
        PyTorch: ``to_torch``. transformers, TRL: ``use_in_trainer(trainer, "step:gamma=0.2")``. Lightning:
        ``to_lightning``. Optax: as it is.

    Helps / does not help:
        Simple to read off a curve, but the milestones have to be tuned for every length of run; smooth decays need no
        such tuning and end as low or lower on short budgets (arXiv 1905.04753).

    Relations:
        A staircase of :class:`Exponential`.

    Source:
        He et al., Deep residual learning for image recognition, 2015, arXiv 1512.03385, section 4.2 (tenfold drops at
        about half and three quarters). ``MultiStepLR`` of PyTorch with milestones in updates, checked against its
        source.
    """

    spec_name: ClassVar[str] = "step"

    peak: float
    total_steps: Steps
    milestones: tuple[RunFraction, ...] = (0.5, 0.75)
    gamma: float = 0.1
    warmup: Steps = 0

    def __post_init__(self) -> None:
        """Check every argument."""
        object.__setattr__(self, "milestones", tuple(self.milestones))
        check_common(self)
        require(0 < self.gamma <= 1, "StepDecay", "gamma", "> 0 and <= 1", self.gamma)
        chain = (0.0, *self.milestones, 1.0)
        rising = all(earlier < later for earlier, later in itertools.pairwise(chain))
        require(rising, "StepDecay", "milestones", "rising fractions of the run in (0, 1)", self.milestones)
        first = next(iter(self.boundaries), self.total_steps)
        require(
            first >= self.warmup, "StepDecay", "milestones", f"after warm-up ({self.warmup} updates)", self.milestones
        )

    @property
    def boundaries(self) -> tuple[int, ...]:
        """The updates at which the rate drops."""
        # Rounding first keeps 0.07 * 100 = 7.000000000000001 at update 7.
        return tuple(math.ceil(round(milestone * self.total_steps, 6)) for milestone in self.milestones)

    def _rate(self, t: Any, xp: Any) -> Any:
        rate = xp.full_like(t, self.peak)
        for drops, boundary in enumerate(self.boundaries, start=1):
            rate = xp.where(t >= boundary - self.warmup, self.peak * self.gamma**drops, rate)
        return rate
