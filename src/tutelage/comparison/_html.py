"""The words and tables of the report page; every text from outside is escaped here and nowhere else."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tutelage.comparison._records import ArmComparison, ArmSummary, Cell, ComparisonResult
from tutelage.comparison.table import cost_line, duration, p_text, signed, with_spread

COLOURS = 8
_MARKS = {"better": "▲", "worse": "▼", "no difference": "=", "inconclusive": "?"}
_COSTS = {
    "train_steps": "training updates",
    "search_steps": "search updates",
    "tuning_steps": "tuning updates",
    "evaluations": "evaluations",
}
_SAME = {"init": "first weights", "data": "data", "order": "order of batches"}


def text(value: object) -> str:
    """Return a value as text that is safe inside an element or a quoted attribute."""
    return html.escape(str(value), quote=True)


def title(result: ComparisonResult) -> str:
    """Return the title of the page."""
    return (
        f"{_plural(len(_names(result)), 'recipe')} compared on {', '.join(_unique(c.workload for c in result.cells))}"
    )


def colours(result: ComparisonResult) -> dict[str, str]:
    """Return the colour class of each arm: ``base`` for the baseline, ``c0`` to ``c7`` in turn for the others."""
    others = [name for name in _names(result) if name != result.baseline]
    return {result.baseline: "base", **{name: f"c{index % COLOURS}" for index, name in enumerate(others)}}


def body(
    result: ComparisonResult, has_curves: Sequence[bool], commands: Sequence[str], provenance: Mapping[str, Any]
) -> str:
    """Return the content of the page.

    Args:
        result: The comparison.
        has_curves: For each cell, whether there is anything to draw.
        commands: How to repeat it.
        provenance: Versions, machine, commit.
    """
    shades = colours(result)
    several = len(result.cells) > 1
    sections = [
        _cell(result, cell, index, shades, has_curves[index], several) for index, cell in enumerate(result.cells)
    ]
    return "\n".join(
        [
            _header(result, several),
            "<main>",
            *sections,
            _notes(result),
            _reading(result),
            _again(commands),
            _provenance(result, provenance),
            "</main>",
            "<footer>Made by tutelage. This file needs nothing else: keep it, send it, open it offline.</footer>",
        ]
    )


def _header(result: ComparisonResult, several: bool) -> str:
    first = result.cells[0]
    workloads = text(", ".join(_unique(cell.workload for cell in result.cells)))
    facts = {
        "arms": len(_names(result)),
        "seeds": len({run.seed for run in result.runs}),
        "runs": len(result.runs),
        "budget": ", ".join(_unique(cell.budget for cell in result.cells)),
        "spent": cost_line(result),
    }
    if several:
        items = "".join(
            f'<li><a href="#cell-{index}">{text(cell.conclusion)}</a></li>' for index, cell in enumerate(result.cells)
        )
        said = f'<h1>{text(title(result))}</h1><ul class="conclusions">{items}</ul>'
    else:
        head, _, rest = _said(first).partition(". ")
        said = f"<h1>{text(head.rstrip('.'))}.</h1>" + (f'<p class="lead">{text(rest)}</p>' if rest else "")
    strip = "".join(f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items())
    return (
        '<a class="skip" href="#cell-0">Skip to the results</a><header><div class="top">'
        f'<p class="eyebrow">Comparison of training recipes · {workloads}'
        '</p><button type="button" id="theme" hidden>Theme: auto</button></div>'
        f'{said}<dl class="facts">{strip}</dl></header>'
    )


def _said(cell: Cell) -> str:
    """Return a cell's conclusion without its name, which stands above it already."""
    whole = cell.conclusion.removeprefix(f"{cell.workload}, {cell.budget}: ")
    return whole[0].upper() + whole[1:] if whole.startswith(("inconclusive", "no ", "the ")) else whole


