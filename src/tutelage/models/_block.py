"""One transformer layer, shared by :class:`Decoder` and :class:`Encoder`, and what both check."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from tutelage.models._fused import rms_norm, rotated_projection, squared_relu_mlp
from tutelage.models._products import linear


class Block(nn.Module):
    """``x + attention(norm(x))``, then ``x + mlp(norm(x))``; no biases, no gains.

    The two matrices that write to the stream start at zero, so a fresh layer is the identity and the stream's size does
    not grow with depth: the idea of ReZero (Bachlechner et al., 2020, arXiv 2003.04887, section 3) without its gate.

    The matrices are parameters, not ``nn.Linear``: a tool that replaces linear layers would otherwise be passed over in
    silence by the fused path.

    Args:
        width: Width of the residual stream.
        heads: Attention heads.
        fused: Backward passes written by hand.
    """

    def __init__(self, width: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.query_key_value = normal_parameter(3 * width, width)
        self.attention_out = nn.Parameter(torch.zeros(width, width))
        self.expand = normal_parameter(4 * width, width)
        self.contract = nn.Parameter(torch.zeros(width, 4 * width))
        # Does nothing, has no weights; a forward hook on it sees what the layer's MLP reads.
        self.mlp_input = nn.Identity()

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None, *, causal: bool = False) -> torch.Tensor:
        """Return the stream after this layer.

        Args:
            x: ``(batch, length, width)``.
            mask: True where a position may be looked at, ``(batch, 1, 1, length)``.
            causal: Whether a position sees itself and earlier ones only.
        """
        query, key, value = rotated_projection(
            rms_norm(x, fused=self.fused), self.query_key_value, self.heads, fused=self.fused
        )
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        x = x + linear(seen.transpose(1, 2).flatten(2), self.attention_out, fused=self.fused)
        read = self.mlp_input(rms_norm(x, fused=self.fused))
        return x + squared_relu_mlp(read, self.expand, self.contract, fused=self.fused)


def normal_parameter(rows: int, width: int) -> nn.Parameter:
    """Return a matrix that reads from the residual stream, with normal random entries from PyTorch's generator.

    Their standard deviation is ``sqrt(2 / (5 width))`` (Transformers without tears, Nguyen and Salazar, 2019, arXiv
    1910.05895, section 2.2), which at width 1,000 is GPT-2's 0.02.
    """
    return nn.Parameter(torch.empty(rows, width).normal_(0.0, math.sqrt(2 / (5 * width))))


def check_sizes(name: str, *, width: int, heads: int, **positive: int) -> None:
    """Refuse sizes no transformer can have.

    Raises:
        ValueError: A size below 1, heads that do not divide the width, or an odd head.
    """
    for argument, value in {"width": width, "heads": heads, **positive}.items():
        if value < 1:
            raise ValueError(f"{name}: {argument} must be >= 1, got {value}.")
    if width % heads or (width // heads) % 2:
        fitting = [count for count in range(1, width // 2 + 1) if width % count == 0 and (width // count) % 2 == 0]
        allowed = f"one of {', '.join(map(str, fitting))}" if fitting else "possible with an even width only"
        raise ValueError(f"{name}: heads must divide width={width} into even parts, got {heads}; {allowed}.")


def check_tokens(name: str, tokens: torch.Tensor, *, context: int) -> None:
    """Refuse tokens of a wrong type or shape, or too many.

    Raises:
        ValueError: Not two dimensions, or more tokens than ``context``.
        TypeError: Tokens that are not integers.
    """
    if tokens.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name}: tokens must be int64 or int32, got {tokens.dtype}.")
    if tokens.ndim != 2:
        raise ValueError(f"{name}: tokens must be (batch, length), got {tuple(tokens.shape)}.")
    if tokens.shape[1] > context:
        raise ValueError(
            f"{name}: {tokens.shape[1]} tokens exceed the context of {context}; "
            "shorten the windows or enlarge the context."
        )


def embed(name: str, tokens: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the rows of ``weight`` that ``tokens`` name.

    Raises:
        ValueError: A token that is no row (on a CPU; an accelerator reports it by itself).
    """
    try:
        return functional.embedding(tokens, weight)
    except IndexError:
        wrong = tokens[(tokens < 0) | (tokens >= len(weight))][0].item()
        raise ValueError(f"{name}: tokens must be in [0, {len(weight)}), got {wrong}.") from None
