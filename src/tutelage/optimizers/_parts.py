"""Every optimizer by its spec name."""

PARTS: dict[str, str] = {
    "adamw": "tutelage.optimizers.adamw:AdamW",
    "sgd": "tutelage.optimizers.sgd:SGD",
}
