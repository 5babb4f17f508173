"""The models' formulas as the papers print them: slow, obvious, and sharing no line with the library."""

from __future__ import annotations

import math

import torch


def norm(x: torch.Tensor) -> torch.Tensor:
    return x / torch.sqrt((x**2).mean(dim=-1, keepdim=True) + 1e-6)


def turn(x: torch.Tensor) -> torch.Tensor:
    """Rotate neighbouring entries of ``(..., length, head_width)`` by the position, with sines and cosines."""
    length, head_width = x.shape[-2:]
    columns = []
    for pair in range(head_width // 2):
        angle = torch.arange(length, dtype=torch.float64) * 10000.0 ** (-2 * pair / head_width)
        cosine, sine = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        first, second = x[..., 2 * pair], x[..., 2 * pair + 1]
        columns += [first * cosine - second * sine, first * sine + second * cosine]
    return torch.stack(columns, dim=-1)


def projection(x: torch.Tensor, weight: torch.Tensor, heads: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys, values of ``(batch, length, width)``, each ``(batch, heads, length, head_width)``."""
    batch, length, width = x.shape
    parts = [
        (x @ matrix.T).reshape(batch, length, heads, width // heads).permute(0, 2, 1, 3)
        for matrix in (weight[:width], weight[width : 2 * width], weight[2 * width :])
    ]
    return turn(parts[0]), turn(parts[1]), parts[2]


def mlp(x: torch.Tensor, expand: torch.Tensor, contract: torch.Tensor) -> torch.Tensor:
    return torch.clamp(x @ expand.T, min=0) ** 2 @ contract.T


def block(x: torch.Tensor, weights: dict[str, torch.Tensor], heads: int, visible: torch.Tensor) -> torch.Tensor:
    """One layer; ``visible`` is true where a query (row) may look at a key (column), ``(batch, length, length)``."""
    width = x.shape[-1]
    query, key, value = projection(norm(x), weights["query_key_value"], heads)
    outputs = []
    for head in range(heads):
        scores = query[:, head] @ key[:, head].transpose(1, 2) / math.sqrt(width // heads)
        scores = scores.masked_fill(~visible, -torch.inf)
        shares = torch.exp(scores - scores.amax(-1, keepdim=True))
        outputs.append((shares / shares.sum(-1, keepdim=True)) @ value[:, head])
    x = x + torch.cat(outputs, dim=-1) @ weights["attention_out"].T
    return x + mlp(norm(x), weights["expand"], weights["contract"])


def decoder_logits(state: dict[str, torch.Tensor], tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """Logits of a decoder with these weights."""
    batch, length = tokens.shape
    visible = torch.ones(length, length).tril().bool().expand(batch, -1, -1)
    x = state["embedding"][tokens]
    for weights in _layers(state):
        x = block(x, weights, heads, visible)
    return norm(x) @ state["embedding"].T


def encoder_logits(state: dict[str, torch.Tensor], tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """Logits of an encoder with these weights, for texts without padding."""
    batch, length = tokens.shape
    x = state["embedding"][tokens]
    for weights in _layers(state):
        x = block(x, weights, heads, torch.ones(batch, length, length).bool())
    return norm(x).mean(dim=1) @ state["head"].T


def cross_entropies(logits: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
    """One loss for each row whose target is not -100."""
    return [
        torch.log(torch.exp(row - row.max()).sum()) + row.max() - row[target]
        for row, target in zip(logits, targets.tolist(), strict=True)
        if target != -100
    ]


def _layers(state: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    count = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    names = ("query_key_value", "attention_out", "expand", "contract")
    return [{name: state[f"blocks.{layer}.{name}"] for name in names} for layer in range(count)]
