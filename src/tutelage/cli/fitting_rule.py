"""The command that fits a rule by which cheap indicators tell what a data set is worth, to runs of your own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Force, Json, app, examples, print_json, print_table, print_text, say
from tutelage.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from tutelage.signals import LinearRule
    from tutelage.signals._rows import Rows

#: Beyond this the sign and size of a coefficient mean nothing by themselves.
_INFLATED = 10.0


@app.command(
    name="fit-rule",
    epilog=examples(
        "tutelage fit-rule runs.csv --out rule.json",
        "tutelage fit-rule runs.csv --columns length,mtld --select none --json",
    ),
)
def fit_rule(
    runs: Annotated[
        str,
        typer.Argument(help="A CSV, JSONL or Parquet file: a row for each training run, with its loss and indicators."),
    ],
    loss: Annotated[str, typer.Option("--loss", help="Column of losses on one evaluation set, in nats.")] = "loss",
    columns: Annotated[
        str | None, typer.Option("--columns", help="Indicators, such as length,mtld; all columns of numbers.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Column that names each run's scored rows; the means of theirs are taken."),
    ] = None,
    select: Annotated[
        str, typer.Option("--select", help="backward: drop what is not significant; or none.")
    ] = "backward",
    alpha: Annotated[float, typer.Option("--alpha", help="Largest p-value that stays.")] = 0.05,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the rule: .json.")] = None,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Fit the rule that tells from cheap indicators at which loss a model tuned on a data set will end.

    Each run has tuned the same model in the same way on another data set of the same size. Then tutelage score ROWS
    --signal instruct-mining:rule=FILE rates other data; --data FILES takes the means of rows that tutelage score wrote.
    """
    from tutelage.signals import InstructMining

    if select not in ("backward", "none"):
        raise ConfigError(f'--select must be backward or none, got "{select}".')
    if out is not None and out.exists() and not force:
        raise ConfigError(f"{out} exists; --force replaces it.")
    table = read_runs(runs, loss=loss, data=data, columns=None if columns is None else _names(columns))
    rule = InstructMining.fit(table, loss=loss, select="none" if select == "none" else "backward", alpha=alpha).linear
    notes = _doubts(rule)
    if out is not None:
        rule.save(out)
    if json_output:
        print_json({**dataclasses.asdict(rule), "notes": notes, "out": None if out is None else str(out)})
        return
    _show(rule)
    for note in notes:
        say(f"Note: {note}")
    if out is not None:
        print_text(f"Written: {out}; use it as instruct-mining:rule={out}")


def read_runs(
    runs: str, *, loss: str = "loss", data: str | None = None, columns: Sequence[str] | None = None
) -> list[dict[str, float]]:
    """Read what :meth:`tutelage.signals.InstructMining.fit` takes from a table of runs.

    Args:
        runs: A file with one row a run.
        loss: Column of the losses.
        data: Column that names a file of rows for each run, relative to the table; their means are the indicators.
            Where not given, the table itself holds the indicators.
        columns: Indicators; all columns of numbers where not given.

    Raises:
        ConfigError: A column that is not there, or none of numbers.
        DataNotFound: A file that is not there.
        DataError: A value that is no number.
    """
    from tutelage.signals._rows import open_rows

    rows = open_rows(runs)
    rows.check([loss] if data is None else [loss, data], "fit-rule")
    losses = _numbers(rows, loss)
    if data is None:
        table = {name: _numbers(rows, name) for name in _chosen(columns, rows, loss)}
        means = [{name: values[row] for name, values in table.items()} for row in range(len(rows))]
    else:
        means = []
        for file in rows.take(range(len(rows)), [data])[data]:
            beside = Path(runs).parent / str(file)
            scored = open_rows(str(beside if beside.exists() else file))
            # The first file decides which; whatever another one lacks is an error there.
            columns = _chosen(columns, scored, loss)
            means.append({name: math.fsum(_numbers(scored, name)) / len(scored) for name in columns})
    return [{**mean, loss: value} for mean, value in zip(means, losses, strict=True)]


def _chosen(columns: Sequence[str] | None, rows: Rows, loss: str) -> list[str]:
    """Return the columns asked for, or all that hold a number in the first row."""
    if columns is not None:
        missing = [name for name in columns if name not in rows.columns]
        if missing:
            raise ConfigError(
                f'{rows.label} has no column "{missing[0]}".{did_you_mean(missing[0], rows.columns)} It has: '
                f"{', '.join(rows.columns)}."
            )
        return [*columns]
    first = rows.take([0], rows.columns)
    found = [name for name in rows.columns if name != loss and _is_number(first[name][0])]
    if not found:
        raise ConfigError(f"{rows.label} has no column of numbers besides the loss; it has: {', '.join(rows.columns)}.")
    return found


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _numbers(rows: Rows, name: str) -> list[float]:
    from tutelage.signals.column import numbers

    found: list[float] = numbers(rows.take(range(len(rows)), [name])[name], rows.label, name).tolist()
    missing = next((row for row, value in enumerate(found) if not math.isfinite(value)), None)
    if missing is not None:
        raise DataError(f'{rows.label} row {missing + 1}: column "{name}" must be a finite number, got none.')
    return found


def _names(columns: str) -> list[str]:
    found = [name.strip() for name in columns.split(",") if name.strip()]
    if not found:
        raise ConfigError("--columns must name at least one indicator, such as length,mtld.")
    return found


def _doubts(rule: LinearRule) -> list[str]:
    fit = rule.diagnostics
    if fit is None:
        return []
    notes = []
    if fit.r_squared_out <= 0:
        notes.append("On runs that were left out, the mean of the others predicts better than the rule: do not use it.")
    inflated = [name for name, value in zip(rule.names, fit.variance_inflation, strict=True) if value > _INFLATED]
    if inflated:
        notes.append(f"{' and '.join(inflated)} go together: signs and sizes of their coefficients mean nothing alone.")
    notes.append(
        "The rule is about means of whole data sets: to choose rows by it, choose within groups that are alike, such "
        "as tasks (tutelage select --keep balanced:count=...,temperature=0 --group TASK)."
    )
    return notes


def _show(rule: LinearRule) -> None:
    fit = rule.diagnostics
    if fit is None:
        return
    parts = zip(rule.names, rule.coefficients, fit.standard_errors, fit.p_values, fit.variance_inflation, strict=True)
    print_table(
        ["indicator", "coefficient", "standard error", "p", "variance inflation"],
        [[name, f"{b:.4g}", f"{error:.2g}", f"{p:.2g}", f"{inflation:.3g}"] for name, b, error, p, inflation in parts],
    )
    print_text(f"\nlog loss = {rule.intercept:.4g} + sum of coefficient x mean indicator; {fit.runs} runs")
    print_text(
        f"R2 {fit.r_squared:.3f}; on runs left out one by one {fit.r_squared_out:.3f}, rank correlation "
        f"{fit.rank_correlation_out:.3f}"
    )
    for name, p_value in fit.dropped:
        print_text(f"dropped: {name} (p = {p_value:.2g})")
