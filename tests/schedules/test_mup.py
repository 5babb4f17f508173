"""Parameter groups for muP: which parameters go where, and that the scheduler keeps their ratio."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tutelage.schedules import Linear, from_spec, mup_groups, use_in_trainer


class Tiny(nn.Module):
    def __init__(self, *, tied: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 4)
        self.conv = nn.Conv1d(4, 4, 3)
        self.hidden = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 11, bias=False)
        if tied:
            self.head.weight = self.embedding.weight


def names(model: nn.Module, group: dict) -> set[str]:
    chosen = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in chosen}


def test_hidden_matrices_and_the_rest():
    model = Tiny()
    hidden, rest = mup_groups(model, peak=0.02, width_mult=4, output="head")
    assert names(model, hidden) == {"conv.weight", "hidden.weight"}
    assert (hidden["lr"], rest["lr"]) == (0.005, 0.02)
    assert names(model, rest) == {
        "embedding.weight", "conv.bias", "hidden.bias", "norm.weight", "norm.bias", "head.weight"
    }  # fmt: skip
    untold, _ = mup_groups(model, peak=0.02, width_mult=4, output=None)
    assert names(model, untold) == {"conv.weight", "hidden.weight", "head.weight"}


def test_a_tied_head_stays_with_the_embedding():
    model = Tiny(tied=True)
    hidden, _ = mup_groups(model, peak=0.02, width_mult=4, output=None)
    assert names(model, hidden) == {"conv.weight", "hidden.weight"}


def test_a_layer_alone_and_layers_inside_layers():
    alone, _ = mup_groups(nn.Linear(3, 3), peak=0.02, width_mult=0.5, output=None)
    assert ([parameter.ndim for parameter in alone["params"]], alone["lr"]) == ([2], 0.04)
    nested = nn.Sequential(nn.Sequential(nn.Linear(3, 3)), nn.EmbeddingBag(3, 3))
    hidden, _ = mup_groups(nested, peak=0.02, width_mult=2, output=None)
    assert names(nested, hidden) == {"0.0.weight"}


def test_the_scheduler_keeps_the_ratio():
    optimizer = torch.optim.AdamW(mup_groups(Tiny(), peak=0.02, width_mult=4, output="head"), lr=0.02)
    scheduler = Linear(peak=0.02, total_steps=10).to_torch(optimizer)
    for _ in range(5):
        optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.0025, 0.01])


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_keeps_the_groups_and_follows_the_schedule(tmp_path):
    transformers = pytest.importorskip("transformers")

    class Watch(transformers.TrainerCallback):
        def __init__(self) -> None:
            self.rates: list[list[float]] = []

        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            self.rates.append([group["lr"] for group in kwargs["optimizer"].param_groups])

    config = transformers.GPT2Config(
        vocab_size=30, n_positions=8, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0
    )
    model, watch = transformers.GPT2LMHeadModel(config), Watch()
    groups = mup_groups(model, peak=0.02, width_mult=4, output=None)
    # Its four matrices: attention in and out, perceptron in and out; the tied head stays with the embeddings.
    assert len(groups[0]["params"]) == 4
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=6, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        disable_tqdm=True, save_strategy="no", dataloader_pin_memory=False, learning_rate=0.02,
    )  # fmt: skip
    example = {"input_ids": torch.arange(8), "labels": torch.arange(8)}
    optimizer = torch.optim.AdamW(groups, lr=0.02)
    trainer = transformers.Trainer(
        model=model, args=arguments, train_dataset=[example] * 12, callbacks=[watch], optimizers=(optimizer, None)
    )
    use_in_trainer(trainer, "power:a=4,tokens_per_step=1e5,decay=0.5")
    trainer.train()
    expected = from_spec("power:a=4,tokens_per_step=1e5,decay=0.5", total_steps=6, peak=0.02).to_array()
    assert [rest for _, rest in watch.rates] == pytest.approx(expected.tolist())
    assert [hidden for hidden, _ in watch.rates] == pytest.approx((expected / 4).tolist())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "lm_head"}, 'mup_groups: no module "lm_head"; the last one is "head".'),
        ({"width_mult": 0}, "mup_groups: width_mult must be > 0, got 0."),
        ({"peak": 0.0}, "mup_groups: peak must be > 0, got 0.0."),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        mup_groups(Tiny(), **{"peak": 0.02, "width_mult": 2, "output": "head"} | arguments)
