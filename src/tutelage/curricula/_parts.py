"""Every curriculum by its spec name."""

PARTS: dict[str, str] = {
    "competence": "tutelage.curricula.competence:Competence",
    "cyclical": "tutelage.curricula.cyclical:Cyclical",
    "ease-weighting": "tutelage.curricula.ease_weighting:EaseWeighting",
    "gaussian-window": "tutelage.curricula.gaussian_window:GaussianWindow",
    "human-order": "tutelage.curricula.orders:HumanOrder",
    "mixture": "tutelage.curricula.compose:Mixture",
    "objective": "tutelage.curricula.objective:ObjectiveCurriculum",
    "paced": "tutelage.curricula.paced:Paced",
    "percentile-pacing": "tutelage.curricula.percentile_pacing:PercentilePacing",
    "phased": "tutelage.curricula.phases:Phased",
    "quality": "tutelage.curricula.quality:Quality",
    "rank-order": "tutelage.curricula.rank_order:RankOrder",
    "replay": "tutelage.curricula.replay:Replay",
    "self-paced": "tutelage.curricula.self_paced:SelfPaced",
    "stages": "tutelage.curricula.compose:Stages",
    "syllabus": "tutelage.curricula.syllabus:SyllabusOrder",
    "vocabulary": "tutelage.curricula.vocabulary:VocabularyPacing",
}
