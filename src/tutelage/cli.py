"""The command line: parses, calls the library, prints. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.errors import (
    ConfigError,
    CorruptRun,
    DataError,
    DataNotFound,
    MissingExtra,
    StorageFull,
    TutelageError,
    UnknownPart,
)

if TYPE_CHECKING:
    from tutelage.workloads import Workload

app = typer.Typer(
    name="tutelage",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the training recipe that learns most from a fixed budget, and prove it.",
)

_BAD_INPUT = (ConfigError, UnknownPart, DataNotFound, DataError, MissingExtra, ValueError, TypeError)

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Data = Annotated[str | None, typer.Option("--data", help="Your data: a file, a folder or a named data set.")]
Model = Annotated[str | None, typer.Option("--model", help="A transformers model: a local folder, or a hub id.")]
TextColumn = Annotated[str | None, typer.Option("--text-column", help="Column that holds the text.")]
LabelColumn = Annotated[str | None, typer.Option("--label-column", help="Column that holds the label.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what --out holds, or start it.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what --out holds.")]
EvalEvery = Annotated[int | None, typer.Option("--eval-every", help="Updates between evaluations; a tenth of the run.")]
Tracker = Annotated[list[str] | None, typer.Option("--tracker", help="tensorboard, wandb, mlflow, trackio, ...")]


def main() -> None:
    """Run the command line and turn errors into one line and an exit code."""
    verbose = "--verbose" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--verbose"]
    try:
        app()
    except (TutelageError, ValueError, TypeError, KeyboardInterrupt, OSError) as error:
        if verbose:
            raise
        raise SystemExit(_explain(error)) from None


def _explain(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        text = str(error)
        _say(f"Interrupted. {text}" if text else "Interrupted.")
        return 130
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe (head, less) has left; nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    _say(f"Error: {' '.join(str(error).split())}")
    failed = isinstance(error, (CorruptRun, StorageFull)) or not isinstance(error, _BAD_INPUT)
    return 1 if failed else 2


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def _print(text: str) -> None:
    print(text)  # noqa: T201


def _print_json(value: Any) -> None:
    from tutelage.training.storage import finite

    _print(json.dumps(finite(value), ensure_ascii=False, allow_nan=False))


def _examples(*lines: str) -> str:
    return "Examples:\n\n" + "\n\n".join(f"  $ {line}" for line in lines)


def _workload(name: str, **changes: Any) -> Workload:
    from tutelage.workloads import from_spec

    return from_spec(name, **{key: value for key, value in changes.items() if value is not None}).prepare()


# --- training --------------------------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "tutelage train --workload digits --recipe uba:phi=5 --budget 20steps --out one",
        "tutelage train --out one --extend 20steps --json",
    )
)
def train(
    workload: Annotated[
        str | None, typer.Option("--workload", "-w", help="Spec of the workload, such as text-lm.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="Spec, such as uba:phi=5;sgd, or a .toml file.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", "-b", help="300steps, 2Mtokens, 50kexamples or 90s.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of every random stream of the run.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; below runs/ where not given.")] = None,
    resume: Resume = False,
    force: Force = False,
    extend: Annotated[
        str | None, typer.Option("--extend", help="Go on with a finished run for longer: 2000steps.")
    ] = None,
    data: Data = None,
    model: Model = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    mixed_precision: Annotated[str, typer.Option("--mixed-precision", help="no, bf16 or fp16.")] = "no",
    eval_every: EvalEvery = None,
    checkpoint_every: Annotated[
        int | None, typer.Option("--checkpoint-every", help="Updates; every 30 s if not given.")
    ] = None,
    tracker: Tracker = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu leaves an accelerator unused.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="PyTorch threads.")] = None,
    durable: Annotated[bool, typer.Option("--durable", help="Rows of the curve survive a power cut too.")] = False,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one workload by one recipe under one budget with one seed."""
    from tutelage.comparison.plan import slug
    from tutelage.durations import Budget
    from tutelage.training import Recipe
    from tutelage.training import loop as engine
    from tutelage.training.folder import RUN_FILE, read_run

    if mixed_precision not in ("no", "bf16", "fp16"):
        raise ConfigError(f'--mixed-precision must be no, bf16 or fp16, got "{mixed_precision}".')
    stored = read_run(out) if out is not None and (resume or extend) and (out / RUN_FILE).exists() else None
    if extend is not None and stored is None:
        raise ConfigError("--extend goes on with a finished run: name its folder with --out.")
    if workload is None and stored is None:
        raise ConfigError("--workload is missing; try --workload text-lm. All: tutelage parts workloads")
    if budget is None and stored is None:
        raise ConfigError("--budget is missing; try --budget 300steps.")
    spec = workload or (stored.workload_spec if stored is not None else None)
    if spec is None:
        raise ConfigError(f"The run in {out} was made in Python from a workload of its own; go on with it there.")
    checked = None if budget is None else Budget.parse(budget)
    Recipe.parse(recipe or "cosine")
    prepared = _workload(spec, data=data, model=model, text_column=text_column, label_column=label_column)
    settings: dict[str, Any] = {
        "eval_every": eval_every,
        "checkpoint_every": checkpoint_every,
        "trackers": tuple(tracker or ()),
        "device": device,
        "threads": threads,
        "durable": durable,
    }
    if out is None:
        choice = Recipe.parse(recipe or "cosine")
        out = Path("runs") / prepared.name / slug(str(choice)) / slug(str(checked)) / f"seed-{seed}"
    with _training_progress(out, quiet=quiet) as callback:
        settings["callbacks"] = (callback,) if callback is not None else ()
        if extend is not None:
            result = engine.extend(prepared, out, extend, recipe=recipe, **settings)
        elif stored is not None and budget is None:
            result = engine.resume_run(prepared, out, **settings)
        else:
            result = engine.train(
                prepared,
                recipe or (stored.recipe if stored is not None else "cosine"),
                budget=checked or (stored.budget if stored is not None else ""),
                seed=seed,
                out=out,
                resume=resume,
                force=force,
                mixed_precision=mixed_precision,  # type: ignore[arg-type]  # checked above
                **settings,
            )
    if json_output:
        _print_json({**result.to_json(), "curve": str(result.curve_path), "folder": str(out)})
        return
    if result.diverged:
        _print(f"Diverged after {result.steps} updates: the loss is no longer a finite number. Try a lower peak rate.")
    else:
        _print(
            f"{result.metric} {result.final_loss:.4f} after {result.steps} updates, {result.seconds:.1f} s of training"
        )
    _print(f"Curve: {result.curve_path}")


