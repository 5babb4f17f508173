"""Instruction data with five kinds of faults, and the indicators by which a rule may tell them.

>>> [len(source_rows(kind, 20, seed=0)) for kind in KINDS]
[20, 20, 20, 20, 20]
>>> rows, shares = random_mixture(50, seed=0)
>>> len(rows), round(sum(shares), 6)
(50, 1.0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.randomness import derive_seed, numpy_generator
from tutelage.studies._instruction_sources import QUESTION, SKILLS, Question, encoded, questions, wordy

#: A question and the answer that is learned.
Row = tuple[Question, str]
#: What examples are like.
KINDS = ("clean", "noisy", "cut", "repeated", "wordy")
#: Share of the noisy source's answers that belong to another question of the task.
NOISE = 0.6
#: Different examples of the repeated source.
FEW = 40
#: How often the reward judges the wrong way.
REWARD_ERROR = 0.2
INDICATORS = ("length", "mtld", "perplexity", "knn_6", "reward")


def source_rows(kind: str, size: int, *, seed: int) -> list[Row]:
    """Return examples of one kind, all twelve tasks alike.

    ``clean``: right answers; ``noisy``: some belong to other questions; ``cut``: questions without their last word;
    ``repeated``: few different examples; ``wordy``: answers that say more than was asked.
    """
    rng = numpy_generator(seed, f"source {kind}")
    tasks = [task for both in SKILLS.values() for task in both]
    distinct = min(size, FEW) if kind == "repeated" else size
    found: list[Row] = []
    for place in range(distinct):
        pool = questions(tasks[place % len(tasks)])["train"]
        asked = pool[int(rng.integers(len(pool)))]
        answer = asked.answer
        if kind == "noisy" and rng.random() < NOISE:
            answer = pool[int(rng.integers(len(pool)))].answer
        elif kind == "cut":
            asked = replace(asked, words=asked.words.rpartition(" ")[0])
        elif kind == "wordy":
            answer = wordy(answer)
        found.append((asked, answer))
    return [found[place % distinct] for place in range(size)]


def random_mixture(size: int, *, seed: int) -> tuple[list[Row], list[float]]:
    """Return examples of all sources in random proportions, uniform on the simplex, and the proportions."""
    from tutelage.selection import Mixture

    shares = numpy_generator(seed, "proportions").dirichlet(np.ones(len(KINDS)))
    sources = {kind: source_rows(kind, size, seed=seed) for kind in KINDS}
    dealt = Mixture(weights=tuple(shares.tolist())).deal([size] * len(KINDS), total=size, seed=seed)
    rows = [row for kind in KINDS for row in sources[kind]]
    return [rows[place] for place in dealt.at(np.arange(size)).tolist()], shares.tolist()


def right(prompt: str, response: str) -> bool:
    """Return whether a response is the plain right answer of a question that is known."""
    task, _, words = prompt.partition(" ")
    return response == _answers(task).get(words)


def indicators(model: Any, rows: Sequence[Row], *, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return InstructMining's indicators of each example.

    Args:
        model: The base model, whose losses and hidden states are used.
        rows: More than six.
        seed: Of the reward's errors.
    """
    from tutelage.signals import instruction_indicators

    errs = numpy_generator(seed, f"reward of {len(rows)}").random(len(rows)) < REWARD_ERROR

    def reward(prompts: list[str], responses: list[str]) -> NDArray[np.float64]:
        judged = [right(*pair) for pair in zip(prompts, responses, strict=True)]
        return (np.array(judged) ^ errs).astype(np.float64)

    return instruction_indicators(
        {"prompt": [f"{asked.task} {asked.words}" for asked, _ in rows], "response": [said for _, said in rows]},
        encoder=lambda texts: hidden_states(model, [_row(*text.split("\n")) for text in texts]),
        ratings={
            "perplexity": lambda prompts, responses: np.exp(
                mean_losses(model, [_row(*pair) for pair in zip(prompts, responses, strict=True)])
            ),
            "reward": reward,
        },
        which=INDICATORS,
    )


def in_equal_pools(model: Any, rows: Sequence[Row], size: int, *, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return the indicators of each example within random pools of ``size``: distances shrink as a pool grows."""
    order = numpy_generator(seed, "pools").permutation(len(rows))
    found = {name: np.empty(len(rows)) for name in INDICATORS}
    for number, start in enumerate(range(0, len(rows), size)):
        places = order[start : start + size]
        part = indicators(model, [rows[place] for place in places], seed=derive_seed(seed, f"pool {number}"))
        for name, values in part.items():
            found[name][places] = values
    return found


def loss_of(model: Any, asked: Sequence[Question]) -> float:
    """Return the mean loss over all tokens of the plain right answers, their end included, in nats."""
    losses, counts = _losses(model, [(one, one.answer) for one in asked])
    return float(losses.sum() / counts.sum())


def mean_losses(model: Any, rows: Sequence[Row]) -> NDArray[np.float64]:
    """Return the mean loss of each answer's tokens, its end included, in nats."""
    losses, counts = _losses(model, rows)
    return losses / counts


def _losses(model: Any, rows: Sequence[Row]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the summed loss and the number of tokens of each answer."""
    import torch

    batch = encoded(rows)
    tokens, labels = batch["tokens"], batch["labels"][:, 1:]
    model.eval()
    with torch.inference_mode():
        logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=-100)
    return losses.sum(1).double().numpy(), (labels >= 0).sum(1).double().numpy()


def hidden_states(model: Any, rows: Sequence[Row]) -> NDArray[np.float64]:
    """Return the mean of the last hidden states over each question, its mark and answer, ``(n, width)``."""
    import torch

    batch = encoded(rows)
    tokens = batch["tokens"]
    # What lies between a question and its mark, and behind an answer, is padding.
    used = (batch["labels"] >= 0) | ((tokens > 0) & (torch.arange(tokens.shape[1]) < QUESTION))
    model.eval()
    with torch.inference_mode():
        states = model.transformer(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False
        ).last_hidden_state
    weights = used.double()[..., None]
    found: NDArray[np.float64] = ((states.double() * weights).sum(1) / weights.sum(1)).numpy()
    return found


def _row(prompt: str, response: str) -> Row:
    task, _, words = prompt.partition(" ")
    return Question("", task, words, ""), response


@cache
def _answers(task: str) -> Mapping[str, str]:
    return {one.words: one.answer for part in questions(task).values() for one in part}
