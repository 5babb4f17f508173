"""Instruction sources of different skills, sizes, noise and style, and a small decoder tuned on mixtures of them.

Six skills of two tasks each, from the generated world of the workload ``instructions``, one token a word, so that a
small decoder learns them in seconds. A source takes most of its examples from one or two skills, the rest from all
others; some of its answers are wrong, and one source says more than was asked. Held-out questions are the same for all.

>>> rows = source_rows(SOURCES["numbers"], seed=0)
>>> len(rows), rows == source_rows(SOURCES["numbers"], seed=0)
(600, True)
>>> wordy("blue red")
'the words are blue red'
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.randomness import derive_seed, numpy_generator

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tutelage.workloads import Workload

#: Two tasks a skill.
SKILLS: Mapping[str, tuple[str, str]] = {
    "picking": ("first", "last"),
    "facts": ("category", "owner"),
    "facts in place": ("colour-first", "size-last"),
    "numbers": ("next-number", "number-name"),
    "opposites": ("opposite", "opposite-first"),
    "judging": ("is-animal", "count-animals"),
}
#: Questions whose hash lies below are asked and never learned from: half for validation, half for the test.
HELD_OUT = 0.2


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source of instructions.

    Args:
        size: Examples.
        skills: What it is rich in.
        noise: Share of the answers that belong to another question of the same task.
        wordy: Whether it says more than was asked.
    """

    size: int
    skills: tuple[str, ...]
    noise: float = 0.0
    wordy: bool = False


SOURCES: Mapping[str, Source] = {
    "lists": Source(size=1600, skills=("picking",)),
    "lookup": Source(size=1200, skills=("facts",), noise=0.1),
    "numbers": Source(size=600, skills=("numbers",)),
    "words": Source(size=400, skills=("opposites", "judging"), noise=0.05),
    "collected": Source(size=1000, skills=("facts in place", "judging"), noise=0.2),
    "chat": Source(size=1600, skills=("facts in place", "picking"), noise=0.1, wordy=True),
}
#: Share of a source's examples that come from the skills it is rich in.
RICH = 0.8


#: What a question is padded to, with its task and the mark that an answer follows, and the longest answer with its end.
QUESTION, ANSWER = 7, 8
PAD, END, MARK = "_", ".", "="
#: Sizes of the decoder.
WIDTH, LAYERS = 64, 2


@dataclass(frozen=True)
class Question:
    """A question: its skill, task and words, and the plain answer."""

    skill: str
    task: str
    words: str
    answer: str


def wordy(answer: str) -> str:
    """Return an answer that says more than was asked."""
    return f"the words are {answer}"


@cache
def questions(task: str) -> dict[str, tuple[Question, ...]]:
    """Return the different questions of a task by part: ``train``, ``validation`` and ``test``."""
    from tutelage.workloads._tasks import EXAMPLES, generated_rows
    from tutelage.workloads._tokens import passage_hash

    skill = next(name for name, tasks in SKILLS.items() if task in tasks)
    found: dict[str, list[Question]] = {"train": [], "validation": [], "test": []}
    for row in generated_rows([task], examples=EXAMPLES):
        place = passage_hash(row.input) / 2.0**64
        part = "train" if place >= HELD_OUT else "validation" if place < HELD_OUT / 2 else "test"
        found[part].append(Question(skill, task, row.input, row.outputs[0]))
    return {part: tuple(rows) for part, rows in found.items()}


def source_rows(source: Source, *, seed: int) -> list[tuple[Question, str]]:
    """Return the examples of a source, each a question and the answer that is learned.

    Args:
        source: What it is like.
        seed: Which examples, and which answers are wrong.
    """
    rng = numpy_generator(seed, f"source {source.skills} {source.size}")
    others = [skill for skill in SKILLS if skill not in source.skills]
    weights = {skill: RICH / len(source.skills) for skill in source.skills}
    weights |= {skill: (1 - RICH) / len(others) for skill in others}
    shares = np.array([weights[skill] for skill in SKILLS for _ in range(2)])
    tasks = [task for both in SKILLS.values() for task in both]
    found = []
    for task, count in zip(tasks, rng.multinomial(source.size, shares / shares.sum()).tolist(), strict=True):
        pool = questions(task)["train"]
        for place in rng.choice(len(pool), size=count, replace=count > len(pool)).tolist():
            answer = pool[int(rng.integers(len(pool))) if rng.random() < source.noise else place].answer
            found.append((pool[place], wordy(answer) if source.wordy else answer))
    return found


def held_out(part: str, each: int) -> list[Question]:
    """Return the first ``each`` questions of every task of ``validation`` or ``test``."""
    return [one for tasks in SKILLS.values() for task in tasks for one in questions(task)[part][:each]]


@cache
def vocabulary() -> dict[str, int]:
    """Return the number of each word, task and mark."""
    words = {word for tasks in SKILLS.values() for task in tasks for one in questions(task)["train"]
             for word in f"{one.words} {one.answer}".split()}  # fmt: skip
    tasks = [task for both in SKILLS.values() for task in both]
    return {word: number for number, word in enumerate([PAD, END, MARK, *tasks, *sorted({*words, *wordy("").split()})])}


