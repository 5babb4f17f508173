"""instruction_prompt: a task, solved examples of it and an input as one text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def instruction_prompt(
    definition: str, positives: Sequence[tuple[str, str] | Mapping[str, str]], input: str, n_pos: int = 2
) -> str:
    """Return the prompt of an example: what the task is, solved examples of it, and the input to answer.

    **Formula**: the text that Super-NaturalInstructions experiments use::

        Definition: <definition>
        Positive example 1-
        input: <input>
        output: <output>
        Positive example 2-
        ...
        Now complete the following example-
        input: <input>
        output:

    with a space after the last colon. Without definition and solved examples only the last two lines are left, and
    without an input its line is.

    Args:
        definition: What is to be done; empty for the bare input.
        positives: Solved examples, each ``(input, output)`` or a mapping with these keys.
        input: What it is to be done with.
        n_pos: Solved examples shown at most, >= 0.

    Returns:
        The prompt; the answer follows it directly.

    Raises:
        ValueError: ``n_pos`` below 0, a solved example that is no pair, or nothing to ask.

    Example:
        >>> instruction_prompt("Name the opposite.", [("hot", "cold")], "old").splitlines()[:2]
        ['Definition: Name the opposite.', 'Positive example 1-']
        >>> instruction_prompt("", [], "old").split(chr(10))
        ['input: old', 'output: ']

    Use with:
        Any model that continues text: its continuation is the answer.

    Helps / does not help:
        Definitions help models that were tuned on such prompts; others may as well be given the bare input.

    Relations:
        :class:`tutelage.workloads.Instructions` makes its prompts so; ``definition=false`` leaves the definition out.

    Source:
        Gupta et al., Instruction tuned models are quick learners, 2023, arXiv 2306.05539, section 3; layout as in its
        code (``data_prep.py`` of srsawant34/efficient_instruction_learning), read in November 2026.
    """
    if n_pos < 0:
        raise ValueError(f"instruction_prompt: n_pos must be >= 0, got {n_pos}.")
    if not (definition.strip() or input.strip()):
        raise ValueError("instruction_prompt: give a definition or an input, got neither.")
    shown = [_pair(one) for one in list(positives)[:n_pos]]
    lines = [f"Definition: {definition}"] if definition.strip() else []
    for number, (given, answer) in enumerate(shown, 1):
        lines += [f"Positive example {number}-", f"input: {given}", f"output: {answer}"]
    if lines:
        lines.append("Now complete the following example-")
    if input.strip():
        lines.append(f"input: {input}")
    return "\n".join([*lines, "output: "])


def _pair(example: tuple[str, str] | Mapping[str, str]) -> tuple[str, str]:
    if isinstance(example, Mapping):
        if not {"input", "output"} <= set(example):
            raise ValueError(f"instruction_prompt: a solved example needs input and output, got {sorted(example)}.")
        return example["input"], example["output"]
    if isinstance(example, str) or len(example) != 2:
        raise ValueError(f"instruction_prompt: a solved example must be (input, output), got {example!r}.")
    return example
