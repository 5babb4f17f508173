"""Two real processes (gloo) make the run that one makes: the same data order, metrics and weights."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.two_processes import RUNS, run

from tutelage.training import read_curve, train
from tutelage.training.checkpoint import checkpoints, load
from tutelage.workloads import from_spec


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def two(root: Path, tmp_path_factory) -> tuple[Path, list[dict]]:
    out = tmp_path_factory.mktemp("two")
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.two_processes", str(out)],
            cwd=root,
            stderr=subprocess.PIPE,
            text=True,
            # What torchrun and accelerate launch say to each process they start.
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"},
        )
        for rank in range(2)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    facts = [json.loads((out / f"rank-{rank}.json").read_text()) for rank in range(2)]
    assert [fact["world"] for fact in facts] == [2, 2]
    return out, facts


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("one")
    for name in RUNS:
        run(name, out)
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load(checkpoints(folder / "checkpoint")[-1])[0]


@pytest.mark.parametrize("name", RUNS)
def test_the_same_data_order_and_first_weights(two, one: Path, name: str) -> None:
    _, facts = two
    alone = json.loads((one / name / "result.json").read_text())
    for fact in facts:
        assert fact["runs"][name]["hashes"] == alone["hashes"]
        for count in ("steps", "examples", "tokens"):
            assert fact["runs"][name][count] == alone[count]
        for count in ("train_steps", "search_steps", "evaluations", "search_evaluations"):
            assert fact["runs"][name]["cost"][count] == alone["cost"][count]


@pytest.mark.parametrize("name", ["plain", "accumulated", "uneven"])
def test_the_same_curve_metrics_and_weights(two, one: Path, name: str) -> None:
    out, facts = two
    alone = json.loads((one / name / "result.json").read_text())
    # Sums of gradients in another order: 1e-7 an update, and Adam's division enlarges it.
    for metric, value in alone["metrics"].items():
        assert facts[0]["runs"][name]["metrics"][metric] == pytest.approx(value, rel=1e-4)
    expected = weights(one / name)
    for key, tensor in weights(out / name).items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-4, atol=1e-5)
    here, there = read_curve(one / name), read_curve(out / name)
    np.testing.assert_array_equal(there["lr"], here["lr"])
    for column in ("loss", "val_loss"):
        np.testing.assert_allclose(there[column], here[column], rtol=1e-4)


def test_processes_agree_with_each_other(two) -> None:
    _, facts = two
    for name in RUNS:
        left, right = (fact["runs"][name] for fact in facts)
        assert left["final_loss"] == right["final_loss"]


def test_running_means_are_those_of_the_checkpoint(two) -> None:
    """Each process has means of its own examples; what is evaluated is what is stored."""
    out, facts = two
    from tests.training.toys import Rows, make_normed_model, measure

    model = make_normed_model()
    model.load_state_dict(weights(out / "buffers"))
    model.eval()
    with torch.no_grad():
        total, count = measure(model, Rows(57, 1).batch(np.arange(57)))["loss"]
    assert facts[0]["runs"]["buffers"]["final_loss"] == pytest.approx(total / count, rel=1e-5)


def test_a_search_agrees(two) -> None:
    _, facts = two
    assert facts[0]["runs"]["search"]["final_loss"] is not None
    assert facts[0]["runs"]["search"]["cost"]["search_evaluations"] > 0


def test_seconds_and_extensions(two) -> None:
    out, facts = two
    assert facts[0]["timed"]["steps"] == facts[1]["timed"]["steps"] > 1
    assert facts[0]["timed"]["final_loss"] == facts[1]["timed"]["final_loss"]
    assert checkpoints(out / "timed" / "checkpoint")
    assert facts[0]["extended"]["steps"] == facts[1]["extended"]["steps"] == 18
    assert len(read_curve(out / "dropout")["step"]) == 18


def test_a_batch_that_cannot_be_dealt_out_is_refused(two) -> None:
    for fact in two[1]:
        assert fact["refused"].startswith("batch_size must be a multiple of processes x accumulate (2 x 1), got 9")


def test_torchrun_starts_the_command_line_and_one_process_speaks(root: Path, tmp_path: Path) -> None:
    words = ["train", "--workload", "digits:net=mlp", "--recipe", "cosine;batch_size=16", "--budget", "12steps"]
    words += ["--out", str(tmp_path / "run"), "--json"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    command += [sys.executable, "-W", "ignore", "-c", "import tutelage.cli; tutelage.cli.main()", *words]
    done = subprocess.run(command, cwd=root, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["steps"] == 12
    alone = train(
        from_spec("digits:net=mlp").prepare(), "cosine;batch_size=16", budget="12steps", out=tmp_path / "alone"
    )
    assert found["hashes"] == alone.hashes
    assert found["final_loss"] == pytest.approx(alone.final_loss, rel=1e-4)
