"""Decoder: a small language model of the usual modern make."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from tutelage.models._block import Block, check_sizes, check_tokens, embed, normal_parameter
from tutelage.models._fused import rms_norm
from tutelage.models._sizes import Size, find_size
from tutelage.models.cross_entropy import Reduction, linear_cross_entropy, plain_linear_cross_entropy

#: Presets by name; the parameters they have with a vocabulary of 4,096 are in the comment.
SIZES: dict[str, Size] = {
    "nano": Size(width=64, layers=2, heads=2, context=128),  # 0.36 M
    "micro": Size(width=96, layers=2, heads=3, context=128),  # 0.61 M
    "tiny": Size(width=128, layers=2, heads=2, context=128),  # 0.92 M
    "small": Size(width=256, layers=3, heads=4, context=256),  # 3.41 M
    "base": Size(width=384, layers=5, heads=6, context=256),  # 10.4 M
}


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes of a :class:`Decoder`.

    Args:
        vocabulary_size: Tokens, >= 1.
        width: Width of the residual stream, even, >= 2.
        layers: Transformer layers, >= 1.
        heads: Attention heads; they divide the width into even parts.
        context: Most tokens a sequence may have, >= 1. Positions are rotations, so it costs no parameters.
        fused: Backward passes written by hand, and the loss in chunks. ``False`` computes the same from plain
            operations, which second derivatives, ``torch.func`` and ``torch.compile`` need.

    Raises:
        ValueError: A size below 1, or heads that do not fit the width.

    Example:
        >>> DecoderConfig.preset("tiny", vocabulary_size=4096).parameters
        917504
    """

    vocabulary_size: int
    width: int
    layers: int
    heads: int
    context: int
    fused: bool = True

    def __post_init__(self) -> None:
        """Check every size."""
        check_sizes(
            "DecoderConfig",
            width=self.width,
            heads=self.heads,
            layers=self.layers,
            context=self.context,
            vocabulary_size=self.vocabulary_size,
        )

    @classmethod
    def preset(
        cls, size: str, *, vocabulary_size: int, context: int | None = None, fused: bool = True
    ) -> DecoderConfig:
        """Return a named size: ``nano``, ``micro``, ``tiny``, ``small`` or ``base``.

        Args:
            size: Its name.
            vocabulary_size: Tokens; 4,096 give 0.36, 0.61, 0.92, 3.41 and 10.4 million parameters.
            context: Most tokens of a sequence; the size's own (128, or 256 from ``small`` on) where not given.
            fused: See the class.

        Raises:
            ConfigError: No such size.
        """
        found = find_size(size, SIZES)
        return cls(
            vocabulary_size=vocabulary_size,
            width=found.width,
            layers=found.layers,
            heads=found.heads,
            context=found.context if context is None else context,
            fused=fused,
        )

    @property
    def parameters(self) -> int:
        """Parameters of the model: ``width (vocabulary_size + 12 layers width)``; all of them multiply."""
        return self.width * (self.vocabulary_size + 12 * self.layers * self.width)

    @property
    def non_embedding_parameters(self) -> int:
        """Parameters without the embedding, ``12 layers width^2``: the size that scaling laws speak of."""
        return 12 * self.layers * self.width**2

    def flops_per_token(self, length: int) -> int:
        """Return floating-point operations of forward and backward pass for one token in a window of ``length``.

        Six a parameter (two forward, four backward; the embedding is counted once, as output layer) and
        ``12 layers width`` for each of the ``(length + 1) / 2`` positions a token sees on average.
        """
        return 6 * self.parameters + 6 * self.layers * self.width * (length + 1)


class Decoder(nn.Module):
    """A decoder-only language model, made to train fast on a few CPU cores and to be exact everywhere.

    Use it as the model of a study that has minutes: RMSNorm before each part, rotary positions, squared-ReLU MLP,
    causal attention, input and output embedding tied, no biases, no gains.

    **Formula**: with ``N(x) = x / sqrt(mean(x^2) + 1e-6)``, for each layer ``x = x + A(N(x))``, ``x = x + M(N(x))``,
    ``M(x) = C relu(E x)^2``; logits ``W N(x)`` with ``W`` the embedding.

    Weights start normal with deviation ``sqrt(2 / (5 width))``, drawn from PyTorch's generator, so a seed fixes them;
    those that write to the residual stream start at zero. Chosen on runs of 250 updates
    (width 96, two seeds, three rates) over GPT-2's deviation of 0.02 and residual weights scaled by
    ``1 / sqrt(2 layers)``; longer runs were not compared.

    Args:
        config: Sizes; :meth:`DecoderConfig.preset` names some.

    Returns:
        ``model(tokens)``: logits, ``(batch, length, vocabulary_size)``. ``model(tokens, targets)``: the mean (or sum)
        of the cross-entropies in nats, a scalar; see :func:`tutelage.models.linear_cross_entropy`.

    Raises:
        ValueError: Tokens out of range, of a wrong shape, or more than the context holds.
        TypeError: Tokens or targets that are not integers.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = Decoder(DecoderConfig.preset("nano", vocabulary_size=256))
        >>> tokens = torch.arange(8).view(2, 4)
        >>> model(tokens).shape
        torch.Size([2, 4, 256])
        >>> round(model(tokens, targets=tokens + 1).item(), 1)
        6.3

    Use with:
        PyTorch: ``model(tokens, targets).backward()``; autocast, accumulation and DDP as usual. tutelage:
        ``TextLM(size="tiny")``. Second derivatives, ``torch.func``, ``torch.compile``: ``fused=False``.

    Helps / does not help:
        ``benchmarks/throughput.py`` compares its speed with transformers' GPT-2, litgpt and a plain model. There is no
        dropout (small models on fresh text do not need it) and no cache for generation.

    Relations:
        Like :class:`tutelage.models.Encoder`, but each position sees only itself and what came before.

    Source:
        Attention Is All You Need, 2017, arXiv 1706.03762; pre-norm: GPT-2, Radford et al., 2019, section
        2.3; RMSNorm: arXiv 1910.07467; rotary positions: arXiv 2104.09864; squared ReLU: arXiv
        2109.08668; tied embeddings: arXiv 1608.05859; first weights: arXiv 1910.05895, section 2.2,
        and arXiv 2003.04887, section 3.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = normal_parameter(config.vocabulary_size, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, fused=config.fused) for _ in range(config.layers))

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the normalised last hidden states, ``(batch, length, width)``; logits are these times the embedding.

        Args:
            tokens: int64 or int32 in ``[0, vocabulary_size)``, ``(batch, length)`` with ``length <= context``.
        """
        check_tokens("Decoder", tokens, context=self.config.context)
        x = embed("Decoder", tokens, self.embedding)
        for block in self.blocks:
            x = block(x, causal=True)
        return rms_norm(x, fused=self.config.fused)

    def forward(
        self, tokens: torch.Tensor, targets: torch.Tensor | None = None, *, reduction: Reduction = "mean"
    ) -> torch.Tensor:
        """Return logits, or the loss where ``targets`` are given.

        Args:
            tokens: int64 or int32 in ``[0, vocabulary_size)``, ``(batch, length)`` with ``length <= context``.
            targets: The token each position should predict, or -100 for none, same shape.
            reduction: ``"mean"`` over the positions that have a target, or their ``"sum"``.
        """
        hidden = self.hidden(tokens)
        if targets is None:
            return functional.linear(hidden, self.embedding)
        loss = linear_cross_entropy if self.config.fused else plain_linear_cross_entropy
        return loss(hidden, self.embedding, targets, reduction=reduction)
