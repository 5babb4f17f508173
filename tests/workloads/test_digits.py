"""digits: a fixed, stratified split, and both networks learn."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tests.workloads.loops import hand_loop, measure
from torch.nn import functional

from tutelage.workloads import Digits, prepare


def everything(store) -> tuple[torch.Tensor, torch.Tensor]:
    return store.batch(np.arange(len(store)))


def test_the_split_is_whole_apart_and_keeps_each_digits_share() -> None:
    workload = prepare("digits")
    (x, y), (vx, vy) = everything(workload.train), everything(workload.validation)
    assert x.shape == (1437, 1, 8, 8)
    assert vx.shape == (360, 1, 8, 8)
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert (x.min().item(), x.max().item()) == (0.0, 1.0)
    found = load_digits()
    together = {(image.numpy().tobytes(), int(label)) for image, label in zip([*x, *vx], [*y, *vy], strict=True)}
    given = {
        ((image / 16).astype(np.float32).tobytes(), int(label))
        for image, label in zip(found.images, found.target, strict=True)
    }
    assert together == given
    assert not {image.numpy().tobytes() for image in x} & {image.numpy().tobytes() for image in vx}
    assert np.abs(np.bincount(vy) / 360 - np.bincount(found.target) / 1797).max() < 1 / 360


def test_the_split_does_not_depend_on_any_seed() -> None:
    np.random.seed(1)  # noqa: NPY002  # the global generator is what must not matter
    torch.manual_seed(1)
    first = prepare("digits")
    np.random.seed(2)  # noqa: NPY002
    torch.manual_seed(2)
    second = prepare("digits:net=mlp")
    assert torch.equal(everything(first.validation)[0], everything(second.validation)[0])
    assert first.fingerprint == prepare("digits:net=cnn").fingerprint != second.fingerprint


@pytest.mark.parametrize("net", ["cnn", "mlp"])
def test_it_is_learned(net: str) -> None:
    workload = Digits(net=net).prepare()
    torch.manual_seed(0)
    before = measure(workload, workload.make_model())
    after = hand_loop(workload, 150, peak=3e-3)
    assert before["accuracy"] < 0.4
    assert after["accuracy"] > 0.85
    assert after["loss"] < 0.6 < before["loss"]


def test_metrics_are_what_they_say() -> None:
    workload = prepare("digits:net=mlp")
    torch.manual_seed(0)
    model = workload.make_model().eval()
    x, y = everything(workload.validation)
    with torch.no_grad():
        logits = model(x)
    found = measure(workload, model, 7)
    assert found["loss"] == pytest.approx(functional.cross_entropy(logits, y).item(), rel=1e-5)
    assert found["accuracy"] == pytest.approx((logits.argmax(-1) == y).double().mean().item())


def test_defaults() -> None:
    workload = prepare("digits")
    assert workload.optimizer == "sgd:momentum=0.9"
    assert workload.metric == "val_loss"
    assert workload.tokens_per_example is None
    assert workload.spec == "digits"
    assert prepare("digits:net=mlp").spec == "digits:net=mlp"
    assert pickle.loads(pickle.dumps(workload)).fingerprint == workload.fingerprint


def test_bad_settings() -> None:
    with pytest.raises(ValueError, match='Digits: net must be "cnn" or "mlp", got "rnn"'):
        Digits(net="rnn")
