"""breast-cancer: a fixed, stratified split, standardised by what is learned from, and a network that learns."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from tests.workloads.loops import hand_loop, measure
from torch.nn import functional

from tutelage.workloads import BreastCancer, prepare


def everything(store) -> tuple[torch.Tensor, torch.Tensor]:
    return store.batch(np.arange(len(store)))


def test_the_split_is_whole_and_standardised_by_the_training_part() -> None:
    workload = prepare("breast-cancer")
    (x, y), (vx, vy) = everything(workload.train), everything(workload.validation)
    assert (x.shape, vx.shape) == ((455, 30), (114, 30))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    torch.testing.assert_close(x.mean(0), torch.zeros(30), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(30), atol=1e-5, rtol=0)
    found = load_breast_cancer()
    rows = torch.cat([x, vx]).numpy()
    # One line through both parts: had each been standardised by itself, no common line would bring the table back.
    for column in range(30):
        ours, given = np.sort(rows[:, column]), np.sort(found.data[:, column])
        slope, shift = np.polyfit(given, ours, 1)
        assert np.abs(slope * given + shift - ours).max() < 1e-4
    assert int(torch.cat([y, vy]).sum()) == found.target.sum()
    assert abs(vy.float().mean().item() - found.target.mean()) < 1 / 114


def test_it_is_learned() -> None:
    workload = prepare("breast-cancer")
    torch.manual_seed(0)
    before = measure(workload, workload.make_model())
    after = hand_loop(workload, 100, peak=3e-3)
    assert before["loss"] > 0.5
    assert after["loss"] < 0.2
    assert after["accuracy"] > 0.93


def test_metrics_are_what_they_say() -> None:
    workload = prepare("breast-cancer")
    torch.manual_seed(0)
    model = workload.make_model().eval()
    x, y = everything(workload.validation)
    with torch.no_grad():
        logits = model(x)
    found = measure(workload, model, 7)
    assert found["loss"] == pytest.approx(functional.cross_entropy(logits, y).item(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(-1) == y).double().mean().item())


def test_width_and_defaults() -> None:
    workload, wide = prepare("breast-cancer"), prepare("breast-cancer:width=128")
    assert sum(weights.numel() for weights in wide.make_model().parameters()) == 30 * 128 + 128 + 128**2 + 128 + 2 * 129
    assert workload.fingerprint == prepare("breast-cancer:width=64").fingerprint != wide.fingerprint
    assert (workload.spec, wide.spec) == ("breast-cancer", "breast-cancer:width=128")
    assert (workload.optimizer, workload.metric) == ("adamw", "val_loss")
    assert pickle.loads(pickle.dumps(workload)).fingerprint == workload.fingerprint
    with pytest.raises(ValueError, match="BreastCancer: width must be >= 1, got 0"):
        BreastCancer(width=0)
