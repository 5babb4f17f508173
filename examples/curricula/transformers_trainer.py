"""transformers.Trainer with a curriculum: short texts first, then more and more of the long ones.

Runs on a CPU in seconds, offline: ``python examples/curricula/transformers_trainer.py``. Put your own model, data and
scores in place of the tiny ones; the two lines that matter are marked.
"""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from tutelage.curricula import CurriculumSampler, use_with_trainer

BATCH = 8
data = [{"input_ids": list((f"{number % 7} " * (1 + number % 20)).encode())} for number in range(80)]
lengths = [len(row["input_ids"]) for row in data]
served = []


def collate(rows):
    """Pad a batch, and note how long its texts are."""
    served.append([len(row["input_ids"]) for row in rows])
    tokens = torch.zeros(len(rows), max(served[-1]), dtype=torch.long)
    labels = torch.full_like(tokens, -100)
    for place, row in enumerate(rows):
        tokens[place, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
        labels[place, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
    return {"input_ids": tokens, "labels": labels}


torch.manual_seed(0)
model = GPT2LMHeadModel(
    GPT2Config(vocab_size=256, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
)
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,  # one epoch of the trainer is the sampler's whole run, here two times the data
        learning_rate=1e-3,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collate)
    sampler = CurriculumSampler("paced:low=0.2,end=0.8", lengths, num_samples=2 * len(data), seed=0)  # which and when
    use_with_trainer(trainer, sampler).train()  # else the trainer would shuffle

quarter = len(served) // 4
first, last = (max(map(max, part)) for part in (served[:quarter], served[-quarter:]))
print(f"longest text in the first quarter {first}, in the last {last}")
