"""A user's own module, data and loss, in ten lines."""

from __future__ import annotations

import pickle

import cloudpickle
import numpy as np
import pytest
import torch
from tests.workloads.loops import hand_loop, measure
from torch import nn
from torch.utils.data import TensorDataset

from tutelage.workloads import from_torch, prepare

X = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
Y = (X @ torch.tensor([1.0, -2.0, 0.5, 3.0]) > 0).long()


def make_model() -> nn.Module:
    return nn.Linear(4, 2)


def loss(model: nn.Module, batch) -> torch.Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def accuracy(model: nn.Module, batch) -> torch.Tensor:
    return (model(batch[0]).argmax(-1) == batch[1]).float().mean()


def workload(train=(X[:200], Y[:200]), validation=(X[200:], Y[200:]), **settings):
    return from_torch(
        "mine",
        **{"train": train, "validation": validation, "model": make_model, "loss": loss, "peak": 0.05, **settings},
    )


def test_ten_lines_learn() -> None:
    mine = from_torch(
        "mine",
        train=TensorDataset(X[:200], Y[:200]),
        validation=TensorDataset(X[200:], Y[200:]),
        model=lambda: nn.Linear(4, 2),
        loss=lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        metrics={"accuracy": accuracy},
        peak=0.05,
    )
    torch.manual_seed(0)
    before = measure(mine, mine.make_model())
    after = hand_loop(mine, 150)
    assert after["loss"] < 0.3 < before["loss"]
    assert after["accuracy"] > 0.9


def test_every_form_of_the_same_data_learns_the_same() -> None:
    rows = list(zip(X.tolist(), Y.tolist(), strict=True))

    def collate(examples):
        return torch.tensor([list(x) for x, _ in examples]), torch.tensor([y for _, y in examples])

    plain = hand_loop(workload(), 20)
    arrays = workload((X[:200].numpy(), Y[:200].numpy()), (X[200:].numpy(), Y[200:].numpy()))
    assert hand_loop(arrays, 20) == plain
    assert hand_loop(workload(TensorDataset(X[:200], Y[:200]), TensorDataset(X[200:], Y[200:])), 20) == plain
    assert hand_loop(workload(rows[:200], rows[200:], collate=collate), 20) == plain
    pairs = [(x, y) for x, y in zip(X, Y, strict=True)]
    assert hand_loop(workload(pairs[:200], pairs[200:]), 20) == plain


def test_dicts_and_hugging_face_data_give_batches_by_name() -> None:
    import datasets

    def by_name(model, batch):
        return nn.functional.cross_entropy(model(batch["x"]), batch["y"])

    table = datasets.Dataset.from_dict({"x": X.tolist(), "y": Y.tolist()})
    columns = {"x": X[:200], "y": Y[:200]}, {"x": X[200:], "y": Y[200:]}
    first = hand_loop(workload(*columns, loss=by_name), 20)
    second = hand_loop(workload(table.select(range(200)), table.select(range(200, 300)), loss=by_name), 20)
    assert first == second == {"loss": hand_loop(workload(), 20)["loss"]}


def test_means_are_over_examples_not_over_batches() -> None:
    mine = workload(metrics={"accuracy": accuracy})
    torch.manual_seed(0)
    model = mine.make_model()
    exact = nn.functional.cross_entropy(model(X[200:]), Y[200:]).item()
    for batch_size in (1, 7, 64, 100):
        found = measure(mine, model, batch_size)
        assert found["loss"] == pytest.approx(exact, rel=1e-5)
        assert found["accuracy"] == pytest.approx(
            (model(X[200:]).argmax(-1) == Y[200:]).float().mean().item(), rel=1e-6
        )


