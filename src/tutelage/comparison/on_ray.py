"""Runs as tasks of a Ray cluster: Ray places them, replaces lost workers and cancels; run folders lie on a shared path.

A task whose worker or machine is lost is tried again by Ray, and goes on from the run's last checkpoint, so the numbers
are those of a run that nothing happened to.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import tutelage
from tutelage.comparison._executor import Executor, Outcome, Work, noted_interrupt, pack, train_job, unpack
from tutelage.comparison.plan import Job
from tutelage.errors import ConfigError, TutelageError, missing_extra
from tutelage.training.folder import locked

if TYPE_CHECKING:
    from tutelage.workloads import Workload

#: How often Ray starts a run again whose worker was lost.
RETRIES = 3
#: Seconds a cluster has to answer in the language of Ray.
_PATIENCE = 60.0
#: Seconds a file server may need to notice that the machine which held a run folder is gone.
_LEASE = 120.0


def address_of(on: str) -> str:
    """Return the address Ray is to connect to, ``"local"`` to start a cluster of this machine.

    Args:
        on: ``"ray"`` takes ``RAY_ADDRESS``, or a local cluster where that is not set; ``"ray:auto"`` the cluster this
            machine belongs to; ``"ray:HOST:PORT"`` its head; ``"ray://HOST:PORT"`` a Ray client server.

    Raises:
        ConfigError: Neither of these.

    Example:
        >>> address_of("ray:auto"), address_of("ray:head:6379"), address_of("ray://head:10001")
        ('auto', 'head:6379', 'ray://head:10001')
    """
    said, name = ("RAY_ADDRESS", os.environ.get("RAY_ADDRESS") or "local") if on == "ray" else ("on", on)
    address = name if name.startswith("ray://") else name.removeprefix("ray:")
    if address not in ("auto", "local") and _host_and_port(address) is None:
        raise ConfigError(f"{said} must be ray, ray:auto, ray:HOST:PORT or ray://HOST:PORT, got {name}.")
    return address


def _host_and_port(address: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit("//" + address.removeprefix("ray://"))
        return (parts.hostname, parts.port) if parts.hostname and parts.port and not parts.path else None
    except ValueError:
        return None


@contextlib.contextmanager
def connected(on: str) -> Iterator[Executor]:
    """Connect to a cluster, or use the one this process is connected to, and give an executor for it.

    Raises:
        MissingExtra: Ray is not installed.
        ConfigError: The address cannot be used, or nothing answers there.
    """
    address = address_of(on)
    try:
        import ray
    except ImportError:
        raise missing_extra("ray", "cloud", "A comparison on Ray") from None
    if ray.is_initialized():
        yield run_on_ray
        return
    _check_answers(address)
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    # Ray prints news of the cluster, such as a lost worker, to stdout, where the result belongs.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (OSError, RuntimeError, ValueError, ImportError) as error:
            told = " ".join(str(error).split())
            raise ConfigError(
                f"Ray at {address} cannot be used ({told}); it needs the same Ray and Python here and there, and the "
                "cluster's token in RAY_AUTH_TOKEN where it has one."
            ) from error
        try:
            yield run_on_ray
        finally:
            ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse an address that no cluster answers at: Ray itself would try for minutes, or end this process."""
    place = _host_and_port(address)
    if place is not None:
        try:
            socket.create_connection(place, timeout=5.0).close()
        except OSError as error:
            raise ConfigError(
                f"Nothing answers at {address} ({error}); is the Ray cluster up? ray status --address HOST:PORT tells; "
                "ray:auto finds a cluster that this machine belongs to."
            ) from None
    if address == "local" or address.startswith("ray://"):  # Ray gives up on a client server after 30 seconds
        return
    # In a process of its own, as Ray's attempts cannot be ended from inside. Why one failed, the attempt here will say.
    attempt = "import ray, sys; print(flush=True); ray.init(sys.argv[1], log_to_driver=False)"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", attempt, address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            if process.stdout is not None:
                process.stdout.readline()  # importing Ray may take a while and is not the cluster's fault
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise ConfigError(
                f"Something answers at {address}, but not as the head of a Ray cluster within {_PATIENCE:g} seconds; "
                "give the head's own port (6379 unless told otherwise), not that of its dashboard (8265), and for a "
                "Ray client server (10001) write ray://HOST:PORT."
            ) from None
        finally:
            process.kill()