def encoded(rows: Sequence[tuple[Question, str]]) -> dict[str, torch.Tensor]:
    """Return tokens and labels of questions and answers, int64 ``(n, 15)``; -100 where nothing is learned."""
    import torch

    known = vocabulary()
    tokens = torch.zeros((len(rows), QUESTION + ANSWER), dtype=torch.int64)
    labels = torch.full_like(tokens, -100)
    for place, (asked, answer) in enumerate(rows):
        question = [known[word] for word in (asked.task, *asked.words.split())]
        said = [known[word] for word in (*answer.split(), END)]
        tokens[place, : len(question)] = torch.tensor(question)
        tokens[place, QUESTION - 1] = known[MARK]
        tokens[place, QUESTION : QUESTION + len(said)] = torch.tensor(said)
        labels[place, QUESTION : QUESTION + len(said)] = torch.tensor(said)
    return {"tokens": tokens, "labels": labels}


def fresh_model(seed: int) -> Any:
    """Return a decoder of transformers with weights of its own for each place, without dropout."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(derive_seed(seed, "init"))
    known = vocabulary()
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(known),
            n_positions=QUESTION + ANSWER,
            n_embd=WIDTH,
            n_layer=LAYERS,
            n_head=4,
            n_inner=2 * WIDTH,
            initializer_range=0.08,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=None,
            eos_token_id=known[END],
            pad_token_id=known[PAD],
        )
    )


def _learning(model: nn.Module, rows: Sequence[tuple[Question, str]]) -> Workload:
    """Return the workload in which ``model`` itself, no copy of it, learns to answer."""
    import torch

    from tutelage.workloads.custom import from_torch

    def loss(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        # All answer tokens of the batch count alike, their end included.
        tokens = batch["tokens"]
        found: torch.Tensor = model(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), labels=batch["labels"], use_cache=False
        ).loss
        return found

    return from_torch(
        "instruction sources",
        train=encoded(rows),
        # Answers are judged afterwards; the run itself measures next to nothing.
        validation=encoded(rows[:4]),
        model=lambda: model,
        loss=loss,
        fingerprint=f"instruction sources {len(rows)}",
    )


def base_model(*, recipe: str, budget: str, seed: int) -> nn.Module:
    """Return a decoder that has seen a little of every skill, right and in the plain style."""
    from tutelage.training import train

    model: nn.Module = fresh_model(seed)
    rows = [(one, one.answer) for tasks in SKILLS.values() for task in tasks for one in questions(task)["train"]]
    train(_learning(model, rows), recipe, budget=budget, seed=seed, eval_every=10**9)
    return model


def tuned(
    base: nn.Module,
    sources: Mapping[str, Sequence[tuple[Question, str]]],
    recipe: str,
    mixture: str,
    *,
    budget: str,
    seed: int,
) -> nn.Module:
    """Return the base model tuned on a mixture of sources.

    Args:
        base: Where it starts; stays as it is.
        sources: Examples of each source.
        recipe: With a batch size.
        mixture: Spec of :class:`tutelage.selection.Mixture`.
        budget: In steps.
        seed: Of the order.
    """
    from tutelage.durations import Budget
    from tutelage.selection import from_spec
    from tutelage.training import Recipe, train

    model, choice = copy.deepcopy(base), Recipe.parse(recipe)
    order = from_spec(mixture).batches(
        [len(rows) for rows in sources.values()],
        batch_size=choice.batch_size,
        total_steps=int(Budget.parse(budget).duration.amount),
        seed=seed,
    )
    rows = [row for rows in sources.values() for row in rows]
    train(_learning(model, rows), choice, budget=budget, seed=seed, order=order, eval_every=10**9)
    return model


def answers(model: Any, asked: Sequence[Question]) -> list[str]:
    """Return a model's greedy answer to each question."""
    import torch

    names = list(vocabulary())
    model.eval()
    with torch.inference_mode():
        here = encoded([(one, "") for one in asked])["tokens"][:, :QUESTION]
        for _ in range(ANSWER):
            said = (
                model(input_ids=here, attention_mask=torch.ones_like(here), use_cache=False).logits[:, -1:].argmax(-1)
            )
            here = torch.cat([here, said], 1)
    return [" ".join(names[token] for token in row).partition(END)[0].strip() for row in here[:, QUESTION:].tolist()]


@dataclass(frozen=True)
class Answered:
    """Questions and what a model answers.

    Args:
        skills: Skill of each.
        right: Whether the answer is, in either style.
        unique: Different words in it.
        reference: Different words in the plain right answer.
    """

    skills: tuple[str, ...]
    right: tuple[bool, ...]
    unique: tuple[int, ...]
    reference: tuple[int, ...]

    @classmethod
    def of(cls, asked: Sequence[Question], said: Sequence[str]) -> Answered:
        """Return what is known of the answers that were given."""
        return cls(
            skills=tuple(one.skill for one in asked),
            right=tuple(text in (one.answer, wordy(one.answer)) for one, text in zip(asked, said, strict=True)),
            unique=tuple(len(set(text.split())) for text in said),
            reference=tuple(len(set(one.answer.split())) for one in asked),
        )

    def accuracy(self) -> dict[str, float]:
        """Return the share of right answers of each skill."""
        rows: dict[str, list[bool]] = defaultdict(list)
        for skill, right in zip(self.skills, self.right, strict=True):
            rows[skill].append(right)
        return {skill: float(np.mean(found)) for skill, found in rows.items()}

    def win_rate(self, *, truth: float = 1.0, taste: float = 1.0) -> float:
        """Return how often a judge by rule prefers the answers to the plain right ones.

        It does so with the probability ``1 / (1 + exp(truth (1 - right) - taste ln(unique / reference)))``.

        Args:
            truth: What being right is worth to it.
            taste: What more different words are worth to it.
        """
        lengths = np.log(np.maximum(self.unique, 1) / np.array(self.reference))
        return float(np.mean(1 / (1 + np.exp(truth * (1.0 - np.array(self.right, dtype=float)) - taste * lengths))))
