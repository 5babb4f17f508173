"""Sums of token losses of many texts under a causal model: sorted, padded, in windows where a text is too long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from tutelage.signals._batches import padded, token_batches
from tutelage.signals._language_model import LanguageModel

#: Logits turned into losses at once: 2^22 float32 are 16 MiB.
_ELEMENTS = 2**22


class Encoded(NamedTuple):
    """A text's tokens and the place of the first one that is scored."""

    tokens: list[int]
    first: int


class TextLosses(NamedTuple):
    """For each text the sum of ``-log p`` over its scored tokens, in nats, and their number; shape ``(n,)`` each.

    ``read`` and ``passes`` are the tokens the model read and the sequences it read them in.
    """

    total: NDArray[np.float64]
    scored: NDArray[np.int64]
    read: int
    passes: int


def encode_texts(model: LanguageModel, texts: Sequence[str], prompts: Sequence[str] | None = None) -> list[Encoded]:
    """Return the tokens of texts, after those of their prompts where there are any.

    Prompt and text are cut into tokens apart, so that the same tokens are scored whatever the prompt. The model's start
    token comes first where it has one; without start and prompt the first token has nothing to be predicted from and is
    not scored.

    Args:
        model: Its tokenizer and start token are used.
        texts: The texts to score.
        prompts: What comes before each; not scored.
    """
    if not texts:
        return []
    bodies = model.encode(list(texts))
    heads = model.encode(list(prompts)) if prompts is not None else [()] * len(bodies)
    start = () if model.start is None else (model.start,)
    found = []
    for head, body in zip(heads, bodies, strict=True):
        before = [*start, *head]
        found.append(Encoded([*before, *body], max(1, len(before))))
    return found


def text_losses(model: LanguageModel, encoded: Sequence[Encoded], *, batch_tokens: int = 4096) -> TextLosses:
    """Return the losses of texts, in their order; the same for any ``batch_tokens`` up to rounding.

    **Formula**: ``total = sum over scored t of -log p(x_t | x_<t)``, ``scored`` the number of those ``t``. A text with
    more tokens than the model's context ``C`` is read in windows of ``C`` that begin every ``C // 2`` tokens; each
    token counts once, in the first window that holds it, so from the second window on it is predicted from at least
    ``C // 2`` tokens before it.

    Args:
        model: The model.
        encoded: Tokens and first scored place of each text.
        batch_tokens: Places of a batch at most, padding included.
    """
    pieces = [
        (row, begin, stop, first)
        for row, text in enumerate(encoded)
        for begin, stop, first in windows(len(text.tokens), text.first, model.context)
    ]
    total, count = np.zeros(len(encoded)), np.zeros(len(encoded), dtype=np.int64)
    for row, _, stop, first in pieces:
        count[row] += stop + 1 - first
    lengths = [stop - begin for _, begin, stop, _ in pieces]
    with torch.inference_mode():
        for batch in token_batches(lengths, batch_tokens):
            chosen = [pieces[place] for place in batch]
            inputs = padded([encoded[row].tokens[begin:stop] for row, begin, stop, _ in chosen], model.device)
            losses = _token_losses(model.logits(inputs), encoded, chosen)
            rows = np.repeat([row for row, *_ in chosen], [stop + 1 - first for _, _, stop, first in chosen])
            np.add.at(total, rows, losses)
    return TextLosses(total, count, sum(lengths), len(lengths))


def windows(length: int, first: int, context: int | None) -> list[tuple[int, int, int]]:
    """Return windows ``(begin, stop, first)``: inputs ``[begin, stop)`` predict tokens ``first`` to ``stop``.

    Args:
        length: Tokens of the text.
        first: First one that is scored, >= 1.
        context: Inputs of a window at most.

    Example:
        >>> windows(length=10, first=1, context=4)
        [(0, 4, 1), (2, 6, 5), (4, 8, 7), (5, 9, 9)]
    """
    inputs = length - 1
    if length <= first:
        return []
    if context is None or inputs <= context:
        return [(0, inputs, first)]
    found, begin, reached = [], 0, first
    while reached < length:
        begin = min(begin, inputs - context)
        if begin + context >= reached:  # a window that ends inside the prompt scores nothing
            found.append((begin, begin + context, reached))
            reached = begin + context + 1
        begin += max(1, context // 2)
    return found


def _token_losses(
    logits: torch.Tensor, encoded: Sequence[Encoded], chosen: Sequence[tuple[int, int, int, int]]
) -> NDArray[np.float64]:
    """Return the losses of the scored tokens of a batch, one text after another."""
    longest, classes = logits.shape[1], logits.shape[2]
    places, targets = [], []
    for number, (row, begin, stop, first) in enumerate(chosen):
        places.append(np.arange(first - 1 - begin, stop - begin) + number * longest)
        targets.append(encoded[row].tokens[first : stop + 1])
    where = torch.from_numpy(np.concatenate(places)).to(logits.device)
    wanted = torch.from_numpy(np.concatenate(targets).astype(np.int64)).to(logits.device)
    flat, rows = logits.flatten(0, 1), max(1, _ELEMENTS // classes)
    pieces = [slice(start, start + rows) for start in range(0, len(where), rows)]
    found = [functional.cross_entropy(flat[where[piece]].float(), wanted[piece], reduction="none") for piece in pieces]
    return torch.cat(found).double().cpu().numpy()
