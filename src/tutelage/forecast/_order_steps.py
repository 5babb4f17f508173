"""One update of an optimizer as a function of its gradient, and its expansion around another gradient.

Written with operators only, so that the same lines serve tensors of one run, shape ``(d,)``, and of many orders at
once, shape ``(orders, d)``; nothing here imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: The state of an optimizer, element by element.
State = tuple[Any, ...]
Rate = float | Sequence[float] | Callable[[int], float]


def rates_of(lr: Rate, count: int) -> tuple[float, ...]:
    """Return the learning rate of each of ``count`` updates.

    Raises:
        ValueError: Not as many rates as updates, or a rate that is negative or not finite.
    """
    if callable(lr):
        rates = tuple(float(lr(step)) for step in range(count))
    elif isinstance(lr, int | float):
        rates = (float(lr),) * count
    else:
        rates = tuple(float(one) for one in lr)
    if len(rates) != count:
        raise ValueError(f"lr must give one rate an update, {count} in all, got {len(rates)}.")
    for step, rate in enumerate(rates):
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"lr must be finite and >= 0, got {rate} at update {step}.")
    return rates


@dataclass(frozen=True, kw_only=True)
class AdamSpec:
    """Adam, or AdamW where ``weight_decay`` is above 0, as :class:`torch.optim.AdamW` computes it.

    Args:
        lr: Learning rate: a number, one for each update, or a schedule called with the update's number.
        betas: Decay of the mean gradient and of the mean square, each in ``[0, 1)``.
        eps: Added to the root, > 0.
        weight_decay: Share of the weights, times the rate, taken off at each update, >= 0.

    Raises:
        ValueError: An argument out of range.

    Example:
        >>> AdamSpec(lr=1e-3).betas
        (0.9, 0.999)
    """

    lr: Rate
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check every argument but the rate, whose length only the forecaster knows."""
        for name, beta in zip(("betas[0]", "betas[1]"), self.betas, strict=True):
            if not 0 <= beta < 1:
                raise ValueError(f"AdamSpec: {name} must be in [0, 1), got {beta}.")
        if not self.eps > 0:
            raise ValueError(f"AdamSpec: eps must be > 0, got {self.eps}.")
        if not self.weight_decay >= 0:
            raise ValueError(f"AdamSpec: weight_decay must be >= 0, got {self.weight_decay}.")

    def begin(self, theta: Any) -> State:
        """Return the state before the first update of weights ``theta``."""
        return theta * 0, theta * 0

    def step(self, theta: Any, state: State, gradient: Any, t: int, rate: float) -> tuple[Any, State]:
        """Return weights and state after update ``t`` (from 0) by ``gradient``."""
        mean, square = self._moments(state, gradient)
        root = (square / (1 - self.betas[1] ** (t + 1))).sqrt() + self.eps
        update = mean / (1 - self.betas[0] ** (t + 1)) / root
        return theta * (1 - rate * self.weight_decay) - update * rate, (mean, square)

    def _moments(self, state: State, gradient: Any) -> State:
        b1, b2 = self.betas
        return state[0] * b1 + gradient * (1 - b1), state[1] * b2 + gradient * gradient * (1 - b2)

    def expansion(self, state: State, gradient: Any, first: Any, second: Any, t: int) -> tuple[Any, Any, Any]:
        """Return the update's direction at ``gradient`` and its first and second derivative along a move.

        Args:
            state: Moments before the update, held fixed.
            gradient: Gradient where the expansion starts.
            first: First derivative of the gradient along the move, ``h Delta``.
            second: Its second derivative, ``k Delta^2``.
            t: Number of the update, from 0.
        """
        b1, b2 = self.betas
        c1, c2 = 1 - b1 ** (t + 1), 1 - b2 ** (t + 1)
        mean, square = self._moments(state, gradient)
        m, s = mean / c1, (square / c2).sqrt()
        # A weight that never had a gradient has no root to differentiate: its terms are 0, not 0 / 0.
        known = (s > 0).to(s.dtype)
        safe = s + (1 - known)
        m1, m2 = first * ((1 - b1) / c1), second * ((1 - b1) / c1)
        v1 = gradient * first * (2 * (1 - b2) / c2)
        v2 = (first * first + gradient * second) * (2 * (1 - b2) / c2)
        s1 = v1 / (2 * safe) * known
        s2 = (v2 / (2 * safe) - v1 * v1 / (4 * safe * safe * safe)) * known
        root = s + self.eps
        one = (m1 / root - m * s1 / (root * root)) * known
        two = m2 / root - 2 * m1 * s1 / (root * root) - m * s2 / (root * root) + 2 * m * s1 * s1 / (root * root * root)
        return m / root, one, two * known

    def expanded_step(self, gamma: Any, direction: Any, rate: float) -> Any:
        """Return weights after an update whose direction was found by expansion."""
        return gamma * (1 - rate * self.weight_decay) - direction * rate


@dataclass(frozen=True, kw_only=True)
class SGDSpec:
    """Stochastic gradient descent, with momentum where asked, as :class:`torch.optim.SGD` computes it.

    Args:
        lr: Learning rate: a number, one for each update, or a schedule called with the update's number.
        momentum: Decay of the sum of gradients, in ``[0, 1)``.

    Raises:
        ValueError: ``momentum`` out of range.

    Example:
        >>> SGDSpec(lr=0.1).momentum
        0.0
    """

    lr: Rate
    momentum: float = 0.0

    def __post_init__(self) -> None:
        """Check the momentum."""
        if not 0 <= self.momentum < 1:
            raise ValueError(f"SGDSpec: momentum must be in [0, 1), got {self.momentum}.")

    def begin(self, theta: Any) -> State:
        """Return the state before the first update of weights ``theta``."""
        return (theta * 0,)

    def step(self, theta: Any, state: State, gradient: Any, t: int, rate: float) -> tuple[Any, State]:
        """Return weights and state after update ``t`` (from 0) by ``gradient``."""
        moving = state[0] * self.momentum + gradient
        return theta - moving * rate, (moving,)

    def expansion(self, state: State, gradient: Any, first: Any, second: Any, t: int) -> tuple[Any, Any, Any]:
        """Return the update's direction and its derivatives along a move; see :meth:`AdamSpec.expansion`."""
        return state[0] * self.momentum + gradient, first, second

    def expanded_step(self, gamma: Any, direction: Any, rate: float) -> Any:
        """Return weights after an update whose direction was found by expansion."""
        return gamma - direction * rate


OptimizerSpec = AdamSpec | SGDSpec
