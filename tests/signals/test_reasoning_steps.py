"""Reasoning steps: lines before the final answer."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.signals import BadRow, ReasoningSteps, score


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("3 + 4 = 7\n7 * 2 = 14\n#### 14", 2),
        ("a\n\n  \nb", 2),  # no marker: all lines
        ("a\n  #### 1\nb", 1),  # what follows the answer counts for nothing
        ("#### 5", 0),
    ],
)
def test_steps(text, steps) -> None:
    assert ReasoningSteps().score({"answer": [text]})[0] == steps


def test_a_blank_solution_is_missing_and_the_marker_can_be_another() -> None:
    found = ReasoningSteps(marker="Answer:", column="solution").score({"solution": ["a\nb\nAnswer: 3", " "]})
    np.testing.assert_array_equal(found, [2, np.nan])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="marker must not be empty"):
        ReasoningSteps(marker=" ")
    with pytest.raises(BadRow, match="must hold text"):
        ReasoningSteps().score({"answer": [7]})


@pytest.mark.data
def test_gsm8k(shared_data) -> None:
    folder = shared_data("qa_gsm8k")
    (file,) = [path for path in folder.iterdir() if path.name.startswith("train")]
    found = score(file, "reasoning-steps", cache=False)
    assert found.missing == 0
    assert 2.5 < found.values.mean() < 4.5
    easy, hard = (found.values <= 4).mean(), (found.values >= 7).mean()
    assert easy > 0.6 > hard > 0  # the paper's cut-offs leave both sides their share
