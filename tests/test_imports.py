"""Nothing heavy is imported before it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "matplotlib", "datasets", "sklearn", "accelerate", "jax", "lightning", "pandas")

# Runs the statements, then prints which heavy modules are there; output of the command line is thrown away.
PROBE = """
import contextlib, io, json, sys
with contextlib.redirect_stdout(io.StringIO()):
    try:
        {statement}
    except SystemExit as ended:
        if ended.code:
            raise
print(json.dumps([name for name in {heavy!r} if name in sys.modules]))
"""


def imported_by(statement: str) -> list[str]:
    probe = PROBE.format(statement=statement, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads(done.stdout.splitlines()[-1])
    return names


def command(arguments: str) -> str:
    return f"import tutelage.cli; sys.argv = ['tutelage', *{arguments.split()!r}]; tutelage.cli.main()"


@pytest.mark.parametrize(
    "statement",
    [
        "import tutelage",
        "import tutelage.registry, tutelage.cards",
        "import tutelage.schedules._parts, tutelage.optimizers._parts, tutelage.workloads._parts",
        "import tutelage.schedules; tutelage.schedules.from_spec('uba:phi=5', total_steps=10, peak=1.0)(3)",
        "import tutelage.studies; tutelage.studies.status_rows()",
        command("--help"),
        command("train --help"),
        command("compare --help"),
        command("parts"),
        command("parts schedules --json"),
        command("show uba"),
        command("papers"),
        command("papers --json"),
        command("schedule uba:phi=5 cosine --steps 10 --peak 1 --json"),
    ],
)
def test_light(statement: str) -> None:
    assert imported_by(statement) == []


def test_the_probe_sees_heavy_imports() -> None:
    assert "torch" in imported_by("import torch")
