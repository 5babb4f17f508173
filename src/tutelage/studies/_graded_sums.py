"""Sums worked out place by place, decoders that learn them, and the scores of their attempts at an answer.

Numbers have one to four digits and are written with four. An answer has a digit and what is carried (or borrowed) for
each place, the lowest place first: steps, each of which follows from one place and the step before.

>>> worked(47, 85, minus=False)
Sum(question='0047+0085=', answer='21311000', digits=4)
>>> worked(107, 9, minus=True).answer
'81910000'
>>> scores_of([worked(47, 85, minus=False), worked(107, 9, minus=True)], [["21311000", "21311001"], ["81910000", "81"]])
array([[1.  , 0.  ],
       [1.  , 0.25]])
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tutelage.randomness import derive_seed, numpy_generator
from tutelage.studies._arithmetic import Sum, decoded, encode

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

#: Places of a number, and characters of an answer.
PLACES = 4
ANSWER = 2 * PLACES
#: Questions answered at a time.
ROWS = 4000


def worked(first: int, second: int, *, minus: bool) -> Sum:
    """Return the question about two numbers, the first the larger one of a subtraction, and its working."""
    question = f"{first:0{PLACES}}{'-' if minus else '+'}{second:0{PLACES}}="
    steps, carried = [], 0
    for place in range(PLACES):
        upper, lower = first // 10**place % 10, second // 10**place % 10
        value = upper - lower - carried if minus else upper + lower + carried
        carried = int(value < 0 or value > 9)
        steps.append(f"{value % 10}{carried}")
    return Sum(question, "".join(steps), len(f"{first}{second}"))


def worked_sums(
    count: int, *, seed: int, part: Literal["train", "validation"] = "train", different: bool = True
) -> list[Sum]:
    """Return questions, additions and subtractions, each number of any length equally often; no part shares one.

    Args:
        count: How many.
        seed: Of the draws.
        part: Questions of one part are never in the other.
        different: No question twice; short ones then get rarer, as they run out.
    """
    rng = numpy_generator(seed, f"worked sums of {part}")
    found: list[Sum] = []
    seen: set[str] = set()
    while len(found) < count:
        lengths = rng.integers(1, PLACES + 1, size=2)
        first, second = (int(rng.integers(0 if digits == 1 else 10 ** (digits - 1), 10**digits)) for digits in lengths)
        minus = bool(rng.integers(2))
        one = (
            worked(max(first, second), min(first, second), minus=True) if minus else worked(first, second, minus=minus)
        )
        held_out = zlib.crc32(one.question.encode()) % 5 == 0
        if held_out == (part == "validation") and not (different and one.question in seen):
            seen.add(one.question)
            found.append(one)
    return found


def attempts_at(model: Any, asked: Sequence[Sum], *, count: int, seed: int) -> list[list[str]]:
    """Return answers drawn from a model at temperature 1, ``count`` to each question."""
    import torch

    draws = torch.Generator().manual_seed(derive_seed(seed, "attempts") % 2**63)
    questions = torch.tensor(encode([one.question for one in asked])).repeat_interleave(count, 0)
    said: list[str] = []
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(questions), ROWS):
            here, memory, characters = questions[start : start + ROWS], None, []
            for _ in range(ANSWER):
                output = model(input_ids=here, past_key_values=memory, use_cache=True)
                memory, likely = output.past_key_values, output.logits[:, -1].softmax(-1)
                here = torch.multinomial(likely, 1, generator=draws)
                characters.append(here)
            said += [decoded(row) for row in torch.cat(characters, 1).tolist()]
    return [said[place : place + count] for place in range(0, len(said), count)]


def scores_of(asked: Sequence[Sum], said: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Return the score of each attempt, 1 for a right one, shape ``(questions, attempts)``.

    As the paper grades mathematics, an addition is right (1) or wrong (0); as it grades code by the tests passed, a
    subtraction gets the share of its characters that are right.
    """

    def score(one: Sum, answer: str) -> float:
        if "+" in one.question:
            return float(answer == one.answer)
        return sum(left == right for left, right in zip(answer, one.answer, strict=False)) / ANSWER

    return np.array([[score(one, answer) for answer in answers] for one, answers in zip(asked, said, strict=True)])


def taught(
    model: Any,
    asked: Sequence[Sum],
    recipe: str,
    *,
    steps: int,
    seed: int,
    tested: Mapping[str, Sequence[Sum]] | None = None,
    questions_too: bool = False,
) -> tuple[Any, dict[str, float]]:
    """Return a copy of a model that has learned right answers, and the accuracy it ends with.

    Args:
        model: Decoder; it stays as it is.
        asked: What is learned.
        recipe: Spec of the training.
        steps: Updates.
        seed: Of the order.
        tested: Questions to answer at the end, by name.
        questions_too: The loss counts every character, as in reading a text.
    """
    import torch

    from tutelage.training import train
    from tutelage.workloads.custom import from_torch

    student = copy.deepcopy(model)

    def table(chosen: Sequence[Sum]) -> dict[str, torch.Tensor]:
        tokens = torch.tensor(encode([one.question + one.answer for one in chosen]))
        labels = tokens.clone()
        if not questions_too:
            labels[:, :-ANSWER] = -100
        return {"tokens": tokens, "labels": labels}

    def loss(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        found: torch.Tensor = model(input_ids=batch["tokens"], labels=batch["labels"], use_cache=False).loss
        return found

    def accuracy(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        # All characters likeliest after the right ones before them: the same as writing the answer down greedily.
        said = model(input_ids=batch["tokens"], use_cache=False).logits[:, -ANSWER - 1 : -1].argmax(-1)
        right: torch.Tensor = (said == batch["tokens"][:, -ANSWER:]).all(-1)
        return right.double().mean()

    workload = from_torch(
        "worked sums",
        train=table(asked),
        validation=table(asked[:1]),
        also_evaluate={name: table(chosen) for name, chosen in (tested or {}).items()},
        model=lambda: student,
        loss=loss,
        metrics={"accuracy": accuracy},
        metric="accuracy",
        lower_is_better=False,
        fingerprint=f"worked sums {len(asked)}",
    )
    run = train(workload, recipe, budget=f"{steps}steps", seed=seed, eval_every=10**9)
    # A run that diverges has no numbers: nothing it says is right.
    return student, {name: float(run.metrics.get(f"val_accuracy_{name}") or 0.0) for name in tested or {}}


def brought_to(skill: float, width: int, *, seed: int, questions_too: bool = False, blocks: int = 25) -> Any:
    """Return a decoder of one layer that was taught until it answers a share of new questions rightly.

    How soon a decoder begins to add depends on its first weights: as many updates for all would give any skill.

    Args:
        skill: Share aimed at.
        width: Of the decoder.
        seed: Of weights, questions and order.
        questions_too: See :func:`taught`.
        blocks: At most that many times 100 updates.
    """
    from tutelage.studies._arithmetic import small_gpt2

    model = small_gpt2(width, 1, seed=seed)
    tested = {"all": worked_sums(400, seed=seed, part="validation")}
    size = 100 * 32
    asked = worked_sums(size * blocks, seed=seed, different=False)
    recipe = "constant;peak=0.002;batch_size=32"
    for number in range(blocks):
        here = asked[number * size : (number + 1) * size]
        model, found = taught(model, here, recipe, steps=100, seed=seed, tested=tested, questions_too=questions_too)
        if found["all"] >= skill:
            break
    return model
