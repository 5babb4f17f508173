"""How good is it, really? Differences, intervals and verdicts from plain numbers."""

from __future__ import annotations

from tutelage.evaluation.significance import (
    MeanInterval,
    PairedDifference,
    detectable_effect,
    holm,
    mean_interval,
    paired_difference,
    seeds_needed,
    sign_flip_p_value,
)
from tutelage.evaluation.verdicts import Judgement, Verdict, verdict

__all__ = [
    "Judgement",
    "MeanInterval",
    "PairedDifference",
    "Verdict",
    "detectable_effect",
    "holm",
    "mean_interval",
    "paired_difference",
    "seeds_needed",
    "sign_flip_p_value",
    "verdict",
]
