"""The status table follows the parts' sources, the study files and the stored results."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import CorruptRun
from tutelage.studies import status_rows


def store(folder: Path, name: str, **result: Any) -> None:
    (folder / "results").mkdir(exist_ok=True)
    whole = {"paper": 1, "scale": "full", "verdict": "holds", "effect": 0.5, "date": "2026-01-31"} | result
    (folder / "results" / name).write_text(json.dumps(whole))


def test_parts_come_from_their_sources() -> None:
    rows = status_rows()
    assert [row.paper.number for row in rows] == list(range(1, 77))
    assert rows[0].parts == ("schedules:uba",)
    # A dialogue-rewriting method: nothing here could name it by mistake.
    assert rows[69].parts == ()


def test_an_empty_folder_has_no_study_and_no_verdict(tmp_path: Path) -> None:
    for row in status_rows(tmp_path):
        assert (row.study, row.verdict, row.scale, row.effect, row.date) == (None,) * 5


def test_study_files_and_results_are_read(tmp_path: Path) -> None:
    (tmp_path / "p07_autolrs.py").touch()
    (tmp_path / "papers.py").touch()
    store(tmp_path, "p07.json", paper=7, verdict="inconclusive", effect=-0.002, scale="quick")
    row = status_rows(tmp_path)[6]
    assert (row.study, row.verdict, row.scale, row.effect) == ("p07_autolrs", "inconclusive", "quick", -0.002)
    assert row.to_json()["study"] == "p07_autolrs"
    assert status_rows(tmp_path)[0].study is None


def test_the_larger_scale_counts_then_the_later_day(tmp_path: Path) -> None:
    store(tmp_path, "a.json", verdict="holds", scale="full", date="2026-01-01")
    store(tmp_path, "b.json", verdict="does not hold", scale="full", date="2026-02-01")
    store(tmp_path, "c.json", verdict="inconclusive", scale="quick", date="2026-03-01")
    row = status_rows(tmp_path)[0]
    assert (row.verdict, row.scale, row.date) == ("does not hold", "full", "2026-02-01")


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("{", "p.json cannot be read (JSONDecodeError"),
        ("[1]", "p.json cannot be read (TypeError"),
        ("{}", "p.json cannot be read (KeyError"),
        ('{"paper": 77, "scale": "full", "verdict": "holds", "effect": 0, "date": ""}', "got holds, full and 77"),
        ('{"paper": 1, "scale": "huge", "verdict": "holds", "effect": 0, "date": ""}', "got holds, huge and 1"),
        ('{"paper": 1, "scale": "full", "verdict": "true", "effect": 0, "date": ""}', "run its study again"),
        ('{"paper": 1, "scale": "full", "verdict": "holds", "effect": "big", "date": ""}', "ValueError"),
    ],
)
def test_a_damaged_result_is_named(tmp_path: Path, content: str, fragment: str) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/p.json").write_text(content)
    with pytest.raises(CorruptRun, match=re.escape(fragment)):
        status_rows(tmp_path)


def test_the_row_as_an_object_is_flat() -> None:
    row = status_rows()[1].to_json()
    assert row["slot"] == "schedules, merging"
    assert all(value is None or isinstance(value, (str, int, float)) for value in row.values())
    json.dumps(row)
