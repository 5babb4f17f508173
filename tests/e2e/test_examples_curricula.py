"""The scripts of examples/curricula run as a user would run them, offline, and their orders arrive."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "curricula"
NUMBER = r"-?\d+(?:\.\d+)?"


def numbers_of(script: str, folder: Path, needs: str) -> list[float]:
    """Run a script and return the numbers in the last line it prints."""
    if find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    # A script is given a folder of its own: what it left there would be a surprise to its user.
    done = subprocess.run(
        [sys.executable, str(FOLDER / script)],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(folder.iterdir()) == []
    return [float(number) for number in re.findall(NUMBER, done.stdout.strip().splitlines()[-1])]


def test_transformers_trainer(tmp_path: Path) -> None:
    first, last = numbers_of("transformers_trainer.py", tmp_path, "transformers")
    assert first < last == 40


def test_trl_sft(tmp_path: Path) -> None:
    first, second = numbers_of("trl_sft.py", tmp_path, "trl")
    assert first < second


def test_trl_grpo(tmp_path: Path) -> None:
    steps, center, prompts = numbers_of("trl_grpo.py", tmp_path, "trl")
    assert (steps, prompts) == (10, 60)
    assert 0 < center <= 59


def test_sentence_transformers_trainer(tmp_path: Path) -> None:
    found = numbers_of("sentence_transformers_trainer.py", tmp_path, "sentence_transformers")
    assert len(found) == 16
    assert sum(found[:8]) < sum(found[8:])


def test_every_script_is_run_and_short() -> None:
    scripts = sorted(FOLDER.glob("*.py"))
    here = Path(__file__).read_text(encoding="utf-8")
    assert scripts
    for script in scripts:
        assert f'"{script.name}"' in here, f"{script.name} has no test"
        assert len(script.read_text(encoding="utf-8").splitlines()) < 60, f"{script.name} is long for an example"
