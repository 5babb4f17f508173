"""Variation: the questions that are solved sometimes, told by how much the scores of several attempts vary."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tutelage.randomness import numpy_generator
from tutelage.selection._checks import as_spec, beside, check_choice, present, score_array
from tutelage.selection._protocol import Takes

#: What became of a question.
Reason = Literal["kept", "sampled", "stable", "unsolved", "missing", "beyond count"]
#: A cut-off that keeps nearly all or nearly none is worth a word, from this many questions on.
_MANY = 100


@dataclass(frozen=True)
class Grades:
    """What :class:`Variation` found for each question.

    Args:
        reasons: ``"kept"``; ``"sampled"``: stable, and kept by lot; ``"stable"``, ``"unsolved"``, ``"missing"`` and
            ``"beyond count"``: dropped. Shape ``(questions,)``.
        pass_rates: Share of the attempts above the threshold, shape ``(questions,)``.
        variation: Coefficient of variation of the scores, NaN where their mean is 0, shape ``(questions,)``.
        answers: Attempts to train on, bool, shape ``(questions, attempts)``.
    """

    reasons: NDArray[np.str_]
    pass_rates: NDArray[np.float64]
    variation: NDArray[np.float64]
    answers: NDArray[np.bool_]

    @property
    def indices(self) -> NDArray[np.int64]:
        """Places of the questions kept, ascending."""
        return np.flatnonzero(self.answers.any(axis=1))

    def counts(self) -> dict[str, int]:
        """Return the number of questions by reason."""
        names, numbers = np.unique(self.reasons, return_counts=True)
        return dict(zip(names.tolist(), numbers.tolist(), strict=True))


@dataclass(frozen=True, kw_only=True, repr=False)
class Variation:
    """Keeps questions that several attempts answer with varying success, at least one of them well.

    Use it to choose what to fine-tune on from questions answered several times: always solved teaches little, never
    solved leaves nothing to learn from.

    **Formula**: question ``q`` with attempt scores ``v_1 .. v_n``, threshold ``theta``::

        CV = deviation(v) / mean(v)
        no v_i > theta:      drop (unsolved)
        CV > cv:             keep, with the answers whose v_i > theta
        otherwise (stable):  keep with probability ``stable``, else drop

    For scores of 0 and 1 and the population's deviation ``CV = sqrt((1 - p) / p)`` at pass rate ``p``, so ``CV > t`` is
    the same as ``p < 1 / (1 + t^2)``: hard but solvable.

    Args:
        threshold: theta, in the unit of the scores: an attempt passes above it. The paper's: 0.99 for mathematics, code
            and instruction following, 4.99 for science on a scale to 5, 0.7 for other questions.
        cv: Variation above which a question is kept, >= 0. The paper does not print its values. Give this or
            ``quantile``.
        quantile: Instead of ``cv``, that quantile of the solved questions' variations, in [0, 1].
        stable: Probability of keeping a solved question that varies less, in [0, 1]; the paper's 0.5 for other
            questions and talks of several turns, 0 for the rest.
        answers: ``"all"`` answers that pass, or ``"one"`` of them at random, as in the paper's second stage.
        count: Keep at most that many questions, those with the highest variation first, >= 1.
        ddof: 0: the deviation divides by n, as the paper's formula; 1: by n - 1, as its worked example.
        missing: ``"refuse"``: an attempt that is NaN is an error; ``"drop"``: its question is left out.

    Returns:
        ``select(attempts)``: places of the questions kept, int64, ascending. ``grade(attempts)``: :class:`Grades`, with
        the reason for each and the answers to train on.

    Raises:
        ValueError: Not exactly one of ``cv`` and ``quantile``, or a number out of range; from ``select`` and ``grade``:
            fewer than two attempts, scores below 0 or NaN, or a threshold that no score passes.

    Example:
        >>> grades = Variation(cv=0.5).grade([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]])
        >>> grades.reasons.tolist(), grades.answers.sum(axis=1).tolist()
        (['kept', 'stable', 'unsolved'], [3, 0, 0])
        >>> grades.variation.round(6).tolist()
        [0.57735, 0.0, nan]

    Use with:
        ``tutelage select graded.jsonl --keep variation:cv=0.5 --score attempts --out kept.jsonl``, where the column
        holds a list of scores. Several categories, each by its rule: :func:`select_by_category`.

    Helps / does not help:
        Fine-tuning 32B and 72B models on about 5M answers chosen so reached 75.8 and 79.2 on AIME 2024. The paper shows
        no comparison with a random choice. With n = 4 attempts of 0 and 1 there are four values of the variation:
        cut-offs between them change nothing. Answers judged by the scores that chose them look better than they are.

    Relations:
        ``threshold:min=0.25,max=0.75`` on pass rates is the band that reinforcement learning uses; the signals
        ``pass-rate`` and ``variation`` are columns of the same numbers.

    Source:
        DeepDistill, 2025, arXiv 2504.17565 (v3), stage I and II of the selection; thresholds from a digest of the
        paper. The identity with the pass rate is ours.
    """

    spec_name: ClassVar[str] = "variation"
    takes: ClassVar[Takes] = "attempts"
    beside: ClassVar[tuple[str, ...]] = ()

    threshold: float = 0.99
    cv: float | None = None
    quantile: float | None = None
    stable: float = 0.0
    answers: Literal["all", "one"] = "all"
    count: int | None = None
    ddof: int = 0
    missing: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        """Check every argument."""
        if (self.cv is None) == (self.quantile is None):
            raise ValueError("Variation: give exactly one of cv and quantile.")
        if self.cv is not None and not (math.isfinite(self.cv) and self.cv >= 0):
            raise ValueError(f"Variation: cv must be a finite number >= 0, got {self.cv}.")
        for argument, value in (("quantile", self.quantile), ("stable", self.stable)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"Variation: {argument} must be >= 0 and <= 1, got {value}.")
        if not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise ValueError(f"Variation: threshold must be a finite number >= 0, got {self.threshold}.")
        if self.count is not None and self.count < 1:
            raise ValueError(f"Variation: count must be >= 1, got {self.count}.")
        if self.ddof not in (0, 1):
            raise ValueError(f"Variation: ddof must be 0 or 1, got {self.ddof}.")
        check_choice("Variation", "answers", self.answers, ("all", "one"))
        check_choice("Variation", "missing", self.missing, ("refuse", "drop"))

    def __repr__(self) -> str:
        """Return the spec that builds this selection again."""
        return as_spec(self)

    def select(self, attempts: ArrayLike, /, *, seed: int = 0) -> NDArray[np.int64]:
        """Return the places of the questions kept, ascending."""
        return self.grade(attempts, seed=seed).indices

    def grade(self, attempts: ArrayLike, *, seed: int = 0) -> Grades:
        """Say of each question what became of it.

        Args:
            attempts: Scores >= 0, shape ``(questions, attempts)``.
            seed: Of the lots: stable questions that are kept, and the one answer.
        """
        scores = score_array("Variation", attempts, missing=self.missing, dimensions=2).astype(np.float64)
        if scores.shape[1] < 2:
            raise ValueError(f"Variation: a variation needs 2 or more attempts a question, got {scores.shape[1]}.")
        if (scores < 0).any():
            raise ValueError(f"Variation: scores must be >= 0, got {np.nanmin(scores):g}; shift them first.")
        there = present(scores)
        found = np.ones(len(scores), dtype=bool)
        if there is not None:
            found[:] = False
            found[there] = True
            scores = np.where(found[:, None], scores, 0.0)
        passed = np.asarray(scores > self.threshold)
        if not passed.any():
            raise ValueError(
                f"Variation: no score is above threshold={self.threshold:g}, the highest is {scores.max():g}; give the "
                "threshold of your scale."
            )
        mean = scores.mean(axis=1)
        variation = np.full(len(scores), math.nan)
        np.divide(scores.std(axis=1, ddof=self.ddof), mean, out=variation, where=(mean > 0) & found)
        reasons = self._reasons(found, np.asarray(passed.any(axis=1)), variation, seed)
        chosen = passed & np.isin(reasons, ("kept", "sampled"))[:, None]
        if self.answers == "one":
            # The largest of random numbers among the answers that pass.
            lots = np.where(chosen, numpy_generator(seed, "one answer").random(chosen.shape), -1.0)
            chosen &= np.arange(chosen.shape[1]) == lots.argmax(axis=1)[:, None]
        return Grades(reasons, np.where(found, passed.mean(axis=1), math.nan), variation, chosen)

    def _reasons(
        self, found: NDArray[np.bool_], solved: NDArray[np.bool_], variation: NDArray[np.float64], seed: int
    ) -> NDArray[np.str_]:
        limit = self.cv if self.quantile is None else float(np.quantile(variation[solved], self.quantile))
        varies = solved & (np.nan_to_num(variation) > (limit or 0.0))
        share = float(varies.sum() / solved.sum())
        if solved.sum() >= _MANY and not 0.01 <= share <= 0.99:
            warnings.warn(
                f"{self!r} finds {share:.1%} of the solved questions varied; choose another cut-off, such as "
                "quantile=0.5.",
                stacklevel=4,
            )
        lucky = numpy_generator(seed, "stable questions").random(len(found)) < self.stable
        reasons = np.select(
            [~found, ~solved, varies, lucky], ["missing", "unsolved", "kept", "sampled"], default="stable"
        ).astype("U12")
        if self.count is not None:
            kept = np.flatnonzero(np.isin(reasons, ("kept", "sampled")))
            # Those chosen for their variation come before those kept by lot, which vary less.
            order = kept[np.argsort(-variation[kept], kind="stable")]
            reasons[order[self.count :]] = "beyond count"
        return reasons


def select_by_category(
    attempts: ArrayLike, categories: ArrayLike, rules: Mapping[str, Variation], *, seed: int = 0
) -> Grades:
    """Grade the questions of each category by its own rule.

    Args:
        attempts: Scores, shape ``(questions, attempts)``.
        categories: Category of each question, shape ``(questions,)``.
        rules: A rule for each category; that of ``"other"`` for those without one.
        seed: Of the lots.

    Returns:
        The grades of all questions, in their order.

    Raises:
        ValueError: A category without a rule where there is none for ``"other"``, or what a rule refuses.

    Example:
        >>> rules = {"math": Variation(cv=0.5), "other": Variation(threshold=0.7, cv=0.5, stable=0.5)}
        >>> scores = [[1, 1, 1, 0], [1, 1, 1, 1], [0.8, 0.9, 0.1, 0.1]]
        >>> select_by_category(scores, ["math", "math", "chat"], rules).reasons.tolist()
        ['kept', 'stable', 'kept']

    Source:
        DeepDistill, 2025, arXiv 2504.17565.
    """
    scores = np.asarray(attempts, dtype=np.float64)
    names = beside("select_by_category", "categories", categories, len(scores)).astype(str)
    reasons = np.full(len(scores), "", dtype="U12")
    rates, variation = np.empty(len(scores)), np.empty(len(scores))
    answers = np.zeros(scores.shape, dtype=bool)
    for number, name in enumerate(sorted(set(names.tolist()))):
        rule = rules.get(name, rules.get("other"))
        if rule is None:
            raise ValueError(
                f'select_by_category: no rule for "{name}" and none for "other"; rules: {", ".join(rules)}.'
            )
        there = names == name
        part = rule.grade(scores[there], seed=seed + number)
        reasons[there], rates[there] = part.reasons, part.pass_rates
        variation[there], answers[there] = part.variation, part.answers
    return Grades(reasons, rates, variation, answers)
