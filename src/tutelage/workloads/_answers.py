"""Prompts with answers as token sequences: how they are stored, the loss on the answers, and greedy answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from tutelage.evaluation.rouge import rouge_l
from tutelage.workloads._protocol import Batch

#: Target of a place that has none.
NO_TARGET = -100
Report = Literal["none", "group", "task"]
#: Continues prompts: ``write(model, prompts, limit)`` returns the new tokens of each.
Write = Callable[[Any, Sequence[Sequence[int]], int], list[list[int]]]


class AnswerStore:
    """Prompts with their answers, padded to the longest of a batch; only the answers are targets.

    Args:
        tokens: All sequences end to end, each prompt, answer and end token, shape ``(total,)``, any integer type.
        offsets: Where each begins, and the end of the last, shape ``(examples + 1,)``.
        prompts: Tokens of each prompt, shape ``(examples,)``; at least 1 and less than the sequence has.
        numbers: What each example is called in a batch, such as its place among the references.
        padding: Token to fill up with.
        width: Places of a batch, where all batches must have the same; the longest of a batch where not given.

    Raises:
        ValueError: Lengths that do not fit together, or an example without answer tokens.

    Example:
        >>> store = AnswerStore(np.arange(7), np.array([0, 4, 7]), np.array([2, 1]), np.array([0, 1]), padding=0)
        >>> tokens, targets, numbers = store.batch(np.array([1, 0]))
        >>> tokens.tolist(), targets.tolist(), store.weights(np.array([1, 0])).tolist()
        ([[4, 5, 0], [0, 1, 2]], [[5, 6, -100], [-100, 2, 3]], [2.0, 2.0])
    """

    def __init__(
        self,
        tokens: NDArray[Any],
        offsets: NDArray[Any],
        prompts: NDArray[Any],
        numbers: NDArray[Any],
        *,
        padding: int,
        width: int | None = None,
    ) -> None:
        if not len(offsets) - 1 == len(prompts) == len(numbers) or int(offsets[-1]) != len(tokens):
            raise ValueError(
                f"AnswerStore: {len(prompts)} prompts need as many numbers and {len(prompts) + 1} offsets up to "
                f"{len(tokens)}, got {len(numbers)} and {len(offsets)}."
            )
        answers = np.diff(offsets) - prompts
        if len(prompts) and (int(prompts.min()) < 1 or int(answers.min()) < 1):
            raise ValueError("AnswerStore: every example must have a token of the prompt and one of the answer.")
        self.tokens, self.offsets, self.prompts, self.numbers = tokens, offsets, prompts, numbers
        self.padding, self.width = padding, width

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.prompts)

    @property
    def longest(self) -> int:
        """Places the longest example takes in a batch."""
        return int(np.diff(self.offsets).max(initial=2)) - 1

    @property
    def longest_answer(self) -> int:
        """Tokens of the longest answer, its end included."""
        return int((np.diff(self.offsets) - self.prompts).max(initial=1))

    def weights(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the answer tokens of each example: what it counts for in the mean loss of an effective batch."""
        answers: NDArray[np.float64] = (
            self.offsets[np.asarray(indices) + 1] - self.offsets[indices] - self.prompts[indices]
        ).astype(np.float64)
        return answers

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """Return tokens and targets, int64 ``(batch, longest)``, and the examples' numbers, int64 ``(batch,)``."""
        starts = self.offsets[indices]
        # The last token is a target only.
        lengths = self.offsets[np.asarray(indices) + 1] - starts - 1
        columns = np.arange(self.width or int(lengths.max()))
        real = columns < lengths[:, None]
        places = np.minimum(starts[:, None] + columns, len(self.tokens) - 2)
        tokens = np.where(real, self.tokens[places].astype(np.int64), self.padding)
        asked = real & (columns >= self.prompts[indices][:, None] - 1)
        targets = np.where(asked, self.tokens[places + 1].astype(np.int64), NO_TARGET)
        return torch.from_numpy(tokens), torch.from_numpy(targets), torch.from_numpy(self.numbers[indices])


def answer_loss(model: nn.Module, batch: Batch, *, loss: Callable[[nn.Module, Batch], torch.Tensor]) -> torch.Tensor:
    """Return the mean over the batch's answer tokens; ``loss`` is that of a language model on tokens and targets."""
    return loss(model, batch[:2])


