"""The report page in HTML, from its title to where the numbers come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.comparison._html_forest import averages, differences
from tutelage.comparison._html_parts import shades_of, text
from tutelage.comparison._html_tables import arms_table, fairness, runs_table
from tutelage.comparison._records import Cell, ComparisonResult
from tutelage.comparison._sources import Sources
from tutelage.comparison._words import METHODS, facts_of, heading, methods_of, names_of, unique
from tutelage.comparison.table import cost_line


def body(
    result: ComparisonResult,
    *,
    charts: Sequence[str | None],
    profiles: str,
    commands: Sequence[str],
    provenance: Mapping[str, Any],
    sources: Sources,
) -> str:
    """Return the content of the page.

    Args:
        result: The comparison.
        charts: For each cell what its curves leave out, in words; ``None`` where there is nothing to draw.
        profiles: The section on who reaches the target first, or nothing.
        commands: How to repeat it.
        provenance: Versions, machine, commit.
        sources: Says where each number comes from.
    """
    shades = shades_of(names_of(result), result.baseline)
    several = len(result.cells) > 1
    sections = [
        _cell(result, cell, index, shades, charts[index], several, sources) for index, cell in enumerate(result.cells)
    ]
    return "\n".join(
        [
            _header(result, several),
            '<main id="results" tabindex="-1">',
            averages(result, shades, sources),
            profiles,
            *sections,
            _notes(result),
            _reading(result),
            _again(commands, one_run=not _several(result)),
            _provenance(result, provenance, sources),
            "</main>",
            "<footer>Made by tutelage. This file needs nothing else: keep it, send it, open it offline.</footer>",
            f'<div id="why" role="tooltip" data-commit="{text(sources.commit)}" hidden></div>',
        ]
    )


def _several(result: ComparisonResult) -> bool:
    """Return whether there is something to compare, also where all but the baseline were pruned."""
    return len(names_of(result)) > 1


def _header(result: ComparisonResult, several: bool) -> str:
    first = result.cells[0]
    workloads = text(", ".join(unique(cell.workload for cell in result.cells)))
    pairs = unique(cell.pair for cell in result.cells)
    facts = {
        "arms": str(len(names_of(result))),
        " and ".join(f"{pair}s" for pair in pairs): f"{len({run.seed for run in result.runs}):,}",
        "runs": f"{len(result.runs):,}",
        "budget": ", ".join(unique(cell.budget for cell in result.cells)),
        "spent": cost_line(result),
    }
    if several:
        items = "".join(
            f'<li><a href="#cell-{index}">{text(cell.conclusion)}</a></li>' for index, cell in enumerate(result.cells)
        )
        said = f'<h1>{text(heading(result))}</h1><ul class="conclusions">{items}</ul>'
    else:
        head, _, rest = _said(first).partition(". ")
        said = f"<h1>{text(head.rstrip('.'))}.</h1>" + (f'<p class="lead">{text(rest)}</p>' if rest else "")
    strip = "".join(f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>" for name, value in facts.items())
    what = "Comparison of training recipes" if _several(result) else "One training run"
    return (
        '<a class="skip" href="#results">Skip to the results</a><header><div class="top">'
        f'<p class="eyebrow">{what} · {workloads}'
        '</p><button type="button" id="theme" hidden>Theme: auto</button></div>'
        f'{said}<dl class="facts">{strip}</dl></header>'
    )


def _said(cell: Cell) -> str:
    """Return a cell's conclusion without its name, which stands above it already."""
    whole = cell.conclusion.removeprefix(f"{cell.workload}, {cell.budget}: ")
    return whole[0].upper() + whole[1:] if whole.startswith(("inconclusive", "no ", "the ", "every ")) else whole


