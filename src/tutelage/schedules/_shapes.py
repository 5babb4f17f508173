"""The curves that more than one schedule is made of; each formula is written once, here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

from tutelage.schedules._protocol import require

#: How a rate goes from one value to another.
Shape = Literal["linear", "cosine", "1-sqrt", "exponential"]


def move(shape: Shape, first: float, last: float, progress: Any, xp: Any) -> Any:
    """Return the rate at ``progress`` of the way from ``first`` to ``last``, exact at both ends.

    Args:
        shape: ``linear`` ``1 - u``, ``cosine`` ``(1 + cos(pi u)) / 2`` and ``1-sqrt`` ``1 - sqrt(u)`` say which share
            of the way is left; ``exponential`` is ``first (last / first)^u``.
        first: Rate at progress 0; > 0 for ``exponential``.
        last: Rate at progress 1; > 0 for ``exponential``.
        progress: Array in [0, 1].
        xp: Its array namespace.
    """
    if shape == "exponential":
        return xp.where(progress < 1.0, first * xp.exp(math.log(last / first) * progress), last)
    return between(first, last, share_left(shape, progress, xp), xp)


def half_wave(progress: Any, xp: Any) -> Any:
    """Return ``(1 + cos(pi u)) / 2``: from 1 at ``u = 0`` to 0 at ``u = 1``, and up again beyond."""
    return (1.0 + xp.cos(xp.pi * progress)) / 2.0


_LEFT: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda progress, xp: 1.0 - progress,
    "cosine": half_wave,
    "1-sqrt": lambda progress, xp: 1.0 - xp.sqrt(progress),
}


def share_left(shape: Shape, progress: Any, xp: Any) -> Any:
    """Return which share of the way is left at ``progress``, from 1 to 0; ``exponential`` has no such share."""
    return _LEFT[shape](progress, xp)


def between(first: float, last: float, left: Any, xp: Any) -> Any:
    """Return ``first`` where ``left`` is 1, ``last`` where it is 0, and never anything outside of the two."""
    return xp.clip(first * left + last * (1.0 - left), min(first, last), max(first, last))


def check_shape(name: str, shape: str, last: float, *, argument: str = "shape") -> None:
    """Refuse a shape that does not exist, or an exponential one that would have to reach 0.

    Raises:
        ValueError: Naming class, argument, bound and value.
    """
    require_one_of(name, argument, shape, get_args(Shape))
    if shape == "exponential":
        require(last > 0, name, "final", f'> 0 with {argument}="exponential", which never reaches 0', last)


def require_one_of(name: str, argument: str, value: object, allowed: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``allowed``."""
    require(value in allowed, name, argument, "one of " + ", ".join(f'"{item}"' for item in allowed), f'"{value}"')
