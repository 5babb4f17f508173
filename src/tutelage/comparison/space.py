"""Search spaces: which settings of a recipe are tuned, in which ranges, and quasi-random points in them.

A recipe with named gaps, ``"cosine;adamw:weight_decay={decay};peak={peak}"``, and an axis for each name make a
submission in the sense of the AlgoPerf benchmark: an algorithm together with the space it is tuned in.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.errors import ConfigError, did_you_mean
from tutelage.randomness import numpy_generator

Value = float | int | str
#: Points of the sequence that are passed over; its beginning is less even.
_SKIP = 100
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_RANGE = re.compile(rf"^(?P<log>log:)?(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})$", re.IGNORECASE)


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, drawn evenly, or evenly in their logarithm.

    Args:
        low: Lower end.
        high: Upper end, above ``low``.
        log: Even in the logarithm; ``low`` must be > 0.

    Raises:
        ConfigError: Ends that are not finite, not in order, or <= 0 where ``log``.

    Example:
        >>> Range(1e-4, 1e-2, log=True).at(0.5), Range(0.0, 1.0).at(0.25)
        (0.001, 0.25)
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        """Check both ends."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(f"Range: low must be below high, both finite, got {self.low:g} and {self.high:g}.")
        if self.log and self.low <= 0:
            raise ConfigError(f"Range: low must be > 0 on a logarithmic axis, got {self.low:g}.")

    def at(self, place: float) -> float:
        """Return the number at ``place`` in [0, 1), to five significant digits."""
        value = self.low * (self.high / self.low) ** place if self.log else self.low + place * (self.high - self.low)
        return float(f"{value:.5g}")


@dataclass(frozen=True)
class Choice:
    """One of several values, each as likely.

    Args:
        values: The values, at least one.

    Raises:
        ConfigError: No value.

    Example:
        >>> Choice((0.02, 0.05, 0.1)).at(0.5)
        0.05
    """

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        """Refuse nothing to choose from."""
        if not self.values:
            raise ConfigError("Choice: give at least one value.")

    def at(self, place: float) -> Value:
        """Return the value at ``place`` in [0, 1)."""
        return self.values[int(place * len(self.values))]


Axis = Range | Choice
Space = Mapping[str, Axis | str | Sequence[Value]]


def parse_axis(value: Axis | str | Sequence[Value]) -> Axis:
    """Read an axis: ``"log:1e-4..1e-2"``, ``"0.8..0.99"``, or a choice, ``"0.02/0.05/0.1"`` or a list of values.

    Raises:
        ConfigError: None of these.

    Example:
        >>> parse_axis("log:1e-4..1e-2"), parse_axis("linear/cosine")
        (Range(low=0.0001, high=0.01, log=True), Choice(values=('linear', 'cosine')))
    """
    if isinstance(value, (Range, Choice)):
        return value
    if not isinstance(value, str):
        return Choice(tuple(value))
    found = _RANGE.match(value.replace(" ", ""))
    if found is not None:
        return Range(float(found["low"]), float(found["high"]), log=found["log"] is not None)
    if ".." in value:
        raise ConfigError(f'axis "{value}" is no range; write 0.8..0.99, or log:1e-4..1e-2 for an even logarithm.')
    return Choice(tuple(_plain(piece.strip()) for piece in value.split("/") if piece.strip()))


def parse_space(space: Space | None) -> dict[str, Axis]:
    """Return every axis of a space, read from its spelling.

    Raises:
        ConfigError: Every fault in one message.
    """
    axes: dict[str, Axis] = {}
    faults: list[str] = []
    for name, value in (space or {}).items():
        if not name.isidentifier():
            faults.append(f'"{name}" is no name of an axis; use letters, digits and underscores')
        try:
            axes[name] = parse_axis(value)
        except ConfigError as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise ConfigError("; ".join(fault.rstrip(".") for fault in faults) + ".")
    return axes


def halton(space: Space, n: int, seed: int) -> list[dict[str, Value]]:
    """Return ``n`` points of a search space that cover it more evenly than chance would.

    Five random points often leave half an axis empty; these do not. Axes with the same places in two spaces get the
    same relative draws under one seed.

    **Formula**: point ``i`` has on axis ``d`` the place ``u = H_d(i + 100)`` in [0, 1), with ``H_d`` the Halton
    sequence of the ``d``-th prime, its digits permuted at random; a range takes ``low + u (high - low)`` or
    ``low (high / low)^u``, a choice of ``m`` values the one at ``floor(m u)``.

    Args:
        space: Axes by name: :class:`Range`, :class:`Choice`, or their spelling (:func:`parse_axis`).
        n: Points, >= 1.
        seed: Of the permutations; another one gives an independent set of points.

    Returns:
        One dictionary a point, with the axes' names.

    Raises:
        ConfigError: An axis that cannot be read, or no point.

    Example:
        >>> points = halton({"peak": "log:1e-4..1e-2", "warmup": [0.02, 0.1]}, 4, seed=0)
        >>> [sum(point["peak"] < 1e-3 for point in points), sum(point["warmup"] == 0.1 for point in points)]
        [2, 2]

    Source:
        Critical hyper-parameters: no random, no cry, Bousquet et al., 2017, arXiv 1706.03200, section 3; the benchmark
        skips 100 points too, but takes large primes and random shifts where SciPy's ``qmc.Halton`` takes small primes
        and permuted digits.
    """
    axes = parse_space(space)
    if n < 1:
        raise ConfigError(f"halton: n must be >= 1, got {n}.")
    if not axes:
        return [{} for _ in range(n)]
    from scipy.stats import qmc

    sequence = qmc.Halton(d=len(axes), scramble=True, seed=numpy_generator(seed, "halton"))
    sequence.fast_forward(_SKIP)
    return [
        {name: axis.at(float(place)) for (name, axis), place in zip(axes.items(), places, strict=True)}
        for places in sequence.random(n)
    ]


def gaps(recipe: str) -> list[str]:
    """Return the names in braces in a recipe, each once, in order.

    Raises:
        ConfigError: Braces that do not match, or without a plain name between them.

    Example:
        >>> gaps("cosine:warmup={warmup};adamw;peak={peak}")
        ['warmup', 'peak']
    """
    try:
        pieces = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(recipe) if name is not None]
    except ValueError as error:
        raise ConfigError(f'recipe "{recipe}": {error}.') from None
    for name, spec, how in pieces:
        if not name.isidentifier() or spec or how:
            raise ConfigError(f'recipe "{recipe}": braces hold the name of an axis, such as peak={{peak}}.')
    return list(dict.fromkeys(name for name, _, _ in pieces))


def axes_of(recipe: str, axes: Mapping[str, Axis]) -> dict[str, Axis]:
    """Return the axes a recipe names, in the order of the space.

    Raises:
        ConfigError: It names an axis that the space does not have.
    """
    named = gaps(recipe)
    for name in named:
        if name not in axes:
            raise ConfigError(
                f'recipe "{recipe}": no axis "{name}" in the search space.{did_you_mean(name, axes)} '
                f"Axes: {', '.join(axes) or 'none'}."
            )
    return {name: axis for name, axis in axes.items() if name in named}


def fill(recipe: str, point: Mapping[str, Value]) -> str:
    """Return the recipe with a point's values in place of their names."""
    return recipe.format(**point)


def _plain(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
