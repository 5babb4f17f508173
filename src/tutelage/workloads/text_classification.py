"""TextClassification: which label does a passage have?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tutelage.training.example_log import label_outcomes
from tutelage.workloads._cache import content_key
from tutelage.workloads._columns import Columns
from tutelage.workloads._protocol import Batch, Workload
from tutelage.workloads._spec import spec_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tutelage.workloads._labelled import Encode, LabelledText
    from tutelage.workloads._transformers import HubModel
    from tutelage.workloads.data import DataSource

_VERSION = 1
#: Peak rate of AdamW at batch 32 times the encoder's width, chosen as the class's card says.
_PEAK_TIMES_WIDTH = 0.256
_PEAK_PRETRAINED = 5e-5
_PEAK_RANDOM = 1e-3


@dataclass(frozen=True, kw_only=True)
class TextClassification:
    """Give a passage of text its label: the embedded default, or your own table, with our encoder or any classifier.

    Use it for questions about supervised learning and fine-tuning; the answer is an accuracy people can picture.

    **Formula**: the mean over texts of ``-log p(label | text)``, in nats; accuracy is the share of texts whose most
    likely label is the right one.

    Args:
        data: A file or folder of JSONL, CSV or Parquet (also ``.gz``), or ``hub:NAME``. Where not given, some 10,000
            passages of Python's standard library, prose and code, with the purpose of their module as label (seven:
            concurrency, files, internet, language, numbers and dates, tests and logs, user interface).
        text_column: Column of the text.
        label_column: Column of the label; words or whole numbers.
        context: Tokens read of each text at most, >= 2; the rest is left out.
        vocabulary: Tokens of the byte pairs learned from the training part at most, >= 257.
        size: Preset of our encoder: ``nano``, ``tiny`` or ``small``
            (:class:`tutelage.models.encoder.EncoderConfig`).
        model: A transformers sequence classifier, or a model to put a fresh head on, in place of our encoder: a local
            folder, else a hub id. Its own tokenizer is used, and its weights are read from safetensors only.
        init: ``"pretrained"`` weights of ``model``, or ``"random"`` ones of its architecture.

    Returns:
        ``prepare()`` returns a :class:`Workload` with metrics ``loss`` and ``accuracy``. Batches are tokens (int64) and
        mask (boolean, true where a token is real), both ``(batch, longest)``, and labels, int64 ``(batch,)``. The notes
        hold what saying the commonest label and a bag of words (tf-idf, logistic regression) reach on the same parts.

    Raises:
        ValueError: An argument out of range, or a setting of our encoder together with ``model``.
        ConfigError: A context longer than the model has positions for.
        DataNotFound: Data or model are not where they were said to be.
        DataError: The rows cannot be used: a missing column or label, one label only; names file and line or row.

    Example:
        >>> TextClassification(data="reviews.csv", label_column="stars").spec
        'text-classification:data=reviews.csv,label_column=stars'

    Use with:
        ``tutelage train --workload text-classification:data=reviews.csv``; transformers models by ``model=``.

    Helps / does not help:
        A tenth of each label's texts is held out by the hash of their own content. Our encoder learns from nothing but
        the rows; on a few thousand of them a bag of words is hard to beat, which the notes make plain.
        Default peak at ``size="nano"``: best mean of two seeds after 300 updates of 32 texts (AdamW, cosine, 5 %
        warm-up): 0.001, 0.002, 0.004, 0.008, 0.016 ended at losses 1.243, 0.939, 0.799, 0.889, 1.076 (Python 3.11.7),
        0.004 at accuracy 0.74 where a bag of words reaches 0.86. Other sizes take it times 64 over their width (the
        rule of arXiv 2203.03466 for Adam), pre-trained models 5e-5 and random ones 1e-3; those were not swept.

    Relations:
        Like :class:`TextLM`, which predicts every token instead of one label.

    Source:
        Padding to the longest text of a batch and a fresh head follow common practice in transformers' text
        classification examples; the default data are made here.
    """

    spec_name: ClassVar[str] = "text-classification"

    data: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    context: int = 128
    vocabulary: int = 2048
    size: str = "nano"
    model: str | None = None
    init: Literal["pretrained", "random"] = "pretrained"

    def __post_init__(self) -> None:
        """Check every argument; paths may be path objects."""
        for name in ("data", "model"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, os.fspath(value))
        if self.context < 2:
            raise ValueError(f"TextClassification: context must be >= 2, got {self.context}.")
        if self.vocabulary < 257:
            raise ValueError(
                f"TextClassification: vocabulary must be >= 257 (all bytes and a start), got {self.vocabulary}."
            )
        if self.init not in ("pretrained", "random"):
            raise ValueError(f'TextClassification: init must be "pretrained" or "random", got "{self.init}".')
        own = [name for name in ("size", "vocabulary") if getattr(self, name) != getattr(type(self), name)]
        if self.model is not None and own:
            raise ValueError(
                f"TextClassification: model brings its own size and tokenizer; leave out {', '.join(own)}."
            )

    @property
    def spec(self) -> str | None:
        """The spec that builds these settings again, or ``None`` where a spec cannot hold them."""
        return spec_of(self.spec_name, self)

    def prepare(self) -> Workload:
        """Read and encode the rows, or find them in the cache, and return the workload."""
        hub = self._hub_model()
        text = self._encode(hub)
        settings = ["text-classification", _VERSION, text.facts["digest"]]
        notes = {
            "data": self.data or f"standard library of Python {sys.version.split()[0]}",
            "train_examples": len(text.train),
            "validation_examples": len(text.validation),
            "labels": list(text.labels),
            "majority_accuracy": text.facts["majority"],
            "bag_of_words_accuracy": text.facts["bag_of_words"],
        }
        common: dict[str, Any] = {
            "name": "text-classification",
            "train": text.train,
            "validation": text.validation,
            "column": Columns("text-classification", {"text": partial(self._column, self.text_column)}, self._column),
            "version": _VERSION,
            "spec": self.spec,
        }
        if hub is not None:
            return Workload(
                **common,
                make_model=partial(hub.sequence_classifier, len(text.labels)),
                loss=partial(_loss, logits=_hub_logits),
                measure=partial(_measure, logits=_hub_logits),
                outcomes=partial(_outcomes, logits=_hub_logits),
                batch_size=16,
                peak=_PEAK_PRETRAINED if self.init == "pretrained" else _PEAK_RANDOM,
                fingerprint=content_key(*settings, hub.digest()),
                notes={**notes, "model": self.model, "init": self.init},
            )
        from tutelage.models.encoder import Encoder, EncoderConfig

        config = EncoderConfig.preset(
            self.size, vocabulary_size=text.vocabulary_size, context=self.context, labels=len(text.labels)
        )
        return Workload(
            **common,
            make_model=partial(Encoder, config),
            loss=partial(_loss, logits=_own_logits),
            measure=partial(_measure, logits=_own_logits),
            outcomes=partial(_outcomes, logits=_own_logits),
            batch_size=32,
            peak=round(_PEAK_TIMES_WIDTH / config.width, 4),
            fingerprint=content_key(*settings, repr(config)),
            notes={**notes, "model": f"encoder, size {self.size}"},
        )

    def _column(self, name: str) -> list[Any]:
        from tutelage.workloads._labelled import training_column

        return training_column(self._source(), self.text_column, self.label_column, name)

    def _source(self) -> DataSource:
        from tutelage.workloads import _standard_library, data

        return _standard_library.standard_library_passages() if self.data is None else data.open_data(self.data)

    def _hub_model(self) -> HubModel | None:
        if self.model is None:
            return None
        from tutelage.workloads._transformers import HubModel

        hub = HubModel(self.model, self.init)
        hub.check_context(self.context, "context")
        return hub

    def _encode(self, hub: HubModel | None) -> LabelledText:
        import tokenizers

        from tutelage.workloads import _labelled

        if hub is None:
            key = content_key("bpe", self.vocabulary, self.context, tokenizers.__version__)
            make_codec = partial(_byte_pairs, vocabulary=self.vocabulary, context=self.context)
        else:
            key = content_key(hub.tokenizer_digest(), self.context)
            make_codec = partial(_hub_codec, hub=hub, context=self.context)
        return _labelled.encode_labelled(
            self._source(), self.text_column, self.label_column, codec_key=key, make_codec=make_codec
        )


def _byte_pairs(texts: Iterator[str], *, vocabulary: int, context: int) -> tuple[Encode, int, int]:
    from tutelage.workloads._tokens import PairCodec

    codec = PairCodec(texts, vocabulary)
    # Every text begins with the separator, a place of its own for the model to gather what it read.
    start = codec.vocabulary_size - 1

    def encode(batch: Sequence[str]) -> list[Sequence[int]]:
        return [[start, *tokens[: context - 1]] for tokens in codec.encode(batch)]

    return encode, codec.vocabulary_size, start


def _hub_codec(texts: Iterator[str], *, hub: HubModel, context: int) -> tuple[Encode, int, int]:
    def encode(batch: Sequence[str]) -> list[Sequence[int]]:
        sayable = [text.encode("utf-8", "replace").decode() for text in batch]
        return list(hub.tokenizer(sayable, truncation=True, max_length=context, verbose=False)["input_ids"])

    return encode, hub.vocabulary_size, hub.padding


def _own_logits(model: nn.Module, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(tokens, mask)
    return logits


def _hub_logits(model: nn.Module, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=tokens, attention_mask=mask.long()).logits
    return logits.float()


def _loss(model: nn.Module, batch: Batch, *, logits: Any) -> torch.Tensor:
    from torch.nn import functional

    tokens, mask, labels = batch
    return functional.cross_entropy(logits(model, tokens, mask), labels)


def _measure(model: nn.Module, batch: Batch, *, logits: Any) -> Mapping[str, tuple[float, float]]:
    from torch.nn import functional

    tokens, mask, labels = batch
    scores = logits(model, tokens, mask)
    return {
        "loss": (float(functional.cross_entropy(scores, labels, reduction="sum")), len(labels)),
        "accuracy": (float((scores.argmax(-1) == labels).sum()), len(labels)),
    }


def _outcomes(model: nn.Module, batch: Batch, *, logits: Any) -> Mapping[str, torch.Tensor]:
    *inputs, labels = batch
    return label_outcomes(lambda given: logits(model, *given), (inputs, labels))
