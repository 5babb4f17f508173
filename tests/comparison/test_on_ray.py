"""Runs on a Ray cluster: the numbers of this machine's, through lost workers, Ctrl-C and resume; what is refused."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.e2e.cli import CommandLine
from tests.training.toys import toy

from tutelage.comparison.on_ray import address_of, check_shared
from tutelage.comparison.racing import read_race
from tutelage.comparison.run import compare
from tutelage.errors import ConfigError, MissingExtra

ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason='needs Ray: pip install "tutelage[cloud]"'
)


def values(result):
    return {arm.name: arm.per_seed for arm in result.arms}


# --- addresses and refusals ------------------------------------------------------------------------------------------


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert address_of("ray") == "local"
    assert address_of("ray:auto") == "auto"
    assert address_of("ray:10.0.0.1:6379") == "10.0.0.1:6379"
    assert address_of("ray:[::1]:6379") == "[::1]:6379"
    assert address_of("ray://head:10001") == "ray://head:10001"
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    assert address_of("ray") == "ray://head:10001"
    assert address_of("ray:auto") == "auto"


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"on": "rey"}, "on must be local, ray, ray:auto, ray:HOST:PORT or ray://HOST:PORT, got rey"),
        ({"on": "ray:head"}, "ray:HOST:PORT or ray://HOST:PORT, got ray:head"),
        ({"on": "ray://head"}, "got ray://head"),
        ({"on": "ray:head:port"}, "got ray:head:port"),
        ({"on": "ray:head:70000"}, "got ray:head:70000"),
        ({"on": "ray", "jobs": 2}, "jobs counts processes of this machine, got 2 with on=ray"),
        ({"on": "local", "jobs": 0}, "jobs must be >= 1, got 0"),
    ],
)
def test_what_is_refused_before_anything_is_written(tmp_path: Path, arguments, fragment: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compare(toy(), ["cosine", "constant"], budget="5steps", out=tmp_path / "c", **arguments)
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "c").exists()


def test_the_command_line_passes_it_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    run = CommandLine(monkeypatch, capsys)
    declared = ("--workload", "digits:net=mlp", "--arm", "cosine", "--arm", "constant", "--budget", "5steps")
    for words, fragment in (
        (("compare", *declared, "--on", "rey"), "got rey"),
        (("compare", *declared, "--on", "ray", "--jobs", 2), "got 2 with on=ray"),
        (("compare", "--from", "results.csv", "--on", "ray"), "takes no --on"),
        (("race", *declared, "--target", "digits:net=mlp=1.0", "--on", "rey"), "got rey"),
        (("race", *declared, "--target", "digits:net=mlp=1.0", "--on", "ray", "--jobs", 2), "got 2 with on=ray"),
    ):
        outcome = run(*words)
        assert outcome.code == 2
        assert fragment in outcome.err
        assert len(outcome.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_address_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "somewhere")
    with pytest.raises(ConfigError, match=r"^RAY_ADDRESS must be .* got somewhere"):
        address_of("ray")


def test_missing_ray_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r'needs ray: pip install "tutelage\[cloud\]"'):
        compare(toy(), ["cosine", "constant"], budget="5steps", on="ray", out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_folder_that_is_not_shared_or_not_writable(tmp_path: Path) -> None:
    (tmp_path / "token").touch()
    check_shared(tmp_path, "token")
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
    with pytest.raises(ConfigError, match=f"{socket.gethostname()} does not see {tmp_path}: give --out a folder"):
        check_shared(tmp_path, "another")
    if Path("/proc/self/status").exists():  # a folder in which nobody can make a file
        with pytest.raises(ConfigError, match="cannot write to /proc/self"):
            check_shared(Path("/proc/self"), "status")


# --- on a cluster of two CPUs ----------------------------------------------------------------------------------------

CLUSTER = """
    import sys
    import ray
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
"""
DRIVER = """
    import sys
    sys.path.insert(0, {root!r})
    from tests.training.toys import toy
    from tutelage.comparison.run import compare
    settings = {{"checkpoint_every": 100}}
    try:
        result = compare(
            toy(), ["constant", "cosine"], budget={budget!r}, seeds={seeds}, on={on!r}, out={out!r}, resume=True,
            settings=settings,
        )
    except Exception as error:
        print(type(error).__name__, error)
        raise SystemExit(1)
