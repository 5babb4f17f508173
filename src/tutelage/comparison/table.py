"""A comparison in the terminal: arms best first, the difference to the baseline, the verdict, the conclusion."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from tutelage.evaluation.verdicts import counted, number

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from tutelage.comparison._records import ArmComparison, ArmSummary, Cell, ComparisonResult

_STYLES = {"better": "green", "worse": "red", "no difference": "cyan", "inconclusive": "yellow"}
_PURPOSES = {"train_steps": "training", "tuning_steps": "tuning", "search_steps": "search"}


#: Columns that are left out where less than this is wide enough to show all of them.
_WIDE = 110


def render(result: ComparisonResult, *, width: int = 120) -> Group:
    """Return the tables of all cells, notes and the conclusion, for a rich console of ``width`` columns."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Table | Text] = []
    for cell in result.cells:
        parts += [_cell_table(result, cell, wide=width >= _WIDE), Text(cell.conclusion, style="bold"), Text()]
    if result.overall:
        parts += [_overall_table(result, wide=width >= _WIDE)]
        parts += [Text(item.sentence, style="bold") for item in result.overall] + [Text()]
    parts.append(Text(f"Cost: {cost_line(result)}", style="dim"))
    parts += [Text(f"Note: {note}", style="dim") for note in result.notes]
    return Group(*parts)


def to_text(result: ComparisonResult, *, width: int = 120) -> str:
    """Return what :func:`render` shows, as plain text of at most ``width`` columns."""
    from rich.console import Console

    buffer = io.StringIO()
    Console(file=buffer, width=width, no_color=True, force_terminal=False, highlight=False).print(
        render(result, width=width)
    )
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def cost_line(result: ComparisonResult) -> str:
    """Return what the comparison spent, training apart from choosing: ``4,500 updates of training, 900 of tuning``."""
    spent = [f"{round(result.cost[key]):,} of {word}" for key, word in _PURPOSES.items() if result.cost.get(key)]
    if not spent:
        return "not known"
    seconds = sum(run.seconds or 0.0 for run in result.runs)
    time = f"; {duration(seconds)} of training" if seconds else ""
    return f"updates: {', '.join(spent)}{time}"


def duration(seconds: float) -> str:
    """Return seconds in words: ``12.3 s``, ``4 min 10 s``, ``3 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def with_spread(value: float | None, spread: float | None) -> str:
    """Return a value with as many decimals as two digits of its spread allow, between 4 significant digits and 8."""
    if value is None:
        return "diverged"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = math.floor(math.log10(abs(value)))
    wanted = 1 - math.floor(math.log10(spread)) if spread else 3 - size
    decimals = min(max(wanted, 3 - size, 0), max(0, 7 - size))
    return f"{value:.{decimals}f}"


def _cell_table(result: ComparisonResult, cell: Cell, *, wide: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    seeds = counted(len(cell.seeds), cell.pair)
    better = "lower" if cell.lower_is_better else "higher"
    title = Text(f"{cell.workload} · {cell.budget} · {seeds} · {cell.metric}, {better} is better")
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    percent = f"{100 * result.confidence:.4g} %"
    table.add_column("#", justify="right")
    # The only column that may wrap: without a least width it would be squeezed to nothing.
    table.add_column("arm", overflow="fold", min_width=12)
    table.add_column(Text(cell.metric), justify="right", no_wrap=True)
    table.add_column(Text(f"vs {result.baseline}"), justify="right", no_wrap=True)
    table.add_column(f"{percent} interval", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    if wide:
        table.add_column("p (Holm)", justify="right", no_wrap=True)
        table.add_column("peak", justify="right", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
    for arm in result.arms_of(cell):
        found = result.comparison_of(arm)
        shown: list[str | Text] = [str(arm.rank), Text(arm.name), _mean(arm), *_difference(found, arm)]
        table.add_row(*shown, *(_details(arm, found) if wide else ()))
    return table


def _overall_table(result: ComparisonResult, *, wide: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    workloads = counted(len({cell.workload for cell in result.cells}), "workload")
    budgets = len({cell.budget for cell in result.cells})
    over = workloads + (f" and {budgets} budgets" if budgets > 1 else "")
    title = Text(f"average over {over} · gain relative to {result.baseline}, higher is better")
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    percent = f"{100 * result.confidence:.4g} %"
    table.add_column("arm", overflow="fold", min_width=12)
    table.add_column("gain", justify="right", no_wrap=True)
    table.add_column(f"{percent} interval", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    if wide:
        table.add_column("p (Holm)", justify="right", no_wrap=True)
        table.add_column("workloads like these", justify="right", no_wrap=True)
    for item in sorted(result.overall, key=lambda item: -math.inf if item.gain is None else item.gain, reverse=True):
        style = _STYLES[item.verdict]
        shown: list[str | Text] = [
            Text(item.arm),
            "" if item.gain is None else f"{signed(100 * item.gain)} %",
            _percent_ends(item.low, item.high),
            f"[{style}]{item.verdict}[/{style}]",
        ]
        if wide:
            shown += [
                "" if item.p_holm is None else p_text(item.p_holm),
                _percent_ends(item.random_low, item.random_high),
            ]
        table.add_row(*shown)
    return table


def _percent_ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{signed(100 * low)} to {signed(100 * high)} %"


def _mean(arm: ArmSummary) -> str:
    lost = f" ({len(arm.diverged_seeds)} diverged)" if arm.diverged_seeds and arm.mean is not None else ""
    if arm.mean is None and not arm.diverged_seeds:
        return "pruned" if arm.pruned_seeds else "no result"
    return with_spread(arm.mean, arm.sd) + lost


def _difference(found: ArmComparison | None, arm: ArmSummary) -> list[str]:
    if found is None:
        return ["", "", "forecast not to win" if arm.pruned_seeds else "baseline"]
    style = _STYLES[found.verdict]
    shown = "" if found.difference is None else signed(found.difference)
    ends = "" if found.low is None or found.high is None else f"{signed(found.low)} to {signed(found.high)}"
    return [shown, ends, f"[{style}]{found.verdict}[/{style}]"]


def signed(value: float) -> str:
    """Return a difference with its sign, to three significant digits."""
    return ("+" if value > 0 else "-" if value < 0 else "") + number(abs(value))


def p_text(p: float) -> str:
    """Return a p value to two digits, ``<0.001`` below that."""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _details(arm: ArmSummary, found: ArmComparison | None) -> list[str]:
    return [
        "" if found is None or found.p_holm is None else p_text(found.p_holm),
        "" if arm.peak is None else f"{arm.peak:.3g}",
        "" if arm.seconds is None else duration(arm.seconds),
    ]


def print_result(result: ComparisonResult) -> None:
    """Print a comparison to standard output, in colour where that is a terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    # A file or pipe has no width of its own, and a table cut to a guess would lose what it says.
    width = console.width if console.is_terminal else 120
    Console(highlight=False, width=width).print(render(result, width=width))