@contextlib.contextmanager
def _training_progress(out: Path, *, quiet: bool) -> Iterator[Any]:
    """Show a bar with the losses as they fall, and name the resume command when interrupted."""
    from tutelage.progress import TrainingBar

    try:
        with contextlib.ExitStack() as stack:
            yield None if quiet else stack.enter_context(TrainingBar())
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"The run is saved. Go on with: tutelage train --out {out} --resume") from None


@app.command(
    epilog=_examples(
        "tutelage compare --workload digits --arm constant --arm cosine --budget 20steps --seeds 2 --out two --json",
        "tutelage compare --workload digits --arm linear --arm bent=uba:phi=5 --budget 20steps --tune 2 --out three",
    )
)
def compare(
    config: Annotated[Path | None, typer.Argument(help="A TOML file that declares the comparison.")] = None,
    from_paths: Annotated[
        list[Path] | None, typer.Option("--from", help="Results trained elsewhere: a file or folder; repeatable.")
    ] = None,
    from_format: Annotated[str, typer.Option("--from-format", help="Their format, if it cannot be told.")] = "auto",
    from_pattern: Annotated[
        str | None, typer.Option("--from-pattern", help="Where arm and seed stand in paths: {arm}/seed-{seed}.")
    ] = None,
    pairs: Annotated[str, typer.Option("--pairs", help="With --from: seed, item or auto.")] = "auto",
    metric: Annotated[str | None, typer.Option("--metric", help="With --from: which metric.")] = None,
    lower_is_better: Annotated[
        bool | None,
        typer.Option("--lower-is-better/--higher-is-better", help="With --from: its direction, if not known."),
    ] = None,
    workload: Annotated[
        list[str] | None, typer.Option("--workload", "-w", help="Spec of a workload; repeatable.")
    ] = None,
    arm: Annotated[list[str] | None, typer.Option("--arm", "-a", help="A recipe, or NAME=RECIPE; repeatable.")] = None,
    budget: Annotated[
        list[str] | None, typer.Option("--budget", "-b", help="300steps, 2Mtokens or 90s; repeatable.")
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="How many, or which: 5 or 3,4,5.")] = None,
    baseline: Annotated[str | None, typer.Option("--baseline", help="Arm the others are compared to.")] = None,
    tune: Annotated[
        str | None, typer.Option("--tune", help="Peak rates to try for every arm: 3, or 1e-3/3e-3.")
    ] = None,
    tune_seeds: Annotated[int | None, typer.Option("--tune-seeds", help="Seeds a candidate peak is tried on.")] = None,
    margin: Annotated[float | None, typer.Option("--margin", help="Differences up to this size do not matter.")] = None,
    confidence: Annotated[float | None, typer.Option("--confidence", help="Of the intervals.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for runs and report.")] = None,
    resume: Resume = False,
    force: Force = False,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="Runs at a time; one a core if not given.")] = None,
    keep_weights: Annotated[bool, typer.Option("--keep-weights", help="Keep the final weights of every run.")] = False,
    data: Data = None,
    model: Model = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    eval_every: EvalEvery = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare recipes under equal budgets, paired by seed; writes report.html and report.json.

    With --from, nothing is trained: results of other programs get the same statistics and report.
    """
    if from_paths:
        refused = {"--arm": arm, "--budget": budget, "--workload": workload, "--tune": tune, "a config file": config}
        given_too = [name for name, value in refused.items() if value]
        if given_too:
            raise ConfigError(f"--from reads finished results and takes no {', '.join(given_too)}.")
        _compare_from(
            from_paths,
            {"format": from_format, "pattern": from_pattern, "pairs": pairs, "metric": metric}
            | {"lower_is_better": lower_is_better, "baseline": baseline, "margin": margin, "confidence": confidence},
            out,
            force=force,
            json_output=json_output,
        )
        return
    from tutelage.comparison.config import ComparisonConfig
    from tutelage.comparison.run import compare as run_comparison
    from tutelage.progress import ComparisonView

    given = {
        "workload": workload,
        "arms": arm,
        "budget": budget,
        "seeds": seeds,
        "baseline": baseline,
        "tune": tune,
        "tune_seeds": tune_seeds,
        "margin": margin,
        "confidence": confidence,
        "data": data,
        "model": model,
        "text_column": text_column,
        "label_column": label_column,
        "eval_every": eval_every,
    }
    declared = ComparisonConfig.load(config, {key: value for key, value in given.items() if value})
    folder = out or Path("comparisons") / declared.slug()
    try:
        with ComparisonView(enabled=not quiet) as view:
            result = run_comparison(
                declared.prepare(),
                declared.arms,
                **declared.options(),
                out=folder,
                resume=resume,
                force=force,
                jobs=jobs,
                keep_weights=keep_weights,
                watch=view.update,
                settings={"eval_every": declared.eval_every},
            )
    except KeyboardInterrupt:
        again = " ".join(_quoted(word) for word in sys.argv[1:] if word not in ("--resume", "--force"))
        raise KeyboardInterrupt(
            f"Finished and half-finished runs are saved. Go on with: tutelage {again} --resume"
        ) from None
    declared.write(folder / "comparison.toml")
    if json_output:
        _print_json({**result.to_json(), "report": str(folder / "report.html")})
        return
    from tutelage.comparison.table import print_result

    print_result(result)
    _print(f"Report: {folder / 'report.html'}")


def _compare_from(
    paths: list[Path], options: dict[str, Any], out: Path | None, *, force: bool, json_output: bool
) -> None:
    from tutelage.comparison.imports import FORMATS, compare_from
    from tutelage.comparison.report import REPORT_DATA, write_report
    from tutelage.comparison.table import print_result

    if options["format"] not in FORMATS:
        raise ConfigError(f'--from-format must be one of {", ".join(FORMATS)}, got "{options["format"]}".')
    if options["pairs"] not in ("auto", "seed", "item"):
        raise ConfigError(f'--pairs must be auto, seed or item, got "{options["pairs"]}".')
    if out is not None and not force and out.exists() and any(out.iterdir()):
        held = "a report" if (out / REPORT_DATA).exists() else "other files"
        raise ConfigError(f"--out {out} holds {held} already; name another folder, or add --force to write there.")
    result = compare_from(paths, **{name: value for name, value in options.items() if value is not None})
    page = None if out is None else write_report(result, out, commands=[result.declaration["command"]])
    if json_output:
        _print_json({**result.to_json(), "report": None if page is None else str(page)})
        return
    print_result(result)
    _print("A page with all of it: add --out FOLDER" if page is None else f"Report: {page}")


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)


@app.command(
    epilog=_examples(
        "tutelage check digits --recipe uba:phi=5,warmup=0.1 --budget 200steps",
        "tutelage check digits --recipe wsd:decay=0.2 --budget 5kexamples --json",
    )
)
def check(
    target: Annotated[str, typer.Argument(help="Spec of a workload, or a comparison's TOML file.")],
    recipe: Annotated[list[str] | None, typer.Option("--recipe", "-r", "--arm", help="Recipe; repeatable.")] = None,
    budget: Annotated[str | None, typer.Option("--budget", "-b", help="300steps, 2Mtokens or 90s.")] = None,
    data: Data = None,
    model: Model = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    json_output: Json = False,
) -> None:
    """Do everything but the work: resolve parts and data, and say what a run would take on this machine."""
    from tutelage.comparison.check import check_all
    from tutelage.comparison.config import ComparisonConfig

    given = {
        "workload": None if target.endswith(".toml") else [target],
        "arms": recipe,
        "budget": None if budget is None else [budget],
        "data": data,
        "model": model,
        "text_column": text_column,
        "label_column": label_column,
    }
    path = Path(target) if target.endswith(".toml") else None
    defaults: dict[str, Any] = {} if path else {"arms": ["cosine"], "budget": ["300steps"]}
    declared = ComparisonConfig.load(path, defaults | {key: value for key, value in given.items() if value})
    estimates = check_all(declared)
    if json_output:
        _print_json({"runs": [estimate.to_json() for estimate in estimates]})
        return
    _print("\n\n".join(estimate.to_text() for estimate in estimates))


@app.command(
    epilog=_examples(
        "tutelage runs one --where 'final_loss < 3'",
        "tutelage runs . --sql 'select recipe, avg(final_loss) as loss from runs group by recipe' --json",
    )
)
def runs(
    root: Annotated[Path, typer.Argument(help="Folder that holds runs, at any depth.")] = Path("."),
    where: Annotated[str | None, typer.Option("--where", help="SQL condition, such as 'final_loss < 3'.")] = None,
    order: Annotated[str | None, typer.Option("--order", help="SQL order, such as 'final_loss desc'.")] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="A whole query over the table runs.")] = None,
    export: Annotated[Path | None, typer.Option("--export", help="Write a .csv or .parquet file.")] = None,
    json_output: Json = False,
) -> None:
    """List the runs below a folder, filtered by SQL; export them as CSV or Parquet."""
    from tutelage.training import query

    table = query.query_runs(root, where=where, order=order, sql=sql)
    if export is not None:
        query.export(table, export)
    if json_output:
        _print_json({"runs": table.to_pylist()})
        return
    shown = ["folder", "workload", "recipe", "budget", "seed", "status", "final_loss", "steps"]
    names = table.column_names if sql is not None else shown
    _table(names, [[row[name] for name in names] for row in table.to_pylist()])
    if export is not None:
        _print(f"{table.num_rows} rows: {export}")


def _table(names: list[str], rows: list[list[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def cell(value: Any) -> Text:
        return Text("" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value))

    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 200).print(table)


# --- schedules and parts ---------------------------------------------------------------------------------------------


@app.command(
    epilog=_examples(
        "tutelage schedule uba:phi=5 cosine --steps 100 --peak 1 --json",
        "tutelage schedule cosine:warmup=10steps --steps 100 --peak 1e-3 --against transformers:cosine:warmup=10steps",
    )
)
def schedule(
    specs: Annotated[list[str], typer.Argument(help="Schedules, such as uba:phi=5,warmup=0.05.")],
    steps: Annotated[int, typer.Option("--steps", "-n", help="Updates in the run.")] = 100,
    peak: Annotated[float, typer.Option("--peak", help="Highest rate.")] = 1.0,
    tokens_per_step: Annotated[
        float | None, typer.Option("--tokens-per-step", help="For schedules that count tokens.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", help="A peer's, such as transformers:cosine.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write a picture (.svg, .png or .pdf).")] = None,
    json_output: Json = False,
) -> None:
    """Print the learning rate of every update, beside those of other libraries if wished."""
    from tutelage.schedules import from_spec
    from tutelage.schedules._peers import peer_rates

    if steps < 1:
        raise ConfigError(f"--steps must be >= 1, got {steps}.")
    rates = {
        spec: from_spec(spec, total_steps=steps, peak=peak, tokens_per_step=tokens_per_step).to_array(steps)
        for spec in specs
    }
    peers = {name: peer_rates(name, total_steps=steps, peak=peak) for name in against or ()}
    if plot is not None:
        from tutelage.schedules._plot import plot_rates

        plot_rates({**rates, **peers}, plot)
    ours = next(iter(rates.values()))
    gaps = {name: float(abs(ours - values).max()) for name, values in peers.items()}
    if json_output:
        shown: dict[str, Any] = {name: {"lr": values.tolist()} for name, values in {**rates, **peers}.items()}
        for name, gap in gaps.items():
            shown[name]["largest_difference"] = gap
        _print_json(shown)
        return
    from tutelage.text_plot import text_plot

    for name, values in {**rates, **peers}.items():
        _print(f"{name}\n{text_plot(values)}")
    for name, gap in gaps.items():
        _print(f"Largest difference between {specs[0]} and {name}: {gap:.3g}")
    if plot is not None:
        _print(f"Plot: {plot}")


@app.command(epilog=_examples("tutelage parts", "tutelage parts schedules --json"))
def parts(
    family: Annotated[str | None, typer.Argument(help="One family, such as schedules.")] = None,
    json_output: Json = False,
) -> None:
    """List every part by family and spec name."""
    from tutelage.registry import FAMILIES, entries

    families = [family] if family is not None else list(FAMILIES)
    listed = {name: {part: entry.target for part, entry in entries(name).items()} for name in families}
    if json_output:
        _print_json({"parts": listed})
        return
    for name, found in listed.items():
        _print(f"{name}: {FAMILIES[name]}")
        _print(textwrap.fill(", ".join(found), 100, initial_indent="  ", subsequent_indent="  "))
    _print("One part's card: tutelage show NAME")


@app.command(epilog=_examples("tutelage show uba", "tutelage show wsd --json"))
def show(
    name: Annotated[str, typer.Argument(help="Spec name of a part, such as uba.")],
    json_output: Json = False,
) -> None:
    """Print a part's method card: what it does, formula, arguments, when it helps, source."""
    import inspect

    from tutelage.errors import did_you_mean
    from tutelage.registry import FAMILIES, entries

    everything = {part: entry for family in FAMILIES for part, entry in entries(family).items()}
    if name not in everything:
        raise UnknownPart(f'No part "{name}".{did_you_mean(name, everything)} All: tutelage parts')
    entry = everything[name]
    card = inspect.getdoc(entry.load()) or ""
    if json_output:
        _print_json({"name": name, "family": entry.family, "target": entry.target, "card": card})
        return
    _print(f"{name} ({entry.family}, {entry.target.replace(':', '.')})\n\n{card}")