def _cell(
    result: ComparisonResult,
    cell: Cell,
    index: int,
    shades: Mapping[str, str],
    chart: str | None,
    several: bool,
    sources: Sources,
) -> str:
    head = ""
    if several:
        head = f'<h2>{text(cell.workload)}, {text(cell.budget)}</h2><p class="lead">{text(_said(cell))}</p>'
    parts = [differences(result, cell, shades, sources)]
    if chart is not None:
        parts.append(_charts(cell, index, chart, "they" if _several(result) else "it"))
    parts += [arms_table(result, cell, shades, sources), fairness(cell, one_arm=not _several(result))]
    return f'<section id="cell-{index}" class="cell" data-cell="{index}">{head}{"".join(parts)}</section>'


def _charts(cell: Cell, index: int, left_out: str, who: str) -> str:
    """Return the frame that the script fills."""
    said = f'<p class="sub">{text(left_out)}</p>' if left_out else ""
    return (
        f'<h3>How did {who} learn?</h3><noscript><p class="sub">Curves need JavaScript; all numbers stand in the '
        f'tables.</p></noscript>{said}<div class="charts" role="group" data-chart="{index}" '
        f'aria-label="Learning curves of {text(cell.workload)}"></div>'
    )


def _notes(result: ComparisonResult) -> str:
    if not result.notes:
        return ""
    return f"<section><h2>Notes</h2><ul>{''.join(f'<li>{text(note)}</li>' for note in result.notes)}</ul></section>"


def _reading(result: ComparisonResult) -> str:
    keys = "Point at a number, or reach it with Tab and the arrow keys, to see where it comes from; Escape closes that."
    if not _several(result):
        return f"<section><h2>How to read this</h2><p>{keys} One run says nothing about others.</p></section>"
    margin = f"a margin of {result.margin:g}" if result.margin else "no margin"
    intervals = ", ".join(METHODS.get(name, name) for name in methods_of(result)) or "no method, for want of values"
    pairs = unique(cell.pair for cell in result.cells)
    pair, several = (f"{pairs[0]}s", pairs[0]) if len(pairs) == 1 else ("seeds or items", "seed or item")
    luck = f"so each difference is taken within a {several} and what that does to both arms cancels"
    if pairs == ["item"]:
        luck = "so each difference is taken within an item, and what makes an item hard for both arms cancels"
    return (
        f"<section><h2>How to read this</h2><p>Every arm has results on the same {pair}, {luck}. <em>Better</em> and "
        "<em>worse</em> need an interval that leaves zero out and a p value that survives Holm's correction for the "
        f"number of arms; <em>no difference</em> needs an interval within the margin (here {margin}); all else is "
        f"<em>inconclusive</em>, which means: these {pair} cannot tell, not that there is nothing. Intervals are by "
        f"{text(intervals)}. They speak about other {pair} of this workload and budget, not about other data, sizes or "
        f"budgets.</p><p>{keys}</p></section>"
    )


def _again(commands: Sequence[str], *, one_run: bool) -> str:
    blocks = [
        f'<div class="command"><pre tabindex="0"><code>{text(line)}</code></pre>'
        '<button type="button" class="copy" hidden>Copy</button></div>'
        for line in commands
    ]
    if not blocks:
        return ""
    if one_run:
        return f"<section><h2>How to reproduce it</h2>{''.join(blocks)}</section>"
    single = ""
    if blocks[1:]:
        single = f"<details><summary>One run of each arm</summary>{''.join(blocks[1:])}</details>"
    return f"<section><h2>How to reproduce it</h2><p>All of it:</p>{blocks[0]}{single}</section>"


def _provenance(result: ComparisonResult, provenance: Mapping[str, Any], sources: Sources) -> str:
    rows = facts_of(provenance)
    rows |= {f"{cell.pair}s": sources.of_cell(cell) for cell in result.cells}
    rows["cost"] = cost_line(result)
    items = "".join(f"<div><dt>{text(key)}</dt><dd>{text(value)}</dd></div>" for key, value in rows.items() if value)
    return (
        f'<section><h2>Where the numbers come from</h2><dl class="rows">{items}</dl>{runs_table(result, sources)}'
        "</section>"
    )
