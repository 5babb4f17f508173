"""Every curriculum by its spec name."""

PARTS: dict[str, str] = {
    "phased": "tutelage.curricula.phases:Phased",
    "replay": "tutelage.curricula.replay:Replay",
}
