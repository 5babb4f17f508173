from __future__ import annotations

import pytest
from tests.e2e.cli import CommandLine


@pytest.fixture
def run(monkeypatch, capsys, tmp_path) -> CommandLine:
    """The command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return CommandLine(monkeypatch, capsys)
