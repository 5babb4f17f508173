"""Trains four small runs with the Trainer of transformers, with a checkpoint every other update."""

import torch
from transformers import Trainer, TrainingArguments


class Line(torch.nn.Module):
    """A straight line."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, x, labels):
        """Return the loss as the Trainer expects it."""
        return {"loss": ((self.linear(x)[:, 0] - labels) ** 2).mean()}


rows = [{"x": [float(i), 1.0], "labels": float(i)} for i in range(8)]
for arm, rate in (("cosine", 0.01), ("slow", 0.0001)):
    for seed in (0, 1):
        torch.manual_seed(seed)
        arguments = TrainingArguments(
            output_dir=f"runs/{arm}/seed-{seed}",
            max_steps=4,
            learning_rate=rate,
            logging_steps=1,
            eval_steps=2,
            eval_strategy="steps",
            save_steps=2,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            seed=seed,
            prediction_loss_only=True,
        )
        trainer = Trainer(Line(), arguments, train_dataset=rows, eval_dataset=rows)
        trainer.train()
        if seed == 0:
            trainer.save_state()
