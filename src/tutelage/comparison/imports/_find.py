"""Which files below a path are results, and of which kind."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from tutelage.comparison.imports._mlflow_db import DATABASES, is_database
from tutelage.comparison.imports._mteb import BESIDE
from tutelage.comparison.imports._table import header_of
from tutelage.comparison.imports._wandb import SUMMARY, is_chart
from tutelage.errors import ConfigError, DataError, DataNotFound, did_you_mean

Format = Literal["auto", "table", "trainer", "tensorboard", "wandb", "mlflow", "lm-eval", "mteb"]
FORMATS: tuple[str, ...] = get_args(Format)

#: A folder that holds several kinds is read as the first of them.
_ORDER = ("trainer", "lm-eval", "mteb", "mlflow", "wandb", "tensorboard", "table")
_TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")


def find(paths: Sequence[Path], wished: str) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files to read by format, and remarks on files that were passed over.

    Raises:
        ConfigError: An unknown format.
        DataNotFound: A path does not exist, or a folder holds nothing that can be read.
        DataError: A file of unknown content, or nothing given.
    """
    if wished not in FORMATS:
        raise ConfigError(f'No format "{wished}".{did_you_mean(wished, FORMATS)} Formats: {", ".join(FORMATS)}.')
    found: dict[str, list[Path]] = {}
    remarks: list[str] = []
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise DataNotFound(f"No file or folder {path}; give results, such as runs.csv or a folder of runs.")
        if path.is_dir():
            kind, files, remark = _below(path, wished)
            remarks += remark
        else:
            kind = wished if wished != "auto" else sniff(path)
            if not kind:
                raise DataError(
                    f"{path}: not recognised as results; say what it is with a format "
                    f"({', '.join(FORMATS[1:])}), or give a table with columns arm, seed and a metric."
                )
            files = _with_samples(path) if kind == "lm-eval" else [path]
        for file in files:
            if file.resolve() not in seen:
                seen.add(file.resolve())
                found.setdefault(kind, []).append(file)
    if not found:
        raise DataError("No results to read: give at least one file or folder.")
    return found, remarks


def _with_samples(path: Path) -> list[Path]:
    stamp = re.fullmatch(r"results_(.+)\.json", path.name)
    return [path, *sorted(path.parent.glob(f"samples_*_{stamp[1]}.jsonl"))] if stamp else [path]


def _below(folder: Path, wished: str) -> tuple[str, list[Path], list[str]]:
    kinds: dict[str, list[Path]] = {}
    for root, folders, names in os.walk(folder):
        # What MLflow has deleted, and what belongs to tools, is no result.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            kind = _fits(path, wished) if wished != "auto" else sniff(path)
            if kind:
                kinds.setdefault(kind, []).append(path)
    if not kinds:
        what = "results that can be read" if wished == "auto" else f"results of the format {wished}"
        raise DataNotFound(f"{folder} holds no {what}; formats: {', '.join(FORMATS[1:])}.")
    kind = next(name for name in _ORDER if name in kinds)
    others = [f"{len(kinds[name])} of {name}" for name in _ORDER if name in kinds and name != kind]
    remark = f"{folder} is read as {kind}; passed over: files of other formats ({', '.join(others)})."
    return kind, kinds[kind], [remark] if others else []


def _fits(path: Path, wished: str) -> str:
    kind = sniff(path)
    return wished if kind == wished or (wished == "table" and path.suffix.lower() in _TABLES) else ""


def sniff(path: Path) -> str:
    """Return the format of a file by its name and first content, empty where it is none."""
    name, suffix = path.name, path.suffix.lower()
    if name == "trainer_state.json":
        return "trainer"
    if "tfevents" in name:
        return "tensorboard"
    if name == SUMMARY or suffix == ".wandb":
        return "wandb"
    if name == "meta.yaml" or (suffix in DATABASES and is_database(path)):
        return "mlflow"
    if name in BESIDE:
        return ""
    if re.fullmatch(r"samples_.+\.jsonl", name):
        return "lm-eval"
    if suffix == ".parquet":
        return "table"
    if suffix in (".csv", ".tsv"):
        return _by_header(header_of(path))
    if suffix in (".jsonl", ".ndjson"):
        return _by_first_line(path)
    return _by_content(path) if suffix == ".json" else ""


def _by_header(names: list[str]) -> str:
    if "arm" in names and ("seed" in names or "item" in names) and "State" not in names and "run_id" not in names:
        return "table"
    if is_chart(names) or {"Name", "State"} <= set(names):
        return "wandb"
    if "run_id" in names or {"Run ID", "Start Time"} <= set(names):
        return "mlflow"
    return "table"


def _by_first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        first = next((line for line in lines if line.strip()), "")
    try:
        row = json.loads(first)
    except json.JSONDecodeError:
        return "table"
    return "wandb" if isinstance(row, dict) and "_step" in row and "arm" not in row else "table"


def _by_content(path: Path) -> str:
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        # A broken file is reported where its name says what it should be, and passed over elsewhere.
        return "lm-eval" if re.fullmatch(r"results.*\.json", path.name) else ""
    if isinstance(stored, list):
        rows = [row for row in stored if isinstance(row, dict)]
        return "" if not rows else "wandb" if "arm" not in rows[0] and {"name", "Name"} & set(rows[0]) else "table"
    if not isinstance(stored, dict):
        return ""
    if "log_history" in stored:
        return "trainer"
    if "mteb_version" in stored or ("scores" in stored and "task_name" in stored):
        return "mteb"
    if isinstance(stored.get("results"), dict) and ("versions" in stored or "configs" in stored):
        return "lm-eval"
    return "wandb" if "_step" in stored or "_runtime" in stored else ""
