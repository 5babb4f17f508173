"""Stored: a column of the data as the signal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._protocol import DIRECTIONS, BadRow, Batch, Direction, spec_of


@dataclass(frozen=True, kw_only=True, repr=False)
class Stored:
    """A column that the data bring: a number, or a label with an order such as a school grade.

    For what people have judged: grade, difficulty, Bloom level, depth of knowledge, education level; and for scores
    made elsewhere.

    **Formula**: the number in the column; with ``levels``, the place of the label among them, from 1.

    Args:
        name: The column.
        levels: Labels in ascending order, for a column of labels; in a spec separated by slashes: ``levels=I/II/III``.
            Upper and lower case count as the same.
        high: What a high score means: ``"hard"``, ``"easy"``, ``"good"`` or ``"none"``.

    Returns:
        ``score(batch)``: float64 ``(n,)``; NaN where the cell is empty or "nan".

    Raises:
        ValueError: An unknown ``high``, one level only, or a level given twice.
        BadRow: A cell that is no number, or a label that is no level.

    Example:
        >>> Stored(name="depth", levels=("I", "II", "III"), high="hard").score({"depth": ["II", "i"]})
        array([2., 1.])
        >>> Stored(name="stars", high="good").score({"stars": ["4.5", ""]})
        array([4.5, nan])

    Use with:
        ``tutelage score data.csv --signal column:name=grade,high=hard``; the paper's cut-offs for ARC (easy <=, hard
        >=): grade 5 and 8, difficulty 1 and 3, Bloom level 2 and 4, depth of knowledge 1 and 3.

    Helps / does not help:
        Judgements of people agree with what models find hard only in part: check the rank correlation with a model's
            own
        loss before relying on them.

    Relations:
        :class:`Bloom` finds the level from the text; :class:`PassRate` measures difficulty from attempts.

    Source:
        Human hardness measures: Hase et al., The unreasonable effectiveness of easy training data for hard tasks, 2024,
        arXiv 2401.06751 (cut-offs as in the authors' code).
    """

    spec_name: ClassVar[str] = "column"
    per_example: ClassVar[bool] = True
    cached: ClassVar[bool] = False

    name: str
    levels: tuple[str, ...] | None = None
    high: Direction = "none"

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.high not in DIRECTIONS:
            raise ValueError(f'Stored: high must be {", ".join(DIRECTIONS)}, got "{self.high}".')
        if self.levels is not None:
            places = [level.strip().casefold() for level in self.levels]
            if len(places) < 2 or len(set(places)) < len(places):
                raise ValueError(
                    "Stored: levels must be 2 or more different labels in ascending order, got "
                    f"{'/'.join(self.levels)}."
                )

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    @property
    def direction(self) -> Direction:
        """What a high score means, as told."""
        return self.high

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return (self.name,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the numbers, or the places of the labels."""
        read = self._number if self.levels is None else self._level
        return np.array([read(row, value) for row, value in enumerate(batch[self.name])], dtype=np.float64)

    def _number(self, row: int, value: Any) -> float:
        if value is None or (isinstance(value, str) and not value.strip()):
            return math.nan
        try:
            return float(value)
        except (TypeError, ValueError):
            raise BadRow(
                row,
                f'column "{self.name}" must be a number, got {value!r:.40}; for labels give them in ascending order, '
                f"such as column:name={self.name},levels=low/high.",
            ) from None

    def _level(self, row: int, value: Any) -> float:
        label = "" if value is None else str(value).strip()
        places = {level.strip().casefold(): place for place, level in enumerate(self.levels or (), 1)}
        if not label:
            return math.nan
        if label.casefold() not in places:
            raise BadRow(row, f'column "{self.name}": {label!r:.40} is none of {", ".join(self.levels or ())}.')
        return float(places[label.casefold()])
