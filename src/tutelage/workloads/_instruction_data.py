"""From rows of instruction data to encoded prompts and answers, one entry of the cache for each choice of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import ConfigError, DataError
from tutelage.workloads import _tasks
from tutelage.workloads._answers import AnswerStore
from tutelage.workloads._cache import cached, content_key
from tutelage.workloads._codecs import Codec, stored_pairs
from tutelage.workloads._instruction_rows import TEST, TRAIN, VALIDATION, RowSource, first_of_each, parts_of
from tutelage.workloads._tokens import TOKENIZER_FILE, TextCodec
from tutelage.workloads.prompts import instruction_prompt

if TYPE_CHECKING:
    from tutelage.workloads.instructions import Instructions

_VERSION = 1
_AT_ONCE = 1_024
_ARRAYS = ("tokens", "offsets", "prompts")


class PartFacts(TypedDict):
    """What measuring needs to know of each held-out example."""

    references: list[list[str]]
    tasks: list[str]
    groups: list[str]
    weights: list[float]


@dataclass(frozen=True)
class InstructionData:
    """Encoded examples and what is known about them.

    Args:
        arrays: Tokens, offsets and prompt lengths of each part.
        facts: Sizes, references of the held-out parts, and the hash of everything under ``digest``.
        codec: What the texts were cut by.
        files: The learned tokenizer, where there is one.
    """

    arrays: Mapping[str, NDArray[Any]]
    facts: Mapping[str, Any]
    codec: Codec
    files: Mapping[str, bytes]

    def store(self, part: str) -> AnswerStore:
        """Return the examples of ``train``, ``replay``, ``validation`` or ``test``."""
        tokens, offsets, prompts = (self.arrays[f"{part}_{name}"] for name in _ARRAYS)
        # Old and new examples go into one batch, so both must be equally wide.
        joined = [self.arrays[f"{name}_offsets"] for name in ("train", "replay") if f"{name}_offsets" in self.arrays]
        width = int(max(np.diff(item).max() for item in joined)) - 1 if len(joined) > 1 else None
        numbers = np.arange(len(prompts))
        return AnswerStore(
            tokens,
            offsets,
            prompts,
            numbers,
            padding=int(self.facts["padding"]),
            width=width if part in ("train", "replay") else None,
        )

    def part(self, name: str) -> PartFacts:
        """Return references, tasks and groups of a held-out part."""
        found: PartFacts = self.facts[name]
        return found

    @property
    def text_codec(self) -> TextCodec:
        """What turns tokens into text again."""
        return self.codec.make(iter(()))


def encode_instructions(settings: Instructions, codec: Codec, *, padding: int | None) -> InstructionData:
    """Return the encoded examples that settings ask for, from the cache where they are there.

    Args:
        settings: Which rows, which of them to learn from, and how a prompt is written.
        codec: How text becomes tokens.
        padding: Token to fill up with; the end token where ``None``.

    Raises:
        DataError: The rows cannot be used, or none of them fits the context.
        ConfigError: The model's tokenizer has no token that ends a text.
    """
    tasks = _names(settings.tasks)
    replay = _names(settings.replay) or []
    source = RowSource(settings.data, None if tasks is None else [*tasks, *replay])
    chosen: list[Any] = [settings.per_task, settings.subset_seed, settings.definition, settings.positives]
    chosen += [settings.validation, settings.test, settings.context, settings.tasks, settings.replay]
    key = content_key(_VERSION, _tasks.VERSION, source.digest, *chosen, codec.key, padding)
    folder = cached("instructions", key, lambda work: _build(work, settings, source, codec, padding))
    tokenizer = folder / TOKENIZER_FILE
    learned = tokenizer.exists()
    with np.load(folder / "arrays.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    return InstructionData(
        arrays,
        json.loads((folder / "facts.json").read_text(encoding="utf-8")),
        stored_pairs(tokenizer) if learned else codec,
        {TOKENIZER_FILE: tokenizer.read_bytes()} if learned else {},
    )


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name for name in text.split("+") if name]


def _build(folder: Path, settings: Instructions, source: RowSource, codec: Codec, padding: int | None) -> None:
    rows = source.rows()
    parts = parts_of(rows, source.label, test=settings.test > 0)
    asked, old = _names(settings.tasks), _names(settings.replay) or []
    mine = np.array([asked is None or row.task in asked or row.group in asked for row in rows])
    before = np.array([row.task in old or row.group in old for row in rows])
    if old and not before.any():
        raise DataError(f"{source.label}: no task or group {' or '.join(old)} to replay.")
    limits = {"validation": settings.validation, "test": settings.test}
    places = {"train": np.flatnonzero(mine & (parts == TRAIN))}
    for name, number in (("validation", VALIDATION), ("test", TEST)):
        if name == "validation" or settings.test:
            there = np.flatnonzero(mine & (parts == number))
            places[name] = first_of_each(rows, there, limits[name], 0)
    places["train"] = first_of_each(rows, places["train"], settings.per_task, settings.subset_seed)
    if old:
        places["replay"] = np.flatnonzero(before & (parts == TRAIN))
    prompts = {name: [_prompt(rows[place], settings) for place in chosen.tolist()] for name, chosen in places.items()}
    answers = {name: [f" {rows[place].outputs[0]}" for place in chosen.tolist()] for name, chosen in places.items()}
    shown = [name for name in ("train", "replay") if name in places]
    learned_from = (p + a for name in shown for p, a in zip(prompts[name], answers[name], strict=True))
    made = codec.make(learned_from)
    end = made.separator if made.separator is not None else padding
    if end is None:
        raise ConfigError("The model's tokenizer has no token that ends a text; set tokenizer.eos_token.")
    arrays: dict[str, NDArray[Any]] = {}
    facts: dict[str, Any] = {"left_out": 0, "vocabulary_size": made.vocabulary_size, "end": end}
    facts["padding"] = end if padding is None else padding
    digest = hashlib.sha256()
    for name, chosen in places.items():
        packed, fits = _pack(made, prompts[name], answers[name], end, settings.context)
        if not fits.any():
            raise DataError(
                f"{source.label}: no example of the {name} part fits a context of {settings.context} tokens; "
                "raise context, or show fewer positives."
            )
        facts["left_out"] += int((~fits).sum())
        arrays |= {f"{name}_{key}": value for key, value in packed.items()}
        kept = chosen[fits].tolist()
        facts[f"{name}_examples"] = len(kept)
        if name in limits:
            sizes = Counter(rows[place].task for place in kept)
            facts[name] = {
                "references": [list(rows[place].outputs) for place in kept],
                "tasks": [rows[place].task for place in kept],
                "groups": [rows[place].group for place in kept],
                "weights": [1 / sizes[rows[place].task] for place in kept],
            }
        digest.update(json.dumps([name, facts.get(name)]).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    facts["answer_tokens"] = int((np.diff(arrays["train_offsets"]) - arrays["train_prompts"]).sum())
    facts["tasks"] = len({rows[place].task for place in places["train"].tolist()})
    facts["digest"] = digest.hexdigest()
    np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub takes them for its own flag
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    made.save(folder)


def _prompt(row: _tasks.Row, settings: Instructions) -> str:
    definition = row.definition if settings.definition or not row.input else ""
    # The space before the answer belongs to the answer: its first word is then cut as it is anywhere in a text.
    return instruction_prompt(definition, row.positives, row.input, settings.positives).rstrip(" ")


def _pack(
    codec: TextCodec, prompts: Sequence[str], answers: Sequence[str], end: int, context: int
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Return the sequences that fit, and which do; each opens with the token that ends those before it in a text."""
    sequences: list[list[int]] = []
    lengths: list[int] = []
    fits = np.zeros(len(prompts), dtype=np.bool_)
    for start in range(0, len(prompts), _AT_ONCE):
        asked = codec.encode(prompts[start : start + _AT_ONCE])
        answered = codec.encode(answers[start : start + _AT_ONCE])
        for number, (prompt, answer) in enumerate(zip(asked, answered, strict=True), start):
            sequence = [end, *prompt, *answer, end]
            if len(sequence) <= context + 1:
                fits[number] = True
                sequences.append(sequence)
                lengths.append(1 + len(prompt))
    offsets = np.cumsum([0, *map(len, sequences)])
    tokens = np.fromiter(
        (token for sequence in sequences for token in sequence), dtype=np.int32, count=int(offsets[-1])
    )
    return {"tokens": tokens, "offsets": offsets, "prompts": np.array(lengths, dtype=np.int64)}, fits
