"""Commands that test papers' claims and score submissions to a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tutelage.cli._shared import Force, Json, Quiet, Resume, app, examples, print_json, print_table, print_text
from tutelage.errors import ConfigError


@app.command(
    name="score-submissions",
    epilog=examples(
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
        print_json(table.to_json())
        return
    print_text(table.to_text())


@app.command(epilog=examples("tutelage studies", "tutelage studies --json"))
def studies(json_output: Json = False) -> None:
    """List the studies: claim, scales, and the stored verdict."""
    from tutelage.studies.status import status_rows
    from tutelage.studies.study import study_entries

    stored = {row.paper.number: row for row in status_rows()}
    rows = []
    for number, entry in study_entries().items():
        study, row = entry.load(), stored[number]
        facts = {
            "paper": number,
            "study": entry.paper.slug,
            "claim": study.headline.sentence,
            "scales": ", ".join(study.scales),
        }
        rows.append({**facts, "verdict": row.verdict, "scale": row.scale, "stale": row.stale})
    if json_output:
        print_json({"studies": rows})
        return
    print_table(list(rows[0]) if rows else ["paper"], [list(row.values()) for row in rows])


@app.command(
    epilog=examples(
        "tutelage study 1 --scale quick --out first-study",
        "tutelage study uba-schedule --scale quick --out first-study --resume --json",
    )
)
def study(
    key: Annotated[str, typer.Argument(help="Number or slug of the paper.")],
    scale: Annotated[str, typer.Option("--scale", help="quick (minutes) or full.")] = "quick",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for runs and reports.")] = None,
    first_seed: Annotated[
        int, typer.Option("--first-seed", help="Another than 0 shows whether the stored result reproduces.")
    ] = 0,
    resume: Resume = False,
    force: Force = False,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", help="Runs at a time; one a core if not given.")] = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Test a paper's claims: run its study, and say what was claimed and what was measured."""
    from dataclasses import asdict

    from tutelage.progress import ComparisonView
    from tutelage.studies.carry_out import agreement, run_study, stored_result
    from tutelage.studies.study import find_study

    entry = find_study(key)
    if scale not in ("quick", "full"):
        raise ConfigError(f'--scale must be quick or full, got "{scale}".')
    folder = out or Path("studies") / f"{entry.module}-{scale}{f'-{first_seed}' if first_seed else ''}"
    try:
        with ComparisonView(enabled=not quiet) as view:
            found = run_study(
                entry,
                scale=scale,  # type: ignore[arg-type]  # checked above
                out=folder,
                first_seed=first_seed,
                resume=resume,
                force=force,
                jobs=jobs,
                watch=view.update,
            )
    except KeyboardInterrupt:
        again = f"tutelage study {key} --scale {scale} --first-seed {first_seed} --out {folder} --resume"
        raise KeyboardInterrupt(f"Every run is saved. Go on with: {again}") from None
    stored = stored_result(entry, scale)  # type: ignore[arg-type]  # checked above
    agrees = None if stored is None or stored["seeds"] == found.seeds else agreement(found, stored)
    if json_output:
        print_json({**asdict(found), "agrees_with_stored": agrees, "folder": str(folder)})
        return
    print_text(f"Paper {entry.paper.number}, {entry.paper.name}: {entry.paper.title}")
    for check in found.exact:
        word = "holds" if check["holds"] else "FAILS"
        print_text(f"Exact: {check['name']}: {check['value']:.9g}, expected {check['expected']:.9g}: {word}")
    for name, finding in found.findings.items():
        print_text(f"Claim: {finding.claim}\nMeasured at scale {scale}: {finding.sentence}")
        if agrees is not None and stored is not None and name in stored["findings"]:
            said = {True: "agrees", False: "DOES NOT AGREE", None: "cannot be compared (no interval)"}[agrees[name]]
            print_text(f"  {said} with the stored result: {stored['findings'][name]['sentence']}")
    for note in found.notes:
        print_text(f"Note: {note}")
    print_text(f"Limits: {entry.load().limits}")
    print_text(f"All of it: {folder / 'study.json'}")
