"""A comparison as Markdown, for a README, an issue or a wiki page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tutelage.comparison._records import ArmSummary, Cell, ComparisonResult, OverallComparison
from tutelage.comparison._words import (
    METHODS,
    arm_value,
    best_gain_first,
    facts_of,
    heading,
    interval_text,
    methods_of,
    percent_of,
    percent_range,
)
from tutelage.comparison.table import cost_line, p_text, signed
from tutelage.evaluation.verdicts import counted

__all__ = ["code_block", "code_span", "escape", "table", "to_markdown"]

#: Signs that start something in Markdown, or in GitHub's mathematics; an underscore inside a word starts nothing.
_SIGNS = re.compile(r"[\\`*\[\]<>|~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
#: What makes a line a heading, a list or a rule, by standing at its start.
_START = re.compile(r"^(\d*)([-+.)#])(?=$|[\s#-])")


def to_markdown(
    result: ComparisonResult, *, commands: Sequence[str] = (), provenance: Mapping[str, Any] | None = None
) -> str:
    """Return a comparison as GitHub-flavoured Markdown: conclusion, tables, notes, how to reproduce, provenance.

    Args:
        result: What :func:`tutelage.compare` returned.
        commands: Shell commands that repeat it.
        provenance: Versions, machine and commit.

    Returns:
        Text without raw HTML; whatever stands in a name is shown as it is.

    Example:
        >>> from tutelage.comparison import RunOutcome, summarise
        >>> runs = [
        ...     RunOutcome(arm=arm, workload="digits", budget="9steps", seed=seed, metric="val_loss",
        ...                lower_is_better=True, value=value + seed / 100)
        ...     for arm, value in (("cosine", 0.5), ("uba", 0.4)) for seed in range(2)
        ... ]
        >>> text = to_markdown(summarise(runs, baseline="cosine"))
        >>> text.splitlines()[0]
        '# 2 recipes compared on digits'

    Use with:
        ``tutelage report COMPARISON --format markdown``.
    """
    several = len(result.cells) > 1
    parts = [f"# {escape(heading(result))}"]
    for cell in result.cells:
        if several:
            parts.append(f"## {escape(f'{cell.workload}, {cell.budget}')}")
        parts += [f"**{escape(cell.conclusion)}**", cell_table(result, cell), _about(result, cell)]
        said = [item.sentence for arm in result.arms_of(cell) if (item := result.comparison_of(arm)) is not None]
        parts += [bullets(said)] if len(said) > 1 else []
    if result.overall:
        best_first = best_gain_first(result.overall)
        parts += ["## Average over all", _overall_table(best_first, result)]
        parts += [bullets(item.sentence for item in best_first)]
    if result.notes:
        parts += ["## Notes", bullets(result.notes)]
    if commands:
        parts += ["## How to reproduce", code_block("\n".join(commands), "sh")]
    parts += ["## Where the numbers come from", bullets(_facts(result, provenance or {}))]
    return "\n\n".join(parts) + "\n"


def cell_table(result: ComparisonResult, cell: Cell, *, only: Sequence[str] | None = None) -> str:
    """Return the table of a workload and budget, best arm first.

    Args:
        result: The comparison.
        cell: Workload and budget.
        only: Arms to show; all where not given.
    """
    arms = [arm for arm in result.arms_of(cell) if only is None or arm.name in only]
    interval = f"{percent_of(result)} interval"
    heads = [
        "rank",
        "arm",
        f"mean {cell.metric}",
        interval,
        f"minus {result.baseline}",
        interval,
        "p (Holm)",
        "verdict",
    ]
    compared = any(result.comparison_of(arm) is not None for arm in arms)
    heads = heads if compared else heads[:4]
    rows = [[str(arm.rank), *_arm(arm), *(_difference(result, arm) if compared else [])] for arm in arms]
    return table(heads, rows, right=(0, 2, 3, 4, 5, 6))


def _arm(arm: ArmSummary) -> list[str]:
    return [arm.name, arm_value(arm), interval_text(arm)]


def _difference(result: ComparisonResult, arm: ArmSummary) -> list[str]:
    found = result.comparison_of(arm)
    if found is None:
        return ["", "", "", "forecast not to win" if arm.pruned_seeds else "baseline"]
    ends = "" if found.low is None or found.high is None else f"{signed(found.low)} to {signed(found.high)}"
    shown = "" if found.difference is None else signed(found.difference)
    return [shown, ends, "" if found.p_holm is None else p_text(found.p_holm), found.verdict]


def _about(result: ComparisonResult, cell: Cell) -> str:
    better = "lower" if cell.lower_is_better else "higher"
    said = f"{counted(len(cell.seeds), cell.pair)}; {better} {cell.metric} is better"
    if result.margin:
        said += f"; differences up to {result.margin:g} do not matter"
    return escape(f"{said}.")


def _overall_table(items: Sequence[OverallComparison], result: ComparisonResult) -> str:
    heads = ["arm", "gain", f"{percent_of(result)} interval", "workloads like these", "p (Holm)", "verdict"]
    rows = [
        [
            item.arm,
            "" if item.gain is None else f"{signed(100 * item.gain)} %",
            percent_range(item.low, item.high),
            percent_range(item.random_low, item.random_high),
            "" if item.p_holm is None else p_text(item.p_holm),
            item.verdict,
        ]
        for item in items
    ]
    return table(heads, rows, right=(1, 2, 3, 4))


def _facts(result: ComparisonResult, provenance: Mapping[str, Any]) -> list[str]:
    facts = facts_of(provenance)
    methods = methods_of(result)
    if methods:
        facts["intervals"] = f"by {', '.join(METHODS.get(name, name) for name in methods)}"
    facts["cost"] = cost_line(result)
    return [f"{name}: {value}" for name, value in facts.items()]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Return a table; cells are plain text and are escaped here.

    Args:
        heads: Heads of the columns.
        rows: Cells by row.
        right: Columns whose numbers end at the right edge.
    """
    lines = [heads, ["---:" if index in right else "---" for index in range(len(heads))]]
    shown = ["| " + " | ".join(map(escape, lines[0])) + " |", "| " + " | ".join(lines[1]) + " |"]
    return "\n".join([*shown, *("| " + " | ".join(map(escape, row)) + " |" for row in rows)])


def bullets(items: Iterable[str]) -> str:
    """Return a list of plain texts, which are escaped here."""
    return "\n".join(f"- {escape(item)}" for item in items)


def escape(text: object) -> str:
    r"""Return text that Markdown shows as it is, on one line.

    Example:
        >>> print(escape("val_loss of <b> | *x*"))
        val_loss of \<b\> \| \*x\*
    """
    one_line = " ".join(str(text).split())
    return _START.sub(r"\1\\\2", _SIGNS.sub(lambda found: "\\" + found.group(0), one_line))


def code_span(text: object) -> str:
    """Return text in the fixed-width face, backticks in it included; not for cells of tables."""
    one_line = " ".join(str(text).split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", one_line)), default=0))
    edge = " " if one_line.startswith("`") or one_line.endswith("`") or not one_line else ""
    return f"{fence}{edge}{one_line}{edge}{fence}"


def code_block(text: str, language: str = "") -> str:
    """Return lines as a block that they cannot end."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
