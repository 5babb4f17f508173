"""A comparison as a LaTeX table: one row an arm, in the style of the booktabs package."""

from __future__ import annotations

import re

from tutelage.comparison._records import ArmComparison, ArmSummary, Cell, ComparisonResult, OverallComparison
from tutelage.comparison._words import METHODS, best_gain_first, methods_of, percent_of, unique
from tutelage.comparison.table import signed, with_spread
from tutelage.evaluation.verdicts import counted

__all__ = ["escape", "to_latex"]

#: What TeX would act on, as the commands that print it; in the Latin Modern and Computer Modern faces alike.
_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "[": "{[}",
    "]": "{]}",
}
#: Marks of verdicts; an inconclusive difference has none.
_MARKS = {"better": r"\ast", "worse": r"\dagger", "no difference": r"\approx"}


def to_latex(result: ComparisonResult) -> str:
    r"""Return a table with one row an arm, best first: mean and difference with intervals, mark of the verdict.

    The preamble needs ``\usepackage{booktabs}`` and, for straight quotes in names, ``\usepackage{textcomp}`` and
    ``\usepackage[T1]{fontenc}``. Rows can be taken out one by one; the marks are explained below the table.

    Args:
        result: What :func:`tutelage.compare` returned.

    Example:
        >>> from tutelage.comparison import RunOutcome, summarise
        >>> runs = [
        ...     RunOutcome(arm=arm, workload="digits", budget="9steps", seed=seed, metric="val_loss",
        ...                lower_is_better=True, value=value + seed / 100)
        ...     for arm, value in (("cosine", 0.5), ("uba", 0.4)) for seed in range(3)
        ... ]
        >>> rows = to_latex(summarise(runs, baseline="cosine")).splitlines()
        >>> next(row for row in rows if row.startswith("uba"))
        'uba & $0.4100$ & $[0.3852, 0.4348]$ & $-0.100$ & $[-0.100, -0.100]$ \\\\'

    Use with:
        ``tutelage report COMPARISON --format latex``.
    """
    compared = bool(result.comparisons)
    columns = "lrrrr" if compared else "lrr"
    metrics = unique(cell.metric for cell in result.cells)
    value = _metric(result.cells[0]) if len(metrics) == 1 else "value"
    percent = escape(percent_of(result))
    heads = ["arm", value, f"{percent} interval"]
    heads += [f"minus {escape(result.baseline)}", f"{percent} interval"] if compared else []
    lines = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", _row(heads), r"\midrule"]
    several = len(result.cells) > 1
    for index, cell in enumerate(result.cells):
        if several:
            lines += [r"\addlinespace"] if index else []
            about = f"{cell.workload}, {cell.budget}, {counted(len(cell.seeds), cell.pair)}"
            about += f", {cell.metric}" if len(metrics) > 1 else ""
            lines.append(f"\\multicolumn{{{len(columns)}}}{{l}}{{\\emph{{{escape(about)}}}}} \\\\")
        lines += [_row(_arm(arm, result.comparison_of(arm), compared)) for arm in result.arms_of(cell)]
    if result.overall:
        about = f"average over all, gain relative to {result.baseline} in percent"
        lines += [r"\addlinespace", f"\\multicolumn{{{len(columns)}}}{{l}}{{\\emph{{{escape(about)}}}}} \\\\"]
        lines += [_row(_average(item)) for item in best_gain_first(result.overall)]
    lines += [r"\bottomrule", r"\end{tabular}", "", *_explained(result)]
    return "\n".join(lines) + "\n"


def _arm(arm: ArmSummary, found: ArmComparison | None, compared: bool) -> list[str]:
    mean = "diverged" if arm.diverged_seeds else "pruned" if arm.pruned_seeds else "no result"
    if arm.mean is not None:
        lost = rf"\;({len(arm.diverged_seeds)}\times\mathrm{{div.}})" if arm.diverged_seeds else ""
        mean = f"${with_spread(arm.mean, arm.sd)}{lost}$"
    ends = ""
    if arm.low is not None and arm.high is not None:
        ends = f"$[{with_spread(arm.low, arm.sd)}, {with_spread(arm.high, arm.sd)}]$"
    row = [escape(arm.name), mean, ends]
    if not compared:
        return row
    if found is None:
        return [*row, "" if arm.pruned_seeds else "baseline", ""]
    return [*row, *_judged(found.difference, found.low, found.high, found.verdict)]


def _average(item: OverallComparison) -> list[str]:
    gain, low, high = (None if value is None else 100 * value for value in (item.gain, item.low, item.high))
    return [escape(item.arm), "", "", *_judged(gain, low, high, item.verdict)]


def _judged(value: float | None, low: float | None, high: float | None, verdict: str) -> list[str]:
    """Return a difference with the mark of its verdict, and its interval."""
    mark = f"^{{{_MARKS[verdict]}}}" if verdict in _MARKS else ""
    shown = "" if value is None else _number(value)
    ends = "" if low is None or high is None else f"$[{_number(low)}, {_number(high)}]$"
    return [f"${shown}{mark}$" if shown + mark else "", ends]


def _explained(result: ComparisonResult) -> list[str]:
    """Return a paragraph to stand below the table: marks, intervals, number of pairs."""
    pair = unique(cell.pair for cell in result.cells)
    counts = unique(counted(len(cell.seeds), cell.pair) for cell in result.cells)
    direction = unique(
        f"{cell.metric}: {'lower' if cell.lower_is_better else 'higher'} is better" for cell in result.cells
    )
    said = [escape("; ".join(direction)) + "."]
    if result.comparisons:
        found = {item.verdict for item in result.comparisons} | {item.verdict for item in result.overall}
        words = {
            "better": f"${_MARKS['better']}$ better than {escape(result.baseline)}",
            "worse": f"${_MARKS['worse']}$ worse",
            "no difference": f"${_MARKS['no difference']}$ no difference beyond the margin of {result.margin:g}",
            "inconclusive": "without mark: inconclusive",
        }
        level = f"{1 - result.confidence:.2g}"
        said.append(", ".join(text for verdict, text in words.items() if verdict in found))
        said[-1] += f" (paired by {' or '.join(pair)}, Holm-adjusted $p < {level}$)."
        methods = ", ".join(METHODS.get(name, name) for name in methods_of(result))
        said.append(f"Intervals over {escape(' or '.join(counts))}{f', by {escape(methods)}' if methods else ''}.")
    return [r"\par\smallskip", r"{\footnotesize\noindent", *said, r"\par}"]


def _metric(cell: Cell) -> str:
    return f"mean {escape(cell.metric)}"


def _number(value: float) -> str:
    """Return a signed number; an exponent as a power of ten."""
    digits, exponent, power = signed(value).partition("e")
    return f"{digits} \\times 10^{{{int(power)}}}" if exponent else digits


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def escape(text: object) -> str:
    r"""Return text that LaTeX prints as it is, on one line; other signs than ASCII are left to its font.

    Example:
        >>> print(escape("50% of val_loss & {x}"))
        50\% of val\_loss \& \{x\}
    """
    one_line = " ".join(str(text).split())
    # What stands for nothing on paper (control signs, directions of writing) would stop TeX.
    plain = "".join(_SIGNS.get(sign, sign) for sign in one_line if sign.isprintable())
    return re.sub("-(?=-)", "-{}", plain)  # two in a row would become one dash
