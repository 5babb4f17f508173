"""Writes event files: through torch, through tensorboard's own writer, and, as after a restart, two files a folder."""

import numpy as np
from tensorboard.summary import Writer
from torch.utils.tensorboard import SummaryWriter

for arm, base in (("cosine", 2.0), ("uba", 1.5)):
    for seed in (0, 1):
        folder = f"logs/{arm}_seed{seed}"
        first = SummaryWriter(folder) if arm == "cosine" else Writer(folder)
        for step, value in ((0, base + 1), (3, base + 2)):
            first.add_scalar("val/loss", value, step)
        first.close()
        again = SummaryWriter(folder, filename_suffix=".again") if arm == "cosine" else Writer(folder)
        last = float("nan") if (arm, seed) == ("uba", 1) else base + seed / 8
        again.add_scalar("val/loss", last, 5)
        if arm == "cosine":
            again.add_text("note", "text", 6)
            again.add_histogram("weights", np.array([1.0, 2.0, 3.0]), 6)
            again.add_hparams({"lr": 0.1}, {"hparam/loss": 3.0}, run_name="hparams")
        again.close()