@app.command(epilog=_examples("tutelage papers", "tutelage papers --json"))
def papers(json_output: Json = False) -> None:
    """List the 76 papers, with the part, study and verdict of each."""
    from tutelage.studies.status import status_rows

    rows = status_rows()
    if json_output:
        _print_json({"papers": [row.to_json() for row in rows]})
        return
    names = ["paper", "title", "slot", "part", "verdict"]
    _table(names, [[row.to_json()[name] for name in names] for row in rows])


@app.command(
    name="score-submissions",
    epilog=_examples(
        "tutelage score-submissions logs/external_tuning",
        "tutelage score-submissions logs/external_tuning --axis steps --json",
    ),
)
def score_submissions(
    logs: Annotated[Path, typer.Argument(help="Folder of submissions in the AlgoPerf benchmark's log format.")],
    axis: Annotated[str, typer.Option("--axis", help="seconds or steps to the target.")] = "seconds",
    ruleset: Annotated[str | None, typer.Option("--ruleset", help="external or self; read from the logs.")] = None,
    workload: Annotated[
        list[str] | None, typer.Option("--workload", "-w", help="Score these only; repeatable.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", help="Leave a submission out; repeatable.")] = None,
    r_max: Annotated[float, typer.Option("--r-max", help="Longest ratio of the performance profile.")] = 4.0,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse logs with gaps instead of noting them.")] = False,
    json_output: Json = False,
) -> None:
    """Score AlgoPerf logs: time to target, performance profiles and the aggregate score of each submission."""
    from tutelage.evaluation.algoperf_logs import score_submissions as score

    if axis not in ("seconds", "steps"):
        raise ConfigError(f'--axis must be seconds or steps, got "{axis}".')
    table = score(
        logs,
        axis=axis,  # type: ignore[arg-type]  # checked above
        ruleset=ruleset,  # type: ignore[arg-type]  # checked by the function
        workloads=workload,
        exclude=tuple(exclude or ()),
        r_max=r_max,
        strict=strict,
    )
    if json_output:
        _print_json(table.to_json())
        return
    _print(table.to_text())


