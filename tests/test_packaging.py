"""What is installed is what the project says; what is in the repository is readable, small and safe."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

import tutelage
from tutelage.registry import FAMILIES, entries

#: A repository is cloned by everybody: no file above this.
LARGEST = 500_000
#: Reading these runs code that the file brings; ``torch.load`` may do it with ``weights_only``.
UNSAFE = re.compile(r"\b(pickle|cloudpickle|joblib|dill)\.loads?\(|\btorch\.load\((?!.*weights_only=True)")
#: A comparison hands its workloads, which may hold functions, to its own worker processes in a private folder.
OWN_PROCESSES = {"comparison/_executor.py"}


@pytest.fixture(scope="session")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def repository_files(root: Path) -> list[Path]:
    """Every file that is, or is about to be, in the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout, so nothing says which files belong to it")
    return [path for name in listed.split("\0") if name and (path := root / name).is_file()]


def test_entry_points_resolve(project: dict[str, Any]) -> None:
    for target in project["project"]["scripts"].values():
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_listed_part_resolves(family: str) -> None:
    assert entries(family)
    for entry in entries(family).values():
        assert isinstance(entry.load(), type)
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)


def test_parts_tables_are_sorted() -> None:
    for family in FAMILIES:
        names = list(importlib.import_module(f"tutelage.{family}._parts").PARTS)
        assert names == sorted(names)


def test_installed_version_is_the_source_version() -> None:
    assert importlib.metadata.version("tutelage") == tutelage.__version__


def test_package_data_is_found() -> None:
    package = Path(str(tutelage.__file__)).parent
    assert (package / "py.typed").is_file()
    assert (package / "studies/papers.csv").is_file()


def test_constraints_meet_the_ranges(root: Path, project: dict[str, Any]) -> None:
    lines = (root / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {name.lower().replace("_", "-"): version for name, version in pinned.items()}
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *(item for extra in ("dev", "mutate") for item in extras[extra])]
    for requirement in map(Requirement, wanted):
        version = pinned.get(requirement.name.lower().replace("_", "-"))
        assert version is not None, f"{requirement.name} has no exact version in constraints.txt"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} excludes {version}"
    # A local tag would bind the project to one index.
    assert not [name for name, version in pinned.items() if "+" in version]


def test_files_are_small_and_end_in_a_line(repository_files: list[Path]) -> None:
    for path in repository_files:
        content = path.read_bytes()
        assert len(content) <= LARGEST, f"{path} has {len(content)} bytes"
        if b"\0" not in content[:8192] and content:
            assert content.endswith(b"\n"), f"{path} does not end in a line feed"
            assert b"\r\n" not in content, f"{path} has Windows line ends"


def test_toml_and_yaml_are_valid(repository_files: list[Path]) -> None:
    for path in repository_files:
        if path.suffix == ".toml" and "data" not in path.parts:
            tomllib.loads(path.read_text())
        elif path.suffix in (".yaml", ".yml", ".cff"):
            assert yaml.safe_load(path.read_text())


def test_nothing_stored_is_unpickled(repository_files: list[Path], root: Path) -> None:
    source = root / "src/tutelage"
    allowed = {source / name for name in OWN_PROCESSES}
    for path in repository_files:
        if path.suffix == ".py" and source in path.parents and path not in allowed:
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                assert not UNSAFE.search(line), f"{path}:{number} unpickles: {line.strip()}"


def test_no_path_of_one_machine(repository_files: list[Path]) -> None:
    pattern = re.compile(rb"(?<![\w.$])/(?:home|Users|work|root)/\w")
    here = Path(__file__)
    found = [path for path in repository_files if path != here and pattern.search(path.read_bytes())]
    assert found == []
