"""How good is it, really? Differences, intervals and verdicts from plain numbers."""

from __future__ import annotations

from tutelage.evaluation.bradley_terry import BradleyTerry, bradley_terry
from tutelage.evaluation.combined import CombinedDifference, combine_workloads
from tutelage.evaluation.forgetting import ForgettingReport
from tutelage.evaluation.multiplicity import holm
from tutelage.evaluation.pass_at_k import pass_at_k
from tutelage.evaluation.position_map import PositionMap, position_map
from tutelage.evaluation.power import detectable_effect, sd_interval, seeds_needed
from tutelage.evaluation.relative import relative_gains
from tutelage.evaluation.rouge import rouge_l
from tutelage.evaluation.significance import (
    MeanInterval,
    PairedDifference,
    mean_interval,
    paired_difference,
    sign_flip_p_value,
)
from tutelage.evaluation.skill_matrix import SkillMatrix, skill_matrix
from tutelage.evaluation.style_bias import StyleBias, style_bias
from tutelage.evaluation.supervision_gap import SupervisionGap, supervision_gap_recovered
from tutelage.evaluation.verdicts import Judgement, Verdict, verdict

__all__ = [
    "BradleyTerry",
    "CombinedDifference",
    "ForgettingReport",
    "Judgement",
    "MeanInterval",
    "PairedDifference",
    "PositionMap",
    "SkillMatrix",
    "StyleBias",
    "SupervisionGap",
    "Verdict",
    "bradley_terry",
    "combine_workloads",
    "detectable_effect",
    "holm",
    "mean_interval",
    "paired_difference",
    "pass_at_k",
    "position_map",
    "relative_gains",
    "rouge_l",
    "sd_interval",
    "seeds_needed",
    "sign_flip_p_value",
    "skill_matrix",
    "style_bias",
    "supervision_gap_recovered",
    "verdict",
]
