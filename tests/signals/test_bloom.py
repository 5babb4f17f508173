"""Bloom levels by verb and by judge."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.errors import ConfigError
from tutelage.signals import BadRow, Bloom, from_spec, score
from tutelage.signals.bloom import LEVELS, VERBS


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("Who wrote Hamlet?", 1),
        ("Name three rivers in Africa.", 1),
        ("Why do cats purr?", 2),
        ("Please summarize the text below.", 2),
        ("Could you explain photosynthesis?", 2),
        ("Solve 3x + 2 = 11.", 3),
        ("ANALYSE the data", 4),
        ("Read the article. Then critique its method.", 5),  # the most that any sentence asks
        ("Define entropy; design an experiment; list the parts.", 6),
        ("The committee will write a report.", None),  # no request: the sentence does not begin with a verb
        ("What is the plan?", 1),
        ("what a day", None),
        ("", None),
        ("?!", None),
    ],
)
def test_the_level_of_a_request(text, level) -> None:
    found = Bloom().score({"text": [text]})[0]
    assert (None if np.isnan(found) else found) == level


def test_every_level_has_verbs_of_its_own() -> None:
    verbs = [verb for found in VERBS.values() for verb in found]
    assert tuple(VERBS) == LEVELS
    assert len(verbs) == len(set(verbs))
    for level, found in enumerate(VERBS.values(), 1):
        assert (Bloom().score({"text": [f"{verb.title()} it." for verb in found]}) == level).all()


def test_the_paper_keeps_to_three_levels() -> None:
    found = score([{"q": "Write a poem."}, {"q": "Who?"}], "bloom:highest=3,column=q", cache=False)
    assert found.values.tolist() == [3, 1]


def test_a_judge_that_answers_nonsense_or_not_at_all_is_missing() -> None:
    answers = {"a": "Understand.", "b": "The level is: EVALUATE", "c": "banana", "d": None}
    asked = []

    def judge(prompt):
        asked.append(prompt)
        text = prompt.split("Task: ")[1].split("\n")[0]
        if text == "e":
            raise TimeoutError
        return answers[text]

    found = score([{"text": text} for text in "abcde"], Bloom(judge=judge), cache=False)
    np.testing.assert_array_equal(found.values, [2, 5, np.nan, np.nan, np.nan])
    assert found.missing == 3
    assert all(", ".join(LEVELS) in prompt for prompt in asked)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="highest must be in 2 to 6"):
        Bloom(highest=7)
    with pytest.raises(ConfigError, match="set it in Python"):
        from_spec("bloom:judge=x")
    with pytest.raises(BadRow, match="must hold text"):
        Bloom().score({"text": [1]})
