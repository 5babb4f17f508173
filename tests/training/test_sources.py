"""Several sources joined: the examples of each, in the order asked for, whatever a batch is made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.training.toys import Rows, toy

from tutelage.errors import ConfigError
from tutelage.training import Recipe, train
from tutelage.training.sources import JoinedStore, order_of
from tutelage.workloads import DatasetStore, TensorStore

SIZES = (5, 1, 7)


def stores(kind: str) -> list:
    values = np.split(np.arange(sum(SIZES)), np.cumsum(SIZES)[:-1])
    pieces = [torch.from_numpy(piece) for piece in values]
    if kind == "dict":
        return [TensorStore(x=piece, y=10 * piece[:, None]) for piece in pieces]
    if kind == "list":
        return [DatasetStore([(int(value), 10 * int(value)) for value in piece]) for piece in pieces]
    return [TensorStore(piece, 10 * piece[:, None]) for piece in pieces]


@given(st.lists(st.integers(0, sum(SIZES) - 1), min_size=1, max_size=9), st.sampled_from(["tuple", "dict", "list"]))
def test_examples_come_in_the_order_asked_for(indices: list[int], kind: str) -> None:
    joined = JoinedStore(*stores(kind))
    assert len(joined) == 13
    batch = joined.batch(np.array(indices))
    assert type(batch) is {"tuple": tuple, "dict": dict, "list": list}[kind]
    first, second = batch.values() if kind == "dict" else batch
    assert first.tolist() == indices
    assert second.flatten().tolist() == [10 * index for index in indices]


def test_batches_that_cannot_be_joined() -> None:
    joined = JoinedStore(TensorStore(torch.zeros(2, 3)), TensorStore(torch.zeros(2, 4)))
    with pytest.raises(ConfigError, match="New and replayed examples do not go into one batch"):
        joined.batch(np.array([0, 3]))
    assert joined.batch(np.array([3]))[0].shape == (1, 4)


def test_without_a_curriculum_old_data_are_not_learned_from() -> None:
    workload = toy(replay=Rows(30, 7))
    examples, order = order_of(workload, Recipe(), batch_size=8, total_steps=60, seed=0)
    assert examples is workload.train
    assert max(order.indices(position).max() for position in range(60)) == 202
    with_old = train(workload, "linear", budget="6steps")
    assert with_old.hashes["order"] == train(toy(), "linear", budget="6steps").hashes["order"]
    assert with_old.metrics == train(toy(), "linear", budget="6steps").metrics


def test_a_run_learns_from_the_share_of_old_examples_it_was_told() -> None:
    seen = []

    class Watched(Rows):
        def __init__(self, name: str, count: int) -> None:
            super().__init__(count, 0)
            self.name = name

        def batch(self, indices):
            seen.append((self.name, len(indices)))
            return super().batch(indices)

    workload = toy(train=Watched("new", 203), replay=Watched("old", 60))
    plain = train(workload, "linear;replay:alpha=0.25", budget="20steps")
    assert {name: sum(count for other, count in seen if other == name) for name in ("new", "old")} == {
        "new": 120,
        "old": 40,
    }
    assert plain.examples == 160, "it costs what it would without replay"
    shared = train(workload, "linear;replay:alpha=0.25;accumulate=2", budget="20steps")
    assert shared.hashes == plain.hashes