def run_on_ray(work: Work, waiting: Sequence[Job], beat: Callable[[], None]) -> Iterator[Outcome]:
    """Carry out runs as Ray tasks of one CPU each; see :class:`tutelage.comparison._executor.Executor`.

    Where the cluster has accelerators, each task asks for one, unless the loop is told to leave them unused.

    Raises:
        ConfigError: A machine of the cluster does not share the comparison's folder, or cannot load the workload.
    """
    if not waiting:
        return
    import ray

    token = f".shared-{secrets.token_hex(8)}"
    work = replace(work, root=Path(os.path.abspath(work.root)))
    packed = ray.put(pack(work.workloads))
    light = ray.put(replace(work, workloads=(), loop={**work.loop, "threads": 1}))
    accelerated = work.loop.get("device") != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
    task = ray.remote(num_cpus=1, num_gpus=int(accelerated), max_retries=RETRIES, retry_exceptions=False)(_work)
    seen = work.root / token
    seen.touch()
    jobs: dict[Any, Job] = {}
    pending: list[Any] = []
    try:
        with noted_interrupt() as asked:
            for job in waiting:
                reference = task.options(name=job.folder).remote(packed, light, job, token, tutelage.__version__)
                jobs[reference] = job
                pending.append(reference)
            while pending:
                if asked.is_set():
                    raise KeyboardInterrupt
                # All that ended within half a second at once: a look at ten thousand references takes a while.
                done, pending = ray.wait(pending, num_returns=len(pending), timeout=0.5)
                for reference in done:
                    job = jobs.pop(reference)
                    yield job, _stored(reference, job)
                beat()
    finally:
        if pending:  # Ctrl-C, or a run failed: the others save themselves
            for reference in pending:
                ray.cancel(reference)
            ray.wait(pending, num_returns=len(pending), timeout=20)
        seen.unlink(missing_ok=True)


def _stored(reference: Any, job: Job) -> dict[str, Any] | None:
    """Return what a finished task's run stored, or raise what went wrong in terms of the comparison."""
    import ray
    from ray import exceptions

    try:
        stored: dict[str, Any] | None = ray.get(reference)
        return stored
    except exceptions.RayTaskError as error:
        raise error.cause from None
    except exceptions.RayError as error:
        raise TutelageError(
            f"Run {job.folder} lost its worker {RETRIES + 1} times ({' '.join(str(error).split())}); is memory short? "
            "Go on with --resume."
        ) from error


# --- inside a worker of the cluster ----------------------------------------------------------------------------------


def _work(packed: bytes, work: Work, job: Job, token: str, version: str) -> dict[str, Any] | None:
    """Carry out one run on whichever machine Ray chose, or go on with it where a lost worker left it."""
    if version != tutelage.__version__:
        raise ConfigError(
            f"{socket.gethostname()} has tutelage {tutelage.__version__}, not {version} as here: install the same "
            "version on the cluster."
        )
    check_shared(work.root, token)
    folder = work.root / job.folder
    if folder.exists():
        with locked(folder, patience=_LEASE):  # the lost worker may seem to hold it for a while
            pass
    try:
        return train_job(_workloads(packed)[job.workload], job, work)
    except KeyboardInterrupt as asked:
        if str(asked) == "SIGTERM":  # the machine is taken away: the run is saved, and Ray goes on with it elsewhere
            os._exit(1)
        return None  # Ray's cancellation


@functools.lru_cache(maxsize=1)
def _workloads(packed: bytes) -> tuple[Workload, ...]:
    try:
        return unpack(packed)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"The workload cannot be loaded on {socket.gethostname()} ({error}): install what it needs on the cluster."
        ) from error


def check_shared(root: Path, token: str) -> None:
    """Refuse to run on a machine that has another folder in the comparison's place, or may not write to it.

    Args:
        root: The comparison's folder.
        token: Name of a file that is in it.

    Raises:
        ConfigError: Naming the machine and the remedy.
    """
    if not (root / token).exists():
        raise ConfigError(
            f"{socket.gethostname()} does not see {root}: give --out a folder that every machine of the cluster "
            "shares under the same path."
        )
    probe = root / f"{token}-{socket.gethostname()}-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"{socket.gethostname()} cannot write to {root} ({error.strerror}).") from None