def own_logits(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Return the logits of our decoder."""
    logits: torch.Tensor = model(tokens)
    return logits


def hub_logits(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Return the logits of a transformers model."""
    logits: torch.Tensor = model(input_ids=tokens).logits
    return logits.float()


@dataclass(frozen=True)
class OwnWriter:
    """Writes answers with our decoder until its ``end`` token."""

    end: int

    def __call__(self, model: Any, prompts: Sequence[Sequence[int]], limit: int) -> list[list[int]]:
        """Return the new tokens of each prompt."""
        from tutelage.models.generation import greedy

        return greedy(model, prompts, limit=limit, end=self.end)


@dataclass(frozen=True)
class HubWriter:
    """Writes answers with a transformers model until its ``end`` token, with its cache."""

    end: int
    padding: int

    def __call__(self, model: Any, prompts: Sequence[Sequence[int]], limit: int) -> list[list[int]]:
        """Return the new tokens of each prompt."""
        longest = max(map(len, prompts))
        device = next(model.parameters()).device
        rows = [[self.padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        found = model.generate(
            input_ids=torch.tensor(rows, device=device),
            attention_mask=torch.tensor(mask, device=device),
            max_new_tokens=limit,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=self.end,
            pad_token_id=self.padding,
        )
        written = [row[longest:] for row in found.tolist()]
        return [row[: row.index(self.end)] if self.end in row else row for row in written]


@dataclass(frozen=True)
class AnswerMeasure:
    """Measures the answers of a batch: loss, exact match and ROUGE-L; the means of tasks count alike.

    Args:
        logits: ``logits(model, tokens)``.
        write: Continues prompts greedily.
        decode: Text of tokens.
        references: Right answers of each example, by its number in the batch.
        tasks: Task of each example.
        groups: Group of its task, empty for none.
        weights: What it counts in the mean of a score: one over the examples of its task.
        limit: Tokens of an answer at most.
        report: Whether each group or task is measured apart too.
    """

    logits: Callable[[nn.Module, torch.Tensor], torch.Tensor]
    write: Write
    decode: Callable[[Sequence[int]], str]
    references: Sequence[Sequence[str]]
    tasks: Sequence[str]
    groups: Sequence[str]
    weights: Sequence[float]
    limit: int
    report: Report

    def __call__(self, model: nn.Module, batch: Batch) -> Mapping[str, tuple[float, float]]:
        """Return for each metric its sum over the batch and what that is a mean over."""
        tokens, targets, numbers = batch
        logits = self.logits(model, tokens)
        losses = functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=NO_TARGET, reduction="none")
        asked = targets != NO_TARGET
        right = (logits.argmax(-1) == targets) | ~asked
        answers = self.answers(model, tokens, targets, right, numbers)
        found: dict[str, list[float]] = {}
        rows = zip(numbers.tolist(), answers, losses.sum(1).tolist(), asked.sum(1).tolist(), strict=True)
        for number, text, nats, count in rows:
            weight = self.weights[number]
            exact = float(any(text.split() == reference.split() for reference in self.references[number]))
            scores = {"exact_match": exact, "rouge_l": rouge_l(text, self.references[number])}
            for label in ("", *self._labels(number)):
                pairs = {"loss": (nats, count), **{name: (weight * s, weight) for name, s in scores.items()}}
                for name, (value, over) in pairs.items():
                    pair = found.setdefault(f"{name}_{label}" if label else name, [0.0, 0.0])
                    pair[0] += value
                    pair[1] += over
        return {name: (pair[0], pair[1]) for name, pair in found.items()}

    def answers(
        self,
        model: nn.Module,
        tokens: torch.Tensor,
        targets: torch.Tensor,
        right: torch.Tensor,
        numbers: torch.Tensor,
    ) -> list[str]:
        """Return the greedy answer to each prompt.

        Greedy writing agrees with the reference until the first token that the model, given what is right so far,
        would not have chosen: answers that are right need no writing at all, others only what follows their mistake.
        """
        texts: dict[int, str] = {}
        waiting: list[tuple[int, list[int], list[int]]] = []
        start = (targets != NO_TARGET).int().argmax(1).tolist()
        wrong = (~right).int().argmax(1).tolist()
        for row, fine in enumerate(right.all(1).tolist()):
            if fine:
                texts[row] = self.references[int(numbers[row])][0]
            else:
                kept = targets[row, start[row] : wrong[row]].tolist()
                waiting.append((row, tokens[row, : wrong[row] + 1].tolist(), kept))
        if waiting:
            most = max(self.limit - len(kept) for _, _, kept in waiting)
            written = self.write(model, [prompt for _, prompt, _ in waiting], most)
            for (row, _, kept), more in zip(waiting, written, strict=True):
                texts[row] = self.decode([*kept, *more][: self.limit]).strip()
        return [texts[row] for row in range(len(texts))]

    def _labels(self, number: int) -> list[str]:
        if self.report == "none":
            return []
        name = self.groups[number] if self.report == "group" else self.tasks[number]
        return [label_of(name)] if name else []


def label_of(name: str) -> str:
    """Return what a task or group is called in the names of metrics.

    Example:
        >>> label_of("task023 - question/answer")
        'task023_question_answer'
    """
    return re.sub(r"\W+", "_", name).strip("_")
