"""Signals that read text or columns, each with rows it can score: what holds for all is tested over this table."""

from __future__ import annotations

from typing import Any

TEXTS = [
    "The cat sat on the mat. It was warm there.",
    "Explain the theory of gravitation.",
    "",
    "Why? Cell!",
    "Why? Cell!",
]
ATTEMPTS = [[1.0, 0.0, 1.0], [0.0, 0.0], [], [0.5, 1.0], [1.0]]
CHANGES = [[-0.1, -0.1], [-0.1, -0.3, -0.2], [0.1, 0.2], [0, 0], [-0.5, 0.5]]
LISTS = {"query": ["a", "a", "b", "b", "b"], "score": [3.0, 1.0, 2.0, 2.0, 5.0]}
PAIRS = {**LISTS, "label": [1, 0, 0, 1, 0]}

#: Spec -> columns of five rows.
CASES: dict[str, dict[str, list[Any]]] = {
    "bloom": {"text": TEXTS},
    "column:name=grade,levels=low/high": {"grade": ["low", "high", "", "low", "low"]},
    "first-stage:relevant=label": PAIRS,
    "first-stage:kind=minmax": LISTS,
    "first-stage:kind=kde,relevant=label": PAIRS,
    "length": {"text": TEXTS},
    "length:unit=words": {"text": TEXTS},
    "order-influence": {"influence": CHANGES},
    "order-influence:reduction=mean": {"influence": CHANGES},
    "pass-rate": {"attempts": ATTEMPTS},
    "rarity": {"text": TEXTS},
    "rarity:reduction=mean,alpha=1": {"text": TEXTS},
    "readability": {"text": TEXTS},
    "readability:formula=lix": {"text": TEXTS},
    "reasoning-steps": {"answer": TEXTS},
    "topic": {"text": TEXTS},
    "variation:ddof=1": {"attempts": ATTEMPTS},
}
#: What the spec cannot say.
ARGUMENTS: dict[str, dict[str, Any]] = {"topic": {"keywords": {"animals": ["cat"], "biology": ["cell"]}}}
