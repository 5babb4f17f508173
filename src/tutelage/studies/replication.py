"""Does a stored result come again on other seeds? The rule, and what the stored replications say by it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def agreement(result: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, bool | None]:
    """Say for each claim of a study's result whether it agrees with another result, measured on other seeds.

    **Formula**: two estimates agree where ``|effect_1 - effect_2| <= sqrt(h_1^2 + h_2^2)``, with ``h`` half the width
    of an estimate's 95 % interval: the 95 % interval of the difference of two independent estimates holds 0.

    Args:
        result: As stored in ``study.json``; its claims are judged.
        other: Likewise.

    Returns:
        By name of the claim, in the order of ``result``; ``None`` where either has no interval.

    Example:
        >>> one = {"findings": {"headline": {"effect": 0.10, "low": 0.06, "high": 0.14}}}
        >>> other = {"findings": {"headline": {"effect": 0.16, "low": 0.11, "high": 0.21}}}
        >>> agreement(one, other)
        {'headline': True}
    """
    found: dict[str, bool | None] = {}
    others = other.get("findings", {})
    for name, first in result.get("findings", {}).items():
        second = others.get(name)
        if second is None or None in (first["low"], first["high"], second["low"], second["high"]):
            found[name] = None
            continue
        width = math.hypot((first["high"] - first["low"]) / 2, (second["high"] - second["low"]) / 2)
        found[name] = abs(first["effect"] - second["effect"]) <= width
    return found


def reproduced(result: Mapping[str, Any], replications: Sequence[Mapping[str, Any]]) -> str:
    """Say whether a stored result comes again on other seeds.

    Args:
        result: The stored result.
        replications: Results of the same study and scale on other seeds; one whose study file differs from that of
            ``result`` is stale and does not count.

    Returns:
        ``"yes"`` where every claim agrees in every replication that counts, ``"no"`` with the claims that do not agree,
        ``"no interval"`` with the claims that cannot be judged, ``"stale"`` where none counts, ``"not run"`` where
        there is none.
    """
    counting = [item for item in replications if item.get("study_hash") == result.get("study_hash")]
    if not counting:
        return "stale" if replications else "not run"
    verdicts: dict[str, list[bool | None]] = {}
    for item in counting:
        for name, agrees in agreement(result, item).items():
            verdicts.setdefault(name, []).append(agrees)
    apart = [name for name, own in verdicts.items() if False in own]
    unknown = [name for name, own in verdicts.items() if None in own]
    if apart:
        return f"no ({', '.join(apart)})"
    if unknown or not verdicts:
        return f"no interval ({', '.join(unknown) or 'no claims'})"
    return "yes"
