"""Commands that list and run the studies of papers' claims."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tutelage.cli._shared import (
    Force,
    Jobs,
    Json,
    Quiet,
    Resume,
    app,
    examples,
    interrupted,
    print_json,
    print_table,
    print_text,
)
from tutelage.errors import ConfigError


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
        found = {"verdict": row.verdict, "scale": row.scale, "stale": row.stale, "reproduced": row.reproduced}
        rows.append(facts | found)
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
    jobs: Jobs = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> None:
    """Test a paper's claims: run its study, and say what was claimed and what was measured."""
    from dataclasses import asdict

    from tutelage.progress import ComparisonView
    from tutelage.studies.carry_out import run_study, stored_result
    from tutelage.studies.replication import agreement
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
        interrupted(f"Every run is saved. Go on with: {again}")
    stored = stored_result(entry, scale)  # type: ignore[arg-type]  # checked above
    agrees = None if stored is None or stored["seeds"] == found.seeds else agreement(asdict(found), stored)
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
