"""Imported by the server that runs to be killed are forked from: a first run loads what every run needs."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.training.toys import toy

from tutelage.training import train

with TemporaryDirectory() as folder:
    train(toy(), "uba:phi=5", budget="2steps", out=Path(folder) / "run")
