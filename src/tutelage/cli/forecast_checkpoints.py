"""The command that analyses scores over checkpoints: health, similarity, order, and what early scores tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Json, examples, print_json, print_table, print_text, say
from tutelage.cli.forecasting import forecast_app
from tutelage.errors import ConfigError, DataNotFound

if TYPE_CHECKING:
    from tutelage.forecast.checkpoint_prediction import EarlyIndicator, TaskPrediction
    from tutelage.forecast.checkpoints import Dynamics


@forecast_app.command(
    name="checkpoints",
    epilog=examples(
        "tutelage forecast checkpoints runs --plot abilities.png",
        "tutelage forecast checkpoints scores.csv --predict arc --from hellaswag,piqa --upto 0.5 --json",
    ),
)
def checkpoints(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="TABLE|RUNS...",
            help="Tables (CSV, TSV, Parquet, JSONL) with run, step, tokens, task, score, chance, domain[, ci]; or "
            "folders that hold runs with a CheckpointTracker, at any depth.",
        ),
    ],
    predict: Annotated[str | None, typer.Option("--predict", help="Predict this task's later scores.")] = None,
    from_tasks: Annotated[
        str | None, typer.Option("--from", help="Tasks to predict it from: A,B. Those of its domain if not given.")
    ] = None,
    upto: Annotated[float, typer.Option("--upto", help="Share of the tokens that predictions learn from.")] = 0.5,
    run: Annotated[str | None, typer.Option("--run", help="Run to predict, where there are several.")] = None,
    trained_on: Annotated[
        str | None, typer.Option("--trained-on", help="Learn from this run instead, such as a smaller model.")
    ] = None,
    at: Annotated[
        str, typer.Option("--at", help="Shares of the tokens at which early scores are set against final ones.")
    ] = "0.1,0.2,0.3",
    interpolate: Annotated[
        bool, typer.Option("--interpolate", help="Allow different tokens, by straight lines between checkpoints.")
    ] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the curves: .png, .svg or .pdf.")] = None,
    json_output: Json = False,
) -> None:
    """Analyse scores of tasks over checkpoints, of one run or several.

    Says for each task whether it is at chance, regressed, still rising or saturated; which tasks move together; in
    which order they leave chance; how well tasks are predicted from those of their domain; and, for three runs or more,
    how well early scores rank runs by their end. With --predict: one task from others.
    """
    from tutelage.forecast._checkpoint_table import read_table
    from tutelage.forecast.checkpoints import dynamics, early_indicator, health_report, predict_task

    if predict is None and (from_tasks or run or trained_on):
        raise ConfigError("--from, --run and --trained-on belong to --predict TASK.")
    shares = _shares(at)
    table = read_table(rows_of_sources(sources))
    prediction = None
    if predict is not None:
        table.task(predict)
        mates = [name for name in table.chance if name != predict and table.domains[name] == table.domains[predict]]
        names = mates if from_tasks is None else [name.strip() for name in from_tasks.split(",") if name.strip()]
        if not names:
            raise ConfigError(f"{predict} is the only task of its domain; name tasks with --from A,B.")
        prediction = predict_task(table, predict, names, upto, run=run, trained_on=trained_on, interpolate=interpolate)
    if plot is not None:
        from tutelage.forecast.checkpoint_plot import plot_checkpoints

        plot_checkpoints(table, plot, prediction=prediction)
        say(f"Drawn: {plot}")
    if prediction is not None:
        if json_output:
            print_json({"prediction": prediction.to_json()})
        else:
            _print_prediction(prediction)
        return
    health = health_report(table, interpolate=interpolate)
    found = dynamics(table, interpolate=interpolate, upto=upto)
    early, notes = None, list[str]()
    if len(table.runs) >= 3:
        try:
            early = early_indicator(table, shares, interpolate=interpolate)
        except ValueError as error:
            notes.append(str(error))
    if json_output:
        parts = {"runs": table.runs, "health": health.to_json(), "dynamics": found.to_json()}
        print_json(parts | {"early_indicator": None if early is None else early.to_json(), "notes": notes})
        return
    print_text(f"{health}\n")
    _print_dynamics(found)
    if early is not None:
        _print_early(early)
    for note in notes:
        say(f"Note: {note}")


def rows_of_sources(sources: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the rows of tables and run folders as one table.

    Raises:
        DataNotFound: A file or folder that is not there, or a folder without scores.
        DataError: A file that is no table.
    """
    from tutelage.comparison.imports._table import rows_of
    from tutelage.forecast._checkpoint_table import PLACE
    from tutelage.training.checkpoint_tracker import read_checkpoints
    from tutelage.training.folder import SCORES_LOG

    folders: list[Path] = []
    rows: list[dict[str, Any]] = []
    for source in sources:
        if not source.exists():
            raise DataNotFound(f"No file or folder {source}.")
        if source.name == SCORES_LOG:
            folders.append(source.parent)
        elif source.is_dir():
            inside = sorted(log.parent for log in source.rglob(SCORES_LOG))
            if not inside:
                raise DataNotFound(
                    f"{source} holds no {SCORES_LOG}. Train with callbacks=[CheckpointTracker(...)], or give a table."
                )
            folders += inside
        else:
            # A table of one run need not name it.
            rows += [{"run": source.stem, **row, PLACE: where} for where, row in rows_of(source)]
    return rows + (read_checkpoints(*dict.fromkeys(folders)) if folders else [])


