"""Running comparisons: the same start for every arm, tuning apart, interruption and resume, worker processes."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.training.toys import toy

from tutelage.comparison.on_local import default_jobs
from tutelage.comparison.run import compare
from tutelage.errors import ConfigError, CorruptRun, TutelageError
from tutelage.training import read_run

ARMS = ["constant", "cosine", "uba:phi=5"]


def values(result):
    return {arm.name: arm.per_seed for arm in result.arms}


@pytest.fixture(scope="module")
def plain():
    return compare(toy(), ARMS, budget="30steps", seeds=3, jobs=1)


def test_arms_share_first_weights_data_and_order_on_each_seed(plain):
    (cell,) = plain.cells
    assert dict(cell.same) == {"init": True, "data": True, "order": True}
    by_seed = {}
    for run in plain.runs:
        by_seed.setdefault(run.seed, set()).add((run.hashes["init"], run.hashes["order"]))
    assert [len(hashes) for hashes in by_seed.values()] == [1, 1, 1]
    assert len(set.union(*by_seed.values())) == 3


def test_processes_give_the_numbers_of_this_process(plain, tmp_path):
    parallel = compare(toy(), ARMS, budget="30steps", seeds=3, jobs=2, out=tmp_path / "c")
    assert values(parallel) == values(plain)


def test_every_run_spends_the_same(plain):
    assert {(run.steps, run.tokens) for run in plain.runs} == {(30, 30 * 8 * 12)}
    assert plain.cost["tuning_steps"] == 0
    assert plain.cost["train_steps"] == 9 * 30


def test_tuning_picks_the_best_peak_and_is_counted(tmp_path):
    result = compare(
        toy(),
        ["cosine", "constant;peak=0.001"],
        budget="20steps",
        seeds=2,
        tune="1e-5/1e-2",
        jobs=1,
        out=tmp_path / "c",
    )
    peaks = {arm.name: arm.peak for arm in result.arms}
    assert peaks == {"cosine": 1e-2, "constant;peak=0.001": 1e-3}
    assert result.cost["tuning_steps"] == 2 * 20
    assert result.cost["train_steps"] == 4 * 20
    notes = " ".join(result.notes)
    assert "highest tried" in notes
    assert "Not tuned" in notes
    # The peak was chosen on the lowest mean of the tuning runs, on seeds that the comparison does not use.
    tuned = {
        path.parts[-3]: json.loads(path.read_text())["final_loss"]
        for path in (tmp_path / "c/tuning").rglob("result.json")
    }
    assert tuned["peak-0.01"] < tuned["peak-1e-05"]
    assert {read_run(path.parent).seed for path in (tmp_path / "c/tuning").rglob("run.json")}.isdisjoint({0, 1})


def test_an_arm_that_diverges_everywhere_is_named(tmp_path):
    with pytest.raises(TutelageError, match="Arm bad diverged at every peak"):
        compare(
            toy(),
            {"cosine": "cosine;peak=0.01", "bad": "constant;sgd;clip=none"},
            budget="20steps",
            seeds=1,
            tune="1e30/1e35",
            jobs=1,
        )


def test_a_diverged_arm_is_kept_and_ranked_last():
    arms = {"cosine": "cosine", "bad": "constant:peak=1e35;sgd;clip=none"}
    result = compare(toy(), arms, budget="20steps", seeds=2, jobs=1)
    bad = next(arm for arm in result.arms if arm.name == "bad")
    assert bad.rank == 2
    assert bad.diverged_seeds == (0, 1)
    assert "diverged" in str(result)


def test_several_workloads_and_budgets_give_a_cell_each():
    result = compare(
        [toy(), toy(name="other", peak=0.02)], ["cosine", "constant"], budget=["5steps", "10steps"], seeds=2, jobs=1
    )
    assert {(cell.workload, cell.budget) for cell in result.cells} == {
        (w, b) for w in ("toy", "other") for b in ("5steps", "10steps")
    }


def test_resume_reads_finished_runs_and_repeats_nothing(tmp_path):
    first = compare(toy(), ARMS, budget="10steps", seeds=2, jobs=1, out=tmp_path / "c")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "c/runs").rglob("*") if path.is_file()}
    again = compare(toy(), ARMS, budget="10steps", seeds=2, jobs=1, out=tmp_path / "c", resume=True)
    assert values(again) == values(first)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "c/runs").rglob("*") if path.is_file()} == stamps


def test_watch_sees_the_runs_finish():
    seen = []
    compare(
        toy(),
        ["cosine", "constant"],
        budget="5steps",
        seeds=2,
        tune=2,
        jobs=1,
        watch=lambda p: seen.append((p.phase, p.done, p.total)),
    )
    assert seen[-1] == ("runs", 8, 8)
    assert {phase for phase, _, _ in seen} == {"tuning", "runs"}
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_a_workload_that_cannot_travel_is_refused_for_processes_and_runs_here():
    lock = threading.Lock()
    stuck = toy(make_model=lambda: toy().make_model() if lock else None)
    with pytest.raises(ConfigError, match="jobs=1"):
        compare(stuck, ["cosine", "constant"], budget="5steps", seeds=2, jobs=2)
    assert compare(stuck, ["cosine", "constant"], budget="5steps", seeds=2, jobs=1).arms


@pytest.mark.parametrize(
    ("prepare", "error", "fragment"),
    [
        (lambda root: (root / "x").write_text("mine"), ConfigError, "holds other files"),
        (lambda root: (root / "comparison.json").write_text("{broken"), CorruptRun, "--force"),
        (
            lambda root: (root / "comparison.json").write_text('{"format": 1, "seeds": [9]}'),
            ConfigError,
            "it differs in arms",
        ),
    ],
)
def test_a_folder_that_holds_something_else(tmp_path, prepare, error, fragment):
    root = tmp_path / "c"
    root.mkdir()
    prepare(root)
    with pytest.raises(error, match=fragment):
        compare(toy(), ARMS, budget="5steps", seeds=1, out=root, jobs=1)
    assert len(list(root.iterdir())) == 1


def test_a_file_as_folder_and_no_jobs(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(ConfigError, match="is a file"):
        compare(toy(), ARMS, budget="5steps", seeds=1, out=tmp_path / "f")
    with pytest.raises(ConfigError, match=r"f/c cannot be written .Not a directory.; name another folder"):
        compare(toy(), ARMS, budget="5steps", seeds=1, out=tmp_path / "f" / "c")
    with pytest.raises(ConfigError, match="jobs must be >= 1"):
        compare(toy(), ARMS, budget="5steps", seeds=1, jobs=0)
    assert default_jobs() >= 1


STEPS = "800steps"
SCRIPT = """
    import sys
    sys.path.insert(0, {root!r})
    from tests.training.toys import toy
    from tutelage.comparison.run import compare
    compare(toy(), ["constant", "cosine"], budget={steps!r}, seeds=4, jobs={jobs}, out={out!r}, resume=True)
