"""Probes: twelve small abilities of a language model, measured by the answer it finds likeliest.

>>> panel = probe_panel()
>>> [probe.name for probe in panel if probe.domain == "grammar"]
['agreement', 'gender', 'order']
>>> panel[2].sentences(2)
['nest ({}).', 'nest {<<{}>>}.']
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.errors import UnknownPart, did_you_mean
from tutelage.evaluation._probe_panel import PANEL, Question
from tutelage.randomness import numpy_generator

if TYPE_CHECKING:
    import torch

__all__ = ["Encode", "Evaluator", "Item", "Logits", "Probe", "Question", "probe_evaluators", "probe_panel"]

#: Returns the tokens of a text; and the logits, ``(batch, length, vocabulary)``, of tokens int64 ``(batch, length)``.
Encode = Callable[[str], Sequence[int]]
Logits = Callable[[Any, "torch.Tensor"], "torch.Tensor"]
#: What a :class:`tutelage.training.CheckpointTracker` takes: scores a model; its chance level; its domain.
Evaluator = tuple[Callable[[Any], tuple[float, float]], float, str]

#: Draws without a new item after which a probe is taken to have no more of them.
_MISSES = 1_000
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Item:
    """A question to a model: which of the choices goes on after the prompt?

    Args:
        prompt: What comes before, from the start of its line on.
        choices: Different continuations, as short as tells them apart where they begin differently.
        answer: Place of the right one.
    """

    prompt: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True, kw_only=True)
class Probe:
    r"""One ability: sentences that teach it, and held-out questions that show whether it is there.

    Use it to see abilities come while a model trains, at the cost of one short pass over a few dozen bytes a question.

    **Formula**: an item is right where the answer has the largest ``sum over its tokens of log p(token | prompt, tokens
    before it)`` among the choices; where ``m`` choices share the largest value and the answer is one of them it counts
    ``1 / m``. The score is the mean over items. No answer of a fixed list is asked for more often than another, so
    that a model that always says the same scores ``chance``.

    Args:
        name: Short name.
        domain: What it belongs to.
        chance: Score of guessing: 1 over the number of choices.
        draw: ``draw(rng, asked)`` returns a :class:`Question`, one of those that are asked or one to learn from. It
            keeps the two apart by itself, as ``tutelage.evaluation._probe_panel`` does by hash of the content.

    Returns:
        ``sentences(count)``: lines of text to train on. ``items(count)``: held-out questions, all different.
        ``score(model)``: share of items answered right, and half the width of its 95 % interval.

    Raises:
        ValueError: A chance outside (0, 1); from ``items``: fewer than one a choice, a question with another number of
            choices than 1 / chance, or none at all; from ``score``: prompts of no tokens.

    Example:
        >>> compare = probe_panel(["compare"])[0]
        >>> compare.items(2)[0]
        Item(prompt='\n12 vs 57: ', choices=('l', 'm'), answer=0)
        >>> import torch
        >>> says_more = lambda model, ids: torch.nn.functional.one_hot(torch.full(ids.shape, ord("m")), 257).float()
        >>> compare.score(None, count=100, logits=says_more)[0]
        0.5

    Use with:
        Any model that returns logits of a batch of tokens, or an object that holds them as ``logits`` (transformers).
        Tokens are bytes where ``encode`` is not given: the ids of ``TextLM(tokenizer="bytes")``. With a subword
        tokenizer give its ``encode``; prompt and choice are encoded apart. :func:`probe_evaluators` makes a
        ``CheckpointTracker`` of a panel, ``tutelage.workloads.write_probe_text`` a text to train on.

    Helps / does not help:
        For models small enough to learn from a million bytes that contain the sentences; a model that never saw them
        stays at chance. Scores of 100 items are uncertain by 0.1.

    Relations:
        The choice by likelihood of benchmarks such as HellaSwag or ARC, with questions that a generator makes.

    Source:
        Tracking a panel of tasks over checkpoints: The Fine Line, 2024, arXiv 2404.01204. The probes are ours.
        Interval: Agresti and Coull, The American Statistician 52, 1998 (two successes and two failures added).
    """

    name: str
    domain: str
    chance: float
    draw: Callable[[np.random.Generator, bool], Question]

    def __post_init__(self) -> None:
        """Refuse a chance level that no number of choices has."""
        if not 0 < self.chance < 1:
            raise ValueError(f"Probe {self.name}: chance must be above 0 and below 1, got {self.chance}.")

    def questions(self, count: int, *, seed: int = 0) -> list[Question]:
        """Return ``count`` questions with their answers, to learn from; the same for the same seed."""
        rng = numpy_generator(seed, f"probe {self.name}, sentences")
        return [self.draw(rng, False) for _ in range(count)]

    def sentences(self, count: int, *, seed: int = 0) -> list[str]:
        """Return ``count`` lines to train on, none of which holds an asked question with its answer."""
        return [question.sentence for question in self.questions(count, seed=seed)]

    def items(self, count: int = 100, *, seed: int = 0) -> list[Item]:
        """Return held-out questions, all different; fewer than ``count`` where there are no more.

        Raises:
            ValueError: ``count`` below the number of choices, so that not every answer could be right once.
        """
        if count * self.chance < 1 - 1e-9:
            choices = math.ceil(1 / self.chance - 1e-9)
            raise ValueError(f"Probe {self.name}: count must be >= {choices}, its number of choices, got {count}.")
        return list(_items(self, count, seed))

    def score(
        self,
        model: Any,
        *,
        count: int = 100,
        seed: int = 0,
        encode: Encode | None = None,
        logits: Logits | None = None,
    ) -> tuple[float, float]:
        """Return the share of items answered right, and half the width of its 95 % interval.

        Args:
            model: What ``logits`` takes; nothing is done to it but calling it.
            count: Items at most.
            seed: Of the items.
            encode: Text to tokens; its UTF-8 bytes where not given.
            logits: ``logits(model, ids)``; ``model(ids)``, or its ``logits``, where not given.
        """
        items = self.items(count, seed=seed)
        right = float(sum(_rightness(model, items, encode or _bytes_of, logits or _logits_of)))
        share, added = right / len(items), len(items) + 4
        middle = (right + 2) / added
        return share, 1.96 * math.sqrt(middle * (1 - middle) / added)


def probe_panel(names: Iterable[str] | None = None) -> tuple[Probe, ...]:
    """Return the panel: twelve probes in four domains, or those named.

    copying: ``copy`` a word of four letters, ``repeat`` a pattern of three, close a ``bracket``. grammar: ``agreement``
    of is and are with the first noun, ``gender`` of he and she with a name, ``order`` of active and passive. facts:
    ``one-hop`` recall of stated facts, ``two-hop`` conclusions and ``reverse`` facts that are never stated.
    arithmetic: last digit of a ``sum``, ``compare`` two numbers, ``count`` letters.

    Args:
        names: Which of them, in this order; all where not given.

    Raises:
        UnknownPart: There is no such probe; names the nearest.

    Example:
        >>> for probe in probe_panel(["copy", "agreement", "one-hop", "sum"]):
        ...     print(f"{probe.domain}, chance {probe.chance:g}: {probe.sentences(1, seed=1)[0]}")
        copying, chance 0.25: copy bkmg: bkmg.
        grammar, chance 0.5: the kings near the hen are sad.
        facts, chance 0.25: otto lives in bern.
        arithmetic, chance 0.1: 9+5=4.
    """
    known = {name: Probe(name=name, domain=domain, chance=1 / n, draw=draw) for name, domain, n, draw in PANEL}
    chosen = list(known) if names is None else list(names)
    for name in chosen:
        if name not in known:
            raise UnknownPart(f'No probe "{name}".{did_you_mean(name, known)} All: {", ".join(known)}.')
    return tuple(known[name] for name in chosen)


def probe_evaluators(
    probes: Iterable[Probe | str] | None = None,
    *,
    count: int = 100,
    seed: int = 0,
    encode: Encode | None = None,
    logits: Logits | None = None,
) -> dict[str, Evaluator]:
    """Return probes as ``CheckpointTracker`` takes them: ``{name: (score a model, chance, domain)}``.

    Args:
        probes: The probes, or names of the panel; the whole panel where not given.
        count: Items of each at most.
        seed: Of the items.
        encode: See :meth:`Probe.score`.
        logits: See :meth:`Probe.score`.

    Raises:
        UnknownPart: There is no such probe.

    Example:
        >>> {name: (chance, domain) for name, (_, chance, domain) in probe_evaluators(["copy", "sum"]).items()}
        {'copy': (0.25, 'copying'), 'sum': (0.1, 'arithmetic')}
    """
    chosen = probe_panel() if probes is None else tuple(probes)
    found = [item for probe in chosen for item in ((probe,) if isinstance(probe, Probe) else probe_panel([probe]))]
    return {
        probe.name: (
            partial(probe.score, count=count, seed=seed, encode=encode, logits=logits),
            probe.chance,
            probe.domain,
        )
        for probe in found
    }


@lru_cache(maxsize=256)
def _items(probe: Probe, count: int, seed: int) -> tuple[Item, ...]:
    rng = numpy_generator(seed, f"probe {probe.name}, items")
    found: dict[tuple[str, frozenset[str]], Question] = {}
    given: Counter[tuple[frozenset[str], str]] = Counter()
    misses = 0
    while len(found) < count and misses < _MISSES:
        question = probe.draw(rng, True)
        options = frozenset(question.options)
        if not math.isclose(probe.chance * len(options), 1):
            raise ValueError(
                f"Probe {probe.name}: chance is {probe.chance:g}, which is not 1 over the {len(options)} different "
                f"choices of a question ({', '.join(question.options)})."
            )
        key = (options, question.right)
        misses += 1
        if (question.before, options) not in found and given[key] < math.ceil(count * probe.chance):
            given[key] += 1
            found[question.before, options] = question
            misses = 0
    questions = list(found.values())
    if len({options for options, _ in given}) == 1:
        # The same choices every time: each is right equally often, or a model with a habit would be above chance.
        least = min(given[key] for key in given) if math.isclose(len(given) * probe.chance, 1) else 0
        left = dict.fromkeys((right for _, right in given), least)
        kept = []
        for question in questions:
            left[question.right] -= 1
            if left[question.right] >= 0:
                kept.append(question)
        questions = kept
    if not questions:
        raise ValueError(f"Probe {probe.name}: draw gave no question, or some choice is never the right one.")
    return tuple(map(_item, questions))


def _item(question: Question) -> Item:
    first = tuple(option[:1] for option in question.options)
    apart = len(set(first)) == len(first)
    return Item(f"\n{question.before}", first if apart else question.options, question.answer)


def _bytes_of(text: str) -> Sequence[int]:
    return text.encode()


def _logits_of(model: Any, ids: torch.Tensor) -> torch.Tensor:
    found = model(ids)
    logits: torch.Tensor = getattr(found, "logits", found)
    return logits


def _rightness(model: Any, items: Sequence[Item], encode: Encode, logits: Logits) -> list[float]:
    found = []
    for item, values in zip(items, _likelihoods(model, items, encode, logits), strict=True):
        best = [place for place, value in enumerate(values) if value == max(values)]
        found.append(1 / len(best) if item.answer in best else 0.0)
    return found


def _likelihoods(model: Any, items: Sequence[Item], encode: Encode, logits: Logits) -> list[list[float]]:
    """Return the log-probability of each choice of each item, in nats, summed over its tokens."""
    import torch

    found = [[0.0] * len(item.choices) for item in items]
    #: By the tokens a model has to read: which item and choice a token after one of its positions counts for.
    needs: dict[tuple[int, ...], list[tuple[int, int, int, int]]] = {}
    for number, item in enumerate(items):
        prompt = list(encode(item.prompt))
        for place, choice in enumerate(item.choices):
            tokens = list(encode(choice))
            if not prompt or not tokens:
                raise ValueError(f"score: encode must give at least one token for {item.prompt!r} and {choice!r}.")
            # Choices of one token share a row: what comes before them is the same.
            row = needs.setdefault(tuple(prompt + tokens[:-1]), [])
            row += [(number, place, len(prompt) - 1 + index, token) for index, token in enumerate(tokens)]
    device = next((parameter.device for parameter in getattr(model, "parameters", list)()), torch.device("cpu"))
    # Rows of like length share a batch; what fills them up stands behind all that is looked at.
    rows = sorted(needs, key=len)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        batch = rows[start : start + _ROWS_AT_ONCE]
        width = len(batch[-1])
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in batch], device=device)
        wanted = [(line, *need) for line, row in enumerate(batch) for need in needs[row]]
        line, position, token = (torch.tensor([need[k] for need in wanted], device=device) for k in (0, 3, 4))
        with torch.no_grad():
            values = logits(model, ids)[line, position].float().log_softmax(-1)
        picked = values.gather(1, token[:, None])[:, 0].tolist()
        for (_, number, place, _, _), value in zip(wanted, picked, strict=True):
            found[number][place] += value
    return found
