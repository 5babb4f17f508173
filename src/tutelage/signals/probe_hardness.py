"""ProbeHardness: how much data a probe needs before it gets an item right (model-based hardness)."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import NotReady
from tutelage.signals._probe_hardness import logistic_probe, mdl_hardness
from tutelage.signals._protocol import BadRow, Batch, Direction, fingerprint_of, spec_of


@dataclass(frozen=True, kw_only=True, repr=False)
class ProbeHardness:
    """How hard a labelled item is for logistic probes on fixed features that have seen few others.

    Model-based hardness in the manner of minimum description length: what a probe gets right after five examples is
    easy, what it still gets wrong after eighty is hard.

    **Formula**: ``h_i = 1 - mean over resamples b and sizes n of p_(b,n)(y_i | x_i)``, the probe ``p_(b,n)`` fitted to
    ``n`` items of other folds. No item, and no copy of it, is scored by a probe that learned from it.

    Args:
        features: Column with a vector for each row, such as the last hidden state of a language model.
        label: Column with the right class, a number or a name.
        sizes: Training items of the probes, growing; those the data cannot fill are left out.
        boots: Resamples, >= 1. 10 is the paper's.
        folds: Parts the items are cut into, >= 2.
        strength: Inverse of the probes' weight decay, > 0.
        seed: Of folds and resamples.

    Returns:
        ``score(batch)``, after ``prepare``: float64 ``(n,)``, in [0, 1], high = hard.

    Raises:
        ValueError: Arguments out of range, or fewer items than the smallest size needs.
        NotReady: Scored without ``prepare``, or a row that was not prepared.
        BadRow: A vector that is none, or of another length than the first.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> label = [0, 1] * 30
        >>> features = [[value + 0.3 * noise] for value, noise in zip(label, rng.normal(size=60))]
        >>> rows = {"features": features, "label": label}
        >>> scores = ProbeHardness(sizes=(5, 10, 20), boots=3).prepare([rows]).score(rows)
        >>> worst = int(scores.argmax())  # far on the wrong side
        >>> bool(abs(features[worst][0] - label[worst]) > 0.5)
        True

    Use with:
        ``tutelage score items.parquet --signal probe-hardness``; ``mdl_hardness`` takes any learner, and
        ``hardness_of_confidence`` probabilities you have already. Average the scores of several base models.

    Helps / does not help:
        The easiest 30 % and the hardest 30 % are the paper's split. The hardest items are often mislabelled ones. A
        class a small sample lacks has probability 0, so many classes need larger sizes.

    Relations:
        :class:`Loss` asks a model that has seen everything, this asks how soon it would be learned.

    Source:
        Hase et al., The unreasonable effectiveness of easy training data for hard tasks, 2024, arXiv 2401.06751; the
        mean over resamples and sizes checked in allenai/easy-to-hard-generalization, ``write_MDL_scores``. Folds are
        ours: there one half of the data is fitted to and the other scored.
    """

    spec_name: ClassVar[str] = "probe-hardness"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True

    features: str = "features"
    label: str = "label"
    sizes: tuple[int, ...] = (5, 10, 20, 40, 80)
    boots: int = 10
    folds: int = 2
    strength: float = 1.0
    seed: int = 0
    _scores: dict[str, float] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check every argument."""
        if not self.sizes or min(self.sizes) < 1 or list(self.sizes) != sorted(set(self.sizes)):
            raise ValueError(f"ProbeHardness: sizes must be growing numbers >= 1, got {self.sizes}.")
        for name, least in (("boots", 1), ("folds", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"ProbeHardness: {name} must be >= {least}, got {getattr(self, name)}.")
        if not self.strength > 0:
            raise ValueError(f"ProbeHardness: strength must be > 0, got {self.strength}.")

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns of features and labels."""
        return (self.features, self.label)

    def prepare(self, batches: Iterable[Batch]) -> ProbeHardness:
        """Return the signal that has fitted its probes, all of them, and asked them."""
        vectors: list[NDArray[np.float64]] = []
        names: list[str] = []
        for batch in batches:
            vectors += self._vectors(batch, len(vectors[0]) if vectors else None)
            names += [repr(label) for label in batch[self.label]]
        if not vectors:
            raise ValueError("ProbeHardness: no items to fit to.")
        table = np.stack(vectors)
        _, labels = np.unique(names, return_inverse=True)
        _, groups = np.unique(table, axis=0, return_inverse=True)
        scores = mdl_hardness(
            logistic_probe(table, labels, strength=self.strength),
            labels,
            sizes=self.sizes,
            boots=self.boots,
            folds=self.folds,
            groups=groups.reshape(-1),
            seed=self.seed,
        )
        keys = [fingerprint_of(vector, name) for vector, name in zip(table, names, strict=True)]
        found = copy.copy(self)
        object.__setattr__(found, "_scores", dict(zip(keys, scores.tolist(), strict=True)))
        return found

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the hardness of each row, which was among the items that were prepared."""
        if self._scores is None:
            raise NotReady("ProbeHardness: call prepare(batches) with all items first; tutelage.signals.score does.")
        found = []
        for vector, label in zip(self._vectors(batch), batch[self.label], strict=True):
            key = fingerprint_of(vector, repr(label))
            if key not in self._scores:
                raise NotReady("ProbeHardness: a row was not among the items that were prepared.")
            found.append(self._scores[key])
        return np.array(found, dtype=np.float64)

    def fingerprint(self) -> str:
        """Return a hash of the prepared items."""
        return "" if self._scores is None else fingerprint_of(self._scores)

    def _vectors(self, batch: Batch, width: int | None = None) -> list[NDArray[np.float64]]:
        found: list[NDArray[np.float64]] = []
        for row, value in enumerate(batch[self.features]):
            try:
                vector = np.asarray(value, dtype=np.float64)
            except (TypeError, ValueError):
                vector = np.empty((0, 0))
            width = len(vector) if width is None and vector.ndim == 1 else width
            if vector.ndim != 1 or len(vector) != width or not np.isfinite(vector).all():
                told = "" if width is None else f" of {width}"
                raise BadRow(row, f'column "{self.features}" must hold a list{told} finite numbers, got {value!r:.60}.')
            found.append(vector)
        return found
