"""The report of a comparison: ``report.html``, one file that needs nothing else, and ``report.json``."""

from __future__ import annotations

import importlib.resources
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.comparison._curves import Curves, budget_of_points, left_out, load_curves, runs_to_draw, thin_cell
from tutelage.comparison._html import body
from tutelage.comparison._html_parts import shades_of, text
from tutelage.comparison._profile import profiles
from tutelage.comparison._records import ArmSummary, Cell, ComparisonResult, RunOutcome
from tutelage.comparison._sources import Sources
from tutelage.comparison._words import heading, names_of
from tutelage.training.storage import finite, write_atomically, write_json

REPORT_PAGE = "report.html"
REPORT_DATA = "report.json"
#: Times to target need the curves of all runs; above this many, reading them would take minutes.
MOST_SCORED = 1_000


def write_report(
    result: ComparisonResult,
    folder: str | Path,
    curves: Curves | None = None,
    *,
    commands: Sequence[str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``report.html`` and ``report.json`` into a folder, each whole or not at all.

    Args:
        result: What :func:`tutelage.comparison.summarise` returned.
        folder: Where to; made where it is not there yet.
        curves: By (arm, workload, budget, seed), columns with ``step``, ``lr``, losses; read from the run folders where
            not given.
        commands: Shell commands that repeat the comparison; made from its declaration where not given.
        provenance: Versions, machine and commit; those of this process where not given.

    Returns:
        The path of ``report.html``.

    Raises:
        StorageFull: No space is left; an older report is intact.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    told = dict(provenance) if provenance is not None else this_process()
    lines = list(commands) if commands is not None else commands_of(result, root.name or "comparison")
    stored = {**result.to_json(), "provenance": told, "commands": lines}
    for run in stored["runs"]:
        run["folder"] = _relative(run["folder"], root)
    write_json(root / REPORT_DATA, stored)
    write_atomically(root / REPORT_PAGE, page(result, curves, commands=lines, provenance=told, root=root))
    return root / REPORT_PAGE


def page(
    result: ComparisonResult,
    curves: Curves | None = None,
    *,
    commands: Sequence[str],
    provenance: Mapping[str, Any],
    root: Path | None = None,
) -> str:
    """Return the report as one HTML document without any reference to other files or hosts.

    It can be read without JavaScript, which draws the curves and says where numbers come from. Of a comparison too
    large to draw, some curves stand for all.

    Args:
        result: The comparison.
        curves: By run; read from the run folders where not given.
        commands: Shell commands that repeat it.
        provenance: Versions, machine and commit.
        root: Folder that run folders are read and shown from.
    """
    drawn = runs_to_draw(result)
    complete = len(result.runs) <= MOST_SCORED
    if curves is None:
        curves = load_curves(result, root, only=None if complete and len(result.cells) > 1 else drawn)
    sources = Sources(result, provenance, root)
    shades = shades_of(names_of(result), result.baseline)
    profile = profiles(result, curves, shades=shades, sources=sources, complete=complete)
    curves = {key: columns for key, columns in curves.items() if key in drawn}
    points, every_metric = budget_of_points(result, curves)
    cells = []
    for cell in result.cells:
        shown = {key[0] for key in drawn if key[1:3] == (cell.workload, cell.budget)}
        names = [arm.name for arm in result.arms if arm.name in shown and _in(arm, cell)]
        thinned = thin_cell(cell, names, curves, points=points, metrics=None if every_metric else (cell.metric,))
        cells.append(
            {
                "arms": names,
                "colours": [shades[name] for name in names],
                "baseline": result.baseline,
                "lowerIsBetter": cell.lower_is_better,
                "pair": cell.pair,
                **thinned,
            }
        )
    charts = [
        left_out(result, cell, drawn) if data["series"] else None
        for cell, data in zip(result.cells, cells, strict=True)
    ]
    parts = {
        "title": text(heading(result)),
        "style": _asset("report.css"),
        "body": body(
            result, charts=charts, profiles=profile, commands=commands, provenance=provenance, sources=sources
        ),
        "data": embedded_json(cells),
        "script": _asset("draw.js") + _asset("curves.js") + _asset("report.js"),
    }
    document = _asset("report.html")
    # Split, not replaced one after the other: what is filled in may itself contain a marker.
    pieces = document.split("%%")
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def _asset(name: str) -> str:
    return (importlib.resources.files("tutelage.comparison") / "assets" / name).read_text(encoding="utf-8")


def _in(arm: ArmSummary, cell: Cell) -> bool:
    return (arm.workload, arm.budget) == (cell.workload, cell.budget)


def embedded_json(value: Any) -> str:
    """Return JSON that cannot end the script element it stands in, whatever text it holds."""
    text = json.dumps(finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def this_process() -> dict[str, Any]:
    """Return versions, machine and commit of this process."""
    from tutelage.training.provenance import git_commit, machine, versions

    return {"versions": versions(), "machine": machine(), "commit": git_commit()}


def commands_of(result: ComparisonResult, out: str) -> list[str]:
    """Return the shell command that repeats a comparison, and one for each arm's first run."""
    declared = result.declaration
    recipes: Mapping[str, str] = declared.get("arms") or {run.arm: run.recipe or run.arm for run in result.runs}
    workloads = declared.get("specs") or list(dict.fromkeys(cell.workload for cell in result.cells))
    words = ["tutelage", "compare"]
    for workload in workloads:
        words += ["--workload", str(workload)]
    for name, recipe in recipes.items():
        words += ["--arm", recipe if name == recipe else f"{name}={recipe}"]
    for budget in dict.fromkeys(cell.budget for cell in result.cells):
        words += ["--budget", budget]
    words += ["--seeds", _seeds(declared.get("seeds") or sorted({run.seed for run in result.runs}))]
    words += ["--baseline", result.baseline]
    if declared.get("tuning"):
        peaks, seeds, absolute = declared["tuning"]
        words += ["--tune", "/".join(f"{peak:g}" for peak in peaks) if absolute else str(len(peaks))]
        words += ["--tune-seeds", str(seeds)] if seeds != 1 else []
    words += ["--prune", str(declared["prune"])] if declared.get("prune") else []
    words += ["--margin", f"{result.margin:g}"] if result.margin else []
    words += ["--confidence", f"{result.confidence:g}"] if result.confidence != 0.95 else []
    first = {run.arm: run for run in reversed(result.runs)}
    return [
        shlex.join([*words, "--out", f"{out}-again"]),
        *(_train(first[name], workloads[0], index) for index, name in enumerate(recipes, 1) if name in first),
    ]


def _train(run: RunOutcome, workload: str, index: int) -> str:
    words = ["tutelage", "train", "--workload", workload, "--recipe", run.recipe or run.arm, "--budget", run.budget]
    return shlex.join([*words, "--seed", str(run.seed), "--out", f"single-{index}"])


def _seeds(seeds: Sequence[int]) -> str:
    if list(seeds) == list(range(len(seeds))):
        return str(len(seeds))
    return ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")


def _relative(folder: str | None, root: Path) -> str | None:
    if folder is None:
        return None
    try:
        return str(Path(folder).resolve().relative_to(root.resolve()))
    except ValueError:
        return folder
