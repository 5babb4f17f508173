"""Judgements: how a label is made, what is kept, what is missing, and what goes on after a failure."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.signals import CRITERIA, Judgements, judge_pairs, random_pairs

TEXTS = ["a", "bbb", "cc", "dddd"]
ONE = ["writing-style"]
PAIRS = [(0, 1), (2, 1), (3, 0)]


def longer(question: str, a: str, b: str) -> float:
    return float(len(a) > len(b))


@dataclasses.dataclass
class Recorder:
    """A judge that says what it was told to, one answer after the other, and remembers what it was asked."""

    answers: list
    asked: list = dataclasses.field(default_factory=list)

    def __call__(self, question, a, b):
        self.asked.append((question, a, b))
        answer = self.answers[(len(self.asked) - 1) % len(self.answers)]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def fingerprint(self) -> str:
        return "recorder"


def test_the_cards_label() -> None:
    # Votes for B are 0.7 shown second; for A, shown second in the other order, 0.2: B is preferred by 0.75.
    judge = Recorder([0.3, 0.8])
    found = judge_pairs(TEXTS, [(0, 1)], judge, criteria=ONE, cache=False)
    assert 1 - found.outcomes[0, 0] == pytest.approx(0.75)
    assert judge.asked == [(CRITERIA[ONE[0]], "a", "bbb"), (CRITERIA[ONE[0]], "bbb", "a")]
    assert (found.criteria, found.asked, found.missing, found.notes) == (("writing-style",), 2, 0, ())


def test_criteria_of_ones_own_and_one_order() -> None:
    asked = {"longer": "Which is longer?", "shorter": "Which is shorter?"}

    def judge(question, a, b):
        return float((len(a) > len(b)) == (question == asked["longer"]))

    found = judge_pairs(TEXTS, PAIRS, judge, criteria=asked, both_orders=False, cache=False)
    assert found.outcomes.tolist() == [[0, 1], [0, 1], [1, 0]]
    assert found.strengths("longer", ridge=0.1).strengths.argsort().tolist() == [0, 2, 3, 1]
    with pytest.raises(ValueError, match='no criterion "style"; there are longer, shorter'):
        found.of("style")


def test_a_pair_counts_where_more_than_half_of_the_votes_came() -> None:
    nan = math.nan
    most = judge_pairs(TEXTS, [(0, 1)], Recorder([1.0, nan, 0.0, 0.0, 0.0, None]), criteria=ONE, votes=3, cache=False)
    assert most.outcomes[0, 0] == pytest.approx((0.5 + 1 - 0.0) / 2)
    few = judge_pairs(TEXTS, [(0, 1)], Recorder([1.0, nan, None, 0.0, 0.0, 0.0]), criteria=ONE, votes=3, cache=False)
    assert few.missing == 1
    assert few.notes[-1] == "1 of 1 judgements are missing; call again to ask for them once more."
    half = judge_pairs(TEXTS, [(0, 1)], Recorder([1.0, nan]), criteria=ONE, votes=2, cache=False, both_orders=False)
    assert half.missing == 1, "half is not more than half"


def test_nonsense_is_missing_and_said(tmp_path: Path) -> None:
    judge = Recorder(["yes", 1.7, -0.1, 0.5])
    found = judge_pairs(TEXTS, PAIRS[:2], judge, criteria=ONE, cache=tmp_path)
    assert np.isnan(found.outcomes).all()
    assert found.notes[0] == "3 answers were no probability, such as 'yes'."
    # What was an answer is kept, what was none is asked for again.
    again = Recorder([1.0, 0.0])
    found = judge_pairs(TEXTS, PAIRS[:2], again, criteria=ONE, cache=tmp_path)
    assert len(again.asked) == found.asked == 3
    assert found.outcomes[:, 0].tolist() == [1.0, pytest.approx(0.75)]


@pytest.mark.parametrize("workers", [1, 4])
def test_what_was_interrupted_goes_on(tmp_path: Path, workers: int) -> None:
    judge = Recorder([0.9, 0.1, KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        judge_pairs(TEXTS, PAIRS, judge, criteria=ONE, cache=tmp_path, workers=workers)
    second = Recorder([0.9])
    found = judge_pairs(TEXTS, PAIRS, second, criteria=ONE, cache=tmp_path, workers=workers)
    known = 6 - len(second.asked)
    assert known == 2 if workers == 1 else known <= 4
    assert found.missing == 0
    third = Recorder([RuntimeError("asked once more")])
    same = judge_pairs(TEXTS, PAIRS, third, criteria=ONE, cache=tmp_path, workers=workers)
    assert same.outcomes.tolist() == found.outcomes.tolist()
    assert same.asked == 0
    # A text that changed is asked about again, and so is another question.
    changed = judge_pairs(["A", *TEXTS[1:]], PAIRS, Recorder([0.5]), criteria=ONE, cache=tmp_path)
    assert changed.asked == 4
    other = judge_pairs(TEXTS, PAIRS, Recorder([0.5]), criteria=["educational-value"], cache=tmp_path)
    assert other.asked == 6


def test_a_judge_that_raises_keeps_what_was_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        judge_pairs(TEXTS, PAIRS, Recorder([0.9, 0.1, RuntimeError("broken")]), criteria=ONE, cache=tmp_path)
    assert judge_pairs(TEXTS, PAIRS, Recorder([0.5]), criteria=ONE, cache=tmp_path).asked == 4


@pytest.mark.parametrize("workers", [1, 3])
def test_a_judge_that_fails_again_and_again_is_left_in_peace(workers: int) -> None:
    judge = Recorder([0.5, 0.5] + [None] * 100)
    found = judge_pairs(
        TEXTS * 20, random_pairs(80, 40, seed=0), judge, criteria=ONE, cache=False, patience=4, workers=workers
    )
    assert 6 <= len(judge.asked) <= 6 + 2 * workers
    assert found.notes[0].startswith("The judge failed again and again; ")
    assert found.missing == 39
    assert found.outcomes[0, 0] == 0.5


def test_judges_that_look_alike_are_not_mixed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path))

    def always(value: float):
        return lambda question, a, b: value

    first, second = (judge_pairs(TEXTS, PAIRS, always(v), criteria=ONE, both_orders=False) for v in (0.2, 0.9))
    assert (first.outcomes == 0.2).all()
    assert (second.outcomes == 0.9).all()
    assert second.notes[0].startswith("Answers are not kept: this judge cannot be told from others like it")
    kept = judge_pairs(TEXTS, PAIRS, longer, criteria=ONE)
    assert kept.notes == ()
    assert judge_pairs(TEXTS, PAIRS, longer, criteria=ONE).asked == 0


def test_progress_counts_what_was_kept(tmp_path: Path) -> None:
    judge_pairs(TEXTS, PAIRS[:2], longer, criteria=ONE, cache=tmp_path)
    heard: list[tuple[int, int]] = []
    judge_pairs(TEXTS, PAIRS, longer, criteria=ONE, cache=tmp_path, watch=lambda *pair: heard.append(pair))
    assert heard == [(5, 6), (6, 6)]


@given(st.integers(2, 30), st.integers(1, 100), st.integers(0, 99))
def test_random_pairs(texts: int, pairs: int, seed: int) -> None:
    found = random_pairs(texts, pairs, seed=seed)
    assert found.shape == (pairs, 2)
    assert (found[:, 0] != found[:, 1]).all()
    assert found.min() >= 0
    assert found.max() < texts
    seen = np.bincount(found.ravel(), minlength=texts)
    assert seen.max() - seen.min() <= 2
    assert (found == random_pairs(texts, pairs + 7, seed=seed)[:pairs]).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pairs": [(0, 4)]}, r"two different places from 0 to 3, got \[0, 4\] in pair 0"),
        ({"pairs": [(0, 1), (2, 2)]}, r"got \[2, 2\] in pair 1"),
        ({"pairs": [(-1, 2)]}, "got"),
        ({"pairs": []}, r"pairs must be integers of shape \(m, 2\)"),
        ({"pairs": [(0.5, 1)]}, "pairs must be integers"),
        ({"criteria": ["style"]}, 'no criterion "style"; there are writing-style, facts-and-trivia'),
        ({"criteria": []}, "criteria must name at least one"),
        ({"votes": 0}, "votes must be >= 1, got 0"),
        ({"workers": 0}, "workers must be >= 1, got 0"),
        ({"patience": 0}, "patience must be >= 1, got 0"),
    ],
)
def test_bad_input(changes, said) -> None:
    given = {"pairs": PAIRS, **changes}
    with pytest.raises(ValueError, match=said):
        judge_pairs(TEXTS, given.pop("pairs"), longer, cache=False, **given)


def test_bad_judgements() -> None:
    pairs = np.array([[0, 1]])
    with pytest.raises(ValueError, match=r"outcomes must be in \[0, 1\] or NaN, got 1.5"):
        Judgements(("x",), pairs, np.array([[1.5]]))
    with pytest.raises(ValueError, match=r"pairs must be \(m, 2\) and outcomes \(m, 2\), got"):
        Judgements(("x", "y"), pairs, np.array([[0.5]]))
    with pytest.raises(ValueError, match="texts must be >= 2 and pairs >= 1, got 1 and 3"):
        random_pairs(1, 3, seed=0)
