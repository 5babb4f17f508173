"""How hard or good is each example? A score for every example of a data set.

>>> from tutelage.signals import score
>>> rows = [{"text": "The cat sat."}, {"text": "Notwithstanding objections, the motion was carried."}]
>>> score(rows, "length", cache=False).values.tolist()
[12.0, 51.0]
>>> from_spec("length:unit=words").direction
'hard'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutelage.lazy import lazy_attributes
from tutelage.registry import build_named, entries
from tutelage.signals._parts import PARTS
from tutelage.signals._protocol import BadRow, Direction, PreparedSignal, Scored, Signal, spec_of

if TYPE_CHECKING:
    from tutelage.signals._angles import AngleProbe, AngleScores, angle_concentration, batch_angles
    from tutelage.signals._gradient_norms import gradient_norms, last_layer_gradient_norms
    from tutelage.signals._language_model import LanguageModel, language_model
    from tutelage.signals._linear_rule import LinearRule
    from tutelage.signals._neighbours import knn_distances
    from tutelage.signals._probe_hardness import hardness_of_confidence, logistic_probe, mdl_hardness
    from tutelage.signals._trajectories import ForgettingEvents, el2n, forgetting_events
    from tutelage.signals.angles import AngleConcentration
    from tutelage.signals.attempts import PassRate, Variation, coefficient_of_variation, pass_rate
    from tutelage.signals.bloom import Bloom
    from tutelage.signals.column import ScoreColumn, read_scores, save_columns
    from tutelage.signals.endpoint_judge import EndpointJudge
    from tutelage.signals.first_stage import FirstStage, first_stage_easiness
    from tutelage.signals.gradient_norm import GradientNorm
    from tutelage.signals.indicators import instruction_indicators
    from tutelage.signals.instruct_mining import InstructMining
    from tutelage.signals.judging import CRITERIA, Judgements, judge_pairs, random_pairs
    from tutelage.signals.length import Length
    from tutelage.signals.lexical_diversity import LexicalDiversity, mtld
    from tutelage.signals.neighbour_distance import NeighbourDistance
    from tutelage.signals.order_influence import OrderInfluence
    from tutelage.signals.probe_hardness import ProbeHardness
    from tutelage.signals.quality_rater import QualityRater, fit_rater
    from tutelage.signals.qurating import QuRating
    from tutelage.signals.rarity import Rarity
    from tutelage.signals.readability import Readability
    from tutelage.signals.reasoning_steps import ReasoningSteps
    from tutelage.signals.scoring import score
    from tutelage.signals.stored import Stored
    from tutelage.signals.text_loss import Loss, Perplexity
    from tutelage.signals.topics import Topic
    from tutelage.signals.trajectories import EL2N, Forgetting, LossTrajectory

#: Imported on first use; a model-based signal adds its line here.
_LAZY = {
    "AngleConcentration": "angles",
    "AngleProbe": "_angles",
    "AngleScores": "_angles",
    "Bloom": "bloom",
    "CRITERIA": "judging",
    "EL2N": "trajectories",
    "EndpointJudge": "endpoint_judge",
    "FirstStage": "first_stage",
    "Forgetting": "trajectories",
    "ForgettingEvents": "_trajectories",
    "GradientNorm": "gradient_norm",
    "InstructMining": "instruct_mining",
    "Judgements": "judging",
    "LanguageModel": "_language_model",
    "Length": "length",
    "LexicalDiversity": "lexical_diversity",
    "LinearRule": "_linear_rule",
    "Loss": "text_loss",
    "LossTrajectory": "trajectories",
    "NeighbourDistance": "neighbour_distance",
    "OrderInfluence": "order_influence",
    "PassRate": "attempts",
    "Perplexity": "text_loss",
    "ProbeHardness": "probe_hardness",
    "QuRating": "qurating",
    "QualityRater": "quality_rater",
    "Rarity": "rarity",
    "Readability": "readability",
    "ReasoningSteps": "reasoning_steps",
    "ScoreColumn": "column",
    "Stored": "stored",
    "Topic": "topics",
    "Variation": "attempts",
    "angle_concentration": "_angles",
    "batch_angles": "_angles",
    "coefficient_of_variation": "attempts",
    "el2n": "_trajectories",
    "first_stage_easiness": "first_stage",
    "fit_rater": "quality_rater",
    "forgetting_events": "_trajectories",
    "gradient_norms": "_gradient_norms",
    "hardness_of_confidence": "_probe_hardness",
    "instruction_indicators": "indicators",
    "judge_pairs": "judging",
    "knn_distances": "_neighbours",
    "language_model": "_language_model",
    "last_layer_gradient_norms": "_gradient_norms",
    "logistic_probe": "_probe_hardness",
    "mdl_hardness": "_probe_hardness",
    "mtld": "lexical_diversity",
    "pass_rate": "attempts",
    "random_pairs": "judging",
    "read_scores": "column",
    "save_columns": "column",
    "score": "scoring",
}

__all__ = [
    "CRITERIA",
    "EL2N",
    "PARTS",
    "AngleConcentration",
    "AngleProbe",
    "AngleScores",
    "BadRow",
    "Bloom",
    "Direction",
    "EndpointJudge",
    "FirstStage",
    "Forgetting",
    "ForgettingEvents",
    "GradientNorm",
    "InstructMining",
    "Judgements",
    "LanguageModel",
    "Length",
    "LexicalDiversity",
    "LinearRule",
    "Loss",
    "LossTrajectory",
    "NeighbourDistance",
    "OrderInfluence",
    "PassRate",
    "Perplexity",
    "PreparedSignal",
    "ProbeHardness",
    "QuRating",
    "QualityRater",
    "Rarity",
    "Readability",
    "ReasoningSteps",
    "ScoreColumn",
    "Scored",
    "Signal",
    "Stored",
    "Topic",
    "Variation",
    "angle_concentration",
    "batch_angles",
    "coefficient_of_variation",
    "el2n",
    "first_stage_easiness",
    "fit_rater",
    "forgetting_events",
    "from_spec",
    "gradient_norms",
    "hardness_of_confidence",
    "instruction_indicators",
    "judge_pairs",
    "knn_distances",
    "language_model",
    "last_layer_gradient_norms",
    "logistic_probe",
    "mdl_hardness",
    "mtld",
    "names",
    "pass_rate",
    "random_pairs",
    "read_scores",
    "save_columns",
    "score",
    "spec_of",
]

__getattr__ = lazy_attributes(__name__, _LAZY)


def names() -> list[str]:
    """Return the spec names of all signals, plug-ins included."""
    return list(entries("signals"))


def from_spec(spec: str, **defaults: Any) -> Any:
    """Return the signal a spec such as ``rarity:alpha=1`` names; a :class:`Signal`.

    Args:
        spec: ``NAME[:ARGUMENT=VALUE,...]``.
        **defaults: Arguments as Python values where the spec does not give them; those the signal does not take are
            left out.

    Raises:
        UnknownPart: No such signal; names the nearest.
        ConfigError: Every fault of the spec in one message.
    """
    return build_named("signals", spec, defaults=defaults)
