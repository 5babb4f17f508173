"""Angle concentration of texts: encoded, batched, read off one pass that ends at the layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from tutelage.errors import ConfigError
from tutelage.signals._angles import AngleProbe, AngleScores, Pairs, PassOver
from tutelage.signals._batches import padded, token_batches
from tutelage.signals._language_model import LanguageModel


class TextAngles(NamedTuple):
    """Scores ``(n,)``, and the tokens and sequences the model read for them."""

    scores: AngleScores
    read: int
    passes: int


def text_angles(
    model: LanguageModel,
    questions: Sequence[str],
    prefixes: Sequence[str] | None,
    *,
    layer: str,
    pairs: Pairs,
    batch_tokens: int,
) -> TextAngles:
    """Return the scores of each question after its prefix, shape ``(n,)``.

    Raises:
        ConfigError: A layer that is not there or does not run, or a prefix that leaves no room in the context.
    """
    tokens, begins = _encoded(model, questions, prefixes)
    scores = AngleScores(*(np.full(len(tokens), np.nan) for _ in AngleScores._fields))
    asked = [row for row, sequence in enumerate(tokens) if len(sequence) > begins[row]]
    probe = AngleProbe(model.module, layer=layer, pairs=pairs, stop=True)
    with probe, torch.inference_mode():
        for batch in token_batches([len(tokens[row]) for row in asked], batch_tokens):
            rows = [asked[place] for place in batch]
            inputs = padded([tokens[row] for row in rows], model.device)
            place = torch.arange(inputs.shape[1], device=inputs.device)
            first = torch.tensor([begins[row] for row in rows], device=inputs.device)[:, None]
            last = torch.tensor([len(tokens[row]) for row in rows], device=inputs.device)[:, None]
            probe.expect((place >= first) & (place < last), None if prefixes is None else place < first)
            try:
                model.logits(inputs)
            except PassOver:
                for whole, part in zip(scores, probe.scores, strict=True):
                    whole[rows] = part
            else:
                raise ConfigError(f'The layer "{layer}" did not run in a pass; name another as layer=.')
    return TextAngles(scores, sum(len(tokens[row]) for row in asked), len(asked))


def _encoded(
    model: LanguageModel, questions: Sequence[str], prefixes: Sequence[str] | None
) -> tuple[list[list[int]], list[int]]:
    """Return the tokens of each text, and where its question begins."""
    if not questions:
        return [], []
    start = [] if model.start is None else [model.start]
    heads = [()] * len(questions) if prefixes is None else model.encode(list(prefixes))
    tokens, begins = [], []
    for head, body in zip(heads, model.encode(list(questions)), strict=True):
        before = [*start, *head]
        if model.context is not None and len(before) >= model.context:
            raise ConfigError(
                f"A prefix of {len(before)} tokens leaves no room for a question in the {model.context} positions of "
                f"{model.name}; shorten it."
            )
        tokens.append([*before, *body][: model.context])
        begins.append(len(before))
    return tokens, begins
