"""Curricula put together: one after the other over a run, or one inside each source of a mixture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula._batches import scored_batches
from tutelage.curricula._interleave import EvenSpread
from tutelage.curricula._protocol import ExampleStream
from tutelage.curricula._shared import clean_groups, columns_of, spec_of
from tutelage.curricula._streams import chooses, part_of, stream_of
from tutelage.randomness import derive_seed


def _inner(owner: str, given: tuple[Any, ...]) -> tuple[str, ...]:
    """Return the curricula inside another as specs, whose arguments are parted by ``+``."""
    if not given:
        raise ValueError(f"{owner}: of must hold a curriculum at least, got none.")
    specs = tuple((one if isinstance(one, str) else repr(one)).replace(",", "+") for one in given)
    for spec in specs:
        part = _opened(spec)
        if not chooses(part):
            raise ValueError(f'{owner}: of must hold curricula that choose examples, got "{spec}".')
        if hasattr(part, "controller"):
            raise ValueError(f'{owner}: of must hold curricula without feedback, got "{spec}".')
    return specs


def _opened(spec: str) -> Any:
    return part_of(spec.replace("+", ","))


def _columns(specs: tuple[str, ...], *more: str) -> tuple[str, ...]:
    """Return the columns several curricula need, each once."""
    return tuple(dict.fromkeys((*more, *(name for spec in specs for name in _opened(spec).columns()))))


@dataclass(frozen=True, kw_only=True, repr=False)
class Stages:
    """Follows one curriculum after another, each over its stretch of the run, as if that were its whole run.

    For recipes in stages: warm up on easy data, then draw by quality.

    **Formula**: curriculum ``k`` holds for the examples ``ceil(at_(k-1) S)`` to ``ceil(at_k S)`` of ``S``, with
    ``at_0 = 0`` and the last 1; its progress goes from 0 to 1 within.

    Args:
        of: The curricula, as parts or specs; inside a spec their arguments are parted by ``+``.
        at: Progress at which each after the first begins, ascending, in (0, 1).

    Returns:
        ``stream(...)``: the examples of a run; use it through a sampler or a recipe.

    Raises:
        ValueError: Not one number in ``at`` fewer than curricula, not ascending or outside (0, 1), a curriculum that
            chooses no examples or takes feedback; what the curricula refuse.

    Example:
        >>> part = Stages(of=("rank-order:by=length", "paced:first=hard+low=0.5"), at=(0.5,))
        >>> part
        stages:of=rank-order:by=length/paced:first=hard+low=0.5,at=0.5
        >>> part.stream({"length": np.array([3.0, 1.0, 2.0])}, num_samples=6, seed=0).take(0, 3)
        array([1, 2, 0])

    Use with:
        ``CurriculumSampler(Stages(of=(Paced(), Quality(repeat=True)), at=(0.3,)), {"length": ..., "quality": ...},
        num_samples=n, seed=0)``.

    Helps / does not help:
        As its curricula do.

    Relations:
        :class:`Phased` goes through data sets one after the other; :class:`Mixture` runs curricula side by side.

    Source:
        Ours.
    """

    spec_name: ClassVar[str] = "stages"

    of: tuple[str, ...]
    at: tuple[float, ...]

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        object.__setattr__(self, "of", _inner("Stages", self.of))
        edges = (0.0, *self.at, 1.0)
        if len(self.at) != len(self.of) - 1 or any(b <= a for a, b in pairwise(edges)):
            raise ValueError(
                f"Stages: at must hold {len(self.of) - 1} ascending numbers in (0, 1), one for each curriculum after "
                f"the first, got {self.at}."
            )

    def columns(self) -> tuple[str, ...]:
        """Return the columns its curricula need."""
        return _columns(self.of)

    def stream(self, scores: Any, *, num_samples: int, seed: int) -> ExampleStream:
        """Return the examples of a run; see :func:`tutelage.curricula.example_stream`."""
        columns = dict(zip(self.columns(), columns_of(scores, self.columns(), self.spec_name), strict=True))
        edges = [math.ceil(share * num_samples - 1e-9) for share in (0.0, *self.at)] + [num_samples]
        streams = []
        for number, spec in enumerate(self.of):
            count = edges[number + 1] - edges[number]
            inside = derive_seed(seed, "stages", number)
            # A stretch of a short run may be empty: nothing is asked of its curriculum then.
            streams.append(stream_of(_opened(spec), columns, num_samples=count, seed=inside) if count else None)
        return StagesStream(edges, streams)


class StagesStream:
    """Streams one after another; made by :meth:`Stages.stream`.

    Args:
        edges: First place of each, and the end of the last.
        streams: The streams, ``None`` where there is no place.
    """

    def __init__(self, edges: list[int], streams: list[Any]) -> None:
        self._edges, self._streams = edges, streams

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the examples at places ``start`` to ``stop``."""
        pieces = [np.empty(0, dtype=np.int64)]
        for begin, end, stream in zip(self._edges, self._edges[1:], self._streams, strict=False):
            low, high = max(start, begin), min(stop, end)
            if low < high:
                pieces.append(stream.take(low - begin, high - begin))
        return np.concatenate(pieces)


