"""Commands that time recipes to a target and score them as the AlgoPerf benchmark does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli._shared import (
    Force,
    Jobs,
    Json,
    On,
    Quiet,
    Resume,
    app,
    examples,
    interrupted,
    print_json,
    print_text,
    resume_command,
)
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.evaluation.algoperf_scores import ScoreTable


@app.command(
    name="score-submissions",
    epilog=examples(
        "tutelage score-submissions logs/external_tuning",
        "tutelage score-submissions logs/external_tuning --axis steps --json",
        "tutelage score-submissions comparisons/mine --target digits=0.2",
    ),
)
def score_submissions(
    logs: Annotated[
        Path, typer.Argument(help="Folder of logs of the AlgoPerf benchmark, or of a comparison or race made here.")
    ],
    axis: Annotated[
        str | None,
        typer.Option("--axis", help="steps, tokens or seconds to the target; logs: seconds or steps, seconds if none."),
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="Of a comparison: WORKLOAD=VALUE to reach; repeatable.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Of a comparison: arm that sets targets where none are given.")
    ] = None,
    ruleset: Annotated[str | None, typer.Option("--ruleset", help="external or self; read from the logs.")] = None,
    workload: Annotated[
        list[str] | None, typer.Option("--workload", "-w", help="Score these only; repeatable.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option("--exclude", help="Leave a submission out; repeatable.")] = None,
    r_max: Annotated[float, typer.Option("--r-max", help="Longest ratio of the performance profile.")] = 4.0,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse logs with gaps instead of noting them.")] = False,
    json_output: Json = False,
) -> None:
    """Score submissions by time to target, as the AlgoPerf benchmark does: profiles and one score each.

    Submissions are those of a folder of the benchmark's logs, the arms of a comparison made here (each seed counts as
    one study), or those of a race.
    """
    from tutelage.evaluation.algoperf_logs import score_submissions as score

    table = _own_table(logs, axis or "steps", target, baseline, r_max)
    given = {"--ruleset": ruleset, "--workload": workload, "--exclude": exclude, "--strict": strict}
    refused = [name for name, value in given.items() if value]
    if table is not None and refused:
        raise ConfigError(f"{', '.join(refused)}: only for logs of the benchmark, and {logs} was made here.")
    if table is None:
        if target or baseline:
            raise ConfigError(f"--target and --baseline are for comparisons made here, and {logs} holds none.")
        if axis not in (None, "seconds", "steps"):
            raise ConfigError(f'--axis must be seconds or steps, got "{axis}".')
        table = score(
            logs,
            axis=axis or "seconds",  # type: ignore[arg-type]  # checked above
            ruleset=ruleset,  # type: ignore[arg-type]  # checked by the function
            workloads=workload,
            exclude=tuple(exclude or ()),
            r_max=r_max,
            strict=strict,
        )
    if json_output:
        print_json(table.to_json())
        return
    print_text(table.to_text())


def _own_table(
    folder: Path, axis: str, targets: list[str] | None, baseline: str | None, r_max: float
) -> ScoreTable | None:
    """Return the scores of a comparison or race made here, ``None`` where the folder holds neither."""
    from tutelage.comparison._race_records import RACE_DATA, read_race
    from tutelage.comparison.report import REPORT_DATA
    from tutelage.comparison.to_target import AXES, score_comparison

    if not ((folder / RACE_DATA).exists() or (folder / REPORT_DATA).exists()):
        return None
    if axis not in AXES:
        raise ConfigError(f'--axis must be {", ".join(AXES)}, got "{axis}".')
    if (folder / RACE_DATA).exists():
        if targets or baseline:
            raise ConfigError(f"{folder} holds a race, whose targets are fixed; leave out --target and --baseline.")
        return read_race(folder).scores(axis, r_max=r_max)
    return score_comparison(
        folder,
        axis=axis,
        targets=_numbers("--target", targets),
        baseline=baseline,
        r_max=r_max,
    )


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """Read ``NAME=VALUE`` options; a spec on the left may hold equals signs of its own."""
    found: dict[str, str] = {}
    for item in given or []:
        name, equals, value = item.rpartition("=") if option == "--target" else item.partition("=")
        if not (equals and name and value):
            raise ConfigError(f'{option}: write NAME=VALUE, got "{item}".')
        if name in found:
            raise ConfigError(f"{option}: {name} is given twice.")
        found[name] = value
    return found


def _numbers(option: str, given: list[str] | None) -> dict[str, float] | None:
    found: dict[str, float] = {}
    for name, value in _pairs(option, given).items():
        try:
            found[name] = float(value)
        except ValueError:
            raise ConfigError(f'{option} {name}: must be a number, got "{value}".') from None
    return found or None


@app.command(
    epilog=examples(
        'tutelage race --workload digits:net=mlp --arm "adam=cosine;adamw;peak={peak}" '
        '--arm "flat=constant;adamw;peak={peak}" --space peak=log:1e-3..1e-2 --budget 20steps --studies 1 --trials 2 '
        "--target digits:net=mlp=1.8 --jobs 1 --out first-race",
        "tutelage race --workload breast-cancer --arm cosine --arm constant --rules self --studies 2 --budget 20steps "
        "--baseline cosine --target-repeats 2 --jobs 1 --out second-race --json",
    )
)
def race(
    workload: Annotated[list[str], typer.Option("--workload", "-w", help="Spec of a workload; repeatable.")],
    arm: Annotated[
        list[str],
        typer.Option("--arm", "-a", help="NAME=RECIPE, with what is tuned in braces: peak={peak}; repeatable."),
    ],
    budget: Annotated[
        list[str], typer.Option("--budget", "-b", help="Longest budget of a run: one, or one a workload.")
    ],
    space: Annotated[
        list[str] | None,
        typer.Option("--space", help="An axis: peak=log:1e-4..1e-2, m=0.8..0.99 or warmup=0.02/0.1; repeatable."),
    ] = None,
    rules: Annotated[
        str,
        typer.Option("--rules", help="external: best of several trials. self: none is tuned, 1.5 times as long."),
    ] = "external",
    studies_: Annotated[int, typer.Option("--studies", help="Repeats, the median of which counts.")] = 3,
    trials: Annotated[int | None, typer.Option("--trials", help="Settings tried in each; 5 under external.")] = None,
    target: Annotated[list[str] | None, typer.Option("--target", help="WORKLOAD=VALUE to reach; repeatable.")] = None,
    baseline: Annotated[
        list[str] | None, typer.Option("--baseline", help="Arm that, tuned, sets the other targets; repeatable.")
    ] = None,
    target_trials: Annotated[int, typer.Option("--target-trials", help="Settings tried to set a target.")] = 20,
    target_repeats: Annotated[int, typer.Option("--target-repeats", help="Repeats whose median sets it.")] = 5,
    variant: Annotated[
        list[str] | None,
        typer.Option("--variant", help="BASE WORKLOAD -> VARIANT, such as 'digits -> digits:widen=2'; repeatable."),
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option("--eval-every", help="Updates between evaluations; a 20th of the budget.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of draws and runs.")] = 0,
    axis: Annotated[str, typer.Option("--axis", help="steps, tokens or seconds to the target.")] = "steps",
    r_max: Annotated[float, typer.Option("--r-max", help="Longest ratio of the performance profile.")] = 4.0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for runs and result.")] = None,
    resume: Resume = False,
    force: Force = False,
    jobs: Jobs = None,
    on: On = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Race recipes to a target, tuning included, by the rules of the AlgoPerf benchmark."""
    from tutelage.comparison.racing import TargetRules
    from tutelage.comparison.racing import race as run_race
    from tutelage.comparison.to_target import AXES
    from tutelage.evaluation.algoperf_targets import TuningRules
    from tutelage.progress import ComparisonView

    if axis not in AXES:
        raise ConfigError(f'--axis must be {", ".join(AXES)}, got "{axis}".')
    if rules not in ("external", "self"):
        raise ConfigError(f'--rules must be external or self, got "{rules}".')
    own = rules == "self"
    folder = out or Path("races") / "-".join(workload).replace(":", "-").replace(",", "-")
    try:
        with ComparisonView(enabled=not quiet) as view:
            found = run_race(
                workload,
                arm,
                budget=budget,
                space=_pairs("--space", space),
                rules=TuningRules(
                    ruleset="self" if own else "external",
                    studies=studies_,
                    trials=trials if trials is not None else 1 if own else 5,
                    budget_factor=1.5 if own else 1.0,
                ),
                targets=_numbers("--target", target),
                set_by=TargetRules(arms=tuple(baseline), trials=target_trials, repeats=target_repeats)
                if baseline
                else None,
                variants=_variants(variant),
                eval_every=eval_every,
                seed=seed,
                out=folder,
                resume=resume,
                force=force,
                jobs=jobs,
                on=on or "local",
                watch=view.update,
            )
    except KeyboardInterrupt:
        interrupted(f"Finished and half-finished runs are saved. Go on with: {resume_command()}")
    table = found.scores(axis, r_max=r_max)
    if json_output:
        print_json({**table.to_json(), "cost": dict(found.cost), "folder": str(folder)})
        return
    print_text(table.to_text())
    print_text(f"All runs: {folder / 'race.json'}")


def _variants(given: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in given or []:
        base, arrow, variant = (piece.strip() for piece in item.partition("->"))
        if not (base and arrow and variant):
            raise ConfigError(f"--variant: write 'WORKLOAD -> VARIANT', got \"{item}\".")
        found[variant] = base
    return found