"""
STEPS = "1200steps"
SEEDS = 3
#: Seconds for what takes a few on a machine of its own.
LIMIT = 240.0
#: Cluster and drivers share a token, as Ray asks for; workers do not stand back behind other tests.
RAY = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_worker_niceness": "0"}


def environment(**more: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"} | RAY | more


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, psutil.Process]]:
    """Address and process of a Ray cluster that other processes connect to, as on a real one."""
    command = [sys.executable, "-c", textwrap.dedent(CLUSTER)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, env=environment(), **pipes) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        tree = psutil.Process(process.pid)
        yield address, tree
        children = tree.children(recursive=True)
        process.stdin.close()
        process.wait(60)
    for child in psutil.wait_procs(children, timeout=20)[1]:
        child.kill()


@pytest.fixture(scope="module")
def straight() -> dict[str, tuple[float | None, ...]]:
    """What the comparison of the driver gives in this process, where nothing interrupts it."""
    return values(compare(toy(), ["constant", "cosine"], budget=STEPS, seeds=SEEDS, jobs=1))


@contextlib.contextmanager
def driver(out: Path, on: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    arguments = {"root": str(ROOT), "budget": STEPS, "seeds": SEEDS, "on": on, "out": str(out)}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER.format(**arguments))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read(out: Path) -> dict[str, tuple[float | None, ...]]:
    """Return the values of a comparison, made here where any is missing."""
    return values(compare(toy(), ["constant", "cosine"], budget=STEPS, seeds=SEEDS, jobs=1, out=out, resume=True))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers(tree: psutil.Process) -> dict[str, psutil.Process]:
    """Return the processes of the cluster by the run they carry out; Ray gives them the name of their task."""
    found = {}
    for child in tree.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            title = " ".join(child.cmdline()).strip()
            if title.startswith("ray::runs/"):
                found[title.removeprefix("ray::")] = child
    return found


def has_checkpoint(run: Path) -> bool:
    return bool(list(run.glob("checkpoint/*/model.safetensors"))) and not (run / "result.json").exists()


@needs_ray
@pytest.mark.slow
def test_lost_workers_are_replaced_and_their_runs_go_on(cluster, straight, tmp_path: Path) -> None:
    address, tree = cluster
    out = tmp_path / "c"
    with driver(out, f"ray:{address}") as process:
        runs = []
        for how in (signal.SIGKILL, signal.SIGTERM):  # a crash, and a machine that is taken away
            wait_for(lambda: any(has_checkpoint(out / run) for run in workers(tree)), process)
            run, worker = next((run, worker) for run, worker in workers(tree).items() if has_checkpoint(out / run))
            worker.send_signal(how)
            worker.wait(30)
            assert not (out / run / "result.json").exists()
            runs.append(run)
        said, problems = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, (said, problems)
    assert said == ""  # stdout is for the result; Ray's own words go to stderr
    assert problems.count("retries remaining") >= 1
    assert all((out / run / "result.json").exists() for run in runs)
    assert read(out) == straight


@needs_ray
@pytest.mark.slow
def test_interrupted_and_resumed_ends_with_the_same_numbers(cluster, straight, tmp_path: Path) -> None:
    address, tree = cluster
    out = tmp_path / "c"
    with driver(out, "ray", RAY_ADDRESS=address) as process:
        wait_for(lambda: bool(list(out.rglob("curve.jsonl")) and workers(tree)), process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    done = len(list(out.rglob("result.json")))
    assert done < 2 * SEEDS
    assert list(out.rglob("checkpoint/*/model.safetensors"))  # the runs in hand have saved themselves
    assert workers(tree) == {}
    assert not list(out.glob(".shared-*"))
    assert read(out) == straight


@needs_ray
def test_an_address_that_nothing_answers_at(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for on in (f"ray:127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(ConfigError, match=f"Nothing answers at .*127.0.0.1:{port} .*; is the Ray cluster up"):
            compare(toy(), ["cosine", "constant"], budget="5steps", on=on, out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


@needs_ray
def test_an_address_that_answers_and_is_not_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.comparison.on_ray._PATIENCE", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"Something answers at {address}, but not as the head of a Ray cluster"):
            compare(toy(), ["cosine", "constant"], budget="5steps", on=f"ray:{address}", out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


@needs_ray
@pytest.mark.slow
def test_a_race_on_ray_gives_the_numbers_of_this_machine(cluster, tmp_path: Path) -> None:
    address, _ = cluster
    words = ["race", "--workload", "digits:net=mlp", "--arm", "adam=cosine;adamw;peak={peak}", "--arm", "flat=constant"]
    words += ["--space", "peak=log:1e-3..1e-2", "--budget", "20steps", "--studies", "1", "--trials", "2", "--json"]
    words += ["--baseline", "flat", "--target-repeats", "2", "--quiet"]
    found = []
    for name, where in (("ray", ["--on", f"ray:{address}"]), ("here", ["--jobs", "1"])):
        command = [
            sys.executable,
            "-c",
            "from tutelage.cli import main; main()",
            *words,
            "--out",
            str(tmp_path / name),
            *where,
        ]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=LIMIT)
        assert done.returncode == 0, done.stderr
        made = read_race(tmp_path / name)
        assert json.loads(done.stdout)["cost"] == made.cost
        found.append([(run.arm, run.trial, run.recipe, run.best, run.times["steps"]) for run in made.runs])
    assert len(found[0]) == 3
    assert found[0] == found[1]
