"""Replay: a fixed share of every batch comes from data the model was trained on before."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from tutelage.curricula.ordered_examples import Examples, OrderedExamples
from tutelage.errors import ConfigError
from tutelage.permutations import Permutations
from tutelage.shares import count_before, exact_share
from tutelage.specs import field_types, spell

T = TypeVar("T")

Order = Literal["shuffle", "original"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Replay:
    """Replays a fixed share of old data while a model learns from new data; old examples replace new ones.

    Use it to go on training on new data without forgetting the old: 5 % for a weak shift, 25 % for a strong one.

    **Formula**: of the first ``n`` examples of a run, for every ``n``::

        old(n) = floor(alpha n + 1/2)        new(n) = n - old(n)

    Place ``n`` holds the next old example if ``old(n + 1) > old(n)``, else the next new one. So the run costs what it
    would without replay, old examples are spread evenly, and every batch holds ``alpha`` of them to the nearest one.

    Args:
        alpha: Share of old examples, in [0, 1), kept to six decimals. 0.5 is the union of two data sets
            in equal parts.
        order: ``"shuffle"``: each source in a fresh permutation for every pass through it; ``"original"``: each in its
            own order.
        repeat: Allow more old examples to be replayed than there are, by going through them again.

    Returns:
        ``batches(sources, ...)``: the order of a run, whose ``indices(position)`` are int64 ``(batch_size,)``, old
        examples numbered on after the new ones. ``counts(n)``: new and old examples among the first ``n``.

    Raises:
        ValueError: ``alpha`` outside [0, 1), or an unknown ``order``.
        ConfigError: From ``batches``: no old data, or less than ``alpha`` of the run without ``repeat``.

    Example:
        >>> Replay(alpha=0.05).counts(300_000_000_000)
        (285000000000, 15000000000)
        >>> order = Replay(alpha=0.25, order="original").batches((8, 4), batch_size=4, total_steps=3, seed=0)
        >>> [order.indices(position).tolist() for position in range(3)]
        [[0, 8, 1, 2], [3, 9, 4, 5], [6, 10, 7, 0]]

    Use with:
        ``tutelage train --workload text-lm:data=new,replay=old --recipe "rewarm;replay:alpha=0.05"``. Your own PyTorch
        data sets: :class:`ReplayMixer`.

    Helps / does not help:
        With re-warming, 5 % (English to English) and 25 % (English to German) reached the average loss of training on
        both from scratch, at the cost of the new data alone (405M and 10B parameters). It needs the old data, or a
        sample of them; how well the new data are learned suffers hardly.

    Relations:
        ``interleave_datasets`` of the datasets library draws the source of each example at random; here counts are
        exact at every update, and any position is reached without reading those before it.

    Source:
        Ibrahim et al., Simple and scalable strategies to continually pre-train large language models, 2024, arXiv
        2403.08763, section 6 (replay at equal compute). Ours: old examples are spaced evenly instead of drawn.
    """

    spec_name: ClassVar[str] = "replay"

    alpha: float
    order: Order = "shuffle"
    repeat: bool = False

    def __post_init__(self) -> None:
        """Check every argument."""
        if not (math.isfinite(self.alpha) and 0 <= self.alpha < 1):
            raise ValueError(f"Replay: alpha must be >= 0 and < 1, the share of old examples, got {self.alpha}.")
        if self.order not in ("shuffle", "original"):
            raise ValueError(f'Replay: order must be "shuffle" or "original", got "{self.order}".')

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        kind: type = type(self)
        kinds = field_types(kind)
        given = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        shown = [
            f"{item.name}={spell(kinds[item.name], given[item.name])}"
            for item in dataclasses.fields(self)
            if given[item.name] != item.default
        ]
        return f"{self.spec_name}:{','.join(shown)}"

    def counts(self, examples: int) -> tuple[int, int]:
        """Return how many new and old examples are among the first ``examples``.

        Raises:
            ValueError: ``examples`` below 0.
        """
        if examples < 0:
            raise ValueError(f"Replay: examples must be >= 0, got {examples}.")
        old = self._old_before(examples)
        return examples - old, old

    def batches(self, sources: Sequence[int], *, batch_size: int, total_steps: int | None, seed: int) -> ReplayOrder:
        """Return the order of a run; see :class:`tutelage.curricula.OrderCurriculum`."""
        new, old = sources[0], sum(sources[1:])
        if self.alpha and not old:
            raise ConfigError(
                f"replay: alpha={self.alpha:g} of no old data; name them in the workload, such as "
                "text-lm:data=new,replay=old."
            )
        if self.alpha and not self.repeat:
            if total_steps is None:
                raise ConfigError(
                    "replay: how many old examples a budget in seconds needs is not known; allow them to come round "
                    "again with repeat=true, or give a budget in steps, examples or tokens."
                )
            self._check_enough(total_steps * batch_size, old)
        return ReplayOrder(self, new, old, batch_size, seed)

    def _check_enough(self, examples: int, old: int) -> None:
        needed = self.counts(examples)[1]
        if needed > old:
            raise ConfigError(
                f"replay: alpha={self.alpha:g} of {examples} examples are {needed} old ones, and there are {old}; give "
                "more of them or a lower alpha, or allow them to come round again with repeat=true."
            )

    def _old_before(self, places: Any) -> Any:
        """Return the old examples before each place, in whole numbers: exact however long the run."""
        return count_before(exact_share(self.alpha), places)


class ReplayOrder:
    """Which example stands at each place of a run with replay; made by :meth:`Replay.batches`.

    Args:
        replay: The settings.
        new: New examples, numbered from 0.
        old: Old examples, numbered on from ``new``.
        batch_size: Examples an update.
        seed: The run's seed: stream ``data`` of it for the new, ``replay`` for the old examples.

    Raises:
        ValueError: ``new`` or ``batch_size`` below 1, or ``old`` below 0.
    """

    def __init__(self, replay: Replay, new: int, old: int, batch_size: int, seed: int) -> None:
        for name, value, lowest in (("new", new, 1), ("old", old, 0), ("batch_size", batch_size, 1)):
            if value < lowest:
                raise ValueError(f"ReplayOrder: {name} must be >= {lowest}, got {value}.")
        self.replay, self.new, self.old, self.batch_size = replay, new, old, batch_size
        # New examples come as they would without replay, so that runs with several shares meet them in one order.
        self._new = Permutations(new, seed, "data")
        self._old = Permutations(max(1, old), seed, "replay")

    def indices(self, position: int) -> NDArray[np.int64]:
        """Return the examples of update ``position``, shape ``(batch_size,)``."""
        return self.at(np.arange(position * self.batch_size, (position + 1) * self.batch_size))

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the examples at ``places`` of the run's sequence, same shape, in any order."""
        before = self.replay._old_before(places)
        is_old = self.replay._old_before(places + 1) > before
        found = np.empty_like(places)
        shuffled = self.replay.order == "shuffle"
        fresh, again = (places - before)[~is_old], before[is_old]
        found[~is_old] = self._new.at(fresh) if shuffled else fresh % self.new
        if again.size:
            found[is_old] = self.new + (self._old.at(again) if shuffled else again % self.old)
        return found


