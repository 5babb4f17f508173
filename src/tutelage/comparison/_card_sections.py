"""The sections of a recipe card, each as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tutelage.comparison._records import ArmSummary, Cell, ComparisonResult, RunOutcome
from tutelage.comparison._words import facts_of
from tutelage.comparison.markdown import cell_table, code_block, code_span, escape, table
from tutelage.comparison.stored import StoredReport, commands_of_run, peak_of, spent
from tutelage.comparison.table import duration
from tutelage.evaluation.verdicts import counted
from tutelage.training.folder import RunRecord
from tutelage.training.recipe import Recipe
from tutelage.training.recipe_file import RecipeFile
from tutelage.training.result import RunResult

#: Name of the recipe's file beside a card.
RECIPE_FILE = "recipe.toml"
_CURVE_ROWS = 8


def place_of(result: ComparisonResult, run: RunOutcome) -> tuple[Cell, ArmSummary]:
    """Return the cell and the arm that a run of a comparison belongs to."""
    cell = next(cell for cell in result.cells if (cell.workload, cell.budget) == (run.workload, run.budget))
    return cell, next(arm for arm in result.arms_of(cell) if arm.name == run.arm)


def label_of(name: str) -> str:
    """Return a metric in words: ``validation loss``."""
    return f"validation {name.removeprefix('val_')}" if name.startswith("val_") else name


def intro(record: RunRecord, result: RunResult) -> str:
    """Return the title, and the result in one sentence."""
    recipe = Recipe.parse(record.phases[-1].recipe)
    said = (
        f"{label_of(result.metric)} {result.final_loss:.6g} after {result.steps:,} updates "
        f"({spent(record)}, seed {record.seed})"
    )
    return (
        f"# {escape(record.workload)} trained by {code_span(recipe.schedule)}\n\n"
        f"{escape(said[0].upper() + said[1:])}. This card says how it was trained; {code_span(RECIPE_FILE)} beside it "
        "trains it again."
    )


def results(record: RunRecord, result: RunResult) -> str:
    """Return the numbers at the end of the run."""
    rows = [[label_of(name), "" if value is None else f"{value:.6g}"] for name, value in result.metrics.items()]
    rows += [["updates", f"{result.steps:,}"], ["examples", f"{result.examples:,}"]]
    rows += [] if result.tokens is None else [["tokens", f"{result.tokens:,}"]]
    rows += [["training time", duration(result.seconds)]]
    searched = result.cost.get("search_steps")
    rows += [["updates of search, besides", f"{searched:,.0f}"]] if searched else []
    if result.stopped is not None:
        rows += [["ended early", result.stopped]]
    return "## Result\n\n" + table(["at the end", "value"], rows, right=(1,))


def comparison_section(report: StoredReport, run: RunOutcome) -> list[str]:
    """Return what the comparison that the run belongs to found about its recipe."""
    result = report.result
    cell, arm = place_of(result, run)
    found = result.comparison_of(arm)
    others = [other.name for other in result.arms_of(cell)]
    shown = {run.arm, result.baseline, *others[:3]}
    said = cell.conclusion if found is None else found.sentence
    over = counted(len(cell.seeds), cell.pair)
    ranked = f"Rank {arm.rank} of {counted(len(others), 'arm')} by mean {cell.metric}, over {over}."
    parts = ["## Compared with other recipes", f"**{escape(said)}**", escape(ranked)]
    parts.append(cell_table(result, cell, only=tuple(shown)))
    if report.commands:
        parts += ["The whole comparison:", code_block(report.commands[0], "sh")]
    return parts


def recipe_section(record: RunRecord, file: RecipeFile) -> list[str]:
    """Return each choice of the recipe, and of the run, as a table."""
    recipe, peak = file.recipe, peak_of(record)
    rows = [
        ["schedule", recipe.schedule],
        ["optimizer", recipe.optimizer or "the workload's default"],
        ["peak learning rate", "each phase's own" if peak is None else f"{peak:g}"],
        ["batch size", f"{recipe.batch_size}"],
        ["micro-batches an update", f"{recipe.accumulate}"],
        ["largest norm of the gradient", "none" if recipe.clip is None else f"{recipe.clip:g}"],
    ]
    named = {"schedule", "optimizer", "peak", "batch_size", "accumulate", "clip"}
    rows += [[name.replace("_", " "), str(value)] for name, value in recipe.to_table().items() if name not in named]
    rows += [["budget", record.budget], ["seed", str(record.seed)]]
    rows += [["precision", record.mixed_precision]] if record.mixed_precision != "no" else []
    for number, phase in enumerate(record.phases[1:], 2):
        rows.append([f"phase {number}", f"{phase.recipe}, updates {phase.start:,} to {phase.total_steps or 0:,}"])
    return ["## Recipe", table(["", "choice"], rows)]


def curve_section(result: RunResult) -> list[str]:
    """Return the evaluations of the run, at most a few, evenly spread, and which was the best."""
    curve = {name: np.asarray(column, dtype=np.float64) for name, column in result.curve.items()}
    places = np.flatnonzero(np.isfinite(curve.get(result.metric, np.empty(0))))
    if len(places) < 2:
        return []
    value = curve[result.metric]
    best = places[np.argmin(value[places]) if result.lower_is_better else np.argmax(value[places])]
    chosen = places[np.unique(np.round(np.linspace(0, len(places) - 1, _CURVE_ROWS)).astype(int))]
    columns = {
        "tokens": "tokens",
        "learning rate": "lr",
        "training loss": "loss",
        label_of(result.metric): result.metric,
    }
    kept = {head: name for head, name in columns.items() if name in curve and np.isfinite(curve[name][chosen]).any()}
    rows = [
        [f"{int(curve['step'][at]) + 1:,}", *(_in_column(name, curve[name][at]) for name in kept.values())]
        for at in chosen
    ]
    said = f"Best of {len(places)} evaluations: {value[best]:.6g} after {int(curve['step'][best]) + 1:,} updates."
    return ["## Curve", table(["update", *kept], rows, right=range(len(kept) + 1)), said]


def _in_column(name: str, value: float) -> str:
    if not np.isfinite(value):
        return ""
    return f"{value:,.0f}" if name == "tokens" else f"{value:.3g}" if name == "lr" else f"{value:.5g}"


def data_section(record: RunRecord) -> list[str]:
    """Return what was learned: workload, fingerprint, sizes, the weights it started from."""
    rows = [["workload", record.workload_spec or f"{record.workload}, made in Python"]]
    rows += [["fingerprint of data and model", record.data_fingerprint]] if record.data_fingerprint else []
    rows += [["version of the workload", str(record.workload_version)]]
    rows += [[str(name).replace("_", " "), str(value)] for name, value in record.notes.items()]
    start: Mapping[str, Any] = getattr(record, "start", {})
    if start:
        rows.append(["starts from", f"{start.get('path')}, update {start.get('step')}, hash {start.get('hash')}"])
    return ["## Data", table(["", "what was learned"], rows)]


def again(record: RunRecord, text: str) -> list[str]:
    """Return how to train it again: the commands, how far the numbers agree, the recipe's file."""
    commands = commands_of_run(record, "again", recipe=RECIPE_FILE)
    said = "On a CPU the numbers come out the same to the last bit where versions and processor are the same."
    if record.phases[-1].seconds is not None:
        said = "The budget is in seconds, so that another machine, or a busier one, makes another number of updates."
    if record.workload_spec is None:
        said = "The workload was made in Python and has to be made there again; name yours with --workload. " + said
    parts = ["## How to reproduce", code_block("\n".join(commands), "sh"), escape(said)]
    return [*parts, f"{code_span(RECIPE_FILE)}:", code_block(text, "toml")]


def facts_table(facts: Mapping[str, Any]) -> str:
    """Return versions, machine and commit as a table."""
    rows: Sequence[Sequence[str]] = [[name, value] for name, value in facts_of(facts).items()]
    return table(["", "value"], rows)
