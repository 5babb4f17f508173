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


def test_a_share_of_the_training_labels_is_wrong_and_no_other() -> None:
    clean, noisy = prepare("digits"), prepare("digits:label_noise=0.2")
    (x, right), (noisy_x, given) = everything(clean.train), everything(noisy.train)
    assert torch.equal(x, noisy_x)
    wrong = right != given
    assert int(wrong.sum()) == round(0.2 * 1437)
    assert all(map(torch.equal, everything(clean.validation), everything(noisy.validation)))
    shifts = torch.bincount((given - right)[wrong] % 10, minlength=10) / int(wrong.sum())
    assert shifts[0] == 0
    assert (shifts[1:] - 1 / 9).abs().max() < 0.06, "each other digit is as likely"
    assert torch.equal(everything(prepare("digits:net=mlp,label_noise=0.2").train)[1], given), "fixed by the split"
    assert len({item.fingerprint for item in (clean, noisy, prepare("digits:label_noise=0.3"))}) == 3


@pytest.mark.parametrize(("net", "parameters"), [("cnn", 118_186), ("mlp", 85_002)])
def test_a_wider_network_is_another_workload(net: str, parameters: int) -> None:
    plain, wide = Digits(net=net).prepare(), Digits(net=net, widen=2).prepare()
    assert plain.fingerprint == Digits(net=net, widen=1).prepare().fingerprint != wide.fingerprint
    assert wide.spec == f"{plain.spec}{',' if net == 'mlp' else ':'}widen=2"
    assert sum(weights.numel() for weights in wide.make_model().parameters()) == parameters
    assert pickle.loads(pickle.dumps(wide)).fingerprint == wide.fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"net": "rnn"}, 'net must be "cnn" or "mlp", got "rnn"'),
        ({"label_noise": 1.0}, r"label_noise must be in \[0, 1\), got 1.0"),
        ({"label_noise": -0.1}, r"label_noise must be in \[0, 1\), got -0.1"),
        ({"label_noise": float("nan")}, r"label_noise must be in \[0, 1\), got nan"),
        ({"widen": 0}, "widen must be >= 1, got 0"),
    ],
)
def test_bad_settings(settings, message) -> None:
    with pytest.raises(ValueError, match=f"Digits: {message}"):
        Digits(**settings)
