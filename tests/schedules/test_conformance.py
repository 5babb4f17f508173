"""Every listed schedule keeps the common rules, has its row, its file, and a complete card whose values are true."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from tests.schedules.cases import CASES
from tests.schedules.foreign import Foreign

import tutelage.schedules
from tutelage.schedules import Constant, Linear, Phases, Schedule
from tutelage.schedules._parts import PARTS
from tutelage.specs import field_types
from tutelage.testing import check_schedule

FOLDER = Path(tutelage.schedules.__file__).parent
#: Modules of the folder that hold no part: the combinator, and helpers of one.
NOT_PARTS = {"phases", "mup", "power_fit"}
SECTIONS = (
    "**Formula**", "Args:", "Returns:", "Raises:", "Example:", "Use with:", "Helps / does not help:", "Relations:",
    "Source:",
)  # fmt: skip


def load(name: str) -> Any:
    module, _, attribute = PARTS[name].partition(":")
    return getattr(__import__(module, fromlist=[attribute]), attribute)


SCHEDULES = [name for name in PARTS if issubclass(load(name), Schedule)]


def make(name: str) -> Schedule:
    schedule = load(name)(**CASES[name].arguments)
    assert isinstance(schedule, Schedule)
    return schedule


def test_every_schedule_has_a_row_and_no_row_is_stale():
    assert sorted(CASES) == sorted(SCHEDULES)


def test_every_file_has_a_line_and_lines_are_sorted():
    listed = {target.partition(":")[0].rpartition(".")[2] for target in PARTS.values()}
    files = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")}
    assert files - NOT_PARTS == listed
    assert list(PARTS) == sorted(PARTS)


@pytest.mark.parametrize("name", SCHEDULES)
def test_conforms(name):
    case = CASES[name]
    check_schedule(make(name), values=case.values, final=case.final)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_part_is_found_by_its_own_name_and_exported(name):
    part = load(name)
    assert part.spec_name == name
    assert getattr(tutelage.schedules, part.__name__) is part
    assert part.__name__ in tutelage.schedules.__all__


def test_every_public_name_exists_and_others_do_not():
    for name in tutelage.schedules.__all__:
        assert getattr(tutelage.schedules, name) is not None
    with pytest.raises(AttributeError, match="Cosinus"):
        _ = tutelage.schedules.Cosinus


@pytest.mark.parametrize("name", [*SCHEDULES, "phases"])
def test_the_card_is_complete(name):
    part = Phases if name == "phases" else load(name)
    card = part.__doc__
    missing = [section for section in SECTIONS if section not in card]
    assert not missing
    positions = [card.index(section) for section in SECTIONS]
    assert positions == sorted(positions)
    for argument in field_types(part):
        assert re.search(rf"^        {argument}: ", card, re.MULTILINE), f"{argument} is not in Args"
    assert "Values:" in card


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_values_the_card_lists_are_true(name):
    schedule = make(name)
    card = schedule.__doc__ or ""
    listed = card[card.index("Values:") :].partition("\n\n")[0]
    pairs = re.findall(r"``([^`]+)``:\s+``([^`]+)``", listed)
    total = 200 if schedule.total_steps is None else schedule.total_steps
    known = {item.name: getattr(schedule, item.name) for item in dataclasses.fields(schedule)}
    known |= {"total_steps": total, "n": total - schedule.warmup, "cos": math.cos, "sqrt": math.sqrt, "pi": math.pi}
    known |= {"max": max, "len": len, "c": 1 - math.cos(math.pi / (total - schedule.warmup))}
    for extra in ("floor", "plateau", "tau", "power", "end"):
        if extra not in known and hasattr(schedule, extra):
            known[extra] = getattr(schedule, extra)
    lengths = {"d": "decay_steps", "a": "anneal_steps", "b": "rise_steps"}
    known |= {key: getattr(schedule, at) for key, at in lengths.items() if hasattr(schedule, at) and key not in known}
    if name == "one-cycle":
        known["end"] = schedule.peak / schedule.div_factor / schedule.final_div_factor
    steps = [step for step, _ in pairs]
    assert {"0", "total_steps - 1", "total_steps"} <= set(steps)
    if "warmup" in field_types(type(schedule)):
        assert {"warmup - 1", "warmup"} <= set(steps)
    bare = type(schedule)(**{key: value for key, value in CASES[name].arguments.items() if key != "warmup"})
    for variant in (schedule, bare) if schedule.warmup and name not in ("rewarm", "infinite") else (schedule,):
        known |= {"warmup": variant.warmup, "n": total - variant.warmup}
        known |= {"c": 1 - math.cos(math.pi / known["n"])}
        if hasattr(variant, "tau"):
            known["tau"] = variant.tau
        at = variant if variant.total_steps else dataclasses.replace(variant, total_steps=total)
        for step, expression in pairs:
            position = eval(step, {}, known)
            if position >= 0:
                assert at(position) == pytest.approx(eval(expression, {}, known), rel=1e-12, abs=1e-18), step


@dataclass(frozen=True, kw_only=True, repr=False)
class Crooked(Schedule):
    """A schedule with one fault, said by name."""

    spec_name: ClassVar[str] = "crooked"

    peak: float = 1.0
    total_steps: int = 8
    warmup: int = 0
    fault: str = "none"

    def _rate(self, t: Any, xp: Any) -> Any:
        rate = self.peak * (1 - 0.5 * t / self.total_steps)
        if self.fault == "above":
            return rate + 0.1
        if self.fault == "below":
            return rate - 2.0
        if self.fault == "nan":
            return rate + xp.where(t == 3, xp.nan, 0.0)
        if self.fault == "depends on the array":
            return rate - 1e-9 * (len(t) > 1)
        return rate

    def __call__(self, step: Any) -> Any:
        if self.fault == "accepts all":
            return super().__call__(np.maximum(np.nan_to_num(np.asarray(step), posinf=0.0), 0))
        if self.fault == "never ends" and np.ndim(step) == 0 and step > self.total_steps:
            return 0.1
        rates = super().__call__(step)
        return rates.astype(np.float32) if self.fault == "float32" and np.ndim(rates) else rates


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("above", "above peak=1.0"),
        ("below", "below 0"),
        ("nan", "not finite"),
        ("depends on the array", "as a number"),
        ("accepts all", "step -1 is not refused"),
        ("never ends", "does not keep the end value"),
        ("float32", "float64"),
    ],
)
def test_the_suite_finds_faults(fault, message):
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_schedule(Crooked(fault=fault), listed=False)
    check_schedule(Crooked(), listed=False)


def test_the_suite_compares_with_what_is_expected():
    schedule = Linear(peak=1.0, total_steps=10)
    with pytest.raises(AssertionError, match=r"rate at update 5 is 0\.5, expected 0\.6"):
        check_schedule(schedule, values={5: 0.6})
    with pytest.raises(AssertionError, match=r"rate at total_steps is 0\.0, expected 0\.1"):
        check_schedule(schedule, final=0.1)


def test_the_suite_finds_a_mutable_schedule_and_a_false_repr():
    class Loose(Linear):
        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

    with pytest.raises(AssertionError, match="not frozen"):
        check_schedule(Loose(peak=1.0, total_steps=10), listed=False)

    class Liar(Linear):
        def __repr__(self) -> str:
            return "linear:peak=2.0,total_steps=10steps"

    with pytest.raises(AssertionError, match="builds another schedule"):
        check_schedule(Liar(peak=1.0, total_steps=10))


@pytest.mark.parametrize("name", SCHEDULES)
def test_arrays_of_another_library_stay_in_it(name):
    schedule = make(name)
    steps = np.arange(60)
    rates = schedule(Foreign(steps))
    assert isinstance(rates, Foreign)
    np.testing.assert_allclose(rates.values, schedule(steps), rtol=1e-14)


@pytest.mark.parametrize("name", SCHEDULES)
def test_spec_defaults_are_those_of_the_class(name):
    schedule = make(name)
    assert tutelage.schedules.from_spec(repr(schedule)) == schedule
    assert "@" not in repr(schedule)


def test_a_schedule_of_defaults_alone_shows_as_its_name():
    assert repr(Crooked()) == "crooked"


@pytest.mark.parametrize("schedule", [Constant(peak=0.1), Constant(peak=1, warmup=3)])
def test_a_schedule_without_an_end_needs_a_length_for_an_array(schedule):
    with pytest.raises(ValueError, match=r"^Constant has no end of its own: say to_array\(total_steps=...\)"):
        schedule.to_array()
    assert schedule.to_array(7).shape == (7,)
    assert schedule.to_array(0).shape == (0,)
    with pytest.raises(ValueError, match=r"^Constant: total_steps must be >= 0, got -1"):
        schedule.to_array(-1)


@pytest.mark.parametrize("total", [5119, 5120, 5121, 10_241])
def test_long_arrays_are_the_same_as_calls_across_blocks(total):
    schedule = Linear(peak=1.0, total_steps=total, warmup=100, final=0.25)
    np.testing.assert_array_equal(schedule.to_array(), schedule(np.arange(total)))
