"""Phases: data sets one after the other, or all at once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula.ordered_examples import Examples, OrderedExamples
from tutelage.curricula.replay import Replay, ReplayOrder
from tutelage.errors import ConfigError
from tutelage.permutations import Permutations
from tutelage.randomness import derive_seed
from tutelage.specs import field_types, spell

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, repr=False)
class Phased:
    """Trains on parts of the data one after the other, with a share of the earlier parts mixed back in if you wish.

    For data that come in stages (form, then knowledge, then skills). The paper finds that all data at once do as well.

    **Formula**: with sizes ``n_0, n_1, ...``, ``N_p = n_0 + ... + n_(p-1)``, ``E`` epochs and ``B`` examples an update,
    phase ``p`` covers the updates from ``round(N_p E / B)`` up to ``round(N_(p+1) E / B)``, the last one all that
    follow. In a phase the part's examples come in a fresh permutation for every pass; from the second phase on
    ``replay`` of each batch comes from all earlier parts together, in place of new examples and evenly spaced, as in
    :class:`Replay`. So phases cost what the same epochs over all data at once cost.

    Args:
        sizes: Examples of each part, which lie one after the other in the training data; at least two.
        epochs: Passes over each part, > 0, in the sense of its cost: a phase with replay sees less of its own part.
        replay: Share of earlier parts in every batch from the second phase on, in [0, 1).

    Returns:
        ``batches(sources, ...)``: the order of a run, whose ``indices(position)`` are int64 ``(batch_size,)``.

    Raises:
        ValueError: Fewer than two sizes, one below 1, ``epochs`` not above 0, or ``replay`` outside [0, 1).
        ConfigError: From ``batches``: sizes that are not those of the training data, a phase without an update, or a
            budget that ends before the last phase begins.

    Example:
        >>> order = Phased(sizes=(4, 4), replay=0.5).batches((8,), batch_size=2, total_steps=4, seed=0)
        >>> [sorted((order.indices(position) // 4).tolist()) for position in range(4)]
        [[0, 0], [0, 0], [0, 1], [0, 1]]

    Use with:
        ``tutelage train --recipe "constant;phased:sizes=2000/1600/2400,epochs=5,replay=0.1"``. Your own data sets:
        :func:`phased`.

    Helps / does not help:
        Without replay the first part is forgotten while the last is learned. At 3 to 7 billion parameters phases were
        no better than all data at once, which needed fewer examples.

    Relations:
        :class:`Replay` mixes in data of an earlier *run*; here the earlier phases are of this one.

    Source:
        Pareja et al., Unveiling the secret recipe, 2024, arXiv 2412.13337 (phased against stacked; its abstract was
        read). The paper picks the best checkpoint of each phase by a benchmark; here a phase goes on from the end of
        the one before. Cutting, spacing and replay are ours.
    """

    spec_name: ClassVar[str] = "phased"

    sizes: tuple[int, ...]
    epochs: float = 1.0
    replay: float = 0.0

    def __post_init__(self) -> None:
        """Check every argument."""
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"Phased: sizes must be two or more numbers >= 1, such as 2000/1600, got {self.sizes}.")
        if not (math.isfinite(self.epochs) and self.epochs > 0):
            raise ValueError(f"Phased: epochs must be a finite number > 0, got {self.epochs}.")
        if not (math.isfinite(self.replay) and 0 <= self.replay < 1):
            raise ValueError(f"Phased: replay must be >= 0 and < 1, a share of every batch, got {self.replay}.")

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        kind: type = type(self)
        kinds = field_types(kind)
        shown = [
            f"{item.name}={spell(kinds[item.name], getattr(self, item.name))}"
            for item in dataclasses.fields(self)
            if getattr(self, item.name) != item.default
        ]
        return f"{self.spec_name}:{','.join(shown)}"

    def begins(self, batch_size: int) -> list[int]:
        """Return the update each phase begins at."""
        before = np.cumsum([0, *self.sizes[:-1]])
        return [round(float(count) * self.epochs / batch_size) for count in before]

    def batches(self, sources: Sequence[int], *, batch_size: int, total_steps: int | None, seed: int) -> PhasedOrder:
        """Return the order of a run; see :class:`tutelage.curricula.OrderCurriculum`."""
        if sum(self.sizes) != sources[0]:
            raise ConfigError(
                f"phased: sizes={spell(tuple[int, ...], self.sizes)} are {sum(self.sizes)} examples, and the training "
                f"data have {sources[0]}; say how many of each part they hold, in their order."
            )
        begins = self.begins(batch_size)
        for phase, (begin, end) in enumerate(pairwise(begins)):
            if end <= begin:
                raise ConfigError(
                    f"phased: phase {phase} of {self.sizes[phase]} examples and {self.epochs:g} epochs makes no update "
                    f"of {batch_size}; use more epochs or a smaller batch."
                )
        if total_steps is not None and total_steps <= begins[-1]:
            raise ConfigError(
                f"phased: the last phase begins at update {begins[-1]} and the run has {total_steps}; give it "
                f"{math.ceil(sum(self.sizes) * self.epochs)} examples, or fewer epochs."
            )
        return PhasedOrder(self, batch_size, seed)


class PhasedOrder:
    """Which example stands at each place of a run in phases; made by :meth:`Phased.batches`.

    Args:
        phased: The settings.
        batch_size: Examples an update.
        seed: The run's seed; each phase has a stream of it.
    """

    def __init__(self, phased: Phased, batch_size: int, seed: int) -> None:
        self.batch_size = batch_size
        self._begins = np.array(phased.begins(batch_size)) * batch_size
        self._starts = np.cumsum([0, *phased.sizes[:-1]])
        self._sizes = phased.sizes
        self._phases = [
            ReplayOrder(
                Replay(alpha=phased.replay if phase else 0.0, repeat=True),
                size,
                int(self._starts[phase]),
                batch_size,
                derive_seed(seed, "phase", phase),
            )
            for phase, size in enumerate(phased.sizes)
        ]

    def indices(self, position: int) -> NDArray[np.int64]:
        """Return the examples of update ``position``, shape ``(batch_size,)``."""
        return self.at(np.arange(position * self.batch_size, (position + 1) * self.batch_size))

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the examples at ``places`` of the run's sequence, same shape, in any order."""
        found = np.empty_like(places)
        phases = np.searchsorted(self._begins, places, side="right") - 1
        for phase in np.unique(phases):
            there = phases == phase
            local = self._phases[phase].at(places[there] - self._begins[phase])
            # A phase numbers its own part first and the earlier ones after it.
            size, start = self._sizes[phase], int(self._starts[phase])
            found[there] = np.where(local < size, start + local, local - size)
        return found


def phased(
    datasets: Sequence[Examples[T]], replay: float = 0.0, *, epochs: float = 1.0, seed: int = 0
) -> OrderedExamples[T]:
    """Return data sets one after the other, earlier ones mixed back in by a share: :class:`Phased` for your own loops.

    Args:
        datasets: Two or more, each with a length and an index.
        replay: Share of earlier data sets among the examples from the second one on, in [0, 1).
        epochs: Passes over each, > 0.
        seed: Seed of the order.

    Returns:
        A map-style data set of ``round(epochs * examples)`` examples.

    Raises:
        ValueError: Fewer than two data sets, an empty one, or an argument out of range.

    Example:
        >>> order = list(phased([["a"] * 4, ["b"] * 4], replay=0.25))
        >>> "".join(order[:4]), sorted(order[4:])
        ('aaaa', ['a', 'b', 'b', 'b'])
    """
    sizes = tuple(len(data) for data in datasets)
    settings = Phased(sizes=sizes, epochs=epochs, replay=replay)
    total = round(sum(sizes) * epochs)
    return OrderedExamples(datasets, total, PhasedOrder(settings, 1, seed).at)


def stacked(datasets: Sequence[Examples[T]], *, epochs: float = 1.0, seed: int = 0) -> OrderedExamples[T]:
    """Return all examples of all data sets at once, in a fresh permutation for every epoch.

    In this library's loop that is the order of every run without a curriculum.

    Args:
        datasets: One or more, each with a length and an index.
        epochs: Passes, > 0.
        seed: Seed of the order; the same examples in the same order as a run of this seed.

    Returns:
        A map-style data set of ``round(epochs * examples)`` examples.

    Raises:
        ValueError: No data set, no example, or ``epochs`` not above 0.

    Example:
        >>> sorted(stacked([["a", "b"], ["c"]], epochs=2))
        ['a', 'a', 'b', 'b', 'c', 'c']
    """
    examples = sum(len(data) for data in datasets)
    if not examples:
        raise ValueError("stacked: datasets must hold at least one example, got none.")
    if not (math.isfinite(epochs) and epochs > 0):
        raise ValueError(f"stacked: epochs must be a finite number > 0, got {epochs}.")
    return OrderedExamples(datasets, round(examples * epochs), Permutations(examples, seed, "data").at)