@dataclass(frozen=True, kw_only=True, repr=False)
class Mixture:
    """Mixes named sources in fixed shares, evenly spread, with a curriculum of its own inside each.

    For data from several places that should not follow one another, each easy first by its own measure.

    **Formula**: item ``j`` of a source with share ``p`` belongs at time ``(j + 1/2) / p``; items come in order of time,
    so that every beginning of the run holds each share to within half an example a source. Which example a source's
    item is, its curriculum says, over the items the source has in the run.

    Args:
        shares: Share of each source in sorted order of their names, >= 0, normalised; none: as in the data.
        of: A curriculum for all sources, or one for each, as parts or specs; inside a spec their arguments are parted
            by ``+``.
        group: Column that names the source of each example.

    Returns:
        ``stream(...)``: the examples of a run; use it through a sampler or a recipe.

    Raises:
        ValueError: Shares that are negative or sum to 0, or not as many as sources; what the curricula refuse, such as
            a source that runs out, with the number of the source.

    Example:
        >>> columns = {"source": np.array(["a", "a", "b", "b"]), "length": np.array([2.0, 1.0, 5.0, 4.0])}
        >>> part = Mixture(shares=(0.5, 0.5), of=("rank-order",))
        >>> part.stream(columns, num_samples=4, seed=0).take(0, 4)
        array([1, 3, 0, 2])

    Use with:
        ``CurriculumSampler("mixture:shares=0.7/0.3,of=paced", {"source": ..., "length": ...}, num_samples=n,
        seed=0)``.

    Helps / does not help:
        Exact shares take the luck of the draw out of comparisons of mixtures. It does not find the shares.

    Relations:
        :class:`Replay` is a mixture of new and old data at any place of a run; ``interleave_datasets`` of the datasets
        library draws the source at random.

    Source:
        Ours.
    """

    spec_name: ClassVar[str] = "mixture"

    shares: tuple[float, ...] = ()
    of: tuple[str, ...] = ("paced",)
    group: str = "source"

    __repr__ = spec_of
    batches = scored_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        object.__setattr__(self, "of", _inner("Mixture", self.of))
        if any(not (math.isfinite(share) and share >= 0) for share in self.shares):
            raise ValueError(f"Mixture: shares must be finite numbers >= 0, got {self.shares}.")
        if self.shares and math.fsum(self.shares) == 0:
            raise ValueError("Mixture: shares must not sum to 0.")

    def columns(self) -> tuple[str, ...]:
        """Return the columns it and its curricula need."""
        return _columns(self.of, self.group)

    def stream(self, scores: Any, *, num_samples: int, seed: int) -> ExampleStream:
        """Return the examples of a run; see :func:`tutelage.curricula.example_stream`."""
        columns = dict(zip(self.columns(), columns_of(scores, self.columns(), self.spec_name), strict=True))
        which = clean_groups(columns[self.group], "Mixture", self.group)
        sizes = np.bincount(which)
        for name, given in (("shares", self.shares), ("of", self.of if len(self.of) > 1 else ())):
            if given and len(given) != len(sizes):
                raise ValueError(f"Mixture: {name} must be one for each of {len(sizes)} sources, got {len(given)}.")
        spread = EvenSpread(self.shares or tuple(sizes / sizes.sum()))
        sources: list[tuple[NDArray[np.int64], ExampleStream] | None] = []
        for number, count in enumerate(spread.counts(num_samples)):
            examples = np.flatnonzero(which == number)
            inside = {name: np.asarray(column)[examples] for name, column in columns.items()}
            spec = self.of[number % len(self.of)]
            sources.append(self._source(number, spec, examples, inside, int(count), derive_seed(seed, "mix", number)))
        return MixtureStream(spread, sources)

    def _source(
        self,
        number: int,
        spec: str,
        examples: NDArray[np.int64],
        columns: Mapping[str, NDArray[Any]],
        count: int,
        seed: int,
    ) -> tuple[NDArray[np.int64], ExampleStream] | None:
        if not count:
            return None
        try:
            return examples, stream_of(_opened(spec), columns, num_samples=count, seed=seed)
        except ValueError as error:
            raise ValueError(f"Mixture: source {number}: {error}") from error


class MixtureStream:
    """Streams side by side, evenly spread; made by :meth:`Mixture.stream`.

    Args:
        spread: Whose turn it is.
        sources: For each source its examples and its stream, ``None`` where it has no place.
    """

    def __init__(self, spread: EvenSpread, sources: list[tuple[NDArray[np.int64], ExampleStream] | None]) -> None:
        self._spread, self._sources = spread, sources

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the examples at places ``start`` to ``stop``."""
        which, items = self._spread.take(start, stop)
        found = np.empty(len(which), dtype=np.int64)
        for number, source in enumerate(self._sources):
            there = np.flatnonzero(which == number)
            if there.size and source is not None:
                examples, stream = source
                # A source's items are consecutive.
                first = int(items[there[0]])
                found[there] = examples[stream.take(first, first + len(there))]
        return found
