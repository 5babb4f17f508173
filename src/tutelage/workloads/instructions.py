"""Instructions: learn to do what a definition says, from examples of many tasks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tutelage.errors import ConfigError
from tutelage.training.example_log import token_outcomes
from tutelage.workloads._cache import content_key
from tutelage.workloads._codecs import check_model_and_tokenizer, metric_name
from tutelage.workloads._columns import AnswerTexts, Columns
from tutelage.workloads._protocol import EvaluationSet, Workload
from tutelage.workloads._spec import spec_of
from tutelage.workloads.prompts import instruction_prompt

if TYPE_CHECKING:
    from pathlib import Path

    from tutelage.training.folder import RunRecord
    from tutelage.workloads._codecs import Codec
    from tutelage.workloads._instruction_data import InstructionData, PartFacts
    from tutelage.workloads._transformers import HubModel

__all__ = ["Instructions", "instruction_prompt"]

_VERSION = 1
#: Peak rate of AdamW at batch 32 times the decoder's width, chosen as the class's card says.
_PEAK_TIMES_WIDTH = 0.64
_PEAK_PRETRAINED = 5e-5
_PEAK_RANDOM = 1e-3
#: Windows of a text that is measured beside the tasks.
_TEXT_WINDOWS = 64
_TEXT_CONTEXT = 128


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """Instruction tuning: a language model learns to answer prompts of many tasks, and is asked held-out ones.

    It is the workload for questions about supervised fine-tuning: batch size, rate, warm-up, order of the tasks, and
    how much data of a new task a model needs. Start from a run of ``text-lm`` or of this workload by ``from_run``.

    **Formula**: a sequence is prompt, answer, end token; the loss is the sum of ``-log p`` over the answers' tokens
    (their end included) of the whole effective batch, divided by their number, in nats. Exact match is the share of
    greedy answers with the words of a right one, ROUGE-L as :func:`tutelage.evaluation.rouge_l`; both are means over
    the examples of a task, then over tasks.

    Args:
        data: A file or folder of JSONL, CSV or Parquet (also ``.gz``) with columns ``input`` and ``output`` (a text or
            a list of right ones), and where there are such ``instruction`` (or ``definition``), ``task`` and ``group``;
            ``instr-sni`` or a folder in its layout; ``hub:NAME``. Where not given, generated tasks in the groups
            ``format``, ``facts`` and ``composition``.
        tasks: Names of tasks or groups joined by ``+``; all of them where not given. ``control``, two generated tasks
            that have nothing in common with the others, is used only if named.
        per_task: Training examples of each task at most; those of a smaller number are among those of a larger one.
        subset_seed: Which examples ``per_task`` keeps.
        definition: Whether prompts say what the task is, or hold the bare input.
        positives: Solved examples in a prompt at most, for data that have such; >= 0.
        validation: Held-out examples of each task that are measured at most; ``none`` for all.
        test: Further held-out examples of each task, measured as ``val_exact_match_test`` and so on; 0 for none.
        metric: What comparisons use: ``"loss"``, ``"exact_match"`` or ``"rouge_l"``.
        report: Measure each ``"group"`` or each ``"task"`` apart too (``val_exact_match_format``), or ``"none"``.
        context: Tokens of prompt and answer at most, >= 8; longer examples are left out, and the notes say how many.
        tokenizer: As for :class:`TextLM`: ``"bpe"``, ``"bytes"``, a run folder or a ``tokenizer.json``.
        vocabulary: Tokens of ``bpe`` at most, >= 257.
        size: Size of our decoder, as for :class:`TextLM`.
        model: A transformers causal LM in place of our decoder: a local folder, else a hub id.
        init: ``"pretrained"`` weights of ``model``, or ``"random"`` ones of its architecture.
        replay: Tasks or groups of the same data that an earlier run learned, joined by ``+``; a curriculum such as
            ``replay:alpha=0.05`` mixes their training examples in.
        also_evaluate: Text to measure the language model on, several joined by ``+``, as for :class:`TextLM`: what was
            retained of pre-training, as ``val_loss_NAME`` and ``val_bits_per_byte_NAME``.

    Returns:
        ``prepare()`` returns a :class:`Workload` with metrics ``loss``, ``exact_match`` and ``rouge_l``. Batches are
        tokens and targets (-100 where there is none), int64 ``(batch, longest)``, and the examples' numbers.

    Raises:
        ValueError: An argument out of range, or a setting of our decoder together with ``model``.
        ConfigError: No such generated task, or a context longer than the model has positions for.
        DataNotFound: Data, model or tokenizer are not where they were said to be.
        DataError: The rows cannot be used; names file and line or row.

    Example:
        >>> Instructions(tasks="reverse+facts", per_task=16).spec
        'instructions:tasks=reverse+facts,per_task=16'

    Use with:
        ``tutelage train --workload instructions --from-run runs/pretrained``; transformers models by ``model=``.

    Helps / does not help:
        A tenth of each task's inputs is held out by the hash of the input, so one that several tasks share is held out
        in all of them. Generated tasks are lists of words, easy to score and far from what people ask for.

    Relations:
        Like :class:`TextLM`, which learns every token of a text, not just answers.

    Source:
        Loss per token over the effective batch: Pareja et al., Unveiling the secret recipe, 2024, arXiv 2412.13337.
        Prompts: see :func:`instruction_prompt`. Means of tasks: Super-NaturalInstructions, 2022, arXiv 2204.07705,
        section 5. The generated tasks are made here.
    """

    spec_name: ClassVar[str] = "instructions"
    #: Workloads whose runs this one can go on from.
    continues: ClassVar[tuple[str, ...]] = ("instructions", "text-lm")

    data: str | None = None
    tasks: str | None = None
    per_task: int | None = None
    subset_seed: int = 0
    definition: bool = True
    positives: int = 0
    validation: int | None = 32
    test: int = 0
    metric: Literal["loss", "exact_match", "rouge_l"] = "loss"
    report: Literal["none", "group", "task"] = "group"
    context: int = 256
    tokenizer: str = "bpe"
    vocabulary: int = 512
    size: str = "nano"
    model: str | None = None
    init: Literal["pretrained", "random"] = "pretrained"
    replay: str | None = None
    also_evaluate: str | None = None

    def __post_init__(self) -> None:
        """Check every argument; paths may be path objects."""
        for name in ("data", "tokenizer", "model"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, os.fspath(value))
        for name, least in (("per_task", 1), ("positives", 0), ("validation", 1), ("test", 0), ("context", 8)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"Instructions: {name} must be >= {least}, got {value}.")
        for name, choices in (
            ("metric", ("loss", "exact_match", "rouge_l")),
            ("report", ("none", "group", "task")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f'Instructions: {name} must be {" or ".join(choices)}, got "{getattr(self, name)}".')
        check_model_and_tokenizer(self, "an end")

    @property
    def spec(self) -> str | None:
        """The spec that builds these settings again, or ``None`` where a spec cannot hold them."""
        return spec_of(self.spec_name, self)

    @classmethod
    def continued(cls, record: RunRecord, folder: Path) -> dict[str, Any]:
        """Return the arguments that make the model and the tokenizer of a run of this workload or of ``text-lm``.

        Args:
            record: What the run says about itself.
            folder: Where it lies.
        """
        from tutelage.workloads.text_lm import TextLM

        kept = TextLM.continued(record, folder)
        if record.workload != cls.spec_name:
            # The windows a text was read in say nothing about how long a prompt may be.
            kept.pop("context", None)
        return kept

    def prepare(self) -> Workload:
        """Read or generate the rows, encode them, or find them in the cache, and return the workload."""
        from tutelage.workloads._answers import answer_loss
        from tutelage.workloads.text_lm import logits_loss, own_loss

        hub = self._hub()
        data = self._data(hub)
        lm_loss = own_loss if hub is None else logits_loss
        settings = ["instructions", _VERSION, data.facts["digest"], self.report]
        texts = self._texts(data.codec, lm_loss, settings)
        extra = {"test": data.store("test")} if self.test else {}
        evaluations = {name: EvaluationSet(store, self._measure(data, name, hub)) for name, store in extra.items()}
        common: dict[str, Any] = {
            "name": "instructions",
            "train": data.store("train"),
            "column": Columns(
                "instructions",
                {
                    part: AnswerTexts(data.store("train"), data.text_codec, part)
                    for part in ("text", "prompt", "answer")
                },
            ),
            "validation": data.store("validation"),
            "replay": data.store("replay") if self.replay else None,
            "also_evaluate": evaluations | texts,
            "loss": partial(answer_loss, loss=lm_loss),
            "measure": self._measure(data, "validation", hub),
            "outcomes": token_outcomes,
            "metric": f"val_{self.metric}",
            "lower_is_better": self.metric == "loss",
            "version": _VERSION,
            "spec": self.spec,
        }
        notes = {
            "data": self.data or "generated",
            **{key: data.facts[key] for key in ("tasks", "train_examples", "validation_examples", "left_out")},
            "answer_tokens": data.facts["answer_tokens"],
            "vocabulary_size": data.facts["vocabulary_size"],
            "tokenizer": self.model or (self.tokenizer if data.files else "bytes"),
        }
        if hub is not None:
            return Workload(
                **common,
                make_model=hub.causal_lm,
                batch_size=8,
                peak=_PEAK_PRETRAINED if self.init == "pretrained" else _PEAK_RANDOM,
                fingerprint=content_key(*settings, hub.digest()),
                notes={**notes, "model": self.model, "init": self.init},
            )
        from tutelage.models.decoder import Decoder, DecoderConfig

        config = DecoderConfig.preset(
            self.size, vocabulary_size=int(data.facts["vocabulary_size"]), context=self.context
        )
        return Workload(
            **common,
            make_model=partial(Decoder, config),
            batch_size=32,
            peak=round(_PEAK_TIMES_WIDTH / config.width, 4),
            fingerprint=content_key(*settings, repr(config)),
            notes={**notes, "model": f"decoder, size {self.size}"},
            files=data.files,
        )

    def _hub(self) -> HubModel | None:
        if self.model is None:
            return None
        from tutelage.workloads._transformers import HubModel

        hub = HubModel(self.model, self.init)
        hub.check_context(self.context, "context")
        return hub

    def _data(self, hub: HubModel | None) -> InstructionData:
        from tutelage.workloads._codecs import codec_of, codec_of_model
        from tutelage.workloads._instruction_data import encode_instructions

        codec = codec_of(self.tokenizer, self.vocabulary) if hub is None else codec_of_model(hub)
        return encode_instructions(self, codec, padding=None if hub is None else hub.padding)

    def _measure(self, data: InstructionData, part: str, hub: HubModel | None) -> Any:
        from tutelage.workloads import _answers

        facts: PartFacts = data.part(part)
        end = int(data.facts["end"])
        return _answers.AnswerMeasure(
            logits=_answers.own_logits if hub is None else _answers.hub_logits,
            write=_answers.OwnWriter(end) if hub is None else _answers.HubWriter(end, int(data.facts["padding"])),
            decode=data.text_codec.decode,
            limit=data.store(part).longest_answer,
            report=self.report,
            **facts,
        )

    def _texts(self, codec: Codec, loss: Any, settings: list[Any]) -> dict[str, EvaluationSet]:
        from tutelage.workloads.text_lm import held_out_text

        names = [name for name in (self.also_evaluate or "").split("+") if name]
        found = {
            metric_name(name): held_out_text(
                name, codec, context=min(self.context, _TEXT_CONTEXT), limit=_TEXT_WINDOWS, loss=loss
            )
            for name in names
        }
        if len(found) < len(names) or "test" in found:
            raise ConfigError(
                f"Instructions: also_evaluate={self.also_evaluate} names two texts alike, or one called test; "
                "rename a file."
            )
        for name, item in found.items():
            settings += ["also", name, content_key(item.examples.tokens.tobytes())]  # type: ignore[attr-defined]
        return found
