"""One instance of every listed selection, with what its ``select`` is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from tutelage.selection import Answers, Balanced, Duplicates, Gumbel, NearDuplicates, Threshold, Top, Variation

_rng = np.random.default_rng(5)
SCORES = _rng.normal(size=60)
TEXTS = [f"text number {place % 50} of several, with words enough to be told apart {place % 50}" for place in range(60)]

CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "answers": (Answers(), TEXTS, {}),
    "balanced": (Balanced(share=0.4), SCORES, {"groups": np.arange(60) % 3}),
    "duplicates": (Duplicates(), TEXTS, {}),
    "gumbel": (Gumbel(count=20, temperature=2.0), SCORES, {}),
    "near-duplicates": (NearDuplicates(), TEXTS, {}),
    "threshold": (Threshold(min=-0.5, max=1.0), SCORES, {}),
    "top": (Top(share=0.3), SCORES, {}),
    "variation": (Variation(cv=0.5, stable=0.5), (_rng.random((60, 4)) < 0.5).astype(float), {}),
}
