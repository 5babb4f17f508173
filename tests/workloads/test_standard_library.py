"""The embedded text: there, the same each time, and big enough to learn from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tutelage.errors import DataNotFound
from tutelage.workloads import _standard_library
from tutelage.workloads._standard_library import FAMILIES, standard_library_passages, standard_library_text


def test_there_are_some_megabytes_of_prose_and_code() -> None:
    texts = list(standard_library_text().texts("text"))
    assert 2_000_000 < sum(map(len, texts)) < 5_000_000
    assert len(texts) > 200
    assert any("Assignment statements" in text for text in texts)  # the language reference
    assert any(text.startswith("doctest\n\nModule doctest -- a framework") for text in texts)  # docstrings
    assert sum(map(len, (text for text in texts if "\nimport " in text or "\nfrom " in text))) > 1_000_000  # source
    assert len(set(texts)) == len(texts)


def test_no_module_is_shown_both_as_source_and_as_docstrings() -> None:
    texts = list(standard_library_text().texts("text"))
    marked = [text for text in texts if "Lightweight XML support for Python." in text]
    assert len(marked) == 1


def test_another_process_makes_the_same(tmp_path: Path) -> None:
    script = (
        "from tutelage.workloads._standard_library import *\n"
        "print(standard_library_text().digest, standard_library_passages().digest)"
    )
    environment = {**os.environ, "TUTELAGE_CACHE": str(tmp_path), "PYTHONHASHSEED": "7"}
    made = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert made.stdout.split() == [standard_library_text().digest, standard_library_passages().digest]


def test_passages_have_seven_labels_and_no_twin() -> None:
    rows = [row for _, row in standard_library_passages().rows(["text", "label"])]
    counts = Counter(row["label"] for row in rows)
    assert set(counts) == set(FAMILIES)
    assert len(FAMILIES) == 7
    assert min(counts.values()) > 200
    assert len({row["text"] for row in rows}) == len(rows) > 5_000
    assert all(55 <= len(row["text"]) <= 600 for row in rows)


def test_no_module_has_two_families() -> None:
    modules = [module for family in FAMILIES.values() for module in family]
    assert len(modules) == len(set(modules))


def test_a_python_without_sources_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_standard_library.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(DataNotFound, match=r"holds hardly any; give a text of your own: data=PATH"):
        standard_library_text()


def test_what_is_no_module_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(120):
        (tmp_path / f"m{number}.py").write_text(f'"""Module {number} says so."""\n')
    (tmp_path / "template.py").write_text("this is {no} module")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "m.py").write_text('"""A test."""')
    (tmp_path / "json.py").write_text(f'def load():\n    """{"Reads a file. " * 9}"""\n')
    monkeypatch.setattr(_standard_library.sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    texts = list(standard_library_text().texts("text"))
    assert "m7\n\nModule 7 says so.\n\n" in texts
    assert not [text for text in texts if "A test" in text or "{no}" in text]
    rows = [row for _, row in standard_library_passages().rows(["text", "label"])]
    assert rows == [{"text": ("Reads a file. " * 9).strip(), "label": "files"}]
