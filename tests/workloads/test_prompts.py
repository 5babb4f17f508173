"""The prompt of Super-NaturalInstructions experiments, to the last space."""

from __future__ import annotations

import pytest

from tutelage.workloads import instruction_prompt


def test_the_layout_of_the_reference_code() -> None:
    positives = [("throw : fly. aspire : ?", "attain"), ("dig : hole. love : ?", "marry"), ("a", "b")]
    assert instruction_prompt("Two analogies.", positives, "hit : ?") == (
        "Definition: Two analogies.\n"
        "Positive example 1-\n"
        "input: throw : fly. aspire : ?\n"
        "output: attain\n"
        "Positive example 2-\n"
        "input: dig : hole. love : ?\n"
        "output: marry\n"
        "Now complete the following example-\n"
        "input: hit : ?\n"
        "output: "
    )


def test_less_is_shown_where_there_is_less() -> None:
    assert instruction_prompt("", [], "hit : ?") == "input: hit : ?\noutput: "
    assert instruction_prompt("Say hello.", [], "") == (
        "Definition: Say hello.\nNow complete the following example-\noutput: "
    )
    mapped = instruction_prompt("D", [{"input": "i", "output": "o", "explanation": "e"}], "x", n_pos=5)
    assert mapped == instruction_prompt("D", [("i", "o")], "x")
    assert instruction_prompt("D", [("i", "o")], "x", n_pos=0) == instruction_prompt("D", [], "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", [], " "), "give a definition or an input"),
        (("D", [], "x", -1), "n_pos must be >= 0, got -1"),
        (("D", ["io"], "x"), r"must be \(input, output\), got 'io'"),
        (("D", [("i", "o", "p")], "x"), r"must be \(input, output\)"),
        (("D", [{"input": "i"}], "x"), r"needs input and output, got \['input'\]"),
    ],
)
def test_bad_input(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        instruction_prompt(*arguments)
