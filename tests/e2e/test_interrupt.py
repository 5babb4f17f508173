"""Ctrl-C at the command line: what was done is saved, and the command that goes on is printed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

START = [sys.executable, "-c", "import tutelage.cli; tutelage.cli.main()"]
WORDS = {
    "train": ["train", "--workload", "digits:net=mlp", "--budget", "200000steps"],
    "compare": [
        "compare",
        "--workload",
        "digits:net=mlp",
        "--arm",
        "constant",
        "--arm",
        "cosine",
        "--jobs",
        "1",
        "--budget",
        "200000steps",
        "--seeds",
        "1",
    ],
}


@pytest.mark.parametrize("verb", WORDS)
def test_it_says_how_to_go_on(verb: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*START, *WORDS[verb], "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in out.rglob("curve.jsonl")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    shown, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert shown == ""
    (line,) = [line for line in said.splitlines() if "Interrupted." in line]
    assert f"--out {out}" in line
    assert line.endswith("--resume")
