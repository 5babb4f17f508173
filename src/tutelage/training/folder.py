"""The run folder: opened once, refused where it holds something else, continued where it holds the same."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.training.storage import storage, write_json

FORMAT = 1
RUN_FILE, RESULT_FILE, CHECKPOINTS, SEARCH_LOG = "run.json", "result.json", "checkpoint", "search.jsonl"
#: A run is the same run only where all of these agree.
IDENTITY = (
    "workload",
    "workload_version",
    "data_fingerprint",
    "recipe",
    "budget",
    "seed",
    "batch_size",
    "peak",
    "mixed_precision",
)


@dataclass(frozen=True)
class Phase:
    """A stretch of a run under one recipe; a run has one, and one more for each time it was extended.

    Args:
        recipe: The recipe as a string.
        start: First update of the phase.
        total_steps: Updates in the run up to the phase's end; ``None`` for a budget in seconds.
        seconds: End of the phase in seconds of training, for a budget in seconds.
        own_clock: The schedule counts from the phase's start, not from the run's.
    """

    recipe: str
    start: int = 0
    total_steps: int | None = None
    seconds: float | None = None
    own_clock: bool = False


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` holds: all that is needed to repeat the run."""

    workload: str
    workload_spec: str | None
    workload_version: int
    data_fingerprint: str
    recipe: str
    budget: str
    seed: int
    batch_size: int
    peak: float
    mixed_precision: str
    phases: tuple[Phase, ...]
    notes: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    git_commit: str | None = None
    created: str = ""
    format: int = FORMAT

    def differences(self, other: RunRecord) -> list[str]:
        """Return ``name: mine, not theirs`` for each part of the identity that differs."""
        return [
            f"{name} is {getattr(self, name)}, not {getattr(other, name)}"
            for name in IDENTITY
            if getattr(self, name) != getattr(other, name)
        ]


def read_run(folder: str | Path) -> RunRecord:
    """Return what a run folder says about its run.

    Raises:
        DataNotFound: The folder holds no run.
        CorruptRun: ``run.json`` cannot be read, or its format is newer.
    """
    path = Path(folder) / RUN_FILE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataNotFound(f"No run in {folder}: {path} does not exist.") from None
    except (OSError, ValueError) as error:
        raise CorruptRun(f"{path} cannot be read ({error}); delete {folder} to start again.") from error
    if table.get("format", 0) > FORMAT:
        raise CorruptRun(
            f"{path} has format {table['format']}, newer than this version reads ({FORMAT}); upgrade tutelage."
        )
    known = {item.name for item in dataclasses.fields(RunRecord)}
    try:
        table["phases"] = tuple(Phase(**phase) for phase in table["phases"])
        return RunRecord(**{key: value for key, value in table.items() if key in known})
    except (TypeError, KeyError) as error:
        raise CorruptRun(f"{path} lacks what a run needs ({error}); delete {folder} to start again.") from error


def read_result(folder: str | Path) -> dict[str, Any] | None:
    """Return a run's ``result.json``, or ``None`` while it is unfinished.

    Raises:
        CorruptRun: The file cannot be read.
    """
    path = Path(folder) / RESULT_FILE
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return result
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CorruptRun(
            f"{path} cannot be read ({error}); delete it to finish the run again with --resume."
        ) from error


def open_folder(folder: Path, record: RunRecord, *, resume: bool, force: bool) -> RunRecord:
    """Make a run's folder, or accept the one of the same run.

    Returns:
        The record in force: the stored one when a run goes on, else ``record``, stored.

    Raises:
        ConfigError: The folder holds another run or other files, or the same run without ``resume``.
        StorageFull: No space is left.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder} is a file; name a folder.")
    occupied = folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir())
    if occupied and not (folder / RUN_FILE).exists():
        raise ConfigError(f"--out {folder} holds other files and no run; name a new or empty folder.")
    if occupied and force:
        shutil.rmtree(folder)
        occupied = False
    if occupied:
        stored = read_run(folder)
        differences = stored.differences(record)
        if differences:
            raise ConfigError(
                f"{folder} holds another run ({'; '.join(differences)}). Name another --out, or replace it with --force."
            )
        if not resume:
            raise ConfigError(f"{folder} holds this run already. Go on with --resume, or replace it with --force.")
        return stored
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, record)
    return record


def write_record(folder: Path, record: RunRecord) -> None:
    """Store ``run.json``, atomically."""
    write_json(folder / RUN_FILE, dataclasses.asdict(record))
