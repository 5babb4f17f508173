"""As PyTorch schedulers: groups and shares, tensors as rates, exact resume, real trainers."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.schedules.cases import CASES
from torch.optim.lr_scheduler import LRScheduler

from tutelage.errors import ConfigError, UnknownPart
from tutelage.registry import find
from tutelage.schedules import UBA, Constant, Linear, StepScheduler, from_spec, to_torch, use_in_trainer


def make_optimizer(rates=(1e-3,), default=1e-3, *, tensor=False):
    groups = [
        {
            "params": [torch.nn.Parameter(torch.ones(2))],
            "lr": torch.tensor(rate, dtype=torch.float64) if tensor else rate,
        }
        for rate in rates
    ]
    return torch.optim.AdamW(groups, lr=default)


def run(optimizer, scheduler, steps):
    rates = []
    for _ in range(steps):
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


def test_the_rate_of_an_update_is_the_schedule_at_its_index():
    schedule = UBA(peak=0.1, total_steps=30, warmup=4, phi=5)
    optimizer = make_optimizer()
    scheduler = schedule.to_torch(optimizer)
    assert isinstance(scheduler, LRScheduler)
    assert np.array(run(optimizer, scheduler, 35))[:, 0].tolist() == schedule(np.arange(35)).tolist()
    assert scheduler.last_epoch == 35
    assert scheduler.get_last_lr() == scheduler.get_lr() == [0.0]


def test_groups_keep_their_share_of_the_optimizers_rate():
    schedule = Linear(peak=0.1, total_steps=10)
    optimizer = make_optimizer((1e-3, 1e-4, 3e-3, 0.0))
    scheduler = schedule.to_torch(optimizer)
    rates = np.array(run(optimizer, scheduler, 11))
    np.testing.assert_allclose(rates, schedule(np.arange(11))[:, None] * np.array([1, 0.1, 3, 0]), rtol=1e-14)
    assert scheduler.base_lrs == [1e-3, 1e-4, 3e-3, 0.0]


def test_an_optimizer_made_with_rate_zero_follows_the_schedule():
    optimizer = make_optimizer((0.0, 0.5), default=0.0)
    scheduler = Linear(peak=0.1, total_steps=10).to_torch(optimizer)
    assert scheduler.get_last_lr() == [0.1, 0.1]
    scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.09, 0.09])


def test_one_group_of_fifty_is_set_like_one():
    schedule = UBA(peak=0.1, total_steps=20, phi=5)
    optimizer = make_optimizer((1e-3,) * 50)
    rates = np.array(run(optimizer, schedule.to_torch(optimizer), 20))
    np.testing.assert_array_equal(rates, np.repeat(schedule.to_array()[:, None], 50, axis=1))


def test_rates_in_tensors_are_written_in_place():
    schedule = Linear(peak=0.1, total_steps=10)
    optimizer = make_optimizer((1e-3, 1e-4), tensor=True)
    tensors = [group["lr"] for group in optimizer.param_groups]
    scheduler = schedule.to_torch(optimizer)
    for step in range(5):
        assert [float(tensor) for tensor in tensors] == pytest.approx([schedule(step), 0.1 * schedule(step)])
        optimizer.step()
        scheduler.step()
    assert all(group["lr"] is tensor for group, tensor in zip(optimizer.param_groups, tensors, strict=True))
    assert isinstance(scheduler.get_last_lr()[0], float)


def test_a_tensor_as_the_optimizers_default():
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=torch.tensor(1e-3))
    scheduler = Linear(peak=0.1, total_steps=10).to_torch(optimizer)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.1)
    scheduler.step()
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.09)


@pytest.mark.parametrize("tensor", [False, True])
def test_groups_that_join_later_run_at_the_schedule(tensor):
    schedule = Linear(peak=0.1, total_steps=10)
    optimizer = make_optimizer()
    scheduler = schedule.to_torch(optimizer)
    scheduler.step()
    rate = torch.tensor(1.0) if tensor else 1.0
    optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate})
    for step in (2, 3):
        scheduler.step()
        assert scheduler.get_last_lr() == pytest.approx([schedule(step)] * 2)
    assert torch.is_tensor(optimizer.param_groups[1]["lr"]) is tensor


@pytest.mark.parametrize("name", CASES)
def test_resume_at_every_step_is_exact(name):
    schedule = find("schedules", name).load()(**CASES[name].arguments)
    steps = 60
    optimizer = make_optimizer((1e-3, 2e-3))
    scheduler = schedule.to_torch(optimizer)
    expected, states = [], []
    for _ in range(steps):
        expected.append(scheduler.get_last_lr())
        states.append(json.dumps(scheduler.state_dict()))
        optimizer.step()
        scheduler.step()
    for step, state in enumerate(states):
        resumed = make_optimizer((1e-3, 2e-3))
        again = schedule.to_torch(resumed)
        again.load_state_dict(json.loads(state))
        assert again.get_last_lr() == expected[step]
        if step + 1 < steps:
            again.step()
            assert again.get_last_lr() == expected[step + 1]


def test_jumps_and_long_runs_cross_blocks():
    schedule = Linear(peak=1.0, total_steps=20_000)
    optimizer = make_optimizer()
    scheduler = schedule.to_torch(optimizer)
    for epoch in (0, 5, 4095, 4096, 12_345, 3):
        scheduler.step(epoch)
        assert scheduler.get_last_lr() == [schedule(epoch)]
    for step in range(4, 9000):
        scheduler.step()
        if step % 997 == 0 or 4090 < step < 4105:
            assert scheduler.get_last_lr() == [schedule(step)]


def test_the_state_is_the_position_alone_and_the_scheduler_can_be_copied():
    optimizer = make_optimizer()
    scheduler = UBA(peak=0.1, total_steps=30).to_torch(optimizer)
    scheduler.step()
    assert scheduler.state_dict() == {"last_epoch": 1}
    for clone in (copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        clone.step()
        assert clone.get_last_lr() == [UBA(peak=0.1, total_steps=30)(2)]


def test_any_callable_and_wrong_optimizers():
    table = np.linspace(1, 0.1, 5000)
    optimizer = make_optimizer()
    scheduler = to_torch(lambda step: table[np.minimum(step, 4999)], optimizer)
    scheduler.step()
    assert scheduler.get_last_lr() == [table[1]]
    with pytest.raises(TypeError, match=r"to_torch: optimizer must be a torch.optim.Optimizer, got Linear"):
        Constant(peak=1.0).to_torch(torch.nn.Linear(1, 1))
    without = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    without.param_groups[0]["lr"] = None
    with pytest.raises(TypeError, match="to_torch: parameter group 0 has no rate; give SGD an lr"):
        Constant(peak=1.0).to_torch(without)


def test_a_scheduler_made_for_a_loaded_optimizer_keeps_the_shares():
    first = make_optimizer((1e-3, 1e-4))
    scheduler = Linear(peak=0.1, total_steps=10).to_torch(first)
    run(first, scheduler, 4)
    second = make_optimizer((1e-3, 1e-4))
    second.load_state_dict(first.state_dict())
    again = Linear(peak=0.1, total_steps=10).to_torch(second)
    again.load_state_dict(scheduler.state_dict())
    assert again.get_last_lr() == scheduler.get_last_lr() == pytest.approx([0.06, 0.006])


# ---------------------------------------------------------------- transformers


class Examples(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        tokens = (torch.arange(8) * (index + 1)) % 30
        return {"input_ids": tokens, "labels": tokens}


def make_trainer(folder: Path, spec: str, *, steps: int = 12, stop: int | None = None):
    transformers = pytest.importorskip("transformers")

    class Watch(transformers.TrainerCallback):
        def __init__(self) -> None:
            self.rates: dict[int, float] = {}

        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            self.rates[state.global_step] = kwargs["optimizer"].param_groups[0]["lr"]

        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == stop:
                control.should_training_stop = True

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=30, n_positions=8, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0
    )
    watch = Watch()
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=2, learning_rate=1e-2, save_steps=5,
        logging_steps=1, report_to=[], use_cpu=True, disable_tqdm=True, seed=3, dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=transformers.GPT2LMHeadModel(config), args=arguments, train_dataset=Examples(), callbacks=[watch]
    )
    use_in_trainer(trainer, spec)
    return trainer, watch


@pytest.fixture
def lenient():
    """Warnings of the libraries under their own control; ours are checked elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.usefixtures("lenient")
