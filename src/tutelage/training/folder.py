"""The run folder: opened once, refused where it holds something else, continued where it holds the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError, CorruptRun, DataNotFound
from tutelage.training.storage import storage, write_json

FORMAT = 1
RUN_FILE, RESULT_FILE, CHECKPOINTS, SEARCH_LOG = "run.json", "result.json", "checkpoint", "search.jsonl"
#: The state at the end of a schedule's plateau, before its rate falls; and the files of the workload's model.
PLATEAU, FILES = "plateau", "files"
#: What a tracker of checkpoints has measured.
SCORES_LOG = "scores.jsonl"
#: Says of a run that a comparison stopped before its end when and why; resumed by hand, the run goes on.
PRUNED_FILE = "pruned.json"
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
        origin: Update that the schedule counts from: the run's first, or that of the phase which brought a recipe.
    """

    recipe: str
    start: int = 0
    total_steps: int | None = None
    seconds: float | None = None
    origin: int = 0


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
    #: The checkpoint the run started from: ``path``, ``step`` and hash; empty for fresh weights.
    start: dict[str, Any] = field(default_factory=dict)
    #: Spec of the optimizer, also where the recipe leaves it to the workload; empty in runs of earlier versions.
    optimizer: str = ""
    format: int = FORMAT

    def identity(self) -> str:
        """Return a hash of what makes this run this run; every checkpoint of it holds it."""
        facts = [getattr(self, name) for name in IDENTITY]
        facts += [self.start["hash"]] if self.start else []
        return hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()

    def differences(self, other: RunRecord) -> list[str]:
        """Return ``name: mine, not theirs`` for each part of the identity that differs."""
        found = [
            f"{name} is {getattr(self, name)}, not {getattr(other, name)}"
            for name in IDENTITY
            if getattr(self, name) != getattr(other, name)
        ]
        mine, theirs = (record.start.get("hash") for record in (self, other))
        return [*found, f"the hash of its first weights is {mine}, not {theirs}"] if mine != theirs else found


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
    known = {item.name for item in dataclasses.fields(RunRecord)}
    try:
        if table["format"] > FORMAT:
            raise CorruptRun(
                f"{path} has format {table['format']}, newer than this version reads ({FORMAT}); upgrade tutelage."
            )
        table["phases"] = tuple(Phase(**phase) for phase in table["phases"])
        return RunRecord(**{key: value for key, value in table.items() if key in known})
    except (TypeError, KeyError) as error:
        raise CorruptRun(f"{path} lacks what a run needs ({error}); delete {folder} to start again.") from error


def run_folder(path: str | Path) -> Path:
    """Return the run folder that ``path`` is, or is a folder of checkpoints or a checkpoint of.

    Raises:
        DataNotFound: There is no run.
    """
    path = Path(path)
    for folder in (path, *list(path.parents)[:2]):
        if (folder / RUN_FILE).is_file():
            return folder
    raise DataNotFound(f"No run in {path}: {path / RUN_FILE} does not exist.")


def read_result(folder: str | Path) -> dict[str, Any] | None:
    """Return a run's ``result.json``, or ``None`` while it is unfinished.

    Raises:
        CorruptRun: The file cannot be read.
    """
    path = Path(folder) / RESULT_FILE
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(result, dict):
            raise ValueError("it holds no table")
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
        _clear(folder)
        occupied = False
    if occupied:
        stored = read_run(folder)
        differences = stored.differences(record)
        if differences:
            raise ConfigError(
                f"{folder} holds another run ({'; '.join(differences)}). Name another --out, or replace it with "
                "--force."
            )
        if not resume:
            raise ConfigError(f"{folder} holds this run already. Go on with --resume, or replace it with --force.")
        return stored
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, record)
    return record


def _clear(folder: Path) -> None:
    """Remove what a run has written, and nothing else that may lie in its folder; the record goes last."""
    with locked(folder):
        for name in (CHECKPOINTS, PLATEAU, FILES):
            shutil.rmtree(folder / name, ignore_errors=True)
        for pattern in ("result*.json", "curve.*", SEARCH_LOG, SCORES_LOG, PRUNED_FILE, RUN_FILE):
            for path in folder.glob(pattern):
                path.unlink()


@contextmanager
def locked(folder: Path, *, patience: float = 10.0) -> Iterator[None]:
    """Keep a run folder to this process; the lock ends with the process, however that ends.

    Args:
        folder: The run folder.
        patience: Seconds to wait for one that is just leaving, such as a worker whose parent was killed.

    Raises:
        ConfigError: Another process stays at work in the folder.
    """
    try:
        import fcntl
    except ImportError:  # another system than POSIX
        yield
        return
    with storage(folder):
        descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise ConfigError(
                        f"Another process is training the run in {folder}; wait for it, or name another --out."
                    ) from None
                time.sleep(0.05)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(descriptor)


def write_record(folder: Path, record: RunRecord) -> None:
    """Store ``run.json``, atomically."""
    write_json(folder / RUN_FILE, dataclasses.asdict(record))
