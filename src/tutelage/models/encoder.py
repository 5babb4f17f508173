"""Encoder: a small bidirectional text classifier."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from tutelage.models._block import Block, check_sizes, check_tokens, embed, normal_parameter
from tutelage.models._fused import rms_norm
from tutelage.models._sizes import Size, find_size

#: Presets by name; the parameters they have with a vocabulary of 2,048 and 7 labels are in the comment.
SIZES: dict[str, Size] = {
    "nano": Size(width=64, layers=1, heads=2, context=128),  # 0.18 M
    "tiny": Size(width=128, layers=2, heads=2, context=128),  # 0.66 M
    "small": Size(width=256, layers=2, heads=4, context=256),  # 2.1 M
}


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes of an :class:`Encoder`.

    Args:
        vocabulary_size: Tokens, >= 1.
        labels: Classes told apart, >= 1.
        width: Width of the residual stream, even, >= 2.
        layers: Transformer layers, >= 1.
        heads: Attention heads; they divide the width into even parts.
        context: Most tokens a text may have, >= 1.
        fused: See :class:`tutelage.models.DecoderConfig`.

    Raises:
        ValueError: A size below 1, or heads that do not fit the width.

    Example:
        >>> EncoderConfig.preset("nano", vocabulary_size=2048, labels=7).parameters
        180672
    """

    vocabulary_size: int
    labels: int
    width: int
    layers: int
    heads: int
    context: int
    fused: bool = True

    def __post_init__(self) -> None:
        """Check every size."""
        check_sizes(
            "EncoderConfig",
            width=self.width,
            heads=self.heads,
            layers=self.layers,
            context=self.context,
            vocabulary_size=self.vocabulary_size,
            labels=self.labels,
        )

    @classmethod
    def preset(
        cls, size: str, *, vocabulary_size: int, labels: int, context: int | None = None, fused: bool = True
    ) -> EncoderConfig:
        """Return a named size: ``nano``, ``tiny`` or ``small``.

        Args:
            size: Its name.
            vocabulary_size: Tokens.
            labels: Classes.
            context: Most tokens of a text; the size's own (128, 256 for ``small``) where not given.
            fused: See the class.

        Raises:
            ConfigError: No such size.
        """
        found = find_size(size, SIZES)
        return cls(
            vocabulary_size=vocabulary_size,
            labels=labels,
            width=found.width,
            layers=found.layers,
            heads=found.heads,
            context=found.context if context is None else context,
            fused=fused,
        )

    @property
    def parameters(self) -> int:
        """Parameters of the model: ``width (vocabulary_size + labels + 12 layers width)``."""
        return self.width * (self.vocabulary_size + self.labels + 12 * self.layers * self.width)


class Encoder(nn.Module):
    """Reads a text in both directions and says which label it has; learns from nothing but the rows it is given.

    Use it where a classifier must train in a minute on a few CPU cores.

    **Formula**: the layers of :class:`tutelage.models.Decoder` without the causal mask; logits
    ``H mean_t N(x_t)`` over the positions ``t`` that are real.

    Args:
        config: Sizes; :meth:`EncoderConfig.preset` names some.

    Returns:
        ``model(tokens, mask)``: logits, ``(batch, labels)``.

    Raises:
        ValueError: Tokens out of range, of a wrong shape, or more than the context holds; a mask of another shape.
        TypeError: Tokens that are not integers, a mask that is not boolean.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = Encoder(EncoderConfig.preset("nano", vocabulary_size=256, labels=3))
        >>> model(torch.arange(8).view(2, 4)).shape
        torch.Size([2, 3])

    Use with:
        ``functional.cross_entropy(model(tokens, mask), labels)``; ``TextClassification()``.

    Helps / does not help:
        On a few thousand short texts a bag of words is a strong rival; pre-trained encoders are stronger still.

    Relations:
        Like :class:`tutelage.models.Decoder`, but each position sees all others.

    Source:
        BERT, Devlin et al., 2018, arXiv 1810.04805 (bidirectional); mean over positions: Sentence-BERT, 2019, arXiv
        1908.10084, section 3. The head starts at zero, so training begins at equal probabilities.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = normal_parameter(config.vocabulary_size, config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, fused=config.fused) for _ in range(config.layers))
        self.head = nn.Parameter(torch.zeros(config.labels, config.width))

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return logits, ``(batch, labels)``.

        Args:
            tokens: int64 or int32 in ``[0, vocabulary_size)``, ``(batch, length)`` with ``length <= context``.
            mask: Boolean, true where a token is real, same shape; all are where not given. Padding changes nothing. A
                text without a real token is read whole, so that its logits are finite.
        """
        check_tokens("Encoder", tokens, context=self.config.context)
        x = embed("Encoder", tokens, self.embedding)
        if mask is None:
            for block in self.blocks:
                x = block(x)
            pooled = rms_norm(x, fused=self.config.fused).mean(1)
        else:
            real = _checked(mask, tokens)
            for block in self.blocks:
                x = block(x, real[:, None, None, :])
            weights = real.to(x.dtype)
            total = torch.einsum("bl,blw->bw", weights, rms_norm(x, fused=self.config.fused))
            pooled = total / weights.sum(1, keepdim=True)
        return functional.linear(pooled, self.head)


def _checked(mask: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mask, true throughout where a row has no real token."""
    if mask.dtype is not torch.bool:
        raise TypeError(f"Encoder: mask must be boolean, true where a token is real, got {mask.dtype}.")
    if mask.shape != tokens.shape:
        raise ValueError(f"Encoder: mask must have the tokens' shape {tuple(tokens.shape)}, got {tuple(mask.shape)}.")
    return mask | ~mask.any(1, keepdim=True)
