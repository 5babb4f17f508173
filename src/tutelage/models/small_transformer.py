"""SmallTransformer: PyTorch's own transformer layers, with the norm before or after each part."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from tutelage.models._block import check_sizes, check_tokens

Norm = Literal["pre", "post"]


class SmallTransformer(nn.Module):
    """A causal transformer of the textbook kind, to ask what the place of its norm does to training.

    **Formula**: ``x = E[token] + P[position]``; each layer, ``norm="post"``: ``x = N(x + A(x))``, ``x = N(x + M(x))``;
    ``norm="pre"``: ``x = x + A(N(x))``, ``x = x + M(N(x))``, and one more ``N`` at the end. ``A`` is causal attention,
    ``M`` two linear layers (``4 width`` between them) around GELU, ``N`` a layer norm with gain and bias. Logits are a
    linear layer of ``x``. No dropout.

    Args:
        vocabulary_size: Tokens, >= 1.
        context: Most tokens a sequence may have, >= 1.
        width: Width of the residual stream.
        layers: Layers, >= 1.
        heads: Attention heads; they divide the width into even parts.
        norm: ``"pre"`` or ``"post"``.

    Returns:
        ``model(tokens)``: logits, ``(batch, length, vocabulary_size)``.

    Raises:
        ValueError: A size out of range, another ``norm``, or tokens of a wrong shape.
        TypeError: Tokens that are not integers.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = SmallTransformer(vocabulary_size=9, context=8, width=32, layers=2, heads=2, norm="post")
        >>> model(torch.arange(8).view(1, 8)).shape, sum(weights.numel() for weights in model.parameters())
        (torch.Size([1, 8, 9]), 26249)

    Use with:
        ``functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())``; ``SequenceCopy(norm="post")``.

    Helps / does not help:
        Post-norm needs warm-up and lower rates, which is why it makes a good variant; for language take
        :class:`Decoder`, which is faster and better.

    Relations:
        Like :class:`Decoder`, in the make of 2017, from PyTorch's layers.

    Source:
        Attention Is All You Need, 2017, arXiv 1706.03762 (post-norm); On layer normalization in the transformer
        architecture, 2020, arXiv 2002.04745 (pre-norm, and what the place does).
    """

    def __init__(
        self, *, vocabulary_size: int, context: int, width: int, layers: int, heads: int, norm: Norm = "pre"
    ) -> None:
        super().__init__()
        check_sizes(
            "SmallTransformer",
            width=width,
            heads=heads,
            layers=layers,
            context=context,
            vocabulary_size=vocabulary_size,
        )
        if norm not in ("pre", "post"):
            raise ValueError(f'SmallTransformer: norm must be "pre" or "post", got "{norm}".')
        self.context = context
        self.tokens = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Embedding(context, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width,
                heads,
                dim_feedforward=4 * width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=norm == "pre",
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()
        self.head = nn.Linear(width, vocabulary_size)
        self.register_buffer("_mask", nn.Transformer.generate_square_subsequent_mask(context), persistent=False)
        self._mask: torch.Tensor

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return logits, ``(batch, length, vocabulary_size)``.

        Args:
            tokens: int64 or int32 in ``[0, vocabulary_size)``, ``(batch, length)`` with ``length <= context``.
        """
        check_tokens("SmallTransformer", tokens, context=self.context)
        length = tokens.shape[1]
        x = self.tokens(tokens) + self.positions.weight[:length]
        mask = self._mask[:length, :length]
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        logits: torch.Tensor = self.head(self.norm(x))
        return logits
