"""Texts as selections look at them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def text_list(name: str, texts: Sequence[str]) -> list[str]:
    """Return texts as a list.

    Raises:
        ValueError: None at all, or one that is no text; names its place.
    """
    found = list(texts)
    if not found:
        raise ValueError(f"{name}: texts must hold at least one example, got none.")
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise ValueError(f"{name}: texts must be text, got {type(text).__name__} at {place}.")
    return found


def normalised(text: str) -> str:
    """Return a text without what seldom matters: width and ligatures (NFKC), case, and the amount of white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
