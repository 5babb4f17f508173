"""sequence-copy: what a batch is, what the loss counts, and a transformer that learns to copy."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from tests.workloads.loops import hand_loop, measure
from torch import nn

from tutelage.workloads import SequenceCopy, prepare

SMALL = "sequence-copy:length=4,symbols=5"


def everything(store) -> tuple[torch.Tensor, torch.Tensor]:
    return store.batch(np.arange(len(store)))


def test_batches_are_sequence_mark_sequence() -> None:
    workload = prepare(SMALL)
    tokens, targets = everything(workload.train)
    assert (tokens.shape, targets.shape, tokens.dtype) == ((8192, 8), (8192, 4), torch.int64)
    assert torch.equal(tokens[:, :4], targets)
    assert torch.equal(tokens[:, 5:], targets[:, :3])
    assert (tokens[:, 4] == 5).all()
    shares = torch.bincount(targets.flatten(), minlength=5) / targets.numel()
    assert (shares - 0.2).abs().max() < 0.01


def test_the_data_depend_on_no_seed() -> None:
    torch.manual_seed(1)
    first = prepare(SMALL)
    torch.manual_seed(2)
    second = prepare(SMALL)
    assert torch.equal(everything(first.validation)[0], everything(second.validation)[0])
    train = {row.numpy().tobytes() for row in everything(prepare("sequence-copy").train)[1]}
    assert not train & {row.numpy().tobytes() for row in everything(prepare("sequence-copy").validation)[1]}


class Oracle(nn.Module):
    """Copies, with a given certainty; says nothing of use at the places that are not asked."""

    def __init__(self, length: int, margin: float) -> None:
        super().__init__()
        self.length, self.margin = length, margin

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(*tokens.shape, 6)
        logits[:, self.length :] = self.margin * nn.functional.one_hot(tokens[:, : self.length], 6)
        return logits


def test_loss_and_accuracy_count_the_copied_half_alone() -> None:
    workload = prepare(SMALL)
    found = measure(workload, Oracle(4, margin=1.0), 100)
    assert found["loss"] == pytest.approx(math.log(5 + math.e) - 1, rel=1e-6)
    assert found["accuracy"] == 1.0
    batch = workload.train.batch(np.arange(10))
    assert workload.loss(Oracle(4, margin=0.0), batch).item() == pytest.approx(math.log(6))


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_it_is_learned(norm: str) -> None:
    workload = SequenceCopy(length=4, symbols=5, norm=norm).prepare()
    torch.manual_seed(0)
    before = measure(workload, workload.make_model())
    after = hand_loop(workload, 120, peak=5e-3)
    assert before["loss"] > 1.5
    assert after["loss"] < 0.3
    assert after["accuracy"] > 0.9


def test_settings() -> None:
    workload = prepare("sequence-copy")
    assert workload.tokens_per_example == 32
    variants = [prepare(f"sequence-copy:{change}") for change in ("norm=post", "widen=2", "length=8", "symbols=8")]
    assert len({workload.fingerprint, *(variant.fingerprint for variant in variants)}) == 5
    assert variants[1].make_model().tokens.weight.shape == (17, 64)
    assert not isinstance(workload.make_model().norm, nn.Identity)
    assert isinstance(variants[0].make_model().norm, nn.Identity)
    assert (workload.spec, variants[0].spec) == ("sequence-copy", "sequence-copy:norm=post")
    assert pickle.loads(pickle.dumps(workload)).fingerprint == workload.fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 0}, "length must be >= 1, got 0"),
        ({"symbols": 1}, "symbols must be >= 2, got 1"),
        ({"widen": 0}, "widen must be >= 1, got 0"),
        ({"norm": "none"}, 'norm must be "pre" or "post", got "none"'),
    ],
)
def test_bad_settings(settings, message) -> None:
    with pytest.raises(ValueError, match=f"SequenceCopy: {message}"):
        SequenceCopy(**settings)