def _cell(
    result: ComparisonResult, cell: Cell, index: int, shades: Mapping[str, str], has_curves: bool, several: bool
) -> str:
    head = ""
    if several:
        head = f'<h2>{text(cell.workload)}, {text(cell.budget)}</h2><p class="lead">{text(_said(cell))}</p>'
    parts = [_forest(result, cell, shades)]
    if has_curves:
        parts.append(_charts(cell, index))
    parts += [_arms(result, cell, shades), _fairness(cell)]
    return f'<section id="cell-{index}" class="cell" data-cell="{index}">{head}{"".join(parts)}</section>'


def _forest(result: ComparisonResult, cell: Cell, shades: Mapping[str, str]) -> str:
    """Return the differences as a table whose middle column is drawn to scale."""
    found = [item for arm in result.arms_of(cell) if (item := result.comparison_of(arm)) is not None]
    if not found:
        return ""
    ends = [0.0, result.margin, -result.margin]
    for item in found:
        ends += [v for v in (item.difference, item.low, item.high, *item.per_seed) if v is not None]
    low, high, ticks = _scale(min(ends), max(ends))

    def place(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    zone = ""
    if result.margin:
        width = 100 * 2 * result.margin / (high - low)
        zone = f'<i class="zone" style="left:{place(-result.margin)};width:{width:.2f}%"></i>'
    grid = "".join(f'<i class="grid" style="left:{place(tick)}"></i>' for tick in ticks if tick)
    ground = f'{zone}{grid}<i class="zero" style="left:{place(0.0)}"></i>'
    rows = "".join(_forest_row(item, shades[item.arm], ground, place) for item in found)
    axis = "".join(f'<span style="left:{place(tick)}">{_tick(tick, ticks)}</span>' for tick in ticks)
    sides = ("better", "worse") if cell.lower_is_better else ("worse", "better")
    percent = f"{100 * result.confidence:.4g}"
    about = f"Dot: mean. Bar: {percent} % interval. Small marks: single seeds."
    if result.margin:
        about += f" Shaded: differences up to {result.margin:g}, which do not matter."
    return (
        f"<h3>How much do they differ from {text(result.baseline)}?</h3>"
        f'<p class="sub">Difference in {text(cell.metric)}, paired by seed. {about}</p>'
        '<div class="scroll"><table class="forest"><thead><tr><th scope="col">arm</th>'
        f'<th scope="col" class="plot"><span class="ends"><span>← {sides[0]}</span><span>{sides[1]} →</span></span>'
        "</th>"
        f'<th scope="col" class="num">difference</th><th scope="col" class="num">{percent} % interval</th>'
        '<th scope="col" class="num"><abbr title="p value, adjusted for the number of arms by Holm\'s method">p</abbr>'
        f'</th><th scope="col">verdict</th></tr></thead><tbody>{rows}</tbody>'
        f'<tfoot aria-hidden="true"><tr><td></td><td class="plot"><div class="axis">{axis}</div></td>'
        '<td colspan="4"></td></tr></tfoot></table></div>'
        f'<ul class="sentences">{"".join(f"<li>{text(item.sentence)}</li>" for item in found)}</ul>'
    )


def _forest_row(item: ArmComparison, shade: str, ground: str, place: Any) -> str:
    drawn = ""
    for seed, value in zip(item.seeds, item.per_seed, strict=True):
        label = text(f"seed {seed}: {signed(value)}")
        drawn += f'<i class="seed" style="left:{place(value)}" title="{label}"></i>'
    if item.low is not None and item.high is not None:
        drawn += f'<i class="bar" style="left:{place(item.low)};right:calc(100% - {place(item.high)})"></i>'
    if item.difference is not None:
        drawn += f'<i class="dot" style="left:{place(item.difference)}"></i>'
    ends = "none" if item.low is None or item.high is None else f"{signed(item.low)} to {signed(item.high)}"
    return (
        f'<tr class="{shade}"><th scope="row">{_name(item.arm)}</th>'
        f'<td class="plot" aria-hidden="true"><div class="lane">{ground}{drawn}</div></td>'
        f'<td class="num">{"none" if item.difference is None else signed(item.difference)}</td>'
        f'<td class="num">{ends}</td><td class="num">{"" if item.p_holm is None else p_text(item.p_holm)}</td>'
        f'<td title="{text(item.note)}">{_chip(item.verdict)}</td></tr>'
    )


def _charts(cell: Cell, index: int) -> str:
    """Return the frame that the script fills."""
    return (
        '<h3>How did they learn?</h3><noscript><p class="sub">Curves need JavaScript; all numbers stand in the tables.'
        f'</p></noscript><div class="charts" role="group" data-chart="{index}" '
        f'aria-label="Learning curves of {text(cell.workload)}"></div>'
    )


def _arms(result: ComparisonResult, cell: Cell, shades: Mapping[str, str]) -> str:
    percent = f"{100 * result.confidence:.4g}"
    arms = result.arms_of(cell)
    costs = [key for key in _COSTS if any(arm.cost.get(key) for arm in arms)]
    heads = ["#", "arm", f"mean {cell.metric}", f"{percent} % interval", "single seeds", "peak rate", "tokens", "time"]
    heads += [_COSTS[key] for key in costs]
    left = {"arm", "single seeds"}
    top = "".join(f'<th scope="col"{"" if name in left else _NUM}>{text(name)}</th>' for name in heads)
    rows = "".join(_arm_row(arm, result.baseline, shades[arm.name], costs) for arm in arms)
    return (
        f'<h3>All arms</h3><p class="sub">Best mean first; tokens and time are means of one run, '
        f"updates and evaluations sums over seeds.</p>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Table of all arms"><table><thead><tr>{top}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )


_NUM = ' class="num"'


def _arm_row(arm: ArmSummary, baseline: str, shade: str, costs: Sequence[str]) -> str:
    ends = (
        "none"
        if arm.low is None or arm.high is None
        else f"{with_spread(arm.low, arm.sd)} to {with_spread(arm.high, arm.sd)}"
    )
    seeds = []
    for seed, value in zip(arm.seeds, arm.per_seed, strict=True):
        shown = "missing" if seed in arm.missing_seeds else with_spread(value, arm.sd)
        seeds.append(f'<span title="seed {seed}">{shown}</span>')
    mean = "no result" if arm.mean is None and not arm.diverged_seeds else with_spread(arm.mean, arm.sd)
    tag = ' <span class="tag">baseline</span>' if arm.name == baseline else ""
    if arm.diverged_seeds:
        tag += f' <span class="tag bad">diverged: {len(arm.diverged_seeds)} of {len(arm.seeds)}</span>'
    recipe = f'<code class="recipe">{text(arm.recipe)}</code>' if arm.recipe and arm.recipe != arm.name else ""
    numbers = [
        "" if arm.peak is None else f"{arm.peak:.3g}",
        "" if arm.tokens is None else f"{round(arm.tokens):,}",
        "" if arm.seconds is None else duration(arm.seconds),
        *(f"{round(arm.cost.get(key, 0)):,}" for key in costs),
    ]
    return (
        f'<tr class="{shade}"><td class="num">{arm.rank}</td><th scope="row">{_name(arm.name)}{tag}{recipe}</th>'
        f'<td class="num strong">{mean}</td><td class="num">{ends}</td><td class="seeds">{" ".join(seeds)}</td>'
        + "".join(f'<td class="num">{value}</td>' for value in numbers)
        + "</tr>"
    )


def _fairness(cell: Cell) -> str:
    """Return whether the arms met the same weights, data and order, with the hashes that show it."""
    known = {kind: same for kind, same in cell.same.items() if same is not None}
    if not known:
        return ""
    said = "; ".join(
        f'{_SAME[kind]} <strong class="{"good" if same else "bad"}">{"equal" if same else "not equal"}</strong>'
        for kind, same in known.items()
    )
    rows = "".join(
        f'<tr><th scope="row">{seed}</th>'
        + "".join(
            f"<td><code>{text(cell.hashes.get(str(seed), {}).get(kind, 'differ')[:16])}</code></td>" for kind in known
        )
        + "</tr>"
        for seed in cell.seeds
    )
    heads = "".join(f'<th scope="col">{_SAME[kind]}</th>' for kind in known)
    return (
        f'<details class="fair"><summary>Same start for all arms: {said}</summary>'
        '<div class="scroll"><table><thead><tr>'
        f'<th scope="col">seed</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _notes(result: ComparisonResult) -> str:
    if not result.notes:
        return ""
    return f"<section><h2>Notes</h2><ul>{''.join(f'<li>{text(note)}</li>' for note in result.notes)}</ul></section>"


def _reading(result: ComparisonResult) -> str:
    methods = _unique(item.method for item in result.comparisons if item.method)
    margin = f"a margin of {result.margin:g}" if result.margin else "no margin"
    intervals = (
        "Student's t and the bootstrap, whichever reaches further" if methods == ["hybrid"] else ", ".join(methods)
    )
    return (
        "<section><h2>How to read this</h2><p>Every arm ran on the same seeds, so each difference is taken within a "
        "seed and what the seed does to both arms cancels. <em>Better</em> and <em>worse</em> need an interval that "
        "leaves zero out and a p value that survives Holm's correction for the number of arms; <em>no difference</em> "
        f"needs an interval within the margin (here {margin}); all else is <em>inconclusive</em>, which means: these "
        f"seeds cannot tell, not that there is nothing. Intervals are by {text(intervals)}. They speak about other "
        "seeds of this workload and budget, not about other data, sizes or budgets.</p></section>"
    )


def _again(commands: Sequence[str]) -> str:
    blocks = [
        f'<div class="command"><pre tabindex="0"><code>{text(line)}</code></pre>'
        '<button type="button" class="copy" hidden>Copy</button></div>'
        for line in commands
    ]
    if not blocks:
        return ""
    single = ""
    if blocks[1:]:
        single = f"<details><summary>One run of each arm</summary>{''.join(blocks[1:])}</details>"
    return f"<section><h2>How to reproduce it</h2><p>All of it:</p>{blocks[0]}{single}</section>"


def _provenance(result: ComparisonResult, provenance: Mapping[str, Any]) -> str:
    rows: dict[str, str] = {}
    for key, value in provenance.items():
        if isinstance(value, Mapping):
            rows[key] = ", ".join(f"{name} {item}" for name, item in value.items() if item is not None)
        elif value is not None:
            rows[key] = str(value)
    rows["seeds"] = ", ".join(_unique(str(run.seed) for run in result.runs))
    rows["cost"] = cost_line(result)
    items = "".join(f"<div><dt>{text(key)}</dt><dd>{text(value)}</dd></div>" for key, value in rows.items() if value)
    return f'<section><h2>Where the numbers come from</h2><dl class="rows">{items}</dl></section>'


def _name(name: str) -> str:
    return f'<span class="arm"><i class="swatch" aria-hidden="true"></i>{text(name)}</span>'


def _chip(verdict: str) -> str:
    mark = f'<span aria-hidden="true">{_MARKS[verdict]}</span>'
    return f'<span class="chip {verdict.replace(" ", "-")}">{mark} {verdict}</span>'


def _scale(low: float, high: float) -> tuple[float, float, list[float]]:
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


def _tick(value: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(value) or 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) + (1 if f"{step:.1e}".startswith("2.5") else 0)
    return "0" if abs(value) < step / 2 else f"{value:+.{decimals}f}" if 1e-6 < step < 1e6 else f"{value:+.1e}"


def _names(result: ComparisonResult) -> list[str]:
    return _unique(arm.name for arm in result.arms)


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
