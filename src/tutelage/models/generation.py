"""greedy: the likeliest next token again and again, many prompts at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from tutelage.models._fused import Triple, rms_norm, rotations, squared_relu_mlp
from tutelage.models.decoder import Decoder

#: For each layer keys and values, ``(batch, heads, places, head_width)``.
_Cache = list[tuple[torch.Tensor, torch.Tensor]]


@torch.no_grad()
def greedy(model: Decoder, prompts: Sequence[Sequence[int]], *, limit: int, end: int | None = None) -> list[list[int]]:
    """Continue prompts of any lengths by the likeliest token, all of them in one batch.

    Keys and values of what was read are kept, so a further token costs one position instead of a whole pass.

    **Formula**: ``x_(t+1) = argmax_v logits(x_1 .. x_t)_v``, until ``end`` or ``limit`` tokens, or the context is full.

    Args:
        model: The decoder; used as it is, so call ``model.eval()`` where that matters.
        prompts: Tokens of each prompt, at least one, at most the model's context.
        limit: New tokens of each at most, >= 0.
        end: Token that ends a continuation; it is not returned. ``None`` for no such token.

    Returns:
        The new tokens of each prompt, in the order of the prompts.

    Raises:
        ValueError: An empty prompt, one longer than the context, or a negative limit.

    Example:
        >>> from tutelage.models import DecoderConfig
        >>> _ = torch.manual_seed(0)
        >>> model = Decoder(DecoderConfig.preset("nano", vocabulary_size=16))
        >>> [len(tokens) for tokens in greedy(model, [[1, 2, 3], [4]], limit=5)]
        [5, 5]

    Use with:
        :class:`tutelage.models.Decoder`; transformers models have ``generate``.

    Helps / does not help:
        Cheap where prompts are of similar length; very different ones are padded to the longest.

    Relations:
        Like calling the model on the growing sequence each time, whose logits it reproduces.

    Source:
        Caching keys and values: Fast transformer decoding, Shazeer, 2019, arXiv 1911.02150, section 2.4.
    """
    context = model.config.context
    if limit < 0:
        raise ValueError(f"greedy: limit must be >= 0, got {limit}.")
    for prompt in prompts:
        if not 1 <= len(prompt) <= context:
            raise ValueError(f"greedy: a prompt must have 1 to {context} tokens, the context, got {len(prompt)}.")
    if not prompts or not limit:
        return [[] for _ in prompts]
    device = model.embedding.device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    longest = int(lengths.max())
    tokens = torch.zeros(len(prompts), longest, dtype=torch.int64, device=device)
    for number, prompt in enumerate(prompts):
        tokens[number, : len(prompt)] = torch.tensor(prompt, device=device)
    hidden, cache = _read(model, tokens, min(context, longest + limit))
    last = hidden[torch.arange(len(prompts), device=device), lengths - 1]
    written: list[list[int]] = [[] for _ in prompts]
    going = torch.arange(len(prompts), device=device)
    places = lengths.clone()
    while True:
        chosen = functional.linear(last, model.embedding).argmax(-1)
        keep = torch.ones(len(going), dtype=torch.bool, device=device)
        for row, (number, token) in enumerate(zip(going.tolist(), chosen.tolist(), strict=True)):
            if token == end:
                keep[row] = False
                continue
            written[number].append(token)
            # The token at the last place of the context could be read, but there would be no place to write after it.
            full = len(prompts[number]) + len(written[number]) > context
            keep[row] = len(written[number]) < limit and not full
        if not keep.any():
            return written
        if not keep.all():
            going, places, chosen = going[keep], places[keep], chosen[keep]
            cache = [(keys[keep], values[keep]) for keys, values in cache]
        last = _step(model, chosen, places, cache)
        places = places + 1


def _read(model: Decoder, tokens: torch.Tensor, room: int) -> tuple[torch.Tensor, _Cache]:
    """Return the last hidden states of whole prompts, and their keys and values with room for more."""
    fused, context = model.config.fused, model.config.context
    places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    x, cache = functional.embedding(tokens, model.embedding), []
    block: Any  # a module's parameters have no types of their own
    for block in model.blocks:
        query, key, value = _rotated_at(rms_norm(x, fused=fused), block, places, context)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + functional.linear(seen.transpose(1, 2).flatten(2), block.attention_out)
        x = x + squared_relu_mlp(rms_norm(x, fused=fused), block.expand, block.contract, fused=fused)
        spare = (0, 0, 0, room - tokens.shape[1])
        cache.append((functional.pad(key, spare), functional.pad(value, spare)))
    return rms_norm(x, fused=fused), cache


def _step(model: Decoder, tokens: torch.Tensor, places: torch.Tensor, cache: _Cache) -> torch.Tensor:
    """Read one more token of each row at its own place, which the cache is filled at; return its hidden state."""
    fused, context = model.config.fused, model.config.context
    rows = torch.arange(len(tokens), device=tokens.device)
    room = cache[0][0].shape[2]
    # Places after a row's own hold padding of its prompt or nothing yet.
    mask = (torch.arange(room, device=tokens.device) <= places[:, None])[:, None, None]
    x = functional.embedding(tokens[:, None], model.embedding)
    block: Any
    for block, (keys, values) in zip(model.blocks, cache, strict=True):
        query, key, value = _rotated_at(rms_norm(x, fused=fused), block, places[:, None], context)
        keys[rows, :, places], values[rows, :, places] = key[:, :, 0], value[:, :, 0]
        seen = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        x = x + functional.linear(seen.transpose(1, 2).flatten(2), block.attention_out)
        x = x + squared_relu_mlp(rms_norm(x, fused=fused), block.expand, block.contract, fused=fused)
    return rms_norm(x, fused=fused)[:, 0]


def _rotated_at(x: torch.Tensor, block: Any, places: torch.Tensor, context: int) -> Triple:
    """Return queries, keys and values of one layer, the first two turned by places that differ from row to row."""
    batch, length, width = x.shape
    packed = functional.linear(x, block.query_key_value).view(batch, length, 3, block.heads, -1)
    query, key, value = packed.unbind(2)
    turns = rotations(context, width // block.heads, x.device, x.dtype)[places].squeeze(-2)

    def turned(part: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_complex(part.float().view(*part.shape[:-1], -1, 2).contiguous())
        return torch.view_as_real(pairs * turns).flatten(-2).to(part.dtype).transpose(1, 2)

    return turned(query), turned(key), value.transpose(1, 2)