def test_a_trainer_uses_the_schedule_and_resumes_it(tmp_path):
    spec = "uba:phi=5,warmup=0.25"
    expected = from_spec(spec, total_steps=12, peak=1e-2).to_array()
    trainer, watch = make_trainer(tmp_path / "whole", spec)
    trainer.train()
    assert [watch.rates[step] for step in range(12)] == expected.tolist()
    logged = [row["learning_rate"] for row in trainer.state.log_history if "learning_rate" in row]
    assert logged == expected.tolist()

    stopped, first = make_trainer(tmp_path / "parts", spec, stop=7)
    stopped.train()
    assert sorted(first.rates) == list(range(7))
    resumed, second = make_trainer(tmp_path / "parts", spec)
    resumed.train(resume_from_checkpoint=str(tmp_path / "parts" / "checkpoint-5"))
    assert second.rates == {step: expected[step] for step in range(5, 12)}
    for name, weight in trainer.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], weight, rtol=0, atol=0)


@pytest.mark.usefixtures("lenient")
def test_wrong_trainers_and_specs_show_at_once(tmp_path):
    with pytest.raises(TypeError, match=r"use_in_trainer: trainer must be a transformers.Trainer, got object"):
        use_in_trainer(object(), "uba")
    with pytest.raises(UnknownPart, match='No schedule "ubba"'):
        make_trainer(tmp_path, "ubba")
    with pytest.raises(ConfigError, match="phi must be"):
        make_trainer(tmp_path, "uba:phi=0")


