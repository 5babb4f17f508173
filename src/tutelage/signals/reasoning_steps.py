"""ReasoningSteps: how many steps a worked solution has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._protocol import Batch, Direction, spec_of
from tutelage.signals._words import texts_of


@dataclass(frozen=True, kw_only=True, repr=False)
class ReasoningSteps:
    r"""How many steps a worked solution has: its lines before the final answer.

    A human measure of how hard a word problem is, read off the solution.

    **Formula**: the number of lines that are not blank, up to the first line that begins with ``marker``.

    Args:
        marker: What begins the line of the final answer; that line and what follows count for nothing. GSM8K's is
            ``####``. Where no line begins so, all lines count.
        column: Column with the worked solution.

    Returns:
        ``score(batch)``: float64 ``(n,)``, whole numbers >= 0, high = hard; NaN for a blank solution.

    Raises:
        ValueError: An empty marker.
        BadRow: A value that is no text.

    Example:
        >>> ReasoningSteps().score({"answer": ["3 + 4 = 7\n7 * 2 = 14\n#### 14", "#### 5", " "]})
        array([ 2.,  0., nan])

    Use with:
        ``tutelage score gsm8k.jsonl --signal reasoning-steps``; the paper's cut-offs are easy <= 4 and hard >= 7.

    Helps / does not help:
        One of the six human measures over which easy data taught nearly as much about hard questions as hard data did.
        It says how long this solution is, not how long a solution must be.

    Relations:
        :class:`Length` of the same column counts its characters or words.

    Source:
        Hase et al., The unreasonable effectiveness of easy training data for hard tasks, 2024, arXiv 2401.06751
        (GSM8K: number of reasoning steps, cut-offs 4 and 7).
    """

    spec_name: ClassVar[str] = "reasoning-steps"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True
    cached: ClassVar[bool] = False

    marker: str = "####"
    column: str = "answer"

    def __post_init__(self) -> None:
        """Check every argument."""
        if not self.marker.strip():
            raise ValueError("ReasoningSteps: marker must not be empty; GSM8K's is ####.")

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return (self.column,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the steps of each solution."""
        return np.array([self._steps(text) for text in texts_of(batch, self.column)], dtype=np.float64)

    def _steps(self, text: str) -> float:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines:
            return float("nan")
        return float(next((at for at, line in enumerate(lines) if line.startswith(self.marker)), len(lines)))
