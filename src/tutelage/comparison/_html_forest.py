"""The forest plot of the report page: differences and averages as rows of a table, drawn to scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tutelage.comparison._html_parts import NUM, arm_name, chip, few, scale, sourced, text, tick_text, why
from tutelage.comparison._records import Cell, ComparisonResult
from tutelage.comparison._sources import Sources
from tutelage.comparison._words import best_gain_first, percent_of
from tutelage.comparison.table import p_text, signed

#: More single values of an arm than this are drawn as that many of them, spread evenly.
_MOST_MARKS = 60
#: More sentences than this are folded away.
_MOST_SENTENCES = 12


@dataclass(frozen=True)
class _Row:
    """One difference; ``wide`` is a second, wider interval, ``marks`` are single values with what they are of."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    p_holm: float | None
    verdict: str
    note: str
    lines: Sequence[str]
    marks: Sequence[tuple[str, float]]
    wide: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Kind:
    """What the rows have in common: sides of the axis, margin, unit behind each number, heads."""

    sides: tuple[str, str]
    margin: float
    unit: str
    value: str
    interval: str


def differences(result: ComparisonResult, cell: Cell, shades: Mapping[str, str], sources: Sources) -> str:
    """Return how much each arm differs from the baseline in a workload and budget."""
    found = [item for arm in result.arms_of(cell) if (item := sources.comparison(arm)) is not None]
    if not found:
        return ""
    rows = [
        _Row(
            item.arm,
            item.difference,
            item.low,
            item.high,
            item.p_holm,
            item.verdict,
            item.note,
            sources.of_difference(item),
            [(f"{cell.pair} {seed}", value) for seed, value in zip(item.seeds, item.per_seed, strict=True)],
        )
        for item in found
    ]
    sides = ("better", "worse") if cell.lower_is_better else ("worse", "better")
    percent = percent_of(result)
    about = f"Dot: mean. Bar: {percent} interval. Small marks: single {cell.pair}s"
    if max(len(row.marks) for row in rows) > _MOST_MARKS:
        about += f", {_MOST_MARKS} of them, spread evenly"
    about += "."
    if result.margin:
        about += f" Shaded: differences up to {result.margin:g}, which do not matter."
    return (
        f"<h3>How much do they differ from {text(result.baseline)}?</h3>"
        f'<p class="sub">Difference in {text(cell.metric)}, paired by {cell.pair}. {about}</p>'
        + _table(rows, _Kind(sides, result.margin, "", "difference", f"{percent} interval"), shades)
        + _sentences([item.sentence for item in found])
    )


