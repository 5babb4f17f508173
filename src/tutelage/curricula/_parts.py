"""Every curriculum by its spec name."""

PARTS: dict[str, str] = {
    "replay": "tutelage.curricula.replay:Replay",
}
