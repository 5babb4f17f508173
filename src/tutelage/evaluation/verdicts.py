"""What a difference allows to say: better, worse, no difference, or inconclusive, in one plain sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tutelage.evaluation.combined import CombinedDifference
from tutelage.evaluation.significance import PairedDifference

Verdict = Literal["better", "worse", "no difference", "inconclusive"]


@dataclass(frozen=True)
class Judgement:
    """A verdict and the sentence that says it to a reader who knows no statistics."""

    verdict: Verdict
    sentence: str


def verdict(
    difference: PairedDifference,
    *,
    lower_is_better: bool,
    margin: float = 0.0,
    p_holm: float | None = None,
    arm: str = "the arm",
    baseline: str = "the baseline",
    metric: str = "the metric",
    pair: str = "seed",
) -> Judgement:
    """Judge a paired difference; says *inconclusive* wherever the data do not decide.

    **Formula**: with the difference ``d`` oriented so that plus is good, its interval ``[low, high]`` and ``m`` the
    margin: *no difference* where ``-m <= low`` and ``high <= m``; *better* where ``low > 0`` and ``d >= m`` and
    ``p_holm < 1 - confidence``; *worse* is its mirror image; else *inconclusive*. With a margin of 0 only arms that are
    equal on every seed show no difference.

    Args:
        difference: ``arm - baseline``, from :func:`tutelage.evaluation.paired_difference`.
        lower_is_better: Whether less of the metric is better.
        margin: Differences up to this size do not matter, >= 0, in the unit of the metric.
        p_holm: The p value adjusted for the number of arms; the difference's own where not given.
        arm: Name of the arm, for the sentence.
        baseline: Name of the baseline.
        metric: Name of the metric.
        pair: What a pair is, for the sentence: ``"seed"`` or ``"item"``.

    Returns:
        A :class:`Judgement`. A difference without interval is inconclusive, and the sentence says why.

    Raises:
        ValueError: ``margin`` negative or not finite, ``p_holm`` outside [0, 1].

    Example:
        >>> from tutelage.evaluation import paired_difference
        >>> found = paired_difference([2.31, 2.35, 2.28], [2.40, 2.41, 2.38])
        >>> verdict(found, lower_is_better=True, arm="uba", baseline="cosine", metric="val_loss").sentence
        'uba is better than cosine: its val_loss is 0.0833 lower (95 % interval 0.0316 to 0.135 lower, 3 seeds).'

    Helps / does not help:
        It keeps noise from being reported as a finding. It cannot tell a small effect from none: read what the
        sentence says could have been found.
    """
    decided = rule(difference, lower_is_better=lower_is_better, margin=margin, p_holm=p_holm)
    d, pairs = difference, counted(difference.n, pair)
    if d.low is None or d.high is None or d.p_value is None:
        return Judgement(decided, f"Inconclusive: {arm} against {baseline} in {metric}: {d.note}.")
    if d.sd == 0 and d.estimate == 0 and d.low == d.high:
        return Judgement(decided, f"{arm} and {baseline} are equal in {metric} on all {pairs}.")
    percent = f"{100 * d.confidence:.4g} %"
    p = d.p_value if p_holm is None else p_holm
    size = f"its {metric} is {side(d.estimate)}"
    spread = f"{percent} interval {side_range(d.low, d.high)}, {pairs}"
    if decided == "no difference":
        return Judgement(
            decided,
            f"{arm} and {baseline} make no difference that matters in {metric}: at most "
            f"{number(max(abs(d.low), abs(d.high)))} within a margin of {margin:g} ({spread}).",
        )
    if decided != "inconclusive":
        return Judgement(decided, f"{arm} is {decided} than {baseline}: {size} ({spread}).")
    if d.sd == 0:
        why = (
            f"it is {side(d.estimate)} on each of {pairs}, so the noise cannot be judged; use at least "
            f"{math.floor(math.log2(2 / (1 - d.confidence))) + 1} {pair}s"
        )
    elif d.low <= 0 <= d.high:
        why = f"on average it is {side(d.estimate)}, but the {percent} interval runs from {side_range(d.low, d.high)}"
    elif p >= 1 - d.confidence:
        why = f"it is {side(d.estimate)} ({spread}), too little once the number of arms is allowed for (p = {p:.2g})"
    else:
        why = f"it is {side(d.estimate)} ({spread}), which may be more or less than the margin of {margin:g}"
    could = ""
    if d.detectable is not None:
        could = f"; {pairs} show a difference of {number(d.detectable)} four times in five"
    return Judgement(decided, f"Inconclusive: {arm} against {baseline} in {metric}: {why}{could}.")


def rule(
    found: PairedDifference | CombinedDifference,
    *,
    lower_is_better: bool,
    margin: float = 0.0,
    p_holm: float | None = None,
) -> Verdict:
    """Return what :func:`verdict` says of a difference, without the words.

    Raises:
        ValueError: ``margin`` negative or not finite, ``p_holm`` outside [0, 1].
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"verdict: margin must be a finite number >= 0, got {margin}.")
    if p_holm is not None and not 0 <= p_holm <= 1:
        raise ValueError(f"verdict: p_holm must be between 0 and 1, got {p_holm}.")
    if found.low is None or found.high is None or found.p_value is None:
        return "inconclusive"
    sign = -1.0 if lower_is_better else 1.0
    gain, worst, best = sign * found.estimate, *sorted((sign * found.low, sign * found.high))
    if -margin <= worst and best <= margin:
        return "no difference"
    if (found.p_value if p_holm is None else p_holm) >= 1 - found.confidence:
        return "inconclusive"
    if worst > 0 and gain >= margin:
        return "better"
    if best < 0 and gain <= -margin:
        return "worse"
    return "inconclusive"


def counted(count: int, noun: str) -> str:
    """Return ``1 seed``, ``2 seeds``, ``1,024 items``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def number(value: float) -> str:
    """Return a number to three significant digits, without an exponent where it stays readable."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2e}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def side(difference: float) -> str:
    """Return ``0.05 lower``, ``0.05 higher`` or ``equal``."""
    return f"{number(abs(difference))} {_word(difference)}" if difference else "equal"


def side_range(low: float, high: float) -> str:
    """Return an interval in words, the smaller change first: ``0.01 to 0.05 lower``, ``0.01 lower to 0.05 higher``."""
    if low > 0 or high < 0:
        near, far = sorted((abs(low), abs(high)))
        return f"{number(near)} to {number(far)} {_word(high if low > 0 else low)}"
    return f"{number(abs(low))} {_word(low)} to {number(abs(high))} {_word(high)}"


def _word(difference: float) -> str:
    return "lower" if difference < 0 else "higher"
