"""TextLM: predict the next token of real text."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from tutelage.errors import ConfigError, DataError
from tutelage.specs import parse_spec
from tutelage.training.example_log import token_outcomes
from tutelage.workloads._cache import content_key
from tutelage.workloads._codecs import (
    Codec,
    check_model_and_tokenizer,
    codec_of,
    codec_of_model,
    metric_name,
    stored_pairs,
)
from tutelage.workloads._columns import Columns, WindowTexts
from tutelage.workloads._protocol import Batch, EvaluationSet, Workload
from tutelage.workloads._spec import spec_of
from tutelage.workloads._tokens import TOKENIZER_FILE

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from tutelage.training.folder import RunRecord
    from tutelage.workloads._tokens import EncodedText
    from tutelage.workloads._transformers import HubModel
    from tutelage.workloads.stores import WindowStore

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
        tokenizer: ``"bpe"``: byte-level byte pairs learned from the training part; ``"bytes"``: none; or that of
            another run: its folder, or a ``tokenizer.json`` that such a run keeps.
        vocabulary: Tokens of ``bpe`` at most, >= 257.
        size: Preset of our decoder: ``nano``, ``micro``, ``tiny``, ``small`` or ``base``
            (:class:`tutelage.models.decoder.DecoderConfig`), or width and layers such as ``32x2``. ``nano`` trains 300
            updates in half a minute of one core.
        model: A transformers causal LM in place of our decoder: a local folder, else a hub id. Its own tokenizer is
            used, and its weights are read from safetensors only.
        init: ``"pretrained"`` weights of ``model``, or ``"random"`` ones of its architecture.
        validation_windows: Windows an evaluation reads at most, spread evenly over the held-out text; ``none`` for all.
        replay: Text the model was trained on before, as for ``data``; a curriculum such as ``replay:alpha=0.05`` mixes
            its training part in.
        also_evaluate: Further text to measure on, as for ``data``, several joined by ``+``: the held-out part of
            ``novels-en`` gives ``val_loss_novels_en`` and ``val_bits_per_byte_novels_en``, that of a file its own name.

    Returns:
        ``prepare()`` returns a :class:`Workload` with metrics ``loss`` and ``bits_per_byte``. Batches are tokens and
        targets, each int64 of shape ``(batch, context)``; every token is a target exactly once an epoch.

    Raises:
        ValueError: An argument out of range, or a setting of our decoder together with ``model``.
        ConfigError: A context longer than the model has positions for.
        DataNotFound: Data, model or tokenizer are not where they were said to be.
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
    tokenizer: str = "bpe"
    vocabulary: int = 1024
    size: str = "nano"
    model: str | None = None
    init: Literal["pretrained", "random"] = "pretrained"
    validation_windows: int | None = 256
    replay: str | None = None
    also_evaluate: str | None = None

    def __post_init__(self) -> None:
        """Check every argument; paths may be path objects."""
        for name in ("data", "tokenizer", "model", "replay", "also_evaluate"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, os.fspath(value))
        if self.context < 2:
            raise ValueError(f"TextLM: context must be >= 2, got {self.context}.")
        check_model_and_tokenizer(self, "a separator")
        if self.validation_windows is not None and self.validation_windows < 1:
            raise ValueError(f"TextLM: validation_windows must be >= 1 or none, got {self.validation_windows}.")

    @property
    def spec(self) -> str | None:
        """The spec that builds these settings again, or ``None`` where a spec cannot hold them."""
        return spec_of(self.spec_name, self)

    @classmethod
    def continued(cls, record: RunRecord, folder: Path) -> dict[str, Any]:
        """Return the arguments that make the model and the tokenizer of a run, to train on from its weights.

        Args:
            record: What the run says about itself.
            folder: Where it lies.
        """
        given = parse_spec(record.workload_spec or cls.spec_name).arguments
        kept = {name: given[name] for name in ("context", "size", "model") if name in given}
        if "model" in kept or given.get("tokenizer") == "bytes":
            return kept | {name: given[name] for name in ("tokenizer",) if name in given}
        return kept | {"tokenizer": str(folder)}

    def prepare(self) -> Workload:
        """Read and encode the text, or find it in the cache, and return the workload."""
        texts = self._texts()
        own, tokenizer = texts.own, texts.own.folder / TOKENIZER_FILE
        train = self._windows(own.train, self.data, "training")
        validation = self._windows(own.validation, self.data, "validation", self.validation_windows)
        replay = None if texts.replay is None else self._windows(texts.replay.train, self.replay, "training")
        others = {
            name: self._windows(text.validation, name, "validation", self.validation_windows)
            for name, text in texts.others.items()
        }
        settings = ["text-lm", _VERSION, own.facts["digest"], self.context, self.validation_windows]
        if texts.replay is not None:
            settings += ["replay", texts.replay.facts["digest"]]
        for name, text in texts.others.items():
            settings += ["also", name, text.facts["digest"]]
        notes = {
            "data": self.data or f"standard library of Python {sys.version.split()[0]}",
            "documents": own.facts["documents"],
            "train_tokens": len(own.train),
            "validation_tokens": len(own.validation),
            "vocabulary_size": own.facts["vocabulary_size"],
            "bytes_per_token": round(own.facts["train_bytes"] / own.facts["train_tokens"], 3),
            "tokenizer": self.model or (self.tokenizer if tokenizer.exists() else "bytes"),
        }
        if texts.replay is not None:
            notes |= {"replay": self.replay, "replay_tokens": len(texts.replay.train)}

        def also(loss: Any) -> dict[str, EvaluationSet]:
            # Tokens of another library stand for no fixed number of bytes, so each text has a table of its own.
            return {
                name: EvaluationSet(store, partial(_measure, loss=loss, token_bytes=_bytes_table(texts.others[name])))
                for name, store in others.items()
            }

        common: dict[str, Any] = {
            "name": "text-lm",
            "train": train,
            "validation": validation,
            "replay": replay,
            "outcomes": token_outcomes,
            "column": Columns("text-lm", {"text": WindowTexts(train, texts.codec)}),
            "tokens_per_example": float(self.context),
            "version": _VERSION,
            "spec": self.spec,
        }
        if texts.hub is not None:
            return Workload(
                **common,
                also_evaluate=also(logits_loss),
                make_model=texts.hub.causal_lm,
                loss=logits_loss,
                measure=partial(_measure, loss=logits_loss, token_bytes=_bytes_table(own)),
                batch_size=8,
                peak=_PEAK_PRETRAINED if self.init == "pretrained" else _PEAK_RANDOM,
                fingerprint=content_key(*settings, texts.hub.digest()),
                notes={**notes, "model": self.model, "init": self.init},
            )
        from tutelage.models.decoder import Decoder, DecoderConfig

        config = DecoderConfig.preset(
            self.size, vocabulary_size=int(own.facts["vocabulary_size"]), context=self.context
        )
        return Workload(
            **common,
            also_evaluate=also(own_loss),
            make_model=partial(Decoder, config),
            loss=own_loss,
            measure=partial(_measure, loss=own_loss, token_bytes=_bytes_table(own)),
            batch_size=32,
            peak=round(_PEAK_TIMES_WIDTH / config.width, 4),
            fingerprint=content_key(*settings, repr(config)),
            notes={**notes, "model": f"decoder, size {self.size}"},
            files={TOKENIZER_FILE: tokenizer.read_bytes()} if tokenizer.exists() else {},
        )

    def _windows(self, tokens: NDArray[Any], label: str | None, part: str, limit: int | None = None) -> WindowStore:
        from tutelage.workloads.stores import WindowStore

        store = WindowStore(tokens, context=self.context, limit=limit)
        if not len(store):
            raise DataError(
                f"{label or 'the embedded text'}: its {part} part has {len(tokens)} tokens, less than a window "
                f"of {self.context} and its target; give more text or a smaller context."
            )
        return store

    def _texts(self) -> _Texts:
        hub = None
        if self.model is not None:
            from tutelage.workloads._transformers import HubModel

            hub = HubModel(self.model, self.init)
            hub.check_context(self.context, "context")
        codec = codec_of(self.tokenizer, self.vocabulary) if hub is None else codec_of_model(hub)
        own = self._encode(self.data, codec)
        # The other texts are cut by the tokenizer of the first, whether it was learned from that or not.
        tokenizer = own.folder / TOKENIZER_FILE
        shared = stored_pairs(tokenizer) if tokenizer.exists() else codec
        replay = None if self.replay is None else self._encode(self.replay, shared)
        names = [name for name in (self.also_evaluate or "").split("+") if name]
        others = {metric_name(name): self._encode(name, shared) for name in names}
        if len(others) < len(names):
            raise ConfigError(f"TextLM: also_evaluate={self.also_evaluate} names two texts alike; rename a file.")
        return _Texts(hub, own, replay, others, shared)

    def _encode(self, data: str | None, codec: Codec) -> EncodedText:
        from tutelage.workloads import _standard_library
        from tutelage.workloads._tokens import encode_text
        from tutelage.workloads.data import open_data

        source = _standard_library.standard_library_text() if data is None else open_data(data)
        return encode_text(source, self.text_column, codec_key=codec.key, make_codec=codec.make)


class _Texts(NamedTuple):
    """Every text of a workload, encoded alike."""

    hub: HubModel | None
    own: EncodedText
    replay: EncodedText | None
    others: Mapping[str, EncodedText]
    codec: Codec


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


def held_out_text(data: str, codec: Codec, *, context: int, limit: int | None, loss: Any) -> EvaluationSet:
    """Return the held-out part of a text, to measure a language model of another workload on.

    Args:
        data: The text, as for :class:`TextLM`.
        codec: What cuts it into tokens.
        context: Tokens in a window.
        limit: Windows read at most.
        loss: :func:`own_loss` or :func:`logits_loss`.

    Raises:
        DataNotFound: The text is not there.
        DataError: It cannot be used, or is shorter than a window.
    """
    settings = TextLM(data=data, context=context)
    text = settings._encode(data, codec)
    store = settings._windows(text.validation, data, "validation", limit)
    return EvaluationSet(store, partial(_measure, loss=loss, token_bytes=_bytes_table(text)))


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
