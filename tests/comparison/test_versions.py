"""Results of mixed versions: refused where the task itself differs, said where only the packages do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.training.toys import toy

from tutelage.comparison._conclusion import version_notes
from tutelage.comparison.run import compare
from tutelage.errors import ConfigError

ARMS = ["constant", "cosine"]


def test_versions_that_differ_are_named() -> None:
    same = {"python": "3.11.7", "torch": "2.4.0"}
    assert version_notes([]) == version_notes([same, same]) == []
    (note,) = version_notes([same, {"python": "3.11.7", "torch": "2.6.0"}, {"torch": "2.5.1", "numpy": "2.0"}])
    assert "different versions: torch 2.4.0, 2.6.0 and 2.5.1." in note


def test_a_comparison_gone_on_with_by_another_version_says_so(tmp_path: Path) -> None:
    root = tmp_path / "c"
    plain = compare(toy(), ARMS, budget="5steps", seeds=2, jobs=1, out=root)
    record = next((root / "runs").rglob("run.json"))
    stored = json.loads(record.read_text())
    stored["versions"]["torch"] = "1.0.0"
    record.write_text(json.dumps(stored))
    again = compare(toy(), ARMS, budget="5steps", seeds=2, jobs=1, out=root, resume=True)
    (note,) = set(again.notes) - set(plain.notes)
    assert "different versions: torch " in note
    assert "1.0.0" in note
    assert again.comparisons == plain.comparisons


def test_another_version_of_the_workload_is_another_comparison(tmp_path: Path) -> None:
    compare(toy(), ARMS, budget="5steps", seeds=2, jobs=1, out=tmp_path / "c")
    with pytest.raises(ConfigError, match=r"another comparison \(it differs in workloads\)"):
        compare(toy(version=2), ARMS, budget="5steps", seeds=2, jobs=1, out=tmp_path / "c", resume=True)
