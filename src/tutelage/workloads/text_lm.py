"""TextLM: predict the next token of real text."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from tutelage.errors import DataError
from tutelage.workloads._cache import content_key
from tutelage.workloads._protocol import Batch, Workload
from tutelage.workloads._spec import spec_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tutelage.workloads._tokens import EncodedText, TextCodec
    from tutelage.workloads._transformers import HubModel

_VERSION = 1
#: Peak rate of AdamW at batch 32 times the decoder's width, chosen as the class's card says.
_PEAK_TIMES_WIDTH = 0.64
_PEAK_PRETRAINED = 5e-5
_PEAK_RANDOM = 1e-3


@dataclass(frozen=True, kw_only=True)
class TextLM:
    """A language model on real text: the embedded default, or your own files, with our decoder or any causal LM.

    It is the workload for questions about pre-training recipes; with ``model=`` the one for fine-tuning.

    **Formula**: the mean over all tokens of ``-log p(token | tokens before it in its window)``, in nats. Bits per byte
    are the same sum in bits over the number of UTF-8 bytes the tokens stand for, and compare across tokenizers.

    Args:
        data: Text: a file or folder of JSONL, CSV, Parquet or plain text (also ``.gz``), a named data set
            (``shakespeare``, ``tinystories``, ``wiki-en``, ``novels-en``, ...) or ``hub:NAME``. Where not given, about
            3.5 MB that come with Python: its language reference, docstrings and some source.
        text_column: Column that holds the text, in files of rows.
        context: Tokens in a window, >= 2.
        tokenizer: ``"bpe"``: byte-level byte pairs learned from the training part; ``"bytes"``: none.
        vocabulary: Tokens of ``bpe`` at most, >= 257.
        size: Preset of our decoder: ``nano``, ``micro``, ``tiny``, ``small`` or ``base``
            (:class:`tutelage.models.decoder.DecoderConfig`). ``nano`` trains 300 updates in half a minute of one core.
        model: A transformers causal LM in place of our decoder: a local folder, else a hub id. Its own tokenizer is
            used, and its weights are read from safetensors only.
        init: ``"pretrained"`` weights of ``model``, or ``"random"`` ones of its architecture.
        validation_windows: Windows an evaluation reads at most, spread evenly over the held-out text; ``none`` for all.

    Returns:
        ``prepare()`` returns a :class:`Workload` with metrics ``loss`` and ``bits_per_byte``. Batches are tokens and
        targets, each int64 of shape ``(batch, context)``; every token is a target exactly once an epoch.

    Raises:
        ValueError: An argument out of range, or a setting of our decoder together with ``model``.
        ConfigError: A context longer than the model has positions for.
        DataNotFound: Data or model are not where they were said to be.
        DataError: The text cannot be used; names file and line or row.

    Example:
        >>> settings = TextLM(data="shakespeare", tokenizer="bytes", context=64)
        >>> settings.spec
        'text-lm:data=shakespeare,context=64,tokenizer=bytes'

    Use with:
        ``tutelage train --workload text-lm:data=notes.jsonl``; ``train(TextLM(data="my, notes.txt").prepare(), ...)``.

    Helps / does not help:
        A tenth of the passages (documents, or pieces of at most 4,000 characters) is held out by the hash of their own
        content, so more data move none of them. Pieces of one long document fall on both sides: the loss says how well
        this kind of text is learned, not how well unseen books are.
        Default peak at ``size="nano"``: best mean of two seeds after 300 updates of 32 windows (AdamW, cosine, 5 %
        warm-up): 0.0025, 0.005, 0.01, 0.02, 0.04 ended at losses 4.260, 3.966, 3.816, 3.821, 4.228 (Python 3.11.7).
        Other sizes take it times 64 over their width (the rule of arXiv 2203.03466 for Adam), pre-trained models 5e-5
        and random ones 1e-3; those were not swept.

    Relations:
        Like :class:`TextClassification`, which asks for one label of a passage.

    Source:
        Byte pairs: Neural machine translation of rare words with subword units, 2016, arXiv 1508.07909, algorithm 1.
        Bits per byte: The Pile, 2021, arXiv 2101.00027, section 3.1.
    """

    spec_name: ClassVar[str] = "text-lm"

    data: str | None = None
    text_column: str = "text"
    context: int = 128
    tokenizer: Literal["bpe", "bytes"] = "bpe"
    vocabulary: int = 1024
    size: str = "nano"
    model: str | None = None
    init: Literal["pretrained", "random"] = "pretrained"
    validation_windows: int | None = 256

    def __post_init__(self) -> None:
        """Check every argument; paths may be path objects."""
        for name in ("data", "model"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, os.fspath(value))
        if self.context < 2:
            raise ValueError(f"TextLM: context must be >= 2, got {self.context}.")
        if self.tokenizer not in ("bpe", "bytes"):
            raise ValueError(f'TextLM: tokenizer must be "bpe" or "bytes", got "{self.tokenizer}".')
        if self.tokenizer == "bpe" and self.vocabulary < 257:
            raise ValueError(f"TextLM: vocabulary must be >= 257 (all bytes and a separator), got {self.vocabulary}.")
        if self.init not in ("pretrained", "random"):
            raise ValueError(f'TextLM: init must be "pretrained" or "random", got "{self.init}".')
        if self.validation_windows is not None and self.validation_windows < 1:
            raise ValueError(f"TextLM: validation_windows must be >= 1 or none, got {self.validation_windows}.")
        own = [name for name in ("size", "tokenizer", "vocabulary") if getattr(self, name) != getattr(type(self), name)]
        if self.model is not None and own:
            raise ValueError(f"TextLM: model brings its own size and tokenizer; leave out {', '.join(own)}.")

    @property
    def spec(self) -> str | None:
        """The spec that builds these settings again, or ``None`` where a spec cannot hold them."""
        return spec_of(self.spec_name, self)

    def prepare(self) -> Workload:
        """Read and encode the text, or find it in the cache, and return the workload."""
        from tutelage.workloads.stores import WindowStore

        hub = self._hub_model()
        text = self._encode(hub)
        train = WindowStore(text.train, context=self.context)
        validation = WindowStore(text.validation, context=self.context, limit=self.validation_windows)
        for part, store, tokens in (("training", train, text.train), ("validation", validation, text.validation)):
            if not len(store):
                raise DataError(
                    f"{self.data or 'the embedded text'}: its {part} part has {len(tokens)} tokens, less than a window "
                    f"of {self.context} and its target; give more text or a smaller context."
                )
        settings = ["text-lm", _VERSION, text.facts["digest"], self.context, self.validation_windows]
        notes = {
            "data": self.data or f"standard library of Python {sys.version.split()[0]}",
            "documents": text.facts["documents"],
            "train_tokens": len(text.train),
            "validation_tokens": len(text.validation),
            "vocabulary_size": text.facts["vocabulary_size"],
            "bytes_per_token": round(text.facts["train_bytes"] / text.facts["train_tokens"], 3),
            "tokenizer": self.tokenizer if hub is None else self.model,
        }
        common: dict[str, Any] = {
            "name": "text-lm",
            "train": train,
            "validation": validation,
            "tokens_per_example": float(self.context),
            "version": _VERSION,
            "spec": self.spec,
        }
        if hub is not None:
            return Workload(
                **common,
                make_model=hub.causal_lm,
                loss=logits_loss,
                measure=partial(_measure, loss=logits_loss, token_bytes=_bytes_table(text)),
                batch_size=8,
                peak=_PEAK_PRETRAINED if self.init == "pretrained" else _PEAK_RANDOM,
                fingerprint=content_key(*settings, hub.digest()),
                notes={**notes, "model": self.model, "init": self.init},
            )
        from tutelage.models.decoder import Decoder, DecoderConfig

        config = DecoderConfig.preset(
            self.size, vocabulary_size=int(text.facts["vocabulary_size"]), context=self.context
        )
        return Workload(
            **common,
            make_model=partial(Decoder, config),
            loss=own_loss,
            measure=partial(_measure, loss=own_loss, token_bytes=_bytes_table(text)),
            batch_size=32,
            peak=round(_PEAK_TIMES_WIDTH / config.width, 4),
            fingerprint=content_key(*settings, repr(config)),
            notes={**notes, "model": f"decoder, size {self.size}"},
        )

    def _hub_model(self) -> HubModel | None:
        if self.model is None:
            return None
        from tutelage.workloads._transformers import HubModel

        hub = HubModel(self.model, self.init)
        hub.check_context(self.context, "context")
        return hub

    def _encode(self, hub: HubModel | None) -> EncodedText:
        import tokenizers

        from tutelage.workloads import _standard_library, _tokens, data

        source = _standard_library.standard_library_text() if self.data is None else data.open_data(self.data)
        if hub is not None:
            from tutelage.workloads._transformers import HubCodec

            codec = HubCodec(hub)
            return _tokens.encode_text(
                source,
                self.text_column,
                codec_key=hub.tokenizer_digest(),
                make_codec=lambda texts: cast("TextCodec", codec),
            )
        if self.tokenizer == "bytes":
            return _tokens.encode_text(
                source, self.text_column, codec_key="bytes", make_codec=lambda texts: _tokens.BytesCodec()
            )

        def learn(texts: Iterator[str]) -> TextCodec:
            return _tokens.PairCodec(texts, self.vocabulary)

        key = content_key("bpe", self.vocabulary, tokenizers.__version__)
        return _tokens.encode_text(source, self.text_column, codec_key=key, make_codec=learn)


def own_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Return the mean loss of a model that computes it itself from tokens and targets."""
    tokens, targets = batch
    loss: torch.Tensor = model(tokens, targets)
    return loss


def logits_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Return the mean loss of a transformers model from its logits, whose targets are aligned already."""
    from torch.nn import functional

    tokens, targets = batch
    logits = model(input_ids=tokens).logits
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def _bytes_table(text: EncodedText) -> torch.Tensor:
    import torch

    return torch.from_numpy(text.token_bytes)


def _measure(
    model: nn.Module, batch: Batch, *, loss: Any, token_bytes: torch.Tensor
) -> Mapping[str, tuple[float, float]]:
    targets = batch[1]
    nats = float(loss(model, batch)) * targets.numel()
    return {
        "loss": (nats, targets.numel()),
        "bits_per_byte": (nats / math.log(2), float(token_bytes[targets.cpu()].sum())),
    }