def averages(result: ComparisonResult, shades: Mapping[str, str], sources: Sources) -> str:
    """Return each arm's average gain over all workloads and budgets; empty where there is none."""
    if not result.overall:
        return ""
    best_first = best_gain_first(result.overall)
    rows = []
    for item in best_first:
        marks = zip((f"seed {seed}" for seed in item.seeds), item.per_seed, strict=False)
        ends = (_percent(item.random_low), _percent(item.random_high))
        rows.append(
            _Row(
                item.arm,
                _percent(item.gain),
                _percent(item.low),
                _percent(item.high),
                item.p_holm,
                item.verdict,
                item.note,
                sources.of_overall(item),
                [(name, 100 * value) for name, value in marks],
                None if ends[0] is None or ends[1] is None else (ends[0], ends[1]),
            )
        )
    margin = max(item.margin for item in result.overall)
    percent = percent_of(result)
    about = (
        f"Gain relative to {text(result.baseline)} in percent of its value, higher is better; each workload has the "
        f"same weight. Dot: mean. Bar: {percent} interval on these workloads."
    )
    about += " Line: about workloads like these." if any(row.wide for row in rows) else ""
    about += " Shaded: gains that do not matter." if margin else ""
    return (
        f'<section id="overall"><h2>Over all workloads and budgets</h2><p class="sub">{about}</p>'
        + _table(rows, _Kind(("worse", "better"), 100 * margin, " %", "gain", f"{percent} interval"), shades)
        + _sentences([item.sentence for item in best_first])
        + "</section>"
    )


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _table(rows: Sequence[_Row], kind: _Kind, shades: Mapping[str, str]) -> str:
    ends = [0.0, kind.margin, -kind.margin]
    for row in rows:
        ends += [v for v in (row.value, row.low, row.high) if v is not None]
        ends += [value for _, value in row.marks]
    # The wider intervals may be many times as wide: they get some room, and end at the edge where it is too little.
    room = max(ends) - min(ends)
    wide = [min(max(end, min(ends) - room / 2), max(ends) + room / 2) for row in rows for end in row.wide or ()]
    low, high, ticks = scale(min(ends + wide), max(ends + wide))

    def place(value: float) -> str:
        return f"{100 * (min(max(value, low), high) - low) / (high - low):.2f}%"

    zone = ""
    if kind.margin:
        width = 200 * kind.margin / (high - low)
        zone = f'<i class="zone" style="left:{place(-kind.margin)};width:{width:.2f}%"></i>'
    grid = "".join(f'<i class="grid" style="left:{place(tick)}"></i>' for tick in ticks if tick)
    ground = f'{zone}{grid}<i class="zero" style="left:{place(0.0)}"></i>'
    shown = "".join(_row(row, kind, shades[row.name], ground, place) for row in rows)
    axis = "".join(f'<span style="left:{place(tick)}">{tick_text(tick, ticks)}</span>' for tick in ticks)
    left, right = kind.sides
    return (
        '<div class="scroll"><table class="forest"><thead><tr><th scope="col">arm</th>'
        f'<th scope="col" class="plot"><span class="ends"><span>← {left}</span><span>{right} →</span></span></th>'
        f'<th scope="col"{NUM}>{kind.value}</th><th scope="col"{NUM}>{kind.interval}</th>'
        f'<th scope="col"{NUM}><abbr title="p value, adjusted for the number of arms by Holm\'s method">p</abbr></th>'
        f'<th scope="col">verdict</th></tr></thead><tbody>{shown}</tbody>'
        f'<tfoot aria-hidden="true"><tr><td></td><td class="plot"><div class="axis">{axis}</div></td>'
        '<td colspan="4"></td></tr></tfoot></table></div>'
    )


def _row(row: _Row, kind: _Kind, shade: str, ground: str, place: Callable[[float], str]) -> str:
    drawn = ""
    for index in few([value for _, value in row.marks], _MOST_MARKS):
        name, single = row.marks[index]
        drawn += (
            f'<i class="seed" style="left:{place(single)}" title="{text(f"{name}: {signed(single)}{kind.unit}")}"></i>'
        )
    if row.wide is not None:
        drawn += f'<i class="wide" style="left:{place(row.wide[0])};right:calc(100% - {place(row.wide[1])})"></i>'
    if row.low is not None and row.high is not None:
        drawn += f'<i class="bar" style="left:{place(row.low)};right:calc(100% - {place(row.high)})"></i>'
    if row.value is not None:
        drawn += f'<i class="dot" style="left:{place(row.value)}"></i>'
    ends = "none"
    if row.low is not None and row.high is not None:
        ends = f"{signed(row.low)} to {signed(row.high)}{kind.unit}"
    value = "none" if row.value is None else f"{signed(row.value)}{kind.unit}"
    p = "" if row.p_holm is None else p_text(row.p_holm)
    return (
        f'<tr class="{shade}"{sourced(row.lines)}><th scope="row">{arm_name(row.name)}</th>'
        f'<td class="plot" aria-hidden="true"><div class="lane">{ground}{drawn}</div></td>'
        f"<td{NUM}>{why(value)}</td><td{NUM}>{why(ends)}</td><td{NUM}>{why(p)}</td>"
        f'<td title="{text(row.note)}">{chip(row.verdict)}</td></tr>'
    )


def _sentences(said: Sequence[str]) -> str:
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in said)
    listed = f'<ul class="sentences">{items}</ul>'
    if len(said) <= _MOST_SENTENCES:
        return listed
    return f"<details><summary>In {len(said)} sentences</summary>{listed}</details>"
