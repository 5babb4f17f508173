"""The command that shows a comparison or a run to others: a page, Markdown, LaTeX, or a card for a model's README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli._shared import Force, Json, app, examples, print_json, print_text
from tutelage.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from tutelage.comparison.stored import StoredReport

_FORMATS = ("html", "markdown", "latex", "json")


@app.command(
    epilog=examples(
        "tutelage report two --format markdown",
        "tutelage report one --card",
        "tutelage report two --format latex --out rows.tex --json",
    )
)
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished comparison, or of a finished run.")],
    format: Annotated[
        str | None, typer.Option("--format", "-f", help="html, markdown, latex or json; html if not given.")
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="A card for a model's README, and recipe.toml, which trains the run again.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write; if not given, the page and the card go to FOLDER."),
    ] = None,
    force: Force = False,
    json_output: Json = False,
) -> None:
    """Show a comparison or a run to others.

    Markdown, LaTeX and JSON are printed where no file is named.
    """
    if card and format is not None:
        raise ConfigError("--card is Markdown with a recipe.toml beside it, and takes no --format.")
    if card:
        _card(folder, out, force=force, json_output=json_output)
        return
    kind = format or "html"
    if kind not in _FORMATS:
        raise ConfigError(f'--format must be one of {", ".join(_FORMATS)}, got "{kind}".{did_you_mean(kind, _FORMATS)}')
    if out is not None:
        _check_out(out, force=force)
    from tutelage.comparison.report import REPORT_PAGE
    from tutelage.comparison.stored import read_report
    from tutelage.training.storage import write_atomically

    found = read_report(folder)
    text = _text_of(found, kind)
    # The page of the folder is this command's own, so that it is made anew where it is.
    target = out or (folder / REPORT_PAGE if kind == "html" else None)
    if target is not None:
        write_atomically(target, text)
    if json_output:
        print_json(
            {
                "folder": str(folder),
                "of": "run" if found.of_run else "comparison",
                "format": kind,
                "file": None if target is None else str(target),
                "text": text if target is None else None,
                "conclusion": found.result.conclusion,
            }
        )
        return
    print_text(text.rstrip("\n") if target is None else f"Report: {target}")


def _text_of(found: StoredReport, kind: str) -> str:
    if kind == "html":
        from tutelage.comparison.report import page

        return page(found.result, commands=found.commands, provenance=found.provenance, root=found.folder)
    if kind == "markdown":
        from tutelage.comparison.markdown import to_markdown

        return to_markdown(found.result, commands=found.commands, provenance=found.provenance)
    if kind == "latex":
        from tutelage.comparison.latex import to_latex

        return to_latex(found.result)
    from tutelage.training.storage import finite

    stored: dict[str, Any] = {
        **found.result.to_json(),
        "provenance": dict(found.provenance),
        "commands": list(found.commands),
    }
    return json.dumps(finite(stored), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _card(folder: Path, out: Path | None, *, force: bool, json_output: bool) -> None:
    from tutelage.comparison.card import write_card
    from tutelage.comparison.stored import read_report
    from tutelage.training.folder import RUN_FILE

    if not (folder / RUN_FILE).is_file():
        found = read_report(folder)
        best = next((run.folder for arm in found.result.arms_of(found.result.cells[0]) for run in found.result.runs
                     if run.arm == arm.name and run.folder), None)  # fmt: skip
        raise ConfigError(
            f"A card is about one run, and {folder} is a comparison; name one of its runs"
            + (f", such as {best}." if best else "; it was made from results without run folders.")
        )
    written, recipe = write_card(folder, out or folder / "README.md", force=force)
    commands = [
        f"tutelage train --recipe {recipe} --out again",
        f"tutelage compare {recipe} --out comparison",
    ]
    if json_output:
        print_json({"folder": str(folder), "card": str(written), "recipe": str(recipe), "commands": commands})
        return
    print_text(f"Card: {written}\nRecipe: {recipe}\nAgain: {commands[0]}")


def _check_out(out: Path, *, force: bool) -> None:
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder; name a file in it.")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: the folder {out.parent} does not exist.")
    if out.exists() and not force:
        raise ConfigError(f"--out {out} exists already; name another file, or replace it with --force.")
