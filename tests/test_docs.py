"""The documentation agrees with the code, and every card is complete."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tutelage
from tutelage.cards import SECTIONS, read_card, split_docstring, split_items
from tutelage.errors import ConfigError
from tutelage.registry import FAMILIES, PartEntry, entries
from tutelage.studies.status import own_parts

PARTS = [pytest.param(entry, id=f"{entry.family}:{entry.name}") for entry in own_parts()]
GENERATED = ("parts.md", "status.md", "studies.md", "reference.md", "benchmarks.md", "cards")
PUBLIC = ["tutelage", *(f"tutelage.{name}" for name in (*FAMILIES, "training", "comparison", "studies"))]


def generate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "generate.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_generated_pages_are_fresh(root: Path) -> None:
    done = generate(root / "docs", "--check")
    assert done.returncode == 0, done.stderr


def test_check_names_stale_missing_and_surplus_pages(root: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(root / "docs", docs)
    shutil.copytree(root / "benchmarks/results", tmp_path / "benchmarks/results")
    shutil.copy(root / "README.md", tmp_path)
    (docs / "parts.md").write_text("typed by hand\n")
    (docs / "cards/schedules/uba.md").unlink()
    (docs / "cards/schedules/gone.md").write_text("a part that is no more\n")
    done = generate(docs, "--check")
    assert done.returncode == 1
    assert re.findall(r"stale: (\S+);", done.stderr) == [
        "docs/cards/schedules/uba.md",
        "docs/parts.md",
        "docs/cards/schedules/gone.md",
    ]
    assert generate(docs).returncode == 0
    for name in GENERATED:
        for page in [docs / name, *(docs / name).rglob("*.md")]:
            if page.is_file():
                assert page.read_bytes() == (root / "docs" / page.relative_to(docs)).read_bytes()
    assert not (docs / "cards/schedules/gone.md").exists()


@pytest.mark.parametrize("entry", PARTS)
def test_card_is_complete(entry: PartEntry) -> None:
    card = read_card(entry)
    needed = set(SECTIONS)
    if not card.arguments:
        needed -= {"Args"}
    if entry.family == "workloads":
        # A workload is data, not a formula; what it returns is the same for all.
        needed -= {"Returns"}
    else:
        assert card.has_formula
    assert needed <= set(card.sections), f"lacks {needed - set(card.sections)}"
    assert all(card.sections[name].strip() for name in needed)
    assert card.summary.endswith(".")


@pytest.mark.parametrize("entry", PARTS)
def test_card_tells_of_every_argument_and_no_other(entry: PartEntry) -> None:
    card = read_card(entry)
    documented = split_items(card.sections.get("Args", ""))
    accepted = set(inspect.signature(entry.load()).parameters)
    assert set(documented) == accepted == {argument.name for argument in card.arguments}
    assert all(argument.meaning for argument in card.arguments)


@pytest.mark.parametrize("entry", PARTS)
def test_card_has_an_example_that_runs(entry: PartEntry) -> None:
    example = read_card(entry).sections["Example"]
    ran = [line for line in example.splitlines() if line.startswith(">>>") and "+SKIP" not in line]
    assert ran, "no line of the example is run as a test"


@pytest.mark.parametrize("module_name", PUBLIC)
def test_public_names_are_documented(module_name: str, root: Path) -> None:
    module = importlib.import_module(module_name)
    reference = (root / "docs/reference.md").read_text()
    section = reference.split(f"## {module_name}\n")[1].split("\n## ")[0]
    for name in module.__all__:
        if name.startswith("__"):
            continue
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            # A dataclass without a docstring gets its signature as one.
            assert value.__doc__, f"{module_name}.{name} has no docstring"
            assert not value.__doc__.startswith(f"{name}("), f"{module_name}.{name} has no docstring"
        assert f"| `{name}` |" in section


#: Parts that a spec writes without their name: phases are joined by ``+``.
UNNAMED = {"phases"}


def test_every_part_file_is_listed() -> None:
    """A file of a family that holds a part with a spec name must have its line in ``_parts``."""
    for family in FAMILIES:
        listed = {entry.target.partition(":")[0].rpartition(".")[2] for entry in entries(family).values()}
        folder = Path(str(importlib.import_module(f"tutelage.{family}").__file__)).parent
        holding = {
            file.stem for file in folder.glob("[a-z]*.py") if re.search(r"^ +spec_name\b.*= ", file.read_text(), re.M)
        }
        assert holding - UNNAMED <= listed, f"{family}: not in _parts.py: {holding - UNNAMED - listed}"


def test_pages_exist_for_what_the_navigation_names(root: Path) -> None:
    pages = re.findall(r"^\s+- .*: (\S+\.md)$", (root / "mkdocs.yml").read_text(), re.M)
    assert len(pages) >= 9
    assert [page for page in pages if not (root / "docs" / page).exists()] == []


@pytest.mark.parametrize(
    ("docstring", "opening", "sections"),
    [
        ("One line.", "One line.", {}),
        ("Sum.\n\n    Args:\n        a: First\n            goes on.\n", "Sum.", {"Args": "a: First\n    goes on."}),
        ("Sum.\n\n    Source: X, 2020.\n", "Sum.", {"Source": "X, 2020."}),
        ("Sum.\n\n    Examples:\n        >>> 1\n        1\n", "Sum.", {"Example": ">>> 1\n1"}),
        ("Sum.\n\n    Raises:\n        E: If.\n\n    Tail text.", "Sum.\n\nTail text.", {"Raises": "E: If."}),
        ("Sum.\n\n    Note well: no section.\n", "Sum.\n\nNote well: no section.", {}),
    ],
)
def test_docstrings_are_split(docstring: str, opening: str, sections: dict[str, str]) -> None:
    found_opening, found = split_docstring(docstring)
    assert re.sub(r"\n{2,}", "\n\n", found_opening) == opening
    assert found == sections


def test_items_are_split() -> None:
    text = "a, b: Both,\n    here.\n*rest: Others: more.\nc (int): Old style."
    assert split_items(text) == {"a": "Both, here.", "b": "Both, here.", "rest": "Others: more.", "c": "Old style."}


@pytest.mark.parametrize("target", ["tutelage.schedules.uba:Missing", "tutelage.no_such:X", "math:X"])
def test_a_target_without_a_class_is_named(target: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(target)):
        read_card(PartEntry("schedules", "x", target))


def test_uba_card_is_read_without_importing_it() -> None:
    card = read_card(entries("schedules")["uba"])
    assert card.title == "UBA"
    assert card.arxiv == ("2505.24452",)
    phi = next(argument for argument in card.arguments if argument.name == "phi")
    assert (phi.type, phi.default) == ("float", "2.0")
    assert card.arguments[0].default is None


def test_markdown_of_docstring_markup(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("generate", root / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate_module = importlib.util.module_from_spec(spec)
    monkeypatch.syspath_prepend(str(root / "docs"))
    spec.loader.exec_module(generate_module)
    text = "A ``x`` < :class:`~a.B`::\n\n    f = 1\n\nSee arXiv 2505.24452.\n\n>>> 1 + 1\n2\n"
    assert generate_module.to_markdown(text) == (
        "A `x` &lt; `B`:\n\n```text\nf = 1\n```\n\n"
        "See [arXiv 2505.24452](https://arxiv.org/abs/2505.24452).\n\n```pycon\n>>> 1 + 1\n2\n```"
    )


def test_version_is_the_same_everywhere(root: Path) -> None:
    assert f"\nversion: {tutelage.__version__}\n" in (root / "CITATION.cff").read_text()