def test_a_trainer_may_bring_its_own_optimizer():
    class Bare:
        class args:
            learning_rate = 0.5

        create_scheduler = None
        optimizer = make_optimizer()

    trainer = Bare()
    use_in_trainer(trainer, "linear")
    scheduler = trainer.create_scheduler(10)
    assert trainer.lr_scheduler is scheduler
    assert scheduler.optimizer is trainer.optimizer
    assert trainer._created_lr_scheduler is True
    other = make_optimizer()
    assert trainer.create_scheduler(num_training_steps=10, optimizer=other).optimizer is other
    assert other.param_groups[0]["lr"] == 0.5


# ------------------------------------------------------------------- Lightning


@pytest.mark.usefixtures("lenient")
def test_lightning_steps_it_each_update_and_resumes(tmp_path):
    lightning = pytest.importorskip("lightning")
    schedule = UBA(peak=0.1, total_steps=12, warmup=3, phi=5)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)
            self.rates: list[float] = []

        def training_step(self, batch, index):
            self.rates.append(self.optimizers().param_groups[0]["lr"])
            return self.layer(batch).square().mean()

        def configure_optimizers(self):
            return schedule.to_lightning(torch.optim.AdamW(self.parameters(), lr=0.1))

    def train(steps: int, checkpoint: str | None = None) -> tuple[Module, object]:
        torch.manual_seed(0)
        module = Module()
        trainer = lightning.Trainer(
            max_steps=steps, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        )  # fmt: skip
        data = torch.utils.data.DataLoader(torch.arange(16.0).reshape(8, 2) / 16, batch_size=2)
        trainer.fit(module, data, ckpt_path=checkpoint)
        return module, trainer

    whole, _ = train(12)
    assert whole.rates == schedule.to_array().tolist()
    _, trainer = train(6)
    trainer.save_checkpoint(tmp_path / "six.ckpt", weights_only=False)
    resumed, _ = train(12, str(tmp_path / "six.ckpt"))
    assert resumed.rates == schedule.to_array()[6:].tolist()


def test_the_settings_lightning_is_given():
    optimizer = make_optimizer()
    settings = UBA(peak=0.1, total_steps=12).to_lightning(optimizer)
    scheduler = settings["lr_scheduler"].pop("scheduler")
    assert isinstance(scheduler, StepScheduler)
    assert settings == {"optimizer": optimizer, "lr_scheduler": {"interval": "step", "frequency": 1}}
    assert scheduler.optimizer is optimizer
