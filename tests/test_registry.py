"""Families and their parts, plug-ins included."""

from __future__ import annotations

import importlib.metadata
import types

import pytest

from tutelage import registry
from tutelage.errors import ConfigError, MissingExtra, UnknownPart
from tutelage.registry import FAMILIES, PartEntry, entries, find


@pytest.mark.parametrize("family", FAMILIES)
def test_every_part_listed_is_a_class_that_can_be_imported(family: str) -> None:
    listed = entries(family)
    assert list(listed) == sorted(listed)
    for name, entry in listed.items():
        assert (entry.family, entry.name) == (family, name)
        assert isinstance(entry.load(), type)


def test_a_part_is_found_by_name() -> None:
    from tutelage.schedules import UBA

    assert find("schedules", "uba") == PartEntry("schedules", "uba", "tutelage.schedules.uba:UBA")
    assert find("schedules", "uba").load() is UBA


@pytest.mark.parametrize(("family", "name", "message"), [
    ("schedules", "ubba", 'No schedule "ubba". Did you mean "uba"? All: tutelage parts schedules'),
    ("optimizers", "qqq", 'No optimizer "qqq". All: tutelage parts optimizers'),
    ("schedule", "uba", 'No family "schedule". Did you mean "schedules"? All: schedules, optimizers, workloads'),
])  # fmt: skip
def test_unknown_names(family: str, name: str, message: str) -> None:
    with pytest.raises(UnknownPart) as caught:
        find(family, name)
    assert message in str(caught.value)


@pytest.fixture
def plugin(monkeypatch):
    """Offer entry points as an installed package would."""

    def offer(*points: tuple[str, str]) -> None:
        found = [importlib.metadata.EntryPoint(name, value, "tutelage.optimizers") for name, value in points]
        monkeypatch.setattr(
            importlib.metadata, "entry_points", lambda group: found if group == "tutelage.optimizers" else []
        )
        registry.entries.cache_clear()

    yield offer
    registry.entries.cache_clear()


def test_a_plug_in_adds_a_part(plugin) -> None:
    plugin(("aaa-mine", "fractions:Fraction"), ("sgd", "tutelage.optimizers.sgd:SGD"))
    assert list(entries("optimizers")) == ["aaa-mine", "adamw", "nadamw", "sgd"]
    assert find("optimizers", "aaa-mine").load().__name__ == "Fraction"


def test_a_plug_in_cannot_take_a_name(plugin) -> None:
    plugin(("sgd", "mine:SGD"))
    with pytest.raises(ConfigError, match=r'Two optimizers are called "sgd": .*sgd:SGD and mine:SGD; uninstall one'):
        entries("optimizers")


@pytest.mark.parametrize(("target", "message"), [
    ("no_such_module:X", r'optimizers "bad": no_such_module:X cannot be imported \(No module named'),
    ("fractions:Nope", "cannot be imported .*Nope"),
    (":X", "cannot be imported"),
    ("math:pi", "math:pi is not a class; a part listed by name must be a dataclass"),
])  # fmt: skip
def test_targets_that_are_no_part(target: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PartEntry("optimizers", "bad", target).load()


def test_an_optional_package_that_is_not_there_says_so_itself(monkeypatch) -> None:
    def missing(name: str) -> types.ModuleType:
        raise MissingExtra('X needs y: pip install "tutelage[z]".')

    monkeypatch.setattr(registry.importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match=r'pip install "tutelage\[z\]"'):
        PartEntry("optimizers", "x", "x:X").load()
