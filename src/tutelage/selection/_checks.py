"""What every selection checks of its input, and how a part writes itself as a spec."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.specs import field_types, spell


class Part(Protocol):
    """A listed part: a frozen dataclass with a spec name."""

    spec_name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


def as_spec(part: Part) -> str:
    """Return the spec that builds ``part`` again."""
    kinds = field_types(type(part))
    given = [
        f"{item.name}={spell(kinds[item.name], value)}"
        for item in dataclasses.fields(part)
        if (value := getattr(part, item.name)) != item.default
    ]
    return f"{part.spec_name}:{','.join(given)}" if given else part.spec_name


def score_array(name: str, scores: ArrayLike, *, missing: str = "refuse", dimensions: int = 1) -> NDArray[np.floating]:
    """Return ``scores`` as floating numbers, in the precision they came in.

    Args:
        name: Who asks, for the message.
        scores: Numbers, shape ``(n,)``, or ``(n, m)`` where ``dimensions`` is 2.
        missing: ``"refuse"``: NaN raises; ``"drop"``: it is left to the caller.
        dimensions: Those wished.

    Raises:
        ValueError: Another number of dimensions, no scores, not numbers, or NaN; names the first place.
    """
    values = np.asarray(scores)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name}: scores must be numbers, got {values.dtype}.")
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    if values.ndim != dimensions:
        wished = "one dimension" if dimensions == 1 else "the shape (examples, columns)"
        raise ValueError(f"{name}: scores must have {wished}, got shape {values.shape}.")
    if not values.size:
        raise ValueError(f"{name}: scores must hold at least one example, got none.")
    # The sum of all is NaN where one is (or where both infinities are): one fast pass instead of an array of marks.
    with np.errstate(invalid="ignore", over="ignore"):
        total = float(np.add.reduce(values, axis=None))
    if missing == "refuse" and math.isnan(total):
        wrong = np.flatnonzero(np.isnan(values.reshape(len(values), -1)).any(axis=1))
        if wrong.size:
            raise ValueError(
                f"{name}: scores must be numbers; {wrong.size} of {len(values)} are NaN, the first at {wrong[0]}; "
                "score them again, or leave them out with missing=drop."
            )
    return values


def present(values: NDArray[np.floating]) -> NDArray[np.int64] | None:
    """Return the places of scores that are not NaN, or ``None`` where all are."""
    wrong = np.isnan(values) if values.ndim == 1 else np.isnan(values).any(axis=1)
    return np.flatnonzero(~wrong) if wrong.any() else None


def check_amount(name: str, **amounts: float | None) -> None:
    """Check that exactly one of ``share``, ``count`` and ``budget`` is given, and lies in its range.

    Raises:
        ValueError: None, several, or one out of range.
    """
    given = {key: value for key, value in amounts.items() if value is not None}
    if len(given) != 1:
        listed = " or ".join(amounts)
        raise ValueError(f"{name}: give exactly one of {listed}, got {', '.join(given) or 'none'}.")
    ((key, value),) = given.items()
    if key == "share" and not 0 < value <= 1:
        raise ValueError(f"{name}: share must be > 0 and <= 1, got {value}.")
    if key == "count" and value < 1:
        raise ValueError(f"{name}: count must be >= 1, got {value}.")
    if key == "budget" and not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}: budget must be a finite number > 0, got {value}.")


def amount_of(name: str, there: int, share: float | None, count: int | None) -> int:
    """Return how many of ``there`` examples a share (to the nearest, at least one) or a count asks for.

    Raises:
        ValueError: More than there are.
    """
    if share is not None:
        return max(1, min(there, math.floor(share * there + 0.5)))
    if count is None or count > there:
        raise ValueError(f"{name}: count must be <= {there}, the examples there are, got {count}.")
    return count


def check_choice(name: str, argument: str, value: str, choices: tuple[str, ...]) -> None:
    """Check a word against those allowed.

    Raises:
        ValueError: It is none of them.
    """
    if value not in choices:
        raise ValueError(f'{name}: {argument} must be {" or ".join(choices)}, got "{value}".')


def beside(name: str, what: str, values: ArrayLike, examples: int) -> NDArray[Any]:
    """Return a column that belongs to the scores.

    Raises:
        ValueError: It has another length.
    """
    column = np.asarray(values)
    if column.shape != (examples,):
        raise ValueError(f"{name}: {what} must have one value an example, shape ({examples},), got {column.shape}.")
    return column


def size_column(name: str, sizes: ArrayLike, examples: int) -> NDArray[np.float64]:
    """Return sizes of examples as float64.

    Raises:
        ValueError: Of another length, negative, or not finite.
    """
    column = beside(name, "sizes", sizes, examples)
    if column.dtype.kind not in "fiub":
        raise ValueError(f"{name}: sizes must be numbers, got {column.dtype}.")
    lengths = column.astype(np.float64)
    wrong = ~(np.isfinite(lengths) & (lengths >= 0))
    if wrong.any():
        place = int(np.argmax(wrong))
        raise ValueError(f"{name}: sizes must be finite and >= 0, got {lengths[place]} at {place}.")
    return lengths
