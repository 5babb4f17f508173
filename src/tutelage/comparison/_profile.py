"""Who reaches the target first: performance profiles over the workloads and budgets of a comparison, for its page."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tutelage.comparison._curves import Curves
from tutelage.comparison._html_parts import NUM, arm_name, text, why
from tutelage.comparison._records import ComparisonResult
from tutelage.comparison._sources import Sources
from tutelage.errors import ConfigError, DataNotFound
from tutelage.evaluation.algoperf_scores import Axis, ScoreTable
from tutelage.evaluation.verdicts import counted

#: Arms drawn and listed; the best by score, and the baseline.
_MOST = 16
_WIDTH, _HEIGHT = 520, 270
_EDGE = {"left": 46, "right": 12, "top": 14, "bottom": 40}
_NAMES: dict[Axis, str] = {"steps": "updates", "seconds": "seconds of training", "tokens": "tokens"}


def profiles(
    result: ComparisonResult, curves: Curves, *, shades: Mapping[str, str], sources: Sources, complete: bool
) -> str:
    """Return the section of performance profiles, in updates and in seconds; nothing for a single cell.

    Args:
        result: The comparison.
        curves: Curves by run.
        shades: Colour class of each arm.
        sources: Says where numbers come from.
        complete: ``curves`` holds those of all runs that have one.
    """
    if len(result.cells) < 2 or not result.comparisons:
        return ""
    if not curves and not any(run.folder for run in result.runs):  # results from elsewhere have no curves
        return ""
    head = '<section id="profile"><h2>Who reaches the target first?</h2>'
    if not complete:
        return (
            f'{head}<p class="sub">Not drawn for {len(result.runs):,} runs, as it takes the curve of every one. '
            "<code>tutelage score-submissions</code> with this folder computes it.</p></section>"
        )
    from tutelage.comparison.to_target import score_comparison

    drawn, notes = [], []
    for axis in ("steps", "seconds"):
        try:
            table = score_comparison(result, axis=axis, curves=curves)
        except (ConfigError, DataNotFound, ValueError) as error:
            notes.append(f"No profile in {_NAMES[axis]}: {error}")
            continue
        drawn.append(_figure(table, result, shades, sources))
        notes += table.notes
    rule = (
        f"Targets by rule: on each workload and budget, the median over seeds of the best value that a run of "
        f"{text(result.baseline)} reached. An arm's time is the median over its seeds, a miss counting as infinite. "
        "The curve of an arm shows on which share of them it was at most so many times slower than the fastest arm; "
        "its score is the area below. As the AlgoPerf benchmark does (Dahl et al. 2023, arXiv 2306.07179)."
    )
    remarks = "".join(f"<li>{text(note)}</li>" for note in dict.fromkeys(notes))
    shown = f'<div class="profiles">{"".join(drawn)}</div>' if drawn else ""
    return f'{head}<p class="sub">{rule}</p>{shown}<ul class="sentences">{remarks}</ul></section>'


def _figure(table: ScoreTable, result: ComparisonResult, shades: Mapping[str, str], sources: Sources) -> str:
    names = [row.submission for row in table.rows[:_MOST]]
    if result.baseline not in names:
        names.append(result.baseline)
    unit = _NAMES[table.axis]
    inner = (_WIDTH - _EDGE["left"] - _EDGE["right"], _HEIGHT - _EDGE["top"] - _EDGE["bottom"])

    def x(factor: float) -> float:
        return _EDGE["left"] + (factor - 1) / (table.r_max - 1) * inner[0]

    def y(share: float) -> float:
        return _EDGE["top"] + (1 - share) * inner[1]

    ground = ""
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        kind = "axisline" if share == 0 else "gridline"
        ground += (
            f'<line class="{kind}" x1="{x(1):.1f}" x2="{x(table.r_max):.1f}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>'
        )
        ground += f'<text x="{x(1) - 8:.1f}" y="{y(share) + 4:.1f}" text-anchor="end">{100 * share:.0f} %</text>'
    factors = [1 + (table.r_max - 1) * part / 6 for part in range(7)]
    for factor in factors:
        ground += f'<text x="{x(factor):.1f}" y="{y(0) + 18:.1f}" text-anchor="middle">{factor:g}</text>'
    caption = f"at most so many times the fastest arm's {unit}"
    ground += f'<text class="caption" x="{x(1):.1f}" y="{_HEIGHT - 4}">{text(caption)}</text>'
    lines = ""
    for index, row in enumerate(table.rows):
        if row.submission not in names:
            continue
        steps = sorted(ratio for ratio in row.ratios.values() if ratio <= table.r_max)
        share, path = 0.0, f"M{x(1):.1f} {y(0):.1f}"
        for ratio in steps:
            share += 1 / len(table.workloads)
            path += f"H{x(ratio):.1f}V{y(share):.1f}"
        dash = ' stroke-dasharray="5 3"' if row.submission == result.baseline else ""
        # Lines that lie on one another are told apart by their widths: the later ones are thinner.
        width = 3.2 if index % 2 == 0 else 1.8
        lines += (
            f'<g class="{shades[row.submission]}"><path class="mean" style="stroke-width:{width}" '
            f'd="{path}H{x(table.r_max):.1f}"{dash}/></g>'
        )
    first = table.rows[0]
    label = (
        f"Performance profile in {unit} over {counted(len(table.workloads), 'workload')}: {first.submission} has the "
        f"highest score, {first.exact_score:.3f}. The table below has all scores."
    )
    more = "" if len(names) >= len(table.rows) else f'<p class="sub">The best {_MOST} of {len(table.rows)} arms.</p>'
    return (
        f'<figure><figcaption>In {unit}</figcaption><div class="chart">'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(label)}">{ground}{lines}</svg></div>'
        f"{_table(table, names, shades, sources)}{more}</figure>"
    )


def _table(table: ScoreTable, names: list[str], shades: Mapping[str, str], sources: Sources) -> str:
    unit = _NAMES[table.axis]
    heads = [("arm", ""), ("score", NUM), ("reached", NUM), *((name, NUM) for name in table.workloads)]
    top = "".join(f'<th scope="col"{kind}>{text(name)}</th>' for name, kind in heads)
    rows = ""
    for row in table.rows:
        if row.submission not in names:
            continue
        area = f"Area below the profile of {row.submission} from 1 to {table.r_max:g} times the fastest arm's {unit}"
        over = f"over {', '.join(table.workloads)}; times are medians over seeds"
        score = why(f"{row.exact_score:.3f}", [area, over])
        cells = [f"<td{NUM}>{score}</td>", f"<td{NUM}>{row.reached} of {len(table.workloads)}</td>"]
        for name in table.workloads:
            time, ratio = row.times[name], row.ratios[name]
            shown = f"{time:.5g}" if math.isfinite(time) else "missed"
            slower = f"{ratio:.3g} times the fastest" if math.isfinite(ratio) else "never, by the median over seeds"
            cells.append(f"<td{NUM}>{why(shown, sources.of_time(row.submission, name, unit, slower))}</td>")
        rows += (
            f'<tr class="{shades[row.submission]}"><th scope="row">{arm_name(row.submission)}</th>{"".join(cells)}</tr>'
        )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>'