class ReplayMixer(OrderedExamples[T]):
    """:class:`Replay` for loops of your own: a map-style data set of new examples, a fixed share replaced by old ones.

    It is mixed already: read it in order (PyTorch's ``DataLoader`` without ``shuffle``).

    **Formula**: that of :class:`Replay`, over ``total`` examples.

    Args:
        new: New data: anything with a length and an index, such as a ``torch.utils.data.Dataset``, a
            ``datasets.Dataset`` or a list.
        old: Data of earlier training, of the same kind of example.
        alpha: Share of old examples, in [0, 1).
        seed: Seed of the order.
        order: ``"shuffle"`` or ``"original"``; see :class:`Replay`.
        total: Examples in the mix, >= 1; as many as ``new`` has where not given, so that it costs the same.
        repeat: Allow either source to be gone through more than once.

    Returns:
        ``len(mixer)`` is ``total``; ``mixer[place]`` an example; ``iter(mixer)`` goes on from ``mixer.position``, which
        ``state_dict`` and ``load_state_dict`` carry over a stop; ``mixer.counts`` are the examples from each source.

    Raises:
        ValueError: ``alpha`` outside [0, 1), an unknown ``order``, ``total`` below 1, or an empty source.
        ConfigError: A source with less than the mix needs, without ``repeat``.
        IndexError: A place outside the mix.

    Example:
        >>> mixer = ReplayMixer(range(100), range(1000, 1100), alpha=0.05, seed=0)
        >>> len(mixer), mixer.counts, sum(example >= 1000 for example in mixer)
        (100, {'new': 95, 'old': 5}, 5)

    Use with:
        PyTorch: ``DataLoader(mixer, batch_size=32)``; to go on after ``n`` examples,
        ``DataLoader(Subset(mixer, range(n, len(mixer))), batch_size=32)``. transformers' ``Trainer`` shuffles what it
        is given, which keeps the counts of a whole pass and nothing else.

    Helps / does not help:
        See :class:`Replay`.

    Relations:
        In recipes: ``replay:alpha=0.05``.

    Source:
        Ibrahim et al., 2024, arXiv 2403.08763, section 6.
    """

    def __init__(
        self,
        new: Examples[T],
        old: Examples[T],
        *,
        alpha: float,
        seed: int = 0,
        order: Order = "shuffle",
        total: int | None = None,
        repeat: bool = False,
    ) -> None:
        self.replay = Replay(alpha=alpha, order=order, repeat=repeat)
        total = len(new) if total is None else total
        if not len(new):
            raise ValueError("ReplayMixer: new must hold at least one example, got none.")
        if total < 1:
            raise ValueError(f"ReplayMixer: total must be >= 1, got {total}.")
        fresh, again = self.replay.counts(total)
        if again and not len(old):
            raise ValueError("ReplayMixer: old must hold at least one example, got none.")
        for name, needed, there in (("new", fresh, len(new)), ("old", again, len(old))):
            if needed > there and not repeat:
                raise ConfigError(
                    f"ReplayMixer: alpha={alpha:g} of {total} examples needs {needed} {name} ones, and there are "
                    f"{there}; lower total or alpha, or allow them to come round again with repeat=True."
                )
        super().__init__([new, old], total, ReplayOrder(self.replay, len(new), len(old), 1, seed).at)
        self.position = 0

    @property
    def counts(self) -> dict[str, int]:
        """Examples of the whole mix by source."""
        fresh, again = self.replay.counts(self.total)
        return {"new": fresh, "old": again}

    def counts_until(self, place: int) -> dict[str, int]:
        """Return the examples before ``place`` by source."""
        fresh, again = self.replay.counts(min(place, self.total))
        return {"new": fresh, "old": again}

    def __iter__(self) -> Iterator[T]:
        """Go on from ``position`` to the end, and begin anew after it."""
        while self.position < self.total:
            example = self[self.position]
            self.position += 1
            yield example
        self.position = 0

    def state_dict(self) -> dict[str, int]:
        """Return the position."""
        return {"position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a stored position.

        Raises:
            ValueError: It lies outside the mix.
        """
        position = cast("int", state["position"])
        if not 0 <= position <= self.total:
            raise ValueError(f"ReplayMixer: position must be >= 0 and <= {self.total}, got {position}.")
        self.position = position
