"""Mixture: several named sources in given proportions, constant or changing over the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import ConfigError
from tutelage.permutations import Permutations
from tutelage.selection._apportion import counts_at, dealt, plant
from tutelage.selection._checks import as_spec, check_choice
from tutelage.shares import FINEST, exact_share

#: Proportions that change do so in that many steps.
_STRETCHES = 100


@dataclass(frozen=True, kw_only=True, repr=False)
class Mixture:
    """Mixes several sources of examples in given proportions, which may change from one to another over the run.

    Use it to train on several data sets at once, and to move from one to the other without a break.

    **Formula**: of the first ``n`` examples source ``i`` has ``c_i(n)``, whole numbers that grow with ``n``, add up to
    ``n`` and follow the proportions ``w_i``, which add up to 1::

        |c_i(n) - n w_i| < 1.7 for every n,    for two sources <= 1/2

    Sources are spread evenly instead of drawn, so that no batch holds too few of a small one. Proportions that change
    do so between ``begin`` and ``end``, shares of the run, along a straight line in 100 steps, and counts follow their
    sum.

    Args:
        weights: Weight of each source, >= 0 and not all 0; they need not add up to 1. ``"concat"``: as many as each
            source has; ``"uniform"``: the same for all.
        final: Weights at the end of the run; those of ``weights`` throughout where not given.
        begin: Share of the run at which the proportions begin to change, in [0, 1].
        end: Share of the run at which they are those of ``final``, in [``begin``, 1]; equal to ``begin``: at once.
        exhausted: What happens when a source has no more: ``"error"``: refused before the start; ``"repeat"``: it is
            gone through again; ``"stop"``: the mixture ends there.
        order: ``"shuffle"``: each source in a fresh permutation for every pass through it; ``"original"``: each in its
            own order.
        cap: Most examples used of each source, >= 1: chosen at random with ``"shuffle"``, else its first.

    Returns:
        ``deal(sources, total=..., seed=...)``: a :class:`Mixed`, which knows the example at any place, and the counts.
        ``batches(sources, ...)``: the same as the order of a run, for recipes.

    Raises:
        ValueError: Weights negative, not finite or all 0; another number of them in ``final``; a number out of range.
        ConfigError: From ``deal`` and ``batches``: as many sources as weights are not there, an empty source with
            weight, or a source that runs out with ``exhausted="error"``.

    Example:
        >>> mixed = Mixture(weights=(0.7, 0.3), order="original").deal({"web": 100, "law": 50}, total=10)
        >>> mixed.counts, mixed.at(np.arange(10)).tolist()
        ({'web': 7, 'law': 3}, [0, 100, 1, 2, 101, 3, 4, 5, 102, 6])
        >>> moving = Mixture(weights=(1.0, 0.0), final=(0.0, 1.0)).deal((1000, 1000), total=1000)
        >>> [moving.counts_at(place) for place in (250, 500, 1000)]
        [{'0': 219, '1': 31}, {'0': 375, '1': 125}, {'0': 500, '1': 500}]

    Use with:
        ``tutelage mix web.jsonl law.jsonl --weights 0.7/0.3 --total 10000 --out mixed.jsonl``; PyTorch:
        ``Subset(ConcatDataset(sources), mixed.at(np.arange(len(mixed))).tolist())``, read in order.

    Helps / does not help:
        No mixture of instruction sets was best at every skill; the plain union of several good ones was best on average
        (7B to 65B models). The best proportions depend on the model's size and on what is measured: compare them.

    Relations:
        With two sources of constant weight it deals like ``replay:alpha=...`` of the curricula, example by example.
        ``interleave_datasets`` of the datasets library draws the source of each example: right on average.

    Source:
        Wang et al., How far can camels go?, 2023, arXiv 2306.04751, section 3.2 (plain concatenation, sets capped).
        Ours: even spacing, proportions that change, the rule for a source that runs out.
    """

    spec_name: ClassVar[str] = "mixture"

    weights: tuple[float, ...] | Literal["concat", "uniform"] = "concat"
    final: tuple[float, ...] | None = None
    begin: float = 0.0
    end: float = 1.0
    exhausted: Literal["error", "repeat", "stop"] = "error"
    order: Literal["shuffle", "original"] = "shuffle"
    cap: int | None = None

    def __post_init__(self) -> None:
        """Check every argument."""
        if isinstance(self.weights, str):
            check_choice("Mixture", "weights", self.weights, ("concat", "uniform"))
        else:
            _check_weights("weights", self.weights)
        if self.final is not None:
            _check_weights("final", self.final)
            if not isinstance(self.weights, str) and len(self.final) != len(self.weights):
                raise ValueError(
                    f"Mixture: final must have as many weights as weights, {len(self.weights)}, got {len(self.final)}."
                )
        if not (0 <= self.begin <= self.end <= 1):
            raise ValueError(
                f"Mixture: begin and end must be shares of the run, 0 <= begin <= end <= 1, got {self.begin} and "
                f"{self.end}."
            )
        check_choice("Mixture", "exhausted", self.exhausted, ("error", "repeat", "stop"))
        check_choice("Mixture", "order", self.order, ("shuffle", "original"))
        if self.cap is not None and self.cap < 1:
            raise ValueError(f"Mixture: cap must be >= 1, got {self.cap}.")

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return as_spec(self)

    def deal(self, sources: Mapping[str, int] | Sequence[int], *, total: int | None = None, seed: int = 0) -> Mixed:
        """Return the mixture of sources of these sizes.

        Args:
            sources: Examples in each source, by its name or in order.
            total: Examples in the mixture, >= 1; where not given all that the sources have (as capped) with
                ``"concat"``, and until the first source ends with ``exhausted="stop"``.
            seed: Of the order.

        Raises:
            ConfigError: The sources do not hold what the mixture needs.
        """
        return Mixed(self, _named(sources), total, seed)

    def batches(self, sources: Sequence[int], *, batch_size: int, total_steps: int | None, seed: int) -> Mixed:
        """Return the order of a run, whose ``indices(position)`` are the examples of an update.

        Args:
            sources: Examples in each source.
            batch_size: Examples an update, over all processes.
            total_steps: Updates in the run, or ``None`` for a budget in seconds.
            seed: The run's seed.

        Raises:
            ConfigError: The sources do not hold what the mixture needs, or the length of the run is not known and
                matters.
        """
        if total_steps is None and (self.final is not None or self.exhausted != "repeat"):
            raise ConfigError(
                "mixture: a budget in seconds does not say how many examples are needed; allow sources to come round "
                "again with exhausted=repeat and leave out final, or give a budget in steps, examples or tokens."
            )
        if self.exhausted == "stop":
            raise ConfigError("mixture: a run has a budget and does not stop with a source; give exhausted=repeat.")
        total = batch_size if total_steps is None else total_steps * batch_size
        return Mixed(self, _named(sources), total, seed, batch_size=batch_size)

    def proportions(self, sources: Sequence[int], progress: ArrayLike) -> NDArray[np.float64]:
        """Return the proportions at moments of the run.

        Args:
            sources: Examples in each source.
            progress: Share of the run done, 0 to 1, shape ``(m,)``.

        Returns:
            float64 ``(m, sources)``, each row adding up to 1.

        Example:
            >>> Mixture().proportions((96_913, 100_000), [0.0]).round(6).tolist()
            [[0.492162, 0.507838]]
        """
        first, last = (
            np.array([float(value) for value in row]) / float(sum(row)) for row in self._ends(tuple(sources))
        )
        moments = np.asarray(progress, dtype=np.float64)
        if self.end > self.begin:
            moved = np.clip((moments - self.begin) / (self.end - self.begin), 0.0, 1.0)
        else:
            moved = (moments >= self.begin).astype(np.float64)
        return np.asarray(first + moved[:, None] * (last - first))

    def _ends(self, sizes: tuple[int, ...]) -> tuple[list[Fraction], list[Fraction]]:
        """Return the weights at the start and at the end."""
        if self.weights == "concat":
            first = [Fraction(size) for size in sizes]
        elif self.weights == "uniform":
            first = [Fraction(1)] * len(sizes)
        else:
            first = [exact_share(float(weight)) for weight in self.weights]
        return first, first if self.final is None else [exact_share(weight) for weight in self.final]

    def _stretches(self, sizes: tuple[int, ...], total: int) -> tuple[list[int], list[list[Fraction]]]:
        """Return where each stretch of constant proportions begins, and its weights."""
        first, last = ([value / sum(row) for value in row] for row in self._ends(sizes))
        if self.final is None:
            return [0], [first]
        begin, end = (round(share * total) for share in (self.begin, self.end))
        steps = min(_STRETCHES, end - begin)
        edges = [begin + (end - begin) * step // steps for step in range(steps)] if steps else []
        begins, weights = [0], [first]
        for number, edge in enumerate([*edges, end]):
            # The middle of each stretch: the sum over it is that of the straight line.
            moved = Fraction(2 * number + 1, 2 * steps) if number < steps else Fraction(1)
            row = [exact_share(start + moved * (stop - start)) for start, stop in zip(first, last, strict=True)]
            if edge == begins[-1]:
                weights[-1] = row
            else:
                begins.append(edge)
                weights.append(row)
        return begins, weights


class Mixed:
    """A mixture of sources of known sizes; made by :meth:`Mixture.deal`.

    Examples are numbered on from one source to the next. ``len(mixed)`` is their number in the mixture; ``names`` are
    those of the sources; ``ended`` names the source that ended the mixture early, with ``exhausted="stop"``.
    """

    def __init__(
        self, mixture: Mixture, sizes: Mapping[str, int], total: int | None, seed: int, *, batch_size: int = 1
    ) -> None:
        self.mixture, self.seed, self.batch_size = mixture, seed, batch_size
        self.names = tuple(sizes)
        self.sizes = tuple(sizes.values())
        self.used = tuple(size if mixture.cap is None else min(size, mixture.cap) for size in self.sizes)
        for what in (mixture.weights, mixture.final):
            if not isinstance(what, str) and what is not None and len(what) != len(self.sizes):
                raise ConfigError(
                    f"mixture: {len(what)} weights for {len(self.sizes)} sources ({', '.join(self.names)}); give "
                    "one each."
                )
        if not sum(self.used):
            raise ConfigError("mixture: all sources are empty.")
        if total is None and mixture.weights == "concat" and mixture.final is None:
            total = sum(self.used)
        if total is None and (mixture.exhausted != "stop" or mixture.final is not None):
            raise ConfigError(
                "mixture: total is needed, the examples in the mixture; or exhausted=stop with constant weights."
            )
        if total is not None and total < 1:
            raise ConfigError(f"mixture: total must be >= 1, got {total}.")
        begins, weights = mixture._stretches(self.used, total or 0)
        for name, size, row in zip(self.names, self.used, zip(*weights, strict=True), strict=True):
            if not size and any(row):
                raise ConfigError(
                    f'mixture: source "{name}" is empty and has weight; give it weight 0, or leave it out.'
                )
        self._tree = plant(begins, weights)
        self.ended: str | None = None
        self.total = self._length(total)
        self._begins = np.concatenate([[0], np.cumsum(self.sizes)])[:-1]
        self._orders = [Permutations(max(1, size), seed, f"mixture-{place}") for place, size in enumerate(self.used)]
        self._chosen = [
            Permutations(size, seed, f"mixture-{place}-cap")(0)[:used] if used < size else None
            for place, (size, used) in enumerate(zip(self.sizes, self.used, strict=True))
        ]

    def __len__(self) -> int:
        """Return the number of examples in the mixture."""
        return self.total

    @property
    def counts(self) -> dict[str, int]:
        """Examples of the whole mixture by source."""
        return self.counts_at(self.total)

    def counts_at(self, place: int) -> dict[str, int]:
        """Return the examples among the first ``place`` by source."""
        if not 0 <= place <= self.total:
            raise ValueError(f"Mixed: place must be >= 0 and <= {self.total}, got {place}.")
        row = counts_at(self._tree, np.array([place], dtype=np.int64), len(self.sizes))[0]
        return dict(zip(self.names, row.tolist(), strict=True))

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the examples at ``places`` of the mixture, numbered on over the sources, same shape, in any order."""
        source, turn = dealt(self._tree, np.asarray(places, dtype=np.int64))
        found = np.empty_like(turn)
        for number, used in enumerate(self.used):
            there = source == number
            if not there.any():
                continue
            shuffled = self.mixture.order == "shuffle"
            within = self._orders[number].at(turn[there]) if shuffled else turn[there] % used
            chosen = self._chosen[number]
            if chosen is not None and shuffled:
                within = chosen[within]
            found[there] = self._begins[number] + within
        return found

    def source_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the source of each of ``places``, same shape."""
        return dealt(self._tree, np.asarray(places, dtype=np.int64))[0]

    def indices(self, position: int) -> NDArray[np.int64]:
        """Return the examples of update ``position``, shape ``(batch_size,)``."""
        return self.at(np.arange(position * self.batch_size, (position + 1) * self.batch_size))

    def _length(self, total: int | None) -> int:
        """Return the examples in the mixture, and see to a source that runs out."""
        if self.mixture.exhausted == "repeat" and total is not None:
            return total
        # Beyond this many places some source must have run out.
        limit = total if total is not None else sum(self.used) * (FINEST + 1)
        needed = counts_at(self._tree, np.array([limit], dtype=np.int64), len(self.sizes))[0]
        short = [place for place, used in enumerate(self.used) if needed[place] > used]
        if not short:
            return limit
        if self.mixture.exhausted == "error":
            place = short[0]
            raise ConfigError(
                f'mixture: {limit} examples need {needed[place]} of "{self.names[place]}", which has '
                f"{self.used[place]}; lower total or its weight, or give exhausted=repeat or exhausted=stop."
            )
        low, high = 0, limit
        while high - low > 1:
            middle = (low + high) // 2
            counts = counts_at(self._tree, np.array([middle], dtype=np.int64), len(self.sizes))[0]
            over = [place for place, used in enumerate(self.used) if counts[place] > used]
            low, high = (low, middle) if over else (middle, high)
            short = over or short
        self.ended = self.names[short[0]]
        if not low:
            raise ConfigError(f'mixture: "{self.ended}" has nothing to begin with.')
        return low


def _named(sources: Mapping[str, int] | Sequence[int]) -> dict[str, int]:
    named = dict(sources) if isinstance(sources, Mapping) else {str(place): size for place, size in enumerate(sources)}
    if not named:
        raise ConfigError("mixture: needs at least one source, got none.")
    wrong = next((name for name, size in named.items() if size < 0), None)
    if wrong is not None:
        raise ConfigError(f'mixture: source "{wrong}" must have >= 0 examples, got {named[wrong]}.')
    return named


def _check_weights(argument: str, weights: Sequence[float]) -> None:
    for place, weight in enumerate(weights):
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"Mixture: {argument} must be finite and >= 0, got {weight} for source {place}.")
    if not any(exact_share(weight) for weight in weights):
        raise ValueError(f"Mixture: {argument} must not all be 0 (to six decimals), got {list(weights)}.")