def test_the_fingerprint_follows_data_model_and_loss() -> None:
    def other_loss(model, batch):
        return 2 * loss(model, batch)

    def other_model():
        return nn.Sequential(nn.Linear(4, 2))

    changed = X.clone()
    changed[17, 2] += 1e-3
    base = workload()
    assert base.notes["fingerprint_of"] == "content"
    same = workload((X[:200].clone(), Y[:200].numpy()))
    others = [
        workload((changed[:200], Y[:200])),
        workload(validation=(X[201:], Y[201:])),
        workload((X[:200].double(), Y[:200])),
        workload((X[:200].reshape(200, 2, 2), Y[:200])),
        workload(loss=other_loss),
        workload(model=other_model),
    ]
    assert same.fingerprint == workload((X[:200], Y[:200])).fingerprint == base.fingerprint
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 7
    assert workload(fingerprint="crops-v2").fingerprint == "crops-v2"
    rows = [(x, {"label": int(y), "more": (None, "a", 1.5)}) for x, y in zip(X, Y, strict=True)]
    listed = workload(rows[:200], rows[200:])
    assert listed.notes["fingerprint_of"] == "content"
    assert workload(rows[:199] + rows[:1], rows[200:]).fingerprint != listed.fingerprint


def test_data_made_on_the_fly_are_known_by_name_and_size() -> None:
    class Noise(torch.utils.data.Dataset):
        def __init__(self, length: int) -> None:
            self.length = length

        def __len__(self) -> int:
            return self.length

        def __getitem__(self, index: int):
            return torch.randn(4), 0

    first, second = workload(Noise(30), Noise(10)), workload(Noise(31), Noise(10))
    assert first.notes["fingerprint_of"] == "name and size"
    assert first.fingerprint == workload(Noise(30), Noise(10)).fingerprint != second.fingerprint
    strange = workload([(object(), 1)], [(object(), 1)])
    assert strange.notes["fingerprint_of"] == "name and size"


def test_defaults_and_settings_arrive() -> None:
    mine = workload(
        metrics={"accuracy": accuracy},
        metric="accuracy",
        lower_is_better=False,
        optimizer="sgd:momentum=0.9",
        batch_size=8,
        tokens_per_example=4,
        notes={"licence": "mine"},
    )
    assert (mine.metric, mine.lower_is_better, mine.optimizer) == ("val_accuracy", False, "sgd:momentum=0.9")
    assert (mine.batch_size, mine.tokens_per_example, mine.spec) == (8, 4, None)
    assert mine.notes["licence"] == "mine"
    assert mine.notes["train_examples"] == 200
    assert prepare(mine) is mine


def test_it_travels_to_another_process() -> None:
    copy = pickle.loads(pickle.dumps(workload()))
    assert hand_loop(copy, 5) == hand_loop(workload(), 5)
    inline = workload(model=lambda: nn.Linear(4, 2))
    assert hand_loop(pickle.loads(cloudpickle.dumps(inline)), 5) == hand_loop(workload(), 5)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": nn.Linear(4, 2)}, TypeError, "model must be a function that returns a fresh module, .* got Linear"),
        ({"model": None}, TypeError, "got NoneType"),
        ({"metric": "accuracy"}, ValueError, 'metric must be one of loss, got "accuracy"'),
        ({"metrics": {"loss": accuracy}}, ValueError, '"loss" is measured already'),
        ({"batch_size": 0}, ValueError, "Workload mine: batch_size must be >= 1, got 0"),
        ({"peak": 0.0}, ValueError, "peak must be > 0"),
        ({"train": []}, ValueError, "train must hold at least one example"),
        ({"train": (X, Y[:3])}, ValueError, r"same length, got \[3, 300\]"),
        ({"train": iter([])}, TypeError, "needs a length and an index"),
    ],
)
def test_bad_input(settings, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        workload(**settings)


def test_a_batch_without_tensors_is_refused() -> None:
    mine = workload(collate=lambda examples: "words")
    with pytest.raises(TypeError, match="A batch must be a tensor, or a tuple, list or dict that holds one, got str"):
        mine.measure(make_model(), mine.validation.batch(np.arange(2)))
