"""One row a schedule: the smallest arguments, and rates at chosen updates worked out by hand from the formula.

The conformance suite runs over this table. A schedule that is listed in ``_parts.py`` and has no row here fails it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """Arguments, the rate at ``total_steps`` to the last bit, and rates at some updates."""

    arguments: dict[str, Any]
    final: float | None
    values: dict[float, float] = field(default_factory=dict)


CASES: dict[str, Case] = {
    "constant": Case({"peak": 0.3, "warmup": 4}, None, {0: 0.075, 1: 0.15, 3: 0.3, 4: 0.3, 49: 0.3, 10_000: 0.3}),
    "cosine": Case(
        {"peak": 0.3, "total_steps": 14, "warmup": 4, "final": 0.1},
        0.1,
        {0: 0.075, 3: 0.3, 4: 0.3, 9: 0.2, 13: 0.2 - 0.1 * math.cos(math.pi / 10), 14: 0.1},
    ),
    "decay": Case({"peak": 0.3, "total_steps": 10, "final": 0.1}, 0.1, {0: 0.3, 5: 0.2, 9: 0.12, 10: 0.1}),
    "exponential": Case(
        {"peak": 1.0, "total_steps": 24, "warmup": 4}, 0.01, {0: 0.25, 3: 1.0, 4: 1.0, 14: 0.1, 19: 10**-1.5, 24: 0.01}
    ),
    "infinite": Case(
        {"peak": 1.0, "total_steps": 40, "warmup": 4, "cooldown_end": 24},
        0.1,
        {0: 0.0, 3: 0.75, 4: 1.0, 14: 0.775, 24: 0.55, 34: 0.55, 37: math.sqrt(0.055), 40: 0.1},
    ),
    "inverse-sqrt": Case({"peak": 0.6, "warmup": 4}, None, {0: 0.15, 3: 0.6, 4: 0.6, 16: 0.3, 36: 0.2, 100: 0.12}),
    "linear": Case(
        {"peak": 0.3, "total_steps": 14, "warmup": 4, "final": 0.1}, 0.1, {0: 0.075, 3: 0.3, 4: 0.3, 9: 0.2, 13: 0.12}
    ),
    "one-cycle": Case({"peak": 1.0, "total_steps": 20}, 4e-6, {0: 0.04, 3: 0.52, 6: 1.0, 13: 0.500002, 20: 4e-6}),
    "polynomial": Case(
        {"peak": 0.3, "total_steps": 14, "warmup": 4, "final": 0.1, "power": 2},
        0.1,
        {0: 0.075, 3: 0.3, 4: 0.3, 9: 0.15, 13: 0.102},
    ),
    "power": Case(
        {"peak": 0.02, "tokens_per_step": 1e6, "batch": 32, "total_steps": 1000, "warmup": 100},
        None,
        {
            0: 0.0,
            50: 128 * 1e8**-0.51 / 2,
            100: 128 * 1e8**-0.51,
            500: 128 * 5e8**-0.51,
            1000: 128 * 1e9**-0.51,
        },
    ),
    "rewarm": Case(
        {"peak": 3e-4, "total_steps": 100, "warmup": 10, "start": 1e-4},
        0.1 * 3e-4,
        {0: 1e-4, 5: 2e-4, 9: 2.8e-4, 10: 3e-4, 55: 1.65e-4, 100: 3e-5},
    ),
    "rex": Case(
        {"peak": 0.3, "total_steps": 14, "warmup": 4, "final": 0.1},
        0.1,
        {0: 0.075, 3: 0.3, 4: 0.3, 9: 0.1 + 0.2 * 2 / 3, 13: 0.1 + 0.2 * 2 / 11},
    ),
    "step": Case(
        {"peak": 0.8, "total_steps": 20, "warmup": 4},
        0.8 * 0.1**2,
        {0: 0.2, 3: 0.8, 4: 0.8, 9: 0.8, 10: 0.08, 14: 0.08, 15: 0.008, 20: 0.008},
    ),
    "uba": Case(
        {"peak": 3e-3, "total_steps": 14, "warmup": 4, "final": 3e-4, "phi": 5},
        3e-4,
        {0: 7.5e-4, 3: 3e-3, 4: 3e-3, 9: 3e-4 + 2.7e-3 * 2 / 7, 14: 3e-4},
    ),
    "warmup": Case({"peak": 0.6, "total_steps": 10, "start": 0.1}, 0.6, {0: 0.15, 4: 0.35, 9: 0.6, 10: 0.6}),
    "wsd": Case(
        {"peak": 0.3, "total_steps": 40, "warmup": 4, "final": 0.1},
        0.1,
        {0: 0.075, 3: 0.3, 4: 0.3, 36: 0.3, 37: 0.2, 39: 0.1 + 0.2 * (1 - math.sqrt(3) / 2), 40: 0.1},
    ),
}
