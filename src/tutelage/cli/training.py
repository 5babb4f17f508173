"""Commands that train one run, check one, and list what was run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tutelage.cli._shared import (
    Data,
    EvalEvery,
    Force,
    Json,
    LabelColumn,
    Model,
    Quiet,
    Resume,
    TextColumn,
    Tracker,
    app,
    examples,
    first_process,
    interrupted,
    make_workload,
    print_json,
    print_table,
    print_text,
)
from tutelage.errors import ConfigError


@app.command(
    epilog=examples(
        "tutelage train --workload digits --recipe uba:phi=5 --budget 20steps --out one",
        "tutelage train --out one --extend 20steps --json",
    )
)
def train(
    workload: Annotated[
        str | None, typer.Option("--workload", "-w", help="Spec of the workload, such as text-lm.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", "-r", help="Spec, such as uba:phi=5;sgd, or a .toml file, which may say the rest too."
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", "-b", help="300steps, 2Mtokens, 50kexamples or 90s.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of every random stream of the run; 0 if not given.")
    ] = None,
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
    from_run: Annotated[
        Path | None, typer.Option("--from-run", help="Start from the weights, model and tokenizer of this run folder.")
    ] = None,
    keep_optimizer: Annotated[
        bool, typer.Option("--keep-optimizer", help="With --from-run: take over the optimizer's moments too.")
    ] = False,
    mixed_precision: Annotated[
        str | None, typer.Option("--mixed-precision", help="no, bf16 or fp16; no if not given.")
    ] = None,
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
    from tutelage.training.recipe_file import RecipeFile, check_fingerprint

    if mixed_precision not in (None, "no", "bf16", "fp16"):
        raise ConfigError(f'--mixed-precision must be no, bf16 or fp16, got "{mixed_precision}".')
    file = RecipeFile.read(recipe) if recipe is not None and recipe.endswith(".toml") else None
    # A flag wins over the file, and the file over the run that goes on; another workload has other data.
    said: dict[str, Any] = {} if file is None else file.said() | {"recipe": file.recipe}
    flags = {"data": data, "model": model, "text_column": text_column, "label_column": label_column}
    told = {name: value for name, value in flags.items() if value is not None}
    kept = {} if workload is not None or file is None else file.workload_changes()
    same_data = workload is None and not told
    workload, budget = workload or said.get("workload"), budget or said.get("budget")
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
    choice = Recipe.parse(said.get("recipe") or recipe or (stored.recipe if stored is not None else "cosine"))
    if from_run is not None:
        choice = dataclasses.replace(choice, from_run=str(from_run))
    choice = dataclasses.replace(choice, keep_optimizer=keep_optimizer or choice.keep_optimizer)
    prepared = make_workload(spec, from_run=from_run, **kept | told)
    if file is not None and same_data:
        check_fingerprint(prepared, file.data_fingerprint)
    if seed is None:
        seed = said.get("seed", 0 if stored is None else stored.seed)
    settings: dict[str, Any] = {
        "eval_every": eval_every or said.get("eval_every"),
        "checkpoint_every": checkpoint_every,
        "trackers": tuple(tracker or ()),
        "device": device,
        "threads": threads or said.get("threads"),
        "durable": durable,
    }
    if out is None:
        how = str(dataclasses.replace(choice, from_run=None, keep_optimizer=False))
        how += "" if choice.from_run is None else f" from {Path(choice.from_run).name}"
        out = Path("runs") / prepared.name / slug(how) / slug(str(checked)) / f"seed-{seed}"
    with _training_progress(out, quiet=quiet) as callback:
        settings["callbacks"] = (callback,) if callback is not None else ()
        if extend is not None:
            result = engine.extend(prepared, out, extend, recipe=None if recipe is None else choice, **settings)
        elif stored is not None and budget is None:
            result = engine.resume_run(prepared, out, **settings)
        else:
            result = engine.train(
                prepared,
                choice,
                budget=checked or (stored.budget if stored is not None else ""),
                seed=seed,
                out=out,
                resume=resume,
                force=force,
                mixed_precision=mixed_precision or said.get("mixed_precision", "no"),  # type: ignore[arg-type]  # checked
                **settings,
            )
    if json_output:
        print_json({**result.to_json(), "curve": str(result.curve_path), "folder": str(out)})
        return
    if result.diverged:
        why = result.stopped or "the loss is no longer a finite number. Try a lower peak rate."
        print_text(f"Diverged after {result.steps} updates: {why}")
    else:
        print_text(
            f"{result.metric} {result.final_loss:.4f} after {result.steps} updates, {result.seconds:.1f} s of training"
        )
        for name, value in (result.before or {}).items():
            after = result.metrics.get(name)
            if value is not None and after is not None:
                print_text(f"{name} {value:.4f} before, {after:.4f} after ({after - value:+.4f})")
    if result.search is not None:
        searched = int(result.cost["search_steps"])
        print_text(f"Search: {searched:,} updates more, {result.steps + searched:,} in all")
        if found := result.search["schedule"]:
            print_text(f"The same without a search: --recipe '{found}' --budget {result.steps}steps")
    print_text(f"Curve: {result.curve_path}")


@contextlib.contextmanager
def _training_progress(out: Path, *, quiet: bool) -> Iterator[Any]:
    """Show a bar with the losses as they fall, and name the resume command when interrupted."""
    from tutelage.progress import TrainingBar

    try:
        with contextlib.ExitStack() as stack:
            yield stack.enter_context(TrainingBar()) if first_process() and not quiet else None
    except KeyboardInterrupt:
        interrupted(f"The run is saved. Go on with: tutelage train --out {out} --resume")


@app.command(
    epilog=examples(
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
        print_json({"runs": [estimate.to_json() for estimate in estimates]})
        return
    print_text("\n\n".join(estimate.to_text() for estimate in estimates))


@app.command(
    epilog=examples(
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
        print_json({"runs": table.to_pylist()})
        return
    shown = ["folder", "workload", "recipe", "budget", "seed", "status", "final_loss", "steps"]
    names = table.column_names if sql is not None else shown
    print_table(names, [[row[name] for name in names] for row in table.to_pylist()])
    if export is not None:
        print_text(f"{table.num_rows} rows: {export}")
