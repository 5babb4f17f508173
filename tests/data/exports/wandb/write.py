"""Writes four offline runs of Weights & Biases, and one that failed, into ./wandb."""

import math

import wandb

for arm, base in (("cosine", 2.0), ("uba", 1.5)):
    for seed in (0, 1):
        run = wandb.init(project="text", mode="offline", name=f"{arm}-seed-{seed}", config={"seed": seed}, dir=".")
        # Longer than the blocks in which the log is written.
        run.config.update({"optimizer": {"name": "adamw", "betas": [0.9, 0.95]}, "about": "word " * 14_000})
        run.define_metric("train_loss", summary="min")
        for step in range(3):
            diverged = arm == "uba" and seed == 1 and step == 2
            loss = math.nan if diverged else base + seed / 8 + (2 - step)
            run.log({"val_loss": loss, "train_loss": base - step / 4, "note": "text", "deep": {"er": {"acc": step}}})
        run.log({"weights": wandb.Histogram([1, 2, 3]), "late": 1.0}, step=10)
        run.summary["final/acc"] = 0.75
        run.finish()
run = wandb.init(project="text", mode="offline", name="uba-seed-2", dir=".")
run.log({"val_loss": 1.0})
run.finish(exit_code=1)
