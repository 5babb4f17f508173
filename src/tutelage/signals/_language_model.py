"""The language model that scores: a module, what turns text into its tokens, and what tells it from others."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tutelage.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn

#: Turns texts into tokens, without added ones.
Encode = Callable[[Sequence[str]], Sequence[Sequence[int]]]
#: What opens a model by its name. It knows runs and workloads, which stand above the signals, so it is named here and
#: found on first use, as the parts of other packages are.
_OPEN = ("tutelage.workloads.language_models", "open_language_model")


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A causal language model ready to score text.

    Args:
        module: Takes tokens, int64 ``(batch, length)``, and returns logits ``(batch, length, vocabulary)``, itself or
            as attribute ``logits``.
        encode: Turns texts into their tokens, without added ones.
        start: Token that opens a text, so that its first own token has a probability too; ``None`` for none, and the
            first token is then not scored.
        context: Most tokens of a sequence; ``None`` for no limit.
        name: What to call it.
        fingerprint: Hash of weights and tokenizer; part of the key under which scores are kept.
    """

    module: nn.Module
    encode: Encode
    start: int | None = None
    context: int | None = None
    name: str = "model"
    fingerprint: str = ""

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        import torch

        return next((weight.device for weight in self.module.parameters()), torch.device("cpu"))

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits, ``(batch, length, vocabulary)``."""
        # A cache of keys and values would be kept for nothing.
        settings = getattr(self.module, "config", None)
        found = self.module(tokens, use_cache=False) if hasattr(settings, "use_cache") else self.module(tokens)
        return cast("torch.Tensor", getattr(found, "logits", found))


def language_model(
    model: str | os.PathLike[str] | nn.Module | LanguageModel,
    tokenizer: Any = None,
    *,
    start: int | None = None,
    context: int | None = None,
    device: str | None = None,
) -> LanguageModel:
    """Return a model ready to score text, in evaluation mode.

    Args:
        model: A folder that ``save_pretrained`` wrote, a hub id, the folder of a run of ``text-lm`` or
            ``instructions`` or one of its checkpoints; or a PyTorch module together with ``tokenizer``; or one that is
            ready already.
        tokenizer: For a module: a tokenizer of transformers, or any callable that turns texts into tokens.
        start: For a module: token that opens a text; that of a transformers tokenizer where not given.
        context: For a module: most tokens of a sequence; what its configuration says where not given.
        device: Where to put the weights, such as ``"cuda"``; where they are, or on the CPU, where not given.

    Returns:
        The model.

    Raises:
        ConfigError: A module without a tokenizer, or a run of another workload.
        DataNotFound: There is no such folder or id, or it lacks configuration, tokenizer or weights.
        DataError: Weights that are pickled, or files that cannot be read.

    Example:
        >>> from tutelage.models import Decoder, DecoderConfig
        >>> model = Decoder(DecoderConfig.preset("nano", vocabulary_size=257))
        >>> ready = language_model(model, lambda texts: [list(text.encode()) for text in texts], start=256)
        >>> ready.context, len(ready.encode(["abc"])[0])
        (128, 3)
    """
    if isinstance(model, LanguageModel):
        return model
    if isinstance(model, (str, os.PathLike)):
        module, name = _OPEN
        ready: LanguageModel = getattr(importlib.import_module(module), name)(os.fspath(model))
        if device is not None:
            ready.module.to(device)
        return ready
    if tokenizer is None:
        raise ConfigError(
            f"A {type(model).__name__} needs a tokenizer: language_model(module, tokenizer), or name its folder."
        )
    encode = tokenizer
    if hasattr(tokenizer, "bos_token_id"):
        encode = _encoder(tokenizer)
        start = tokenizer.bos_token_id if start is None else start
    config = getattr(model, "config", None)
    if context is None:
        context = getattr(config, "context", None) or getattr(config, "max_position_embeddings", None)
    fingerprint = weights_digest(model)
    model = model if device is None else model.to(device)
    return LanguageModel(model.eval(), encode, start, context, type(model).__name__, fingerprint)


def opened(model: str | LanguageModel) -> LanguageModel:
    """Return :func:`language_model` of a model, opened once a process: a signal asks for it at every batch."""
    return model if isinstance(model, LanguageModel) else _opened(model, _weights_times(model))


@functools.lru_cache(maxsize=2)
def _opened(name: str, times: tuple[tuple[str, int], ...]) -> LanguageModel:
    return language_model(name)


def _weights_times(name: str) -> tuple[tuple[str, int], ...]:
    """Return what tells whether a folder's weights are still those that were opened: a run may have gone on."""
    folder = Path(name).expanduser()
    found = [*folder.glob("*.safetensors"), *folder.glob("checkpoint/step-*")] if folder.is_dir() else []
    return tuple(sorted((path.name, path.stat().st_mtime_ns) for path in found))


def weights_digest(module: nn.Module) -> str:
    """Return a hash of a module's weights: names, shapes, types and bytes."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        content = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(content.shape)} {content.dtype}".encode())
        digest.update(content.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


def _encoder(tokenizer: Any) -> Encode:
    def encode(texts: Sequence[str]) -> Sequence[Sequence[int]]:
        found: Sequence[Sequence[int]] = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
        return found

    return encode
