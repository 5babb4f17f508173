"""What parts of this family share besides the method: their spec as text, and their columns as clean arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.specs import field_types, spell


def spec_of(part: Any) -> str:
    """Return the spec that builds ``part`` again: its name and every argument that is not the default."""
    kind: type = type(part)
    kinds = field_types(kind)
    shown = [
        f"{item.name}={spell(kinds[item.name], getattr(part, item.name))}"
        for item in dataclasses.fields(part)
        if getattr(part, item.name) != item.default
    ]
    return f"{part.spec_name}:{','.join(shown)}" if shown else cast("str", part.spec_name)


def clean_scores(scores: ArrayLike, owner: str, name: str = "scores") -> NDArray[Any]:
    """Return ``scores`` as a float array ``(n,)``; single precision stays single.

    Raises:
        ValueError: Empty, not one-dimensional, no numbers, NaN or infinite.
    """
    found = np.asarray(scores)
    if found.dtype.kind in "biu":
        found = found.astype(np.float64)
    if found.dtype.kind != "f":
        raise ValueError(f"{owner}: {name} must be numbers, got {found.dtype}.")
    if found.dtype not in (np.float32, np.float64):
        found = found.astype(np.float64)
    if found.ndim != 1 or not found.size:
        raise ValueError(f"{owner}: {name} must have one dimension and an example at least, got shape {found.shape}.")
    # The ends tell of NaN and infinity without another array as long as the scores.
    if not (np.isfinite(found.min()) and np.isfinite(found.max())):
        wrong = ~np.isfinite(found)
        place = int(np.argmax(wrong))
        raise ValueError(
            f"{owner}: {name} must be finite numbers, got {found[place]} at {place} ({int(wrong.sum())} of "
            f"{found.size}); leave these examples out or fill in a score."
        )
    return found


def clean_groups(groups: Any, owner: str, name: str) -> NDArray[np.int64]:
    """Return ``groups`` (names or numbers) as whole numbers 0, 1, ... in sorted order of the names, shape ``(n,)``.

    Raises:
        ValueError: Empty, not one-dimensional, or NaN.
    """
    found = np.asarray(groups)
    if found.ndim != 1 or not found.size:
        raise ValueError(f"{owner}: {name} must have one dimension and an example at least, got shape {found.shape}.")
    if found.dtype.kind == "f" and np.isnan(found).any():
        raise ValueError(f"{owner}: {name} must not be NaN, got it at {int(np.argmax(np.isnan(found)))}.")
    if found.dtype.kind == "O":
        found = found.astype(str)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def columns_of(scores: Any, names: tuple[str, ...], owner: str) -> tuple[Any, ...]:
    """Return the named columns of a mapping, or the one array where one name is asked for.

    Raises:
        ValueError: A column that is not there, an array where several columns are needed, or lengths that differ.
    """
    if not isinstance(scores, Mapping):
        if len(names) != 1:
            raise ValueError(f"{owner}: scores must be a mapping with {', '.join(names)}, got one array.")
        return (scores,)
    missing = [name for name in names if name not in scores]
    if missing:
        raise ValueError(f"{owner}: scores must hold {', '.join(missing)}; it has {', '.join(map(str, scores))}.")
    found = tuple(scores[name] for name in names)
    sizes = {name: len(column) for name, column in zip(names, found, strict=True)}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise ValueError(f"{owner}: all columns must have one length, got {told}.")
    return found


First = Literal["easy", "hard", "random"]


def check_first(owner: str, first: str) -> None:
    """Raise ``ValueError`` where ``first`` is none of easy, hard and random."""
    if first not in ("easy", "hard", "random"):
        raise ValueError(f'{owner}: first must be easy, hard or random, got "{first}".')
