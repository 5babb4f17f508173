"""Text to learn probes from: natural text and the sentences of probes in one file, as clean or as noisy as wished."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path

import numpy as np

from tutelage.errors import ConfigError, DataError
from tutelage.evaluation.probes import Probe, probe_panel
from tutelage.randomness import numpy_generator
from tutelage.training.storage import storage, write_atomically

__all__ = ["write_probe_text"]

#: Characters of a document: natural text, then sentences.
_DOCUMENT = 1_000


def write_probe_text(
    path: str | os.PathLike[str],
    *,
    characters: int = 1_000_000,
    data: str | os.PathLike[str] | None = None,
    text_column: str = "text",
    probes: Iterable[Probe | str] | None = None,
    share: float = 0.5,
    noise: float = 0.0,
    seed: int = 0,
) -> Path:
    """Write natural text mixed with sentences that teach probes, for ``TextLM(data=path, tokenizer="bytes")``.

    Use it to give small models abilities that :func:`tutelage.evaluation.probes.probe_evaluators` can watch come.

    **Formula**: documents of about 1,000 characters, of which ``1 - share`` are a passage of the natural text, in its
    order and from the start again where it ends, and ``share`` are lines of the probes, each of one drawn uniformly.
    With probability ``noise``, each by itself, a probe's line states a wrong answer and a natural line has its words
    shuffled, so that noise keeps length and vocabulary.

    Args:
        path: JSON Lines file to write, ``.jsonl``; its folder is made where it is missing.
        characters: Length of the whole text, about, >= 20,000 so that a tenth can be held out.
        data: The natural text: a file, folder or named data set (:func:`tutelage.workloads.open_data`); where not given
            the text that comes with Python.
        text_column: Column of ``data`` that holds the text.
        probes: Probes, or names of the panel; the whole panel where not given.
        share: Share of characters in the probes' sentences, in [0, 1].
        noise: Probability that a line is spoiled, in [0, 1].
        seed: Of every draw; two files of one seed differ in ``noise`` alone where that is what differs.

    Returns:
        The path.

    Raises:
        ValueError: An argument out of range, or no probe.
        UnknownPart: There is no such probe.
        ConfigError: There is another file at ``path``.
        DataNotFound: The natural text is not where it was said to be.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "notes.jsonl"
        >>> _ = path.write_text('{"text": "All is quiet on the river tonight."}')
        >>> mixed = write_probe_text(path.with_name("mix.jsonl"), data=path, probes=["sum", "copy"], characters=20_000)
        >>> text = json.loads(mixed.read_text().splitlines()[0])["text"].splitlines()
        >>> text[0][:33], text[-1]
        ('All is quiet on the river tonight', 'copy flbr: flbr.')

    Use with:
        ``TextLM(data=path, tokenizer="bytes", context=64)``; any trainer that reads JSON Lines.

    Helps / does not help:
        The twelve probes need about a million bytes and a tenth of a million parameters to leave chance; facts that are
        concluded, not stated, need more.

    Relations:
        The curriculum ``replay`` mixes two texts by whole windows while training, and can change their share.

    Source:
        Ours. Mixtures of natural and generated text for controlled abilities: Physics of language models, part 3.1,
        2023, arXiv 2309.14316.
    """
    if characters < 20_000:
        raise ValueError(f"write_probe_text: characters must be >= 20,000, got {characters}.")
    for name, value in (("share", share), ("noise", noise)):
        if not 0 <= value <= 1:
            raise ValueError(f"write_probe_text: {name} must be from 0 to 1, got {value}.")
    named = list(probe_panel() if probes is None else probes)
    chosen = [probe for item in named for probe in ((item,) if isinstance(item, Probe) else probe_panel([item]))]
    if not chosen:
        raise ValueError("write_probe_text: probes must name at least one probe, got none.")
    target = Path(path)
    documents = _documents(characters, _natural(data, text_column, round((1 - share) * _DOCUMENT)), chosen, noise, seed)
    content = "".join(json.dumps({"text": document}) + "\n" for document in documents)
    if target.exists() and target.read_bytes() != content.encode():
        raise ConfigError(f"{target} holds something else; name a new file.")
    with storage(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, content)
    return target


def _documents(characters: int, natural: Iterator[str], probes: list[Probe], noise: float, seed: int) -> Iterator[str]:
    # One stream for what is drawn and one for what is spoiled: noise changes nothing else.
    draws, spoils = (numpy_generator(seed, f"probe text, {name}") for name in ("lines", "noise"))
    written = 0
    while written < characters:
        passage = next(natural)
        lines = [_shuffled(line, spoils) if spoils.random() < noise else line for line in passage.split("\n")]
        length = len(passage)
        while length < _DOCUMENT:
            question = probes[int(draws.integers(len(probes)))].draw(draws, False)
            lines.append(question.spoiled(spoils) if spoils.random() < noise else question.sentence)
            length += len(question.sentence) + 1  # spoiled or not, so that the lines after it are the same
        yield "\n".join(lines)
        written += length


def _natural(data: str | os.PathLike[str] | None, text_column: str, size: int) -> Iterator[str]:
    """Yield passages of the natural text without an end, each of at most ``size`` characters, cut between words."""
    from tutelage.workloads._standard_library import standard_library_text
    from tutelage.workloads.data import open_data

    if not size:
        yield from cycle([""])
    source = standard_library_text() if data is None else open_data(data)
    while True:
        empty = True
        for document in source.texts(text_column):
            start = 0
            while start < len(document):
                end = start + size
                if end < len(document):
                    cut = max(document.rfind(sign, start + size // 2, end) for sign in " \n")
                    end = end if cut < 0 else cut + 1
                yield document[start:end].strip("\n")
                start, empty = end, False
        if empty:
            raise DataError(f"{source.label} holds no text.")


def _shuffled(line: str, rng: np.random.Generator) -> str:
    words = line.split(" ")
    return " ".join(words[place] for place in rng.permutation(len(words)))
