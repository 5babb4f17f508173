"""The recipe card of a run, for a model's README, and the ``recipe.toml`` that trains it again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.comparison._card_sections import (
    RECIPE_FILE,
    again,
    comparison_section,
    curve_section,
    data_section,
    facts_table,
    intro,
    label_of,
    place_of,
    recipe_section,
    results,
)
from tutelage.comparison._records import ComparisonResult, RunOutcome
from tutelage.comparison._words import percent_of
from tutelage.comparison.stored import StoredReport, comparison_of_run, run_facts
from tutelage.comparison.table import with_spread
from tutelage.errors import ConfigError
from tutelage.evaluation.verdicts import counted
from tutelage.training.folder import RunRecord, read_run
from tutelage.training.recipe import Recipe
from tutelage.training.recipe_file import RecipeFile
from tutelage.training.result import RunResult
from tutelage.training.storage import write_atomically

__all__ = ["RECIPE_FILE", "RecipeCard", "recipe_card", "write_card"]

#: What the model hub calls the tasks of the embedded workloads; of others it is told "other".
_TASKS = {
    "breast-cancer": "tabular-classification",
    "digits": "image-classification",
    "text-classification": "text-classification",
    "text-lm": "text-generation",
}


@dataclass(frozen=True)
class RecipeCard:
    """A model's README about how it was trained, and the file that repeats that.

    Args:
        markdown: The card: front matter (tags, ``model-index``) and text.
        recipe: Content of ``recipe.toml``.
        recipe_file: The same, as it will be read.
    """

    markdown: str
    recipe: str
    recipe_file: RecipeFile


def recipe_card(folder: str | Path) -> RecipeCard:
    """Return the card of a finished run: its numbers, its recipe, what it was compared with, how to repeat it.

    Where the run belongs to a finished comparison, the card says what that found, with its interval.

    Args:
        folder: The run folder.

    Raises:
        DataNotFound: There is no run, or it is unfinished.
        ConfigError: It diverged, so there is nothing to show.
        CorruptRun: Its files cannot be read.

    Example:
        >>> import tempfile
        >>> from tutelage.training import train
        >>> from tutelage.workloads import prepare
        >>> out = tempfile.mkdtemp() + "/run"
        >>> result = train(prepare("digits:net=mlp"), "uba:phi=5", budget="9steps", out=out)
        >>> card = recipe_card(out)
        >>> card.recipe_file.recipe.schedule, card.recipe_file.budget
        ('uba:phi=5', '9steps')

    Use with:
        ``tutelage report RUN --card``; the file goes to ``tutelage train --recipe`` or ``tutelage compare``.
    """
    root = Path(folder)
    record, result = read_run(root), RunResult.read(root)
    if result.final_loss is None:
        raise ConfigError(f"The run in {root} diverged after {result.steps} updates: a card needs a result.")
    found = comparison_of_run(root)
    file = _recipe_file(record, found)
    text = file.to_toml(_comments(record, result))
    sections = [
        intro(record, result),
        results(record, result),
        *(comparison_section(*found) if found is not None else []),
        *recipe_section(record, file),
        *curve_section(result),
        *data_section(record),
        *again(record, text),
        "## Made with",
        facts_table(run_facts(record)),
    ]
    front = _front_matter(record, result, found)
    return RecipeCard(f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n", text, file)


def write_card(folder: str | Path, path: str | Path, *, force: bool = False) -> tuple[Path, Path]:
    """Write a run's card, and ``recipe.toml`` beside it.

    Args:
        folder: The run folder.
        path: Where the card goes, such as ``README.md`` of a model.
        force: Replace files that are there.

    Returns:
        Both paths.

    Raises:
        ConfigError: A file is there already, or the folder to write to is not.
        DataNotFound: As :func:`recipe_card`.
        CorruptRun: As :func:`recipe_card`.
        StorageFull: No space is left.
    """
    card, recipe = Path(path), Path(path).with_name(RECIPE_FILE)
    if not card.parent.is_dir():
        raise ConfigError(f"--out {card}: the folder {card.parent} does not exist.")
    held = [str(file) for file in (card, recipe) if file.exists()]
    if held and not force:
        raise ConfigError(f"{' and '.join(held)} exists already; name another --out, or replace it with --force.")
    made = recipe_card(folder)
    write_atomically(recipe, made.recipe)
    write_atomically(card, made.markdown)
    return card, recipe


def _recipe_file(record: RunRecord, found: tuple[StoredReport, RunOutcome] | None) -> RecipeFile:
    """Return the file of a run's first phase, with the workload's defaults written out and an arm to compare with."""
    recipe = _written_out(Recipe.parse(record.phases[0].recipe), record)
    if found is None:
        compared = _rival(recipe)
    else:
        report, run = found
        compared = _rivals(report.result, run, record)
    return RecipeFile(
        recipe=recipe,
        workload=record.workload_spec,
        data_fingerprint=record.data_fingerprint or None,
        budget=record.budget,
        seed=record.seed,
        mixed_precision=None if record.mixed_precision == "no" else record.mixed_precision,
        threads=record.threads,
        compared=compared,
    )


def _written_out(recipe: Recipe, record: RunRecord) -> Recipe:
    """Return a recipe with what the workload decided by default in its place."""
    optimizer = recipe.optimizer or record.optimizer or None
    return dataclasses.replace(
        recipe, optimizer=optimizer, peak=recipe.peak or record.peak, batch_size=record.batch_size
    )


def _rival(recipe: Recipe) -> dict[str, Any]:
    """Return what a run of its own is compared with: the same but for a common schedule."""
    name = "cosine" if recipe.schedule.partition(":")[0] != "cosine" else "constant"
    return {"baseline": name, "arms": {name: str(dataclasses.replace(recipe, schedule=name))}}


def _rivals(result: ComparisonResult, run: RunOutcome, record: RunRecord) -> dict[str, Any]:
    """Return the comparison a run was part of, with the baseline alone, or for the baseline the best other arm."""
    members = [other for other in result.runs if (other.workload, other.budget) == (run.workload, run.budget)]
    cell, _ = place_of(result, run)
    best = [arm.name for arm in result.arms_of(cell) if arm.name != run.arm]
    rival = result.baseline if run.arm != result.baseline else best[0]
    recipe = next(other.recipe for other in members if other.arm == rival)
    found: dict[str, Any] = {
        "name": run.arm,
        "baseline": result.baseline,
        "seeds": sorted({other.seed for other in members}),
        "margin": result.margin,
        "confidence": result.confidence,
    }
    found = {
        name: value for name, value in found.items() if (name, value) not in (("margin", 0.0), ("confidence", 0.95))
    }
    return found | {"arms": {rival: recipe}}


def _comments(record: RunRecord, result: RunResult) -> list[str]:
    version = record.versions.get("tutelage", "")
    lines = [
        f"{f'Made by tutelage {version}'.rstrip()}. This trains the run again, which ended at {result.metric} "
        f"{result.final_loss!r} after {result.steps} updates:",
        "tutelage train --recipe recipe.toml --out again",
    ]
    if len(record.phases) > 1:
        lines.append("The run was extended; this is its first part. The card has the commands for the others.")
    if result.stopped is not None:
        lines.append(f"The run was ended before its budget ({result.stopped}); repeated, it goes on to the end.")
    if record.start:
        lines.append(f"It starts from the weights in {record.start.get('path')}, which must be there.")
    if record.workload_spec is None:
        lines.append("Its workload was made in Python: give one with --workload.")
    return [*lines, "This compares its recipe with another:", "tutelage compare recipe.toml --out comparison"]


def _front_matter(record: RunRecord, result: RunResult, found: tuple[StoredReport, RunOutcome] | None) -> str:
    """Return the block that the model hub reads, with the metrics as ``model-index``."""
    import yaml  # type: ignore[import-untyped]

    metrics = [_metric(name, value) for name, value in result.metrics.items() if value is not None]
    if found is not None:
        _, arm = place_of(found[0].result, found[1])
        if arm.mean is not None and len(arm.seeds) > 1:
            name = f"{label_of(arm.metric)}, mean of {counted(len(arm.seeds), 'seed')}"
            if arm.low is not None and arm.high is not None:
                ends = f"{with_spread(arm.low, arm.sd)} to {with_spread(arm.high, arm.sd)}"
                name += f" ({percent_of(found[0].result)} interval {ends})"
            metrics.append({**_metric(arm.metric, arm.mean), "name": name})
    kind = (record.workload_spec or record.workload).partition(":")[0]
    entry = {
        "name": f"{record.workload} by {Recipe.parse(record.phases[-1].recipe).schedule}",
        "results": [
            {
                "task": {"type": _TASKS.get(kind, "other")},
                "dataset": {"name": record.workload, "type": kind},
                "metrics": metrics,
            }
        ],
    }
    table = {"library_name": "tutelage", "tags": ["tutelage", "training-recipe"], "model-index": [entry]}
    text: str = yaml.safe_dump(table, sort_keys=False, allow_unicode=True, width=1000)
    return text


def _metric(name: str, value: float) -> dict[str, Any]:
    return {"type": name.removeprefix("val_"), "value": float(value), "name": label_of(name)}
