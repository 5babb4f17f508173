"""Which examples now? What decides the order in which a model meets its examples.

>>> example_stream("rank-order", [0.3, 0.1, 0.2], num_samples=3, seed=0).take(0, 3)
array([1, 2, 0])
>>> from_spec("replay:alpha=0.05").counts(1000)
(950, 50)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutelage.curricula._parts import PARTS
from tutelage.curricula._protocol import (
    BatchOrder,
    ExampleStream,
    FindScores,
    LossWeights,
    OnePassOrder,
    OrderCurriculum,
    ScalarCurriculum,
    ScoredCurriculum,
    WeightCurriculum,
)
from tutelage.curricula._streams import stream_of as example_stream
from tutelage.curricula.competence import Competence
from tutelage.curricula.compose import Mixture, Stages
from tutelage.curricula.cyclical import Cyclical, cycle_sizes, geometric_sizes, sharp_cycle_sizes
from tutelage.curricula.ease_weighting import EaseWeighting, linear_reweight, pairwise_ease, pointwise_ease
from tutelage.curricula.gaussian_window import GaussianWindow
from tutelage.curricula.objective import ObjectiveCurriculum
from tutelage.curricula.ordered_examples import OrderedExamples
from tutelage.curricula.orders import (
    HumanOrder,
    blocked,
    blocked_curriculum,
    difficulty_bins,
    easy_first,
    interleaved,
    interleaved_curriculum,
    shuffle,
)
from tutelage.curricula.paced import Paced
from tutelage.curricula.pacing import Pacing, pacing
from tutelage.curricula.percentile_pacing import PercentilePacing
from tutelage.curricula.phases import Phased, phased, stacked
from tutelage.curricula.quality import Quality
from tutelage.curricula.rank_order import RankOrder
from tutelage.curricula.replay import Replay, ReplayMixer
from tutelage.curricula.search_order import OrderSearch, search_order
from tutelage.curricula.self_paced import SelfPaced
from tutelage.curricula.syllabus import SyllabusOrder, global_progress, syllabus_order
from tutelage.curricula.vocabulary import VocabularyPacing, tag_numbers
from tutelage.lazy import lazy_attributes
from tutelage.registry import build_named, entries

if TYPE_CHECKING:
    from tutelage.curricula.sampler import CurriculumBatches, CurriculumSampler, OrderedView
    from tutelage.curricula.trainers import RepeatedPrompts, check_sharding, use_with_trainer

#: What needs PyTorch is imported when it is asked for.
_LAZY = {
    "CurriculumBatches": "sampler",
    "CurriculumSampler": "sampler",
    "OrderedView": "sampler",
    "RepeatedPrompts": "trainers",
    "check_sharding": "trainers",
    "use_with_trainer": "trainers",
}

__all__ = [
    "PARTS",
    "BatchOrder",
    "Competence",
    "CurriculumBatches",
    "CurriculumSampler",
    "Cyclical",
    "EaseWeighting",
    "ExampleStream",
    "FindScores",
    "GaussianWindow",
    "HumanOrder",
    "LossWeights",
    "Mixture",
    "ObjectiveCurriculum",
    "OnePassOrder",
    "OrderCurriculum",
    "OrderSearch",
    "OrderedExamples",
    "OrderedView",
    "Paced",
    "Pacing",
    "PercentilePacing",
    "Phased",
    "Quality",
    "RankOrder",
    "RepeatedPrompts",
    "Replay",
    "ReplayMixer",
    "ScalarCurriculum",
    "ScoredCurriculum",
    "SelfPaced",
    "Stages",
    "SyllabusOrder",
    "VocabularyPacing",
    "WeightCurriculum",
    "blocked",
    "blocked_curriculum",
    "check_sharding",
    "cycle_sizes",
    "difficulty_bins",
    "easy_first",
    "example_stream",
    "from_spec",
    "geometric_sizes",
    "global_progress",
    "interleaved",
    "interleaved_curriculum",
    "linear_reweight",
    "names",
    "pacing",
    "pairwise_ease",
    "phased",
    "pointwise_ease",
    "search_order",
    "sharp_cycle_sizes",
    "shuffle",
    "stacked",
    "syllabus_order",
    "tag_numbers",
    "use_with_trainer",
]


def names() -> list[str]:
    """Return the spec names of all curricula, plug-ins included."""
    return list(entries("curricula"))


def from_spec(spec: str) -> Any:
    """Return the curriculum a spec such as ``replay:alpha=0.05`` names; an :class:`OrderCurriculum`.

    Raises:
        UnknownPart: No such curriculum; names the nearest.
        ConfigError: Every fault of the spec in one message.
    """
    return build_named("curricula", spec)


__getattr__ = lazy_attributes(__name__, _LAZY)
