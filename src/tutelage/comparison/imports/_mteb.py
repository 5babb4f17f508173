"""Result folders of mteb: one JSON file a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tutelage.comparison.imports._reading import Naming, Reading, json_of, scalars
from tutelage.errors import DataError

#: What mteb writes beside the tasks.
BESIDE = ("model_meta.json", "run_settings.jsonl")
_EXPERIMENTS = "experiments"


def read(files: Sequence[Path], naming: Naming) -> Iterator[Reading]:
    """Yield one reading a task and split: ``main_score`` and all other numbers, as means over the subsets.

    The arm is told by the pattern, else by ``model_meta.json`` beside the tasks, with the name of the experiment where
    it is one of several with a model. Higher main scores are better, as in mteb. Splits other than ``test`` are
    workloads of their own.

    Raises:
        DataError: A file is no result of mteb, or one of a version before 1.11, which named no main score.
    """
    for path in files:
        if path.name in BESIDE:
            continue
        stored = json_of(path)
        scores = stored.get("scores") if isinstance(stored, dict) else None
        if not isinstance(scores, dict):
            old = isinstance(stored, dict) and "mteb_dataset_name" in stored
            hint = "; it was written by mteb before 1.11: run the task again, or store it anew with that library"
            raise DataError(f"{path}: not a result of mteb, it has no scores{hint if old else ''}.")
        if not scores:
            raise DataError(f"{path}: its scores are empty; was the evaluation stopped?")
        who = naming.identify(path.parent, source=str(path), otherwise=_model(path))
        task = str(stored.get("task_name") or path.stem)
        for split, subsets in scores.items():
            yield Reading(
                source=str(path),
                arm=who.arm,
                seed=who.seed,
                workload=task if split == "test" else f"{task} ({split})",
                budget=who.budget,
                values=_means(path, split, subsets),
                main="main_score",
                lower={"main_score": False},
                version=_version(stored, subsets),
                writer=f"mteb {stored['mteb_version']}" if stored.get("mteb_version") else "",
            )


def _means(path: Path, split: str, subsets: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    if not subsets:
        raise DataError(f"{path}: split {split} holds no scores.")
    rows = [scalars({name: value for name, value in row.items() if name != "mteb_version"}) for row in subsets]
    names = [name for name in rows[0] if all(name in row for row in rows)]
    means: dict[str, float | None] = {}
    for name in names:
        values = [row[name] for row in rows]
        known = [value for value in values if value is not None]
        means[name] = fmean(known) if len(known) == len(values) else None
    return means


def _version(stored: dict[str, Any], subsets: Sequence[dict[str, Any]]) -> str:
    names = sorted(str(row.get("hf_subset", "default")) for row in subsets)
    shown = ", ".join(names) if len(names) <= 5 else f"{len(names)} from {names[0]} to {names[-1]}"
    return f"data revision {stored.get('dataset_revision', 'unknown')}, subsets {shown}"


def _model(path: Path) -> str:
    meta = path.parent / "model_meta.json"
    stored = json_of(meta) if meta.exists() else {}
    name = stored.get("name") if isinstance(stored, dict) else None
    # mteb itself writes folders as organisation__model/revision, and below it perhaps experiments/name.
    experiment = path.parent.name if path.parent.parent.name == _EXPERIMENTS else ""
    revision = path.parent.parent.parent if experiment else path.parent
    name = str(name or revision.parent.name.replace("__", "/"))
    return f"{name} ({experiment})" if experiment else name
