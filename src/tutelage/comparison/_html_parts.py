"""Pieces of the report page; every text from outside is escaped here and nowhere else."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

#: Colours of arms, besides that of the baseline; more arms share them and differ by dashes.
COLOURS = 8
#: Class of a column or cell of numbers.
NUM = ' class="num"'
_MARKS = {"better": "▲", "worse": "▼", "no difference": "=", "inconclusive": "?"}


def text(value: object) -> str:
    """Return a value as text that is safe inside an element or a quoted attribute."""
    return html.escape(str(value), quote=True)


def shades_of(names: Sequence[str], baseline: str) -> dict[str, str]:
    """Return the colour class of each arm: ``base`` for the baseline, ``c0`` to ``c7`` in turn for the others."""
    others = [name for name in names if name != baseline]
    return {baseline: "base", **{name: f"c{index % COLOURS}" for index, name in enumerate(others)}}


def arm_name(name: str) -> str:
    """Return an arm's name beside a dot of its colour."""
    return f'<span class="arm"><i class="swatch" aria-hidden="true"></i>{text(name)}</span>'


def chip(verdict: str) -> str:
    """Return a verdict as a coloured word with a sign, so that the colour is not needed."""
    mark = f'<span aria-hidden="true">{_MARKS[verdict]}</span>'
    return f'<span class="chip {verdict.replace(" ", "-")}">{mark} {verdict}</span>'


def why(shown: str, lines: Sequence[str] = ()) -> str:
    """Return a number that says where it comes from when it is pointed at or reached with the keyboard.

    Args:
        shown: The number.
        lines: What is said of it alone, before what :func:`sourced` says of all numbers around it.
    """
    if not shown:
        return ""
    own = f' data-why="{text(_joined(lines))}"' if lines else ""
    return f'<span class="why"{own}>{text(shown)}</span>'


def sourced(lines: Sequence[str]) -> str:
    """Return the attribute that says where the numbers inside an element come from, a line each."""
    return f' data-all="{text(_joined(lines))}"'


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(line for line in lines if line)


def scale(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return the ends of an axis with a little room, and about five round ticks inside."""
    if low == high:
        low, high = low - 1.0, high + 1.0
    room = 0.04 * (high - low)
    low, high = low - room, high + room
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    ticks = [step * index for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return low, high, ticks


def tick_text(value: float, ticks: Sequence[float]) -> str:
    """Return a tick with its sign and as many decimals as its neighbours need."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(value) or 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) + (1 if f"{step:.1e}".startswith("2.5") else 0)
    return "0" if abs(value) < step / 2 else f"{value:+.{decimals}f}" if 1e-6 < step < 1e6 else f"{value:+.1e}"


def few(items: Sequence[float], most: int) -> list[int]:
    """Return the places of at most ``most`` items, spread evenly over the items in order of size."""
    order = sorted(range(len(items)), key=lambda place: items[place])
    if len(order) <= most:
        return list(range(len(items)))
    return sorted(order[round(index * (len(order) - 1) / (most - 1))] for index in range(most))
