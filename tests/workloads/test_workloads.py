"""Names, specs and preparing: the way in for the command line and for Python."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import tutelage.workloads as workloads
from tutelage.errors import ConfigError, UnknownPart
from tutelage.workloads import Digits, TextClassification, TextLM, Workload, from_spec, names, prepare
from tutelage.workloads._parts import PARTS
from tutelage.workloads._spec import spec_of


def test_every_workload_has_a_name() -> None:
    listed = ["breast-cancer", "digits", "instructions", "sequence-copy", "text-classification", "text-lm"]
    assert names() == sorted(PARTS) == listed
    assert [from_spec(name).__class__.__name__ for name in names()] == [
        "BreastCancer",
        "Digits",
        "Instructions",
        "SequenceCopy",
        "TextClassification",
        "TextLM",
    ]
    assert all(from_spec(name).spec_name == name for name in names())


def test_every_public_name_is_there() -> None:
    assert all(getattr(workloads, name) is not None for name in workloads.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = workloads.nothing


@pytest.mark.parametrize(
    ("spec", "overrides", "expected"),
    [
        ("text-lm", {}, TextLM()),
        ("text-lm:context=64", {"context": 32}, TextLM(context=32)),
        ("text-lm:context=64", {"context": "32"}, TextLM(context=32)),
        ("text-lm:context=64", {"context": None}, TextLM(context=64)),
        ("text-lm", {"validation_windows": "none"}, TextLM(validation_windows=None)),
        ("text-lm:validation_windows=none", {}, TextLM(validation_windows=None)),
        ("text-lm", {"data": "a, b=c:d.txt"}, TextLM(data="a, b=c:d.txt")),
        ("text-lm", {"data": Path("x/y.txt")}, TextLM(data="x/y.txt")),
        ("text-lm:data=C:/x/y.txt", {}, TextLM(data="C:/x/y.txt")),
        ("text-lm:data=hub:owner/name", {"text_column": "body"}, TextLM(data="hub:owner/name", text_column="body")),
        ("text-classification:label_column=stars", {}, TextClassification(label_column="stars")),
        ("digits", {"net": "mlp"}, Digits(net="mlp")),
    ],
)
def test_specs_and_values_make_the_same_settings(spec: str, overrides: dict, expected: object) -> None:
    assert from_spec(spec, **overrides) == expected


@pytest.mark.parametrize(
    "settings", [TextLM(), TextLM(data="a b.txt", tokenizer="bytes", validation_windows=None), Digits(net="mlp")]
)
def test_a_spec_builds_its_settings_again(settings) -> None:
    assert from_spec(settings.spec) == settings
    assert hash(settings) == hash(dataclasses.replace(settings))


@pytest.mark.parametrize("data", ["a,b.txt", " a.txt", "none", "a.txt "])
def test_what_a_spec_cannot_hold_has_none(data: str) -> None:
    assert TextLM(data=data).spec is None
    assert spec_of("text-lm", TextLM(data=data)) is None


@pytest.mark.parametrize(
    ("spec", "overrides", "error", "message"),
    [
        ("text-ml", {}, UnknownPart, r'No workload "text-ml"\. Did you mean "text-lm"\?'),
        ("", {}, ConfigError, "is not a spec"),
        ("digits:nett=cnn", {}, ConfigError, r'digits: no argument "nett"\. Did you mean "net"\? It takes: net'),
        ("digits:net=rnn", {}, ConfigError, 'net must be one of cnn, mlp, got "rnn"'),
        ("digits", {"net": "rnn"}, ConfigError, 'net must be "cnn" or "mlp", got "rnn"|one of cnn, mlp, got "rnn"'),
        ("digits", {"data": "x.csv"}, ConfigError, r'digits: no argument "data"'),
        (
            "text-lm:context=x",
            {"vocab": 3},
            ConfigError,
            r'context must be a whole number, got "x"; no argument "vocab"',
        ),
    ],
)
def test_bad_specs(spec: str, overrides: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        from_spec(spec, **overrides)


def test_prepare_takes_a_spec_settings_or_a_workload() -> None:
    ready = prepare("digits:net=mlp")
    assert isinstance(ready, Workload)
    assert prepare(ready) is ready
    assert prepare(Digits(net="mlp")).fingerprint == prepare("digits", net="mlp").fingerprint == ready.fingerprint
    with pytest.raises(ConfigError, match="net: only a spec takes arguments, not a Workload"):
        prepare(ready, net="cnn")


def test_settings_are_read_without_torch() -> None:
    script = (
        "import sys\n"
        "from tutelage.workloads import from_spec, names\n"
        "settings = [from_spec(name).spec for name in names()]\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pyarrow', 'sklearn', 'tokenizers'} & set(sys.modules)\n"
        "print(settings, sorted(heavy))"
    )
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == f"{names()} []"


@pytest.mark.parametrize("name", sorted(PARTS))
def test_cards_are_complete(name: str) -> None:
    card = type(from_spec(name)).__doc__ or ""
    sections = [
        "**Formula**",
        "Args:",
        "Returns:",
        "Raises:",
        "Example:",
        "Use with:",
        "Helps / does not help:",
        "Relations:",
        "Source:",
    ]
    places = [card.find(section) for section in sections]
    assert -1 not in places
    assert places == sorted(places)
    fields = [item.name for item in dataclasses.fields(type(from_spec(name)))]
    assert all(f"        {field}: " in card for field in fields)
