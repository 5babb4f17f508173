"""Every optimizer by its spec name."""

PARTS: dict[str, str] = {
    "adamw": "tutelage.optimizers.adamw:AdamW",
    "nadamw": "tutelage.optimizers.nadamw:NAdamW",
    "sgd": "tutelage.optimizers.sgd:SGD",
}
