"""The command that says how much data one way of training saves against another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Json, examples, print_json, print_table, print_text, say
from tutelage.cli.forecasting import forecast_app
from tutelage.errors import DataNotFound

if TYPE_CHECKING:
    from tutelage.forecast.data_efficiency import DataEfficiency


@forecast_app.command(
    name="efficiency",
    epilog=examples(
        "tutelage forecast efficiency scores.csv --baseline plain --plot efficiency.png",
        "tutelage forecast efficiency scores.csv --target 0.8 --json",
    ),
)
def efficiency(
    file: Annotated[
        Path,
        typer.Argument(help="Table (CSV, TSV, Parquet, JSONL) with arm, size, score, and seed and task if there are."),
    ],
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Arm to compare with; the first of the table if not given.")
    ] = None,
    target: Annotated[
        str, typer.Option("--target", help="final: what the baseline reaches on all of its data; or a score.")
    ] = "final",
    lower: Annotated[bool, typer.Option("--lower-is-better", help="The score is a loss or an error rate.")] = False,
    confidence: Annotated[float, typer.Option("--confidence", help="Of the intervals.")] = 0.95,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the curves: .png, .svg or .pdf.")] = None,
    json_output: Json = False,
) -> None:
    """Say how many examples each arm needs for the baseline's score, as a share of what the baseline needs.

    Scores on growing parts of the same data, several seeds and tasks where there are such: their means are compared,
    and the interval of the ratio draws tasks and seeds anew. Nothing is extrapolated beyond the sizes in the table.
    """
    from tutelage.comparison.imports._table import rows_of
    from tutelage.forecast.efficiency_report import PLACE, efficiency_report

    if not file.is_file():
        raise DataNotFound(f"No file {file}.")
    rows = [{**row, PLACE: where} for where, row in rows_of(file)]
    found = efficiency_report(rows, baseline=baseline, target=target, higher_is_better=not lower, confidence=confidence)
    if plot is not None:
        from tutelage.forecast.efficiency_plot import plot_efficiency

        plot_efficiency(found, plot)
        say(f"Drawn: {plot}")
    if json_output:
        print_json(found.to_json())
        return
    table: list[list[Any]] = []
    for name, arm in found.arms.items():
        table.append([name, "all" if arm.by_task else "", *_cells(arm.overall)])
        table += [["", task, *_cells(one)] for task, one in arm.by_task.items()]
    print_table(["arm", "task", "score", "examples", found.baseline, "ratio", f"{confidence:.0%} interval"], table)
    for name, arm in found.arms.items():
        if arm.median_ratio is not None:
            print_text(f"{name}: median ratio over {len(arm.by_task)} tasks {arm.median_ratio:.3g}")
        for label, one in {"": arm.overall, **arm.by_task}.items():
            if one.reason is not None:
                say(f"Note{f' ({label})' if label else ''}: {one.reason}.")


def _cells(found: DataEfficiency) -> list[str]:
    interval = "" if found.ci is None else f"{found.ci[0]:.3g} to {found.ci[1]:.3g}"
    return [
        f"{found.target:.4g}",
        "" if found.n_a is None else f"{found.n_a:.0f}",
        "" if found.n_b is None else f"{found.n_b:.0f}",
        "" if found.ratio is None else f"{found.ratio:.3g}",
        interval,
    ]
