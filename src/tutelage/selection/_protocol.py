"""What a selection is: scores in, places of the examples to keep out."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: What a part looks at: a score an example, several attempts at each, or its text.
Takes = Literal["scores", "attempts", "texts"]


class Selection(Protocol):
    """A listed selection: a frozen value, pure.

    ``takes`` says what it looks at; ``beside`` names the columns ``select`` takes besides, as keywords that may be left
    out: ``sizes``, ``groups``, ``scores``, ``perplexities`` or ``turns``.
    """

    takes: ClassVar[Takes]
    beside: ClassVar[tuple[str, ...]]

    def select(self, scores: ArrayLike, /, *, seed: int = 0) -> NDArray[np.int64]:
        """Return the places of the examples to keep, ascending.

        Args:
            scores: What ``takes`` says: shape ``(n,)``, or ``(n, attempts)``.
            seed: Of whatever is drawn.

        Raises:
            ValueError: The scores do not fit, or too few are there.
        """
