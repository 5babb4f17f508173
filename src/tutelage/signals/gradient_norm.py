"""GradientNorm (GraNd): how long the gradient is that a text alone would make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._language_model import LanguageModel, opened
from tutelage.signals._protocol import Batch, Direction, Scored, spec_of
from tutelage.signals._words import texts_of

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True, repr=False)
class GradientNorm:
    """GraNd: the norm of the gradient a single text makes in a causal language model, exactly.

    Early in training a large one marks an example that moves the model much.

    **Formula**: ``score = || d l / d w ||_2``, ``l`` the mean (or sum) of ``-log p(x_t | x_<t)`` over the scored tokens
    of the text, as for :class:`Loss`, ``w`` all weights that are trained, or those ``weights`` names.

    Args:
        model: As for :class:`Loss`. The paper averages ten models early in training: score with each, then average.
        reduction: ``"mean"`` of the token losses, or their ``"sum"``.
        column: Column with the text, or with the answer where ``prompt`` is given.
        prompt: Column with what comes before the text and is not scored; ``None`` for none.
        weights: Part of the names of the weights that count, such as ``lm_head``; all weights where ``None``.

    Returns:
        ``score(batch)``: float64 ``(n,)``, >= 0, high = hard; NaN for a text without a token to score.

    Raises:
        ValueError: An unknown reduction, or ``weights`` that no weight is called by.
        ConfigError: The run is of another workload.
        DataNotFound: There is no such model.
        BadRow: A value that is no text.

    Example:
        >>> import torch
        >>> from tutelage.models import Decoder, DecoderConfig
        >>> from tutelage.signals import language_model
        >>> _ = torch.manual_seed(0)
        >>> module = Decoder(DecoderConfig.preset("nano", vocabulary_size=257))
        >>> model = language_model(module, lambda texts: [list(text.encode()) for text in texts], start=256)
        >>> bool(GradientNorm(model=model).score({"text": ["aaaa"]})[0] > 0)
        True

    Use with:
        ``tutelage score data.jsonl --signal grand:model=runs/early``. For a classifier of your own: ``gradient_norms``
        (many examples at once) and ``last_layer_gradient_norms`` (closed form of the last layer alone).

    Helps / does not help:
        One backward pass a text: about three times the cost of :class:`Loss`, and no batches. A text beyond the context
        is cut at its end. At initialisation later work found it to rank poorly (arXiv 2303.14753); use a model that has
        seen some training.

    Relations:
        :class:`EL2N` is what the last layer alone makes of it, without the length of what that layer reads.

    Source:
        Paul, Ganguli and Dziugaite, Deep learning on a data diet, 2021, arXiv 2107.07075, definition 2.1.
    """

    spec_name: ClassVar[str] = "grand"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True

    model: str | LanguageModel
    reduction: Literal["mean", "sum"] = "mean"
    column: str = "text"
    prompt: str | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f'GradientNorm: reduction must be "mean" or "sum", got "{self.reduction}".')

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns of text and prompt."""
        return (self.column,) if self.prompt is None else (self.column, self.prompt)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the norm of each row."""
        return self.scored(batch).values

    def scored(self, batch: Batch) -> Scored:
        """Return the norm of each row, and what it cost; a backward pass counts as two passes."""
        import torch
        from torch.nn import functional

        from tutelage.signals._gradient_norms import gradient_norms
        from tutelage.signals._text_losses import encode_texts

        model = opened(self.model)
        prompts = None if self.prompt is None else texts_of(batch, self.prompt)
        encoded = encode_texts(model, texts_of(batch, self.column), prompts)

        def loss(module: nn.Module, example: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            found = module(example[0])
            logits = getattr(found, "logits", found)
            rows, targets = logits.flatten(0, 1).float(), example[1].flatten()
            return functional.cross_entropy(rows, targets, reduction=self.reduction)

        scores, read, passes = np.full(len(encoded), np.nan), 0, 0
        for row, text in enumerate(encoded):
            room = len(text.tokens) if model.context is None else model.context + 1
            tokens = text.tokens[:room]
            if len(tokens) <= text.first:
                continue
            read, passes = read + len(tokens) - 1, passes + 3
            inputs = torch.tensor([tokens[:-1]], device=model.device)
            targets = torch.tensor([tokens[1:]], device=model.device)
            targets[:, : text.first - 1] = -100
            counts = None if self.weights is None else (lambda name: str(self.weights) in name)
            scores[row] = gradient_norms(model.module, loss, (inputs, targets), method="backward", parameters=counts)[0]
        return Scored(scores, read, passes)

    def fingerprint(self) -> str:
        """Return a hash of the model."""
        return opened(self.model).fingerprint
