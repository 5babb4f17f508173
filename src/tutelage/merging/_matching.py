"""Whether models can be added: the same tensors, shapes and types, or an error that names the first that differs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tutelage.errors import DataError
from tutelage.merging._combination import Combination

#: Weights that lie further apart than this, relative to their size, have hardly one ancestor.
FAR = 0.5


@dataclass(frozen=True)
class TensorInfo:
    """Type (torch's name, such as ``"bfloat16"``) and shape of a tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for length in self.shape:
            count *= length
        return count

    @property
    def floating(self) -> bool:
        """Whether its numbers can be added."""
        return self.dtype.startswith(("float", "bfloat"))


class Source(Protocol):
    """A model's tensors, wherever they are."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Type and shape of each tensor."""

    def digest(self, tensor: str) -> str:
        """Return the hash of a tensor's bytes."""


@dataclass(frozen=True)
class Matched:
    """How the tensors of several models belong together.

    Args:
        names: Tensors of the result, in the anchor's order.
        sources: For each the name it has in each model.
        infos: Type and shape in the result.
        combined: Those that are combined; the others are copied from the anchor.
    """

    names: tuple[str, ...]
    sources: Mapping[str, tuple[str, ...]]
    infos: Mapping[str, TensorInfo]
    combined: frozenset[str]


def match(
    combination: Combination,
    models: Sequence[Source],
    *,
    include: str | None = None,
    exclude: str | None = None,
    mixed_dtypes: bool = False,
) -> Matched:
    """Check that models fit together.

    Args:
        combination: What is to be added.
        models: One for each of its roles.
        include: Only tensors whose name this regular expression is found in are combined.
        exclude: Tensors whose name this regular expression is found in are copied from the anchor.
        mixed_dtypes: Allow tensors of different floating types.

    Raises:
        DataError: A tensor is missing, surplus, or of another shape or type; or whole numbers differ.
        ValueError: A regular expression that is none, or that leaves no tensor.
    """
    anchor = models[0]
    wanted = {name for name in anchor.infos if chosen(name, include, exclude)}
    if not wanted:
        raise ValueError(f"merging: include={include!r}, exclude={exclude!r} leave no tensor of {anchor.name}.")
    sources: dict[str, tuple[str, ...]] = {}
    faults: list[str] = []
    twins = [_twins(anchor, model, faults, include, exclude) for model in models[1:]]
    infos = dict(anchor.infos)
    combined = set()
    for name, info in anchor.infos.items():
        sources[name] = (name, *(table.get(name, name) for table in twins))
        if name not in wanted or any(
            there not in model.infos for there, model in zip(sources[name][1:], models[1:], strict=True)
        ):
            continue
        fault, rows = _compare(combination, models, sources[name], name, mixed_dtypes)
        if fault:
            faults.append(fault)
        elif info.floating:
            combined.add(name)
            infos[name] = TensorInfo(info.dtype, rows)
    if faults:
        more = f" ({len(faults) - 1} more tensors do not fit)" if len(faults) > 1 else ""
        raise DataError(f"{faults[0]}.{more}")
    return Matched(tuple(anchor.infos), sources, infos, frozenset(combined))


def chosen(name: str, include: str | None, exclude: str | None) -> bool:
    """Return whether a tensor is to be combined.

    Raises:
        ValueError: A regular expression that is none.
    """
    try:
        return (include is None or re.search(include, name) is not None) and (
            exclude is None or re.search(exclude, name) is None
        )
    except re.error as error:
        raise ValueError(f"merging: include and exclude must be regular expressions, got one with: {error}.") from None


def _twins(
    anchor: Source, model: Source, faults: list[str], include: str | None, exclude: str | None
) -> dict[str, str]:
    """Return under which other name a model has what it lacks: tied weights are stored once or twice."""
    found: dict[str, str] = {}
    for name in anchor.infos:
        if name in model.infos or not chosen(name, include, exclude):
            continue
        twin = _twin(anchor, name)
        if twin is not None and twin in model.infos:
            found[name] = twin
        else:
            faults.append(f'{model.name} has no tensor "{name}", which {anchor.name} has')
    for name in model.infos:
        if name in anchor.infos or not chosen(name, include, exclude):
            continue
        twin = _twin(model, name)
        if twin is None or twin not in anchor.infos:
            faults.append(f'{model.name} has a tensor "{name}", which {anchor.name} has not')
    return found


def _twin(model: Source, name: str) -> str | None:
    """Return another tensor of a model with the same bytes."""
    alike = [other for other, info in model.infos.items() if other != name and info == model.infos[name]]
    if not alike:
        return None
    digest = model.digest(name)
    return next((other for other in alike if model.digest(other) == digest), None)


def _compare(
    combination: Combination, models: Sequence[Source], names: Sequence[str], name: str, mixed_dtypes: bool
) -> tuple[str, tuple[int, ...]]:
    """Return what is wrong with a tensor, empty where nothing is, and its shape in the result."""
    infos = [model.infos[there] for model, there in zip(models, names, strict=True)]
    first, rows = infos[0], infos[0].shape
    for number, (model, info) in enumerate(zip(models, infos, strict=True)):
        if info.dtype.startswith("complex"):
            return f'tensor "{name}" of {model.name} is {info.dtype}, which cannot be merged', rows
        more = (
            number == combination.new_rows
            and first.floating
            and info.shape[1:] == first.shape[1:]
            and len(info.shape) == len(first.shape) >= 1
            and info.shape[0] > first.shape[0]
        )
        if more:
            rows = info.shape
        elif info.shape != first.shape:
            return (
                f'tensor "{name}" has shape {_shown(info.shape)} in {model.name} and {_shown(first.shape)} in '
                f"{models[0].name}",
                rows,
            )
        if info.dtype != first.dtype and not (mixed_dtypes and info.floating and first.floating):
            remedy = "; allow it with mixed dtypes" if info.floating and first.floating else ""
            return (
                f'tensor "{name}" is {info.dtype} in {model.name} and {first.dtype} in {models[0].name}{remedy}',
                rows,
            )
        # Counters may differ, and the anchor's is kept; whole tables of numbers are quantised weights.
        if not first.floating and number and first.size > 1 and model.digest(names[number]) != models[0].digest(name):
            return (
                f'tensor "{name}" of whole numbers ({first.dtype}) differs between {model.name} and {models[0].name}; '
                "de-quantise weights first, or leave it as it is with exclude",
                rows,
            )
    return "", rows


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"


class Spread:
    """How far models lie apart: sums of squares, gathered piece by piece."""

    def __init__(self, combination: Combination) -> None:
        self.combination = combination
        self.anchor = 0.0
        self.steps = [0.0] * len(combination.steps)
        self.moved = 0.0

    def add(self, pieces: Sequence[Any]) -> None:
        """Take in one piece of one tensor of every model."""
        self.anchor += _squares(pieces[0])
        for place, step in enumerate(self.combination.steps):
            self.steps[place] += _squares(pieces[step.plus] - pieces[step.minus])
        if self.combination.method == "residual":
            self.moved += _squares(pieces[0] - pieces[1])

    def distances(self) -> dict[str, float]:
        """Return ``|plus - minus| / |anchor|`` by the name of ``plus``, and how far a target moved from its base."""
        if not self.anchor:
            return {}
        roles = self.combination.roles
        found = {
            roles[step.plus]: (value / self.anchor) ** 0.5
            for step, value in zip(self.combination.steps, self.steps, strict=True)
        }
        if self.combination.method == "residual":
            found["target"] = (self.moved / self.anchor) ** 0.5
        return found

    def notes(self) -> list[str]:
        """Return what a user should know."""
        return [
            f"{role} lies {distance:.2f} of the weights' own size away: more than {FAR}, so that it may have another "
            "ancestor, and the sum may be worth nothing."
            for role, distance in self.distances().items()
            if distance > FAR
        ]


def _squares(piece: Any) -> float:
    flat = piece.reshape(-1).double()
    return float(flat.dot(flat))