"""


def run_again(out=None):
    return values(
        compare(toy(), ["constant", "cosine"], budget=STEPS, seeds=4, jobs=1, out=out, resume=out is not None)
    )


@pytest.fixture(scope="module")
def straight():
    """What the comparison of the script gives where nothing interrupts it."""
    return run_again()


@contextlib.contextmanager
def started(out: Path, jobs: int) -> Iterator[subprocess.Popen[str]]:
    root = str(Path(__file__).parents[2])
    code = textwrap.dedent(SCRIPT.format(root=root, steps=STEPS, jobs=jobs, out=str(out)))
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition, process, limit=120.0):
    deadline = time.monotonic() + limit
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("jobs", "how"), [(1, signal.SIGINT), (2, signal.SIGINT), (2, signal.SIGKILL)])
def test_interrupted_and_resumed_ends_with_the_same_numbers(tmp_path, straight, jobs, how):
    out = tmp_path / "c"
    with started(out, jobs) as process:
        # While the first of eight runs is under way, so that there is much left to interrupt.
        wait_for(lambda: list(out.rglob("curve.jsonl")), process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(how)
        process.wait(60)
        assert process.returncode != 0
    assert len(list(out.rglob("result.json"))) < 8
    assert run_again(out) == straight
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []  # no worker outlives the comparison it worked for


def test_a_killed_worker_is_replaced(tmp_path, straight):
    out = tmp_path / "c"
    with started(out, 2) as process:

        def workers():
            children = psutil.Process(process.pid).children(recursive=True)
            lines = [(child, " ".join(child.cmdline())) for child in children]
            return [child for child, line in lines if "loky" in line and "tracker" not in line]

        wait_for(lambda: list(out.rglob("curve.jsonl")) and workers(), process)
        workers()[0].kill()
        assert process.wait(120) == 0, process.stderr.read()
    assert run_again(out) == straight
