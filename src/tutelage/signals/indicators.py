"""instruction_indicators: the columns that InstructMining reads, computed offline or by callables of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.errors import ConfigError, DataError, did_you_mean
from tutelage.signals._language_model import LanguageModel, opened
from tutelage.signals._neighbours import knn_distances
from tutelage.signals._words import texts_of, words
from tutelage.signals.lexical_diversity import mtld
from tutelage.signals.neighbour_distance import Encoder, sentence_encoder

#: Takes prompts and responses; returns a score for each.
Rate = Callable[[list[str], list[str]], ArrayLike]
_OWN = ("length", "mtld", "perplexity")


def instruction_indicators(
    rows: Mapping[str, Sequence[Any]],
    *,
    prompt: str = "prompt",
    response: str = "response",
    model: str | LanguageModel | None = None,
    encoder: str | Encoder | None = None,
    k: int = 6,
    ratings: Mapping[str, Rate] | None = None,
    which: Sequence[str] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Return InstructMining's indicators of every example, one column each.

    **Formula**: ``length``: tokens of the response. ``mtld``: :func:`mtld` of its words. ``perplexity``: ``exp`` of its
    mean token loss given the prompt. ``knn_k``: distance of prompt and response together to their ``k``-th nearest
    other example in the encoder's space. Ratings: as their callables say.

    Args:
        rows: Columns of texts.
        prompt: Column with the instruction.
        response: Column with the answer.
        model: A language model (:func:`language_model`) for ``perplexity``, and whose tokens ``length`` counts; without
            one ``length`` counts words.
        encoder: Sentence vectors for ``knn_k``, as for :class:`NeighbourDistance`.
        k: Which neighbour, >= 1.
        ratings: Indicators that a model of your own gives, by name: ``reward``, ``naturalness``, ``coherence``,
            ``understandability``, or others.
        which: Indicators to compute; all that the arguments allow where ``None``.

    Returns:
        Name -> float64 ``(n,)``; NaN where an indicator is not defined, such as the diversity of no words.

    Raises:
        ConfigError: An indicator whose model, encoder or rating is missing, or a column that is not there.
        DataError: An empty response, or a rating of another shape.
        ValueError: No more than ``k`` examples for ``knn_k``.

    Example:
        >>> rows = {"prompt": ["Greet.", "Count."], "response": ["Hello there", "one two three one"]}
        >>> found = instruction_indicators(rows, ratings={"reward": lambda prompts, answers: [0.5, 1.0]})
        >>> {name: values.tolist() for name, values in found.items()}
        {'length': [2.0, 4.0], 'mtld': [2.0, 4.48], 'reward': [0.5, 1.0]}

    Use with:
        :class:`InstructMining`, for its rules or to refit one: the means over each data set are a row of ``runs``.

    Helps / does not help:
        Distances shrink as the pool grows: compute them on pools of equal size. The published rules count LLaMA's
        tokens, take the distances of all-MiniLM-L6-v2, rewards of a 1.4B Pythia and UniEval's dialogue ratings.

    Source:
        Cao et al., Instruction mining, 2023, arXiv 2307.06290, table of indicators (checked in public digests).
    """
    for name in (prompt, response):
        if name not in rows:
            raise ConfigError(f'instruction_indicators: no column "{name}".{did_you_mean(name, rows)}')
    prompts, answers = texts_of(rows, prompt), texts_of(rows, response)
    empty = next((row for row, answer in enumerate(answers) if not answer.strip()), None)
    if empty is not None:
        raise DataError(f'instruction_indicators: row {empty} has an empty "{response}"; leave such rows out.')
    rated, neighbours = dict(ratings or {}), f"knn_{k}"
    able = ["length", "mtld"]
    able += ["perplexity"] if model is not None else []
    able += [neighbours] if encoder is not None else []
    able += list(rated)
    chosen = able if which is None else list(which)
    _check(chosen, able, neighbours)
    ready = None if model is None else opened(model)
    found: dict[str, NDArray[np.float64]] = {}
    for name in chosen:
        if name in rated:
            found[name] = _rating(name, rated[name], prompts, answers)
        elif name == "length":
            counts = [words(answer) for answer in answers] if ready is None else ready.encode(answers)
            found[name] = np.array([len(tokens) for tokens in counts], dtype=np.float64)
        elif name == "mtld":
            found[name] = np.array([mtld(words(answer.lower())) for answer in answers])
        elif name == "perplexity" and ready is not None:
            from tutelage.signals.text_loss import scored_losses

            found[name] = np.exp(scored_losses(ready, rows, response, prompt, 4096).values)
        elif encoder is not None:
            together = [f"{ask}\n{answer}" for ask, answer in zip(prompts, answers, strict=True)]
            found[name] = knn_distances(np.asarray(sentence_encoder(encoder)(together)), k)
    return found


def _check(chosen: Sequence[str], able: Sequence[str], neighbours: str) -> None:
    missing = {"perplexity": "model=", neighbours: "encoder="}
    for name in chosen:
        if name not in able:
            remedy = f"give {missing[name]}" if name in missing else f"give it in ratings={did_you_mean(name, _OWN)}"
            raise ConfigError(f'instruction_indicators: "{name}" cannot be computed: {remedy}.')


def _rating(name: str, rate: Rate, prompts: list[str], answers: list[str]) -> NDArray[np.float64]:
    values = np.asarray(rate(prompts, answers), dtype=np.float64)
    if values.shape != (len(answers),):
        raise DataError(
            f"instruction_indicators: {name} must give one number for each of {len(answers)} examples, got shape "
            f"{values.shape}."
        )
    return values
