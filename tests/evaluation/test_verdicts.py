"""What may be said of a difference, and in which words."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation import PairedDifference, paired_difference, verdict
from tutelage.evaluation.verdicts import number, side, side_range


def found(estimate: float, low: float, high: float, p: float = 0.01, **changes: Any) -> PairedDifference:
    made = PairedDifference(
        estimate=estimate,
        low=low,
        high=high,
        sd=0.1,
        n=5,
        confidence=0.95,
        method="t",
        p_value=p,
        p_permutation=p,
        detectable=0.2,
    )
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize(
    ("difference", "margin", "expected"),
    [
        (found(-0.3, -0.4, -0.2), 0.0, "better"),
        (found(0.3, 0.2, 0.4), 0.0, "worse"),
        (found(-0.1, -0.3, 0.1, p=0.3), 0.0, "inconclusive"),
        (found(-0.1, -0.3, 0.1, p=0.3), 0.35, "no difference"),
        (found(-0.02, -0.03, -0.01), 0.05, "no difference"),  # real, but too small to matter
        (found(-0.04, -0.07, -0.01), 0.05, "inconclusive"),  # real, and may or may not matter
        (found(-0.06, -0.11, -0.01), 0.05, "better"),
        (found(-0.3, -0.4, -0.2, p=0.2), 0.0, "inconclusive"),
        (found(0.5, 0.5, 0.5, p=0.25, sd=0.0, detectable=None), 0.0, "inconclusive"),
        (found(0.0, 0.0, 0.0, p=1.0, sd=0.0, detectable=None), 0.0, "no difference"),
    ],
)
def test_the_rule(difference: PairedDifference, margin: float, expected: str) -> None:
    said = verdict(difference, lower_is_better=True, margin=margin)
    assert said.verdict == expected
    assert said.sentence.startswith("Inconclusive: ") == (expected == "inconclusive")
    mirrored = dataclasses.replace(
        difference,
        estimate=-difference.estimate,
        low=-(difference.high or 0.0),
        high=-(difference.low or 0.0),
    )
    assert verdict(mirrored, lower_is_better=False, margin=margin).verdict == expected
    swapped = {"better": "worse", "worse": "better"}.get(expected, expected)
    assert verdict(mirrored, lower_is_better=True, margin=margin).verdict == swapped


def test_holm_can_take_a_verdict_back() -> None:
    alone = verdict(found(-0.3, -0.4, -0.2), lower_is_better=True)
    among = verdict(found(-0.3, -0.4, -0.2), lower_is_better=True, p_holm=0.06)
    assert (alone.verdict, among.verdict) == ("better", "inconclusive")
    assert "number of arms" in among.sentence


def test_sentences() -> None:
    names = {"arm": "uba", "baseline": "cosine", "metric": "loss"}
    assert verdict(found(0.3, 0.2, 0.4), lower_is_better=False, **names).sentence == (  # type: ignore[arg-type]
        "uba is better than cosine: its loss is 0.300 higher (95 % interval 0.200 to 0.400 higher, 5 seeds)."
    )
    assert verdict(found(-0.1, -0.3, 0.1, p=0.3), lower_is_better=True, **names).sentence == (  # type: ignore[arg-type]
        "Inconclusive: uba against cosine in loss: on average it is 0.100 lower, but the 95 % interval runs from "
        "0.300 lower to 0.100 higher; 5 seeds show a difference of 0.200 four times in five."
    )


def test_one_seed_is_inconclusive_and_says_why() -> None:
    said = verdict(paired_difference([1.0], [9.0]), lower_is_better=True)
    assert said.verdict == "inconclusive"
    assert "one seed shows no noise" in said.sentence


def test_equal_differences_ask_for_six_seeds() -> None:
    said = verdict(paired_difference([1, 2, 3], [2, 3, 4]), lower_is_better=True)
    assert said.verdict == "inconclusive"
    assert "at least 6 seeds" in said.sentence
    six = paired_difference([1.0] * 6, [2.0] * 6)
    assert verdict(six, lower_is_better=True).verdict == "better"


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=8), st.floats(0, 3))
def test_never_two_verdicts_from_one_set_of_runs(rows: list[tuple[float, float]], margin: float) -> None:
    a, b = zip(*rows, strict=True)
    one = verdict(paired_difference(a, b), lower_is_better=True, margin=margin).verdict
    other = verdict(paired_difference(b, a), lower_is_better=True, margin=margin).verdict
    assert other == {"better": "worse", "worse": "better"}.get(one, one)


@pytest.mark.parametrize(
    ("value", "text"), [(0.03478, "0.0348"), (12.345, "12.3"), (1234.5, "1234"), (0.0, "0"), (1.2e-6, "1.20e-06")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_words_for_intervals() -> None:
    assert (side(-0.5), side(0.5), side(0.0)) == ("0.500 lower", "0.500 higher", "equal")
    assert side_range(-0.4, -0.2) == "0.200 to 0.400 lower"
    assert side_range(-0.4, 0.2) == "0.400 lower to 0.200 higher"


@pytest.mark.parametrize(
    ("options", "fragment"),
    [({"margin": -1.0}, "margin must be"), ({"margin": math.nan}, "margin must be"), ({"p_holm": 1.5}, "p_holm must")],
)
def test_bad_input(options: dict[str, float], fragment: str) -> None:
    with pytest.raises(ValueError, match=fragment):
        verdict(found(0.0, -1.0, 1.0), lower_is_better=True, **options)  # type: ignore[arg-type]
