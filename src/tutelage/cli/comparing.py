"""The command that compares recipes, trained here or elsewhere, and plans how many seeds that takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tutelage.cli._shared import (
    Data,
    EvalEvery,
    Force,
    Jobs,
    Json,
    LabelColumn,
    Model,
    On,
    Quiet,
    Resume,
    TextColumn,
    app,
    examples,
    interrupted,
    print_json,
    print_text,
    resume_command,
)
from tutelage.errors import ConfigError


@app.command(
    epilog=examples(
        "tutelage compare --workload digits --arm constant --arm cosine --budget 20steps --seeds 2 --out two --json",
        "tutelage compare --workload digits --arm linear --arm bent=uba:phi=5 --budget 20steps --tune 2 --out three",
        "tutelage compare --plan two --effect 1%",
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
    prune: Annotated[
        str | None, typer.Option("--prune", help="Stop arms that cannot win: forecast, or forecast:risk=0.01.")
    ] = None,
    margin: Annotated[float | None, typer.Option("--margin", help="Differences up to this size do not matter.")] = None,
    confidence: Annotated[float | None, typer.Option("--confidence", help="Of the intervals.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for runs and report.")] = None,
    plan: Annotated[
        Path | None,
        typer.Option("--plan", help="A pilot, as a comparison's folder or what --from reads: how many seeds it takes."),
    ] = None,
    effect: Annotated[
        str | None, typer.Option("--effect", help="With --plan: difference worth knowing, as 0.01 or 1%.")
    ] = None,
    power: Annotated[float | None, typer.Option("--power", help="With --plan: chance to show it; 0.8.")] = None,
    resume: Resume = False,
    force: Force = False,
    jobs: Jobs = None,
    on: On = None,
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

    With --from, nothing is trained: results of other programs get the same statistics and report. With --plan, a
    pilot says how many seeds a wished effect needs, and what they cost.
    """
    declares = {"--arm": arm, "--budget": budget, "--workload": workload, "--tune": tune, "a config file": config}
    declares |= {"--on": on, "--prune": prune}
    given_too = [name for name, value in declares.items() if value]
    importing: dict[str, Any] = {"format": from_format, "pattern": from_pattern, "pairs": pairs, "metric": metric}
    importing |= {"lower_is_better": lower_is_better, "baseline": baseline, "confidence": confidence}
    if plan is not None:
        given_too += [name for name, value in {"--from": from_paths, "--out": out, "--seeds": seeds}.items() if value]
        if given_too:
            raise ConfigError(f"--plan reads a finished pilot and takes no {', '.join(given_too)}.")
        _plan(plan, importing, effect, 0.8 if power is None else power, json_output=json_output)
        return
    if effect is not None or power is not None:
        raise ConfigError("--effect and --power need a pilot: add --plan FOLDER, the folder of a small comparison.")
    if from_paths:
        if given_too:
            raise ConfigError(f"--from reads finished results and takes no {', '.join(given_too)}.")
        _compare_from(from_paths, importing | {"margin": margin}, out, force=force, json_output=json_output)
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
        "prune": prune,
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
                on=on or "local",
                keep_weights=keep_weights,
                watch=view.update,
                settings=declared.settings(),
            )
    except KeyboardInterrupt:
        interrupted(f"Finished and half-finished runs are saved. Go on with: {resume_command()}")
    declared.write(folder / "comparison.toml")
    if json_output:
        print_json({**result.to_json(), "report": str(folder / "report.html")})
        return
    from tutelage.comparison.table import print_result

    print_result(result)
    print_text(f"Report: {folder / 'report.html'}")


def _plan(pilot: Path, options: dict[str, Any], effect: str | None, power: float, *, json_output: bool) -> None:
    from tutelage.comparison.planning import plan_seeds, read_pilot

    if effect is None:
        raise ConfigError("--plan needs the difference worth knowing: --effect 0.01, or --effect 1% of the baseline.")
    _check_import(options)
    # What is left as it is need not fit: a comparison's own report has no format to be told.
    usual = {"format": "auto", "pairs": "auto"}
    given = {name: value for name, value in options.items() if value != usual.get(name)}
    found = plan_seeds(read_pilot(pilot, **given), effect, power=power)
    if json_output:
        print_json({**found.to_json(), "pilot": str(pilot)})
        return
    print_text(str(found))


def _check_import(options: dict[str, Any]) -> None:
    from tutelage.comparison.imports import FORMATS

    if options["format"] not in FORMATS:
        raise ConfigError(f'--from-format must be one of {", ".join(FORMATS)}, got "{options["format"]}".')
    if options["pairs"] not in ("auto", "seed", "item"):
        raise ConfigError(f'--pairs must be auto, seed or item, got "{options["pairs"]}".')


def _compare_from(
    paths: list[Path], options: dict[str, Any], out: Path | None, *, force: bool, json_output: bool
) -> None:
    from tutelage.comparison.imports import compare_from
    from tutelage.comparison.report import REPORT_DATA, write_report
    from tutelage.comparison.table import print_result

    _check_import(options)
    if out is not None and not force and out.exists() and any(out.iterdir()):
        held = "a report" if (out / REPORT_DATA).exists() else "other files"
        raise ConfigError(f"--out {out} holds {held} already; name another folder, or add --force to write there.")
    result = compare_from(paths, **{name: value for name, value in options.items() if value is not None})
    page = None if out is None else write_report(result, out, commands=[result.declaration["command"]])
    if json_output:
        print_json({**result.to_json(), "report": None if page is None else str(page)})
        return
    print_result(result)
    print_text("A page with all of it: add --out FOLDER" if page is None else f"Report: {page}")
