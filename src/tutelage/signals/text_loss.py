"""Loss and Perplexity: how badly a language model expects a text, or an answer given its prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.signals._language_model import LanguageModel, opened
from tutelage.signals._protocol import Batch, Direction, Scored, spec_of
from tutelage.signals._words import texts_of

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Loss:
    """The loss of a text under a causal language model, or of an answer given its prompt.

    The commonest measure of how hard or how unusual an example is for a model; the answer's loss given the prompt is
    what fine-tuning minimises.

    **Formula**: with tokens ``x`` and ``S`` the scored ones (all of the text; with ``prompt`` those of the answer)::

        sum  = sum over t in S of -log p(x_t | x_<t)        mean = sum / |S|

    in nats. The model's start token, where it has one, comes first and is not scored. A text longer than the context
    ``C`` is read in windows that begin every ``C // 2`` tokens; each token counts once.

    Args:
        model: What scores: a folder that ``save_pretrained`` wrote, a hub id, a run folder of ``text-lm`` or
            ``instructions`` or one of its checkpoints, or a :class:`LanguageModel` made of your own module.
        reduction: ``"mean"`` over the scored tokens, or their ``"sum"``, which grows with the length.
        column: Column with the text, or with the answer where ``prompt`` is given.
        prompt: Column with what comes before the text and is not scored; ``None`` for none.
        batch_tokens: Places of a batch at most, padding included. It changes the speed and the memory, and no score
            beyond rounding.

    Returns:
        ``score(batch)``: float64 ``(n,)``, nats, high = hard; NaN for a text without a token to score.

    Raises:
        ValueError: An unknown reduction, or ``batch_tokens`` below 1.
        ConfigError: The run is of another workload.
        DataNotFound: There is no such model.
        BadRow: A value that is no text.

    Example:
        >>> import torch
        >>> from tutelage.models import Decoder, DecoderConfig
        >>> from tutelage.signals import language_model
        >>> module = Decoder(DecoderConfig.preset("nano", vocabulary_size=257))
        >>> _ = torch.nn.init.zeros_(module.embedding)
        >>> model = language_model(module, lambda texts: [list(text.encode()) for text in texts], start=256)
        >>> Loss(model=model).score({"text": ["abc", ""]}).round(4)  # all 257 bytes alike: log 257
        array([5.5491,    nan])

    Use with:
        ``tutelage score data.jsonl --signal loss:model=DIR``; curricula from easy to hard; selection by threshold.

    Helps / does not help:
        A mean favours neither long nor short texts; a sum mostly measures length. A high loss also marks garbage, other
        languages and wrong answers: look at the top before training on it, or cut both ends.

    Relations:
        :class:`Perplexity` is the exponential of the mean. :class:`AngleConcentration` costs the same pass.

    Source:
        Cross-entropy. Windows: the fixed-length evaluation with a stride described in the documentation of
        transformers, with half the context as stride.
    """

    spec_name: ClassVar[str] = "loss"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True
    neutral: ClassVar[tuple[str, ...]] = ("batch_tokens",)

    model: str | LanguageModel
    reduction: Reduction = "mean"
    column: str = "text"
    prompt: str | None = None
    batch_tokens: int = 4096

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.reduction not in ("mean", "sum"):
            raise ValueError(f'Loss: reduction must be "mean" or "sum", got "{self.reduction}".')
        check_batch_tokens("Loss", self.batch_tokens)

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns of text and prompt."""
        return (self.column,) if self.prompt is None else (self.column, self.prompt)

    def scored(self, batch: Batch) -> Scored:
        """Return the loss of each row, and what it cost."""
        return scored_losses(self.model, batch, self.column, self.prompt, self.batch_tokens, self.reduction)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the loss of each row."""
        return self.scored(batch).values

    def fingerprint(self) -> str:
        """Return a hash of the model."""
        return opened(self.model).fingerprint


@dataclass(frozen=True, kw_only=True, repr=False)
class Perplexity:
    """The perplexity of a text under a causal language model, or of an answer given its prompt.

    The same as :class:`Loss` on another scale: among how many equally likely tokens the model seems to choose.

    **Formula**: ``exp(1 / |S| * sum over t in S of -log p(x_t | x_<t))``, ``S`` the scored tokens.

    Args:
        model: As for :class:`Loss`.
        column: Column with the text, or with the answer where ``prompt`` is given.
        prompt: Column with what comes before the text and is not scored; ``None`` for none.
        batch_tokens: Places of a batch at most, padding included.

    Returns:
        ``score(batch)``: float64 ``(n,)``, >= 1, high = hard; NaN for a text without a token to score.

    Raises:
        ValueError: ``batch_tokens`` below 1.
        ConfigError: The run is of another workload.
        DataNotFound: There is no such model.
        BadRow: A value that is no text.

    Example:
        >>> import torch
        >>> from tutelage.models import Decoder, DecoderConfig
        >>> from tutelage.signals import language_model
        >>> module = Decoder(DecoderConfig.preset("nano", vocabulary_size=257))
        >>> _ = torch.nn.init.zeros_(module.embedding)
        >>> model = language_model(module, lambda texts: [list(text.encode()) for text in texts], start=256)
        >>> Perplexity(model=model).score({"text": ["abc"]}).round(3)
        array([257.])

    Use with:
        ``tutelage score data.jsonl --signal perplexity:model=DIR,prompt=question,column=answer``.

    Helps / does not help:
        Comparable only under one model and tokenizer. Means of it are ruled by a few texts; average the loss instead.

    Relations:
        The exponential of :class:`Loss` with ``reduction="mean"``; ranks are the same.

    Source:
        Jelinek et al., Perplexity, a measure of the difficulty of speech recognition tasks, 1977.
    """

    spec_name: ClassVar[str] = "perplexity"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True
    neutral: ClassVar[tuple[str, ...]] = ("batch_tokens",)

    model: str | LanguageModel
    column: str = "text"
    prompt: str | None = None
    batch_tokens: int = 4096

    def __post_init__(self) -> None:
        """Check every argument."""
        check_batch_tokens("Perplexity", self.batch_tokens)

    def __repr__(self) -> str:
        """Return the spec that builds these settings again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns of text and prompt."""
        return (self.column,) if self.prompt is None else (self.column, self.prompt)

    def scored(self, batch: Batch) -> Scored:
        """Return the perplexity of each row, and what it cost."""
        found = scored_losses(self.model, batch, self.column, self.prompt, self.batch_tokens)
        # A text the model is wholly wrong about may exceed what a float holds; infinity is then the honest answer.
        with np.errstate(over="ignore"):
            return found._replace(values=np.exp(found.values))

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the perplexity of each row."""
        return self.scored(batch).values

    def fingerprint(self) -> str:
        """Return a hash of the model."""
        return opened(self.model).fingerprint


def scored_losses(
    model: str | LanguageModel,
    batch: Batch,
    column: str,
    prompt: str | None,
    batch_tokens: int,
    reduction: Reduction = "mean",
) -> Scored:
    """Return the mean (or sum) of each row's token losses, NaN where there is none."""
    from tutelage.signals._text_losses import encode_texts, text_losses

    ready = opened(model)
    prompts = None if prompt is None else texts_of(batch, prompt)
    losses = text_losses(ready, encode_texts(ready, texts_of(batch, column), prompts), batch_tokens=batch_tokens)
    divisor = np.maximum(losses.scored, 1) if reduction == "mean" else 1
    values = np.where(losses.scored > 0, losses.total / divisor, np.nan)
    return Scored(values, tokens=losses.read, forward_passes=losses.passes)


def check_batch_tokens(name: str, batch_tokens: int) -> None:
    """Refuse a batch without room.

    Raises:
        ValueError: Below 1.
    """
    if batch_tokens < 1:
        raise ValueError(f"{name}: batch_tokens must be >= 1, got {batch_tokens}.")
