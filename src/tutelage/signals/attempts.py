"""PassRate and Variation: how often attempts at an example succeed, and how much their scores vary."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.randomness import derive_seed
from tutelage.signals._cache import row_hashes
from tutelage.signals._protocol import BadRow, Batch, Direction, spec_of

#: Makes an attempt at an example and returns its score: ``attempt(value, seed)``.
Attempt = Callable[[Any, int], float]


def pass_rate(scores: ArrayLike, threshold: float = 0.99) -> NDArray[np.float64]:
    """Return the share of attempts at each example that pass.

    **Formula**: ``pass_rate = (1/n) sum over attempts of 1[v_i > threshold]``.

    Args:
        scores: Score of each attempt, >= 0, ``(examples, attempts)``; NaN for an attempt that was not made.
        threshold: An attempt above it passes; strictly. The paper's: 0.99 for mathematics, code and instructions
            (scores in [0, 1]), 4.99 for science (in [0, 5]), 0.7 for the rest.

    Returns:
        float64 ``(examples,)``, in [0, 1]; NaN without attempts.

    Raises:
        ValueError: Another shape, negative scores, or a threshold that is no number >= 0.

    Example:
        >>> pass_rate([[1, 1, 1, 0], [0, 0, 0, 0], [0.5, 1, float("nan"), float("nan")]])
        array([0.75, 0.  , 0.5 ])
    """
    table = _table("pass_rate", scores)
    _check_threshold("pass_rate", threshold)
    made = (~np.isnan(table)).sum(axis=1)
    passed = (np.nan_to_num(table, nan=-1.0) > threshold).sum(axis=1)
    found = np.full(len(table), np.nan)
    np.divide(passed, made, out=found, where=made > 0)
    return found


def coefficient_of_variation(scores: ArrayLike, ddof: int = 0) -> NDArray[np.float64]:
    """Return how much the scores of the attempts at each example vary, relative to their mean.

    **Formula**: ``CV = sigma / mu`` with ``sigma^2 = sum over attempts of (v_i - mu)^2 / (n - ddof)``.

    Args:
        scores: Score of each attempt, >= 0, ``(examples, attempts)``; NaN for an attempt that was not made.
        ddof: 0 as in the paper's formula, 1 as in its worked example.

    Returns:
        float64 ``(examples,)``, >= 0; NaN where the mean is 0 or fewer than 2 attempts were made.

    Raises:
        ValueError: Another shape, fewer than 2 attempts, negative scores, or ``ddof`` other than 0 and 1.

    Example:
        >>> coefficient_of_variation([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).round(6)
        array([1.732051, 1.      , 0.      ,      nan])
        >>> coefficient_of_variation([[0.9, 0.1, 0.7, 0.3, 0.5]], ddof=1).round(6)
        array([0.632456])
    """
    table = _table("coefficient_of_variation", scores)
    if ddof not in (0, 1):
        raise ValueError(f"coefficient_of_variation: ddof must be 0 or 1, got {ddof}.")
    if table.shape[1] < 2:
        raise ValueError(f"coefficient_of_variation: needs 2 or more attempts an example, got {table.shape[1]}.")
    there = ~np.isnan(table)
    made = there.sum(axis=1)
    values = np.where(there, table, 0.0)
    mean = values.sum(axis=1) / np.maximum(made, 1)
    spread = (np.where(there, values - mean[:, None], 0.0) ** 2).sum(axis=1) / np.maximum(made - ddof, 1)
    found = np.full(len(table), np.nan)
    np.divide(np.sqrt(spread), mean, out=found, where=(made >= 2) & (mean > 0))
    return found


def _table(where: str, scores: ArrayLike) -> NDArray[np.float64]:
    try:
        table = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: scores must be numbers of shape (examples, attempts); fill up with NaN.") from None
    if table.ndim != 2:
        raise ValueError(f"{where}: scores must have shape (examples, attempts), got {table.shape}.")
    if (table < 0).any():
        row = int(np.argwhere(table < 0)[0, 0])
        raise ValueError(f"{where}: scores must be >= 0, got {table[row].min():g} for example {row}.")
    return table


def _check_threshold(where: str, threshold: float) -> None:
    if not (math.isfinite(threshold) and threshold >= 0):
        raise ValueError(f"{where}: threshold must be a number >= 0, got {threshold}.")


@dataclass(frozen=True, kw_only=True, repr=False)
class PassRate:
    """The share of several attempts at an example that succeed: difficulty as measured, for what can be checked.

    Attempts are those the data hold, or are made here by a function: a model's answer with its check.

    **Formula**: ``pass_rate = (1/n) sum over attempts of 1[v_i > threshold]``, ``v_i`` the score of attempt ``i``.

    Args:
        threshold: An attempt above it passes. The paper's: 0.99 (mathematics, code, instructions), 4.99 (science,
            scores in [0, 5]), 0.7 (the rest).
        column: Column with the scores of the attempts, a list of numbers >= 0 or of true and false; or a mapping from a
            model's name to its list. With ``attempt``: the column that it gets.
        model: Take the attempts of this model only; of all models together if ``None``.
        attempt: Makes an attempt: ``attempt(value, seed)`` returns its score; only in Python. One that raises
            ``OSError`` or ``TimeoutError`` counts as not made.
        attempts: How many are made; only with ``attempt``.
        seed: From which each attempt's seed is derived, by the value and the attempt's number.

    Returns:
        ``score(batch)``: float64 ``(n,)``, in [0, 1], high = easy; NaN without attempts.

    Raises:
        ValueError: A threshold below 0, or fewer than 1 attempts.
        BadRow: A value that is no list of scores, or a model without attempts.

    Example:
        >>> PassRate().score({"attempts": [[1, 1, 1, 0], [True, False], []]})
        array([0.75, 0.5 ,  nan])
        >>> PassRate(model="small").score({"attempts": [{"small": [0, 1], "large": [1, 1]}]})
        array([0.5])

    Use with:
        ``tutelage score answers.jsonl --signal pass-rate:column=rewards``; bands such as 0.2 to 0.8 for reinforcement
        learning, where examples that always or never pass give no gradient.

    Helps / does not help:
        The most direct measure there is, and the dearest. With n attempts it takes n + 1 values. Choosing by the same
        attempts that then become training data makes the kept ones look better than they are: grade with fresh ones.

    Relations:
        For scores 0 and 1, :class:`Variation` is ``sqrt((1 - p) / p)`` of it: the same order, turned around.

    Source:
        DeepDistill: enhancing LLM reasoning capabilities via large-scale difficulty-graded data training, 2025, arXiv
        2504.17565 (pass rate and its thresholds).
    """

    spec_name: ClassVar[str] = "pass-rate"
    direction: ClassVar[Direction] = "easy"
    per_example: ClassVar[bool] = True

    threshold: float = 0.99
    column: str = "attempts"
    model: str | None = None
    attempt: Attempt | None = None
    attempts: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every argument."""
        _check_threshold("PassRate", self.threshold)
        if self.attempts < 1:
            raise ValueError(f"PassRate: attempts must be >= 1, got {self.attempts}.")

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return (self.column,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the pass rate of each row."""
        return pass_rate(_made(self, batch), self.threshold)


@dataclass(frozen=True, kw_only=True, repr=False)
class Variation:
    """How much the scores of several attempts at an example vary: high where it is solved, but seldom.

    The paper keeps the queries with a high one that at least one attempt solves: hard, and within reach.

    **Formula**: ``CV = sigma / mu`` of the scores of the attempts, ``sigma`` with divisor ``n - ddof``. For scores 0
    and 1 and ``ddof`` 0 it is ``sqrt((1 - p) / p)``, ``p`` the pass rate; so ``CV > t`` says ``0 < p < 1 / (1 + t^2)``.

    Args:
        ddof: 0 as in the paper's formula, 1 as in its worked example.
        column: Column with the scores of the attempts, a list of numbers >= 0; or a mapping from a model's name to its
            list. With ``attempt``: the column that it gets.
        model: Take the attempts of this model only; of all models together if ``None``.
        attempt: Makes an attempt: ``attempt(value, seed)`` returns its score; only in Python. One that raises
            ``OSError`` or ``TimeoutError`` counts as not made.
        attempts: How many are made; only with ``attempt``.
        seed: From which each attempt's seed is derived, by the value and the attempt's number.

    Returns:
        ``score(batch)``: float64 ``(n,)``, >= 0, high = hard; NaN where no attempt scored above 0, or fewer than 2 were
        made.

    Raises:
        ValueError: ``ddof`` other than 0 and 1, or fewer than 2 attempts.
        BadRow: A value that is no list of scores, or a model without attempts.

    Example:
        >>> Variation().score({"attempts": [[1, 0, 0, 0], [1, 1, 1, 1], [0, 0]]}).round(4)
        array([1.7321, 0.    ,    nan])

    Use with:
        ``tutelage score answers.jsonl --signal variation:column=rewards``; selection by variation, which also drops
        what no attempt solves.

    Helps / does not help:
        Part of the recipe with which models distilled on 5 million chosen answers beat larger ones; the paper compares
        with no random choice of the same size. With 4 attempts scored 0 or 1 it takes 5 values.

    Relations:
        :class:`PassRate` is its mirror for scores 0 and 1; with scores in between it also tells steady from lucky.

    Source:
        DeepDistill: enhancing LLM reasoning capabilities via large-scale difficulty-graded data training, 2025, arXiv
        2504.17565. Its formula divides by n, its worked example fits n - 1; the link to the pass rate is our own
        algebra.
    """

    spec_name: ClassVar[str] = "variation"
    direction: ClassVar[Direction] = "hard"
    per_example: ClassVar[bool] = True

    ddof: int = 0
    column: str = "attempts"
    model: str | None = None
    attempt: Attempt | None = None
    attempts: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every argument."""
        if self.ddof not in (0, 1):
            raise ValueError(f"Variation: ddof must be 0 or 1, got {self.ddof}.")
        if self.attempts < 2:
            raise ValueError(f"Variation: attempts must be >= 2, got {self.attempts}.")

    def __repr__(self) -> str:
        """Return the spec that builds it again."""
        return spec_of(self)

    def columns(self) -> tuple[str, ...]:
        """Return the columns it reads."""
        return (self.column,)

    def score(self, batch: Batch) -> NDArray[np.float64]:
        """Return the coefficient of variation of each row."""
        table = _made(self, batch)
        if table.shape[1] < 2:
            return np.full(len(table), np.nan)
        return coefficient_of_variation(table, self.ddof)


def _made(signal: PassRate | Variation, batch: Batch) -> NDArray[np.float64]:
    """Return the scores of all attempts, filled up with NaN."""
    if signal.attempt is None:
        rows = [_read(row, value, signal) for row, value in enumerate(batch[signal.column])]
    else:
        # The seed hangs on the value, not on its place, so that batches and order change nothing.
        places = row_hashes(batch, (signal.column,))[:, 0]
        rows = [
            [
                _try(signal.attempt, value, derive_seed(signal.seed, "attempts", int(place), number), row)
                for number in range(signal.attempts)
            ]
            for row, (value, place) in enumerate(zip(batch[signal.column], places, strict=True))
        ]
    table = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for row, scores in enumerate(rows):
        table[row, : len(scores)] = scores
    return table


def _try(attempt: Attempt, value: Any, seed: int, row: int) -> float:
    try:
        found = float(attempt(value, seed))
    except OSError:  # TimeoutError is one
        return math.nan
    if found < 0:
        raise BadRow(row, f"an attempt scored {found:g}; scores must be >= 0.")
    return found


def _read(row: int, value: Any, signal: PassRate | Variation) -> list[float]:
    what = f'column "{signal.column}"'
    if isinstance(value, Mapping):
        if signal.model is not None and value.get(signal.model) is None:
            raise BadRow(row, f'{what} has no attempts of model "{signal.model}"; it has {", ".join(map(str, value))}.')
        chosen = [one for name, one in value.items() if one is not None and signal.model in (None, name)]
        return [score for one in chosen for score in _scores(row, one, what)]
    if signal.model is not None:
        raise BadRow(row, f"{what} does not tell models apart, so there is none to choose; leave out model.")
    return _scores(row, value, what)


def _scores(row: int, value: Any, what: str) -> list[float]:
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, (str, bytes)):
        raise BadRow(row, f"{what} must hold a list of scores, got {type(value).__name__} {value!r:.40}.")
    try:
        found = [math.nan if score is None else float(score) for score in value]
    except (TypeError, ValueError):
        raise BadRow(row, f"{what} must hold numbers, got {value!r:.60}.") from None
    if any(score < 0 for score in found):
        raise BadRow(row, f"{what} must hold scores >= 0, got {min(found):g}.")
    return found
