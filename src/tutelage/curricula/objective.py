"""CLIMB's objective curriculum: which losses are live at which part of the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tutelage.curricula._batches import no_batches
from tutelage.curricula._shared import spec_of


@dataclass(frozen=True, kw_only=True, repr=False)
class ObjectiveCurriculum:
    """Says which of several losses are trained at a point of the run: a coarse one first, or beside the main one.

    Each loss has its own span. The study predicts parts of speech before or beside masked words.

    **Formula**: loss ``k`` is live at progress ``p`` where ``starts_k <= p < ends_k``; at ``p = 1`` what ends there is
    live still. Live losses are summed.

    Args:
        names: Names of the losses, each once.
        starts: Progress at which each begins, in [0, 1).
        ends: Progress at which each ends, above its start, <= 1.

    Returns:
        ``live(progress)``: names of the live losses, in the order given. ``value(progress)``: how many.

    Raises:
        ValueError: Names given twice, spans that are empty or fewer or more than names, or a time without a live loss.

    Example:
        >>> part = ObjectiveCurriculum(names=("pos", "mlm"), starts=(0.0, 0.125), ends=(0.25, 1.0))
        >>> part.live(0.0), part.live(0.2), part.live(1.0)
        (('pos',), ('pos', 'mlm'), ('mlm',))

    Use with:
        ``loss = sum(losses[name]() for name in part.live(drawn / num_samples))``; as a spec
        ``objective:names=pos/mlm,starts=0/0.125,ends=0.125/1``.

    Helps / does not help:
        No consistent gain over masked words alone on 10M words, in sequence or side by side.

    Relations:
        :class:`VocabularyPacing` is the vocabulary curriculum of the same study, :class:`PercentilePacing` its data
        curriculum.

    Source:
        Martinez et al., CLIMB, 2023, arXiv 2311.08886 (its code was read for the card).
    """

    spec_name: ClassVar[str] = "objective"

    names: tuple[str, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]

    __repr__ = spec_of
    batches = no_batches

    def __post_init__(self) -> None:
        """Check every argument."""
        if len(set(self.names)) != len(self.names) or not self.names:
            raise ValueError(f"ObjectiveCurriculum: names must be different and at least one, got {self.names}.")
        if not len(self.names) == len(self.starts) == len(self.ends):
            raise ValueError(
                f"ObjectiveCurriculum: names, starts and ends must be as many, got {len(self.names)}, "
                f"{len(self.starts)} and {len(self.ends)}."
            )
        for name, start, end in zip(self.names, self.starts, self.ends, strict=True):
            if not 0 <= start < end <= 1:
                raise ValueError(f"ObjectiveCurriculum: {name} must have 0 <= start < end <= 1, got {start} and {end}.")
        # A loss may be missing only where a span begins or ends.
        for edge in (0.0, *self.ends):
            if edge < 1 and not self.live(edge):
                raise ValueError(f"ObjectiveCurriculum: no loss is live at progress {edge:g}; let one begin by then.")

    def columns(self) -> tuple[str, ...]:
        """Return no column: it needs no scores."""
        return ()

    def live(self, progress: float) -> tuple[str, ...]:
        """Return the names of the losses that are live at ``progress``."""
        spans = zip(self.names, self.starts, self.ends, strict=True)
        return tuple(name for name, start, end in spans if start <= progress < end or progress >= 1.0 == end)

    def value(self, progress: float) -> float:
        """Return how many losses are live at ``progress``."""
        return float(len(self.live(progress)))
