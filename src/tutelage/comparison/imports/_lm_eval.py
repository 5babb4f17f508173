"""Result folders of lm-evaluation-harness: ``results_*.json`` and, beside them, ``samples_*.jsonl``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.comparison.imports._reading import Identity, Naming, Reading, json_lines, json_of, number, numeric
from tutelage.errors import DataError

_STAMP = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?"
_SAMPLES = re.compile(rf"samples_(?P<task>.+?)(?:_(?P<stamp>{_STAMP}))?\.jsonl")
_RESULTS = re.compile(rf"results(?:_(?P<stamp>{_STAMP}))?\.json")


def read(files: Sequence[Path], naming: Naming) -> Iterator[Reading]:
    """Yield one reading a task and run, and one an item where samples were logged (``--log_samples``).

    A metric goes by its name where its filter is ``none``, by ``name,filter`` elsewhere. The pattern tells the arm,
    else the name of the model does; items are told apart by number and content, so that changed data never pair.
    Averages over a group of tasks are left out, and said to be.

    Raises:
        DataError: A file is no result of the harness, or samples lie without their results.
    """
    results = [path for path in files if path.suffix == ".json"]
    samples = [path for path in files if path.suffix == ".jsonl"]
    for path in results:
        stored = json_of(path)
        if not (isinstance(stored, dict) and isinstance(stored.get("results"), dict)):
            raise DataError(f"{path}: not a result of lm-evaluation-harness: it has no results.")
        if not stored["results"]:
            raise DataError(f"{path}: its results are empty; was the evaluation stopped?")
        name = str(stored.get("model_name") or stored.get("model_name_sanitized") or path.parent.name)
        who = naming.identify(path.parent, source=str(path), otherwise=name)
        match = _RESULTS.fullmatch(path.name)
        stamp = match["stamp"] if match else None
        groups = _groups(stored)
        for task, scores in stored["results"].items():
            if task in groups:
                continue
            own = [s for s in samples if s.parent == path.parent and _belongs(s, task, stamp)]
            yield from _task(path, stored, task, scores, who, own, groups)
            samples = [s for s in samples if s not in own]
    if samples:
        raise DataError(f"{samples[0]}: the results_*.json it belongs to is not beside it; give the whole folder.")


def _groups(stored: Mapping[str, Any]) -> list[str]:
    """Return the names under which averages of other tasks stand among the results."""
    found = stored.get("group_subtasks")
    members = found if isinstance(found, dict) else {}
    return [name for name in stored["results"] if any(task in stored["results"] for task in members.get(name) or ())]


def _belongs(path: Path, task: str, stamp: str | None) -> bool:
    match = _SAMPLES.fullmatch(path.name)
    return match is not None and match["task"] == task and match["stamp"] == stamp


def _task(
    path: Path,
    stored: Mapping[str, Any],
    task: str,
    scores: Mapping[str, Any],
    who: Identity,
    samples: Sequence[Path],
    groups: Sequence[str],
) -> Iterator[Reading]:
    values: dict[str, float | None] = {}
    lower: dict[str, bool] = {}
    direction = stored.get("higher_is_better", {}).get(task) or {}
    for key, value in scores.items():
        metric, comma, kind = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        name = metric if kind == "none" else key
        # "N/A" and the like stand where a score could not be computed.
        values[name] = number(value, f"{path}: {task}: {key}") if numeric(value) else None
        if isinstance(direction.get(metric), bool):
            lower[name] = not direction[metric]
    version = f"version {stored.get('versions', {}).get(task, 'unknown')}"
    if task in stored.get("n-shot", {}):
        version += f", {stored['n-shot'][task]}-shot"
    writer = stored.get("lm_eval_version")
    said: dict[str, Any] = {
        "arm": who.arm,
        "seed": who.seed,
        "workload": task,
        "budget": who.budget,
        "lower": lower,
        "version": version,
        "writer": f"lm-evaluation-harness {writer}" if writer else "",
        "remarks": tuple(f"{group} is an average of tasks that are compared themselves; left out." for group in groups),
    }
    if values:
        yield Reading(source=str(path), values=values, **said)
    for file in samples:
        items: dict[str, dict[str, float | None]] = {}
        for where, row in json_lines(file):
            if "doc_id" not in row:
                raise DataError(f"{where}: no doc_id, so it cannot be paired with the same item of other arms.")
            kind = row.get("filter", "none")
            item = f"{row['doc_id']}:{str(row.get('doc_hash', ''))[:12]}".rstrip(":")
            own = items.setdefault(item, {})
            for metric in row.get("metrics") or [metric.partition(",")[0] for metric in values]:
                name = metric if kind == "none" else f"{metric},{kind}"
                value = row.get(metric)
                # Some metrics, such as perplexity, keep parts for each item that only make sense once summed.
                if name in values and (numeric(value) or isinstance(value, bool)):
                    if name in own:
                        raise DataError(f"{where}: item {row['doc_id']} stands twice in this file.")
                    own[name] = math.nan if value is None else float(value)
        for item, scored in items.items():
            if scored:
                yield Reading(source=str(file), item=item, values=scored, **said)
