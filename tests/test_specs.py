"""The grammar of specs, and parts built from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.durations import Clock, Rate, RunFraction, Steps
from tutelage.errors import ConfigError
from tutelage.specs import PartSpec, build, field_types, parse_spec, spell


@dataclass(frozen=True, kw_only=True)
class Part:
    peak: float
    total_steps: Steps = 100
    warmup: Steps = 0
    share: RunFraction = 0.5
    final: Rate = 0.0
    maybe: Rate | None = None
    count: int = 1
    flag: bool = False
    shape: Literal["linear", "cosine"] = "linear"
    name: str = "x"
    places: tuple[float, ...] = ()
    marks: tuple[Steps, ...] = ()
    other: object = None
    made: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"Part: count must be >= 0, got {self.count}.")


@dataclass(frozen=True)
class Needy:
    first: int
    second: int


@pytest.mark.parametrize(("text", "name", "arguments"), [
    ("uba", "uba", {}),
    ("uba:", "uba", {}),
    (" uba : phi = 5 , warmup=0.1, ", "uba", {"phi": "5", "warmup": "0.1"}),
    ("part:name=a:b=c", "part", {"name": "a:b=c"}),
])  # fmt: skip
def test_what_a_spec_says(text: str, name: str, arguments: dict[str, str]) -> None:
    assert parse_spec(text) == PartSpec(name, arguments)


@pytest.mark.parametrize(("text", "message"), [
    ("", '"" is not a spec; write NAME or NAME:argument=value'),
    (":phi=5", "is not a spec"),
    ("uba:phi", '"phi" is not argument=value'),
    ("uba:=5", "is not argument=value"),
    ("uba:phi=", "is not argument=value"),
    ("uba:phi=1,phi=2", 'argument "phi" is given twice'),
])  # fmt: skip
def test_what_is_no_spec(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_spec(text)
    assert message in str(caught.value)


words = st.text("abcdefgh_", min_size=1, max_size=6)


@given(words, st.dictionaries(words, st.text("abc0123./%-+:", min_size=1, max_size=6), max_size=4))
def test_its_spelling_reads_back(name: str, arguments: dict[str, str]) -> None:
    spec = PartSpec(name, arguments)
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(("arguments", "name", "value"), [
    ("warmup=30steps", "warmup", 30),
    ("warmup=0.1", "warmup", 10),
    ("warmup=320examples", "warmup", 10),
    ("total_steps=50steps,warmup=0.1", "warmup", 5),
    ("warmup=0.1,total_steps=50steps", "warmup", 5),
    ("share=0.25", "share", 0.25),
    ("share=25steps", "share", 0.25),
    ("final=10%", "final", 0.2),
    ("final=0.01", "final", 0.01),
    ("final=10%,peak=5", "final", 0.5),
    ("maybe=none", "maybe", None),
    ("maybe=50%", "maybe", 1.0),
    ("count=7", "count", 7),
    ("flag=yes", "flag", True),
    ("flag=FALSE", "flag", False),
    ("shape=cosine", "shape", "cosine"),
    ("name=a b", "name", "a b"),
    ("places=0.5/0.75", "places", (0.5, 0.75)),
    ("marks=10steps/0.5", "marks", (10, 50)),
])  # fmt: skip
def test_values_by_the_type_of_the_field(arguments: str, name: str, value: object) -> None:
    clock = Clock(total_steps=100, examples_per_step=32)
    part = build(Part, parse_spec(f"part:{arguments}"), clock=clock, defaults={"peak": 2.0, "unknown": 1})
    found = getattr(part, name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("arguments", "message"), [
    ("cuont=1", 'part: no argument "cuont". Did you mean "count"? It takes: peak, total_steps'),
    ("made=1", 'no argument "made"'),
    ("count=1.5", 'count must be a whole number, got "1.5"'),
    ("peak=high", 'peak must be a number, got "high"'),
    ("flag=maybe", 'flag must be true or false, got "maybe"'),
    ("shape=cosin", 'shape must be one of linear, cosine, got "cosin". Did you mean "cosine"?'),
    ("other=1", "other cannot be set from a spec; set it in Python"),
    ("warmup=30", "warmup=30 says no unit: write 30steps"),
    ("warmup=5s", "the seconds of one update are not known"),
    ("share=30", "share=30 says no unit"),
    ("places=0.5/x", 'places must be a number, got "x"'),
    ("maybe=x", 'maybe must be a number, got "x"'),
    ("count=-1", "Part: count must be >= 0, got -1."),
    ("count=x,flag=y", 'count must be a whole number, got "x"; flag must be true or false, got "y".'),
])  # fmt: skip
def test_faults_are_named_together(arguments: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Part, parse_spec(f"part:{arguments}"), clock=Clock(total_steps=100), defaults={"peak": 1.0})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("arguments", "message"), [
    ("", "part: needs peak, as in part:peak=VALUE."),
    ("final=10%", "final=10% is a share of a peak that is not known; give peak too"),
    ("peak=1,warmup=0.1", "warmup=0.1 is a fraction of a run whose length is not known"),
    ("peak=1,share=5steps", "share=5steps needs a run of known length"),
])  # fmt: skip
def test_what_needs_to_be_known(arguments: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Part, parse_spec(f"part:{arguments}"))
    assert message in str(caught.value)


def test_every_missing_argument_is_named() -> None:
    with pytest.raises(ConfigError, match="needy: needs first, second"):
        build(Needy, PartSpec("needy"))


@given(
    st.builds(
        Part,
        peak=st.floats(1e-9, 1e9),
        total_steps=st.integers(1, 10**9),
        warmup=st.integers(0, 10**6),
        share=st.floats(0, 1),
        final=st.floats(0, 1e6),
        maybe=st.none() | st.floats(0, 1e6),
        count=st.integers(0, 10**9),
        flag=st.booleans(),
        shape=st.sampled_from(["linear", "cosine"]),
        places=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3).map(tuple),
        marks=st.lists(st.integers(0, 99), min_size=1, max_size=3).map(tuple),
    )
)
def test_a_spelled_part_is_built_again(part: Part) -> None:
    kinds = field_types(Part)
    names = [name for name in kinds if name not in ("other", "name")]
    spec = "part:" + ",".join(f"{name}={spell(kinds[name], getattr(part, name))}" for name in names)
    assert build(Part, parse_spec(spec)) == part
