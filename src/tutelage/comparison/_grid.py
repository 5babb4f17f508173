"""What comparisons and races share: where runs are carried out, their folder, and making those that are left."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.comparison._executor import Executor, Work
from tutelage.comparison.plan import Job
from tutelage.errors import ConfigError, CorruptRun, StorageFull, TutelageError
from tutelage.training.folder import read_result
from tutelage.training.storage import storage, write_json

FORMAT = 1


@dataclass
class Progress:
    """How far a comparison is; handed to ``watch`` about twice a second.

    Args:
        phase: ``"tuning"`` or ``"runs"``; of a race ``"targets"`` or ``"race"``.
        jobs: The runs of the phase.
        finished: Final values by folder, ``None`` for a diverged run.
        total: Runs of the whole comparison, tuning included.
        done: Runs finished of them.
        root: The comparison's folder.
    """

    phase: str
    jobs: Sequence[Job]
    root: Path
    total: int
    done: int = 0
    finished: dict[str, float | None] = field(default_factory=dict)


@contextlib.contextmanager
def executor_for(on: str, jobs: int | None) -> Iterator[Executor]:
    """Give what carries the runs out; nothing has been written yet where that cannot be used.

    Args:
        on: ``"local"``, or a Ray cluster as :func:`tutelage.comparison.compare` takes it.
        jobs: Runs at a time on this machine; not with Ray.

    Raises:
        ConfigError: One of them cannot be used, or the two together.
        MissingExtra: Ray is not installed.
    """
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs must be >= 1, got {jobs}.")
    if on == "local":
        from tutelage.comparison.on_local import run_local

        yield functools.partial(run_local, jobs=jobs)
        return
    if on.partition(":")[0] != "ray":
        raise ConfigError(f"on must be local, ray, ray:auto, ray:HOST:PORT or ray://HOST:PORT, got {on}.")
    if jobs is not None:
        raise ConfigError(
            f"jobs counts processes of this machine, got {jobs} with on={on}; leave it out: the cluster decides, and "
            "ray start --num-cpus limits it."
        )
    from tutelage.comparison.on_ray import connected

    with connected(on) as executor:
        yield executor


def open_folder(root: Path, declaration: Mapping[str, Any], *, resume: bool, force: bool) -> None:
    """Make the folder of a comparison or race, or accept the one of the same.

    Args:
        root: The folder.
        declaration: What makes it the same when it is resumed.
        resume: Accept the folder of the same one.
        force: Replace what the folder holds.

    Raises:
        ConfigError: It holds another comparison or other files, the same one without ``resume``, or cannot be written.
        CorruptRun: Its declaration cannot be read.
    """
    try:
        _open(root, declaration, resume=resume, force=force)
        if not os.access(root, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except StorageFull:
        raise
    except OSError as error:
        raise ConfigError(f"--out {root} cannot be written ({error.strerror}); name another folder.") from error


def _open(root: Path, declaration: Mapping[str, Any], *, resume: bool, force: bool) -> None:
    path = root / "comparison.json"
    declared = {"format": FORMAT, **declaration}
    if root.exists() and not root.is_dir():
        raise ConfigError(f"--out {root} is a file; name a folder.")
    if root.exists() and any(root.iterdir()) and not path.exists():
        raise ConfigError(f"--out {root} holds other files and no comparison; name a new or empty folder.")
    if path.exists() and force:
        shutil.rmtree(root)
    if path.exists():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CorruptRun(
                f"{path} cannot be read ({error}); name another --out, or replace it with --force."
            ) from error
        # Through JSON, as the stored one went, so that tuples and lists compare equal.
        differing = [key for key, value in json.loads(json.dumps(declared)).items() if stored.get(key) != value]
        if differing:
            raise ConfigError(
                f"{root} holds another comparison (it differs in {', '.join(differing)}). Name another --out, or "
                "replace it with --force."
            )
        if not resume:
            raise ConfigError(f"{root} holds this comparison already. Go on with --resume, or replace it with --force.")
        return
    with storage(root):
        root.mkdir(parents=True, exist_ok=True)
    write_json(path, declared)


def run_jobs(
    executor: Executor,
    work: Work,
    todo: Sequence[Job],
    progress: Progress,
    watch: Callable[[Progress], None] | None,
) -> list[tuple[Job, dict[str, Any]]]:
    """Carry out runs, those finished before being read, and return what they stored, in order."""
    found: dict[str, dict[str, Any]] = {}

    def note(job: Job, stored: dict[str, Any]) -> None:
        found[job.folder] = stored
        progress.finished[job.folder] = stored["final_loss"]
        progress.done += 1

    waiting: list[Job] = []
    for job in todo:
        before = read_result(work.root / job.folder)
        if before is None:
            waiting.append(job)
        else:
            note(job, before)
    for job, stored in executor(work, waiting, lambda: watch(progress) if watch else None):
        if stored is not None:
            note(job, stored)
    if watch:
        watch(progress)
    stopped = [job.folder for job in waiting if job.folder not in found]
    if stopped:
        raise TutelageError(f"{len(stopped)} runs were stopped from outside ({stopped[0]}, ...); go on with --resume.")
    return [(job, found[job.folder]) for job in todo]