def _shares(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f'--at must be shares of the tokens, such as 0.1,0.2, got "{text}".') from None


def _print_prediction(found: TaskPrediction) -> None:
    rows = zip(found.tokens, found.predicted, found.actual, strict=True)
    print_table(["tokens", "predicted", "measured"], [[f"{tokens:g}", *values] for tokens, *values in rows])
    learned = "" if found.trained_on == found.run else f", learned from run {found.trained_on}"
    print_text(f"\n{found.target} of run {found.run} from {', '.join(found.from_tasks)}{learned}")
    print_text(f"mean absolute error (0 = chance, 1 = all right)  {found.mae:.4f}")
    print_text(f"of repeating the last score                      {_shown(found.last_value_mae, '.4f')}")
    print_text(f"of the mean of all other tasks                   {found.mean_mae:.4f}")
    print_text(f"R2 {_shown(found.r2)}")


def _print_dynamics(found: Dynamics) -> None:
    for run, onsets in found.onsets.items():
        order = [f"{task} {tokens:g}" for task, tokens in onsets.items() if tokens is not None]
        print_text(f"Left chance in run {run}, at tokens: {', '.join(order) or 'none'}")
    print_text("\nTasks that move together: rank correlation, of the curves and of their changes")
    rows = [
        [run, name, means["curves"], means["differences"], means["pairs"], one.p_value if name[0] == "w" else None]
        for run, one in found.similarity.items()
        for name, means in (("within domains", one.within), ("across domains", one.across))
    ]
    print_table(["run", "pairs of tasks", "curves", "changes", "pairs", "p of the gap in changes"], rows)
    predicted = [
        [run, task, one.mae, found.elsewhere[run][task], one.last_value_mae, one.mean_mae, one.r2]
        for run, tasks in found.domain_r2.items()
        for task, one in tasks.items()
    ]
    if predicted:
        print_text("\nLater scores from the tasks of the same domain: mean absolute error, beside baselines")
        print_table(["run", "task", "predicted", "from other domains", "last score", "mean of others", "R2"], predicted)
    if found.size_similarity:
        print_text("\nRuns that go alike")
        head = ["run", "and run", "curves with r >= 0.8", "of tasks", "unlike tasks", "onsets (tau)", "final ranks"]
        print_table(
            head,
            [
                [one.first, one.second, one.share, len(one.pearson), one.unlike_share, one.kendall, one.final_ranks]
                for one in found.size_similarity
            ],
        )


def _print_early(found: EarlyIndicator) -> None:
    print_text(f"\nEarly scores against the end of {len(found.runs)} runs: rank correlation")
    rows = []
    for name, group in (("mean of tasks", found.panel), ("loss", found.loss or {})):
        for share, one in group.items():
            ends = "" if one.interval is None else f"{one.interval[0]:+.2f} to {one.interval[1]:+.2f}"
            rows.append([name, f"{share:g}", one.spearman, ends])
    print_table(["indicator", "at share of tokens", "with final mean", "95 % interval"], rows)


def _shown(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)
