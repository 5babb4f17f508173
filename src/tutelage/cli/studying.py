"""Commands that list and run the studies of papers' claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from tutelage.studies.study import StudyEntry


@app.command(epilog=examples("tutelage studies", "tutelage studies instruction-mining", "tutelage studies 68 --json"))
def studies(
    key: Annotated[str | None, typer.Argument(help="Number or slug of a paper: its stored results in full.")] = None,
    json_output: Json = False,
) -> None:
    """List the studies: claim, scales, and the stored verdict. Of one paper: every claim, and what was measured."""
    from tutelage.studies.status import status_rows
    from tutelage.studies.study import find_study, study_entries

    if key is not None:
        _show_stored(find_study(key), json_output)
        return
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
    _show_exact(found.exact)
    for name, finding in found.findings.items():
        print_text(f"Claim: {finding.claim}\nMeasured at scale {scale}: {finding.sentence}")
        if agrees is not None and stored is not None and name in stored["findings"]:
            said = {True: "agrees", False: "DOES NOT AGREE", None: "cannot be compared (no interval)"}[agrees[name]]
            print_text(f"  {said} with the stored result: {stored['findings'][name]['sentence']}")
    for note in found.notes:
        print_text(f"Note: {note}")
    print_text(f"Limits: {entry.load().limits}")
    print_text(f"All of it: {folder / 'study.json'}")


def _show_exact(checks: Sequence[Mapping[str, Any]]) -> None:
    for check in checks:
        word = "holds" if check["holds"] else "FAILS"
        print_text(f"Exact: {check['name']}: {check['value']:.9g}, expected {check['expected']:.9g}: {word}")


def _show_stored(entry: StudyEntry, json_output: bool) -> None:
    """Print what is stored of a study, at every scale."""
    from tutelage.studies.carry_out import stored_result
    from tutelage.studies.study import SCALES

    found = {scale: result for scale in SCALES if (result := stored_result(entry, scale)) is not None}
    if not found:
        raise ConfigError(
            f"Nothing is stored of the study of paper {entry.paper.number}; run tutelage study {entry.paper.number}."
        )
    if json_output:
        print_json({"paper": entry.paper.number, "slug": entry.paper.slug, "stored": found})
        return
    print_text(f"Paper {entry.paper.number}, {entry.paper.name}: {entry.paper.title}")
    _show_exact([*found.values()][-1]["exact"])
    for name, claim in entry.load().claims.items():
        print_text(f"Claim: {claim.sentence}")
        for scale, result in found.items():
            if name in result["findings"]:
                print_text(f"  {scale}: {result['findings'][name]['sentence']}")
    for scale, result in found.items():
        seeds = result["seeds"]
        print_text(f"Stored, {scale}: {result['date']}, seeds {', '.join(map(str, seeds))}")
        for note in result["notes"]:
            print_text(f"Note, {scale}: {note}")
    print_text(f"Limits: {entry.load().limits}")
    print_text(f"Measure it again: tutelage study {entry.paper.slug} --scale {next(iter(found))} --first-seed 1000")
