"""Durations say their unit; budgets buy whole updates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.durations import Budget, Clock, Duration, parse_duration
from tutelage.errors import ConfigError

CLOCK = Clock(total_steps=1000, examples_per_step=32, tokens_per_step=4096)


@pytest.mark.parametrize(("text", "amount", "unit"), [
    ("300steps", 300, "steps"),
    ("1step", 1, "steps"),
    (" 300 steps ", 300, "steps"),
    ("1_000steps", 1000, "steps"),
    ("2Mtokens", 2_000_000, "tokens"),
    ("2.5k tokens", 2500, "tokens"),
    ("1e3examples", 1000, "examples"),
    ("50kexamples", 50_000, "examples"),
    ("3Btokens", 3 * 10**9, "tokens"),
    ("1Ttokens", 10**12, "tokens"),
    ("90s", 90, "seconds"),
    ("0.1s", 0.1, "seconds"),
    ("5min", 300, "seconds"),
    ("1.5h", 5400, "seconds"),
    (".5h", 1800, "seconds"),
    ("2hours", 7200, "seconds"),
])  # fmt: skip
def test_what_is_read(text: str, amount: float, unit: str) -> None:
    assert parse_duration(text) == Duration(amount, unit)


@pytest.mark.parametrize(("text", "value"), [("0.05", 0.05), ("0", 0.0), ("1.0", 1.0), (".5", 0.5), ("1e-3", 0.001)])
def test_a_bare_fraction_is_a_share_of_the_run(text: str, value: float) -> None:
    assert parse_duration(text) == value
    assert isinstance(parse_duration(text), float)


@pytest.mark.parametrize(("text", "message"), [
    ("300", "warmup=300 says no unit: write 300steps for updates, or a fraction of the run such as 0.05"),
    ("1", "warmup=1 says no unit"),
    ("1.5", "says no unit"),
    ("300stps", 'cannot read "300stps" as a duration'),
    ("5M", "cannot read"),
    ("-5steps", "cannot read"),
    ("steps", "cannot read"),
    ("", "cannot read"),
    ("1e4000steps", "cannot read"),
    ("1e300steps", "is more than any run could spend"),
    ("1e20h", "is more than any run could spend"),
])  # fmt: skip
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_duration(text, argument="warmup")
    assert message in str(caught.value)
    assert str(caught.value).startswith("warmup")


durations = st.one_of(
    st.builds(Duration, st.integers(0, 10**15), st.sampled_from(["steps", "examples", "tokens"])),
    st.builds(Duration, st.floats(0, 1e9), st.just("seconds")),
)


@given(durations)
def test_its_spelling_reads_back(duration: Duration) -> None:
    assert parse_duration(str(duration)) == duration


@pytest.mark.parametrize(("text", "steps", "down"), [
    ("7steps", 7, 7), ("64examples", 2, 2), ("95examples", 3, 2), ("2ktokens", 0, 0), ("4096tokens", 1, 1),
])  # fmt: skip
def test_conversion_into_updates(text: str, steps: int, down: int) -> None:
    duration = parse_duration(text)
    assert duration.to_steps(CLOCK) == steps
    assert duration.to_steps(CLOCK, down=True) == down


@given(st.integers(1, 10**9), st.integers(1, 10**5))
def test_a_budget_pays_for_what_it_buys_and_not_for_one_more(amount: int, per_step: int) -> None:
    clock = Clock(tokens_per_step=per_step)
    if amount < per_step:
        with pytest.raises(ConfigError, match="does not pay for one update"):
            Budget.parse(f"{amount}tokens").total_steps(clock)
        return
    steps = Budget.parse(f"{amount}tokens").total_steps(clock)
    assert steps * per_step <= amount < (steps + 1) * per_step


@pytest.mark.parametrize(("clock", "message"), [
    (Clock(), "5tokens cannot be converted into updates here: the tokens of one update are not known"),
    (Clock(1000, 8, 8, virtual=True), "5tokens has no fixed place in a run measured in seconds"),
])  # fmt: skip
def test_what_a_clock_does_not_know(clock: Clock, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Duration(5, "tokens").to_steps(clock)


def test_seconds_never_convert() -> None:
    with pytest.raises(ConfigError, match="the seconds of one update are not known"):
        Duration(5, "seconds").to_steps(CLOCK)


@pytest.mark.parametrize(("text", "message"), [
    ("0steps", "budget must be above zero, got 0steps; try 300steps, 2Mtokens or 90s"),
    ("0.5", "budget=0.5 says no unit: write 300steps"),
    ("300", "budget=300 says no unit"),
    ("2.5tokens", "budget must be a whole number of tokens, got 2.5tokens"),
    ("much", 'cannot read "much"'),
])  # fmt: skip
def test_budgets_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Budget.parse(text)


def test_a_budget() -> None:
    budget = Budget.parse("90s")
    assert Budget.parse(budget) is budget
    assert (budget.unit, budget.seconds, budget.total_steps(CLOCK), str(budget)) == ("seconds", 90, None, "90s")
    steps = Budget.parse("2Mtokens")
    assert (steps.unit, steps.seconds, steps.total_steps(CLOCK), str(steps)) == ("tokens", None, 488, "2000000tokens")
    with pytest.raises(ConfigError, match="above zero"):
        Budget(Duration(float("nan"), "seconds"))