@app.command(epilog=_examples("tutelage studies", "tutelage studies --json"))
def studies(json_output: Json = False) -> None:
    """List the studies: claim, scales, and the stored verdict."""
    from tutelage.studies.status import status_rows
    from tutelage.studies.study import study_entries

    stored = {row.paper.number: row for row in status_rows()}
    rows = []
    for number, entry in study_entries().items():
        study, row = entry.load(), stored[number]
        facts = {"paper": number, "study": entry.paper.slug, "claim": study.claim, "scales": ", ".join(study.scales)}
        rows.append({**facts, "verdict": row.verdict, "scale": row.scale, "stale": row.stale})
    if json_output:
        _print_json({"studies": rows})
        return
    _table(list(rows[0]) if rows else ["paper"], [list(row.values()) for row in rows])


@app.command(
    epilog=_examples(
        "tutelage study 1 --scale quick --out first-study",
        "tutelage study uba-schedule --scale quick --out first-study --resume --json",
    )
)
def study(
    key: Annotated[str, typer.Argument(help="Number or slug of the paper.")],
    scale: Annotated[str, typer.Option("--scale", help="quick (minutes) or full.")] = "quick",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for runs and report.")] = None,
    resume: Resume = False,
    force: Force = False,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="Runs at a time; one a core if not given.")] = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Test a paper's headline claim: run its study, and say what was claimed and what was measured."""
    from dataclasses import asdict

    from tutelage.progress import ComparisonView
    from tutelage.studies.carry_out import run_study
    from tutelage.studies.study import find_study

    entry = find_study(key)
    if scale not in ("quick", "full"):
        raise ConfigError(f'--scale must be quick or full, got "{scale}".')
    folder = out or Path("studies") / f"{entry.module}-{scale}"
    try:
        with ComparisonView(enabled=not quiet) as view:
            found = run_study(
                entry,
                scale=scale,  # type: ignore[arg-type]  # checked above
                out=folder,
                resume=resume,
                force=force,
                jobs=jobs,
                watch=view.update,
            )
    except KeyboardInterrupt:
        again = f"tutelage study {key} --scale {scale} --out {folder} --resume"
        raise KeyboardInterrupt(f"Every run is saved. Go on with: {again}") from None
    if json_output:
        _print_json({**asdict(found), "report": str(folder / "report.html")})
        return
    _print(f"Paper {entry.paper.number}, {entry.paper.name}: {entry.paper.title}")
    _print(f"Claim: {entry.load().claim}")
    for check in found.exact:
        word = "holds" if check["holds"] else "FAILS"
        _print(f"Exact: {check['name']}: {check['value']:.9g}, expected {check['expected']:.9g}: {word}")
    for cell in found.chosen:
        where = f"{cell['workload']}, {cell['budget']}"
        _print(f"  {where}: {cell['claimed']} against {cell['rival']}: {cell['effect']:+.2%}")
    _print(f"Measured at scale {scale}: {found.sentence}")
    _print(f"Limits: {entry.load().limits}")
    _print(f"Report: {folder / 'report.html'}")


@app.command(epilog=_examples("tutelage env", "tutelage env --json"))
def env(json_output: Json = False) -> None:
    """Print versions and machine, as every run stores them."""
    from tutelage.training import provenance

    versions, machine, commit = provenance.versions(), provenance.machine(), provenance.git_commit()
    if json_output:
        _print_json({"versions": versions, "machine": machine, "git_commit": commit})
        return
    for name, value in {**versions, **machine, "git commit": commit}.items():
        _print(f"{name:14} {value}")
